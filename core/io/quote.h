/* Names from files, made fit for a message. Private to core/io. */
#ifndef SOMA_CORE_IO_QUOTE_H
#define SOMA_CORE_IO_QUOTE_H

enum { SOMA_QUOTE_SIZE = 104 };

/* Copies a UTF-8 text with each control character as '?' and, where it is too
 * long, cut between two characters with "..." behind; returns `to`. */
const char *soma_quote(const char *text, char to[SOMA_QUOTE_SIZE]);

#endif
