/* What `soma serve` opens before anyone may ask: certificate, keys, limits.
 */
#ifndef SOMA_SERVER_ACCESS_H
#define SOMA_SERVER_ACCESS_H

#include "server/config.h"
#include "server/web/worker.h"

/* Sets web->options first; what is open after a failure, soma_access_close
 * frees. */
soma_status soma_access_open(const soma_config *config, soma_web *web,
                             soma_error *err);
void soma_access_close(soma_web *web);

/* Says in the log what those who reach `host` may do or read, if it is not
 * loopback. */
void soma_access_warn(const soma_config *config, const char *host);

#endif
