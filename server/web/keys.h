/* Who may do what: keys, their scopes, and the file that lists them.
 *
 * A line of the file is "NAME SCOPES DIGEST": a name of 1 to 64 letters,
 * digits, '.', '_' and '-'; scopes "predict", "train", "admin", parted by
 * commas; the SHA-256 of the key, as 64 hexadecimal digits. Blank lines and
 * those that start with '#' are passed over. `soma key` makes such lines. The
 * file holds no key, so who reads it cannot use one.
 *
 * A client sends "Authorization: Bearer KEY" (RFC 6750, 2.1). Its digest is
 * compared with all of the file's, each in full, so that the time taken tells
 * nothing about them.
 *
 * The file is looked at again each second that requests come; another one
 * takes the place of the old one if it is good, else the log says why not, and
 * the old one stays in force. Thread-safe.
 */
#ifndef SOMA_WEB_KEYS_H
#define SOMA_WEB_KEYS_H

#include "core/status.h"
#include "server/web/text.h"

#include <stdbool.h>
#include <stdint.h>

/* What a route asks for; the first is open to all. */
typedef enum soma_scope {
    SOMA_SCOPE_NONE = 0,
    SOMA_SCOPE_PREDICT = 1,
    SOMA_SCOPE_TRAIN = 2,
    SOMA_SCOPE_ADMIN = 4,
    SOMA_SCOPE_ANY = 7 /* one of them */
} soma_scope;

enum { SOMA_KEY_NAME = 64, SOMA_KEYS_MAX = 1024, SOMA_KEY_DIGEST = 32 };

typedef enum soma_admission {
    SOMA_ADMITTED,
    SOMA_NO_KEY,     /* none was sent, or not as a bearer */
    SOMA_WRONG_KEY,  /* none of the file's */
    SOMA_OTHER_SCOPE /* not for this */
} soma_admission;

typedef struct soma_keys soma_keys;

/* SOMA_E_ARGUMENT names the line and what was expected. */
soma_status soma_keys_open(const char *path, soma_keys **keys, soma_error *err);
void soma_keys_free(soma_keys *keys);

/* `authorization` is the header's value, or NULL; `name` and `scopes`, where
 * there is such a key, receive its name and scopes. */
soma_admission soma_keys_admit(soma_keys *keys, const char *authorization,
                               soma_scope scope, char name[SOMA_KEY_NAME + 1],
                               int *scopes);

/* The counts of each key, in Prometheus's format. */
void soma_keys_metrics(soma_keys *keys, soma_text *to);

/* Scopes of "predict,train"; 0: it is no such list. */
int soma_scopes_parse(const char *text, size_t length);
bool soma_key_name_is_good(const char *name, size_t length);
void soma_key_digest(const char *key, size_t length,
                     uint8_t digest[SOMA_KEY_DIGEST]);

#endif
