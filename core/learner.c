#include "core/learner_parts.h"

#include "core/loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of every example's rng, beside its number. */
static const uint64_t SEED = 0x736f6d61;

static soma_status
check_whole(const char *name, int value, int low, int high, soma_error *err)
{
    if (value >= low && value <= high)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_ARGUMENT, "%s: expected %d to %d, got %d",
                          name, low, high, value);
}

soma_status
soma_learning_check(const soma_learning *settings, soma_error *err)
{
    soma_status status = soma_sgd_check(&settings->sgd, err);
    if (!status)
        status = check_whole("rule of learning", settings->rule, 0,
                             SOMA_LEARNING_RULE, err);
    if (!status)
        status = check_whole("rehearse", settings->rehearse, 0, 1023, err);
    if (!status)
        status = check_whole("memory", settings->memory, 0, 1 << 20, err);
    if (!status)
        status = check_whole("max-steps", settings->max_steps, 1, 1000, err);
    if (!status && !(settings->hold >= 0 && settings->hold <= 1e3f))
        status = soma_error_set(err, SOMA_E_ARGUMENT,
                                "hold: expected 0 to 1000, got %g",
                                (double)settings->hold);
    if (!status && !(settings->pull >= 0 && settings->pull <= 1e3f))
        status = soma_error_set(err, SOMA_E_ARGUMENT,
                                "pull: expected 0 to 1000, got %g",
                                (double)settings->pull);
    return status;
}

bool
soma_learning_equal(const soma_learning *a, const soma_learning *b)
{
    unsigned char x[SOMA_LEARNING_BYTES], y[SOMA_LEARNING_BYTES];
    soma_learning_pack(a, x);
    soma_learning_pack(b, y);
    return !memcmp(x, y, sizeof x);
}

/* ---- Making and changing ---- */

static void
drop_scratch(soma_learner *learner)
{
    soma_workspace_free(learner->ws);
    free(learner->grad);
    free(learner->rows.x);
    free(learner->rows.labels);
    free(learner->rows.hold);
    free(learner->rows.held);
    learner->ws = NULL;
    learner->grad = NULL;
    learner->rows = (soma_rows){NULL, NULL, NULL, NULL};
}

static soma_status
make_scratch(soma_learner *learner, soma_error *err)
{
    const soma_spec *spec = &learner->model->spec;
    size_t rows = 1 + (size_t)learner->settings.rehearse;
    bool momentum = learner->settings.sgd.momentum > 0;
    drop_scratch(learner);
    learner->ws = soma_workspace_create(spec, (int)rows, SOMA_PASS_LEARN, err);
    soma_rows *r = &learner->rows;
    r->x = malloc(rows * (size_t)spec->input.size * sizeof(float));
    r->labels = malloc(rows * sizeof(int));
    r->hold = calloc(rows, sizeof(float));
    r->held = calloc(rows * (size_t)spec->outputs, sizeof(float));
    if (momentum)
        learner->grad = malloc(spec->trainable * sizeof(float));
    if (momentum && !learner->velocity)
        learner->velocity = calloc(spec->trainable, sizeof(float));
    if (!learner->ws || !r->x || !r->labels || !r->hold || !r->held ||
        (momentum && (!learner->grad || !learner->velocity)))
        return soma_error_memory(err, "learning");
    return SOMA_OK;
}

soma_learner *
soma_learner_create(const soma_model *base, const soma_memory *kept,
                    const soma_learning *settings, soma_error *err)
{
    const soma_spec *spec = &base->spec;
    soma_learner *learner = calloc(1, sizeof *learner);
    if (!learner) {
        soma_error_memory(err, "learning");
        return NULL;
    }
    learner->settings = *settings;
    learner->base = base;
    learner->model = soma_model_clone(base, err);
    learner->answer = malloc(
        (size_t)soma_loss_answers(spec->loss, spec->outputs) * sizeof(float));
    soma_status status = learner->model && learner->answer
                             ? make_scratch(learner, err)
                             : soma_error_memory(err, "learning");
    if (!status)
        status = soma_rehearsal_create(&learner->rehearsal, base, learner->ws,
                                       kept, settings->memory, err);
    if (!status) {
        soma_rehearsal_follow(&learner->rehearsal, settings->rule);
        return learner;
    }
    soma_learner_free(learner);
    return NULL;
}

void
soma_learner_free(soma_learner *learner)
{
    if (!learner)
        return;
    drop_scratch(learner);
    soma_rehearsal_free(&learner->rehearsal);
    soma_model_free(learner->model);
    free(learner->velocity);
    free(learner->answer);
    free(learner);
}

soma_status
soma_learner_configure(soma_learner *learner, const soma_learning *settings,
                       soma_error *err)
{
    soma_status status = soma_learning_check(settings, err);
    if (status)
        return status;
    if (settings->sgd.momentum <= 0) {
        free(learner->velocity);
        learner->velocity = NULL;
    }
    learner->settings = *settings;
    soma_rehearsal_follow(&learner->rehearsal, settings->rule);
    status = make_scratch(learner, err);
    if (!status)
        status =
            soma_rehearsal_resize(&learner->rehearsal, settings->memory, err);
    return status;
}

const soma_learning *
soma_learner_settings(const soma_learner *learner)
{
    return &learner->settings;
}

const soma_model *
soma_learner_model(const soma_learner *learner)
{
    return learner->model;
}

const soma_progressive *
soma_learner_progressive(const soma_learner *learner)
{
    return &learner->progressive;
}

void
soma_learner_memory(const soma_learner *learner, int *active, int *kept,
                    int *stream)
{
    const soma_rehearsal *rehearsal = &learner->rehearsal;
    *active = rehearsal->active_count;
    *kept = rehearsal->kept ? rehearsal->kept->count : 0;
    *stream = rehearsal->stream.count;
}

/* ---- One example ---- */

static int
decide(const soma_learner *learner, const float *scores)
{
    const soma_spec *spec = &learner->model->spec;
    return soma_loss_decide(spec->loss, spec->outputs, scores);
}

/* What the model answered before it learned: by the first row of the last
 * pass, whose bits do not depend on the others. */
static soma_prediction
look_back(soma_learner *learner, int label)
{
    const soma_spec *spec = &learner->model->spec;
    const float *scores = soma_pass_scores(learner->ws);
    soma_prediction prediction = {.confidence = -1, .label = label};
    prediction.loss =
        spec->loss->gradient(spec->outputs, scores, label, 0, NULL);
    prediction.predicted = decide(learner, scores);
    if (spec->loss->probabilities) {
        spec->loss->answer(spec->outputs, scores, learner->answer);
        prediction.confidence = learner->answer[prediction.predicted];
    }
    return prediction;
}

/* With momentum every weight moves at every step; without, a step need not
 * write down the gradient. */
static void
go_through(soma_learner *learner, int rows)
{
    const soma_model *model = learner->model;
    const soma_rows *r = &learner->rows;
    soma_pass_options options = {
        .hold = r->hold, .held = r->held, .exactly = true};
    if (learner->velocity)
        soma_pass_gradient(model, learner->ws, rows, r->x, r->labels, &options,
                           learner->grad);
    else
        soma_pass_deltas(model, learner->ws, rows, r->x, r->labels, &options);
}

/* `next` is what goes through the model after it, or NULL. */
static soma_status
step(soma_learner *learner, const soma_sgd *sgd, const float *next)
{
    return learner->velocity
               ? soma_sgd_step(sgd, learner->model, learner->velocity,
                               learner->grad, NULL)
               : soma_step_apply(&learner->step, sgd, learner->model,
                                 learner->ws, next, NULL);
}

/* Draws what is rehearsed beside the example, and takes both through the
 * model. */
static void
prepare(soma_learner *learner, soma_rng *rng)
{
    const soma_learning *settings = &learner->settings;
    int rehearsed =
        soma_rehearsal_draw(&learner->rehearsal, rng, settings->rehearse,
                            settings->hold, &learner->rows);
    go_through(learner, 1 + rehearsed);
}

static bool
is_right(soma_learner *learner)
{
    const soma_rows *rows = &learner->rows;
    return decide(learner, soma_pass_forward(learner->model, learner->ws, 1,
                                             rows->x)) == rows->labels[0];
}

/* The first step was prepared. Further ones until the example is answered as
 * taught; returns how many there were, 0 if the first would not have been
 * finite. */
static int
take_steps(soma_learner *learner, const soma_sgd *sgd, soma_rng *rng,
           bool right)
{
    int steps = 0;
    bool last = right || learner->settings.max_steps == 1;
    while (!step(learner, sgd, last ? learner->next : learner->rows.x)) {
        steps++;
        if (last || is_right(learner))
            break;
        last = steps + 1 == learner->settings.max_steps;
        prepare(learner, rng);
    }
    return steps;
}

static void
pull_back(soma_learner *learner, float rate)
{
    float share = rate * learner->settings.pull;
    float *w = learner->model->params;
    const float *base = learner->base->params;
    for (size_t i = 0; i < learner->model->spec.trainable; i++)
        w[i] += share * (base[i] - w[i]);
    soma_pass_forget(learner->ws);
}

void
soma_learner_expect(soma_learner *learner, const float *x)
{
    learner->next = x;
}

soma_status
soma_learner_learn(soma_learner *learner, uint64_t seq, const float *x,
                   int label, float rate, soma_lesson *lesson, soma_error *err)
{
    soma_rehearsal *rehearsal = &learner->rehearsal;
    soma_rng rng = soma_rng_seed(SEED, seq);
    soma_sgd sgd = learner->settings.sgd;
    sgd.rate = rate > 0 ? rate : sgd.rate;
    memcpy(learner->rows.x, x,
           (size_t)learner->model->spec.input.size * sizeof *x);
    learner->rows.labels[0] = label;
    soma_rehearsal_vote(rehearsal, learner->base, learner->ws, x, label);
    prepare(learner, &rng);
    soma_prediction prediction = look_back(learner, label);
    *lesson = (soma_lesson){.version = seq,
                            .loss = prediction.loss,
                            .predicted = prediction.predicted};
    if (isfinite(prediction.loss))
        lesson->steps =
            take_steps(learner, &sgd, &rng, prediction.predicted == label);
    learner->next = NULL;
    if (lesson->steps == 0) {
        soma_rehearsal_take_back(rehearsal);
        lesson->rejected = true;
        return SOMA_OK;
    }
    if (!rehearsal->kept && learner->settings.pull > 0)
        pull_back(learner, sgd.rate);
    soma_rehearsal_rename(rehearsal, learner->base, learner->ws,
                          learner->rows.x);
    soma_progressive_add(&learner->progressive, seq, &prediction);
    return soma_rehearsal_offer(rehearsal, &rng, x, label, err);
}
