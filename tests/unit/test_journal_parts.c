/* Parts of a checkpoint that do not follow each other: refused by a journal in
 * a file, which stays good and takes the right ones then. */
#include "tests/unit/journals.h"

enum { STATE = 100, RECORDS = 3 };

static soma_error err;
static unsigned char state[STATE];

typedef struct piece {
    uint64_t seq;
    size_t offset, size, total;
    bool last;
} piece;

static soma_status
append(soma_journal *j, const piece *p)
{
    soma_journal_part part = {.seq = p->seq,
                              .data = state + p->offset % STATE,
                              .offset = p->offset,
                              .size = p->size,
                              .total = p->total,
                              .last = p->last};
    soma_journal_group group = {.part = &part};
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, STATE, state);
    sha256_digest(&context, sizeof part.digest, part.digest);
    return j->backend->append(j, &group, &err);
}

static void
wrong_parts(void **unused)
{
    static const piece first = {2, 0, 50, STATE, false};
    static const struct {
        bool begun; /* `first` is in */
        piece part;
        const char *words;
    } rows[] = {
        {false, {4, 0, 50, STATE, false}, "there is no such record"},
        {false, {2, 0, 0, STATE, false}, "it is empty or beyond the end"},
        {false, {2, 0, 60, 50, false}, "it is empty or beyond the end"},
        {true, {2, 90, 20, STATE, true}, "it is empty or beyond the end"},
        {false, {2, 0, 50, STATE, true}, "the last part is the one at the end"},
        {true, {2, 50, 50, STATE, false}, "the last part is the one at the"},
        {false, {2, 50, 50, STATE, true}, "it does not follow"},
        {true, {3, 50, 50, STATE, true}, "it does not follow"},
        {true, {2, 60, 40, STATE, true}, "it does not follow"},
        {true, {2, 50, 49, STATE - 1, true}, "it does not follow"},
    };
    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        soma_journal_base base = a_base();
        soma_journal_checkpoint found;
        char name[32];
        snprintf(name, sizeof name, "%d.db", (int)i);
        soma_journal *j = soma_journal_create(scratch_path(name), &base, &err);
        assert_non_null(j);
        assert_int_equal(append_records(j, 1, RECORDS, &err), SOMA_OK);
        if (rows[i].begun)
            assert_int_equal(append(j, &first), SOMA_OK);
        soma_status status = append(j, &rows[i].part);
        if (status != SOMA_E_INTERNAL || !strstr(err.text, rows[i].words))
            fail_msg("row %d: %d, %s", (int)i, (int)status, err.text);
        assert_int_equal(j->backend->reopen(j, &err), SOMA_OK);
        assert_int_equal(j->backend->check(j, &err), SOMA_OK);
        assert_int_equal(j->backend->checkpoint_find(j, RECORDS, &found, &err),
                         SOMA_OK);
        assert_int_equal(found.seq, 0);
        assert_int_equal(append(j, &(piece){3, 0, STATE, STATE, true}),
                         SOMA_OK);
        assert_int_equal(j->backend->checkpoint_find(j, RECORDS, &found, &err),
                         SOMA_OK);
        assert_int_equal(found.seq, 3);
        assert_int_equal(found.size, STATE);
        j->backend->close(j);
    }
}

int
main(void)
{
    state_fill(state, STATE, 7);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(wrong_parts, scratch_make,
                                        scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
