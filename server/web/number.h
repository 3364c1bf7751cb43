/* Numbers of JSON text, as float32. */
#ifndef SOMA_WEB_NUMBER_H
#define SOMA_WEB_NUMBER_H

/* Reads the JSON number at `text` (which ends in a NUL somewhere) and returns
 * the first byte behind it; NULL if there is none that jansson would accept:
 * RFC 8259's grammar, integers of at most 64 bits, no overflow of double. */
const char *soma_number_read(const char *text, float *value);

#endif
