/* The SQLite journal on a disk that fails, and on one whose power goes: what
 * append has acknowledged is there afterwards, all of it, and nothing half.
 *
 * The scenario is run with its first operation failing, then its second, and
 * so on, until a run needs no more operations than that. SOMA_FAULT_ROUNDS
 * (1) is the number of power cuts for each operation; from 2 on, no operation
 * is left out with any kind of fault.
 */
#include "tests/unit/faulty_vfs.h"
#include "tests/unit/journals.h"

enum { STEPS = 16, STATE = 9000, PART = 5000 };

/* What one run has been promised. */
typedef struct run {
    uint64_t acked, tried;  /* seq of records */
    uint64_t keys[STEPS];   /* first record of step i's key; 0: not acked */
    uint64_t state, states; /* newest acknowledged checkpoint, and tried */
    bool exact;             /* what was not acknowledged must not be there */
} run;

static struct {
    int rounds, faults, groups, acks, lost, surprises, reopened;
} tally;

static soma_error err;

static int
rounds(void)
{
    const char *text = getenv("SOMA_FAULT_ROUNDS");
    int n = text ? atoi(text) : 0;
    return n > 0 ? n : 1;
}

/* Sanitized programs take ten times as long: of the n that are tried there,
 * every third. The plain build tries all of them. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { EVERY = 3 };
#else
enum { EVERY = 1 };
#endif

/* ---- Files ---- */

static void
copy_file(const char *from, const char *to)
{
    soma_bytes bytes;
    if (soma_file_read(from, 1 << 26, 0, &bytes, NULL) != SOMA_OK) {
        unlink(to);
        return;
    }
    FILE *file = fopen(to, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.size, file), bytes.size);
    assert_int_equal(fclose(file), 0);
    soma_bytes_free(&bytes);
}

static void
copy_journal(const char *from, const char *to)
{
    static const char *const ends[] = {"", "-wal", "-journal"};
    for (int i = 0; i < 3; i++) {
        char a[300], b[300];
        snprintf(a, sizeof a, "%s%s", scratch_path(from), ends[i]);
        snprintf(b, sizeof b, "%s%s", scratch_path(to), ends[i]);
        copy_file(a, b);
    }
    char shm[300];
    snprintf(shm, sizeof shm, "%s-shm", scratch_path(to));
    unlink(shm);
}

/* ---- What must be there ---- */

static void
verify_rest(soma_journal *j, const run *r)
{
    soma_journal_key key;
    soma_journal_checkpoint c;
    soma_lesson lesson;
    soma_bytes bytes;
    bool found;
    for (int i = 0; i < STEPS; i++) {
        char text[16];
        snprintf(text, sizeof text, "key %d", i);
        assert_int_equal(j->backend->find_key(j, text, &key, &found, &err), 0);
        if (!r->keys[i])
            continue;
        assert_int_equal(j->backend->lessons(j, r->keys[i], 1, &lesson, &err),
                         0);
        tally.lost +=
            !found || key.first != r->keys[i] || lesson.version != r->keys[i];
    }
    assert_int_equal(j->backend->checkpoint_find(j, UINT64_MAX, &c, &err), 0);
    tally.lost += c.seq < r->state;
    assert_true(c.seq <= r->states);
    if (c.seq) {
        assert_int_equal(j->backend->checkpoint_read(j, c.seq, &bytes, &err),
                         0);
        unsigned char expected[STATE];
        state_fill(expected, STATE, c.seq);
        assert_int_equal(bytes.size, STATE);
        assert_memory_equal(bytes.data, expected, STATE);
        soma_bytes_free(&bytes);
    }
}

/* Opens what is there as a new process would; returns the newest seq. */
static uint64_t
verify(const char *name, const run *r)
{
    soma_journal_info info;
    uint64_t count = 0;
    faulty_stop();
    soma_journal *j = soma_journal_open(scratch_path(name), false, &err);
    if (!j)
        fail_msg("operation %d: cannot be opened: %s", faulty.fail_at,
                 err.text);
    if (j->backend->check(j, &err) != SOMA_OK)
        fail_msg("operation %d: %s", faulty.fail_at, err.text);
    assert_int_equal(j->backend->info(j, &info, &err), SOMA_OK);
    tally.lost += info.last < r->acked;
    tally.surprises += r->exact && info.last != r->acked;
    assert_true(info.last <= r->tried);
    if (info.last)
        assert_int_equal(j->backend->read(j, info.first - 1, info.last,
                                          visit_sample, &count, &err),
                         SOMA_OK);
    tally.lost += count != (info.last ? info.last - info.first + 1 : 0);
    verify_rest(j, r);
    j->backend->close(j);
    sqlite3_vfs_register(&faulty.vfs, 1);
    return info.last;
}

/* ---- The scenario ---- */

static soma_status
append_step(soma_journal *j, int step, run *r)
{
    sample samples[3];
    soma_record records[3];
    soma_lesson lessons[3];
    char text[16];
    snprintf(text, sizeof text, "key %d", step);
    soma_journal_group group = {.records = records,
                                .count = 1 + step % 3,
                                .lessons = lessons,
                                .key_count = 1};
    group.lesson_count = group.count;
    for (int i = 0; i < group.count; i++) {
        records[i] = *sample_make(&samples[i], r->acked + 1 + (uint64_t)i);
        lessons[i] = a_lesson(records[i].seq);
    }
    soma_journal_key key = a_key(text, records[0].seq, step);
    group.keys = &key;
    uint64_t last = r->acked + (uint64_t)group.count;
    r->tried = last > r->tried ? last : r->tried;
    tally.groups++;
    soma_status status = j->backend->append(j, &group, &err);
    if (!status) {
        r->acked = last;
        r->keys[step] = key.first;
        tally.acks++;
    }
    return status;
}

static soma_status
checkpoint_step(soma_journal *j, run *r)
{
    uint64_t seq = r->acked;
    r->states = seq > r->states ? seq : r->states;
    tally.groups++;
    soma_status status = append_checkpoint(j, seq, STATE, PART, 9, &err);
    if (!status) {
        r->state = seq;
        tally.acks++;
    }
    return status;
}

/* As SQLite does by itself when the log is long: what is in it goes to the
 * database, and the next append starts the log again. */
static void
move_log(const char *name)
{
    sqlite3 *db;
    if (sqlite3_open(scratch_path(name), &db) == SQLITE_OK)
        sqlite3_exec(db, "PRAGMA wal_checkpoint(PASSIVE)", NULL, NULL, NULL);
    sqlite3_close(db);
}

static soma_status
make_step(soma_journal *j, int step, run *r)
{
    static const soma_journal_policy policy = {.keep_examples = 4,
                                               .keep_checkpoints = 1};
    bool more = true;
    soma_status status = SOMA_OK;
    switch (step) {
    case 4:
    case 9:
    case 12:
        return checkpoint_step(j, r);
    case 6:
        move_log("faulty");
        return SOMA_OK;
    case 8:
        return j->backend->reopen(j, &err);
    case 13:
        while (more && !status)
            status = j->backend->trim(j, &policy, 6, &more, &err);
        return status;
    default:
        return append_step(j, step, r);
    }
}

/* After a step that failed: what a crash would leave, and then going on. */
static void
recover(soma_journal *j, soma_status status, run *r)
{
    if (status != SOMA_E_IO && status != SOMA_E_NO_SPACE)
        fail_msg("operation %d: status %d: %s", faulty.fail_at, status,
                 err.text);
    bool sticky = faulty.sticky;
    copy_journal("faulty", "crash");
    r->exact = status == SOMA_E_NO_SPACE;
    uint64_t there = verify("crash", r);
    r->exact = false;
    if (status == SOMA_E_NO_SPACE) {
        faulty_repair();
        return;
    }
    if (sticky) /* the disk has not come back: it may fail, but not hang */
        j->backend->reopen(j, &err);
    faulty_repair();
    if (j->backend->reopen(j, &err) != SOMA_OK)
        fail_msg("reopen: %s", err.text);
    tally.reopened++;
    soma_journal_info info;
    assert_int_equal(j->backend->info(j, &info, &err), SOMA_OK);
    tally.lost += info.last < r->acked;
    assert_true(info.last <= r->tried && there <= r->tried);
    r->acked = info.last;
}

/* A journal as it is just after it was made. */
static void
make_template(void)
{
    soma_journal_base base = a_base();
    soma_journal *j =
        soma_journal_create(scratch_path("template"), &base, &err);
    assert_non_null(j);
    j->backend->close(j);
}

/* Runs the scenario; false: the operation to fail never came. */
static bool
run_faults(int n, int error, bool sticky)
{
    run r = {0};
    tally.rounds++;
    copy_journal("template", "faulty");
    faulty_start(n, error, sticky, false);
    soma_journal *j = soma_journal_open(scratch_path("faulty"), false, &err);
    if (!j) {
        assert_true(err.status == SOMA_E_IO || err.status == SOMA_E_NO_SPACE);
        faulty_repair();
        j = soma_journal_open(scratch_path("faulty"), false, &err);
        if (!j)
            fail_msg("operation %d: %s", n, err.text);
    }
    for (int step = 0; step < STEPS; step++) {
        soma_status status = make_step(j, step, &r);
        if (status)
            recover(j, status, &r);
    }
    tally.faults += faulty.failed;
    bool failed = faulty.failed;
    j->backend->close(j);
    verify("faulty", &r);
    faulty_stop();
    return failed;
}

static void
report(const char *what)
{
    print_message("%s: %d rounds, %d faults came, %d groups, %d acknowledged, "
                  "%d times reopened, %d lost, %d refused ones there\n",
                  what, tally.rounds, tally.faults, tally.groups, tally.acks,
                  tally.reopened, tally.lost, tally.surprises);
    assert_int_equal(tally.lost, 0);
    assert_int_equal(tally.surprises, 0);
    assert_true(tally.faults > 50);
    memset(&tally, 0, sizeof tally);
}

static void
test_faults(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int error;
        bool sticky;
        int stride;
    } kinds[] = {{"EIO once", EIO, false, 1},
                 {"EIO from then on", EIO, true, 3},
                 {"ENOSPC once", ENOSPC, false, 1},
                 {"ENOSPC from then on", ENOSPC, true, 3},
                 {"EDQUOT once", EDQUOT, false, 3}};
    make_template();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int stride = kinds[i].stride > EVERY ? kinds[i].stride : EVERY, n = 1;
        if (rounds() > 1)
            stride = 1;
        while (run_faults(n, kinds[i].error, kinds[i].sticky))
            n += stride;
        report(kinds[i].name);
    }
}

/* ---- Making a journal ---- */

static bool
run_create(int n, int error)
{
    soma_journal_base base = a_base();
    char path[300];
    snprintf(path, sizeof path, "%s", scratch_path("made"));
    faulty_start(n, error, false, false);
    soma_journal *j = soma_journal_create(path, &base, &err);
    bool failed = faulty.failed;
    tally.rounds++;
    tally.faults += failed;
    faulty_repair();
    if (!j) {
        faulty_stop();
        /* Nothing, or all of it. */
        if (access(path, F_OK) == 0)
            j = soma_journal_open(path, false, &err);
        else
            j = soma_journal_create(path, &base, &err);
        if (!j)
            fail_msg("operation %d: %s", n, err.text);
    }
    soma_bytes model;
    assert_int_equal(j->backend->check(j, &err), SOMA_OK);
    assert_int_equal(j->backend->base(j, &model, &err), SOMA_OK);
    assert_memory_equal(model.data, base.model, MODEL);
    soma_bytes_free(&model);
    j->backend->close(j);
    faulty_stop();
    assert_int_equal(unlink(path), 0);
    return failed;
}

static void
test_create(void **state)
{
    (void)state;
    for (int n = 1; run_create(n, EIO); n++)
        run_create(n, ENOSPC);
    report("create");
}

/* ---- Power cuts ---- */

static bool
run_power(int n, uint64_t seed)
{
    run r = {0};
    soma_rng rng = soma_rng_seed(seed, (uint64_t)n);
    tally.rounds++;
    copy_journal("template", "faulty");
    faulty_start(n, EIO, false, true);
    soma_journal *j = soma_journal_open(scratch_path("faulty"), false, &err);
    for (int step = 0; j && step < STEPS && !faulty.dead; step++)
        make_step(j, step, &r);
    if (j)
        j->backend->close(j);
    bool failed = faulty.failed;
    tally.faults += failed;
    if (failed)
        faulty_power_cut(&rng);
    char shm[300];
    snprintf(shm, sizeof shm, "%s-shm", scratch_path("faulty"));
    unlink(shm);
    verify("faulty", &r);
    faulty_stop();
    return failed;
}

static void
test_power(void **state)
{
    (void)state;
    make_template();
    for (uint64_t seed = 1; seed <= (uint64_t)rounds(); seed++)
        for (int n = 1; run_power(n, seed);)
            n++;
    report("power cuts");
}

/* The shim's own proof: when it ignores what SQLite syncs, acknowledged
 * records do get lost, and the test sees it. */
static void
test_shim_bites(void **state)
{
    (void)state;
    int lost = 0;
    make_template();
    for (uint64_t seed = 1; seed <= 20; seed++) {
        run r = {0};
        soma_rng rng = soma_rng_seed(seed, 0);
        copy_journal("template", "faulty");
        faulty_start(0, EIO, false, true);
        soma_journal *j =
            soma_journal_open(scratch_path("faulty"), false, &err);
        sqlite3 *db; /* another writer, that does not sync */
        assert_non_null(j);
        assert_int_equal(append_step(j, 0, &r), SOMA_OK);
        sqlite3_open(scratch_path("faulty"), &db);
        assert_int_equal(
            sqlite3_exec(db, "PRAGMA synchronous = OFF; DELETE FROM records",
                         NULL, NULL, NULL),
            SQLITE_OK);
        faulty.dead = true;
        sqlite3_close(db);
        j->backend->close(j);
        faulty_power_cut(&rng);
        char shm[300];
        snprintf(shm, sizeof shm, "%s-shm", scratch_path("faulty"));
        unlink(shm);
        faulty_stop();
        j = soma_journal_open(scratch_path("faulty"), false, &err);
        assert_non_null(j);
        soma_journal_info info;
        assert_int_equal(j->backend->info(j, &info, &err), SOMA_OK);
        lost += info.last == r.acked; /* the unsynced DELETE is gone */
        j->backend->close(j);
    }
    print_message("of 20 commits that were not synced %d were lost\n", lost);
    assert_in_range(lost, 1, 20);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_make, scratch_remove)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_faults),
        TEST(test_create),
        TEST(test_power),
        TEST(test_shim_bites),
    };
    faulty_install();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
