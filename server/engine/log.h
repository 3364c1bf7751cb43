/* The log: one line an event, to stderr, as text or JSON.
 *
 * As JSON each line is one object: "time" (RFC 3339, UTC, milliseconds),
 * "level", "event", then the event's fields. A field has the same name and
 * kind in all events: "model" whose event it is, "version" a number, "text"
 * for people; of a request "id", "route", "status", "rows", "microseconds" and,
 * where it came with a traceparent, "trace_id" and "span_id".
 *
 * Thread-safe: a line is one write.
 */
#ifndef SOMA_ENGINE_LOG_H
#define SOMA_ENGINE_LOG_H

#include <stdbool.h>

typedef enum soma_log_level {
    SOMA_LOG_DEBUG,
    SOMA_LOG_INFO,
    SOMA_LOG_WARNING,
    SOMA_LOG_ERROR
} soma_log_level;

void soma_log_setup(soma_log_level least, bool json);

/* The levels' names: "debug", "info", "warning", "error"; -1: none of them. */
int soma_log_level_find(const char *name);

/* The least level that is written; it can be changed at any time. */
soma_log_level soma_log_least(void);
void soma_log_set_least(soma_log_level least);

bool soma_log_wants(soma_log_level level);

/* An event with fields: pairs of a name and a text, ended by NULL. Those
 * that log.c lists are written as numbers. What does not fit a line is cut. */
void soma_log(soma_log_level level, const char *event, ...)
    __attribute__((sentinel));

#endif
