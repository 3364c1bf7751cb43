/* The form of a request's head, where the HTTP library forgives what RFC 9112
 * forbids.
 */
#ifndef SOMA_WEB_HTTP_HEAD_H
#define SOMA_WEB_HTTP_HEAD_H

#include <stdbool.h>

struct MHD_Connection;

/* Whether the head is a line "method target version", one space between them,
 * and a sequence of "name: value CRLF" with names that are tokens (RFC 9112, 3
 * and 5): no whitespace before a colon, no folded line, no NUL, no control
 * character, no bare LF. The strings are those that the library's handler was
 * given; after_uri is where the target of the request's line ends, or NULL. */
bool soma_head_is_well_formed(struct MHD_Connection *connection,
                              const char *method, const char *url,
                              const char *version, const char *after_uri);

/* Whether nothing is in it that cuts it short or ends its line: a control
 * character, or %00. */
bool soma_head_is_target(const char *uri);

/* Whether the library takes chunks whose lines end in a bare LF, so that
 * others may see another end of the message. */
bool soma_head_forgives_chunks(void);

#endif
