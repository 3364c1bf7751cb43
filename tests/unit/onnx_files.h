/* A writer of ONNX files for tests, byte by byte, so that it shares nothing
 * with the reader: no schema, no protobuf library.
 *
 *     onnx_file f = onnx_start(13);
 *     onnx_input(&f, "x", 1, 2, (const long[]){0, 3});
 *     onnx_floats(&f, "w", 2, (const long[]){2, 3}, w);
 *     onnx_node(&f, "Gemm", "x w", "y", "transB=1");
 *     onnx_output(&f, "y");
 *     onnx_read(&f, ...) or onnx_end(&f), which gives the bytes
 */
#ifndef SOMA_TESTS_UNIT_ONNX_FILES_H
#define SOMA_TESTS_UNIT_ONNX_FILES_H

#include "core/io/onnx.h"
#include "core/pass.h"
#include "tests/unit/nets.h"

#include <stdio.h>

typedef struct onnx_bytes {
    unsigned char *data;
    size_t size;
} onnx_bytes;

typedef struct onnx_file {
    onnx_bytes graph, model;
} onnx_file;

static inline void
onnx_put(onnx_bytes *b, const void *data, size_t size)
{
    b->data = realloc(b->data, b->size + size + 1);
    assert_non_null(b->data);
    memcpy(b->data + b->size, data, size);
    b->size += size;
}

static inline void
onnx_varint(onnx_bytes *b, uint64_t value)
{
    do {
        unsigned char byte = value & 0x7f;
        value >>= 7;
        byte = (unsigned char)(value ? byte | 0x80 : byte);
        onnx_put(b, &byte, 1);
    } while (value);
}

static inline void
onnx_int(onnx_bytes *b, int field, int64_t value)
{
    onnx_varint(b, (uint64_t)field << 3);
    onnx_varint(b, (uint64_t)value);
}

static inline void
onnx_block(onnx_bytes *b, int field, const void *data, size_t size)
{
    onnx_varint(b, (uint64_t)field << 3 | 2);
    onnx_varint(b, size);
    onnx_put(b, data, size);
}

static inline void
onnx_text(onnx_bytes *b, int field, const char *text)
{
    onnx_block(b, field, text, strlen(text));
}

/* A message within another; frees it. */
static inline void
onnx_inside(onnx_bytes *b, int field, onnx_bytes *message)
{
    onnx_block(b, field, message->data ? message->data : (void *)"",
               message->size);
    free(message->data);
    *message = (onnx_bytes){NULL, 0};
}

static inline void
onnx_opset(onnx_bytes *model, const char *domain, int version)
{
    onnx_bytes set = {NULL, 0};
    onnx_text(&set, 1, domain);
    onnx_int(&set, 2, version);
    onnx_inside(model, 8, &set);
}

static inline onnx_file
onnx_start(int opset)
{
    onnx_file f = {{NULL, 0}, {NULL, 0}};
    onnx_int(&f.model, 1, 7);
    onnx_text(&f.model, 2, "the tests");
    onnx_opset(&f.model, "", opset);
    return f;
}

/* The tensor's bytes without its data: dims, type and name. */
static inline onnx_bytes
onnx_header(const char *name, int type, int rank, const long *dims)
{
    onnx_bytes t = {NULL, 0};
    for (int i = 0; i < rank; i++)
        onnx_int(&t, 1, dims[i]);
    onnx_int(&t, 2, type);
    onnx_text(&t, 8, name);
    return t;
}

static inline size_t
onnx_count(int rank, const long *dims)
{
    size_t count = 1;
    for (int i = 0; i < rank; i++)
        count *= (size_t)dims[i];
    return count;
}

static inline void
onnx_raw(onnx_file *f, const char *name, int type, int rank, const long *dims,
         const void *data, size_t size)
{
    onnx_bytes t = onnx_header(name, type, rank, dims);
    onnx_block(&t, 9, data, size);
    onnx_inside(&f->graph, 5, &t);
}

static inline void
onnx_floats(onnx_file *f, const char *name, int rank, const long *dims,
            const float *values)
{
    onnx_raw(f, name, 1, rank, dims, values,
             onnx_count(rank, dims) * sizeof *values);
}

static inline void
onnx_longs(onnx_file *f, const char *name, int count, const int64_t *values)
{
    long dims[1] = {count};
    onnx_raw(f, name, 7, 1, dims, values, (size_t)count * sizeof *values);
}

static inline void
onnx_number(onnx_file *f, const char *name, float value)
{
    onnx_floats(f, name, 0, NULL, &value);
}

/* "name=3", "name=0.5", "name=[1,2]", "name=[0.5,1.]" or "name=text" (or
 * =[one,two]): integers, floats if there is a point, else strings. */
static inline void
onnx_attribute(onnx_bytes *node, const char *text)
{
    onnx_bytes a = {NULL, 0};
    size_t stem = strcspn(text, "=");
    const char *at = text + stem + 1;
    bool list = *at == '[';
    bool number = strspn(at, "[]0123456789.,-e") == strlen(at);
    bool whole = number && !strchr(at, '.');
    onnx_block(&a, 1, text, stem);
    for (at += list; *at && *at != ']';) {
        size_t length = strcspn(at, list ? ",]" : "");
        float single = strtof(at, NULL);
        if (whole) {
            onnx_int(&a, list ? 8 : 3, strtol(at, NULL, 10));
        } else if (number) {
            onnx_varint(&a, (list ? 7u : 2u) << 3 | 5);
            onnx_put(&a, &single, sizeof single);
        } else {
            onnx_block(&a, list ? 9 : 4, at, length);
        }
        at += length;
        at += *at == ',';
    }
    onnx_inside(node, 5, &a);
}

/* Inputs, outputs and attributes are words; "-" is an input left out. A type
 * "ml.Scaler" is of the domain ai.onnx.ml. */
static inline void
onnx_node(onnx_file *f, const char *type, const char *inputs,
          const char *outputs, const char *attributes)
{
    onnx_bytes node = {NULL, 0};
    const char *lists[] = {inputs, outputs, attributes};
    for (int i = 0; i < 3; i++)
        for (const char *at = lists[i]; at && *at;) {
            char word[160];
            size_t length = strcspn(at, " ");
            snprintf(word, sizeof word, "%.*s", (int)length, at);
            if (i == 2)
                onnx_attribute(&node, word);
            else
                onnx_text(&node, i + 1, strcmp(word, "-") ? word : "");
            at += length;
            at += *at == ' ';
        }
    bool ml = !strncmp(type, "ml.", 3);
    onnx_text(&node, 4, type + (ml ? 3 : 0));
    if (ml)
        onnx_text(&node, 7, "ai.onnx.ml");
    onnx_inside(&f->graph, 1, &node);
}

/* 0 and -1: dynamic, without and with a name. */
static inline void
onnx_port(onnx_file *f, int field, const char *name, int type, int rank,
          const long *dims)
{
    onnx_bytes shape = {NULL, 0}, tensor = {NULL, 0}, kind = {NULL, 0};
    onnx_bytes info = {NULL, 0};
    for (int i = 0; i < rank; i++) {
        onnx_bytes dim = {NULL, 0};
        if (dims[i] > 0)
            onnx_int(&dim, 1, dims[i]);
        else if (dims[i] < 0)
            onnx_text(&dim, 2, "batch");
        onnx_inside(&shape, 1, &dim);
    }
    onnx_int(&tensor, 1, type);
    onnx_inside(&tensor, 2, &shape);
    onnx_inside(&kind, 1, &tensor);
    onnx_text(&info, 1, name);
    onnx_inside(&info, 2, &kind);
    onnx_inside(&f->graph, field, &info);
}

static inline void
onnx_input(onnx_file *f, const char *name, int type, int rank, const long *dims)
{
    onnx_port(f, 11, name, type, rank, dims);
}

static inline void
onnx_output(onnx_file *f, const char *name)
{
    onnx_port(f, 12, name, 1, 0, NULL);
}

/* The bytes of the file; free them. */
static inline onnx_bytes
onnx_end(onnx_file *f)
{
    onnx_bytes all = f->model;
    onnx_inside(&all, 7, &f->graph);
    f->model = (onnx_bytes){NULL, 0};
    return all;
}

/* Parses and frees it. */
static inline soma_status
onnx_parse(onnx_file *f, const soma_onnx_options *options,
           soma_checkpoint *checkpoint, soma_error *err)
{
    onnx_bytes all = onnx_end(f);
    soma_status status =
        soma_onnx_parse(all.data, all.size, options, checkpoint, err);
    free(all.data);
    return status;
}

static inline soma_checkpoint
onnx_good(onnx_file *f, const soma_onnx_options *options)
{
    soma_error err;
    soma_checkpoint checkpoint;
    nets_ok(onnx_parse(f, options, &checkpoint, &err), &err);
    return checkpoint;
}

/* It must be refused, in these words. */
static inline void
onnx_bad(onnx_file *f, const soma_onnx_options *options, soma_status status,
         const char *words)
{
    soma_error err = {SOMA_OK, ""};
    soma_checkpoint checkpoint;
    soma_status got = onnx_parse(f, options, &checkpoint, &err);
    if (got != status || !strstr(err.text, words))
        fail_msg("expected status %d and \"%s\", got %d: %s", (int)status,
                 words, (int)got, got ? err.text : "");
    assert_null(checkpoint.model);
}

/* The model's answer for one example. */
static inline void
onnx_answer(const soma_checkpoint *checkpoint, const float *x, float *out)
{
    const soma_spec *spec = &checkpoint->model->spec;
    soma_workspace *ws =
        soma_workspace_create(spec, 1, SOMA_PASS_PREDICT, NULL);
    assert_non_null(ws);
    spec->loss->answer(spec->outputs,
                       soma_pass_forward(checkpoint->model, ws, 1, x), out);
    soma_workspace_free(ws);
}

#endif
