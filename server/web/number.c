/* Why not strtod for all: a pixel is a short decimal. Its digits as a whole
 * number below 2^53, times or over a power of ten up to 10^22, are both exact
 * doubles, so one multiplication or division rounds correctly (Clinger, "How
 * to read floating point numbers accurately", 1990): the same double that
 * strtod gives. Anything longer goes to strtod. */
#include "server/web/number.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static inline bool
digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* What a number consists of. */
typedef struct decimal {
    bool negative, whole;
    uint64_t digits; /* right if count <= 19 */
    int count;       /* of digits, leading zeros included */
    int exponent;    /* of ten, behind the digits; cut off far outside */
} decimal;

static const char *
scan_digits(const char *at, decimal *d)
{
    for (; digit(*at); at++) {
        d->digits = d->digits * 10 + (uint64_t)(*at - '0');
        if (d->count < 1000)
            d->count++;
    }
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

static const char *
scan(const char *at, decimal *d)
{
    *d = (decimal){.negative = *at == '-', .whole = true};
    at += d->negative;
    if (!digit(*at) || (*at == '0' && digit(at[1])))
        return NULL;
    at = scan_digits(at, d);
    if (*at == '.') {
        const char *fraction = at + 1;
        d->whole = false;
        at = scan_digits(fraction, d);
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

const char *
soma_number_read(const char *text, float *value)
{
    decimal d;
    const char *end = scan(text, &d);
    if (!end)
        return NULL;
    if (d.count <= 19 && d.digits < (uint64_t)1 << 53 && d.exponent >= -22 &&
        d.exponent <= 22) {
        double read = (double)d.digits;
        if (d.exponent < 0)
            read /= powers[-d.exponent];
        else
            read *= powers[d.exponent];
        *value = (float)(d.negative ? -read : read);
        return end;
    }
    return read_slowly(text, d.whole, value) ? end : NULL;
}
