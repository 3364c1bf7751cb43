/* float32 as decimal text. */
#ifndef SOMA_WEB_DECIMAL_H
#define SOMA_WEB_DECIMAL_H

#include <stddef.h>

enum { SOMA_DECIMAL_ROOM = 24 };

/* Writes a short decimal that reads back as the same float32 (6 to 9 digits,
 * the fewest of these that do, without trailing zeros), a number of JSON's
 * grammar, no NUL. `value` must be finite. Returns the length. */
size_t soma_decimal_write(float value, char text[SOMA_DECIMAL_ROOM]);

#endif
