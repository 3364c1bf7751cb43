/* The examples of a journal as a dataset.
 */
#ifndef SOMA_SERVER_JOURNAL_EXPORT_H
#define SOMA_SERVER_JOURNAL_EXPORT_H

#include "server/journal_file.h"

/* Writes those that the newest version comes from, in order, to a .csv (a line
 * each: the label, then the values) or a .safetensors (x [n, size], labels
 * [n]). SOMA_E_ARGUMENT: another kind of file. */
soma_status soma_journal_export(soma_journal_file *file, const char *path,
                                int *count, soma_error *err);

#endif
