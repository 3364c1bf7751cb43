/* Rows of a CSV text (format at the head of csv.c). Private to core/io.
 */
#ifndef SOMA_CORE_IO_CSV_H
#define SOMA_CORE_IO_CSV_H

#include "core/io/file.h"

#include <locale.h>

typedef struct soma_csv {
    const char *path;
    soma_bytes text;
    char *at, *end; /* what is left of the text */
    long line;      /* that the row last read starts in, from 1 */
    long next_line; /* that `at` is in */
    char **fields;  /* of that row; they point into the text, which lives as
                       long as this */
    int count, room;
    locale_t numbers; /* the C locale */
} soma_csv;

/* Reads the whole file, of at most `limit` bytes. `path` is kept. */
soma_status soma_csv_load(const char *path, size_t limit, soma_csv *csv,
                          soma_error *err);
void soma_csv_free(soma_csv *csv);

/* Reads one row; empty lines are passed over. count is 0 at the end. */
soma_status soma_csv_next(soma_csv *csv, soma_error *err);

typedef enum soma_csv_kind {
    SOMA_CSV_NUMBER,
    SOMA_CSV_NOT_FINITE, /* nan, inf, or beyond a double */
    SOMA_CSV_TEXT
} soma_csv_kind;

/* What a field is, and its value if it is a number: decimal, in any locale,
 * spaces around it allowed. */
soma_csv_kind soma_csv_number(const soma_csv *csv, const char *field,
                              double *value);

#endif
