#include "server/engine/fit.h"

#include "server/engine/fit_team.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

soma_status
soma_fit_check(const soma_fit *fit, const soma_input *input,
               const soma_dataset *dataset, soma_error *err)
{
    soma_status status = soma_sgd_check(&fit->sgd, err);
    if (!status)
        status = soma_augment_check(&fit->augment, input, err);
    if (status)
        return status;
    if (dataset->size != input->size)
        return soma_error_set(err, SOMA_E_SHAPE,
                              "the dataset's examples have %d values, the "
                              "model's input %d",
                              dataset->size, input->size);
    int held = (int)((double)dataset->count * (double)fit->validation);
    if (dataset->count - held < 1)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "%d examples, %d held out: none left to train "
                              "on",
                              dataset->count, held);
    if (fit->validation > 0 && held < 1)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "validation: a share of %g of %d examples is "
                              "none",
                              (double)fit->validation, dataset->count);
    return SOMA_OK;
}

/* A fit on its way. */
typedef struct fit_course {
    const soma_fit *fit;
    soma_model *model, *best;
    soma_fit_team *team;
    int *order; /* training rows, then the ones held out */
    int train_rows, held_rows;
    soma_fit_watch watch;
    void *arg;
    soma_fit_progress progress;
    soma_fit_result *result;
    double started, epoch_started;
} fit_course;

/* The rate at `at` epochs: a straight line up, then half a cosine down
 * (Loshchilov and Hutter, "SGDR", 2017, without restarts). */
static float
rate_at(const soma_fit *fit, double at)
{
    double warmup = (double)fit->warmup, rate = (double)fit->sgd.rate;
    if (at < warmup)
        return (float)(rate * at / warmup);
    if (!fit->cosine)
        return (float)rate;
    double past = (at - warmup) / (fit->epochs - warmup);
    return (float)(rate * 0.5 * (1 + cos(M_PI * past)));
}

/* The order of the rows, shuffled once; the last ones are held out. */
static soma_status
divide_rows(fit_course *course, int count, soma_error *err)
{
    course->order = malloc((size_t)count * sizeof(int));
    if (!course->order)
        return soma_error_memory(err, "the order of the examples");
    for (int i = 0; i < count; i++)
        course->order[i] = i;
    soma_rng rng = soma_rng_seed(course->fit->seed, UINT64_MAX);
    soma_rng_shuffle(&rng, course->order, count);
    course->held_rows = (int)((double)count * (double)course->fit->validation);
    course->train_rows = count - course->held_rows;
    return SOMA_OK;
}

static bool
report(fit_course *course, int rows_done, double loss_sum, bool epoch_done)
{
    soma_fit_progress *p = &course->progress;
    double time = now(), all = course->train_rows;
    p->epoch_done = epoch_done;
    p->loss = loss_sum / rows_done;
    p->done = (p->epoch - 1 + rows_done / all) / p->epochs;
    p->rows_a_second = rows_done / (time - course->epoch_started + 1e-9);
    p->seconds_left = (time - course->started) * (1 / p->done - 1);
    return !course->watch || course->watch(p, course->arg);
}

static void
keep_if_best(fit_course *course)
{
    const soma_fit_progress *p = &course->progress;
    soma_fit_result *best = course->result;
    bool better = !course->held_rows ||
                  p->validation_accuracy > best->validation_accuracy ||
                  (p->validation_accuracy >= best->validation_accuracy &&
                   p->validation_loss < best->validation_loss);
    if (!better)
        return;
    soma_model_copy(course->best, course->model);
    best->best_epoch = p->epoch;
    best->validation_accuracy = p->validation_accuracy;
    best->validation_loss = p->validation_loss;
}

static void
validate(fit_course *course)
{
    int rows = course->held_rows;
    if (rows > 0) {
        soma_fit_validation v =
            soma_fit_team_validate(course->team, course->train_rows, rows);
        course->progress.validation_accuracy = (double)v.correct / rows;
        course->progress.validation_loss = v.loss / rows;
    }
    keep_if_best(course);
}

/* One pass over the training rows. */
static soma_status
run_epoch(fit_course *course, soma_error *err)
{
    const soma_fit *fit = course->fit;
    int epoch = course->progress.epoch, count = course->train_rows;
    soma_rng rng = soma_rng_seed(fit->seed, UINT64_MAX - (uint64_t)epoch);
    soma_rng_shuffle(&rng, course->order, count);
    course->epoch_started = now();
    double loss = 0;
    for (int at = 0; at < count; at += fit->batch) {
        int rows = count - at < fit->batch ? count - at : fit->batch;
        double middle = epoch - 1 + (at + rows / 2.0) / count;
        loss +=
            soma_fit_team_step(course->team, at, rows, rate_at(fit, middle));
        if (!isfinite(loss))
            return soma_error_set(err, SOMA_E_NOT_FINITE,
                                  "training diverged in epoch %d: the loss "
                                  "is not finite; try a lower learning rate",
                                  epoch);
        if (!report(course, at + rows, loss, false)) {
            course->result->stopped = true;
            break;
        }
    }
    course->result->loss = course->progress.loss;
    return SOMA_OK;
}

static soma_status
run_epochs(fit_course *course, soma_error *err)
{
    soma_fit_result *result = course->result;
    for (int epoch = 1; epoch <= course->fit->epochs; epoch++) {
        course->progress.epoch = epoch;
        soma_status status = run_epoch(course, err);
        if (status)
            return status;
        /* An epoch broken off counts only where there is nothing better. */
        if (result->stopped && result->best_epoch > 0)
            return SOMA_OK;
        validate(course);
        if (result->stopped)
            return SOMA_OK;
        result->epochs_done = epoch;
        double rows = course->train_rows;
        if (!report(course, course->train_rows, course->progress.loss * rows,
                    true)) {
            result->stopped = true;
            return SOMA_OK;
        }
    }
    return SOMA_OK;
}

soma_status
soma_fit_run(const soma_fit *fit, soma_model *model,
             const soma_dataset *dataset, soma_fit_watch watch, void *arg,
             soma_fit_result *result, soma_error *err)
{
    *result = (soma_fit_result){.validation_accuracy = -1};
    soma_status status = soma_fit_check(fit, &model->spec.input, dataset, err);
    if (status)
        return status;
    fit_course course = {.fit = fit,
                         .model = model,
                         .watch = watch,
                         .arg = arg,
                         .result = result,
                         .started = now()};
    course.progress.epochs = fit->epochs;
    course.progress.validation_accuracy = -1;
    course.best = soma_model_clone(model, err);
    status =
        course.best ? divide_rows(&course, dataset->count, err) : SOMA_E_MEMORY;
    if (!status) {
        course.team =
            soma_fit_team_create(fit, model, dataset, course.order, err);
        status = course.team ? run_epochs(&course, err) : SOMA_E_MEMORY;
    }
    if (course.best)
        soma_model_copy(model, course.best);
    soma_fit_team_free(course.team);
    soma_model_free(course.best);
    free(course.order);
    result->seconds = now() - course.started;
    return status;
}
