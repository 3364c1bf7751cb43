/* The schema of a journal, and what it was: step n makes version n + 1 of
 * version n. A step that has been released never changes.
 */
#ifndef SOMA_ENGINE_JOURNAL_SQLITE_SCHEMA_H
#define SOMA_ENGINE_JOURNAL_SQLITE_SCHEMA_H

enum { SOMA_DB_APPLICATION = 0x736f6d61, SOMA_DB_VERSION = 1 }; /* 'soma' */

static const char *const soma_db_schema[SOMA_DB_VERSION] = {
    "CREATE TABLE meta ("
    "id INTEGER PRIMARY KEY CHECK (id = 1), base TEXT NOT NULL, "
    "origin TEXT NOT NULL, "
    "size INTEGER NOT NULL, created INTEGER NOT NULL, "
    "model_size INTEGER NOT NULL, model_digest BLOB NOT NULL, "
    "trimmed INTEGER NOT NULL, sum INTEGER NOT NULL, "
    "settings BLOB NOT NULL) STRICT;"

    "CREATE TABLE base_parts ("
    "at INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;"

    "CREATE TABLE records ("
    "seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, time INTEGER NOT NULL, "
    "label INTEGER, rate REAL, target INTEGER, encoding INTEGER, x BLOB, "
    "data BLOB, sum INTEGER NOT NULL) STRICT;"
    /* Nearly all records are examples, and those are not in it. */
    "CREATE INDEX records_others ON records (kind) WHERE kind <> 1;"

    "CREATE TABLE keys ("
    "text TEXT PRIMARY KEY, fingerprint BLOB NOT NULL, "
    "first INTEGER NOT NULL, count INTEGER NOT NULL, time INTEGER NOT NULL, "
    "sum INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE INDEX keys_time ON keys (time, first);"

    "CREATE TABLE lessons ("
    "first INTEGER PRIMARY KEY, last INTEGER NOT NULL, data BLOB NOT NULL, "
    "sum INTEGER NOT NULL) STRICT;"

    "CREATE TABLE checkpoints ("
    "id INTEGER PRIMARY KEY, seq INTEGER NOT NULL, time INTEGER NOT NULL, "
    "size INTEGER NOT NULL, digest BLOB NOT NULL, complete INTEGER NOT NULL, "
    "sum INTEGER NOT NULL) STRICT;"
    "CREATE TABLE checkpoint_parts ("
    "id INTEGER NOT NULL, at INTEGER NOT NULL, data BLOB NOT NULL, "
    "UNIQUE (id, at)) STRICT;",
};

#endif
