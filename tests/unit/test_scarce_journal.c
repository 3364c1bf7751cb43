/* A journal in a file while memory is short (exhaust.h), SQLite's included:
 * whatever fails, the file stays good, and has all that an append said it has.
 */
#include "tests/unit/exhaust.h"
#include "tests/unit/journals.h"

#include <unistd.h>

enum {
    RECORDS = 12,
    STATE = 900,
    STEP = 97 /* SQLite takes thousands of pieces: some of them */
};

static soma_bytes good; /* the file of a journal of RECORDS records */

/* What is at this path, all of it checked; how many records it has. */
static uint64_t
records_at(const char *name)
{
    soma_error err;
    soma_journal_info info;
    uint64_t count = 0;
    soma_journal *j = soma_journal_open(scratch_path(name), false, &err);
    if (!j)
        fail_msg("opening it: %s", err.text);
    if (j->backend->check(j, &err) || j->backend->info(j, &info, &err) ||
        j->backend->read(j, info.first ? info.first - 1 : 0, info.last,
                         visit_sample, &count, &err))
        fail_msg("reading it: %s", err.text);
    j->backend->close(j);
    return info.last;
}

static void
remove_journal(const char *name)
{
    static const char *const ends[] = {
        "", "-wal", "-shm", ".new", ".new-wal", ".new-shm", ".new-journal"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s%s", scratch_path(name), ends[i]);
        unlink(path);
    }
}

/* ---- Making one ---- */

static soma_status
create(const void *about, uint32_t *sum, soma_error *err)
{
    soma_journal_base from = a_base();
    (void)about;
    soma_journal *j = soma_journal_create(scratch_path("new.db"), &from, err);
    scarce_stop();
    if (j) {
        j->backend->close(j);
        assert_int_equal(records_at("new.db"), 0);
        *sum = 1;
    } else if (!access(scratch_path("new.db"), F_OK)) {
        assert_int_equal(records_at("new.db"), 0); /* whole, if there */
    }
    remove_journal("new.db");
    return j ? SOMA_OK : err->status;
}

/* ---- Writing to one ---- */

static soma_status
append_keyed(soma_journal *j, uint64_t seq, soma_error *err)
{
    sample s;
    soma_journal_key key = a_key("key", seq, 5);
    soma_lesson lesson = a_lesson(seq);
    soma_journal_group group = {.records = sample_make(&s, seq),
                                .count = 1,
                                .keys = &key,
                                .key_count = 1,
                                .lessons = &lesson,
                                .lesson_count = 1};
    return j->backend->append(j, &group, err);
}

/* In two parts; append_checkpoint of journals.h would need memory. */
static soma_status
append_state(soma_journal *j, uint64_t seq, soma_error *err)
{
    static unsigned char state[STATE];
    soma_journal_part part = {
        .seq = seq, .data = state, .size = STATE / 2, .total = STATE};
    soma_journal_group group = {.part = &part};
    struct sha256_ctx context;
    state_fill(state, STATE, seq);
    sha256_init(&context);
    sha256_update(&context, STATE, state);
    sha256_digest(&context, sizeof part.digest, part.digest);
    soma_status status = j->backend->append(j, &group, err);
    part.data = state + STATE / 2;
    part.offset = STATE / 2;
    part.last = true;
    return status ? status : j->backend->append(j, &group, err);
}

/* Opens, appends as far as it goes, adds a checkpoint and trims. */
static soma_status
use(const char *path, uint64_t *acked, soma_error *err)
{
    const soma_journal_policy keep = {.keep_examples = 4,
                                      .keep_checkpoints = 2};
    soma_journal *j = soma_journal_open(path, false, err);
    bool more = true;
    if (!j)
        return err->status;
    soma_status status = SOMA_OK;
    for (uint64_t seq = RECORDS + 1; seq <= RECORDS + 3 && !status; seq++) {
        status = append_keyed(j, seq, err);
        *acked = status ? *acked : seq;
    }
    for (uint64_t seq = RECORDS; seq <= RECORDS + 3 && !status; seq++)
        status = append_state(j, seq, err);
    while (more && !status)
        status = j->backend->trim(j, &keep, 3, &more, err);
    j->backend->close(j);
    return status;
}

static soma_status
write_to(const void *about, uint32_t *sum, soma_error *err)
{
    uint64_t acked = RECORDS;
    (void)about;
    scarce_stop(); /* of the copy */
    remove_journal("used.db");
    scratch_write("used.db", good.data, good.size);
    scarce_again();
    soma_status status = use(scratch_path("used.db"), &acked, err);
    scarce_stop();
    uint64_t there = records_at("used.db");
    assert_true(there >= acked && there <= RECORDS + 3);
    *sum = (uint32_t)there;
    return status;
}

/* ---- Reading one ---- */

static soma_status
read_all(soma_journal *j, uint32_t *sum, soma_error *err)
{
    soma_journal_info info;
    soma_journal_key key;
    soma_journal_checkpoint checkpoint;
    soma_lesson lessons[RECORDS];
    soma_leap leap;
    soma_bytes bytes = {NULL, 0};
    uint64_t count = 0;
    bool found = false;
    soma_status status = j->backend->info(j, &info, err);
    if (!status)
        status = j->backend->read(j, 0, info.last, visit_sample, &count, err);
    if (!status)
        status = j->backend->last_leap(j, info.last, &leap, err);
    if (!status)
        status = j->backend->find_key(j, "key", &key, &found, err);
    if (!status)
        status = j->backend->lessons(j, 1, RECORDS, lessons, err);
    if (!status)
        status = j->backend->checkpoint_find(j, info.last, &checkpoint, err);
    if (!status)
        status = j->backend->checkpoint_read(j, checkpoint.seq, &bytes, err);
    *sum =
        exhaust_sum((uint32_t)(count + 100 * leap.seq), bytes.data, bytes.size);
    soma_bytes_free(&bytes);
    if (!status)
        status = j->backend->base(j, &bytes, err);
    *sum = exhaust_sum(*sum, bytes.data, bytes.size);
    soma_bytes_free(&bytes);
    assert_true(status || (found && lessons[RECORDS - 1].version == RECORDS));
    return status ? status : j->backend->check(j, err);
}

static soma_status
read_from(const void *about, uint32_t *sum, soma_error *err)
{
    const bool *read_only = about;
    soma_journal *j =
        soma_journal_open(scratch_path("good.db"), *read_only, err);
    if (!j)
        return err->status;
    uint32_t got = 0;
    soma_status status = read_all(j, &got, err);
    j->backend->close(j);
    *sum = got;
    return status;
}

/* ---- The tests ---- */

static void
make_good(void)
{
    soma_error err;
    soma_journal_base from = a_base();
    soma_journal *j = soma_journal_create(scratch_path("good.db"), &from, &err);
    assert_non_null(j);
    for (uint64_t seq = 1; seq <= RECORDS; seq++)
        assert_int_equal(append_keyed(j, seq, &err), SOMA_OK);
    assert_int_equal(append_checkpoint(j, 9, STATE, 400, INT_MAX, &err), 0);
    j->backend->close(j);
    assert_int_equal(
        soma_file_read(scratch_path("good.db"), 1 << 20, 0, &good, &err), 0);
}

static void
each_allocation_may_fail(void **state)
{
    static const struct {
        const char *name;
        exhaust_work *work;
    } rows[] = {{"making a journal", create},
                {"writing to it", write_to},
                {"reading it", read_from}};
    static const bool no = false;
    (void)state;
    make_good();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        print_message("%s: %d allocations\n", rows[i].name,
                      exhaust_some(rows[i].name, rows[i].work, &no, STEP));
    soma_bytes_free(&good);
}

int
main(void)
{
    scarce_set_up();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_allocation_may_fail, scratch_make,
                                        scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
