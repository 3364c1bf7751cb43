#include "core/io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

bool
soma_file_ends_in(const char *path, const char *suffix)
{
    size_t length = strlen(path), tail = strlen(suffix);
    return length > tail && !strcmp(path + length - tail, suffix);
}

void
soma_bytes_free(soma_bytes *bytes)
{
    free(bytes->data);
    *bytes = (soma_bytes){NULL, 0};
}

/* ---- Reading ---- */

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
    /* Without O_NONBLOCK, opening a FIFO would wait for a writer. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return soma_error_errno(err, "opening", path);
    soma_status status = SOMA_OK;
    if (fstat(fd, &st))
        status = soma_error_errno(err, "reading", path);
    else if (!S_ISREG(st.st_mode))
        status =
            soma_error_set(err, SOMA_E_FORMAT, "%s: not a regular file", path);
    else if ((uintmax_t)st.st_size > limit)
        status = soma_error_set(err, SOMA_E_LIMIT,
                                "%s: %jd bytes, at most %zu are read", path,
                                (intmax_t)st.st_size, limit);
    else
        status = read_all(fd, (size_t)st.st_size, path, bytes, err);
    close(fd);
    if (status)
        soma_bytes_free(bytes);
    return status;
}

/* ---- gzip (RFC 1952) ---- */

typedef struct unpacker {
    z_stream stream;
    const char *path;
    size_t limit; /* of what comes out */
    soma_bytes out;
    size_t used; /* of out */
} unpacker;

static soma_status
refuse_size(const unpacker *u, soma_error *err)
{
    return soma_error_set(err, SOMA_E_LIMIT,
                          "%s: more than %zu bytes when unpacked", u->path,
                          u->limit);
}

/* Makes room for more output: in the end for one byte above the limit, whose
 * use shows that there is too much. */
static soma_status
grow(unpacker *u, soma_error *err)
{
    if (u->out.size > u->used)
        return SOMA_OK;
    if (u->used > u->limit)
        return refuse_size(u, err);
    size_t size = u->out.size ? u->out.size * 2 : 1 << 16;
    size = size > u->limit + 1 ? u->limit + 1 : size;
    unsigned char *data = realloc(u->out.data, size + 1);
    if (!data)
        return soma_error_memory(err, u->path);
    u->out.data = data;
    u->out.size = size;
    return SOMA_OK;
}

/* Unpacks what the stream has been given, up to the end of a member. */
static soma_status
drain(unpacker *u, int *result, soma_error *err)
{
    z_stream *stream = &u->stream;
    do {
        soma_status status = grow(u, err);
        if (status)
            return status;
        size_t room = u->out.size - u->used;
        unsigned most = room > UINT_MAX ? UINT_MAX : (unsigned)room;
        stream->next_out = u->out.data + u->used;
        stream->avail_out = most;
        *result = inflate(stream, Z_NO_FLUSH);
        u->used += most - stream->avail_out;
    } while (*result == Z_OK && stream->avail_out == 0);
    if (*result == Z_MEM_ERROR)
        return soma_error_memory(err, u->path);
    if (*result == Z_OK || *result == Z_STREAM_END || *result == Z_BUF_ERROR)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_FORMAT, "%s: damaged gzip data (%s)",
                          u->path, stream->msg ? stream->msg : "zlib");
}

/* All members, which may stand in a row; nothing may follow them. */
static soma_status
drain_all(unpacker *u, const soma_bytes *in, soma_error *err)
{
    size_t left = in->size;
    int result = Z_OK;
    u->stream.next_in = in->data;
    while (left > 0 || u->stream.avail_in > 0) {
        if (result == Z_STREAM_END)
            inflateReset(&u->stream);
        if (u->stream.avail_in == 0) {
            u->stream.avail_in = left > UINT_MAX ? UINT_MAX : (unsigned)left;
            left -= u->stream.avail_in;
        }
        soma_status status = drain(u, &result, err);
        if (status)
            return status;
    }
    if (u->used > u->limit)
        return refuse_size(u, err);
    if (result == Z_STREAM_END)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_FORMAT, "%s: the gzip data end too early",
                          u->path);
}

static soma_status
unpack(const soma_bytes *in, size_t limit, const char *path, soma_bytes *bytes,
       soma_error *err)
{
    enum { GZIP = 16 };
    unpacker u = {.path = path, .limit = limit};
    if (inflateInit2(&u.stream, MAX_WBITS + GZIP) != Z_OK)
        return soma_error_memory(err, path);
    soma_status status = drain_all(&u, in, err);
    inflateEnd(&u.stream);
    if (status) {
        soma_bytes_free(&u.out);
        return status;
    }
    *bytes = (soma_bytes){u.out.data, u.used};
    unsigned char *data = realloc(bytes->data, u.used + 1);
    if (data)
        bytes->data = data;
    bytes->data[u.used] = '\0';
    return SOMA_OK;
}

soma_status
soma_file_read(const char *path, size_t limit, int gunzip, soma_bytes *bytes,
               soma_error *err)
{
    *bytes = (soma_bytes){NULL, 0};
    if (limit > PTRDIFF_MAX - 2) /* so that limit + 2 is a size */
        limit = PTRDIFF_MAX - 2;
    soma_bytes file = {NULL, 0};
    soma_status status = read_file(path, limit, &file, err);
    bool packed = !status && gunzip && file.size >= 2 && file.data[0] == 0x1f &&
                  file.data[1] == 0x8b;
    if (!packed) {
        *bytes = file;
        return status;
    }
    status = unpack(&file, limit, path, bytes, err);
    soma_bytes_free(&file);
    return status;
}

/* ---- Writing ---- */

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

static soma_status
open_folder(const char *path, int *fd, soma_error *err)
{
    char copy[PATH_MAX];
    if ((size_t)snprintf(copy, sizeof copy, "%s", path) >= sizeof copy)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%.200s...: the path is too long", path);
    const char *folder = dirname(copy);
    *fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *fd < 0 ? soma_error_errno(err, "opening", folder) : SOMA_OK;
}

/* mkstemp would not heed the umask, and asking for the umask means setting
 * it, for all threads. A name may be taken by another thread, or be left from
 * a crash: then the next one. */
static soma_status
create_temporary(const char *path, char temporary[PATH_MAX], int *fd,
                 soma_error *err)
{
    enum { TRIES = 1000 };
    for (int i = 0; i < TRIES; i++) {
        int length = snprintf(temporary, PATH_MAX, "%s.%ld-%d.tmp", path,
                              (long)getpid(), i);
        if (length < 0 || length >= PATH_MAX)
            return soma_error_set(err, SOMA_E_ARGUMENT,
                                  "%.200s...: the path is too long", path);
        *fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (*fd >= 0)
            return SOMA_OK;
        if (errno != EEXIST)
            break;
    }
    return soma_error_errno(err, "creating", temporary);
}

soma_status
soma_file_write(const char *path, const soma_piece *pieces, int count,
                soma_error *err)
{
    char temporary[PATH_MAX];
    int folder = -1, fd = -1;
    /* First of all, so that it cannot be what fails at the end. */
    soma_status status = open_folder(path, &folder, err);
    if (status)
        return status;
    status = create_temporary(path, temporary, &fd, err);
    if (status) {
        close(folder);
        return status;
    }
    status = write_all(fd, pieces, count, temporary, err);
    if (close(fd) && !status)
        status = soma_error_errno(err, "closing", temporary);
    if (!status && rename(temporary, path))
        status = soma_error_errno(err, "renaming a new file to", path);
    if (status)
        unlink(temporary);
    /* A rename is on disk only when its folder is; EINVAL means that this
     * file system has no such call. */
    else if (fsync(folder) && errno != EINVAL)
        status = soma_error_errno(err, "syncing the folder of", path);
    close(folder);
    return status;
}

soma_status
soma_file_identify(const char *path, soma_file_id *id, soma_error *err)
{
    struct stat st;
    if (stat(path, &st))
        return soma_error_errno(err, "opening", path);
    *id = (soma_file_id){.device = st.st_dev,
                         .inode = st.st_ino,
                         .size = (uint64_t)st.st_size,
                         .changed = (int64_t)st.st_mtim.tv_sec * 1000000000 +
                                    st.st_mtim.tv_nsec};
    return SOMA_OK;
}

bool
soma_file_is_same(const soma_file_id *a, const soma_file_id *b)
{
    return a->device == b->device && a->inode == b->inode &&
           a->size == b->size && a->changed == b->changed;
}
