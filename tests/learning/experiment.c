/* What learning from a stream does to what a model knew: the streams of
 * README's table, one example at a time, on MNIST-like digits.
 *
 *     experiment MODEL DATASET [CURVES.csv]
 *
 * Prints a line for each stream and way of learning, and writes accuracies
 * along the way to CURVES.csv. SEED chooses the order of the stream. Nothing
 * here serves; it is the learner that the server runs (core/learner.h).
 */
#include "core/io/dataset.h"
#include "core/learner.h"
#include "core/loss.h"
#include "core/matrix.h"
#include "core/pass.h"
#include "core/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct world {
    soma_model *base;
    soma_memory kept;
    soma_dataset train, test;
    soma_workspace *ws;
    int *order; /* of the training rows */
    soma_learning settings;
    FILE *curves;
    const char *way; /* name of the settings */
} world;

static void
must(soma_status status, const soma_error *err)
{
    if (!status)
        return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static float
number(const char *name, float fallback)
{
    const char *text = getenv(name);
    return text ? strtof(text, NULL) : fallback;
}

/* ---- Tests ---- */

typedef enum view { PLAIN, INVERTED } view;

static int
swapped(int label)
{
    return label == 4 ? 9 : label == 9 ? 4 : label;
}

static void
row(const soma_dataset *data, int i, view how, float *x)
{
    soma_dataset_row(data, i, x);
    if (how == INVERTED)
        for (int k = 0; k < data->size; k++)
            x[k] = 255 - x[k];
}

/* Accuracy in percent over the test set; `which` chooses rows by label. */
static double
accuracy(world *w, const soma_model *model, view how, bool swap,
         bool (*which)(int label))
{
    enum { ROWS = 100 };
    size_t size = (size_t)w->test.size;
    float *x = malloc(ROWS * size * sizeof *x);
    int right = 0, all = 0, labels[ROWS], n = 0;
    for (int i = 0; i <= w->test.count; i++) {
        if (n == ROWS || (i == w->test.count && n)) {
            const float *s = soma_pass_forward(model, w->ws, n, x);
            for (int r = 0; r < n; r++)
                right +=
                    soma_loss_decide(model->spec.loss, model->spec.outputs,
                                     s + r * model->spec.outputs) == labels[r];
            all += n;
            n = 0;
        }
        if (i == w->test.count || (which && !which(w->test.labels[i])))
            continue;
        row(&w->test, i, how, x + (size_t)n * size);
        labels[n++] = swap ? swapped(w->test.labels[i]) : w->test.labels[i];
    }
    free(x);
    return all ? 100.0 * right / all : 0;
}

static bool
is_swapped(int label)
{
    return label == 4 || label == 9;
}

static bool
is_other(int label)
{
    return !is_swapped(label);
}

/* ---- Streams ---- */

static soma_learner *
fresh(world *w)
{
    soma_error err;
    soma_learner *learner =
        soma_learner_create(w->base, &w->kept, &w->settings, &err);
    must(learner ? SOMA_OK : err.status, &err);
    return learner;
}

static soma_lesson
teach(soma_learner *learner, uint64_t seq, const float *x, int label)
{
    soma_error err;
    soma_lesson lesson;
    must(soma_learner_learn(learner, seq, x, label, 0, &lesson, &err), &err);
    return lesson;
}

static void
curve(world *w, const char *stream, int n, soma_learner *learner, view how,
      bool swap)
{
    if (!w->curves)
        return;
    const soma_model *m = soma_learner_model(learner);
    fprintf(w->curves, "%s,%s,%d,%.2f,%.2f\n", w->way, stream, n,
            accuracy(w, m, PLAIN, swap, swap ? is_other : NULL),
            accuracy(w, m, how, swap, swap ? is_swapped : NULL));
}

static void
stream(world *w, const char *name, int count, view how, bool swap, int only)
{
    soma_learner *learner = fresh(w);
    float *x = malloc((size_t)w->train.size * sizeof *x);
    long steps = 0;
    int n = 0;
    curve(w, name, 0, learner, how, swap);
    for (int i = 0; n < count && i < w->train.count; i++) {
        int label = w->train.labels[w->order[i]];
        if (only >= 0 && label != only)
            continue;
        row(&w->train, w->order[i], how, x);
        steps += teach(learner, (uint64_t)++n, x, swap ? swapped(label) : label)
                     .steps;
        if (n % 100 == 0)
            curve(w, name, n, learner, how, swap);
    }
    const soma_model *m = soma_learner_model(learner);
    double old = accuracy(w, w->base, PLAIN, false, NULL);
    int active, kept, sampled;
    soma_learner_memory(learner, &active, &kept, &sampled);
    printf("%-7s %-9s ", w->way, name);
    if (swap)
        printf("new labels %.2f %%, overall %.2f %%, others lose %.2f",
               accuracy(w, m, PLAIN, true, is_swapped),
               accuracy(w, m, PLAIN, true, NULL),
               accuracy(w, w->base, PLAIN, false, is_other) -
                   accuracy(w, m, PLAIN, true, is_other));
    else
        printf("old loses %.2f", old - accuracy(w, m, PLAIN, false, NULL));
    if (how == INVERTED)
        printf(", new %.2f %%", accuracy(w, m, INVERTED, false, NULL));
    printf("  (%.2f steps each, %d of %d kept active)\n", (double)steps / n,
           active, kept);
    soma_learner_free(learner);
    free(x);
}

static int
answer(world *w, const soma_model *m, const float *x)
{
    return soma_loss_decide(m->spec.loss, m->spec.outputs,
                            soma_pass_forward(m, w->ws, 1, x));
}

/* Every misread test image, each taught to a fresh model; then 50 in a row. */
static void
corrections(world *w)
{
    float *x = malloc((size_t)w->test.size * sizeof *x);
    int misread[1000], count = 0, stuck = 0, still = 0;
    for (int i = 0; i < w->test.count && count < 1000; i++) {
        row(&w->test, i, PLAIN, x);
        if (answer(w, w->base, x) != w->test.labels[i])
            misread[count++] = i;
    }
    long steps = 0;
    double cost = 0;
    for (int i = 0; i < count; i++) {
        soma_learner *learner = fresh(w);
        row(&w->test, misread[i], PLAIN, x);
        int label = w->test.labels[misread[i]];
        steps += teach(learner, 1, x, label).steps;
        stuck += answer(w, soma_learner_model(learner), x) == label;
        soma_learner_free(learner);
    }
    printf("%-7s %-9s %d of %d stick alone (%.2f steps each)\n", w->way,
           "correct", stuck, count, (double)steps / count);
    double old = accuracy(w, w->base, PLAIN, false, NULL);
    int runs = 0;
    still = stuck = 0;
    for (int first = 0; first + 50 <= count; first += 25, runs++) {
        soma_learner *learner = fresh(w);
        for (int i = 0; i < 50; i++) {
            int one = misread[first + i];
            row(&w->test, one, PLAIN, x);
            teach(learner, (uint64_t)i + 1, x, w->test.labels[one]);
            stuck += answer(w, soma_learner_model(learner), x) ==
                     w->test.labels[one];
        }
        int fixed = 0;
        for (int i = 0; i < 50; i++) {
            int one = misread[first + i];
            row(&w->test, one, PLAIN, x);
            fixed += answer(w, soma_learner_model(learner), x) ==
                     w->test.labels[one];
        }
        still += fixed;
        /* The taught ones were wrong before: they do not count. */
        double after =
            accuracy(w, soma_learner_model(learner), PLAIN, false, NULL);
        cost += old + 100.0 * fixed / w->test.count - after;
        soma_learner_free(learner);
    }
    printf("%-7s %-9s 50 in a row: stick %.1f %%, after all 50 %.1f %%, the "
           "rest loses %.2f\n",
           w->way, "correct", 2.0 * stuck / runs, 2.0 * still / runs,
           cost / runs);
    free(x);
}

static void
all_streams(world *w, const char *way)
{
    w->way = way;
    stream(w, "inverted", 1000, INVERTED, false, -1);
    stream(w, "all-3", 1000, PLAIN, false, 3);
    stream(w, "ordinary", 3000, PLAIN, false, -1);
    stream(w, "swapped", 3000, PLAIN, true, -1);
    corrections(w);
    fflush(stdout);
}

int
main(int argc, char **argv)
{
    soma_error err;
    soma_checkpoint checkpoint;
    world w = {.base = NULL};
    if (argc < 3) {
        fprintf(stderr, "usage: experiment MODEL DATASET [CURVES.csv]\n");
        return 2;
    }
    must(soma_matrix_setup(&err), &err);
    must(soma_checkpoint_read(argv[1], NULL, &checkpoint, &err), &err);
    w.base = checkpoint.model;
    soma_dataset_options options = {.split = SOMA_SPLIT_TRAIN};
    must(soma_dataset_open(argv[2], &options, &w.train, &err), &err);
    options.split = SOMA_SPLIT_TEST;
    must(soma_dataset_open(argv[2], &options, &w.test, &err), &err);
    w.kept = checkpoint.memory;
    w.ws = soma_workspace_create(&w.base->spec, 100, SOMA_PASS_PREDICT, &err);
    w.order = malloc((size_t)w.train.count * sizeof *w.order);
    for (int i = 0; i < w.train.count; i++)
        w.order[i] = i;
    soma_rng rng = soma_rng_seed((uint64_t)number("SEED", 1), 7);
    soma_rng_shuffle(&rng, w.order, w.train.count);
    if (argc > 3) {
        w.curves = fopen(argv[3], "w");
        fprintf(w.curves, "way,stream,examples,old,new\n");
    }
    w.settings = SOMA_LEARNING_DEFAULT;
    all_streams(&w, "soma");
    if (!getenv("SOMA_ONLY")) {
        /* What a server does that just calls a library's step. */
        w.settings = (soma_learning){.sgd = {.rate = 0.01f}, .max_steps = 1};
        all_streams(&w, "sgd");
    }
    if (w.curves)
        fclose(w.curves);
    return 0;
}
