#include "server/web/keys.h"

#include "core/io/file.h"
#include "server/engine/clock.h"
#include "server/engine/hex.h"
#include "server/engine/log.h"

#include <errno.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { LOOK_EVERY = 1000000, LINE = 512 };

static const char *const scope_names[] = {"predict", "train", "admin"};
enum { SCOPES = sizeof scope_names / sizeof *scope_names };

typedef struct key {
    char name[SOMA_KEY_NAME + 1];
    int scopes;
    uint8_t digest[SOMA_KEY_DIGEST];
    atomic_ulong requests, refused;
} key;

typedef struct list {
    int count;
    key keys[];
} list;

struct soma_keys {
    char *path;
    pthread_rwlock_t lock; /* of `list`; held for a comparison */
    list *list;
    pthread_mutex_t looking; /* whoever has it looks at the file */
    soma_file_id seen;
    _Atomic uint64_t looked;     /* when, ticks */
    atomic_ulong without, wrong; /* requests */
};

/* ---- A line ---- */

int
soma_scopes_parse(const char *text, size_t length)
{
    int scopes = 0;
    for (size_t at = 0, part; at <= length; at += part + 1) {
        const char *comma = memchr(text + at, ',', length - at);
        part = comma ? (size_t)(comma - text) - at : length - at;
        int i = 0;
        while (i < SCOPES && (strlen(scope_names[i]) != part ||
                              memcmp(scope_names[i], text + at, part) != 0))
            i++;
        if (i == SCOPES)
            return 0;
        scopes |= 1 << i;
    }
    return scopes;
}

bool
soma_key_name_is_good(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!((name[i] >= 'a' && name[i] <= 'z') ||
              (name[i] >= 'A' && name[i] <= 'Z') ||
              (name[i] >= '0' && name[i] <= '9') || name[i] == '.' ||
              name[i] == '_' || name[i] == '-'))
            return false;
    return length > 0 && length <= SOMA_KEY_NAME;
}

void
soma_key_digest(const char *text, size_t length,
                uint8_t digest[SOMA_KEY_DIGEST])
{
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, length, (const uint8_t *)text);
    sha256_digest(&context, SOMA_KEY_DIGEST, digest);
}

static bool
read_digest(const char *text, size_t length, uint8_t digest[SOMA_KEY_DIGEST])
{
    if (length != 2 * SOMA_KEY_DIGEST)
        return false;
    for (size_t i = 0; i < SOMA_KEY_DIGEST; i++) {
        int high = soma_hex_value(text[2 * i]),
            low = soma_hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        digest[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

/* The next word of the line; its length, 0: there is none. */
static size_t
next_word(const char **at)
{
    *at += strspn(*at, " \t");
    return strcspn(*at, " \t");
}

/* NULL, or what is wrong with it. */
static const char *
read_key(const char *at, key *to)
{
    size_t length = next_word(&at);
    if (!soma_key_name_is_good(at, length))
        return "expected a name of 1 to 64 letters, digits, '.', '_' or '-'";
    memcpy(to->name, at, length);
    to->name[length] = '\0';
    at += length;
    length = next_word(&at);
    to->scopes = length ? soma_scopes_parse(at, length) : 0;
    if (!to->scopes)
        return "expected scopes after the name: predict, train, admin, parted "
               "by commas";
    at += length;
    length = next_word(&at);
    if (!read_digest(at, length, to->digest))
        return "expected 64 hexadecimal digits after the scopes, the SHA-256 "
               "of the key";
    at += length;
    return next_word(&at) ? "expected nothing after the digest" : NULL;
}

/* ---- The file ---- */

static const key *
find_name(const list *l, const char *name)
{
    for (int i = 0; l && i < l->count; i++)
        if (!strcmp(l->keys[i].name, name))
            return &l->keys[i];
    return NULL;
}

static soma_status
add_line(list *to, const char *line, const char *path, int number,
         soma_error *err)
{
    key one = {.scopes = 0};
    const char *fault = read_key(line, &one);
    if (!fault && find_name(to, one.name))
        fault = "its name is another key's, too";
    if (!fault && to->count == SOMA_KEYS_MAX)
        fault = "there are more keys than 1024";
    if (fault)
        return soma_error_set(err, SOMA_E_ARGUMENT, "%s, line %d: %s", path,
                              number, fault);
    key *made = &to->keys[to->count++];
    memcpy(made->name, one.name, sizeof one.name);
    memcpy(made->digest, one.digest, sizeof one.digest);
    made->scopes = one.scopes;
    return SOMA_OK;
}

static soma_status
read_lines(FILE *file, list *to, const char *path, soma_error *err)
{
    char line[LINE];
    soma_status status = SOMA_OK;
    for (int number = 1; !status && fgets(line, sizeof line, file); number++) {
        size_t length = strcspn(line, "\r\n");
        if (length == sizeof line - 1)
            return soma_error_set(err, SOMA_E_ARGUMENT,
                                  "%s, line %d: longer than a key's line is",
                                  path, number);
        line[length] = '\0';
        const char *at = line + strspn(line, " \t");
        if (*at && *at != '#')
            status = add_line(to, line, path, number, err);
    }
    if (!status && ferror(file))
        return soma_error_errno(err, "reading", path);
    return status;
}

static soma_status
read_file(const char *path, list **made, soma_error *err)
{
    list *l = calloc(1, sizeof *l + SOMA_KEYS_MAX * sizeof(key));
    FILE *file = fopen(path, "re");
    soma_status status = SOMA_OK;
    *made = NULL;
    if (!l)
        status = soma_error_memory(err, "keys");
    else if (!file)
        status = soma_error_errno(err, "opening", path);
    else
        status = read_lines(file, l, path, err);
    if (file)
        fclose(file);
    if (status)
        free(l);
    else
        *made = l;
    return status;
}

/* All 0 where there is none. */
static soma_file_id
identify(const char *path)
{
    soma_error err;
    soma_file_id id = {0};
    soma_file_identify(path, &id, &err);
    return id;
}

soma_status
soma_keys_open(const char *path, soma_keys **made, soma_error *err)
{
    soma_keys *keys = calloc(1, sizeof *keys);
    *made = NULL;
    if (!keys || !(keys->path = strdup(path))) {
        free(keys);
        return soma_error_memory(err, "keys");
    }
    pthread_rwlock_init(&keys->lock, NULL);
    pthread_mutex_init(&keys->looking, NULL);
    /* Before it is read: what is written to it meanwhile is seen later. */
    keys->seen = identify(path);
    atomic_store(&keys->looked, soma_clock_ticks());
    soma_status status = read_file(path, &keys->list, err);
    if (status)
        soma_keys_free(keys);
    else
        *made = keys;
    return status;
}

void
soma_keys_free(soma_keys *keys)
{
    if (!keys)
        return;
    pthread_rwlock_destroy(&keys->lock);
    pthread_mutex_destroy(&keys->looking);
    free(keys->list);
    free(keys->path);
    free(keys);
}

/* A key that stays keeps its counts. */
static void
put_in_force(soma_keys *keys, list *fresh)
{
    pthread_rwlock_wrlock(&keys->lock);
    list *old = keys->list;
    for (int i = 0; i < fresh->count; i++) {
        const key *before = find_name(old, fresh->keys[i].name);
        if (!before)
            continue;
        atomic_store(&fresh->keys[i].requests, atomic_load(&before->requests));
        atomic_store(&fresh->keys[i].refused, atomic_load(&before->refused));
    }
    keys->list = fresh;
    pthread_rwlock_unlock(&keys->lock);
    free(old);
}

static void
look_again(soma_keys *keys)
{
    uint64_t now = soma_clock_ticks();
    if (now - atomic_load(&keys->looked) < LOOK_EVERY ||
        pthread_mutex_trylock(&keys->looking))
        return;
    atomic_store(&keys->looked, now);
    soma_file_id current = identify(keys->path);
    if (!soma_file_is_same(&current, &keys->seen)) {
        soma_error err;
        list *fresh;
        keys->seen = current;
        if (read_file(keys->path, &fresh, &err)) {
            soma_log(SOMA_LOG_ERROR, "keys-failed", "text", err.text, NULL);
        } else {
            put_in_force(keys, fresh);
            soma_log(SOMA_LOG_INFO, "keys", "text", "read again", NULL);
        }
    }
    pthread_mutex_unlock(&keys->looking);
}

/* ---- A request ---- */

/* The key behind "Bearer "; NULL: there is none. */
static const char *
bearer(const char *authorization, size_t *length)
{
    static const char scheme[] = "Bearer ";
    if (!authorization ||
        strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return NULL;
    const char *at = authorization + sizeof scheme - 1;
    at += strspn(at, " ");
    *length = strcspn(at, " \t");
    return *length ? at : NULL;
}

static key *
find(list *l, const uint8_t digest[SOMA_KEY_DIGEST])
{
    key *found = NULL;
    for (int i = 0; i < l->count; i++)
        if (memeql_sec(l->keys[i].digest, digest, SOMA_KEY_DIGEST))
            found = &l->keys[i];
    return found;
}

soma_admission
soma_keys_admit(soma_keys *keys, const char *authorization, soma_scope scope,
                char name[SOMA_KEY_NAME + 1], int *scopes)
{
    size_t length = 0;
    uint8_t digest[SOMA_KEY_DIGEST];
    name[0] = '\0';
    const char *sent = bearer(authorization, &length);
    if (!sent) {
        if (scope == SOMA_SCOPE_NONE)
            return SOMA_ADMITTED;
        atomic_fetch_add(&keys->without, 1);
        return SOMA_NO_KEY;
    }
    look_again(keys);
    soma_key_digest(sent, length, digest);
    soma_admission result = SOMA_ADMITTED;
    pthread_rwlock_rdlock(&keys->lock);
    key *found = find(keys->list, digest);
    if (found) {
        memcpy(name, found->name, sizeof found->name);
        *scopes = found->scopes;
        if (scope != SOMA_SCOPE_NONE && !(found->scopes & (int)scope))
            result = SOMA_OTHER_SCOPE;
        atomic_fetch_add(result ? &found->refused : &found->requests, 1);
    } else if (scope != SOMA_SCOPE_NONE) {
        result = SOMA_WRONG_KEY;
        atomic_fetch_add(&keys->wrong, 1);
    }
    pthread_rwlock_unlock(&keys->lock);
    return result;
}

/* ---- Metrics ---- */

static void
put_count(soma_text *to, const char *name, const char *label, const char *value,
          unsigned long count)
{
    char line[256];
    snprintf(line, sizeof line, "%s{%s=\"%s\"} %lu\n", name, label, value,
             count);
    soma_text_put(to, line);
}

void
soma_keys_metrics(soma_keys *keys, soma_text *to)
{
    static const char requests[] = "soma_key_requests_total";
    static const char refused[] = "soma_key_refused_total";
    static const char denied[] = "soma_unauthorized_requests_total";
    pthread_rwlock_rdlock(&keys->lock);
    list *l = keys->list;
    soma_text_put(to, "# HELP soma_key_requests_total Requests that came with "
                      "a key, by its name.\n"
                      "# TYPE soma_key_requests_total counter\n");
    for (int i = 0; i < l->count; i++)
        put_count(to, requests, "key", l->keys[i].name,
                  atomic_load(&l->keys[i].requests));
    soma_text_put(to, "# HELP soma_key_refused_total Those of them that the "
                      "key's scopes do not allow.\n"
                      "# TYPE soma_key_refused_total counter\n");
    for (int i = 0; i < l->count; i++)
        put_count(to, refused, "key", l->keys[i].name,
                  atomic_load(&l->keys[i].refused));
    pthread_rwlock_unlock(&keys->lock);
    soma_text_put(to, "# HELP soma_unauthorized_requests_total Requests "
                      "answered 401.\n"
                      "# TYPE soma_unauthorized_requests_total counter\n");
    put_count(to, denied, "reason", "no_key", atomic_load(&keys->without));
    put_count(to, denied, "reason", "unknown_key", atomic_load(&keys->wrong));
}
