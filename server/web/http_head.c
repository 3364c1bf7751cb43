/* libmicrohttpd before 1.0 parses the head in place: it overwrites the colon
 * and each byte of a line's end with NUL, so that a field stands two bytes
 * behind the one before it, and two more NULs are what was the empty line. A
 * bare LF leaves one byte, a folded line is moved elsewhere, a NUL ends a value
 * before its line does, and a line without a name ends the head; none of which
 * its interface tells. From 1.0 on it refuses these itself at the strictness
 * that we ask for, and may trim values in place. Which one it is shows only
 * when it is loaded: both have the same soname.
 *
 * Behind the head there is always more of the library's pool: the list of the
 * fields grows from its end.
 */
#include "server/web/http_head.h"

#include <microhttpd.h>
#include <string.h>

typedef struct head_walk {
    const char *end; /* of the last field: its first NUL */
    bool in_place;   /* fields stand as the older library leaves them */
    bool good;
} head_walk;

static bool
is_token(const char *name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    if (!*name)
        return false;
    for (; *name; name++)
        if (!((*name >= 'a' && *name <= 'z') ||
              (*name >= 'A' && *name <= 'Z') ||
              (*name >= '0' && *name <= '9') || strchr(others, *name)))
            return false;
    return true;
}

static bool
is_text(const char *value)
{
    for (; *value; value++)
        if (((unsigned char)*value < ' ' && *value != '\t') || *value == 0x7f)
            return false;
    return true;
}

static enum MHD_Result
look_at_field(void *arg, enum MHD_ValueKind kind, const char *name,
              const char *value)
{
    head_walk *walk = arg;
    (void)kind;
    if (!is_token(name) || !is_text(value))
        walk->good = false;
    /* The comparison first: what is behind an end elsewhere is not ours. */
    if (walk->in_place && (name != walk->end + 2 || walk->end[1]))
        walk->good = false;
    walk->end = value + strlen(value);
    return walk->good ? MHD_YES : MHD_NO;
}

/* Before 1.0. */
static bool
is_old(void)
{
    return !strncmp(MHD_get_version(), "0.", 2);
}

bool
soma_head_is_well_formed(struct MHD_Connection *connection, const char *method,
                         const char *url, const char *version,
                         const char *after_uri)
{
    head_walk walk = {version + strlen(version), is_old(), is_token(method)};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, look_at_field,
                              &walk);
    const char *end = walk.end;
    if (!walk.good || !walk.in_place)
        return walk.good;
    return url == method + strlen(method) + 1 &&
           (!after_uri || after_uri == version) && !end[1] && !end[2] &&
           !end[3];
}

bool
soma_head_is_target(const char *uri)
{
    for (const char *at = uri; *at; at++)
        if ((unsigned char)*at <= ' ' || *at == 0x7f)
            return false;
    return !strstr(uri, "%00");
}

bool
soma_head_forgives_chunks(void)
{
    return is_old();
}
