#include "server/web/tls.h"

#include "core/io/file.h"
#include "server/engine/clock.h"
#include "server/engine/log.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CHAIN = 16, LOOK_EVERY = 1000000 };

/* Handshakes of other threads may still use one that was replaced, and nothing
 * tells when they are over: it is kept, a few KiB for each replacement. */
typedef struct identity {
    gnutls_pcert_st chain[CHAIN];
    unsigned count;
    gnutls_privkey_t key;
    struct identity *before;
} identity;

static struct {
    const char *certificate, *key; /* paths */
    pthread_mutex_t lock;          /* of what follows */
    identity *current;
    soma_file_id seen[2];
    uint64_t looked; /* ticks */
} tls = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void
free_identity(identity *self)
{
    if (!self)
        return;
    for (unsigned i = 0; i < self->count; i++)
        gnutls_pcert_deinit(&self->chain[i]);
    if (self->key)
        gnutls_privkey_deinit(self->key);
    free(self);
}

static soma_status
refuse(const char *path, const char *expected, int code, soma_error *err)
{
    return soma_error_set(err, SOMA_E_ARGUMENT, "%s: expected %s in PEM: %s",
                          path, expected, gnutls_strerror(code));
}

static soma_status
read_chain(identity *to, soma_error *err)
{
    gnutls_datum_t text;
    unsigned count = CHAIN;
    int code = gnutls_load_file(tls.certificate, &text);
    if (!code) {
        code = gnutls_pcert_list_import_x509_raw(
            to->chain, &count, &text, GNUTLS_X509_FMT_PEM,
            GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
        gnutls_free(text.data);
    }
    if (code)
        return refuse(tls.certificate, "a certificate and its chain", code,
                      err);
    to->count = count;
    return SOMA_OK;
}

static soma_status
read_key(identity *to, soma_error *err)
{
    gnutls_datum_t text;
    int code = gnutls_privkey_init(&to->key);
    if (!code)
        code = gnutls_load_file(tls.key, &text);
    if (!code) {
        code = gnutls_privkey_import_x509_raw(to->key, &text,
                                              GNUTLS_X509_FMT_PEM, NULL, 0);
        gnutls_memset(text.data, 0, text.size);
        gnutls_free(text.data);
    }
    return code ? refuse(tls.key, "a private key", code, err) : SOMA_OK;
}

/* Whether the key is the certificate's: they have one public key. */
static soma_status
check_pair(const identity *self, soma_error *err)
{
    gnutls_pubkey_t public;
    unsigned char ids[2][64] = {{0}, {0}};
    size_t sizes[2] = {sizeof ids[0], sizeof ids[1]};
    int code = gnutls_pubkey_init(&public);
    if (code)
        return soma_error_memory(err, "a certificate");
    code = gnutls_pubkey_import_privkey(public, self->key, 0, 0);
    if (!code)
        code = gnutls_pubkey_get_key_id(public, 0, ids[0], &sizes[0]);
    if (!code)
        code = gnutls_pubkey_get_key_id(self->chain[0].pubkey, 0, ids[1],
                                        &sizes[1]);
    gnutls_pubkey_deinit(public);
    if (code || sizes[0] != sizes[1] || memcmp(ids[0], ids[1], sizes[0]) != 0)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%s is not the key of the certificate %s",
                              tls.key, tls.certificate);
    return SOMA_OK;
}

static soma_status
load(identity **made, soma_error *err)
{
    identity *fresh = calloc(1, sizeof *fresh);
    *made = NULL;
    if (!fresh)
        return soma_error_memory(err, "a certificate");
    soma_status status = read_chain(fresh, err);
    if (!status)
        status = read_key(fresh, err);
    if (!status)
        status = check_pair(fresh, err);
    if (status)
        free_identity(fresh);
    else
        *made = fresh;
    return status;
}

/* Whether either file is another one than when it was last looked at. */
static bool
is_changed(void)
{
    const char *paths[] = {tls.certificate, tls.key};
    bool changed = false;
    for (int i = 0; i < 2; i++) {
        soma_error err;
        soma_file_id now = {0};
        soma_file_identify(paths[i], &now, &err);
        changed = changed || !soma_file_is_same(&now, &tls.seen[i]);
        tls.seen[i] = now;
    }
    return changed;
}

/* Two files are seldom replaced in one step: what does not fit together is
 * looked at again the next second. */
static void
look_again(void)
{
    soma_error err;
    identity *fresh;
    uint64_t now = soma_clock_ticks();
    if (now - tls.looked < LOOK_EVERY)
        return;
    tls.looked = now;
    if (!is_changed())
        return;
    if (load(&fresh, &err)) {
        soma_log(SOMA_LOG_ERROR, "certificate-failed", "text", err.text, NULL);
        memset(tls.seen, 0, sizeof tls.seen);
        return;
    }
    fresh->before = tls.current;
    tls.current = fresh;
    soma_log(SOMA_LOG_INFO, "certificate", "text", "read again", NULL);
}

soma_status
soma_tls_open(const char *certificate, const char *key, soma_error *err)
{
    tls.certificate = certificate;
    tls.key = key;
    is_changed();
    tls.looked = soma_clock_ticks();
    return load(&tls.current, err);
}

void
soma_tls_close(void)
{
    while (tls.current) {
        identity *before = tls.current->before;
        free_identity(tls.current);
        tls.current = before;
    }
}

static int
retrieve(gnutls_session_t session, const gnutls_datum_t *authorities, int count,
         const gnutls_pk_algorithm_t *algorithms, int algorithm_count,
         gnutls_pcert_st **chain, unsigned *length, gnutls_privkey_t *key)
{
    (void)session, (void)authorities, (void)count;
    (void)algorithms, (void)algorithm_count;
    pthread_mutex_lock(&tls.lock);
    look_again();
    *chain = tls.current->chain;
    *length = tls.current->count;
    *key = tls.current->key;
    pthread_mutex_unlock(&tls.lock);
    return 0;
}

void *
soma_tls_callback(void)
{
    union {
        gnutls_certificate_retrieve_function2 *function;
        void *data;
    } callback = {.function = retrieve};
    return tls.current ? callback.data : NULL;
}
