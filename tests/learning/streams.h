/* Streams of single examples, and what learning them does to a model: for the
 * experiment, which prints it, and for tests/unit/test_streams.c, which bounds
 * it. Any dataset of ten classes will do; 4 and 9 are those that are swapped.
 */
#ifndef SOMA_TESTS_STREAMS_H
#define SOMA_TESTS_STREAMS_H

#include "core/io/dataset.h"
#include "core/learner.h"
#include "core/loss.h"
#include "core/pass.h"
#include "core/rng.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct world {
    const soma_model *base;
    const soma_memory *kept; /* NULL: none */
    soma_learning settings;
    soma_dataset train, test;
    soma_workspace *ws; /* of 100 rows */
    int *order;         /* of the training rows */
} world;

typedef struct stream {
    const char *name;
    int count;
    bool inverted;
    int only;  /* of this class alone; -1: of all */
    int swap;  /* 4 and 9 are swapped from this example on; -1: never */
    int noise; /* every so many labels one is drawn; 0: none */
} stream;

enum { STREAMS = 6 };
static const stream streams[STREAMS] = {
    {"inverted", 1000, true, -1, -1, 0},
    {"one-class", 1000, false, 3, -1, 0},
    {"ordinary", 3000, false, -1, -1, 0},
    {"swapped", 3000, false, -1, 0, 0},
    {"late-swap", 6000, false, -1, 3000, 0},
    {"noise", 3000, false, -1, -1, 5},
};

/* Accuracies in percent on the test set, losses in points. */
typedef struct outcome {
    double loses;    /* on what it knew; of swapped classes: the other eight */
    double inverted; /* inverted ones */
    double swapped;  /* the two classes alone, as now labelled */
    double overall;  /* all, as now labelled */
    double steps;    /* of each example */
    int retired;     /* examples of the memory */
} outcome;

static void
world_must(soma_status status, const soma_error *err)
{
    if (!status)
        return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static void *
world_alloc(size_t count, size_t size)
{
    void *p = calloc(count, size);
    if (!p)
        exit(1);
    return p;
}

/* `seed` chooses the order of the streams. */
static void
world_open(world *w, const soma_checkpoint *checkpoint, const char *data,
           uint64_t seed)
{
    soma_error err;
    soma_dataset_options options = {.split = SOMA_SPLIT_TRAIN};
    *w = (world){.base = checkpoint->model,
                 .kept = &checkpoint->memory,
                 .settings = SOMA_LEARNING_DEFAULT};
    world_must(soma_dataset_open(data, &options, &w->train, &err), &err);
    options.split = SOMA_SPLIT_TEST;
    world_must(soma_dataset_open(data, &options, &w->test, &err), &err);
    w->ws = soma_workspace_create(&w->base->spec, 100, SOMA_PASS_PREDICT, &err);
    world_must(w->ws ? SOMA_OK : err.status, &err);
    w->order = world_alloc((size_t)w->train.count, sizeof *w->order);
    for (int i = 0; i < w->train.count; i++)
        w->order[i] = i;
    soma_rng rng = soma_rng_seed(seed, 7);
    soma_rng_shuffle(&rng, w->order, w->train.count);
}

static void
world_close(world *w)
{
    soma_workspace_free(w->ws);
    free(w->order);
    soma_dataset_free(&w->train);
    soma_dataset_free(&w->test);
}

static int
swap_label(int label)
{
    return label == 4 ? 9 : label == 9 ? 4 : label;
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

static void
get_row(const soma_dataset *data, int i, bool inverted, float *x)
{
    soma_dataset_row(data, i, x);
    for (int k = 0; inverted && k < data->size; k++)
        x[k] = 255 - x[k];
}

static int
answer(const world *w, const soma_model *m, const float *x)
{
    return soma_loss_decide(m->spec.loss, m->spec.outputs,
                            soma_pass_forward(m, w->ws, 1, x));
}

/* Over the test set; `which` chooses rows by label, NULL: all. */
static double
accuracy(const world *w, const soma_model *model, bool inverted, bool swap,
         bool (*which)(int label))
{
    enum { ROWS = 100 };
    size_t size = (size_t)w->test.size;
    float *x = world_alloc(ROWS * size, sizeof *x);
    int right = 0, all = 0, labels[ROWS], n = 0, outputs = model->spec.outputs;
    for (int i = 0; i <= w->test.count; i++) {
        if (n == ROWS || (i == w->test.count && n)) {
            const float *s = soma_pass_forward(model, w->ws, n, x);
            for (int r = 0; r < n; r++)
                right += soma_loss_decide(model->spec.loss, outputs,
                                          s + r * outputs) == labels[r];
            all += n;
            n = 0;
        }
        if (i == w->test.count || (which && !which(w->test.labels[i])))
            continue;
        get_row(&w->test, i, inverted, x + (size_t)n * size);
        labels[n++] = swap ? swap_label(w->test.labels[i]) : w->test.labels[i];
    }
    free(x);
    return all ? 100.0 * right / all : 0;
}

static soma_learner *
fresh(const world *w)
{
    soma_error err;
    soma_learner *learner =
        soma_learner_create(w->base, w->kept, &w->settings, &err);
    world_must(learner ? SOMA_OK : err.status, &err);
    return learner;
}

static int
teach(soma_learner *learner, uint64_t seq, const float *x, int label)
{
    soma_error err;
    soma_lesson lesson;
    world_must(soma_learner_learn(learner, seq, x, label, 0, &lesson, &err),
               &err);
    return lesson.steps;
}

static outcome
judge(const world *w, const stream *s, const soma_learner *learner)
{
    const soma_model *m = soma_learner_model(learner);
    bool swap = s->swap >= 0;
    bool (*known)(int) = swap ? is_other : NULL;
    outcome o = {.loses = accuracy(w, w->base, false, false, known) -
                          accuracy(w, m, false, false, known)};
    if (s->inverted)
        o.inverted = accuracy(w, m, true, false, NULL);
    if (swap) {
        o.swapped = accuracy(w, m, false, true, is_swapped);
        o.overall = accuracy(w, m, false, true, NULL);
    }
    return o;
}

/* Learns a stream; `watch`, if not NULL, sees the learner before the first
 * example and after every 100th. */
static outcome
run_stream(const world *w, const stream *s,
           void (*watch)(void *arg, const stream *s, int n,
                         const soma_learner *learner),
           void *arg)
{
    soma_learner *learner = fresh(w);
    soma_rng rng = soma_rng_seed(5, 5);
    float *x = world_alloc((size_t)w->train.size, sizeof *x);
    int n = 0, active, kept, sampled;
    long steps = 0;
    if (watch)
        watch(arg, s, 0, learner);
    for (int i = 0; n < s->count && i < w->train.count; i++) {
        int label = w->train.labels[w->order[i]];
        if (s->only >= 0 && label != s->only)
            continue;
        if (s->swap >= 0 && n >= s->swap)
            label = swap_label(label);
        if (s->noise && soma_rng_below(&rng, (uint32_t)s->noise) == 0)
            label = (int)soma_rng_below(&rng, 10);
        get_row(&w->train, w->order[i], s->inverted, x);
        steps += teach(learner, (uint64_t)++n, x, label);
        if (watch && n % 100 == 0)
            watch(arg, s, n, learner);
    }
    outcome o = judge(w, s, learner);
    o.steps = (double)steps / n;
    soma_learner_memory(learner, &active, &kept, &sampled);
    o.retired = kept - active;
    soma_learner_free(learner);
    free(x);
    return o;
}

/* ---- Corrections of misread test images ---- */

/* `misread` [most]: returns how many of the first test images there are. */
static int
find_misread(const world *w, int *misread, int most)
{
    float *x = world_alloc((size_t)w->test.size, sizeof *x);
    int count = 0;
    for (int i = 0; i < w->test.count && count < most; i++) {
        get_row(&w->test, i, false, x);
        if (answer(w, w->base, x) != w->test.labels[i])
            misread[count++] = i;
    }
    free(x);
    return count;
}

typedef struct corrected {
    int stuck, still; /* right at once, and after all of them */
    double steps;     /* of each */
    double cost;      /* points that all other test images lose */
} corrected;

/* Taught one after the other. */
static corrected
correct(const world *w, const int *misread, int count)
{
    soma_learner *learner = fresh(w);
    const soma_model *m = soma_learner_model(learner);
    float *x = world_alloc((size_t)w->test.size, sizeof *x);
    corrected c = {0, 0, 0, 0};
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < count; i++) {
            int label = w->test.labels[misread[i]];
            get_row(&w->test, misread[i], false, x);
            if (pass == 0)
                c.steps +=
                    teach(learner, (uint64_t)i + 1, x, label) / (double)count;
            *(pass ? &c.still : &c.stuck) += answer(w, m, x) == label;
        }
    /* The taught ones were wrong before: they do not count. */
    double right =
        accuracy(w, m, false, false, NULL) - 100.0 * c.still / w->test.count;
    c.cost = (accuracy(w, w->base, false, false, NULL) - right) *
             w->test.count / (w->test.count - count);
    soma_learner_free(learner);
    free(x);
    return c;
}

#endif
