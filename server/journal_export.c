#include "server/journal_export.h"

#include "core/memory.h"

#include <stdlib.h>
#include <string.h>

typedef struct exporter {
    const soma_classes *classes;
    int size, count;
    FILE *csv;
    soma_memory memory; /* of a .safetensors */
} exporter;

/* ---- CSV ---- */

/* Quoted, as RFC 4180 says. */
static void
put_name(FILE *csv, const char *name)
{
    putc('"', csv);
    for (; *name; name++) {
        if (*name == '"')
            putc('"', csv);
        putc(*name, csv);
    }
    putc('"', csv);
}

static soma_status
put_line(const soma_record *record, void *arg, soma_error *err)
{
    exporter *e = arg;
    (void)err;
    if (record->kind != SOMA_RECORD_EXAMPLE)
        return SOMA_OK;
    if (e->classes->count)
        put_name(e->csv, e->classes->names[record->label]);
    else
        fprintf(e->csv, "%d", record->label);
    for (int i = 0; i < e->size; i++)
        fprintf(e->csv, ",%.9g", (double)record->x[i]);
    putc('\n', e->csv);
    e->count++;
    return SOMA_OK;
}

static soma_status
export_csv(soma_journal_file *file, const char *path, exporter *e,
           soma_error *err)
{
    e->csv = fopen(path, "w");
    if (!e->csv)
        return soma_error_errno(err, "writing", path);
    fprintf(e->csv, "label");
    for (int i = 0; i < e->size; i++)
        fprintf(e->csv, ",value%d", i);
    putc('\n', e->csv);
    soma_status status =
        soma_replay_lineage(&file->replay, file->info.last, put_line, e, err);
    bool failed = ferror(e->csv) != 0;
    if ((fclose(e->csv) || failed) && !status)
        status = soma_error_errno(err, "writing", path);
    return status;
}

/* ---- safetensors ---- */

static soma_status
keep(const soma_record *record, void *arg, soma_error *err)
{
    exporter *e = arg;
    if (record->kind != SOMA_RECORD_EXAMPLE)
        return SOMA_OK;
    return soma_memory_put(&e->memory, e->memory.count, record->x,
                           record->label, err);
}

static soma_status
write_tensors(exporter *e, const char *path, soma_error *err)
{
    const soma_memory *m = &e->memory;
    soma_bytes bytes;
    uint64_t count = (uint64_t)m->count;
    soma_tensor_out tensors[2] = {
        {.name = "x",
         .dtype = m->bytes ? SOMA_U8 : SOMA_F32,
         .rank = 2,
         .shape = {count, (uint64_t)m->size},
         .values = m->bytes ? (const void *)m->bytes : m->floats},
        {.name = "labels",
         .dtype = SOMA_I32,
         .rank = 1,
         .shape = {count},
         .values = m->labels}};
    soma_status status =
        soma_safetensors_build(tensors, 2, NULL, 0, &bytes, err);
    if (status)
        return status;
    soma_piece piece = {bytes.data, bytes.size};
    status = soma_file_write(path, &piece, 1, err);
    soma_bytes_free(&bytes);
    return status;
}

static soma_status
export_tensors(soma_journal_file *file, const char *path, exporter *e,
               soma_error *err)
{
    uint64_t most = file->info.examples;
    if (most > 1 << 30)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "%llu examples are too many for one file",
                              (unsigned long long)most);
    soma_status status =
        soma_memory_create(&e->memory, e->size, (int)most, err);
    if (!status)
        status =
            soma_replay_lineage(&file->replay, file->info.last, keep, e, err);
    if (!status)
        status = write_tensors(e, path, err);
    e->count = e->memory.count;
    soma_memory_free(&e->memory);
    return status;
}

soma_status
soma_journal_export(soma_journal_file *file, const char *path, int *count,
                    soma_error *err)
{
    exporter e = {.classes = &file->base.classes, .size = file->info.size};
    soma_status status;
    if (soma_file_ends_in(path, ".csv"))
        status = export_csv(file, path, &e, err);
    else if (soma_file_ends_in(path, ".safetensors"))
        status = export_tensors(file, path, &e, err);
    else
        status = soma_error_set(err, SOMA_E_ARGUMENT,
                                "--out: expected a name that ends in .csv or "
                                ".safetensors, got \"%s\"",
                                path);
    *count = e.count;
    return status;
}
