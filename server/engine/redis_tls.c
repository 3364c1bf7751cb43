#include "server/engine/redis_tls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE = 16 << 10 }; /* the most that a record holds */

/* Bytes on their way: in `bytes` from `at` to `size`. */
typedef struct piece {
    size_t at, size;
    char bytes[PIECE];
} piece;

struct soma_redis_tls {
    gnutls_certificate_credentials_t trust;
    gnutls_session_t session;
    int server, local; /* sockets: -1 none */
    pthread_t thread;
    bool running;
    piece out, in; /* to the server, from it */
};

static bool
is_empty(const piece *p)
{
    return p->at == p->size;
}

/* What a call gave: bytes; or that nothing can be done now. The rest is the
 * end of the connection. */
static bool
for_now(ssize_t got)
{
    return got == GNUTLS_E_AGAIN || got == GNUTLS_E_INTERRUPTED;
}

/* A send or recv of the socket pair, in the words of GnuTLS. */
static ssize_t
as_gnutls(ssize_t got)
{
    return got < 0 ? GNUTLS_E_AGAIN : got;
}

/* Fills an empty piece and sends on what is in it. False: an end has come. */
static bool
carry_out(soma_redis_tls *tls)
{
    piece *p = &tls->out;
    if (is_empty(p)) {
        ssize_t got = recv(tls->local, p->bytes, PIECE, MSG_DONTWAIT);
        if (got <= 0)
            return for_now(as_gnutls(got));
        p->at = 0;
        p->size = (size_t)got;
    }
    ssize_t sent =
        gnutls_record_send(tls->session, p->bytes + p->at, p->size - p->at);
    if (sent > 0)
        p->at += (size_t)sent;
    return sent > 0 || for_now(sent);
}

static bool
carry_in(soma_redis_tls *tls)
{
    piece *p = &tls->in;
    if (is_empty(p)) {
        ssize_t got = gnutls_record_recv(tls->session, p->bytes, PIECE);
        if (got <= 0)
            return for_now(got);
        p->at = 0;
        p->size = (size_t)got;
    }
    ssize_t sent = send(tls->local, p->bytes + p->at, p->size - p->at,
                        MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0)
        p->at += (size_t)sent;
    return sent > 0 || for_now(as_gnutls(sent));
}

/* Until there is something to carry. GnuTLS may hold what it has read. */
static void
wait_for_some(soma_redis_tls *tls)
{
    struct pollfd fds[] = {{.fd = tls->local}, {.fd = tls->server}};
    if (gnutls_record_check_pending(tls->session) > 0 && is_empty(&tls->in))
        return;
    fds[0].events = (short)((is_empty(&tls->out) ? POLLIN : 0) |
                            (is_empty(&tls->in) ? 0 : POLLOUT));
    fds[1].events = (short)((is_empty(&tls->in) ? POLLIN : 0) |
                            (is_empty(&tls->out) ? 0 : POLLOUT));
    poll(fds, 2, -1);
}

static void *
carry(void *arg)
{
    soma_redis_tls *tls = arg;
    while (carry_out(tls) && carry_in(tls))
        wait_for_some(tls);
    gnutls_bye(tls->session, GNUTLS_SHUT_WR);
    shutdown(tls->local, SHUT_RDWR); /* hiredis sees the end */
    return NULL;
}

/* ---- Opening ---- */

static soma_status
refuse(soma_error *err, const char *what, int code)
{
    return soma_error_set(err, SOMA_E_IO, "TLS: %s: %s", what,
                          gnutls_strerror(code));
}

static soma_status
load(soma_redis_tls *tls, const soma_redis_trust *files, soma_error *err)
{
    int code = gnutls_certificate_allocate_credentials(&tls->trust);
    if (code)
        return soma_error_memory(err, "TLS");
    code = files->ca ? gnutls_certificate_set_x509_trust_file(
                           tls->trust, files->ca, GNUTLS_X509_FMT_PEM)
                     : gnutls_certificate_set_x509_system_trust(tls->trust);
    if (code < 0 || (files->ca && code == 0))
        return refuse(err, files->ca ? files->ca : "whom the system trusts",
                      code ? code : GNUTLS_E_NO_CERTIFICATE_FOUND);
    if (!files->cert)
        return SOMA_OK;
    code = gnutls_certificate_set_x509_key_file(
        tls->trust, files->cert, files->key ? files->key : files->cert,
        GNUTLS_X509_FMT_PEM);
    return code < 0 ? refuse(err, files->cert, code) : SOMA_OK;
}

/* Why the server's certificate is not trusted, in words. */
static soma_status
distrust(soma_redis_tls *tls, soma_error *err)
{
    gnutls_datum_t why = {NULL, 0};
    unsigned status = gnutls_session_get_verify_cert_status(tls->session);
    gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &why,
                                                 0);
    while (why.size && why.data[why.size - 1] == ' ')
        why.size--;
    soma_error_set(err, SOMA_E_IO, "TLS: %.*s", (int)why.size,
                   why.data ? (const char *)why.data : "");
    gnutls_free(why.data);
    return SOMA_E_IO;
}

static bool
is_address(const char *host)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, host, bytes) == 1 ||
           inet_pton(AF_INET6, host, bytes) == 1;
}

static soma_status
shake_hands(soma_redis_tls *tls, const char *host, unsigned milliseconds,
            soma_error *err)
{
    int code = gnutls_init(&tls->session, GNUTLS_CLIENT);
    if (!code)
        code = gnutls_set_default_priority(tls->session);
    if (!code)
        code = gnutls_credentials_set(tls->session, GNUTLS_CRD_CERTIFICATE,
                                      tls->trust);
    if (code)
        return refuse(err, "setup", code);
    if (!is_address(host))
        gnutls_server_name_set(tls->session, GNUTLS_NAME_DNS, host,
                               strlen(host));
    gnutls_session_set_verify_cert(tls->session, host, 0);
    gnutls_transport_set_int(tls->session, tls->server);
    gnutls_handshake_set_timeout(tls->session, milliseconds);
    do
        code = gnutls_handshake(tls->session);
    while (code < 0 && !gnutls_error_is_fatal(code));
    if (code == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
        return distrust(tls, err);
    return code < 0 ? refuse(err, host, code) : SOMA_OK;
}

/* The thread, and the end of the pair that hiredis gets. */
static soma_status
begin(soma_redis_tls *tls, int *fd, soma_error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return soma_error_set(err, SOMA_E_IO, "TLS: no pair of sockets");
    tls->local = pair[0];
    int flags = fcntl(tls->server, F_GETFL);
    fcntl(tls->server, F_SETFL, flags | O_NONBLOCK);
    tls->running = !pthread_create(&tls->thread, NULL, carry, tls);
    if (!tls->running) {
        close(pair[1]);
        return soma_error_memory(err, "a thread for TLS");
    }
    *fd = pair[1];
    return SOMA_OK;
}

soma_redis_tls *
soma_redis_tls_open(int server, const char *host, const soma_redis_trust *trust,
                    unsigned milliseconds, int *fd, soma_error *err)
{
    soma_redis_tls *tls = calloc(1, sizeof *tls);
    if (!tls) {
        close(server);
        soma_error_memory(err, "TLS");
        return NULL;
    }
    tls->server = server;
    tls->local = -1;
    soma_status status = load(tls, trust, err);
    if (!status)
        status = shake_hands(tls, host, milliseconds, err);
    if (!status)
        status = begin(tls, fd, err);
    if (!status)
        return tls;
    soma_redis_tls_close(tls);
    return NULL;
}

void
soma_redis_tls_close(soma_redis_tls *tls)
{
    if (!tls)
        return;
    if (tls->running) {
        shutdown(tls->server, SHUT_RDWR); /* for a thread that waits for it */
        pthread_join(tls->thread, NULL);
    }
    if (tls->session)
        gnutls_deinit(tls->session);
    if (tls->trust)
        gnutls_certificate_free_credentials(tls->trust);
    if (tls->local >= 0)
        close(tls->local);
    close(tls->server);
    free(tls);
}
