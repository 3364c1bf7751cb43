#include "server/engine/fit_team.h"

#include "core/pass.h"
#include "core/score.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Floats that are added up and applied at a time: they stay in the cache
 * between the two. */
enum { STRETCH = 8192 };

typedef struct fit_thread {
    soma_fit_team *team;
    int index;
    pthread_t thread;
    soma_workspace *ws;
    soma_rng rng;
    float *grad;   /* [trainable] */
    float *x;      /* [rows x size] */
    float *raw;    /* [size], before augmentation */
    int *labels;   /* [rows] */
    double loss;   /* sum over its rows of this step */
    double square; /* of its stretch of the gradient */
    soma_score score;
} fit_thread;

typedef enum fit_job { JOB_STEP, JOB_VALIDATE, JOB_END } fit_job;

/* Thread 0 is the caller; it writes the fields of the job before the barrier
 * that starts it, the others read them after it. */
struct soma_fit_team {
    const soma_fit *fit;
    soma_model *model;
    const soma_dataset *dataset;
    const int *order;
    float *velocity;
    int threads;
    fit_thread *thread;
    int launched;         /* threads that run, the caller included */
    pthread_mutex_t gate; /* held while threads are started */
    pthread_barrier_t barrier;
    /* The job at hand: */
    fit_job job;
    soma_sgd sgd; /* with the rate of this step */
    int first, rows;
};

/* Rows [*from, *to) of `rows` that belong to thread `index`. */
static void
share_of(const soma_fit_team *team, int rows, int index, int *from, int *to)
{
    *from = (int)((int64_t)rows * index / team->threads);
    *to = (int)((int64_t)rows * (index + 1) / team->threads);
}

static void
gather(fit_thread *self, int row, int at, bool augment)
{
    const soma_fit_team *team = self->team;
    const soma_input *input = &team->model->spec.input;
    float *x = self->x + (size_t)at * (size_t)input->size;
    if (augment) {
        soma_dataset_row(team->dataset, row, self->raw);
        soma_augment_apply(&team->fit->augment, input, &self->rng, self->raw,
                           x);
    } else {
        soma_dataset_row(team->dataset, row, x);
    }
    self->labels[at] = team->dataset->labels[row];
}

static void
take_gradient(fit_thread *self)
{
    const soma_fit_team *team = self->team;
    int from, to;
    share_of(team, team->rows, self->index, &from, &to);
    self->loss = 0;
    if (from == to) {
        memset(self->grad, 0, team->model->spec.trainable * sizeof(float));
        return;
    }
    for (int i = from; i < to; i++)
        gather(self, team->order[team->first + i], i - from, true);
    soma_pass_options options = {.smoothing = team->fit->smoothing,
                                 .dropout = team->fit->dropout,
                                 .rng = &self->rng};
    self->loss = soma_pass_gradient(team->model, self->ws, to - from, self->x,
                                    self->labels, &options, self->grad);
}

/* Adds the threads' mean gradients, weighted by their rows, into thread 0's;
 * always in the order of the threads. */
static void
add_up(const soma_fit_team *team, size_t from, size_t to)
{
    float *sum = team->thread[0].grad;
    for (int t = 0; t < team->threads; t++) {
        int a, b;
        share_of(team, team->rows, t, &a, &b);
        float weight = (float)(b - a) / (float)team->rows;
        const float *grad = team->thread[t].grad;
        if (t == 0)
            for (size_t i = from; i < to; i++)
                sum[i] *= weight;
        else
            for (size_t i = from; i < to; i++)
                sum[i] += weight * grad[i];
    }
}

static void
step(fit_thread *self)
{
    soma_fit_team *team = self->team;
    take_gradient(self);
    pthread_barrier_wait(&team->barrier);

    size_t n = team->model->spec.trainable, threads = (size_t)team->threads;
    size_t index = (size_t)self->index;
    size_t from = n * index / threads, to = n * (index + 1) / threads;
    bool clip = team->sgd.clip > 0;
    self->square = 0;
    for (size_t a = from; a < to; a += STRETCH) {
        size_t b = to - a < STRETCH ? to : a + STRETCH;
        add_up(team, a, b);
        if (clip)
            self->square += soma_sgd_square_sum(team->thread[0].grad, a, b);
        else
            soma_sgd_apply(&team->sgd, 1, team->model, team->velocity,
                           team->thread[0].grad, a, b);
    }
    if (!clip)
        return;
    pthread_barrier_wait(&team->barrier);
    double square = 0;
    for (int t = 0; t < team->threads; t++)
        square += team->thread[t].square;
    soma_sgd_apply(&team->sgd, soma_sgd_clip_factor(&team->sgd, sqrt(square)),
                   team->model, team->velocity, team->thread[0].grad, from, to);
}

static void
validate(fit_thread *self)
{
    const soma_fit_team *team = self->team;
    int from, to, most;
    share_of(team, team->rows, self->index, &from, &to);
    most = (team->fit->batch + team->threads - 1) / team->threads;
    const int *order = team->order + team->first;
    self->score.correct = 0;
    self->score.loss = 0;
    for (int i = from; i < to; i += most) {
        int rows = to - i < most ? to - i : most;
        for (int k = 0; k < rows; k++)
            gather(self, order[i + k], k, false);
        const float *scores =
            soma_pass_forward(team->model, self->ws, rows, self->x);
        soma_score_add(&self->score, &team->model->spec, rows, scores,
                       self->labels);
    }
}

/* One job on all threads; the caller takes part as thread 0. */
static void
do_job(soma_fit_team *team, fit_job job)
{
    team->job = job;
    pthread_barrier_wait(&team->barrier);
    if (job == JOB_END)
        return;
    if (job == JOB_STEP)
        step(&team->thread[0]);
    else
        validate(&team->thread[0]);
    pthread_barrier_wait(&team->barrier);
}

static void *
thread_main(void *arg)
{
    fit_thread *self = arg;
    soma_fit_team *team = self->team;
    pthread_mutex_lock(&team->gate);
    bool complete = team->launched == team->threads;
    pthread_mutex_unlock(&team->gate);
    while (complete) {
        pthread_barrier_wait(&team->barrier);
        if (team->job == JOB_END)
            break;
        if (team->job == JOB_STEP)
            step(self);
        else
            validate(self);
        pthread_barrier_wait(&team->barrier);
    }
    return NULL;
}

static soma_status
equip(fit_thread *self, soma_fit_team *team, int index, soma_error *err)
{
    const soma_spec *spec = &team->model->spec;
    int rows = (team->fit->batch + team->threads - 1) / team->threads;
    size_t size = (size_t)spec->input.size;
    self->team = team;
    self->index = index;
    self->rng = soma_rng_seed(team->fit->seed, (uint64_t)index + 1);
    self->ws = soma_workspace_create(spec, rows, SOMA_PASS_LEARN, err);
    self->grad = malloc(spec->trainable * sizeof(float));
    self->x = malloc((size_t)rows * size * sizeof(float));
    self->raw = malloc(size * sizeof(float));
    self->labels = malloc((size_t)rows * sizeof(int));
    if (!self->ws || !self->grad || !self->x || !self->raw || !self->labels)
        return soma_error_memory(err, "a training thread");
    return soma_score_create(&self->score, spec->classes, err);
}

/* The others wait at the gate until it is known whether all could be started,
 * since a barrier would wait for the missing ones forever. */
static soma_status
launch(soma_fit_team *team, soma_error *err)
{
    pthread_barrier_init(&team->barrier, NULL, (unsigned)team->threads);
    pthread_mutex_init(&team->gate, NULL);
    pthread_mutex_lock(&team->gate);
    team->launched = 1;
    while (team->launched < team->threads) {
        fit_thread *next = &team->thread[team->launched];
        if (pthread_create(&next->thread, NULL, thread_main, next))
            break;
        team->launched++;
    }
    pthread_mutex_unlock(&team->gate);
    if (team->launched == team->threads)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_MEMORY,
                          "only %d of %d training threads could be started",
                          team->launched, team->threads);
}

soma_fit_team *
soma_fit_team_create(const soma_fit *fit, soma_model *model,
                     const soma_dataset *dataset, const int *order,
                     soma_error *err)
{
    soma_fit_team *team = calloc(1, sizeof *team);
    if (!team) {
        soma_error_memory(err, "a fit");
        return NULL;
    }
    team->fit = fit;
    team->model = model;
    team->dataset = dataset;
    team->order = order;
    team->threads = fit->threads < fit->batch ? fit->threads : fit->batch;
    team->thread = calloc((size_t)team->threads, sizeof *team->thread);
    team->velocity = calloc(model->spec.trainable, sizeof(float));
    soma_status status = SOMA_OK;
    if (!team->thread || !team->velocity)
        status = soma_error_memory(err, "the velocity of SGD");
    for (int t = 0; t < team->threads && !status; t++)
        status = equip(&team->thread[t], team, t, err);
    if (!status)
        status = launch(team, err);
    if (status) {
        soma_fit_team_free(team);
        return NULL;
    }
    return team;
}

static void
join(soma_fit_team *team)
{
    if (team->launched == team->threads)
        do_job(team, JOB_END);
    for (int t = 1; t < team->launched; t++)
        pthread_join(team->thread[t].thread, NULL);
    pthread_barrier_destroy(&team->barrier);
    pthread_mutex_destroy(&team->gate);
}

void
soma_fit_team_free(soma_fit_team *team)
{
    if (!team)
        return;
    if (team->launched)
        join(team);
    for (int t = 0; team->thread && t < team->threads; t++) {
        fit_thread *self = &team->thread[t];
        soma_workspace_free(self->ws);
        soma_score_free(&self->score);
        free(self->grad);
        free(self->x);
        free(self->raw);
        free(self->labels);
    }
    free(team->thread);
    free(team->velocity);
    free(team);
}

double
soma_fit_team_step(soma_fit_team *team, int first, int rows, float rate)
{
    team->first = first;
    team->rows = rows;
    team->sgd = team->fit->sgd;
    team->sgd.rate = rate;
    do_job(team, JOB_STEP);
    double loss = 0;
    for (int t = 0; t < team->threads; t++)
        loss += team->thread[t].loss;
    return loss;
}

soma_fit_validation
soma_fit_team_validate(soma_fit_team *team, int first, int rows)
{
    team->first = first;
    team->rows = rows;
    do_job(team, JOB_VALIDATE);
    soma_fit_validation sum = {0, 0};
    for (int t = 0; t < team->threads; t++) {
        sum.correct += team->thread[t].score.correct;
        sum.loss += team->thread[t].score.loss;
    }
    return sum;
}
