/* Pages of other origins (Fetch standard, 3.2): which of them may read answers,
 * and which may change anything.
 *
 * A browser sends a page's simple requests wherever the page says, and only
 * keeps the answer from it. So whatever is no GET is refused when a browser
 * says that it comes from a page elsewhere, unless --cors-origin has its
 * origin: else any page on the web could teach a server on the reader's own
 * machine.
 */
#ifndef SOMA_WEB_CORS_H
#define SOMA_WEB_CORS_H

#include "core/status.h"
#include "server/web/head.h"

#include <stdbool.h>

/* "https://a.example,http://b.example:8080" or "*"; NULL: none. */
soma_status soma_cors_check(const char *origins, soma_error *err);

/* Whether `origin`, a header's value or NULL, is in that list. */
bool soma_cors_allows(const char *origins, const char *origin);

/* Answers a preflight, refuses what another origin may not do (a complete
 * reply), or marks the reply as one that the origin may read. */
void soma_cors_take(const soma_head *head, soma_request *request,
                    const char *method, const char *path);

#endif
