/* The form of a request's head, where the HTTP library forgives what RFC 9112
 * forbids.
 */
#ifndef SOMA_WEB_HTTP_HEAD_H
#define SOMA_WEB_HTTP_HEAD_H

#include <stdbool.h>

struct MHD_Connection;

/* Whether the head is a sequence of "name: value CRLF" with names that are
 * tokens (RFC 9112, 5): no whitespace before a colon, no folded line, no NUL,
 * no control character, no bare LF. `version` is what the library's handler
 * was given, after_uri where the target of the request's line ends, or NULL. */
bool soma_head_is_well_formed(struct MHD_Connection *connection,
                              const char *version, const char *after_uri);

#endif
