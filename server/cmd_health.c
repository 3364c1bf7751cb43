/* soma health: asks a server whether it is ready, for a container's health
 * check. One HTTP/1.0 request over a socket, plain or by TLS, so that the
 * image needs no HTTP client. */
#include "server/command.h"
#include "server/web/listen.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

typedef struct health_options {
    double timeout;
} health_options;

static const soma_option options[] = {
    {"timeout", "SECONDS", SOMA_OPTION_NUMBER, "3", 0.1, 3600,
     offsetof(health_options, timeout), "How long to wait for an answer."},
    {.name = NULL}};

static const soma_command command = {
    "health",
    "[URL] [options]",
    "Asks the server at URL (default http://127.0.0.1:8080) for /readyz; of an "
    "https:\nURL the certificate is not judged. Exit code 0: it is ready; 1: it "
    "is not, or\ndoes not answer.",
    options,
    0,
    1};

/* http[s]://host[:port][/path]; a path of "/" or none means /readyz. */
typedef struct address {
    bool tls;
    char host[256], port[8], path[256];
} address;

static soma_status
parse_url(const char *url, address *to, soma_error *err)
{
    to->tls = !strncmp(url, "https://", 8);
    bool known = to->tls || !strncmp(url, "http://", 7);
    const char *host = known ? strstr(url, "://") + 3 : url;
    size_t whole = strcspn(host, "/"), length = whole;
    const char *colon = memrchr(host, ':', whole);
    const char *bracket = memrchr(host, ']', whole);
    if (colon && (!bracket || colon > bracket))
        length = (size_t)(colon - host);
    else
        colon = NULL;
    const char *path = host + whole;
    const char *standard = to->tls ? "443" : "80";
    size_t port = colon ? whole - length - 1 : strlen(standard);
    if (!known || !length || length >= sizeof to->host || !port ||
        port >= sizeof to->port || strlen(path) >= sizeof to->path)
        return soma_error_set(
            err, SOMA_E_ARGUMENT,
            "expected http://host:port or https://, got \"%s\"", url);
    if (bracket && *host == '[') {
        host++;
        length -= 2;
    }
    snprintf(to->host, sizeof to->host, "%.*s", (int)length, host);
    snprintf(to->port, sizeof to->port, "%.*s", (int)port,
             colon ? colon + 1 : standard);
    snprintf(to->path, sizeof to->path, "%s",
             path[0] && path[1] ? path : "/readyz");
    if (!soma_listen_is_port(to->port))
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "expected a port from 0 to 65535, got \"%s\"",
                              url);
    return SOMA_OK;
}

static int
connect_to(const address *at, double timeout, soma_error *err)
{
    struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM};
    int failure = getaddrinfo(at->host, at->port, &hints, &list);
    if (failure) {
        soma_error_set(err, SOMA_E_NOT_FOUND, "%s: %s", at->host,
                       gai_strerror(failure));
        return -1;
    }
    struct timeval limit = {.tv_sec = (time_t)timeout};
    limit.tv_usec = (suseconds_t)((timeout - (double)limit.tv_sec) * 1e6);
    int fd = -1;
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        if (connect(fd, a->ai_addr, a->ai_addrlen)) {
            soma_error_set(err, SOMA_E_IO, "%s port %s: %s", at->host, at->port,
                           strerror(errno));
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

/* Plain, or through a session; both as send and recv return. */
static ssize_t
put(int fd, gnutls_session_t session, const char *text, size_t size)
{
    return session ? gnutls_record_send(session, text, size)
                   : send(fd, text, size, MSG_NOSIGNAL);
}

static ssize_t
take(int fd, gnutls_session_t session, char *text, size_t size)
{
    return session ? gnutls_record_recv(session, text, size)
                   : recv(fd, text, size, 0);
}

/* The status of the answer, or 0. */
static int
request(int fd, gnutls_session_t session, const address *at)
{
    char text[1024];
    int length =
        snprintf(text, sizeof text, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n",
                 at->path, at->host);
    if (put(fd, session, text, (size_t)length) != length)
        return 0;
    size_t got = 0;
    ssize_t n;
    while (got < sizeof text - 1 &&
           (n = take(fd, session, text + got, sizeof text - 1 - got)) > 0)
        got += (size_t)n;
    text[got] = '\0';
    return strncmp(text, "HTTP/1.", 7) || got < 12 ? 0 : atoi(text + 9);
}

/* Whether it is ready is asked, not who it is: the certificate is for the
 * names that clients use, so nothing is made of it. */
static int
request_over_tls(int fd, const address *at)
{
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
    int status = 0;
    if (gnutls_certificate_allocate_credentials(&credentials))
        return 0;
    if (!gnutls_init(&session, GNUTLS_CLIENT)) {
        gnutls_set_default_priority(session);
        gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials);
        gnutls_transport_set_int(session, fd);
        if (!gnutls_handshake(session))
            status = request(fd, session, at);
        gnutls_deinit(session);
    }
    gnutls_certificate_free_credentials(credentials);
    return status;
}

int
soma_cmd_health(int argc, char **argv)
{
    health_options o;
    const char *url;
    soma_error err;
    address at;
    int code = soma_command_start(&command, argc, argv, &o, &url);
    if (code >= 0)
        return code;
    /* In a container its environment says how it serves. */
    const char *standard = getenv("SOMA_TLS_CERT") ? "https://127.0.0.1:8080"
                                                   : "http://127.0.0.1:8080";
    if (parse_url(url ? url : standard, &at, &err))
        return soma_command_fail(&err);
    int fd = connect_to(&at, o.timeout, &err);
    if (fd < 0)
        return soma_command_fail(&err);
    int status = at.tls ? request_over_tls(fd, &at) : request(fd, NULL, &at);
    close(fd);
    if (status == 200)
        printf("ready\n");
    else if (status)
        printf("not ready: status %d\n", status);
    else
        printf("no answer within %g s\n", o.timeout);
    return status == 200 ? SOMA_EXIT_OK : SOMA_EXIT_FAILED;
}
