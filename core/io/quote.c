#include "core/io/quote.h"

#include <stdbool.h>
#include <string.h>

const char *
soma_quote(const char *text, char to[SOMA_QUOTE_SIZE])
{
    enum { MOST = SOMA_QUOTE_SIZE - sizeof "..." };
    size_t length = strnlen(text, MOST + 1);
    const char *tail = "";
    if (length > MOST) {
        length = MOST;
        while (length && ((unsigned char)text[length] & 0xc0) == 0x80)
            length--;
        tail = "...";
    }
    for (size_t i = 0; i < length; i++) {
        bool control = (unsigned char)text[i] < ' ' || text[i] == 0x7f;
        to[i] = text[i];
        if (control)
            to[i] = '?';
    }
    strcpy(to + length, tail);
    return to;
}
