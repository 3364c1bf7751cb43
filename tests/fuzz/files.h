/* What the targets for model files, datasets and pictures share: a folder for
 * their files, and what must hold of a model that was read.
 */
#ifndef SOMA_TESTS_FUZZ_FILES_H
#define SOMA_TESTS_FUZZ_FILES_H

#include "core/io/checkpoint.h"
#include "core/matrix.h"
#include "core/pass.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline void
must(bool good)
{
    if (!good)
        abort();
}

static char files_folder[64];

static inline void
files_remove(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -rf %s", files_folder);
    if (system(command))
        fprintf(stderr, "%s is left\n", files_folder);
}

/* The path of a file in a folder of this process, which is removed at its
 * end; in memory where there is such a place. Lives until the next call but
 * three. */
static inline const char *
files_path(const char *name)
{
    static char paths[4][PATH_MAX];
    static int next;
    if (!files_folder[0]) {
        bool memory = access("/dev/shm", W_OK) == 0;
        snprintf(files_folder, sizeof files_folder, "%s/soma-fuzz-XXXXXX",
                 memory ? "/dev/shm" : "/tmp");
        must(mkdtemp(files_folder));
        atexit(files_remove);
    }
    char *path = paths[next++ % 4];
    snprintf(path, PATH_MAX, "%s/%s", files_folder, name);
    return path;
}

static inline const char *
files_write(const char *name, const void *data, size_t size)
{
    const char *path = files_path(name);
    FILE *file = fopen(path, "wb");
    must(file);
    must(fwrite(data, 1, size, file) == size);
    must(!fclose(file));
    return path;
}

static inline soma_bytes
files_bytes(const uint8_t *data, size_t size)
{
    soma_bytes bytes = {.data = malloc(size + 1), .size = size};
    must(bytes.data);
    memcpy(bytes.data, data, size);
    bytes.data[size] = 0;
    return bytes;
}

/* A failure has a status, which is not that of a bug, and a text. */
static inline void
files_explained(soma_status status, const soma_error *err)
{
    must(!status || (err->status == status && err->text[0]));
    must(status != SOMA_E_INTERNAL);
}

/* Numbers are finite, and a row is answered. */
static inline void
files_answer(const soma_model *model)
{
    static bool ready;
    must(ready || !soma_matrix_setup(NULL));
    ready = true;
    must(soma_model_finite(model));
    float *x = calloc((size_t)model->spec.input.size, sizeof *x);
    soma_workspace *ws =
        soma_workspace_create(&model->spec, 1, SOMA_PASS_PREDICT, NULL);
    must(x && ws);
    soma_pass_forward(model, ws, 1, x);
    soma_workspace_free(ws);
    free(x);
}

/* It can be written, and what was written is the same model. */
static inline void
files_again(const soma_checkpoint *checkpoint)
{
    soma_error err;
    soma_bytes bytes;
    soma_checkpoint back;
    char before[SOMA_DIGEST_HEX + 1], after[SOMA_DIGEST_HEX + 1];
    must(!soma_checkpoint_build(checkpoint, SOMA_F32, &bytes, &err));
    must(!soma_checkpoint_parse(&bytes, NULL, &back, &err));
    must(!soma_checkpoint_digest(checkpoint, before, &err));
    must(!soma_checkpoint_digest(&back, after, &err));
    must(!strcmp(before, after));
    soma_checkpoint_free(&back);
}

#endif
