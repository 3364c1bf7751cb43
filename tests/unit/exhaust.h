/* Work in which each allocation fails in turn, and then that one and all after
 * it: it must say SOMA_E_MEMORY, in words, or give what it gives otherwise; and
 * take no memory with it.
 */
#ifndef SOMA_TESTS_UNIT_EXHAUST_H
#define SOMA_TESTS_UNIT_EXHAUST_H

#include "core/status.h"
#include "tests/unit/scarce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <string.h>
#include <zlib.h>

/* A piece of work. What it is about is its own affair. Once it has done what is
 * looked at it calls scarce_stop, then puts into *sum what it got, and frees
 * all that it took. */
typedef soma_status exhaust_work(const void *about, uint32_t *sum,
                                 soma_error *err);

static inline uint32_t
exhaust_sum(uint32_t sum, const void *data, size_t size)
{
    return (uint32_t)crc32_z(sum, data, size);
}

/* One attempt; returns how many allocations failed. */
static inline int
exhaust_try(const char *name, exhaust_work *work, const void *about, int n,
            int run, const soma_error *otherwise, uint32_t good)
{
    soma_error err = {SOMA_OK, ""};
    uint32_t sum = 0;
    long before = scarce_live();
    scarce_start(n, run);
    soma_status status = work(about, &sum, &err);
    int failed = scarce_stop();
    if (status != otherwise->status && status != SOMA_E_MEMORY)
        fail_msg("%s, allocation %d and %d more: status %d, not %d: %s", name,
                 n, run, (int)status, (int)otherwise->status, err.text);
    if (status && (err.status != status || !err.text[0]))
        fail_msg("%s, allocation %d and %d more: status %d without words", name,
                 n, run, (int)status);
    if (!status && sum != good)
        fail_msg("%s, allocation %d and %d more: another result", name, n, run);
    if (scarce_live() != before)
        fail_msg("%s, allocation %d and %d more: %ld pieces left", name, n, run,
                 scarce_live() - before);
    return failed;
}

/* The first EXHAUST_FIRST and then each `step`-th, to the last; returns how
 * many there are, to within a step. Work that fails for another reason may do
 * so still. */
enum { EXHAUST_FIRST = 40 };

static inline int
exhaust_some(const char *name, exhaust_work *work, const void *about, int step)
{
    soma_error otherwise = {SOMA_OK, ""};
    uint32_t good = 0;
    int n = 1;
    scarce_start(INT_MAX, 0);
    soma_status status = work(about, &good, &otherwise);
    scarce_stop();
    otherwise.status = status;
    assert_int_not_equal(status, SOMA_E_MEMORY);
    for (; exhaust_try(name, work, about, n, 0, &otherwise, good);
         n += n < EXHAUST_FIRST ? 1 : step)
        exhaust_try(name, work, about, n, INT_MAX - n, &otherwise, good);
    return n - 1;
}

/* All of them. */
static inline int
exhaust(const char *name, exhaust_work *work, const void *about)
{
    return exhaust_some(name, work, about, 1);
}

#endif
