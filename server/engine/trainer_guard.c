/* The guard: labelled examples that the model is never taught, by which it is
 * judged every so many examples. A model that reads them worse than the model
 * file did, by more than it may, is stopped or put back.
 *
 * What is judged is a pinned snapshot, a few rows between two groups, so that
 * no answer waits for it longer than that; learning goes on meanwhile, and the
 * verdict is about the version that was pinned. It is no record: it changes no
 * weights, and after a restart the newest version is judged anew.
 */
#include "server/engine/trainer_parts.h"

#include "core/loss.h"
#include "server/engine/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE = 16 }; /* rows between two groups */

static bool
make_scratch(soma_guard *guard, const soma_spec *spec)
{
    if (guard->ws)
        return true;
    guard->x = malloc(PIECE * (size_t)spec->input.size * sizeof *guard->x);
    guard->ws = soma_workspace_create(spec, PIECE, SOMA_PASS_PREDICT, NULL);
    if (guard->x && guard->ws)
        return true;
    soma_guard_free(guard);
    return false;
}

void
soma_guard_free(soma_guard *guard)
{
    if (guard->judged)
        soma_snapshot_unpin(guard->judged);
    guard->judged = NULL;
    soma_workspace_free(guard->ws);
    free(guard->x);
    guard->ws = NULL;
    guard->x = NULL;
}

static void
judge_rows(soma_guard *guard, const soma_memory *set, const soma_model *model,
           soma_verdict *verdict)
{
    const soma_spec *spec = &model->spec;
    size_t size = (size_t)spec->input.size, outputs = (size_t)spec->outputs;
    int left = set->count - verdict->examples;
    int rows = left < PIECE ? left : PIECE;
    for (int r = 0; r < rows; r++)
        soma_memory_get(set, verdict->examples + r,
                        guard->x + (size_t)r * size);
    const float *scores = soma_pass_forward(model, guard->ws, rows, guard->x);
    for (int r = 0; r < rows; r++, scores += outputs) {
        int label = set->labels[verdict->examples + r];
        verdict->right +=
            soma_loss_decide(spec->loss, spec->outputs, scores) == label;
        verdict->loss +=
            (double)spec->loss->gradient(spec->outputs, scores, label, 0, NULL);
    }
    verdict->examples += rows;
}

double
soma_verdict_accuracy(const soma_verdict *verdict)
{
    return verdict->examples ? (double)verdict->right / verdict->examples : 0;
}

bool
soma_verdict_better(const soma_verdict *a, const soma_verdict *b)
{
    return a->right > b->right || (a->right == b->right && a->loss < b->loss);
}

soma_status
soma_guard_judge(soma_trainer *trainer, const soma_model *model,
                 soma_verdict *verdict, soma_error *err)
{
    const soma_memory *set = trainer->pupil.guard;
    *verdict = (soma_verdict){.examples = 0};
    if (!make_scratch(&trainer->guard, &model->spec))
        return soma_error_memory(err, "judging a model");
    while (verdict->examples < set->count)
        judge_rows(&trainer->guard, set, model, verdict);
    return SOMA_OK;
}

static soma_status
tell(soma_trainer *trainer, soma_error *err)
{
    soma_guard *guard = &trainer->guard;
    const soma_snapshot *now = soma_shelf_current(trainer->pupil.shelf);
    if (guard->told.examples && guard->told.version == now->version)
        return SOMA_OK;
    if (guard->last.examples && guard->last.version == now->version) {
        guard->told = guard->last;
        return SOMA_OK;
    }
    soma_status status =
        soma_guard_judge(trainer, now->model, &guard->told, err);
    guard->told.version = now->version;
    return status;
}

void
soma_guard_answer(soma_trainer *trainer, soma_job *job)
{
    soma_error err;
    const soma_verdict *told = &trainer->guard.told;
    job->err.status = SOMA_OK;
    soma_status status = tell(trainer, &err);
    job->judged = told->examples;
    job->right = told->right;
    job->loss = told->examples ? told->loss / told->examples : 0;
    soma_trainer_finish(trainer, job, status, &err);
}

/* ---- What follows from a verdict ---- */

static double
bound_of(const soma_trainer *trainer)
{
    return soma_verdict_accuracy(&trainer->guard.base) -
           trainer->options.guard_drop / 100;
}

static void
explain(soma_trainer *trainer)
{
    const soma_guard *guard = &trainer->guard;
    soma_error_set(
        &trainer->guard.why, SOMA_E_STOPPED,
        "learning is stopped: version %" PRIu64 " reads %.2f %% of the %d "
        "guard examples, the model file reads %.2f %% and may lose %g points "
        "(--guard-drop); the last version that was good is %" PRIu64
        ": POST /models/%s/rollback goes back to it, --guard-action warn goes "
        "on",
        guard->last.version, 100 * soma_verdict_accuracy(&guard->last),
        guard->last.examples, 100 * soma_verdict_accuracy(&guard->base),
        trainer->options.guard_drop, guard->good, trainer->pupil.name);
}

static void
log_verdict(const soma_trainer *trainer, soma_log_level level,
            const char *event)
{
    char version[24], accuracy[24], good[24];
    const soma_guard *guard = &trainer->guard;
    snprintf(version, sizeof version, "%" PRIu64, guard->last.version);
    snprintf(accuracy, sizeof accuracy, "%.4f",
             soma_verdict_accuracy(&guard->last));
    snprintf(good, sizeof good, "%" PRIu64, guard->good);
    soma_log(level, event, "model", trainer->pupil.name, "version", version,
             "accuracy", accuracy, "last-good", good, NULL);
}

static void
put_back(soma_trainer *trainer)
{
    soma_error err;
    soma_guard *guard = &trainer->guard;
    if (!guard->good || soma_trainer_roll_back(trainer, guard->good, &err)) {
        explain(trainer);
        guard->stopped = true;
        log_verdict(trainer, SOMA_LOG_ERROR, "learning-stopped");
        return;
    }
    log_verdict(trainer, SOMA_LOG_WARNING, "guard-rolled-back");
}

static void
act(soma_trainer *trainer)
{
    soma_guard *guard = &trainer->guard;
    bool bad = soma_verdict_accuracy(&guard->last) < bound_of(trainer);
    bool was = guard->bad;
    guard->bad = bad;
    if (!bad) {
        guard->good = guard->last.version;
        if (guard->stopped)
            log_verdict(trainer, SOMA_LOG_INFO, "learning-resumed");
        guard->stopped = false;
        return;
    }
    switch (trainer->options.guard_action) {
    case SOMA_GUARD_WARN:
        if (!was)
            log_verdict(trainer, SOMA_LOG_WARNING, "guard-below-bound");
        break;
    case SOMA_GUARD_STOP:
        explain(trainer);
        if (!guard->stopped)
            log_verdict(trainer, SOMA_LOG_ERROR, "learning-stopped");
        guard->stopped = true;
        break;
    case SOMA_GUARD_ROLL_BACK:
        put_back(trainer);
        break;
    }
}

/* ---- Between groups ---- */

static void
begin(soma_trainer *trainer)
{
    soma_guard *guard = &trainer->guard;
    guard->running = (soma_verdict){.version = 0};
    if (!guard->base.examples)
        return; /* the base is judged first, which nobody takes away */
    guard->judged = soma_shelf_current(trainer->pupil.shelf);
    soma_snapshot_pin(guard->judged);
    guard->running.version = guard->judged->version;
    guard->asked = guard->judged->version;
    guard->due = false;
}

/* The version that is being judged was left: what a verdict on it led to would
 * undo what has mended it. */
void
soma_guard_leap(soma_trainer *trainer)
{
    soma_guard *guard = &trainer->guard;
    guard->due = true;
    if (!guard->judged)
        return;
    soma_snapshot_unpin(guard->judged);
    guard->judged = NULL;
    guard->busy = false;
}

static void
end(soma_trainer *trainer)
{
    soma_guard *guard = &trainer->guard;
    if (!guard->judged) {
        guard->base = guard->last = guard->running;
        return;
    }
    soma_snapshot_unpin(guard->judged);
    guard->judged = NULL;
    guard->last = guard->running;
    act(trainer);
}

static bool
is_due(const soma_trainer *trainer)
{
    const soma_guard *guard = &trainer->guard;
    return guard->due || trainer->seq - guard->asked >=
                             (uint64_t)trainer->options.guard_every;
}

bool
soma_guard_step(soma_trainer *trainer)
{
    soma_guard *guard = &trainer->guard;
    const soma_memory *set = trainer->pupil.guard;
    if (!set->count || !trainer->options.guard_every ||
        (!guard->busy && !is_due(trainer)))
        return false;
    if (!make_scratch(guard, &trainer->base->spec))
        return false;
    if (!guard->busy) {
        begin(trainer);
        guard->busy = true;
    }
    judge_rows(guard, set, guard->judged ? guard->judged->model : trainer->base,
               &guard->running);
    if (guard->running.examples < set->count)
        return true;
    guard->busy = false;
    end(trainer);
    soma_trainer_tell(trainer);
    return is_due(trainer);
}
