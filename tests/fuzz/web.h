/* A worker without a socket, for the targets of what comes over HTTP: requests
 * go through server/web as libmicrohttpd would hand them over, into a server
 * of one small model, `tiny` (learners.h's, classes cat, dog and fish, input
 * 4 values from 0 to 255), which learns, and keeps nothing.
 */
#ifndef SOMA_TESTS_FUZZ_WEB_H
#define SOMA_TESTS_FUZZ_WEB_H

#include <stddef.h>
#include <stdint.h>

enum { WEB_HEADERS = 16 };

typedef struct web_message {
    const char *method;
    char *target; /* path and query; is written to */
    const char *names[WEB_HEADERS], *values[WEB_HEADERS];
    int headers;
    const uint8_t *body;
    size_t size;
} web_message;

/* Answers it, and returns the status. It aborts on a status that the contract
 * does not have (500 among them), on an error that is not one of the
 * contract's, and on JSON that is none. */
int web_ask(web_message *message);

/* Adds a header, while there is room. */
void web_header(web_message *message, const char *name, const char *value);

#endif
