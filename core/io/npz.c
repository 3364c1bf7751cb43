/* .npz files: zip archives whose members are NAME.npy, stored or deflated. */
#include "core/io/npy.h"
#include "core/io/quote.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unzip.h>

/* What deflate can make of a byte, at most. */
enum { DEFLATE_MOST = 1032 };

static soma_status
refuse(const char *path, const char *name, const char *text, soma_error *err)
{
    char quoted[SOMA_QUOTE_SIZE];
    return soma_error_set(err, SOMA_E_FORMAT, "%s: %s.npy: %s", path,
                          soma_quote(name, quoted), text);
}

/* The sizes that the archive claims, against the file's and the limit. */
static soma_status
check_size(unzFile zip, const char *path, const char *name, size_t limit,
           size_t *size, soma_error *err)
{
    struct stat st;
    unz_file_info64 info;
    if (stat(path, &st))
        return soma_error_errno(err, "reading", path);
    if (unzGetCurrentFileInfo64(zip, &info, NULL, 0, NULL, 0, NULL, 0) !=
        UNZ_OK)
        return refuse(path, name, "a damaged zip entry", err);
    if (info.uncompressed_size > limit)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "%s: %s.npy has more than %zu bytes", path, name,
                              limit);
    if (info.compressed_size > (uint64_t)st.st_size ||
        info.uncompressed_size / DEFLATE_MOST > info.compressed_size)
        return refuse(path, name, "larger than the file can hold", err);
    *size = (size_t)info.uncompressed_size;
    return SOMA_OK;
}

static soma_status
read_entry(unzFile zip, const char *path, const char *name, size_t size,
           soma_bytes *bytes, soma_error *err)
{
    enum { PART = 1 << 20 };
    bytes->data = malloc(size + 1);
    if (!bytes->data)
        return soma_error_memory(err, path);
    if (unzOpenCurrentFile(zip) != UNZ_OK)
        return refuse(path, name, "cannot be unpacked", err);
    while (bytes->size < size) {
        size_t left = size - bytes->size;
        int got = unzReadCurrentFile(zip, bytes->data + bytes->size,
                                     left < PART ? (unsigned)left : PART);
        if (got <= 0)
            break;
        bytes->size += (size_t)got;
    }
    /* Closing compares the checksum. */
    int closed = unzCloseCurrentFile(zip);
    bytes->data[bytes->size] = '\0';
    return bytes->size == size && closed == UNZ_OK
               ? SOMA_OK
               : refuse(path, name, "damaged: its checksum is wrong", err);
}

soma_status
soma_npz_read(const char *path, const char *name, size_t limit,
              soma_bytes *bytes, soma_error *err)
{
    char entry[128];
    struct stat st;
    *bytes = (soma_bytes){NULL, 0};
    if (stat(path, &st))
        return soma_error_errno(err, "opening", path);
    unzFile zip = S_ISREG(st.st_mode) ? unzOpen64(path) : NULL;
    if (!zip)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s: not a .npz file: it is no zip archive",
                              path);
    snprintf(entry, sizeof entry, "%s.npy", name);
    size_t size = 0;
    soma_status status = SOMA_OK;
    if (unzLocateFile(zip, entry, 1) != UNZ_OK)
        status = soma_error_set(err, SOMA_E_NOT_FOUND,
                                "%s: no array \"%s\" in it", path, name);
    if (!status)
        status = check_size(zip, path, name, limit, &size, err);
    if (!status)
        status = read_entry(zip, path, name, size, bytes, err);
    unzClose(zip);
    if (status)
        soma_bytes_free(bytes);
    return status;
}
