/* server/engine/journal.h: the contract, of the journal in Redis, and of two
 * that have it open.
 */
#include "tests/unit/journal_calls.h"

#include "tests/replicas/redis.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static redis_server redis;

static int
set_up(void **state)
{
    (void)state;
    redis_begin(&redis);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    redis_end(&redis);
    return 0;
}

static soma_journal *
open_one(const char *name)
{
    soma_journal *j = soma_journal_redis_open(redis.url, name, &err);
    if (!j)
        fail_msg("open: %s", err.text);
    return j;
}

static soma_journal *
create(const char *name)
{
    soma_journal_base base = a_base();
    OK(soma_journal_redis_create(redis.url, name, &base, &err));
    return open_one(name);
}

static void
redis_says(const char *words)
{
    char command[256];
    snprintf(command, sizeof command, "redis-cli -p %d %s >/dev/null",
             redis.port, words);
    assert_int_equal(system(command), 0);
}

/* ---- Records ---- */

static void
test_order(void **state)
{
    (void)state;
    if (!redis.port)
        return;
    assert_null(soma_journal_redis_open(redis.url, "order", &err));
    assert_int_equal(err.status, SOMA_E_NOT_FOUND);
    soma_journal *j = create("order");
    soma_journal_base base = a_base();
    assert_int_equal(soma_journal_redis_create(redis.url, "order", &base, &err),
                     SOMA_E_CONFLICT);
    soma_journal_info info = info_of(j);
    assert_int_equal(info.first, 0);
    assert_int_equal(info.last, 0);
    assert_int_equal(info.size, SIZE);
    assert_int_equal(info.created, 1234567);
    assert_string_equal(info.base, "sha256:0123");
    OK(append_records(j, 1, 1, &err));
    OK(append_records(j, 2, 300, &err));
    assert_int_equal(read_all(j, 0), 301);
    assert_int_equal(read_all(j, 295), 6);
    assert_int_equal(read_all(j, 301), 0);
    info = info_of(j);
    assert_int_equal(info.first, 1);
    assert_int_equal(info.last, 301);
    int others = 0;
    for (int seq = 1; seq <= 301; seq++)
        others += seq % 11 == 5 || seq % 7 == 3;
    assert_int_equal(info.examples, 301 - others);
    soma_leap leap;
    OK(j->backend->last_leap(j, 40, &leap, &err));
    assert_int_equal(leap.seq, 38);
    assert_int_equal(leap.target, 19);
    OK(j->backend->last_leap(j, 4, &leap, &err));
    assert_int_equal(leap.seq, 0);
    OK(j->backend->check(j, &err));
    /* What is on disk is there again. */
    redis_kill(&redis);
    redis_run(&redis);
    OK(j->backend->reopen(j, &err));
    assert_int_equal(read_all(j, 0), 301);
    shut(j);
}

static void
test_two_writers(void **state)
{
    (void)state;
    if (!redis.port)
        return;
    soma_journal *a = create("two"), *b = open_one("two");
    OK(append_records(a, 1, 3, &err));
    assert_int_equal(append_records(b, 1, 2, &err), SOMA_E_CONFLICT);
    assert_int_equal(append_records(b, 3, 2, &err), SOMA_E_CONFLICT);
    assert_int_equal(append_records(b, 5, 2, &err), SOMA_E_CONFLICT);
    assert_int_equal(info_of(b).last, 3);
    OK(append_records(b, 4, 2, &err)); /* no reopening between */
    assert_int_equal(append_records(a, 4, 2, &err), SOMA_E_CONFLICT);
    assert_int_equal(read_all(a, 0), 5);
    shut(a);
    shut(b);
}

/* The server takes the command in, but its answer comes too late: the
 * connection is given up, and the command sent again. */
static void
test_lost_answer(void **state)
{
    (void)state;
    if (!redis.port)
        return;
    soma_journal *j = create("lost");
    OK(append_records(j, 1, 3, &err));
    kill(redis.pid, SIGSTOP);
    pid_t child = fork();
    if (child == 0) {
        struct timespec pause = {2, 500000000};
        nanosleep(&pause, NULL);
        kill(redis.pid, SIGCONT);
        _exit(0);
    }
    OK(append_records(j, 4, 2, &err));
    waitpid(child, NULL, 0);
    assert_int_equal(info_of(j).last, 5);
    assert_int_equal(read_all(j, 0), 5);
    shut(j);
}

static void
test_full(void **state)
{
    (void)state;
    if (!redis.port)
        return;
    soma_journal *j = create("full");
    OK(append_records(j, 1, 3, &err));
    redis_says("config set maxmemory 1");
    assert_int_equal(append_records(j, 4, 2, &err), SOMA_E_NO_SPACE);
    assert_int_equal(info_of(j).last, 3);
    redis_says("config set maxmemory 0");
    OK(append_records(j, 4, 2, &err));
    assert_int_equal(read_all(j, 0), 5);
    shut(j);
}

static void
test_damage(void **state)
{
    uint64_t count = 0;
    (void)state;
    if (!redis.port)
        return;
    soma_journal *j = create("damage");
    OK(append_records(j, 1, 3, &err));
    redis_says("XADD 'soma:{damage}:examples' 4-0 r nonsense t 5");
    redis_says("HSET 'soma:{damage}:head' last 4");
    assert_int_equal(j->backend->check(j, &err), SOMA_E_FORMAT);
    assert_int_equal(j->backend->read(j, 0, 4, visit_sample, &count, &err),
                     SOMA_E_FORMAT);
    assert_int_equal(count, 3);
    /* Another journal in its place. */
    redis_says("HSET 'soma:{damage}:head' base other");
    assert_int_equal(j->backend->reopen(j, &err), SOMA_E_CONFLICT);
    redis_says("HSET 'soma:{damage}:head' format 2");
    assert_null(soma_journal_redis_open(redis.url, "damage", &err));
    assert_int_equal(err.status, SOMA_E_UNSUPPORTED);
    shut(j);
}

static soma_status
append_after(soma_journal *j, uint64_t seq, soma_place *place)
{
    sample s;
    soma_journal_group group = {
        .records = sample_make(&s, seq), .count = 1, .after = place};
    return j->backend->append(j, &group, &err);
}

/* The last two records, as a server that is cut off loses them. */
static void
lose_two(const char *mark)
{
    char words[128];
    redis_says("XDEL 'soma:{places}:examples' 3-0 4-0");
    redis_says("XSETID 'soma:{places}:examples' 2-0");
    snprintf(words, sizeof words, "HSET 'soma:{places}:head' last 2 mark %s",
             mark);
    redis_says(words);
}

/* What was lost is noticed by who has learned it, also when others have
 * appended as much in its place. */
static void
test_places(void **state)
{
    soma_place a_at = {.seq = 0}, b_at, second;
    bool held;
    (void)state;
    if (!redis.port)
        return;
    soma_journal *a = create("places"), *b = open_one("places");
    for (uint64_t seq = 1; seq <= 4; seq++) {
        OK(append_after(a, seq, &a_at));
        assert_int_equal(a_at.seq, seq);
        if (seq == 2)
            second = a_at;
    }
    assert_string_equal(info_of(b).end.mark, a_at.mark);
    OK(a->backend->holds(a, &a_at, &held, &err));
    assert_true(held);
    OK(a->backend->holds(b, &second, &held, &err));
    assert_true(held);
    lose_two(second.mark);
    OK(a->backend->holds(a, &a_at, &held, &err));
    assert_false(held);
    b_at = info_of(b).end;
    assert_string_equal(b_at.mark, second.mark);
    OK(append_after(b, 3, &b_at));
    OK(append_after(b, 4, &b_at));
    OK(a->backend->holds(a, &a_at, &held, &err));
    assert_false(held);
    assert_int_equal(append_after(a, 5, &a_at), SOMA_E_CONFLICT);
    soma_journal_part part = {.seq = 4, .data = "x", .size = 1, .total = 2};
    soma_journal_group state_of_it = {.part = &part, .after = &a_at};
    assert_int_equal(a->backend->append(a, &state_of_it, &err),
                     SOMA_E_CONFLICT);
    /* One that lags behind may go on with its checkpoint. */
    state_of_it.after = &second;
    OK(a->backend->append(a, &state_of_it, &err));
    OK(append_after(b, 5, &b_at));
    assert_int_equal(read_all(b, 0), 5);
    shut(a);
    shut(b);
}

/* ---- Keys and lessons ---- */

static void
test_keys(void **state)
{
    (void)state;
    if (!redis.port)
        return;
    soma_journal_key put[3] = {a_key("one", 1, 5), a_key("two \xff", 3, 6),
                               a_key("one", 4, 7)};
    soma_journal_key found;
    bool there;
    soma_journal *j = create("keys"), *other = open_one("keys");
    OK(append_records(j, 1, 5, &err));
    soma_journal_group group = {.keys = put, .key_count = 2};
    OK(j->backend->append(j, &group, &err));
    OK(other->backend->find_key(other, "one", &found, &there, &err));
    assert_true(there);
    assert_memory_equal(&found, &put[0], sizeof found);
    OK(j->backend->find_key(j, "two \xff", &found, &there, &err));
    assert_true(there);
    OK(j->backend->find_key(j, "three", &found, &there, &err));
    assert_false(there);
    group = (soma_journal_group){.keys = put + 2, .key_count = 1};
    OK(j->backend->append(j, &group, &err));
    OK(j->backend->find_key(j, "one", &found, &there, &err));
    assert_memory_equal(&found, &put[2], sizeof found);
    assert_int_equal(info_of(j).keys, 2);
    soma_lesson lessons[3] = {a_lesson(2), a_lesson(3), a_lesson(5)}, read[5];
    group = (soma_journal_group){.lessons = lessons, .lesson_count = 3};
    OK(j->backend->append(j, &group, &err));
    OK(other->backend->lessons(other, 1, 5, read, &err));
    assert_int_equal(read[0].version, 0);
    assert_int_equal(read[3].version, 0);
    assert_int_equal(read[4].version, 5);
    assert_int_equal(read[4].steps, lessons[2].steps);
    assert_int_equal(read[1].predicted, lessons[0].predicted);
    assert_true(read[2].loss == lessons[1].loss);
    shut(other);
    shut(j);
}

/* ---- Checkpoints and trimming ---- */

enum { STATE = 5000, PART = 1999 };

static soma_status
put_part(soma_journal *j, uint64_t seq, size_t offset)
{
    unsigned char bytes[STATE];
    struct sha256_ctx context;
    state_fill(bytes, STATE, seq);
    soma_journal_part part = {.seq = seq,
                              .time = 77,
                              .data = bytes + offset,
                              .offset = offset,
                              .size = PART,
                              .total = STATE};
    if (offset + PART >= STATE) {
        part.size = STATE - offset;
        part.last = true;
        sha256_init(&context);
        sha256_update(&context, STATE, bytes);
        sha256_digest(&context, 32, part.digest);
    }
    soma_journal_group group = {.part = &part};
    return j->backend->append(j, &group, &err);
}

static void
put_checkpoint(soma_journal *j, uint64_t seq)
{
    for (size_t offset = 0; offset < STATE; offset += PART)
        OK(put_part(j, seq, offset));
}

static void
expect_checkpoint(soma_journal *j, uint64_t upto, uint64_t seq)
{
    soma_journal_checkpoint found;
    soma_bytes bytes;
    unsigned char expected[STATE];
    OK(j->backend->checkpoint_find(j, upto, &found, &err));
    assert_int_equal(found.seq, seq);
    if (!seq)
        return;
    assert_int_equal(found.time, 77);
    OK(j->backend->checkpoint_read(j, seq, &bytes, &err));
    state_fill(expected, STATE, seq);
    assert_int_equal(bytes.size, STATE);
    assert_memory_equal(bytes.data, expected, STATE);
    soma_bytes_free(&bytes);
}

static void
test_checkpoints(void **state)
{
    soma_bytes bytes;
    (void)state;
    if (!redis.port)
        return;
    soma_journal_base base = a_base();
    soma_journal *a = create("states"), *b = open_one("states");
    OK(append_records(a, 1, 30, &err));
    expect_checkpoint(a, 30, 0);
    /* Two write one at the same time, each its own. */
    OK(put_part(a, 10, 0));
    OK(put_part(b, 10, 0));
    OK(put_part(a, 10, PART));
    expect_checkpoint(a, 30, 0);
    OK(put_part(a, 10, (size_t)2 * PART));
    expect_checkpoint(b, 30, 10);
    OK(put_part(b, 10, PART));
    OK(put_part(b, 10, (size_t)2 * PART));
    expect_checkpoint(a, 30, 10);
    expect_checkpoint(a, 9, 0);
    put_checkpoint(b, 20);
    expect_checkpoint(a, 30, 20);
    expect_checkpoint(a, 19, 10);
    /* One whose beginning is gone is not written on. */
    assert_int_equal(put_part(a, 25, PART), SOMA_E_NO_SPACE);
    OK(a->backend->check(a, &err));
    redis_says("HSET 'soma:{states}:states' 20 nonsense");
    assert_int_equal(a->backend->checkpoint_read(a, 20, &bytes, &err),
                     SOMA_E_FORMAT);
    assert_int_equal(a->backend->check(a, &err), SOMA_E_FORMAT);
    OK(a->backend->base(a, &bytes, &err));
    assert_int_equal(bytes.size, base.model_size);
    assert_memory_equal(bytes.data, base.model, bytes.size);
    soma_bytes_free(&bytes);
    shut(a);
    shut(b);
}

static void
trim(soma_journal *j, soma_journal_policy policy)
{
    bool more = true;
    for (int i = 0; more; i++) {
        OK(j->backend->trim(j, &policy, 7, &more, &err));
        assert_true(i < 100);
    }
}

static void
test_trim(void **state)
{
    uint64_t count = 0;
    (void)state;
    if (!redis.port)
        return;
    soma_journal *j = create("trim");
    OK(append_records(j, 1, 60, &err));
    /* Nothing goes that no checkpoint covers, and the newest one may turn out
     * damaged. */
    trim(j, (soma_journal_policy){.keep_examples = 5});
    assert_int_equal(info_of(j).first, 1);
    put_checkpoint(j, 30);
    trim(j, (soma_journal_policy){.keep_examples = 5});
    assert_int_equal(info_of(j).first, 1);
    put_checkpoint(j, 40);
    trim(j, (soma_journal_policy){.keep_since = 1011});
    assert_int_equal(info_of(j).first, 11);
    trim(j, (soma_journal_policy){.keep_examples = 5});
    assert_int_equal(info_of(j).first, 31);
    assert_int_equal(info_of(j).last, 60);
    assert_int_equal(read_all(j, 30), 30);
    assert_int_equal(j->backend->read(j, 20, 60, visit_sample, &count, &err),
                     SOMA_E_NOT_FOUND);
    OK(j->backend->check(j, &err));
    put_checkpoint(j, 50);
    put_checkpoint(j, 60);
    trim(j, (soma_journal_policy){.keep_checkpoints = 1});
    expect_checkpoint(j, 60, 60);
    expect_checkpoint(j, 59, 50);
    /* Record 60 goes back to version 30. */
    expect_checkpoint(j, 49, 30);
    expect_checkpoint(j, 29, 0);
    OK(append_records(j, 61, 5, &err));
    put_checkpoint(j, 62);
    trim(j, (soma_journal_policy){.keep_checkpoints = 1, .keep_examples = 1});
    expect_checkpoint(j, 61, 60);
    expect_checkpoint(j, 59, 0);
    assert_int_equal(info_of(j).first, 61);
    put_checkpoint(j, 64);
    trim(j, (soma_journal_policy){.keep_checkpoints = 1, .keep_examples = 1});
    expect_checkpoint(j, 65, 64);
    expect_checkpoint(j, 63, 62);
    expect_checkpoint(j, 61, 0);
    assert_int_equal(info_of(j).first, 63);
    OK(j->backend->check(j, &err));
    /* What leads to version 40 is gone, so nobody can go back to it. */
    soma_record record = {.seq = 66, .kind = SOMA_RECORD_ROLLBACK};
    soma_journal_group back = {.records = &record, .count = 1};
    record.target = 40;
    assert_int_equal(j->backend->append(j, &back, &err), SOMA_E_CONFLICT);
    record.target = 63;
    OK(j->backend->append(j, &back, &err));
    soma_journal_key keys[20], found;
    bool there;
    for (int i = 0; i < 20; i++) {
        char text[16];
        snprintf(text, sizeof text, "k%d", i);
        keys[i] = a_key(text, (uint64_t)i + 1, 100 + i);
    }
    soma_journal_group group = {.keys = keys, .key_count = 20};
    OK(j->backend->append(j, &group, &err));
    trim(j, (soma_journal_policy){.keys_since = 105});
    assert_int_equal(info_of(j).keys, 15);
    trim(j, (soma_journal_policy){.keep_keys = 2});
    assert_int_equal(info_of(j).keys, 2);
    OK(j->backend->find_key(j, "k18", &found, &there, &err));
    assert_true(there);
    shut(j);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),       cmocka_unit_test(test_two_writers),
        cmocka_unit_test(test_lost_answer), cmocka_unit_test(test_full),
        cmocka_unit_test(test_damage),      cmocka_unit_test(test_places),
        cmocka_unit_test(test_keys),        cmocka_unit_test(test_checkpoints),
        cmocka_unit_test(test_trim),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
