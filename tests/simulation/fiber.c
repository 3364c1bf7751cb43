#include "tests/simulation/fiber.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <time.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define WITH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WITH_TSAN 1
#endif
#endif

#ifdef WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WITH_TSAN
#include <sanitizer/tsan_interface.h>
#endif

enum { STACK = 256 << 10 };

struct fiber {
    ucontext_t context;
    fiber_home *home;
    void *(*run)(void *);
    void *arg;
    char *stack;
    int64_t wake; /* sleeps until then */
    bool done;
    fiber *next; /* of those whose stacks are free */
#ifdef WITH_TSAN
    void *watched;
#endif
};

int64_t fiber_time;
uint64_t fiber_random;

static ucontext_t outside;
static fiber *current, *spare;
static fiber_home *entered;

/* ---- Changing over ---- */

#ifdef WITH_ASAN
static const void *outside_stack;
static size_t outside_size;
#endif
#ifdef WITH_TSAN
static void *outside_watched;
#endif

static void
arrive(void *saved)
{
#ifdef WITH_ASAN
    const void *stack;
    size_t size;
    __sanitizer_finish_switch_fiber(saved, &stack, &size);
    if (current && !outside_stack) {
        outside_stack = stack;
        outside_size = size;
    }
#endif
    (void)saved;
}

static void
leave(bool last)
{
    fiber *f = current;
    void *saved = NULL;
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(last ? NULL : &saved, outside_stack,
                                   outside_size);
#endif
#ifdef WITH_TSAN
    __tsan_switch_to_fiber(outside_watched, 0);
#endif
    (void)last;
    swapcontext(&f->context, &outside);
    arrive(saved);
}

static void
begin(void)
{
    fiber *f = current;
    arrive(NULL);
    f->run(f->arg);
    f->done = true;
    leave(true);
}

void
fiber_run(fiber *f)
{
    void *saved = NULL;
    current = f;
#ifdef WITH_ASAN
    __sanitizer_start_switch_fiber(&saved, f->stack, STACK);
#endif
#ifdef WITH_TSAN
    outside_watched = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f->watched, 0);
#endif
    swapcontext(&outside, &f->context);
    current = NULL;
    arrive(saved);
}

void
fiber_enter(fiber_home *home)
{
    entered = home;
}

bool
fiber_can_run(const fiber *f)
{
    return f && !f->done && (f->wake <= fiber_time || f->home->dead);
}

fiber_home *
fiber_here(void)
{
    return current ? current->home : NULL;
}

void
fiber_wait(void)
{
    if (current)
        leave(false);
}

/* ---- In place of the C library's ---- */

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*run)(void *), void *arg);
int __wrap_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock);
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
                                  const struct timespec *until);
int __wrap_nanosleep(const struct timespec *pause, struct timespec *left);
int __wrap_clock_gettime(clockid_t which, struct timespec *now);
ssize_t __wrap_getrandom(void *to, size_t size, unsigned flags);

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                      void *(*run)(void *), void *arg)
{
    fiber *f = spare;
    (void)attributes;
    if (f)
        spare = f->next;
    else {
        f = calloc(1, sizeof *f);
        f->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    }
    f->home = entered;
    f->run = run;
    f->arg = arg;
    f->wake = 0;
    f->done = false;
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = f->stack;
    f->context.uc_stack.ss_size = STACK;
    f->context.uc_link = NULL;
    makecontext(&f->context, begin, 0);
#ifdef WITH_TSAN
    f->watched = __tsan_create_fiber(0);
#endif
    entered->fiber = f;
    memcpy(thread, &f, sizeof f);
    return 0;
}

/* From outside: only this one runs until it ends. */
int
__wrap_pthread_join(pthread_t thread, void **result)
{
    fiber *f;
    (void)result;
    memcpy(&f, &thread, sizeof f);
    while (!f->done) {
        if (!fiber_can_run(f))
            fiber_time = f->wake;
        fiber_run(f);
        fiber_time++;
    }
#ifdef WITH_TSAN
    __tsan_destroy_fiber(f->watched);
#endif
    f->home->fiber = NULL;
    f->next = spare;
    spare = f;
    return 0;
}

int
__wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock)
{
    (void)cond;
    pthread_mutex_unlock(lock);
    fiber_wait();
    pthread_mutex_lock(lock);
    return 0;
}

int
__wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *lock,
                              const struct timespec *until)
{
    (void)until;
    return __wrap_pthread_cond_wait(cond, lock);
}

int
__wrap_nanosleep(const struct timespec *pause, struct timespec *left)
{
    (void)left;
    if (!current || current->home->dead)
        return 0;
    current->wake =
        fiber_time + pause->tv_sec * 1000 + (pause->tv_nsec + 999999) / 1000000;
    while (!fiber_can_run(current))
        fiber_wait();
    return 0;
}

int
__wrap_clock_gettime(clockid_t which, struct timespec *now)
{
    enum { EPOCH = 1800000000 };
    int64_t time = fiber_time;
    fiber_home *home = current ? current->home : entered;
    if (which == CLOCK_REALTIME)
        time += EPOCH * (int64_t)1000 + (home ? home->skew : 0);
    now->tv_sec = time / 1000;
    now->tv_nsec = time % 1000 * 1000000;
    return 0;
}

ssize_t
__wrap_getrandom(void *to, size_t size, unsigned flags)
{
    unsigned char *bytes = to;
    (void)flags;
    for (size_t i = 0; i < size; i++) {
        fiber_random =
            fiber_random * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (unsigned char)(fiber_random >> 56);
    }
    return (ssize_t)size;
}
