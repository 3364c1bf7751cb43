#include "server/engine/thread.h"

#include "server/engine/log.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct start {
    const char *name;
    void *(*run)(void *);
    void *arg;
} start;

static void
on_lost(void *name)
{
    char event[32], text[96];
    snprintf(event, sizeof event, "%s-lost", (const char *)name);
    snprintf(text, sizeof text,
             "a %s's thread has ended: the program cannot go on",
             (const char *)name);
    soma_log(SOMA_LOG_ERROR, event, "text", text, NULL);
    abort();
}

static void *
begin(void *arg)
{
    start s = *(start *)arg;
    void *result;
    free(arg);
    pthread_setname_np(pthread_self(), s.name);
    pthread_cleanup_push(on_lost, (void *)(uintptr_t)s.name);
    result = s.run(s.arg);
    pthread_cleanup_pop(0);
    return result;
}

soma_status
soma_thread_start(pthread_t *thread, const char *name, void *(*run)(void *),
                  void *arg, soma_error *err)
{
    char what[32];
    start *s = malloc(sizeof *s);
    if (s) {
        *s = (start){name, run, arg};
        if (!pthread_create(thread, NULL, begin, s))
            return SOMA_OK;
    }
    free(s);
    snprintf(what, sizeof what, "a %s's thread", name);
    return soma_error_memory(err, what);
}
