/* Records whose sums are right but which no soma has written, replayed. The
 * input is a row of records:
 *
 *     u8 kind
 *     1 example    i8 label    float32 rate    4 x float32
 *     else         u8 target   u8 count        patches of the settings, count
 *                                              bytes (learners.h)
 *
 * They are refused, or the weights are finite and learning goes on. */
#include "server/engine/replay.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/learners.h"

enum { MOST = 64 };

typedef struct reader {
    const uint8_t *at;
    size_t left;
} reader;

static void
take(reader *r, void *to, size_t size)
{
    size_t there = size < r->left ? size : r->left;
    memset(to, 0, size);
    memcpy(to, r->at, there);
    r->at += there, r->left -= there;
}

typedef struct row {
    soma_record record;
    float x[INPUTS];
    unsigned char data[SOMA_LEARNING_BYTES];
} row;

static void
take_row(reader *in, uint64_t seq, row *r)
{
    uint8_t kind, target, count;
    int8_t label;
    soma_learning settings = learners_settings();
    take(in, &kind, 1);
    *r = (row){.record = {.seq = seq, .kind = (soma_record_kind)(kind % 6)}};
    if (r->record.kind == SOMA_RECORD_EXAMPLE) {
        take(in, &label, 1);
        r->record.label = label;
        take(in, &r->record.rate, sizeof r->record.rate);
        take(in, r->x, sizeof r->x);
        r->record.x = r->x;
        return;
    }
    take(in, &target, 1);
    take(in, &count, 1);
    size_t there = count < in->left ? count : in->left;
    soma_learning_pack(&settings, r->data);
    r->record.target = target;
    r->record.data = r->data;
    r->record.data_size =
        learners_patch(in->at, there, r->data, sizeof r->data);
    in->at += there, in->left -= there;
}

static soma_status
append(soma_journal *journal, reader *in, uint64_t *last, soma_error *err)
{
    soma_status status = SOMA_OK;
    while (in->left > 0 && *last < MOST && !status) {
        row r;
        take_row(in, ++*last, &r);
        soma_journal_group group = {.records = &r.record, .count = 1};
        status = journal->backend->append(journal, &group, err);
    }
    return status;
}

static soma_status
see(const soma_record *record, void *arg, soma_error *err)
{
    (void)record, (void)arg, (void)err;
    return SOMA_OK;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static soma_model *base;
    static soma_memory kept;
    if (!base) {
        base = learners_model();
        kept = learners_memory();
    }
    soma_error err = {SOMA_OK, ""};
    soma_learning settings = learners_settings();
    soma_journal_base begin = {.digest = "sha256:0", .size = INPUTS};
    soma_learning_pack(&settings, begin.settings);
    soma_journal *journal = soma_journal_memory(&begin, 1 << 16, &err);
    must(journal);
    uint64_t last = 0;
    reader in = {data, size};
    soma_status status = append(journal, &in, &last, &err);
    files_explained(status, &err);
    soma_replay replay = {.journal = journal, .base = base, .kept = &kept};
    soma_learner *learner = soma_replay_build(&replay, last, &err);
    if (learner)
        learners_go_on(learner, last + 1);
    else
        must(err.status != SOMA_OK && err.text[0]);
    soma_learner_free(learner);
    soma_replay_lineage(&replay, last, see, NULL, &err);
    journal->backend->close(journal);
    return 0;
}
