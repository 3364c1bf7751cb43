#include "server/engine/log.h"

#include "server/engine/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    LINE = 2048,
    END = 2,      /* "}\n" */
    SHORTEST = 24 /* of a field: its punctuation, and a number */
};

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

static size_t
room_of(const log_line *line)
{
    return LINE - END - line->used;
}

static void
put(log_line *line, const char *text)
{
    size_t length = strlen(text), room = room_of(line);
    length = length < room ? length : room;
    memcpy(line->text + line->used, text, length);
    line->used += length;
}

/* The bytes of the UTF-8 character at `text`; 0: it is none. */
static size_t
character_at(const char *text)
{
    const unsigned char *c = (const unsigned char *)text;
    size_t length = *c < 0x80                 ? 1
                    : *c >= 0xc2 && *c < 0xe0 ? 2
                    : *c >= 0xe0 && *c < 0xf0 ? 3
                    : *c >= 0xf0 && *c < 0xf5 ? 4
                                              : 0;
    for (size_t i = 1; i < length; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (*c == 0xe0 && c[1] < 0xa0) || (*c == 0xf0 && c[1] < 0x90);
    bool surrogate = *c == 0xed && c[1] > 0x9f;
    return overlong || surrogate || (*c == 0xf4 && c[1] > 0x8f) ? 0 : length;
}

/* In quotes, with what must be escaped in JSON escaped and what is no UTF-8
 * replaced: so no text from outside can forge a line or a field, or make it
 * unreadable. A text that is too long is cut, never its closing quote. */
static void
put_quoted(log_line *line, const char *text)
{
    put(line, "\"");
    while (*text) {
        size_t length = character_at(text);
        unsigned char c = (unsigned char)*text;
        char escaped[8] = "\xef\xbf\xbd";
        if (c == '"' || c == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            snprintf(escaped, sizeof escaped, "\\u%04x", c);
        else if (length)
            snprintf(escaped, sizeof escaped, "%.*s", (int)length, text);
        if (strlen(escaped) + 1 > room_of(line))
            break;
        put(line, escaped);
        text += length ? length : 1;
    }
    put(line, "\"");
}

static bool
plain(const char *text, const char *allowed)
{
    size_t length = strlen(text);
    return length > 0 && strspn(text, allowed) == length;
}

/* A field has the same kind in every line, whatever a model is called: these
 * are numbers. */
static bool
is_number(const char *name, const char *value)
{
    static const char *const numbers[] = {
        "last-good",  "microseconds", "models", "of-version",
        "parameters", "replayed",     "rows",   "status",
        "to",         "version",      "workers"};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(name, numbers[i]))
            return plain(value, "0123456789") && strlen(value) < 16 &&
                   (value[0] != '0' || !value[1]);
    return false;
}

static void
put_field(log_line *line, bool json, const char *name, const char *value)
{
    static const char word[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
        "._-/:+,";
    if (strlen(name) + SHORTEST > room_of(line))
        return;
    put(line, json ? "," : " ");
    if (json)
        put_quoted(line, name);
    else
        put(line, name);
    put(line, json ? ":" : "=");
    if (json ? is_number(name, value)
             : plain(value, word) && strlen(value) < room_of(line))
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
