/* Calls of a journal that must succeed, with a word of why if they do not.
 */
#ifndef SOMA_TESTS_UNIT_JOURNAL_CALLS_H
#define SOMA_TESTS_UNIT_JOURNAL_CALLS_H

#include "tests/unit/journals.h"

static soma_error err;

#define OK(call)                                                               \
    do {                                                                       \
        if ((call) != SOMA_OK)                                                 \
            fail_msg("%s: %s", #call, err.text);                               \
    } while (0)

static inline void
shut(soma_journal *j)
{
    j->backend->close(j);
}

static inline soma_journal_info
info_of(soma_journal *j)
{
    soma_journal_info info;
    OK(j->backend->info(j, &info, &err));
    return info;
}

static inline uint64_t
read_all(soma_journal *j, uint64_t after)
{
    uint64_t count = 0;
    OK(j->backend->read(j, after, UINT64_MAX, visit_sample, &count, &err));
    return count;
}

#endif
