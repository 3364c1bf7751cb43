#include "server/engine/log.h"

#include "server/engine/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 2048 };

static const char *const names[] = {"debug", "info", "warning", "error"};
static _Atomic int threshold = SOMA_LOG_INFO;
static atomic_bool as_json;

typedef struct log_line {
    char text[LINE];
    size_t used;
} log_line;

void
soma_log_setup(soma_log_level least, bool json)
{
    atomic_store(&threshold, (int)least);
    atomic_store(&as_json, json);
}

soma_log_level
soma_log_least(void)
{
    return (soma_log_level)atomic_load(&threshold);
}

void
soma_log_set_least(soma_log_level least)
{
    atomic_store(&threshold, (int)least);
}

int
soma_log_level_find(const char *name)
{
    for (int i = SOMA_LOG_DEBUG; i <= SOMA_LOG_ERROR; i++)
        if (!strcmp(name, names[i]))
            return i;
    return -1;
}

bool
soma_log_wants(soma_log_level level)
{
    return (int)level >= atomic_load(&threshold);
}

static void
put(log_line *line, const char *text)
{
    size_t length = strlen(text), room = LINE - 2 - line->used;
    length = length < room ? length : room;
    memcpy(line->text + line->used, text, length);
    line->used += length;
}

/* In quotes, with what must be escaped in JSON escaped: so no text from
 * outside can forge a line or a field. */
static void
put_quoted(log_line *line, const char *text)
{
    put(line, "\"");
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        char escaped[8] = {(char)c, 0};
        if (c == '"' || c == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
        put(line, escaped);
    }
    put(line, "\"");
}

static bool
plain(const char *text, const char *allowed)
{
    size_t length = strlen(text);
    return length > 0 && strspn(text, allowed) == length;
}

static void
put_field(log_line *line, bool json, const char *name, const char *value)
{
    static const char digits[] = "0123456789";
    static const char word[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "._-/:+,";
    put(line, json ? "," : " ");
    if (json)
        put_quoted(line, name);
    else
        put(line, name);
    put(line, json ? ":" : "=");
    bool bare = json ? plain(value, digits) && strlen(value) < 16 &&
                           (value[0] != '0' || !value[1])
                     : plain(value, word);
    if (bare)
        put(line, value);
    else
        put_quoted(line, value);
}

static void
put_time(log_line *line)
{
    char text[SOMA_CLOCK_TEXT];
    soma_clock_text(soma_clock_now(), text);
    put(line, text);
}

void
soma_log(soma_log_level level, const char *event, ...)
{
    if (!soma_log_wants(level))
        return;
    bool json = atomic_load(&as_json);
    log_line line = {.used = 0};
    put(&line, json ? "{\"time\":\"" : "");
    put_time(&line);
    put(&line, json ? "\",\"level\":\"" : " ");
    put(&line, names[level]);
    put(&line, json ? "\",\"event\":" : " ");
    if (json)
        put_quoted(&line, event);
    else
        put(&line, event);
    va_list fields;
    va_start(fields, event);
    for (const char *name; (name = va_arg(fields, const char *));)
        put_field(&line, json, name, va_arg(fields, const char *));
    va_end(fields);
    if (json)
        line.text[line.used++] = '}';
    line.text[line.used++] = '\n';
    ssize_t written = write(STDERR_FILENO, line.text, line.used);
    (void)written; /* there is nowhere left to complain to */
}
