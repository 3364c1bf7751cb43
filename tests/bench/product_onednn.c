/* The forward product by oneDNN, weights packed beforehand in the layout that
 * it likes best, one thread. Prints INPUTS OUTPUTS ROWS GFLOPS for the layers
 * and batches of product.c. */
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void
check(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success)
        return;
    fprintf(stderr, "oneDNN: %s failed with %d\n", what, (int)status);
    exit(1);
}

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

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

static double
gigaflops(dnnl_engine_t engine, dnnl_stream_t stream, int in, int out, int rows)
{
    dnnl_dims_t x = {rows, in}, w = {out, in}, b = {out}, y = {rows, out};
    dnnl_memory_desc_t source = layout_of(2, x, dnnl_ab);
    dnnl_memory_desc_t weights = layout_of(2, w, dnnl_format_tag_any);
    dnnl_memory_desc_t bias = layout_of(1, b, dnnl_a);
    dnnl_memory_desc_t result = layout_of(2, y, dnnl_ab);
    dnnl_inner_product_desc_t what;
    dnnl_primitive_desc_t how;
    dnnl_primitive_t product;
    check(dnnl_inner_product_forward_desc_init(
              &what, dnnl_forward_inference, &source, &weights, &bias, &result),
          "a product");
    check(dnnl_primitive_desc_create(&how, &what, NULL, engine, NULL),
          "its plan");
    check(dnnl_primitive_create(&product, how), "its code");
    dnnl_exec_arg_t arguments[] = {
        {DNNL_ARG_SRC, memory_of(&source, engine)},
        {DNNL_ARG_WEIGHTS,
         memory_of(dnnl_primitive_desc_query_md(how, dnnl_query_weights_md, 0),
                   engine)},
        {DNNL_ARG_BIAS, memory_of(&bias, engine)},
        {DNNL_ARG_DST, memory_of(&result, engine)}};
    double best = 0;
    for (int round = 0; round < 5; round++) {
        long calls = 0;
        double begin = now(), time;
        do {
            check(dnnl_primitive_execute(product, stream, 4, arguments), "it");
            check(dnnl_stream_wait(stream), "waiting");
            calls++;
            time = now() - begin;
        } while (time < 0.02);
        double rate = 2.0 * in * out * rows * (double)calls / time / 1e9;
        best = rate > best ? rate : best;
    }
    for (int i = 0; i < 4; i++)
        dnnl_memory_destroy(arguments[i].memory);
    dnnl_primitive_destroy(product);
    dnnl_primitive_desc_destroy(how);
    return best;
}

int
main(void)
{
    static const int layers[][2] = {
        {784, 128}, {3072, 100}, {3072, 1024}, {1024, 1024}};
    static const int batches[] = {1, 2, 4, 8, 16, 32, 64, 128, 512};
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    setenv("OMP_NUM_THREADS", "1", 1);
    check(dnnl_engine_create(&engine, dnnl_cpu, 0), "an engine");
    check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags),
          "a stream");
    for (size_t l = 0; l < sizeof layers / sizeof *layers; l++)
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
            printf("%d %d %d %.1f\n", layers[l][0], layers[l][1], batches[b],
                   gigaflops(engine, stream, layers[l][0], layers[l][1],
                             batches[b]));
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
    return 0;
}
