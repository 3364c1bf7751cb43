/* TLS for the HTTP library's daemons: one certificate chain and key, read
 * again when their files change.
 *
 * GnuTLS asks for them at each handshake without a word of whose it is, so
 * there is one of these in a process. Connections that stand keep what they
 * began with.
 */
#ifndef SOMA_WEB_TLS_H
#define SOMA_WEB_TLS_H

#include "core/status.h"

/* Reads both files, PEM. SOMA_E_ARGUMENT: not a certificate and its key. */
soma_status soma_tls_open(const char *certificate, const char *key,
                          soma_error *err);

/* When no handshake can come any more. */
void soma_tls_close(void);

/* What MHD_OPTION_HTTPS_CERT_CALLBACK takes; NULL: it was not opened. */
void *soma_tls_callback(void);

#endif
