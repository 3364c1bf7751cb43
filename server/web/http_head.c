/* libmicrohttpd before 1.0 parses the head in place: it overwrites the colon
 * and each byte of a line's end with NUL, so that a field stands two bytes
 * behind the one before it, and two more NULs are what was the empty line. A
 * bare LF leaves one byte, a folded line is moved elsewhere, a NUL ends a value
 * before its line does, and a line without a name ends the head; none of which
 * its interface tells. From 1.0 on it refuses these itself at the strictness
 * that we ask for, and may trim values in place.
 *
 * Behind the head there is always more of the library's pool: the list of the
 * fields grows from its end.
 */
#include "server/web/http_head.h"

#include <microhttpd.h>
#include <string.h>

typedef struct head_walk {
    const char *end; /* of the last field: its first NUL */
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
#if MHD_VERSION < 0x01000000
    /* The comparison first: what is behind an end elsewhere is not ours. */
    if (name != walk->end + 2 || walk->end[1])
        walk->good = false;
    walk->end = value + strlen(value);
#endif
    return walk->good ? MHD_YES : MHD_NO;
}

bool
soma_head_is_well_formed(struct MHD_Connection *connection, const char *version,
                         const char *after_uri)
{
    head_walk walk = {version + strlen(version), true};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, look_at_field,
                              &walk);
#if MHD_VERSION < 0x01000000
    const char *end = walk.end;
    return walk.good && (!after_uri || after_uri == version) && !end[1] &&
           !end[2] && !end[3];
#else
    (void)after_uri;
    return walk.good;
#endif
}
