/* A library to be preloaded into soma, which makes allocations and system
 * calls fail, and clocks jump.
 *
 * SOMA_SHIM names a file that is mapped: whoever maps it too decides, while the
 * program runs, which call fails. All threads' calls count.
 */
#include "tests/faults/shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct shim off, *shim = &off;

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void
set_up(void)
{
    const char *path = getenv("SOMA_SHIM");
    int fd = path ? NEXT(open)(path, O_RDWR) : -1;
    if (fd < 0)
        return;
    void *memory = NEXT(mmap)(NULL, sizeof *shim, PROT_READ | PROT_WRITE,
                              MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        abort();
    close(fd);
    shim = memory;
}

/* Counts a call of this kind; true: it is one that fails. */
static bool
is_hit(int kind)
{
    if (!(shim->kinds & kind))
        return false;
    int n = __atomic_add_fetch(&shim->calls, 1, __ATOMIC_SEQ_CST);
    if (!shim->fail_at || n < shim->fail_at || n > shim->fail_at + shim->run)
        return false;
    __atomic_add_fetch(&shim->failed, 1, __ATOMIC_SEQ_CST);
    return true;
}

#pragma weak __asan_handle_no_return
void __asan_handle_no_return(void);

/* Of calls that cannot be short. */
static bool
fails(int kind)
{
    if (!is_hit(kind))
        return false;
    if (shim->error == SHIM_EXIT) {
        if (__asan_handle_no_return)
            __asan_handle_no_return(); /* its frames end without their ends */
        pthread_exit(NULL);
    }
    errno = shim->error;
    return true;
}

/* The same of calls that move `size` bytes, which it may make fewer. */
static bool
fails_or_shortens(int kind, size_t *size)
{
    size_t most = shim->most ? (size_t)shim->most : 1;
    if (shim->error != SHIM_SHORT && shim->error != SHIM_DRIP)
        return fails(kind);
    if (*size > most && is_hit(kind))
        *size = most;
    return false;
}

/* ---- Memory: no dlsym here, which allocates ----
 *
 * A sanitizer's library, where there is one, has the memory: it comes behind
 * this one. In a program that has the sanitizer in itself (clang's) nothing
 * comes by here.
 */

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

#define WATCHED(name) __interceptor_##name
#pragma weak __interceptor_malloc
#pragma weak __interceptor_calloc
#pragma weak __interceptor_realloc
#pragma weak __interceptor_memalign
#pragma weak __interceptor_free
void *WATCHED(malloc)(size_t size);
void *WATCHED(calloc)(size_t count, size_t size);
void *WATCHED(realloc)(void *old, size_t size);
void *WATCHED(memalign)(size_t alignment, size_t size);
void WATCHED(free)(void *memory);

#define TAKE(name, ...)                                                        \
    (WATCHED(name) ? WATCHED(name)(__VA_ARGS__) : __libc_##name(__VA_ARGS__))

static void *
counted(void *memory)
{
    if (memory)
        __atomic_add_fetch(&shim->live, 1, __ATOMIC_RELAXED);
    return memory;
}

void *
malloc(size_t size)
{
    return fails(SHIM_MEMORY) ? NULL : counted(TAKE(malloc, size));
}

void *
calloc(size_t count, size_t size)
{
    return fails(SHIM_MEMORY) ? NULL : counted(TAKE(calloc, count, size));
}

void *
realloc(void *old, size_t size)
{
    if (!old)
        return malloc(size);
    return fails(SHIM_MEMORY) ? NULL : TAKE(realloc, old, size);
}

void *
memalign(size_t alignment, size_t size)
{
    return fails(SHIM_MEMORY) ? NULL : counted(TAKE(memalign, alignment, size));
}

void *
aligned_alloc(size_t alignment, size_t size)
{
    return memalign(alignment, size);
}

int
posix_memalign(void **memory, size_t alignment, size_t size)
{
    void *taken = memalign(alignment, size);
    if (!taken)
        return ENOMEM;
    *memory = taken;
    return 0;
}

void
free(void *memory)
{
    if (memory)
        __atomic_sub_fetch(&shim->live, 1, __ATOMIC_RELAXED);
    TAKE(free, memory);
}

/* A sanitizer's would not come by here. */
char *
strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    return copy ? memcpy(copy, text, size) : NULL;
}

/* ---- Sockets ----
 *
 * Those of connections do not block, and whoever reads and writes them waits
 * for edges. A kernel moves fewer bytes than it is asked for, or says EAGAIN,
 * only where its buffer is empty, or full; and when that ends, there is an
 * edge. So a made-up one is followed by the edge that a kernel would make if
 * more bytes, or room for them, came right after the call: without it every
 * server would wait for ever, and that would be the shim's fault. EINTR a
 * kernel does not say here: a call that does not wait cannot be interrupted.
 */
static struct watched {
    int epoll; /* 0: none waits for its edges */
    struct epoll_event event;
    bool received, sent; /* less than asked for, when last asked */
} sockets[1 << 14];

static struct watched *
watched(int fd)
{
    static const int count = sizeof sockets / sizeof *sockets;
    return fd >= 0 && fd < count ? &sockets[fd] : NULL;
}

/* What is there now is told anew to who waits next. */
static void
make_edge(int fd)
{
    int number = errno;
    struct watched *w = watched(fd);
    if (w && w->epoll)
        NEXT(epoll_ctl)(w->epoll, EPOLL_CTL_MOD, fd, &w->event);
    errno = number;
}

/* Every second call, for each socket by itself: else two that take turns would
 * find it always theirs. Sockets that do block (Redis's) do not say EAGAIN. */
static bool
drips(int kind, int fd)
{
    struct watched *w = watched(fd);
    if (shim->error != SHIM_DRIP || !w || !w->epoll)
        return false;
    bool *last = kind == SHIM_RECV ? &w->received : &w->sent;
    *last = !*last && is_hit(kind);
    errno = EAGAIN;
    return *last;
}

static bool
socket_fails(int kind, int fd, size_t *size)
{
    size_t whole = *size;
    bool failed = drips(kind, fd) || fails_or_shortens(kind, size);
    if (failed ? errno == EAGAIN : *size < whole)
        make_edge(fd);
    return failed;
}

static ssize_t
counting(ssize_t sent, size_t size)
{
    if (sent < 0 ? errno == EAGAIN : (size_t)sent < size)
        __atomic_add_fetch(&shim->full, 1, __ATOMIC_RELAXED);
    return sent;
}

/* Looking takes no bytes, and so it is no edge that who looks waits for. */
ssize_t
recv(int fd, void *data, size_t size, int flags)
{
    return !(flags & MSG_PEEK) && socket_fails(SHIM_RECV, fd, &size)
               ? -1
               : NEXT(recv)(fd, data, size, flags);
}

ssize_t
send(int fd, const void *data, size_t size, int flags)
{
    return socket_fails(SHIM_SEND, fd, &size)
               ? -1
               : counting(NEXT(send)(fd, data, size, flags), size);
}

static size_t
size_of(const struct msghdr *message)
{
    size_t size = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        size += message->msg_iov[i].iov_len;
    return size;
}

/* To its first so many bytes. */
static void
shorten(struct msghdr *message, struct iovec *pieces, size_t size)
{
    size_t count = 0;
    for (; size; count++) {
        pieces[count] = message->msg_iov[count];
        if (pieces[count].iov_len > size)
            pieces[count].iov_len = size;
        size -= pieces[count].iov_len;
    }
    message->msg_iov = pieces;
    message->msg_iovlen = count;
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct msghdr less = *message;
    struct iovec pieces[IOV_MAX];
    size_t whole = size_of(message), size = whole;
    if (socket_fails(SHIM_SEND, fd, &size))
        return -1;
    if (size < whole)
        shorten(&less, pieces, size);
    return counting(NEXT(sendmsg)(fd, &less, flags), size);
}

int
accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    if (fails(SHIM_ACCEPT))
        return -1;
    int accepted = NEXT(accept4)(fd, address, size, flags);
    if (accepted >= 0 && shim->buffer)
        setsockopt(accepted, SOL_SOCKET, SO_SNDBUF, &shim->buffer,
                   sizeof shim->buffer);
    return accepted;
}

int
epoll_wait(int fd, struct epoll_event *events, int most, int timeout)
{
    return fails(SHIM_WAIT) ? -1 : NEXT(epoll_wait)(fd, events, most, timeout);
}

int
epoll_ctl(int fd, int operation, int of, struct epoll_event *event)
{
    if (fails(SHIM_CONTROL))
        return -1;
    struct watched *w = watched(of);
    int result = NEXT(epoll_ctl)(fd, operation, of, event);
    if (result || !w)
        return result;
    if (event && operation != EPOLL_CTL_DEL && (event->events & EPOLLET))
        w->epoll = fd, w->event = *event;
    else if (operation == EPOLL_CTL_DEL && w->epoll == fd)
        w->epoll = 0;
    return 0;
}

/* ---- Files ---- */

#define OPEN(name)                                                             \
    int name(const char *path, int flags, ...)                                 \
    {                                                                          \
        va_list arguments;                                                     \
        va_start(arguments, flags);                                            \
        mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;         \
        va_end(arguments);                                                     \
        return fails(SHIM_OPEN) ? -1 : NEXT(name)(path, flags, mode);          \
    }

OPEN(open)
OPEN(open64)

ssize_t
read(int fd, void *data, size_t size)
{
    return fails_or_shortens(SHIM_READ, &size) ? -1
                                               : NEXT(read)(fd, data, size);
}

#define AT(name, kind, pointer, offset_t)                                      \
    ssize_t name(int fd, pointer data, size_t size, offset_t offset)           \
    {                                                                          \
        return fails_or_shortens(kind, &size)                                  \
                   ? -1                                                        \
                   : NEXT(name)(fd, data, size, offset);                       \
    }

AT(pread, SHIM_READ, void *, off_t)
AT(pread64, SHIM_READ, void *, off64_t)
AT(pwrite, SHIM_WRITE, const void *, off_t)
AT(pwrite64, SHIM_WRITE, const void *, off64_t)

int
fsync(int fd)
{
    return fails(SHIM_SYNC) ? -1 : NEXT(fsync)(fd);
}

int
fdatasync(int fd)
{
    return fails(SHIM_SYNC) ? -1 : NEXT(fdatasync)(fd);
}

int
ftruncate(int fd, off_t size)
{
    return fails(SHIM_TRUNCATE) ? -1 : NEXT(ftruncate)(fd, size);
}

int
ftruncate64(int fd, off64_t size)
{
    return fails(SHIM_TRUNCATE) ? -1 : NEXT(ftruncate64)(fd, size);
}

void *
mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return fails(SHIM_MAP)
               ? MAP_FAILED
               : NEXT(mmap)(at, size, protection, flags, fd, offset);
}

void *
mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
    return fails(SHIM_MAP)
               ? MAP_FAILED
               : NEXT(mmap64)(at, size, protection, flags, fd, offset);
}

/* ---- Clocks ---- */

int
clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = NEXT(clock_gettime)(clock, time);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ||
        shim->monotonic)
        time->tv_sec += shim->jump;
    return result;
}

time_t
time(time_t *at)
{
    time_t now = NEXT(time)(NULL) + shim->jump;
    if (at)
        *at = now;
    return now;
}
