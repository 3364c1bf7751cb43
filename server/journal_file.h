/* A journal as the offline commands use it: a file, or "URL#MODEL" of one that
 * replicas share, opened for reading, with the model that it began with.
 */
#ifndef SOMA_SERVER_JOURNAL_FILE_H
#define SOMA_SERVER_JOURNAL_FILE_H

#include "core/io/checkpoint.h"
#include "server/engine/replay.h"

typedef struct soma_journal_file {
    soma_journal *journal;
    soma_journal_info info;
    soma_checkpoint base;
    soma_replay replay; /* of journal and base */
    char name[320];     /* for people: without a password */
} soma_journal_file;

bool soma_journal_file_is_shared(const char *path);

/* Errors name the path. */
soma_status soma_journal_file_open(soma_journal_file *file, const char *path,
                                   soma_error *err);
void soma_journal_file_close(soma_journal_file *file);

#endif
