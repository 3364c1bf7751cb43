/* ONNX files as protobuf messages (schema: onnx.proto), and the files beside
 * them that hold large weights.
 *
 * protobuf-c copies what it reads; a message of two bytes becomes a struct of
 * a hundred. So it allocates through a budget: a hostile file is refused
 * before it costs more than three times its size and 64 MiB.
 */
#include "core/io/onnx_parts.h"
#include "core/io/quote.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t BASE = (size_t)64 << 20;

typedef struct budget {
    size_t left;
    bool exceeded, is_short; /* of its bytes; of memory */
} budget;

static void *
allocate(void *data, size_t size)
{
    budget *b = data;
    if (size > b->left) {
        b->exceeded = true;
        return NULL;
    }
    b->left -= size;
    void *memory = malloc(size ? size : 1);
    b->is_short = b->is_short || !memory;
    return memory;
}

/* What is freed is not given back: the budget bounds the sum. */
static void
release(void *data, void *memory)
{
    (void)data;
    free(memory);
}

soma_status
soma_onnx_unpack(const void *data, size_t size, Soma__Onnx__Model **model,
                 soma_error *err)
{
    budget b = {.left = BASE + 3 * size};
    ProtobufCAllocator allocator = {allocate, release, &b};
    *model = soma__onnx__model__unpack(&allocator, size, data);
    if (!*model && b.exceeded)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "more memory than three times the file is "
                              "needed to read it: no such file is a network's");
    if (!*model && b.is_short)
        return soma_error_memory(err, "an ONNX file");
    if (!*model)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "not an ONNX file: it is no protobuf message "
                              "of a model");
    if (!(*model)->graph)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "not an ONNX file: there is no graph in it");
    return SOMA_OK;
}

void
soma_onnx_release(Soma__Onnx__Model *model)
{
    budget b = {.left = 0};
    ProtobufCAllocator allocator = {allocate, release, &b};
    if (model)
        soma__onnx__model__free_unpacked(model, &allocator);
}

/* ---- External data ---- */

typedef struct place {
    const char *location;
    uint64_t offset;
    uint64_t length;
    bool has_length;
} place;

static bool
number_of(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

static soma_status
read_place(const soma_onnx_tensor *tensor, place *where, soma_error *err)
{
    bool good = true;
    *where = (place){.location = NULL};
    for (size_t i = 0; i < tensor->n_external_data; i++) {
        const Soma__Onnx__Entry *entry = tensor->external_data[i];
        if (!entry->key || !entry->value)
            continue;
        if (!strcmp(entry->key, "location"))
            where->location = entry->value;
        else if (!strcmp(entry->key, "offset"))
            good = good && number_of(entry->value, &where->offset);
        else if (!strcmp(entry->key, "length"))
            good = where->has_length =
                good && number_of(entry->value, &where->length);
    }
    if (!good || !where->location)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "its external_data needs a location, and numbers "
                              "as offset and length");
    return SOMA_OK;
}

/* The file's path; only a plain name is taken, so it stays in the folder. */
static soma_status
path_beside(const soma_onnx *onnx, const char *name, char path[PATH_MAX],
            soma_error *err)
{
    char text[SOMA_QUOTE_SIZE];
    if (!*name || strchr(name, '/') || !strcmp(name, ".") ||
        !strcmp(name, ".."))
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "its data are in \"%s\": only a file in the "
                              "same folder is read",
                              soma_quote(name, text));
    if (!onnx->path)
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "its data are in the file \"%s\", which does not "
                              "come along",
                              soma_quote(name, text));
    const char *slash = strrchr(onnx->path, '/');
    int folder = slash ? (int)(slash + 1 - onnx->path) : 0;
    int length = snprintf(path, PATH_MAX, "%.*s%s", folder, onnx->path, name);
    if (length < 0 || length >= PATH_MAX)
        return soma_error_set(err, SOMA_E_ARGUMENT, "the path is too long");
    return SOMA_OK;
}

static soma_status
read_range(int fd, const char *path, const place *where, size_t expected,
           soma_bytes *bytes, soma_error *err)
{
    struct stat st;
    if (fstat(fd, &st))
        return soma_error_errno(err, "reading", path);
    if (!S_ISREG(st.st_mode))
        return soma_error_set(err, SOMA_E_FORMAT, "%s: not a regular file",
                              path);
    uint64_t size = (uint64_t)st.st_size;
    if (where->has_length && where->length != expected)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "its length is %llu bytes, its shape needs %zu",
                              (unsigned long long)where->length, expected);
    if (where->offset > size || size - where->offset < expected)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "%s has %llu bytes: %zu from %llu on are not "
                              "there",
                              path, (unsigned long long)size, expected,
                              (unsigned long long)where->offset);
    bytes->data = malloc(expected + 1);
    if (!bytes->data)
        return soma_error_memory(err, "weights");
    while (bytes->size < expected) {
        ssize_t n = pread(fd, bytes->data + bytes->size, expected - bytes->size,
                          (off_t)(where->offset + bytes->size));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n ? soma_error_errno(err, "reading", path)
                     : soma_error_set(err, SOMA_E_IO,
                                      "%s: became shorter while it was read",
                                      path);
        bytes->size += (size_t)n;
    }
    bytes->data[expected] = '\0';
    return SOMA_OK;
}

soma_status
soma_onnx_external(const soma_onnx *onnx, const soma_onnx_tensor *tensor,
                   size_t expected, soma_bytes *bytes, soma_error *err)
{
    place where;
    char path[PATH_MAX];
    *bytes = (soma_bytes){NULL, 0};
    soma_status status = read_place(tensor, &where, err);
    if (!status)
        status = path_beside(onnx, where.location, path, err);
    if (status)
        return status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0 && errno == ELOOP)
        return soma_error_set(err, SOMA_E_UNSUPPORTED,
                              "%s is a symbolic link, which may lead out of "
                              "the folder: copy the file",
                              path);
    if (fd < 0) {
        soma_error_errno(err, "its data are in another file: opening", path);
        /* NOT_FOUND is the model file's alone. */
        err->status = SOMA_E_IO;
        return SOMA_E_IO;
    }
    status = read_range(fd, path, &where, expected, bytes, err);
    close(fd);
    if (status)
        soma_bytes_free(bytes);
    return status;
}
