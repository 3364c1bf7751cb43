/* The simulated Redis answers as the real one does: the same random commands,
 * of the kinds that the journal gives, to both.
 */
#include "tests/replicas/redis.h"

#include "core/rng.h"
#include "tests/http/server.h"
#include "tests/simulation/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS = 16, WORD = 160, COMMANDS = 6000 };

static redis_server redis;
static redisContext *real;
static store simulated;
static soma_rng rng;

static char words[WORDS][WORD];
static int count;

static int
set_up(void **state)
{
    (void)state;
    rng = soma_rng_seed(1, 0);
    if (redis_begin(&redis))
        real = redisConnect("127.0.0.1", redis.port);
    return 0;
}

static int
tear_down(void **state)
{
    (void)state;
    if (real)
        redisFree(real);
    redis_end(&redis);
    store_clear(&simulated);
    script_end();
    return 0;
}

/* ---- Both ---- */

static void
describe(const redisReply *reply, char *to, size_t size)
{
    size_t used = strlen(to);
    if (used + 2 > size)
        return;
    to += used;
    size -= used;
    switch (reply->type) {
    case REDIS_REPLY_INTEGER:
        snprintf(to, size, "%lld ", reply->integer);
        break;
    case REDIS_REPLY_NIL:
        snprintf(to, size, "nil ");
        break;
    case REDIS_REPLY_ERROR: /* each in its own words */
        snprintf(to, size, "error ");
        break;
    case REDIS_REPLY_ARRAY:
        snprintf(to, size, "[ ");
        for (size_t i = 0; i < reply->elements; i++)
            describe(reply->element[i], to, size);
        used = strlen(to);
        snprintf(to + used, size - used, "] ");
        break;
    default:
        snprintf(to, size, "%d \"%.*s\" ", reply->type, (int)reply->len,
                 reply->str);
    }
}

static void
ask_both(void)
{
    const char *argv[WORDS];
    size_t sizes[WORDS];
    text texts[WORDS];
    char said[2][4096] = {"", ""}, line[WORDS * (WORD + 1)] = "";
    for (int i = 0; i < count; i++) {
        argv[i] = words[i];
        sizes[i] = strlen(words[i]);
        texts[i] = (text){words[i], sizes[i]};
        strcat(strcat(line, words[i]), " ");
    }
    redisReply *theirs = redisCommandArgv(real, count, argv, sizes);
    redisReply *ours = store_do(&simulated, count, texts);
    assert_non_null(theirs);
    describe(theirs, said[0], sizeof said[0]);
    describe(ours, said[1], sizeof said[1]);
    freeReplyObject(theirs);
    freeReplyObject(ours);
    if (strcmp(said[0], said[1]))
        fail_msg("%s: Redis says %s, the simulation %s", line, said[0],
                 said[1]);
}

/* ---- Commands ---- */

/* The key is one of its kind. Of the words behind it f is a field or member, n
 * a number, r a rank (but a field's name in XADD), b bytes, i an id; others
 * stand for themselves. */
static const struct {
    const char *verb, *kind, *form;
} forms[] = {
    {"SET", "s", "b"},
    {"SET", "s", "b EX n"},
    {"GET", "s", ""},
    {"APPEND", "s", "b"},
    {"STRLEN", "s", ""},
    {"GETRANGE", "s", "1 n"},
    {"GETRANGE", "s", "0 n"},
    {"EXISTS", "s", ""},
    {"DEL", "s", ""},
    {"DEL", "h", ""},
    {"EXPIRE", "s", "1000"},
    {"HSET", "h", "f b"},
    {"HSET", "h", "f b f b f n"},
    {"HSETNX", "h", "f b"},
    {"HGET", "h", "f"},
    {"HMGET", "h", "f f f"},
    {"HLEN", "h", ""},
    {"HDEL", "h", "f"},
    {"HINCRBY", "c", "f r"},
    {"ZADD", "z", "n f"},
    {"ZADD", "z", "n f"},
    {"ZREM", "z", "f"},
    {"ZCARD", "z", ""},
    {"ZRANGE", "z", "r r"},
    {"ZREVRANGE", "z", "r r"},
    {"ZRANGEBYSCORE", "z", "-inf (n LIMIT 0 n"},
    {"ZREVRANGEBYSCORE", "z", "n 0 LIMIT 0 n"},
    {"ZREMRANGEBYSCORE", "z", "n n"},
    {"XADD", "x", "i r b t n m b"},
    {"XADD", "x", "i r b t n m b"},
    {"XRANGE", "x", "- + COUNT n"},
    {"XRANGE", "x", "i i COUNT n"},
    {"XDEL", "x", "i"},
};

static int next_id = 10;

static void
add_word(const char *form, size_t size)
{
    int number = (int)soma_rng_below(&rng, 12);
    char *to = words[count++];
    char last = form[size - 1];
    if (size > 2 || (size == 2 && form[0] != '('))
        snprintf(to, WORD, "%.*s", (int)size, form);
    else if (last == 'f')
        snprintf(to, WORD, "field%d", number);
    else if (last == 'n')
        snprintf(to, WORD, "%s%d", size == 2 ? "(" : "", number + 1);
    else if (last == 'r' && strcmp(words[0], "XADD"))
        snprintf(to, WORD, "%d", number - 6);
    else if (last == 'b')
        snprintf(to, WORD, "bytes-%u", soma_rng_below(&rng, 1000));
    else if (last == 'i')
        snprintf(to, WORD, "%d-0", number ? next_id - number / 3 : ++next_id);
    else
        snprintf(to, WORD, "%.*s", (int)size, form);
}

static void
make_command(int which)
{
    const char *form = forms[which].form;
    count = 0;
    snprintf(words[count++], WORD, "%s", forms[which].verb);
    snprintf(words[count++], WORD, "key-%s%u", forms[which].kind,
             soma_rng_below(&rng, 3));
    while (*form) {
        size_t size = strcspn(form, " ");
        add_word(form, size);
        form += size + (form[size] == ' ');
    }
    next_id += !strcmp(words[0], "XADD");
}

static void
it_answers_as_redis_does(void **state)
{
    enum { FORMS = sizeof forms / sizeof *forms };
    (void)state;
    if (!real)
        return;
    for (int i = 0; i < COMMANDS; i++) {
        make_command((int)soma_rng_below(&rng, FORMS));
        ask_both();
    }
}

/* ---- Scripts ---- */

static void
scripts_do_as_in_redis(void **state)
{
    static const char *const scripts[] = {
        "return 3.7",
        "return false",
        "return true",
        "return nil",
        "return ARGV[1] .. KEYS[1]",
        "return #ARGV + #KEYS",
        "return redis.sha1hex(ARGV[1])",
        "return redis.error_reply('GONE away')",
        "return redis.call('HGET', KEYS[1], 'nothing')",
        "redis.call('HSET', KEYS[1], 'n', 5) return redis.call('HGET', "
        "KEYS[1], 'n')",
        "return redis.call('HINCRBY', KEYS[1], 'n', -2)",
        "return tonumber(redis.call('HGET', KEYS[1], 'n')) + 1",
        "redis.call('XADD', KEYS[2], '5-0', 'r', ARGV[1]) return 1",
        "redis.call('XADD', KEYS[2], '5-0', 'r', ARGV[1]) return 1",
        "return redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 1)[1][2][2]",
        "if redis.call('GET', 'none') == false then return 7 end",
        "if not redis.call('ZREVRANGE', KEYS[2] .. 'z', 1, 1)[1] then "
        "return 8 end",
        "return string.format('%.0f', 12345678901 + 1)",
    };
    (void)state;
    if (!real)
        return;
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        static const char *const rest[] = {"2", "script-h", "script-x", "arg"};
        count = 0;
        snprintf(words[count++], WORD, "EVAL");
        snprintf(words[count++], WORD, "%s", scripts[i]);
        for (int k = 0; k < 4; k++)
            snprintf(words[count++], WORD, "%s", rest[k]);
        ask_both();
    }
}

/* What is lost is as if it had never been done. */
static void
it_loses_the_last_commands(void **state)
{
    store once = {.count = 0};
    (void)state;
    for (int i = 0; i < 10; i++) {
        char number[8];
        snprintf(number, sizeof number, "%d", i);
        text set[] = {text_make("SET"), text_make("key"), text_make(number)};
        freeReplyObject(store_do(&once, 3, set));
    }
    store_lose(&once, 4);
    text get[] = {text_make("GET"), text_make("key")};
    redisReply *reply = store_do(&once, 2, get);
    assert_string_equal(reply->str, "5");
    assert_int_equal(once.logged, 6);
    freeReplyObject(reply);
    store_clear(&once);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_answers_as_redis_does),
        cmocka_unit_test(scripts_do_as_in_redis),
        cmocka_unit_test(it_loses_the_last_commands),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
