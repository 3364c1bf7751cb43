#include "server/web/text.h"

#include "server/web/decimal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
soma_text_free(soma_text *text)
{
    free(text->data);
    *text = (soma_text){0};
}

void
soma_text_clear(soma_text *text)
{
    text->used = 0;
    text->failed = false;
}

void
soma_text_bytes(soma_text *text, const void *bytes, size_t size)
{
    if (text->room - text->used < size) {
        size_t room = (text->used + size) * 2 + 256;
        char *data = text->failed ? NULL : realloc(text->data, room);
        if (!data) {
            text->failed = true;
            return;
        }
        text->data = data;
        text->room = room;
    }
    memcpy(text->data + text->used, bytes, size);
    text->used += size;
}

void
soma_text_put(soma_text *text, const char *string)
{
    soma_text_bytes(text, string, strlen(string));
}

/* Bytes of the UTF-8 character at `s`, 0: it is none (RFC 3629: nothing longer
 * than needed, no surrogates, nothing beyond U+10FFFF). */
static size_t
character(const unsigned char *s)
{
    size_t size = s[0] < 0x80                   ? 1
                  : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
                  : s[0] >= 0xe0 && s[0] < 0xf0 ? 3
                  : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                                : 0;
    for (size_t i = 1; i < size; i++)
        if ((s[i] & 0xc0) != 0x80) /* also the NUL of the end */
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90))
        return 0;
    return size;
}

static bool
is_plain(unsigned char c)
{
    return c >= 0x20 && c != '"' && c != '\\' && c < 0x80;
}

void
soma_text_quote(soma_text *text, const char *string)
{
    soma_text_put(text, "\"");
    while (*string) {
        size_t plain = 0, more;
        while (is_plain((unsigned char)string[plain]))
            plain++;
        while ((more = character((const unsigned char *)string + plain)) > 1)
            plain += more;
        soma_text_bytes(text, string, plain);
        string += plain;
        if (plain)
            continue;
        char escaped[8] = "\\ufffd";
        unsigned char c = (unsigned char)*string++;
        if (c < 0x80)
            snprintf(escaped, sizeof escaped, c < 0x20 ? "\\u%04x" : "\\%c", c);
        soma_text_put(text, escaped);
    }
    soma_text_put(text, "\"");
}

void
soma_text_whole(soma_text *text, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + value % 10);
    while (value /= 10);
    soma_text_bytes(text, digits + at, sizeof digits - at);
}

void
soma_text_float(soma_text *text, float value)
{
    char decimal[SOMA_DECIMAL_ROOM];
    if (isfinite(value))
        soma_text_bytes(text, decimal, soma_decimal_write(value, decimal));
    else
        soma_text_put(text, "null");
}
