/* What learns, and what serves its versions, while memory is short
 * (exhaust.h). */
#include "core/io/dataset.h"
#include "core/score.h"
#include "server/engine/fit.h"
#include "server/engine/health.h"
#include "server/engine/recall.h"
#include "server/engine/registry.h"
#include "server/engine/replay.h"
#include "server/engine/snapshot.h"
#include "server/train_spec.h"
#include "tests/fuzz/learners.h"
#include "tests/unit/exhaust.h"
#include "tests/unit/scratch.h"

static soma_model *base;
static soma_memory kept;

static uint32_t
sum_of(const soma_model *model)
{
    return exhaust_sum(0, model->params,
                       model->spec.params * sizeof *model->params);
}

/* ---- A learner ---- */

/* Among them one of values that are no bytes, for the memory of the stream. */
static soma_status
teach(soma_learner *learner, int count, soma_error *err)
{
    soma_status status = SOMA_OK;
    for (int i = 1; i <= count && !status; i++) {
        soma_lesson lesson;
        float x[INPUTS];
        int label = learners_example(i, x);
        x[0] += i == 3 ? 0.5f : 0;
        status =
            soma_learner_learn(learner, (uint64_t)i, x, label, 0, &lesson, err);
        assert_false(!status && lesson.rejected);
    }
    return status;
}

static soma_status
learn(const void *about, uint32_t *sum, soma_error *err)
{
    soma_learning settings = learners_settings();
    soma_learner *learner = soma_learner_create(base, about, &settings, err);
    soma_status status = learner ? teach(learner, 5, err) : err->status;
    settings.memory = 20;
    if (!status)
        status = soma_learner_configure(learner, &settings, err);
    if (!status)
        status = teach(learner, 2, err);
    scarce_stop();
    if (!status)
        *sum = sum_of(soma_learner_model(learner));
    soma_learner_free(learner);
    return status;
}

static soma_status
load(const void *about, uint32_t *sum, soma_error *err)
{
    const soma_bytes *state = about;
    soma_learning settings = learners_settings();
    soma_learner *learner = soma_learner_create(base, &kept, &settings, err);
    soma_status status =
        learner ? soma_learner_load(learner, state->data, state->size, err)
                : err->status;
    scarce_stop();
    if (!status)
        *sum = sum_of(soma_learner_model(learner));
    soma_learner_free(learner);
    return status;
}

static void
learners(void **state)
{
    soma_learner *learner = learners_taught(base, &kept, 9);
    soma_bytes saved = {.size = soma_learner_state_size(learner)};
    (void)state;
    saved.data = malloc(saved.size);
    assert_non_null(saved.data);
    soma_learner_save(learner, saved.data);
    soma_learner_free(learner);
    assert_true(exhaust("learning", learn, &kept) > 10);
    assert_true(exhaust("learning without a memory", learn, NULL) > 5);
    assert_true(exhaust("a state", load, &saved) > 10);
    soma_bytes_free(&saved);
}

/* ---- A journal in memory, replayed ---- */

static soma_status
append(soma_journal *journal, const soma_record *record, soma_error *err)
{
    soma_journal_key key = {.first = record->seq, .count = 1, .text = "a key"};
    soma_lesson lesson = {.version = record->seq, .loss = 1};
    soma_journal_group group = {.records = record,
                                .count = 1,
                                .keys = &key,
                                .key_count = 1,
                                .lessons = &lesson,
                                .lesson_count = 1};
    return journal->backend->append(journal, &group, err);
}

/* Six examples, a rollback to the third, two more, an adoption, one more. */
static soma_status
fill(soma_journal *journal, soma_error *err)
{
    unsigned char packed[SOMA_LEARNING_BYTES];
    soma_learning settings = learners_settings();
    soma_status status = SOMA_OK;
    soma_learning_pack(&settings, packed);
    for (uint64_t seq = 1; seq <= 11 && !status; seq++) {
        float x[INPUTS];
        soma_bytes state = {NULL, 0};
        soma_record record = {.seq = seq, .kind = SOMA_RECORD_EXAMPLE};
        record.label = learners_example((int)seq, x);
        record.x = x;
        if (seq == 7)
            record = (soma_record){.seq = seq,
                                   .kind = SOMA_RECORD_ROLLBACK,
                                   .target = 3,
                                   .data = packed,
                                   .data_size = sizeof packed};
        if (seq == 10) {
            soma_learner *learner =
                soma_learner_create(base, &kept, &settings, err);
            status = learner ? soma_adoption_pack("twin", learner, &state, err)
                             : err->status;
            record = (soma_record){.seq = seq,
                                   .kind = SOMA_RECORD_ADOPTION,
                                   .data = state.data,
                                   .data_size = state.size};
            soma_learner_free(learner);
        }
        if (!status)
            status = append(journal, &record, err);
        soma_bytes_free(&state);
    }
    return status;
}

static soma_status
see(const soma_record *record, void *arg, soma_error *err)
{
    uint32_t *sum = arg;
    (void)err;
    *sum = exhaust_sum(*sum, &record->seq, sizeof record->seq);
    return SOMA_OK;
}

static soma_status
replay(const void *about, uint32_t *sum, soma_error *err)
{
    const uint64_t *version = about;
    soma_learning settings = learners_settings();
    soma_journal_base begin = {.digest = "sha256:0", .size = INPUTS};
    soma_learning_pack(&settings, begin.settings);
    uint32_t seen = 0;
    soma_journal *journal = soma_journal_memory(&begin, 1 << 14, err);
    if (!journal)
        return err->status;
    soma_status status = fill(journal, err);
    soma_replay r = {.journal = journal, .base = base, .kept = &kept};
    soma_learner *learner =
        status ? NULL : soma_replay_build(&r, *version, err);
    if (!learner)
        status = err->status;
    if (!status)
        status = soma_replay_lineage(&r, *version, see, &seen, err);
    scarce_stop();
    if (!status) {
        uint32_t weights = sum_of(soma_learner_model(learner));
        *sum = exhaust_sum(weights, &seen, sizeof seen);
    }
    soma_learner_free(learner);
    journal->backend->close(journal);
    return status;
}

static void
journals(void **state)
{
    (void)state;
    for (uint64_t version = 0; version <= 11; version++)
        assert_true(exhaust("a replay", replay, &version) > 20);
}

/* ---- Snapshots, health, recall, score ---- */

static soma_status
publish(const void *about, uint32_t *sum, soma_error *err)
{
    static soma_readers readers;
    soma_shelf shelf = {0};
    soma_progressive progressive = {0};
    char hex[SOMA_DIGEST_HEX + 1];
    soma_readers_init(&readers);
    soma_model *model = soma_model_create(&base->spec, err);
    (void)about;
    if (!model)
        return err->status;
    soma_status status = soma_shelf_create(&shelf, &readers, model, err);
    if (status)
        return status;
    for (uint64_t version = 1; version < 4 && !status; version++) {
        soma_snapshot *copy;
        status =
            soma_shelf_copy(&shelf, base, version, &progressive, &copy, err);
        if (!status)
            soma_shelf_show(&shelf, copy);
    }
    soma_readers_enter(&readers, 0);
    soma_snapshot *current = soma_shelf_current(&shelf);
    if (!status)
        status = soma_snapshot_digest(current, hex, err);
    scarce_stop();
    /* What could be published is what is served. */
    *sum = exhaust_sum(sum_of(current->model), &current->version,
                       sizeof current->version);
    soma_readers_leave(&readers, 0);
    soma_shelf_free(&shelf);
    return status;
}

static soma_status
look(const void *about, uint32_t *sum, soma_error *err)
{
    soma_health health = {0};
    soma_health_report report;
    (void)about;
    soma_status status = soma_health_create(&health, &base->spec, err);
    scarce_stop();
    /* Without memory it looks at nothing, and says so. */
    soma_health_ask(&health, &base->spec, 0, &report);
    assert_int_equal(report.rows, 0);
    *sum = 1;
    soma_health_free(&health);
    return status;
}

static soma_status
remember(const void *about, uint32_t *sum, soma_error *err)
{
    soma_recall recall;
    soma_recalled answer = {.version = 7, .label = 1};
    char id[SOMA_RECALL_ID + 1];
    float x[INPUTS];
    soma_status status = SOMA_OK;
    (void)about;
    soma_recall_init(&recall, INPUTS, 4, 100);
    for (int i = 0; i < 6 && !status; i++) {
        learners_example(i, x);
        x[1] += i % 2 ? 0.25f : 0;
        status = soma_recall_put(&recall, x, &answer, 1, id, err);
    }
    scarce_stop();
    if (!status)
        status = soma_recall_get(&recall, id, 2, x, &answer, err);
    if (!status)
        *sum = exhaust_sum((uint32_t)answer.version, x, sizeof x);
    soma_recall_free(&recall);
    return status;
}

static soma_status
score(const void *about, uint32_t *sum, soma_error *err)
{
    static const float scores[] = {1, 3, 2};
    static const int label = 1;
    soma_score s = {0};
    (void)about;
    soma_status status = soma_score_create(&s, CLASSES, err);
    scarce_stop();
    if (!status) {
        soma_score_add(&s, &base->spec, 1, scores, &label);
        *sum = (uint32_t)s.correct;
    }
    soma_score_free(&s);
    return status;
}

/* A part of them would say that the others are gone. */
static soma_status
list_files(const void *about, uint32_t *sum, soma_error *err)
{
    static soma_registry registry;
    registry.options.models = about;
    char **files = soma_registry_files(&registry);
    scarce_stop();
    if (!files)
        return soma_error_memory(err, "a list of files");
    for (char **name = files; *name; name++)
        *sum = exhaust_sum(*sum, *name, strlen(*name));
    soma_registry_free_files(files);
    return SOMA_OK;
}

static void
parts_of_a_server(void **state)
{
    char models[PATH_MAX];
    (void)state;
    scratch_folder("models");
    scratch_text("models/a.safetensors", "");
    scratch_text("models/b.onnx", "");
    scratch_text("models/c.safetensors", "");
    snprintf(models, sizeof models, "%s", scratch_path("models"));
    assert_int_equal(exhaust("a folder", list_files, models), 4);
    snprintf(models, sizeof models, "%s", scratch_path("models/b.onnx"));
    assert_int_equal(exhaust("a file", list_files, models), 2);
    assert_true(exhaust("snapshots", publish, NULL) > 3);
    assert_true(exhaust("health", look, NULL) > 0);
    assert_true(exhaust("recall", remember, NULL) > 1);
    assert_int_equal(exhaust("a score", score, NULL), 1);
}

/* ---- Training ---- */

static const char table[] = "kind,x,y\n"
                            "tea,1,2\n"
                            "coffee,2.5,1\n"
                            "tea,0,3\n"
                            "coffee,3,0.5\n"
                            "tea,1,3\n"
                            "coffee,3,1\n";

static soma_status
prepare(const soma_train_spec *from, soma_dataset *dataset,
        soma_checkpoint *checkpoint, soma_error *err)
{
    soma_train_spec spec = *from;
    soma_status status = soma_train_open(&spec, scratch_path("table.csv"),
                                         checkpoint, dataset, err);
    return status ? status
                  : soma_train_create(&spec, dataset, 1, checkpoint, err);
}

static soma_status
train(const void *about, uint32_t *sum, soma_error *err)
{
    const soma_fit fit = {.sgd = {.rate = 0.1f, .momentum = 0.9f},
                          .epochs = 3,
                          .batch = 2,
                          .validation = 0.34f,
                          .dropout = 0.2f,
                          .seed = 4,
                          .threads = 2};
    soma_fit_result result;
    soma_dataset dataset = {0};
    soma_checkpoint checkpoint = {0};
    soma_status status = prepare(about, &dataset, &checkpoint, err);
    if (!status)
        status = soma_fit_run(&fit, checkpoint.model, &dataset, NULL, NULL,
                              &result, err);
    scarce_stop();
    if (!status)
        *sum = sum_of(checkpoint.model);
    soma_checkpoint_free(&checkpoint);
    soma_dataset_free(&dataset);
    return status;
}

static void
training(void **state)
{
    static const soma_train_spec specs[] = {
        {.hidden = "4,3", .activation = "relu", .normalise = "all"},
        {.hidden = "none",
         .activation = "sigmoid",
         .normalise = "channel",
         .versus_rest = "coffee",
         .classes = "chai,coffee"},
    };
    (void)state;
    scratch_text("table.csv", table);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        assert_true(exhaust("training", train, &specs[i]) > 20);
}

static int
set_up(void **state)
{
    scarce_set_up();
    base = learners_model();
    kept = learners_memory();
    return scratch_make(state);
}

static int
tear_down(void **state)
{
    soma_model_free(base);
    soma_memory_free(&kept);
    return scratch_remove(state);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learners),
        cmocka_unit_test(journals),
        cmocka_unit_test(parts_of_a_server),
        cmocka_unit_test(training),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
