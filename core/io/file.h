/* Whole files: read with a bound, written so that a crash leaves the old file
 * or the new one, never a mixture.
 */
#ifndef SOMA_CORE_IO_FILE_H
#define SOMA_CORE_IO_FILE_H

#include "core/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether the path ends in the suffix, with something before it: ".onnx". */
bool soma_file_ends_in(const char *path, const char *suffix);

/* Bytes of a file; `data` is malloc'ed and has one extra NUL at the end. */
typedef struct soma_bytes {
    unsigned char *data;
    size_t size;
} soma_bytes;

void soma_bytes_free(soma_bytes *bytes);

/* Reads a regular file of at most `limit` bytes. A file that starts with the
 * gzip magic is unpacked (the limit holds for what comes out, too) if
 * `gunzip`. SOMA_E_NOT_FOUND, SOMA_E_IO, SOMA_E_LIMIT, SOMA_E_FORMAT (not a
 * regular file; damaged gzip). */
soma_status soma_file_read(const char *path, size_t limit, int gunzip,
                           soma_bytes *bytes, soma_error *err);

/* One piece of what is written. */
typedef struct soma_piece {
    const void *data;
    size_t size;
} soma_piece;

/* Writes the pieces to a temporary file beside `path` (PATH.<pid>-<n>.tmp, a
 * crash may leave it), fsyncs it, renames it over `path`, fsyncs the folder.
 * On failure `path` is as it was and the temporary file is gone; only when it
 * is the folder's fsync that fails, the new file is there already. A symbolic
 * link is replaced, not followed. */
soma_status soma_file_write(const char *path, const soma_piece *pieces,
                            int count, soma_error *err);

/* Which file it is, and as it was: what has been replaced, or written to, has
 * another one. */
typedef struct soma_file_id {
    uint64_t device, inode, size;
    int64_t changed; /* nanoseconds; 0: it is no file */
} soma_file_id;

soma_status soma_file_identify(const char *path, soma_file_id *id,
                               soma_error *err);
bool soma_file_is_same(const soma_file_id *a, const soma_file_id *b);

#endif
