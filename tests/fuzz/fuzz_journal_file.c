/* A journal's database, damaged or made by somebody else: a good one, patched
 * as the input says after its first byte (learners.h), is opened (read only if
 * that byte is odd), checked, read, replayed and written to; each of these may
 * fail, saying why. */
#include "server/engine/replay.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/learners.h"

#include <nettle/sha2.h>

static soma_model *base;
static soma_memory kept;

static void
write_checkpoint(soma_journal *journal)
{
    soma_learner *learner = learners_taught(base, &kept, 10);
    size_t size = soma_learner_state_size(learner);
    unsigned char *state = malloc(size);
    struct sha256_ctx context;
    must(state);
    soma_learner_save(learner, state);
    soma_journal_part part = {
        .seq = 10, .data = state, .size = size, .total = size, .last = true};
    sha256_init(&context);
    sha256_update(&context, size, state);
    sha256_digest(&context, sizeof part.digest, part.digest);
    soma_journal_group group = {.part = &part};
    must(!journal->backend->append(journal, &group, NULL));
    soma_learner_free(learner);
    free(state);
}

static void
write_records(soma_journal *journal)
{
    unsigned char packed[SOMA_LEARNING_BYTES];
    soma_learning settings = learners_settings();
    soma_learning_pack(&settings, packed);
    soma_journal_key key = {.text = "a key", .first = 1, .count = 1};
    for (int i = 1; i <= 14; i++) {
        float x[INPUTS];
        soma_record record = {.seq = (uint64_t)i, .kind = SOMA_RECORD_EXAMPLE};
        record.label = learners_example(i, x);
        record.x = x;
        if (i == 11 || i == 13) {
            record.kind = i == 11 ? SOMA_RECORD_SETTINGS : SOMA_RECORD_ROLLBACK;
            record.target = i == 11 ? 0 : 5;
            record.data = packed;
            record.data_size = sizeof packed;
        }
        soma_lesson lesson = {.version = (uint64_t)i, .loss = 1};
        soma_journal_group group = {.records = &record,
                                    .count = 1,
                                    .lessons = &lesson,
                                    .lesson_count = 1,
                                    .keys = i == 1 ? &key : NULL,
                                    .key_count = i == 1};
        must(!journal->backend->append(journal, &group, NULL));
        if (i == 10)
            write_checkpoint(journal);
    }
}

/* The bytes of a good one. */
static soma_bytes
make(void)
{
    soma_bytes bytes = {NULL, 0};
    soma_error err;
    soma_learning settings = learners_settings();
    base = learners_model();
    kept = learners_memory();
    soma_journal_base begin = {.digest = "sha256:0",
                               .model = "a model file",
                               .model_size = 12,
                               .size = INPUTS};
    soma_learning_pack(&settings, begin.settings);
    const char *path = files_path("good.db");
    soma_journal *journal = soma_journal_create(path, &begin, &err);
    must(journal);
    write_records(journal);
    journal->backend->close(journal);
    must(!soma_file_read(path, 1 << 24, 0, &bytes, &err));
    return bytes;
}

static soma_status
see(const soma_record *record, void *arg, soma_error *err)
{
    const soma_journal *journal = arg;
    static volatile float sum; /* what is summed up is read */
    (void)err;
    for (int i = 0; record->x && i < journal->size; i++)
        sum = sum + record->x[i];
    return SOMA_OK;
}

static void
explain(soma_status status, soma_error *err)
{
    files_explained(status, err);
    *err = (soma_error){SOMA_OK, ""};
}

static void
read_all(soma_journal *j, const soma_journal_info *info)
{
    soma_error err = {SOMA_OK, ""};
    soma_lesson lessons[16];
    soma_journal_key key;
    soma_journal_checkpoint checkpoint;
    bool found;
    soma_bytes bytes;
    explain(j->backend->check(j, &err), &err);
    explain(j->backend->read(j, 0, info->last, see, j, &err), &err);
    explain(j->backend->lessons(j, 1, 16, lessons, &err), &err);
    explain(j->backend->find_key(j, "a key", &key, &found, &err), &err);
    soma_status status =
        j->backend->checkpoint_find(j, info->last, &checkpoint, &err);
    explain(status, &err);
    if (!status && checkpoint.seq) {
        status = j->backend->checkpoint_read(j, checkpoint.seq, &bytes, &err);
        explain(status, &err);
        if (!status)
            soma_bytes_free(&bytes);
    }
    status = j->backend->base(j, &bytes, &err);
    explain(status, &err);
    if (!status)
        soma_bytes_free(&bytes);
}

static void
replay_all(soma_journal *journal, const soma_journal_info *info)
{
    soma_error err = {SOMA_OK, ""};
    soma_replay replay = {.journal = journal, .base = base, .kept = &kept};
    if (info->size != INPUTS)
        return; /* of another model: nobody replays it */
    soma_learner *learner = soma_replay_build(&replay, info->last, &err);
    must(learner || (err.status && err.text[0]));
    if (learner)
        learners_go_on(learner, info->last + 1);
    soma_learner_free(learner);
}

static void
write_to(soma_journal *j, const soma_journal_info *info)
{
    soma_error err = {SOMA_OK, ""};
    float x[SOMA_LEARNING_BYTES] = {0};
    soma_journal_policy policy = {.keep_examples = 3, .keep_checkpoints = 2};
    soma_record record = {
        .seq = info->last + 1, .kind = SOMA_RECORD_EXAMPLE, .x = x};
    soma_journal_group group = {.records = &record, .count = 1};
    bool more;
    if (j->size > SOMA_LEARNING_BYTES)
        return;
    soma_status status = j->backend->append(j, &group, &err);
    explain(status, &err);
    if (!status)
        explain(j->backend->trim(j, &policy, 100, &more, &err), &err);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static soma_bytes good;
    if (!good.data)
        good = make();
    if (size == 0)
        return 0;
    soma_bytes bytes = files_bytes(good.data, good.size);
    size_t left = learners_patch(data + 1, size - 1, bytes.data, bytes.size);
    const char *path = files_write("x.db", bytes.data, left);
    soma_bytes_free(&bytes);
    unlink(files_path("x.db-wal"));
    unlink(files_path("x.db-shm"));
    soma_error err = {SOMA_OK, ""};
    soma_journal_info info;
    bool read_only = data[0] & 1;
    soma_journal *journal = soma_journal_open(path, read_only, &err);
    if (!journal) {
        must(err.status && err.status != SOMA_E_INTERNAL && err.text[0]);
        return 0;
    }
    soma_status status = journal->backend->info(journal, &info, &err);
    explain(status, &err);
    if (!status) {
        read_all(journal, &info);
        replay_all(journal, &info);
        if (!read_only)
            write_to(journal, &info);
    }
    journal->backend->close(journal);
    return 0;
}
