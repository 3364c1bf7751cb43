/* Why not strtod for all: a pixel is a short decimal. Its digits as a whole
 * number below 2^53, times or over a power of ten up to 10^22, are both exact
 * doubles, so one multiplication or division rounds correctly (Clinger, "How
 * to read floating point numbers accurately", 1990): the same double that
 * strtod gives.
 *
 * The 16 or 17 digits that Python writes of a double are more than that. Then
 * the result may be off by some units in the last place of a double, of which
 * float32 drops 29 bits: the float32 is the same unless those bits stand close
 * to the middle, where it rounds up or down. What is left goes to strtod.
 *
 * Digits are read eight at a time, as a 64-bit word: the loop over single ones
 * mispredicts its end for every number of another length. */
#include "server/web/number.h"

#include <endian.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

enum { WORD = 8, MOST_POWER = 22 };

static const uint64_t whole_powers[WORD + 1] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

/* Whole numbers up to this keep within 64 bits with so many digits more. */
#define ROOM(power) (UINT64_MAX / (power)-1)
static const uint64_t rooms[WORD + 1] = {
    ROOM(1),      ROOM(10),      ROOM(100),      ROOM(1000),     ROOM(10000),
    ROOM(100000), ROOM(1000000), ROOM(10000000), ROOM(100000000)};

static inline bool
digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* What a number consists of. */
typedef struct decimal {
    bool negative, whole;
    bool cut;        /* there were more digits than fit */
    uint64_t digits; /* right if not cut */
    int exponent;    /* of ten, behind the digits; cut off far outside */
} decimal;

/* Appends `count` <= 8 digits, whose value is `word`. */
static inline void
append(decimal *d, uint64_t word, int count)
{
    d->cut = d->cut || d->digits > rooms[count];
    d->digits = d->digits * whole_powers[count] + word;
}

/* How many of the word's bytes, from the lowest, are digits. */
static inline int
leading_digits(uint64_t word)
{
    uint64_t other = ((word & 0xf0f0f0f0f0f0f0f0) ^ 0x3030303030303030) |
                     (((word & 0x0f0f0f0f0f0f0f0f) + 0x0606060606060606) &
                      0x1010101010101010);
    return other ? __builtin_ctzll(other) / 8 : WORD;
}

/* The value of eight digits, the first in the lowest byte: pairs, then fours,
 * then all. */
static inline uint64_t
value_of(uint64_t word)
{
    word = (word & 0x0f0f0f0f0f0f0f0f) * (10 << 8 | 1) >> 8;
    word = (word & 0x00ff00ff00ff00ff) * (100 << 16 | 1) >> 16;
    return (word & 0x0000ffff0000ffff) * (10000ull << 32 | 1) >> 32;
}

static inline const char *
scan_digits(const char *at, const char *end, decimal *d)
{
    while (end - at >= WORD) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        word = le64toh(word);
        int count = leading_digits(word);
        if (!count)
            return at;
        /* Zeros move in, as digits before the others. */
        append(d, value_of(word << (WORD - count) * 8), count);
        at += count;
        if (count < WORD)
            return at;
    }
    for (; at < end && digit(*at); at++)
        append(d, (uint64_t)(*at - '0'), 1);
    return at;
}

static const char *
scan_exponent(const char *at, decimal *d)
{
    bool negative = *at == '-';
    int exponent = 0;
    if (*at == '-' || *at == '+')
        at++;
    if (!digit(*at))
        return NULL;
    for (; digit(*at); at++)
        if (exponent < 100000)
            exponent = exponent * 10 + (*at - '0');
    d->exponent += negative ? -exponent : exponent;
    return at;
}

static inline const char *
scan(const char *at, const char *end, decimal *d)
{
    *d = (decimal){.negative = *at == '-', .whole = true};
    at += d->negative;
    if (!digit(*at) || (*at == '0' && digit(at[1])))
        return NULL;
    if (!digit(at[1]))
        d->digits = (uint64_t)(*at++ - '0');
    else
        at = scan_digits(at, end, d);
    if (*at == '.') {
        const char *fraction = at + 1;
        d->whole = false;
        at = scan_digits(fraction, end, d);
        if (at == fraction)
            return NULL;
        long places = at - fraction;
        d->exponent = places < 100000 ? -(int)places : -100000;
    }
    if (*at == 'e' || *at == 'E') {
        d->whole = false;
        at = scan_exponent(at + 1, d);
    }
    return at;
}

/* What jansson does: integers by strtoll, which must not overflow, reals by
 * strtod, which may underflow. */
static bool
read_slowly(const char *text, bool whole, float *value)
{
    errno = 0;
    if (whole) {
        (void)strtoll(text, NULL, 10);
        if (errno == ERANGE)
            return false;
    }
    double read = strtod(text, NULL);
    *value = (float)read;
    return isfinite(read);
}

/* Whether every double as close to it as rounding twice may bring it (less
 * than 3 units in the last place) is the same float32: there is no middle
 * between two of them nearby. Those below FLT_MIN have theirs elsewhere. */
static inline bool
rounds_clearly(double read)
{
    enum { DROPPED = 29, NEAR = 4 };
    const uint64_t middle = (uint64_t)1 << (DROPPED - 1);
    uint64_t bits;
    memcpy(&bits, &read, sizeof bits);
    uint64_t dropped = bits & (((uint64_t)1 << DROPPED) - 1);
    return read > 2 * (double)FLT_MIN &&
           (dropped < middle - NEAR || dropped > middle + NEAR);
}

const char *
soma_number_read(const char *text, const char *end, float *value)
{
    decimal d;
    const char *behind = scan(text, end, &d);
    if (!behind)
        return NULL;
    if (!d.cut && d.exponent >= -MOST_POWER && d.exponent <= MOST_POWER) {
        bool exact = d.digits < (uint64_t)1 << 53;
        double read = (double)d.digits;
        if (d.exponent < 0)
            read /= powers[-d.exponent];
        else
            read *= powers[d.exponent];
        if (exact || (!d.whole && rounds_clearly(read))) {
            *value = (float)(d.negative ? -read : read);
            return behind;
        }
    }
    return read_slowly(text, d.whole, value) ? behind : NULL;
}
