/* What one durable example costs without a server: the commit of a record, and
 * the learner's update. Prints microseconds, medians:
 *
 *     record FOLDER MODEL  ->  COMMIT STEP STEP_WITH_15_REHEARSED
 *
 * The journal is made in FOLDER, which says which disk is measured. */
#include "core/io/checkpoint.h"
#include "core/learner.h"
#include "core/matrix.h"
#include "core/rng.h"
#include "server/engine/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { TIMES = 1001, EXAMPLES = 64 };

static double times[TIMES];

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int
ascending(const void *a, const void *b)
{
    double p = *(const double *)a, q = *(const double *)b;
    return (p > q) - (p < q);
}

static double
median(void)
{
    qsort(times, TIMES, sizeof *times, ascending);
    return times[TIMES / 2];
}

static void
must(soma_status status, const soma_error *err)
{
    if (!status)
        return;
    fprintf(stderr, "%s\n", err->text);
    exit(1);
}

static const float *
example(const float *x, int size, int i)
{
    return x + (size_t)(i % EXAMPLES) * (size_t)size;
}

static double
commit(const char *folder, const float *x, int size)
{
    soma_error err;
    char path[4096];
    snprintf(path, sizeof path, "%s/record.db", folder);
    unlink(path);
    soma_journal_base base = {
        .digest = "", .model = "", .size = size, .now = 0};
    soma_journal *journal = soma_journal_create(path, &base, &err);
    must(journal ? SOMA_OK : err.status, &err);
    for (int i = 0; i < TIMES; i++) {
        soma_record record = {.seq = (uint64_t)i + 1,
                              .kind = SOMA_RECORD_EXAMPLE,
                              .x = example(x, size, i)};
        soma_journal_group group = {.records = &record, .count = 1};
        double begin = now();
        must(journal->backend->append(journal, &group, &err), &err);
        times[i] = now() - begin;
    }
    journal->backend->close(journal);
    unlink(path);
    return median();
}

static double
step(const soma_model *model, int rehearse, const float *x)
{
    soma_error err;
    soma_learning settings = SOMA_LEARNING_DEFAULT;
    settings.rehearse = rehearse;
    settings.max_steps = 1;
    settings.pull = 0;
    soma_learner *learner = soma_learner_create(model, NULL, &settings, &err);
    must(learner ? SOMA_OK : err.status, &err);
    for (int i = 0; i < TIMES; i++) {
        soma_lesson lesson;
        double begin = now();
        must(soma_learner_learn(learner, (uint64_t)i + 1,
                                example(x, model->spec.input.size, i),
                                i % model->spec.classes, 0, &lesson, &err),
             &err);
        times[i] = now() - begin;
    }
    soma_learner_free(learner);
    return median();
}

int
main(int argc, char **argv)
{
    soma_error err;
    soma_checkpoint checkpoint;
    if (argc != 3) {
        fprintf(stderr, "usage: record FOLDER MODEL\n");
        return 2;
    }
    must(soma_matrix_setup(&err), &err);
    must(soma_checkpoint_read(argv[2], NULL, &checkpoint, &err), &err);
    int size = checkpoint.model->spec.input.size;
    size_t count = (size_t)EXAMPLES * (size_t)size;
    float *x = malloc(count * sizeof *x);
    if (!x)
        return 1;
    soma_rng rng = soma_rng_seed(1, 0);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)soma_rng_below(&rng, 256);
    printf("%.1f %.1f %.1f\n", commit(argv[1], x, size),
           step(checkpoint.model, 0, x), step(checkpoint.model, 15, x));
    free(x);
    soma_checkpoint_free(&checkpoint);
    return 0;
}
