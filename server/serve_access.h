/* Who may reach the server, from its options: TLS, keys, rates, other pages'
 * origins.
 */
#ifndef SOMA_SERVER_SERVE_ACCESS_H
#define SOMA_SERVER_SERVE_ACCESS_H

#include "server/config.h"
#include "server/web/worker.h"

/* Messages name the option. */
soma_status soma_access_open(const soma_config *config, soma_web *web,
                             soma_error *err);

/* When no worker runs any more. */
void soma_access_close(soma_web *web);

#endif
