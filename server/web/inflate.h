/* Request bodies that come compressed (RFC 9110, 8.4): gzip, and deflate,
 * which is a zlib stream.
 */
#ifndef SOMA_WEB_INFLATE_H
#define SOMA_WEB_INFLATE_H

#include "server/web/request.h"

/* Whether bodies of this Content-Encoding are taken; NULL is none. */
bool soma_inflate_knows(const char *coding);

/* Puts what it holds in the body's place, if request->coding says that it is
 * compressed. False: it is more than `most` bytes, or not what it says, or
 * there is no memory; the reply is complete. */
bool soma_inflate_body(soma_request *request, size_t most);

#endif
