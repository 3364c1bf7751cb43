#include "server/engine/clock.h"

#include <stdio.h>
#include <time.h>

int64_t
soma_clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t
soma_clock_ticks(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t
soma_clock_worked(void)
{
    struct timespec own;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own);
    return (uint64_t)own.tv_sec * 1000000 + (uint64_t)own.tv_nsec / 1000;
}

int64_t
soma_clock_steady(void)
{
    return (int64_t)(soma_clock_ticks() / 1000);
}

void
soma_clock_text(int64_t milliseconds, char text[SOMA_CLOCK_TEXT])
{
    time_t seconds = (time_t)(milliseconds / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    size_t used = strftime(text, SOMA_CLOCK_TEXT, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + used, SOMA_CLOCK_TEXT - used, ".%03dZ",
             (int)(milliseconds % 1000));
}
