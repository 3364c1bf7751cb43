/* Lists of short whole numbers, as pixels are: many at a time.
 */
#ifndef SOMA_WEB_DIGITS_H
#define SOMA_WEB_DIGITS_H

#include <stddef.h>

/* The ways to do it, by the instructions they need; the later, the faster. */
typedef enum soma_digits_way {
    SOMA_DIGITS_NONE, /* takes nothing: the caller reads all one by one */
    SOMA_DIGITS_AVX2,
    SOMA_DIGITS_AVX512
} soma_digits_way;

/* The best that this CPU has. */
soma_digits_way soma_digits_best(void);

/* For tests: uses none better than this. Not while others read. */
void soma_digits_limit(soma_digits_way way);

/* Reads numbers of one to three digits, each with a comma behind it and then
 * at most one space, from `at`, where an element of an array begins in the
 * text [begin, end), until something else comes; *count of them to `to`.
 * Returns where the next element begins: whatever stands there is the
 * caller's to read. May stop early at any element. Needs `room` for some
 * numbers more, of which those behind *count may be overwritten. *end must be
 * readable. */
const char *soma_digits_read(const char *begin, const char *at, const char *end,
                             float *to, size_t room, size_t *count);

#endif
