/* Single-example steps of SGD, as one record's update in the trainer: examples
 * a second on one core, without a journal. Prints INPUTS HIDDEN OUTPUTS RATE
 * and the GB of weights that are moved each second.
 *
 * A step whose next row is known reads and writes every weight once: at these
 * rates that is what the second-level or third-level cache gives, so little is
 * left to gain. */
#include "core/step.h"
#include "core/activation.h"
#include "core/loss.h"
#include "core/matrix.h"
#include "core/pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static soma_spec
two_layers(int inputs, int hidden, int outputs)
{
    soma_spec spec = {.input = {.rank = 1, .shape = {inputs}, .high = 255},
                      .depth = 2,
                      .layers = {{.units = hidden, .pieces = 1},
                                 {.units = outputs, .pieces = 1}}};
    soma_error err;
    if (soma_activation_find("relu", &spec.layers[0].activation, &err) ||
        soma_activation_find("identity", &spec.layers[1].activation, &err) ||
        soma_loss_find("softmax_cross_entropy", &spec.loss, &err) ||
        soma_spec_finish(&spec, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    return spec;
}

static void
measure(int inputs, int hidden, int outputs)
{
    enum { EXAMPLES = 64 };
    soma_error err;
    soma_rng rng = soma_rng_seed(1, 0);
    soma_sgd sgd = {.rate = 1e-4f, .clip = 1};
    soma_spec spec = two_layers(inputs, hidden, outputs);
    soma_model *model = soma_model_create(&spec, &err);
    soma_workspace *ws = soma_workspace_create(&spec, 1, SOMA_PASS_LEARN, &err);
    soma_step step = {false, 0};
    float *x = malloc((size_t)EXAMPLES * (size_t)inputs * sizeof *x);
    if (!model || !ws || !x)
        exit(1);
    soma_model_init(model, &rng);
    for (size_t i = 0; i < (size_t)EXAMPLES * (size_t)inputs; i++)
        x[i] = (float)soma_rng_below(&rng, 1000) / 1000 - 0.5f;
    long steps = 0;
    double begin = now(), time;
    do {
        int label = (int)(steps % outputs);
        const float *row = x + (size_t)(steps % EXAMPLES) * (size_t)inputs;
        const float *next =
            x + (size_t)((steps + 1) % EXAMPLES) * (size_t)inputs;
        soma_pass_deltas(model, ws, 1, row, &label, NULL);
        if (soma_step_apply(&step, &sgd, model, ws, next, &err)) {
            fprintf(stderr, "%s\n", err.text);
            exit(1);
        }
        steps++;
        time = now() - begin;
    } while (time < 1);
    printf("%d %d %d %.0f %.2f\n", inputs, hidden, outputs,
           (double)steps / time,
           (double)steps / time * (double)spec.trainable * 4 * 2 / 1e9);
    free(x);
    soma_workspace_free(ws);
    soma_model_free(model);
}

int
main(void)
{
    soma_error err;
    if (soma_matrix_setup(&err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    measure(3072, 100, 10);
    measure(784, 128, 10);
    return 0;
}
