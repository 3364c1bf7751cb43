/* One image gives the same bits alone, in any batch, in any place of it, on
 * any thread: all shipped models, batches of 1 to 300. */
#include "core/io/checkpoint.h"
#include "core/matrix.h"
#include "core/pass.h"
#include "core/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 300, THREADS = 2 };

typedef struct job {
    const soma_model *model;
    const float *x, *alone;
    int first; /* batch sizes first, first + THREADS, ... */
    int wrong;
} job;

/* Batches of `size` rows that begin at different rows, so that each image
 * stands in many places. */
static void *
run_job(void *arg)
{
    job *j = arg;
    const soma_spec *spec = &j->model->spec;
    size_t in = (size_t)spec->input.size, out = (size_t)spec->outputs;
    soma_workspace *ws =
        soma_workspace_create(spec, MOST, SOMA_PASS_PREDICT, NULL);
    /* The large model takes fewer sizes, all of them around its groups. */
    bool large = spec->trainable > 1000000;
    for (int size = j->first; size <= MOST; size += THREADS) {
        if (large && size > 20 && size % 64 > 1 && size < MOST - 3)
            continue;
        int start = size * 7 % (MOST - size + 1);
        const float *scores =
            soma_pass_forward(j->model, ws, size, j->x + (size_t)start * in);
        j->wrong += memcmp(scores, j->alone + (size_t)start * out,
                           (size_t)size * out * sizeof(float)) != 0;
    }
    soma_workspace_free(ws);
    return NULL;
}

static void
check(const soma_model *model, const char *name)
{
    const soma_spec *spec = &model->spec;
    size_t in = (size_t)spec->input.size, out = (size_t)spec->outputs;
    float *x = malloc(MOST * in * sizeof *x);
    float *alone = malloc(MOST * out * sizeof *alone);
    soma_workspace *ws =
        soma_workspace_create(spec, 1, SOMA_PASS_PREDICT, NULL);
    soma_rng rng = soma_rng_seed(3, 0);
    for (size_t i = 0; i < MOST * in; i++)
        x[i] = (float)soma_rng_below(&rng, 256);
    for (size_t i = 0; i < MOST; i++)
        memcpy(alone + i * out, soma_pass_forward(model, ws, 1, x + i * in),
               out * sizeof *alone);
    job jobs[THREADS];
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++) {
        jobs[t] = (job){model, x, alone, t + 1, 0};
        pthread_create(&threads[t], NULL, run_job, &jobs[t]);
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        if (jobs[t].wrong)
            fail_msg("%s: %d batches differ", name, jobs[t].wrong);
    }
    soma_workspace_free(ws);
    free(alone);
    free(x);
}

static void
shipped_models(void **state)
{
    static const char *const names[] = {
        "neuron",         "neuron-svm", "mnist",       "fashion",
        "cifar10-linear", "cifar10",    "cifar10-deep"};
    const char *folder = getenv("SOMA_MODELS");
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[256];
        soma_checkpoint checkpoint;
        soma_error err;
        snprintf(path, sizeof path, "%s/%s.safetensors",
                 folder ? folder : "models", names[i]);
        if (soma_checkpoint_read(path, NULL, &checkpoint, &err))
            fail_msg("%s", err.text);
        check(checkpoint.model, names[i]);
        soma_checkpoint_free(&checkpoint);
    }
}

/* Every width of a panel, and depths around the blocks of a call. */
static void
every_width(void **state)
{
    static const int depths[] = {1, 7, 100, 784, 3841};
    enum { ROWS = 9 };
    (void)state;
    soma_rng rng = soma_rng_seed(4, 0);
    size_t most = 3841;
    float *panels = malloc(most * 65 * sizeof *panels);
    float *x = malloc(ROWS * most * sizeof *x);
    float bias[65], y[ROWS * 65], alone[65];
    for (size_t i = 0; i < most * 65; i++)
        panels[i] = soma_rng_normal(&rng);
    for (size_t i = 0; i < ROWS * most; i++)
        x[i] = soma_rng_normal(&rng);
    for (int i = 0; i < 65; i++)
        bias[i] = soma_rng_normal(&rng);
    for (size_t d = 0; d < sizeof depths / sizeof *depths; d++)
        for (int out = 1; out <= 65; out++)
            for (int rows = 1; rows <= ROWS; rows++) {
                int in = depths[d];
                soma_matrix_forward(in, out, panels, bias, rows, x, y);
                for (int r = 0; r < rows; r++) {
                    soma_matrix_forward(in, out, panels, bias, 1,
                                        x + (size_t)r * (size_t)in, alone);
                    if (memcmp(alone, y + r * out, (size_t)out * sizeof *alone))
                        fail_msg("%d x %d, row %d of %d", in, out, r, rows);
                }
            }
    free(panels);
    free(x);
}

int
main(void)
{
    soma_error err;
    if (soma_matrix_setup(&err)) {
        print_error("%s\n", err.text);
        return 1;
    }
    print_message("forward product: %s\n", soma_matrix_plan());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_width),
        cmocka_unit_test(shipped_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
