#include "tests/bench/onednn.h"

#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
check(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success)
        return;
    fprintf(stderr, "oneDNN: %s failed with %d\n", what, (int)status);
    exit(1);
}

enum { ARGUMENTS = 4 };

struct onednn {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t how;
    dnnl_primitive_t product;
    dnnl_exec_arg_t arguments[ARGUMENTS];
};

static dnnl_memory_t
memory_of(const dnnl_memory_desc_t *layout, dnnl_engine_t engine)
{
    dnnl_memory_t memory;
    void *data;
    check(dnnl_memory_create(&memory, layout, engine, DNNL_MEMORY_ALLOCATE),
          "a memory");
    check(dnnl_memory_get_data_handle(memory, &data), "its data");
    size_t floats = dnnl_memory_desc_get_size(layout) / sizeof(float);
    for (size_t i = 0; i < floats; i++)
        ((float *)data)[i] = (float)(i % 97) / 97 - 0.5f;
    return memory;
}

static dnnl_memory_desc_t
layout_of(int rank, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    dnnl_memory_desc_t layout;
    check(dnnl_memory_desc_init_by_tag(&layout, rank, dims, dnnl_f32, tag),
          "a layout");
    return layout;
}

onednn *
onednn_create(int in, int out, int rows)
{
    onednn *o = malloc(sizeof *o);
    if (!o)
        exit(1);
    check(dnnl_engine_create(&o->engine, dnnl_cpu, 0), "an engine");
    check(dnnl_stream_create(&o->stream, o->engine, dnnl_stream_default_flags),
          "a stream");
    dnnl_dims_t x = {rows, in}, w = {out, in}, b = {out}, y = {rows, out};
    dnnl_memory_desc_t source = layout_of(2, x, dnnl_ab);
    dnnl_memory_desc_t weights = layout_of(2, w, dnnl_format_tag_any);
    dnnl_memory_desc_t bias = layout_of(1, b, dnnl_a);
    dnnl_memory_desc_t result = layout_of(2, y, dnnl_ab);
    dnnl_inner_product_desc_t what;
    check(dnnl_inner_product_forward_desc_init(
              &what, dnnl_forward_inference, &source, &weights, &bias, &result),
          "a product");
    check(dnnl_primitive_desc_create(&o->how, &what, NULL, o->engine, NULL),
          "its plan");
    check(dnnl_primitive_create(&o->product, o->how), "its code");
    const dnnl_memory_desc_t *packed =
        dnnl_primitive_desc_query_md(o->how, dnnl_query_weights_md, 0);
    dnnl_exec_arg_t arguments[ARGUMENTS] = {
        {DNNL_ARG_SRC, memory_of(&source, o->engine)},
        {DNNL_ARG_WEIGHTS, memory_of(packed, o->engine)},
        {DNNL_ARG_BIAS, memory_of(&bias, o->engine)},
        {DNNL_ARG_DST, memory_of(&result, o->engine)}};
    memcpy(o->arguments, arguments, sizeof arguments);
    return o;
}

void
onednn_run(const onednn *o)
{
    check(
        dnnl_primitive_execute(o->product, o->stream, ARGUMENTS, o->arguments),
        "it");
    check(dnnl_stream_wait(o->stream), "waiting");
}

void
onednn_free(onednn *o)
{
    for (int i = 0; i < ARGUMENTS; i++)
        dnnl_memory_destroy(o->arguments[i].memory);
    dnnl_primitive_destroy(o->product);
    dnnl_primitive_desc_destroy(o->how);
    dnnl_stream_destroy(o->stream);
    dnnl_engine_destroy(o->engine);
    free(o);
}
