/* The address of a Redis, or of the Sentinels or nodes that know it. */
#include "server/engine/redis.h"

#include "server/engine/hex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PORT = 6379 };

/* A copy of text[size] with each %XX as its byte. */
static char *
decode(const char *text, size_t size)
{
    char *copy = malloc(size + 1), *to = copy;
    if (!copy)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        bool three = text[i] == '%' && i + 2 < size;
        int high = three ? soma_hex_value(text[i + 1]) : -1;
        int low = three ? soma_hex_value(text[i + 2]) : -1;
        bool coded = high >= 0 && low >= 0;
        *to++ = coded ? (char)(high * 16 + low) : text[i];
        i += coded ? 2 : 0;
    }
    *to = '\0';
    return copy;
}

static soma_status
parse_login(soma_redis *redis, const char *text, size_t size, soma_error *err)
{
    const char *colon = memchr(text, ':', size);
    size_t user = colon ? (size_t)(colon - text) : 0;
    size_t skip = colon ? user + 1 : 0;
    if (user)
        redis->user = decode(text, user);
    redis->password = decode(text + skip, size - skip);
    return redis->password && (!user || redis->user)
               ? SOMA_OK
               : soma_error_memory(err, "an address");
}

/* A whole number up to `most` and the end of the text; -1: it is none. */
static int
whole(const char *text, int most)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    long number = strtol(text, &end, 10);
    return *end || number > most ? -1 : (int)number;
}

static soma_status
refuse(soma_error *err)
{
    return soma_error_set(err, SOMA_E_ARGUMENT,
                          "expected redis://[[USER:]PASSWORD@]HOST[:PORT][/DB] "
                          "or redis+sentinel://[[USER:]PASSWORD@]"
                          "HOST[:PORT][,HOST[:PORT]...]/MASTER[/DB] or "
                          "redis+cluster://[[USER:]PASSWORD@]"
                          "HOST[:PORT][,HOST[:PORT]...], or with "
                          "TLS rediss and, at the end, "
                          "?ca=FILE&cert=FILE&key=FILE");
}

/* "/DB", or nothing. */
static bool
parse_db(soma_redis *redis, const char *slash)
{
    redis->db = slash && slash[1] ? whole(slash + 1, 1 << 20) : 0;
    return redis->db >= 0;
}

/* Not empty, and without what ends it in an address. */
static bool
is_host(const char *host)
{
    return host[0] && !host[strcspn(host, "/?# ")];
}

static soma_status
parse_place(soma_redis *redis, const char *scheme, const char *text,
            soma_error *err)
{
    char host[256];
    const char *slash = strchr(text, '/');
    size_t size = slash ? (size_t)(slash - text) : strlen(text);
    if (size >= sizeof host)
        return refuse(err);
    memcpy(host, text, size);
    host[size] = '\0';
    redis->port = soma_redis_cut_port(host, PORT);
    if (!is_host(host) || redis->port < 1 || !parse_db(redis, slash))
        return refuse(err);
    redis->host = strdup(host);
    if (!redis->host)
        return soma_error_memory(err, "an address");
    snprintf(redis->name, sizeof redis->name, "%s%s:%d/%d", scheme, host,
             redis->port, redis->db);
    return SOMA_OK;
}

int
soma_redis_next(const char **list, int otherwise, char host[SOMA_REDIS_HOST])
{
    size_t size = strcspn(*list, ",");
    if (size == 0 || size >= SOMA_REDIS_HOST)
        return -1;
    memcpy(host, *list, size);
    host[size] = '\0';
    *list += size + ((*list)[size] == ',');
    int port = soma_redis_cut_port(host, otherwise);
    return is_host(host) && port > 0 ? port : -1;
}

/* HOST[:PORT][,HOST[:PORT]...], as `hosts`. */
static soma_status
parse_hosts(soma_redis *redis, const char *text, size_t size, soma_error *err)
{
    char host[SOMA_REDIS_HOST];
    if (size == 0 || size > 200 || text[size - 1] == ',')
        return refuse(err);
    redis->hosts = strndup(text, size);
    if (!redis->hosts)
        return soma_error_memory(err, "an address");
    for (const char *list = redis->hosts; *list;)
        if (soma_redis_next(&list, PORT, host) < 0)
            return refuse(err);
    return SOMA_OK;
}

/* Which node has the journal's keys is asked at each connecting. */
static soma_status
parse_cluster(soma_redis *redis, const char *scheme, const char *text,
              soma_error *err)
{
    redis->cluster = true;
    snprintf(redis->name, sizeof redis->name, "%s%s", scheme, text);
    return parse_hosts(redis, text, strlen(text), err);
}

/* Which one is the master is asked at each connecting. */
static soma_status
parse_watched(soma_redis *redis, const char *scheme, const char *text,
              soma_error *err)
{
    const char *slash = strchr(text, '/');
    const char *master = slash ? slash + 1 : "";
    const char *db = strchr(master, '/');
    size_t size = slash ? (size_t)(slash - text) : 0;
    size_t named = db ? (size_t)(db - master) : strlen(master);
    if (named == 0 || named > 64 || !parse_db(redis, db))
        return refuse(err);
    soma_status status = parse_hosts(redis, text, size, err);
    if (status)
        return status;
    redis->master = decode(master, named);
    if (!redis->master)
        return soma_error_memory(err, "an address");
    snprintf(redis->name, sizeof redis->name, "%s%s/%s/%d", scheme,
             redis->hosts, redis->master, redis->db);
    return SOMA_OK;
}

/* How an address begins. */
static const struct scheme {
    const char *text;
    bool tls;
    soma_status (*parse)(soma_redis *redis, const char *scheme,
                         const char *text, soma_error *err);
} schemes[] = {{"redis://", false, parse_place},
               {"redis+sentinel://", false, parse_watched},
               {"redis+cluster://", false, parse_cluster},
               {"rediss://", true, parse_place},
               {"rediss+sentinel://", true, parse_watched},
               {"rediss+cluster://", true, parse_cluster}};

enum { SCHEMES = sizeof schemes / sizeof *schemes };

int
soma_redis_cut_port(char *host, int otherwise)
{
    char *colon = strrchr(host, ':');
    if (!colon)
        return otherwise;
    *colon = '\0';
    return whole(colon + 1, 65535);
}

/* "ca=FILE&cert=FILE&key=FILE", in any order. */
static soma_status
parse_trust(soma_redis_trust *trust, const char *text, soma_error *err)
{
    const struct {
        const char *name;
        char **path;
    } known[] = {
        {"ca=", &trust->ca}, {"cert=", &trust->cert}, {"key=", &trust->key}};
    while (*text) {
        size_t size = strcspn(text, "&"), i = 0;
        while (i < 3 &&
               strncmp(text, known[i].name, strlen(known[i].name)) != 0)
            i++;
        size_t name = i < 3 ? strlen(known[i].name) : 0;
        if (i == 3 || size == name || *known[i].path)
            return refuse(err);
        *known[i].path = decode(text + name, size - name);
        if (!*known[i].path)
            return soma_error_memory(err, "an address");
        text += size + (text[size] == '&');
    }
    return trust->key && !trust->cert ? refuse(err) : SOMA_OK;
}

static soma_status
parse_rest(soma_redis *redis, const struct scheme *scheme, const char *text,
           soma_error *err)
{
    const char *at = strrchr(text, '@');
    soma_status status =
        at ? parse_login(redis, text, (size_t)(at - text), err) : SOMA_OK;
    if (status)
        return status;
    return scheme->parse(redis, scheme->text, at ? at + 1 : text, err);
}

soma_status
soma_redis_parse(soma_redis *redis, const char *url, soma_error *err)
{
    size_t i = 0;
    *redis = (soma_redis){.port = PORT};
    while (i < SCHEMES &&
           strncmp(url, schemes[i].text, strlen(schemes[i].text)) != 0)
        i++;
    if (i == SCHEMES)
        return refuse(err);
    redis->tls = schemes[i].tls;
    url += strlen(schemes[i].text);
    const char *query = redis->tls ? strrchr(url, '?') : NULL;
    char *rest = query ? strndup(url, (size_t)(query - url)) : strdup(url);
    if (!rest)
        return soma_error_memory(err, "an address");
    soma_status status =
        query ? parse_trust(&redis->trust, query + 1, err) : SOMA_OK;
    if (!status)
        status = parse_rest(redis, &schemes[i], rest, err);
    free(rest);
    if (status)
        soma_redis_close(redis);
    return status;
}
