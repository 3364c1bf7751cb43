/* --journal redis+cluster:// and rediss+cluster://, a replica by each: three
 * masters share the models' journals. A master is killed, a journal moves to
 * another one, and learning goes on.
 */
#include "tests/replicas/lessons.h"
#include "tests/replicas/redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOMAS = 2, MASTERS = 3, SLOTS = 16384, BEFORE = 20 };

/* `heir` replicates nodes[owner], which has fashion's journal. */
static redis_server nodes[MASTERS], heir;
static int slot, owner;
static char urls[SOMAS][512];
static server somas[SOMAS];

static int
integer_of(int port, const char *words)
{
    char reply[64];
    redis_ask(port, words, reply, sizeof reply);
    assert_int_equal(reply[0], ':');
    return atoi(reply + 1);
}

/* 40 hexadecimal digits. */
static void
id_of(int port, char id[41])
{
    char reply[64] = "";
    redis_ask(port, "CLUSTER MYID", reply, sizeof reply);
    assert_memory_equal(reply, "$40\r\n", 5);
    memcpy(id, reply + 5, 40);
    id[40] = '\0';
}

static void
meet(const redis_server *one, const redis_server *other)
{
    char words[96];
    snprintf(words, sizeof words, "CLUSTER MEET 127.0.0.1 %d %d", other->tls,
             other->bus);
    redis_expect(one->port, words, "+OK");
}

static void
share_slots(void)
{
    char words[96];
    for (int i = 0; i < MASTERS; i++) {
        snprintf(words, sizeof words, "CLUSTER ADDSLOTSRANGE %d %d",
                 SLOTS * i / MASTERS, SLOTS * (i + 1) / MASTERS - 1);
        redis_expect(nodes[i].port, words, "+OK");
        /* Else two of them may have one epoch, and agree on it only later. */
        snprintf(words, sizeof words, "CLUSTER SET-CONFIG-EPOCH %d", i + 1);
        redis_expect(nodes[i].port, words, "+OK");
    }
    for (int i = 1; i < MASTERS; i++)
        meet(&nodes[0], &nodes[i]);
    for (int i = 0; i < MASTERS; i++)
        redis_expect(nodes[i].port, "CLUSTER INFO", "cluster_state:ok");
    slot = integer_of(nodes[0].port, "CLUSTER KEYSLOT soma:{fashion}:head");
    while (slot >= SLOTS * (owner + 1) / MASTERS)
        owner++;
}

static void
add_heir(void)
{
    char id[41], words[96];
    redis_begin_node(&heir, &nodes[0]);
    meet(&nodes[0], &heir);
    id_of(nodes[owner].port, id);
    redis_expect(heir.port, "CLUSTER NODES", id);
    snprintf(words, sizeof words, "CLUSTER REPLICATE %s", id);
    redis_expect(heir.port, words, "+OK");
    redis_expect(heir.port, "INFO replication", "master_link_status:up");
    /* Who has not heard of it does not vote for it. */
    id_of(heir.port, id);
    snprintf(words, sizeof words, "%.40s 127.0.0.1:%d@%d slave", id, heir.port,
             heir.bus);
    for (int i = 0; i < MASTERS; i++)
        redis_expect(nodes[i].port, "CLUSTER NODES", words);
}

/* Neither of those that are named has fashion's journal. */
static void
name_nodes(void)
{
    const redis_server *one = &nodes[(owner + 1) % MASTERS];
    const redis_server *other = &nodes[(owner + 2) % MASTERS];
    snprintf(urls[0], sizeof urls[0],
             "redis+cluster://127.0.0.1:%d,127.0.0.1:%d", one->port,
             other->port);
    snprintf(urls[1], sizeof urls[1],
             "rediss+cluster://127.0.0.1:%d,127.0.0.1:%d"
             "?ca=%s/ca.crt&cert=%s/redis.crt&key=%s/redis.key",
             one->tls, other->tls, one->folder, one->folder, one->folder);
}

static int
set_up(void **state)
{
    (void)state;
    redis_server probe;
    if (foreign_server("a cluster") || !redis_begin(&probe))
        return 0;
    redis_end(&probe);
    for (int i = 0; i < MASTERS; i++)
        redis_begin_node(&nodes[i], i ? &nodes[0] : NULL);
    share_slots();
    add_heir();
    name_nodes();
    for (int i = 0; i < SOMAS; i++) {
        const char *const arguments[] = {
            "--journal",    urls[i],     "--default-model",
            "fashion",      "--workers", "1",
            "--guard-drop", "100",       NULL};
        start_server(&somas[i], arguments);
        wait_until_ready(&somas[i]);
    }
    return 0;
}

static int
tear_down(void **state)
{
    int code = 0;
    (void)state;
    for (int i = 0; i < SOMAS; i++)
        code |= somas[i].pid ? stop_server(&somas[i]) : 0;
    redis_end(&heir);
    for (int i = 0; i < MASTERS; i++)
        redis_end(&nodes[i]);
    return code;
}

static void
each_journal_is_on_its_node(void **state)
{
    char moved[64];
    (void)state;
    if (!somas[0].pid)
        return;
    for (int i = 0; i < BEFORE; i++)
        assert_int_equal(teach(&somas[i % SOMAS], i), i + 1);
    redis_expect(nodes[owner].port, "HGET soma:{fashion}:head last", "20");
    snprintf(moved, sizeof moved, "-MOVED %d 127.0.0.1:%d", slot,
             nodes[owner].port);
    redis_expect(nodes[(owner + 1) % MASTERS].port,
                 "HGET soma:{fashion}:head last", moved);
    int journals = 0;
    for (int i = 0; i < MASTERS; i++) {
        char keys[4096];
        redis_ask(nodes[i].port, "KEYS soma:*:head", keys, sizeof keys);
        journals += atoi(keys + 1);
    }
    answer a = get(&somas[0], "/models");
    assert_int_equal(journals,
                     json_array_size(json_object_get(a.json, "models")));
    free_answer(&a);
}

static void
a_node_alone_says_what_is_wanted(void **state)
{
    char text[4096];
    (void)state;
    if (!somas[0].pid)
        return;
    for (int i = 0; i < SOMAS; i++)
        assert_int_equal(
            soma_says(text, sizeof text, "journal check '%s#fashion'", urls[i]),
            0);
    assert_true(soma_says(text, sizeof text,
                          "journal check 'redis://127.0.0.1:%d#fashion'",
                          nodes[(owner + 1) % MASTERS].port) != 0);
    assert_non_null(strstr(text, "redis+cluster://"));
}

static void
learning_goes_on_with_the_heir(void **state)
{
    (void)state;
    if (!somas[0].pid)
        return;
    redis_expect(nodes[owner].port, "WAIT 1 1000", ":1");
    redis_kill(&nodes[owner]);
    expect_prediction(&somas[(BEFORE - 1) % SOMAS], BEFORE);
    assert_int_equal(teach_in_time(&somas[0], 20), BEFORE + 1);
    assert_int_equal(teach_in_time(&somas[1], 21), BEFORE + 2);
    redis_expect(heir.port, "ROLE", "master");
    for (int i = 0; i < SOMAS; i++)
        wait_until_ready(&somas[i]);
    expect_same_digest(&somas[0], &somas[1], BEFORE + 2);
}

static void
tell_all(const char *words)
{
    for (int i = 0; i < MASTERS; i++)
        if (i != owner)
            redis_expect(nodes[i].port, words, "+OK");
    redis_expect(heir.port, words, "+OK");
}

/* As redis-cli --cluster reshard does it. While the slot is under way, commands
 * of several keys are refused, so it is learned after that. */
static void
learning_goes_on_when_the_journal_moves(void **state)
{
    char to[41], from[41], words[160];
    (void)state;
    if (!somas[0].pid)
        return;
    redis_server *next = &nodes[(owner + 1) % MASTERS];
    id_of(heir.port, from);
    id_of(next->port, to);
    snprintf(words, sizeof words, "CLUSTER SETSLOT %d IMPORTING %s", slot,
             from);
    redis_expect(next->port, words, "+OK");
    snprintf(words, sizeof words, "CLUSTER SETSLOT %d MIGRATING %s", slot, to);
    redis_expect(heir.port, words, "+OK");
    assert_int_equal(teach(&somas[0], 22), 0);
    expect_prediction(&somas[0], BEFORE + 2);
    shell(
        "keys=$(redis-cli -p %d CLUSTER GETKEYSINSLOT %d 100) && "
        "redis-cli -p %d MIGRATE 127.0.0.1 %d '' 0 5000 KEYS $keys >/dev/null",
        heir.port, slot, heir.port, next->tls);
    snprintf(words, sizeof words, "CLUSTER SETSLOT %d NODE %s", slot, to);
    redis_expect(next->port, words, "+OK");
    tell_all(words);
    assert_int_equal(teach_in_time(&somas[1], 22), BEFORE + 3);
    assert_int_equal(teach_in_time(&somas[0], 23), BEFORE + 4);
    redis_expect(next->port, "HGET soma:{fashion}:head last", "24");
    expect_same_digest(&somas[0], &somas[1], BEFORE + 4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_journal_is_on_its_node),
        cmocka_unit_test(a_node_alone_says_what_is_wanted),
        cmocka_unit_test(learning_goes_on_with_the_heir),
        cmocka_unit_test(learning_goes_on_when_the_journal_moves),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
