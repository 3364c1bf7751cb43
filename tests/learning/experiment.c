/* What learning from a stream does to what a model knew: README's table, one
 * example at a time.
 *
 *     experiment WAY SEED MODEL DATASET [CURVES.csv]
 *
 * WAY is soma, no-memory (the same without the memory of the model file) or
 * sgd (what a server does that just calls a library's step); SEED chooses the
 * order of the streams. Prints a line for each stream, WAY STREAM and pairs of
 * NAME=FIGURE, in percent and points of accuracy on the test set, and appends
 * accuracies along the way to CURVES.csv. Nothing here serves; it is the
 * learner that the server runs (core/learner.h).
 */
#include "core/matrix.h"
#include "tests/learning/streams.h"

#include <string.h>

typedef struct curves {
    const world *w;
    const char *way;
    FILE *file;
} curves;

static void
write_point(void *arg, const stream *s, int n, const soma_learner *learner)
{
    const curves *c = arg;
    const soma_model *m = soma_learner_model(learner);
    bool swap = s->swap >= 0;
    fprintf(c->file, "%s,%s,%d,%.2f,%.2f\n", c->way, s->name, n,
            accuracy(c->w, m, false, swap, swap ? is_other : NULL),
            accuracy(c->w, m, s->inverted, swap, swap ? is_swapped : NULL));
}

static void
all_streams(const world *w, const char *way, FILE *file)
{
    curves c = {w, way, file};
    for (int i = 0; i < STREAMS; i++) {
        const stream *s = &streams[i];
        outcome o = run_stream(w, s, file ? write_point : NULL, &c);
        printf("%-9s %-12s loses=%.2f", way, s->name, o.loses);
        if (s->inverted)
            printf(" reads=%.2f", o.inverted);
        if (s->swap >= 0)
            printf(" swapped=%.2f overall=%.2f", o.swapped, o.overall);
        printf(" steps=%.2f retired=%d\n", o.steps, o.retired);
        fflush(stdout);
    }
}

/* Each misread test image taught to a fresh model; 50 in a row, from several
 * places; all of them in a row, which nobody would do who also has right
 * answers to teach. */
static void
corrections(const world *w, const char *way)
{
    enum { MOST = 1000, ROW = 50 };
    static int misread[MOST];
    int count = find_misread(w, misread, MOST), stuck = 0, runs = 0;
    double steps = 0, at_once = 0, still = 0, cost = 0;
    float *x = world_alloc((size_t)w->test.size, sizeof *x);
    for (int i = 0; i < count; i++) {
        soma_learner *learner = fresh(w);
        int label = w->test.labels[misread[i]];
        get_row(&w->test, misread[i], false, x);
        steps += teach(learner, 1, x, label);
        stuck += answer(w, soma_learner_model(learner), x) == label;
        soma_learner_free(learner);
    }
    free(x);
    printf("%-9s %-12s stick=%.1f of=%d steps=%.2f\n", way, "correction",
           100.0 * stuck / count, count, steps / count);
    for (int first = 0; first + ROW <= count && runs < 8; first += 25, runs++) {
        corrected c = correct(w, misread + first, ROW);
        at_once += 100.0 * c.stuck / ROW;
        still += 100.0 * c.still / ROW;
        cost += c.cost;
    }
    if (runs)
        printf("%-9s %-12s stick=%.1f still=%.1f loses=%.2f\n", way,
               "50-in-a-row", at_once / runs, still / runs, cost / runs);
    corrected all = correct(w, misread, count);
    printf("%-9s %-12s stick=%.1f still=%.1f loses=%.2f of=%d\n", way,
           "all-in-a-row", 100.0 * all.stuck / count, 100.0 * all.still / count,
           all.cost, count);
}

static FILE *
open_curves(const char *path)
{
    FILE *file = fopen(path, "a");
    if (!file) {
        perror(path);
        exit(1);
    }
    return file;
}

int
main(int argc, char **argv)
{
    soma_error err;
    soma_checkpoint checkpoint;
    world w;
    if (argc < 5) {
        fprintf(stderr,
                "usage: experiment WAY SEED MODEL DATASET [CURVES.csv]\n");
        return 2;
    }
    const char *way = argv[1];
    world_must(soma_matrix_setup(&err), &err);
    world_must(soma_checkpoint_read(argv[3], NULL, &checkpoint, &err), &err);
    world_open(&w, &checkpoint, argv[4], strtoull(argv[2], NULL, 10));
    if (!strcmp(way, "sgd"))
        w.settings = (soma_learning){.sgd = {.rate = 0.01f}, .max_steps = 1};
    else if (!strcmp(way, "no-memory"))
        w.kept = NULL;
    else if (strcmp(way, "soma") != 0) {
        fprintf(stderr, "experiment: %s is not soma, no-memory or sgd\n", way);
        return 2;
    }
    FILE *file = argc > 5 ? open_curves(argv[5]) : NULL;
    all_streams(&w, way, file);
    corrections(&w, way);
    if (file)
        fclose(file);
    world_close(&w);
    soma_checkpoint_free(&checkpoint);
    return 0;
}
