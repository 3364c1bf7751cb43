/* Numbers of JSON text, as float32. */
#ifndef SOMA_WEB_NUMBER_H
#define SOMA_WEB_NUMBER_H

#include <stddef.h>

/* Reads the JSON number at `text` < end (*end must be a NUL) and returns the
 * first byte behind it; NULL if there is none that jansson would accept:
 * RFC 8259's grammar, integers of at most 64 bits, no overflow of double. */
const char *soma_number_read(const char *text, const char *end, float *value);

/* The same for whole numbers of one to three digits, which most pixels are;
 * NULL for any other, which may still be a number. Inline, since a body has
 * thousands of them and a call for each costs more than its digits. */
static inline const char *
soma_number_read_short(const char *text, float *value)
{
    unsigned a = (unsigned)(unsigned char)text[0] - '0', b, c;
    if (a > 9)
        return NULL;
    b = (unsigned)(unsigned char)text[1] - '0';
    if (b > 9) {
        *value = (float)a;
        text += 1;
    } else {
        c = (unsigned)(unsigned char)text[2] - '0';
        if (a == 0)
            return NULL; /* a leading zero */
        a = a * 10 + b;
        if (c > 9) {
            *value = (float)a;
            text += 2;
        } else {
            *value = (float)(a * 10 + c);
            text += 3;
        }
    }
    /* Neither more digits, nor a fraction, nor an exponent behind them. */
    return *text == ',' || *text == ']' || *text == ' ' ? text : NULL;
}

#endif
