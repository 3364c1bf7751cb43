/* A server whose models are forked, taught on their own, promoted and taken
 * away.
 */
#ifndef SOMA_TESTS_HTTP_FORKS_H
#define SOMA_TESTS_HTTP_FORKS_H

#include "tests/http/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __SANITIZE_THREAD__
enum { ROUNDS = 10, FEW = 2, WATCHED = true };
#else
enum { ROUNDS = 24, FEW = 3, WATCHED = false };
#endif

static char data[32];
static server s;

/* Champions are spoilt here on purpose, so the guard only warns. */
static const char *const plain[] = {
    "--data", data, "--default-model", "fashion", "--guard-action",
    "warn",   NULL};

static inline void
start(const char *const *arguments)
{
    start_server(&s, arguments);
    wait_until_ready(&s);
}

/* A server of its own for each test, on an empty folder. */
static inline int
set_up(void **state)
{
    (void)state;
    if (getenv("SOMA_URL"))
        return 0;
    strcpy(data, "/tmp/soma-forks-XXXXXX");
    if (!mkdtemp(data))
        return -1;
    start(plain);
    return 0;
}

static inline int
tear_down(void **state)
{
    (void)state;
    return stop_and_remove(&s, data);
}

/* ---- What is asked again and again ---- */

static inline answer
teach_as(const char *model, int image, int label, const char *query)
{
    char path[200];
    snprintf(path, sizeof path, "/models/%s/train?label=%d%s", model, label,
             query);
    return ask(&s, NULL, path, "application/octet-stream",
               fashion_images() + (size_t)image * PIXELS, PIXELS);
}

static inline void
teach(const char *model, int image)
{
    expect_ok(teach_as(model, image, fashion_labels()[image], ""));
}

/* Labels that are wrong, at a rate that does harm. */
static inline void
spoil(const char *model, int count)
{
    for (int i = 0; i < count; i++)
        expect_ok(teach_as(model, 100 + i, (fashion_labels()[100 + i] + 1) % 10,
                           "&learning_rate=1"));
}

static inline answer
fork_as(const char *model, const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "/models/%s/fork", model);
    return post_json(&s, path, json_pack("{s:s}", "as", name));
}

static inline answer
promote(const char *model, const char *from, bool force)
{
    char path[200];
    snprintf(path, sizeof path, "/models/%s/promote", model);
    return post_json(
        &s, path, json_pack("{s:s, s:b}", "from", from, "force", (int)force));
}

static inline answer
roll_back(const char *model, int version)
{
    char path[200];
    snprintf(path, sizeof path, "/models/%s/rollback", model);
    return post_json(&s, path, json_pack("{s:i}", "version", version));
}

static inline answer
take_away(const char *model)
{
    char path[200];
    snprintf(path, sizeof path, "/models/%s", model);
    return ask(&s, "DELETE", path, NULL, NULL, 0);
}

static inline json_t *
describe(const char *model)
{
    char path[320];
    snprintf(path, sizeof path, "/models/%s", model);
    answer a = get(&s, path);
    assert_int_equal(a.status, 200);
    json_t *json = json_incref(a.json);
    free_answer(&a);
    return json;
}

/* Version and digest of a model as it is now. */
typedef struct state {
    int version;
    char digest[80];
} state;

static inline state
state_of(const char *model)
{
    state now;
    json_t *json = describe(model);
    now.version = (int)whole_of(json, "version");
    snprintf(now.digest, sizeof now.digest, "%s", text_of(json, "digest"));
    json_decref(json);
    return now;
}

static inline void
expect_state(const char *model, state expected)
{
    state now = state_of(model);
    assert_int_equal(now.version, expected.version);
    assert_string_equal(now.digest, expected.digest);
}

static inline bool
there_is(const char *format, const char *model)
{
    char path[200], name[160];
    snprintf(name, sizeof name, "%s%s", model, format);
    snprintf(path, sizeof path, "%s/%s", data, name);
    return access(path, F_OK) == 0;
}

/* What `soma replay` makes of a model's journal alone. */
static inline void
expect_replay(const char *model, const char *digest)
{
    char text[8192];
    int code = soma_says(text, sizeof text, "replay %s/%s.db", data, model);
    if (code || !strstr(text, digest))
        fail_msg("%s: the server has %s, the replay says (%d): %s", model,
                 digest, code, text);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
