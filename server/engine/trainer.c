/* The trainer's loop takes whatever jobs wait, as one group, and for it does
 *
 *     append    to the journal, in one transaction
 *     step      for each example, in order
 *     publish   one new snapshot
 *     done      for each job
 *
 * Invariants:
 *
 * 1. Nothing is answered before append, step and publish: only finish_group
 *    calls a job's `done`.
 * 2. One record is one deterministic update, whatever group it came in. The
 *    weights in force are the checkpoint's plus all records since, in order.
 * 3. This thread is the only writer of the working weights and the journal.
 * 4. A step that would make a number that is not finite changes nothing; the
 *    record stays, and is rejected again when it is read back.
 * 5. When the append fails nothing is stepped, and the jobs fail with its
 *    error.
 * 6. Everything that changes weights is a record.
 *
 * tests/unit/test_trainer.c has a test for each.
 */
#include "server/engine/trainer.h"

#include "core/loss.h"
#include "core/pass.h"
#include "core/step.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The most examples of one group: their journal transaction and the wait of
 * the first one stay short. A larger job is a group of its own. */
enum { GROUP = 256, WINDOW = 1000 };

struct soma_trainer {
    soma_trainer_options options;
    soma_shelf *shelf;
    soma_journal *journal;
    pthread_t thread;

    /* Shared with those who submit: */
    pthread_mutex_t lock;
    pthread_cond_t more;
    soma_learn_job *first, **last;
    int waiting; /* examples */
    bool stopping;

    /* The thread's own: */
    soma_model *model;
    soma_workspace *ws;
    float *grad, *velocity; /* with momentum, else NULL */
    soma_step step;         /* without */
    uint64_t seq;           /* of the last record appended */
    soma_record *records;
    int record_room;
    uint64_t examples;
    struct {
        bool correct;
        float loss;
    } window[WINDOW]; /* example n stands at n % WINDOW */
};

/* Takes jobs off the queue until the group is full; waits for the first. NULL
 * when there are none and the trainer is to stop. */
static soma_learn_job *
take_group(soma_trainer *trainer, int *examples)
{
    *examples = 0;
    pthread_mutex_lock(&trainer->lock);
    while (!trainer->first && !trainer->stopping)
        pthread_cond_wait(&trainer->more, &trainer->lock);
    soma_learn_job *group = trainer->first, **end = &group;
    while (*end && (*examples == 0 || *examples + (*end)->count <= GROUP)) {
        *examples += (*end)->count;
        end = &(*end)->next;
    }
    trainer->first = *end;
    if (!trainer->first)
        trainer->last = &trainer->first;
    *end = NULL;
    trainer->waiting -= *examples;
    pthread_mutex_unlock(&trainer->lock);
    return group;
}

static soma_status
append_group(soma_trainer *trainer, const soma_learn_job *group, int examples,
             soma_error *err)
{
    if (examples > trainer->record_room) {
        soma_record *records = realloc(
            trainer->records, (size_t)examples * sizeof *trainer->records);
        if (!records)
            return soma_error_memory(err, "journal records");
        trainer->records = records;
        trainer->record_room = examples;
    }
    size_t size = (size_t)trainer->model->spec.input.size;
    int count = 0;
    for (; group; group = group->next)
        for (int i = 0; i < group->count; i++, count++)
            trainer->records[count] =
                (soma_record){.seq = trainer->seq + 1 + (uint64_t)count,
                              .label = group->labels[i],
                              .x = group->x + (size_t)i * size};
    soma_status status = trainer->journal->backend->append(
        trainer->journal, trainer->records, count, err);
    if (!status)
        trainer->seq += (uint64_t)count;
    return status;
}

/* With momentum every weight moves at every step; without, a step need not
 * write down the gradient. */
static soma_status
step(soma_trainer *trainer)
{
    const soma_sgd *sgd = &trainer->options.sgd;
    if (trainer->velocity)
        return soma_sgd_step(sgd, trainer->model, trainer->velocity,
                             trainer->grad, NULL);
    return soma_step_apply(&trainer->step, sgd, trainer->model, trainer->ws,
                           NULL);
}

/* One record's update. */
static void
learn(soma_trainer *trainer, const float *x, int label, soma_lesson *lesson)
{
    soma_model *model = trainer->model;
    soma_workspace *ws = trainer->ws;
    double loss =
        trainer->velocity
            ? soma_pass_gradient(model, ws, 1, x, &label, NULL, trainer->grad)
            : soma_pass_deltas(model, ws, 1, x, &label, NULL);
    lesson->loss = (float)loss;
    lesson->predicted = soma_loss_decide(model->spec.loss, model->spec.outputs,
                                         soma_pass_scores(ws));
    lesson->rejected = !isfinite(lesson->loss) || step(trainer) != SOMA_OK;
    if (lesson->rejected)
        return;
    size_t at = trainer->examples++ % WINDOW;
    trainer->window[at].correct = lesson->predicted == label;
    trainer->window[at].loss = lesson->loss;
}

static void
step_group(soma_trainer *trainer, soma_learn_job *group, uint64_t version)
{
    size_t size = (size_t)trainer->model->spec.input.size;
    for (; group; group = group->next)
        for (int i = 0; i < group->count; i++) {
            group->lessons[i].version = ++version;
            learn(trainer, group->x + (size_t)i * size, group->labels[i],
                  &group->lessons[i]);
        }
}

static soma_progressive
progressive(const soma_trainer *trainer)
{
    soma_progressive p = {
        .examples = trainer->examples,
        .window = trainer->examples < WINDOW ? (int)trainer->examples : WINDOW};
    for (int i = 0; i < p.window; i++) {
        p.accuracy += trainer->window[i].correct;
        p.loss += (double)trainer->window[i].loss;
    }
    if (p.window) {
        p.accuracy /= p.window;
        p.loss /= p.window;
    }
    return p;
}

static void
finish_group(soma_learn_job *group, soma_status status, const soma_error *err)
{
    while (group) {
        soma_learn_job *next = group->next;
        group->err.status = SOMA_OK;
        if (status)
            group->err = *err;
        group->done(group);
        group = next;
    }
}

/* What learning needs, made for the first group: a model that is never taught
 * costs neither the memory nor the start's time. */
static soma_status
equip(soma_trainer *trainer, soma_error *err)
{
    if (trainer->model)
        return SOMA_OK;
    const soma_model *start = soma_shelf_current(trainer->shelf)->model;
    size_t size = start->spec.trainable;
    bool momentum = trainer->options.sgd.momentum > 0;
    soma_model *model = soma_model_clone(start, err);
    soma_workspace *ws =
        soma_workspace_create(&start->spec, 1, SOMA_PASS_LEARN, err);
    float *grad = momentum ? malloc(size * sizeof *grad) : NULL;
    float *velocity = momentum ? calloc(size, sizeof *velocity) : NULL;
    if (!model || !ws || (momentum && (!grad || !velocity))) {
        soma_model_free(model);
        soma_workspace_free(ws);
        free(grad);
        free(velocity);
        return soma_error_memory(err, "learning");
    }
    trainer->model = model;
    trainer->ws = ws;
    trainer->grad = grad;
    trainer->velocity = velocity;
    return SOMA_OK;
}

static void *
trainer_main(void *arg)
{
    soma_trainer *trainer = arg;
    soma_learn_job *group;
    int examples;
    while ((group = take_group(trainer, &examples))) {
        soma_error err;
        uint64_t before = trainer->seq;
        soma_status status = equip(trainer, &err);
        if (!status)
            status = append_group(trainer, group, examples, &err);
        if (!status) {
            step_group(trainer, group, before);
            soma_progressive p = progressive(trainer);
            status = soma_shelf_publish(trainer->shelf, trainer->model,
                                        trainer->seq, &p, &err);
        }
        finish_group(group, status, &err);
    }
    return NULL;
}

static void
trainer_free(soma_trainer *trainer)
{
    if (trainer->journal)
        trainer->journal->backend->close(trainer->journal);
    soma_workspace_free(trainer->ws);
    soma_model_free(trainer->model);
    free(trainer->grad);
    free(trainer->velocity);
    free(trainer->records);
    free(trainer);
}

soma_trainer *
soma_trainer_start(const soma_trainer_options *options, soma_shelf *shelf,
                   soma_journal *journal, soma_error *err)
{
    soma_trainer *trainer = calloc(1, sizeof *trainer);
    if (!trainer) {
        journal->backend->close(journal);
        soma_error_memory(err, "a trainer");
        return NULL;
    }
    trainer->options = *options;
    trainer->shelf = shelf;
    trainer->journal = journal;
    trainer->last = &trainer->first;
    trainer->seq = soma_shelf_current(shelf)->version;
    pthread_mutex_init(&trainer->lock, NULL);
    pthread_cond_init(&trainer->more, NULL);
    if (pthread_create(&trainer->thread, NULL, trainer_main, trainer)) {
        soma_error_memory(err, "a trainer's thread");
        trainer_free(trainer);
        return NULL;
    }
    return trainer;
}

soma_status
soma_trainer_submit(soma_trainer *trainer, soma_learn_job *job, soma_error *err)
{
    soma_status status = SOMA_OK;
    job->next = NULL;
    pthread_mutex_lock(&trainer->lock);
    int most = trainer->options.max_waiting;
    if (trainer->stopping)
        status = soma_error_set(err, SOMA_E_BUSY, "the server is stopping");
    else if (trainer->waiting > 0 && trainer->waiting + job->count > most)
        status = soma_error_set(err, SOMA_E_BUSY,
                                "%d examples wait to be learned, at most %d "
                                "may; try again later",
                                trainer->waiting, most);
    if (!status) {
        *trainer->last = job;
        trainer->last = &job->next;
        trainer->waiting += job->count;
        pthread_cond_signal(&trainer->more);
    }
    pthread_mutex_unlock(&trainer->lock);
    return status;
}

void
soma_trainer_stop(soma_trainer *trainer)
{
    if (!trainer)
        return;
    pthread_mutex_lock(&trainer->lock);
    trainer->stopping = true;
    pthread_cond_signal(&trainer->more);
    pthread_mutex_unlock(&trainer->lock);
    pthread_join(trainer->thread, NULL);
    pthread_cond_destroy(&trainer->more);
    pthread_mutex_destroy(&trainer->lock);
    trainer_free(trainer);
}
