/* Why not printf: ten probabilities cost more that way than the request's
 * forward pass. To n digits the value is the whole number m = value * 10^k,
 * rounded, in double arithmetic, which has 29 bits to spare over float32. It
 * reads back as `value` if m / 10^k lies clearly within half a unit of its
 * last place; "clearly" leaves room for the errors of these few operations.
 * 9 digits always do (Steele and White 1990). Whatever has fewer than 6 digits
 * comes out of 6 with zeros at its end. */
#include "server/web/decimal.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FEWEST = 6, MOST = 9, EXACT = 22 };

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static double
scaled(double value, int power)
{
    for (; power > EXACT; power -= EXACT)
        value *= powers[EXACT];
    for (; power < -EXACT; power += EXACT)
        value /= powers[EXACT];
    return power < 0 ? value / powers[-power] : value * powers[power];
}

/* Half the distance to the next float32, towards zero where that is less. */
static double
half_unit(float value)
{
    return ((double)value - (double)nextafterf(value, 0)) / 2;
}

/* The decimal exponent: 10^e <= value < 10^(e+1). */
static int
exponent_of(double value)
{
    int binary;
    frexp(value, &binary);
    int e = (int)floor((binary - 1) * 0.30102999566398120);
    return value >= scaled(1, e + 1) ? e + 1 : e;
}

/* Digits of m, without the zeros at its end; returns how many are left. */
static int
digits_of(uint64_t m, char *digits)
{
    char reversed[20];
    int count = 0, start = 0;
    for (; m; m /= 10)
        reversed[count++] = (char)('0' + m % 10);
    while (start < count - 1 && reversed[start] == '0')
        start++;
    for (int i = 0; i < count - start; i++)
        digits[i] = reversed[count - 1 - i];
    return count - start;
}

static size_t
lay_out(const char *digits, int count, int exponent, char *to)
{
    char *at = to;
    if (exponent < -5 || exponent > MOST) {
        *at++ = digits[0];
        if (count > 1)
            *at++ = '.';
        memcpy(at, digits + 1, (size_t)count - 1);
        at += count - 1;
        *at++ = 'e';
        *at++ = exponent < 0 ? '-' : '+';
        int size = exponent < 0 ? -exponent : exponent;
        *at++ = (char)('0' + size / 10);
        *at++ = (char)('0' + size % 10);
    } else if (exponent < 0) {
        *at++ = '0';
        *at++ = '.';
        for (int i = exponent + 1; i < 0; i++)
            *at++ = '0';
        memcpy(at, digits, (size_t)count);
        at += count;
    } else {
        for (int i = 0; i < count || i <= exponent; i++) {
            if (i == exponent + 1)
                *at++ = '.';
            *at++ = i < count ? digits[i] : '0';
        }
    }
    return (size_t)(at - to);
}

size_t
soma_decimal_write(float value, char text[SOMA_DECIMAL_ROOM])
{
    char *at = text;
    if (signbit(value))
        *at++ = '-';
    double magnitude = fabs((double)value);
    if (magnitude <= 0) {
        *at++ = '0';
        return (size_t)(at - text);
    }
    if (magnitude < (double)FLT_MIN) /* few bits: not worth a fast path */
        return (size_t)snprintf(text, SOMA_DECIMAL_ROOM, "%.9g", (double)value);

    double room = half_unit(fabsf(value)) * (1 - 0x1p-20);
    int exponent = exponent_of(magnitude), power = 0;
    double m = 0;
    for (int n = FEWEST; n <= MOST; n++) {
        power = n - 1 - exponent;
        m = rint(scaled(magnitude, power));
        if (fabs(scaled(m, -power) - magnitude) <= room)
            break;
    }
    char digits[20] = "";
    uint64_t whole = (uint64_t)m;
    int count = digits_of(whole, digits);
    /* Rounding may have carried into one more digit: 999999.6 to 1000000. */
    int length = 0;
    for (uint64_t rest = whole; rest; rest /= 10)
        length++;
    exponent = length - 1 - power;
    return (size_t)(at - text) + lay_out(digits, count, exponent, at);
}
