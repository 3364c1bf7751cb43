/* A growing text, for answers. Failed allocations are remembered, so that
 * only the end has to be checked.
 */
#ifndef SOMA_WEB_TEXT_H
#define SOMA_WEB_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct soma_text {
    char *data;
    size_t used, room;
    bool failed;
} soma_text;

void soma_text_free(soma_text *text);
void soma_text_clear(soma_text *text); /* keeps its memory */

void soma_text_bytes(soma_text *text, const void *bytes, size_t size);
void soma_text_put(soma_text *text, const char *string);

/* A JSON string, quoted and escaped. What is not UTF-8 in it (a path, a header,
 * a message that was cut) becomes U+FFFD, byte by byte: JSON has no other
 * encoding. */
void soma_text_quote(soma_text *text, const char *string);

void soma_text_whole(soma_text *text, uint64_t value);

/* A JSON number: a short decimal that reads back as the same float32. An
 * infinity or NaN becomes null. */
void soma_text_float(soma_text *text, float value);

#endif
