/* soma replay: rebuilds a version from a journal alone, and compares what it
 * meets on the way with the checkpoints that a server wrote. */
#include "server/command.h"
#include "server/journal_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct replay_options {
    long version;
    const char *out;
    bool quick;
} replay_options;

#define AT(field) offsetof(replay_options, field)

static const soma_option options[] = {
    {"version", "N", SOMA_OPTION_WHOLE, "-1", -1, 9e18, AT(version),
     "The version to rebuild; -1: the newest."},
    {"out", "FILE", SOMA_OPTION_TEXT, NULL, 0, 0, AT(out),
     "Write it to this model file (safetensors)."},
    {"quick", NULL, SOMA_OPTION_SWITCH, NULL, 0, 0, AT(quick),
     "Begin at the last checkpoint before it, instead of learning everything "
     "again and comparing."},
    {.name = NULL}};

static const soma_command command = {
    "replay",
    "JOURNAL [options]",
    "Rebuilds any version of a model from its journal, and checks that the\n"
    "checkpoints in it are what its examples lead to, bit for bit.",
    options,
    1,
    1};

/* A walk from checkpoint to checkpoint, in ascending order. */
typedef struct walk {
    soma_journal_file *file;
    soma_learner *learner;
    uint64_t at; /* its version */
    int same, different;
} walk;

/* The learner of version `to`, reached from where the walk is if no leap lies
 * between, else anew from the base. */
static soma_status
walk_to(walk *w, uint64_t to, soma_error *err)
{
    soma_replay *replay = &w->file->replay;
    soma_leap leap;
    soma_status status =
        replay->journal->backend->last_leap(replay->journal, to, &leap, err);
    if (status)
        return status;
    if (w->learner && leap.seq <= w->at) {
        status = soma_replay_forward(replay, w->learner, w->at, to, err);
    } else {
        soma_learner_free(w->learner);
        w->learner = soma_replay_build(replay, to, err);
        status = w->learner ? SOMA_OK : err->status;
    }
    w->at = to;
    return status;
}

static soma_status
compare(walk *w, const soma_journal_checkpoint *checkpoint, soma_error *err)
{
    soma_bytes state;
    soma_status status = w->file->journal->backend->checkpoint_read(
        w->file->journal, checkpoint->seq, &state, err);
    if (status == SOMA_E_FORMAT) {
        printf("checkpoint %" PRIu64 "  DAMAGED\n", checkpoint->seq);
        w->different++;
        return SOMA_OK;
    }
    if (status == SOMA_E_NOT_FOUND) {
        printf("checkpoint %" PRIu64 "  dropped meanwhile\n", checkpoint->seq);
        return SOMA_OK;
    }
    if (status)
        return status;
    size_t size = soma_learner_state_size(w->learner);
    unsigned char *own = malloc(size);
    if (own) {
        soma_learner_save(w->learner, own);
        bool same = size == state.size && !memcmp(own, state.data, size);
        printf("checkpoint %" PRIu64 "  %s\n", checkpoint->seq,
               same ? "same" : "DIFFERENT");
        w->same += same;
        w->different += !same;
        free(own);
    } else {
        status = soma_error_memory(err, "a state");
    }
    soma_bytes_free(&state);
    return status;
}

/* The checkpoints up to `version`, newest first; to be freed. */
static soma_status
list_checkpoints(soma_journal *journal, uint64_t version,
                 soma_journal_checkpoint **list, int *count, soma_error *err)
{
    soma_journal_checkpoint one = {.seq = version + 1};
    *list = NULL;
    *count = 0;
    while (one.seq > 0) {
        soma_status status =
            journal->backend->checkpoint_find(journal, one.seq - 1, &one, err);
        if (status || !one.seq)
            return status;
        soma_journal_checkpoint *more =
            realloc(*list, ((size_t)*count + 1) * sizeof *more);
        if (!more)
            return soma_error_memory(err, "checkpoints");
        *list = more;
        more[(*count)++] = one;
    }
    return SOMA_OK;
}

/* Everything from the base; where its first records are trimmed, from the
 * oldest checkpoint. */
static soma_status
walk_all(walk *w, uint64_t version, soma_error *err)
{
    soma_journal_checkpoint *list;
    int count;
    soma_status status =
        list_checkpoints(w->file->journal, version, &list, &count, err);
    w->file->replay.from_base = w->file->info.first <= 1;
    if (!status && !w->file->replay.from_base)
        printf("records before %" PRIu64
               " are no longer kept: beginning at a checkpoint\n",
               w->file->info.first);
    for (int i = count - 1; i >= 0 && !status; i--) {
        status = walk_to(w, list[i].seq, err);
        if (!status)
            status = compare(w, &list[i], err);
    }
    free(list);
    return status ? status : walk_to(w, version, err);
}

static soma_status
finish(const replay_options *o, walk *w, double seconds, soma_error *err)
{
    char digest[SOMA_DIGEST_HEX + 1];
    const soma_model *model = soma_learner_model(w->learner);
    soma_status status = soma_model_digest(model, digest, err);
    if (status)
        return status;
    printf("version    %" PRIu64 "\ndigest     %s\nexamples   %" PRIu64
           "\nseconds    %.2f\n",
           w->at, digest, soma_learner_progressive(w->learner)->examples,
           seconds);
    if (o->out) {
        soma_checkpoint written = w->file->base;
        written.model = (soma_model *)model;
        status = soma_checkpoint_write(o->out, &written, SOMA_F32, err);
    }
    if (!status && w->different)
        status = soma_error_set(err, SOMA_E_FORMAT,
                                "%d of %d checkpoints are not what the "
                                "journal's examples lead to",
                                w->different, w->same + w->different);
    return status;
}

static double
now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static soma_status
replay(const replay_options *o, const char *path, soma_error *err)
{
    soma_journal_file file;
    double began = now();
    walk w = {.file = &file};
    soma_status status = soma_journal_file_open(&file, path, err);
    if (status)
        return status;
    uint64_t version = o->version < 0 ? file.info.last : (uint64_t)o->version;
    if (version > file.info.last)
        status = soma_error_set(err, SOMA_E_NOT_FOUND,
                                "%s: there is no version %" PRIu64
                                "; the newest is %" PRIu64,
                                file.name, version, file.info.last);
    else
        status =
            o->quick ? walk_to(&w, version, err) : walk_all(&w, version, err);
    if (!status)
        status = finish(o, &w, now() - began, err);
    soma_learner_free(w.learner);
    soma_journal_file_close(&file);
    return status;
}

int
soma_cmd_replay(int argc, char **argv)
{
    replay_options o;
    const char *path;
    soma_error err;
    int code = soma_command_start(&command, argc, argv, &o, &path);
    if (code >= 0)
        return code;
    return replay(&o, path, &err) ? soma_command_fail(&err) : SOMA_EXIT_OK;
}
