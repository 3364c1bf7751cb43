#include "core/io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

void
soma_bytes_free(soma_bytes *bytes)
{
    free(bytes->data);
    *bytes = (soma_bytes){NULL, 0};
}

/* Reads `size` bytes and puts a NUL behind them. */
static soma_status
read_all(int fd, size_t size, const char *path, soma_bytes *bytes,
         soma_error *err)
{
    bytes->data = malloc(size + 1);
    if (!bytes->data)
        return soma_error_memory(err, path);
    while (bytes->size < size) {
        ssize_t n = read(fd, bytes->data + bytes->size, size - bytes->size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return soma_error_errno(err, "reading", path);
        if (n == 0)
            return soma_error_set(err, SOMA_E_IO,
                                  "%s: became shorter while it was read", path);
        bytes->size += (size_t)n;
    }
    bytes->data[size] = '\0';
    return SOMA_OK;
}

static soma_status
read_file(const char *path, size_t limit, soma_bytes *bytes, soma_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return soma_error_errno(err, "opening", path);
    soma_status status = SOMA_OK;
    if (fstat(fd, &st))
        status = soma_error_errno(err, "reading", path);
    else if (!S_ISREG(st.st_mode))
        status = soma_error_set(err, SOMA_E_FORMAT, "%s: not a file", path);
    else if ((size_t)st.st_size > limit)
        status = soma_error_set(err, SOMA_E_LIMIT,
                                "%s: %lld bytes, at most %zu are read", path,
                                (long long)st.st_size, limit);
    else
        status = read_all(fd, (size_t)st.st_size, path, bytes, err);
    close(fd);
    if (status)
        soma_bytes_free(bytes);
    return status;
}

/* Makes room for more output; the limit counts what was unpacked. */
static soma_status
grow(soma_bytes *out, size_t used, size_t limit, const char *path,
     soma_error *err)
{
    if (out->size > used)
        return SOMA_OK;
    if (used > limit)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "%s: more than %zu bytes when unpacked", path,
                              limit);
    size_t size = out->size ? out->size * 2 : 1 << 16;
    size = size > limit + 1 ? limit + 1 : size;
    unsigned char *data = realloc(out->data, size + 1);
    if (!data)
        return soma_error_memory(err, path);
    out->data = data;
    out->size = size;
    return SOMA_OK;
}

/* Unpacks all members of a gzip file (RFC 1952) that stand in a row. */
static soma_status
inflate_all(const soma_bytes *in, size_t limit, const char *path,
            soma_bytes *out, soma_error *err)
{
    z_stream stream = {.next_in = in->data};
    size_t left = in->size, used = 0;
    if (inflateInit2(&stream, 15 + 16) != Z_OK)
        return soma_error_memory(err, path);
    int result = Z_OK;
    soma_status status = SOMA_OK;
    while (!status && (left > 0 || stream.avail_in > 0)) {
        if (result == Z_STREAM_END)
            inflateReset(&stream);
        if (stream.avail_in == 0) {
            stream.avail_in = left > UINT_MAX ? UINT_MAX : (unsigned)left;
            left -= stream.avail_in;
        }
        do {
            status = grow(out, used, limit, path, err);
            if (status)
                break;
            size_t room = out->size - used;
            unsigned most = room > UINT_MAX ? UINT_MAX : (unsigned)room;
            stream.next_out = out->data + used;
            stream.avail_out = most;
            result = inflate(&stream, Z_NO_FLUSH);
            used += most - stream.avail_out;
        } while (result == Z_OK && stream.avail_out == 0);
        if (!status && result != Z_OK && result != Z_STREAM_END &&
            result != Z_BUF_ERROR)
            status = soma_error_set(err, SOMA_E_FORMAT, "%s: damaged gzip data",
                                    path);
    }
    inflateEnd(&stream);
    if (!status && result != Z_STREAM_END)
        status = soma_error_set(err, SOMA_E_FORMAT,
                                "%s: the gzip data end too early", path);
    if (!status && used > limit)
        status = soma_error_set(err, SOMA_E_LIMIT,
                                "%s: more than %zu bytes when unpacked", path,
                                limit);
    if (status) {
        soma_bytes_free(out);
        return status;
    }
    out->size = used;
    out->data[used] = '\0';
    return SOMA_OK;
}

soma_status
soma_file_read(const char *path, size_t limit, int gunzip, soma_bytes *bytes,
               soma_error *err)
{
    *bytes = (soma_bytes){NULL, 0};
    soma_status status = read_file(path, limit, bytes, err);
    if (status || !gunzip || bytes->size < 2 || bytes->data[0] != 0x1f ||
        bytes->data[1] != 0x8b)
        return status;
    soma_bytes out = {NULL, 0};
    status = inflate_all(bytes, limit, path, &out, err);
    soma_bytes_free(bytes);
    *bytes = out;
    return status;
}

static soma_status
write_all(int fd, const soma_piece *pieces, int count, const char *path,
          soma_error *err)
{
    for (int i = 0; i < count; i++) {
        const char *data = pieces[i].data;
        size_t left = pieces[i].size;
        while (left) {
            ssize_t n = write(fd, data, left);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0)
                return soma_error_errno(err, "writing", path);
            data += n;
            left -= (size_t)n;
        }
    }
    return fsync(fd) ? soma_error_errno(err, "syncing", path) : SOMA_OK;
}

/* A rename is on disk only when its folder is. */
static soma_status
sync_folder(const char *path, soma_error *err)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    const char *folder = dirname(copy);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return soma_error_errno(err, "opening", folder);
    int failed = fsync(fd);
    soma_status status =
        failed ? soma_error_errno(err, "syncing", folder) : SOMA_OK;
    close(fd);
    return status;
}

soma_status
soma_file_write(const char *path, const soma_piece *pieces, int count,
                soma_error *err)
{
    char temporary[PATH_MAX];
    int length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof temporary)
        return soma_error_set(err, SOMA_E_ARGUMENT, "%s: the path is too long",
                              path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return soma_error_errno(err, "creating a file beside", path);
    mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, 0644 & ~mask);
    soma_status status = write_all(fd, pieces, count, temporary, err);
    if (close(fd) && !status)
        status = soma_error_errno(err, "closing", temporary);
    if (!status && rename(temporary, path))
        status = soma_error_errno(err, "renaming to", path);
    if (status) {
        unlink(temporary);
        return status;
    }
    return sync_folder(path, err);
}
