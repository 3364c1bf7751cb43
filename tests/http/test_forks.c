/* Challengers: models that are forked, taught on their own, promoted and taken
 * away, through restarts and kill -9, and while others use them.
 *
 * SOMA_FORK_ROUNDS says how often models come and go under load (24; 10 where
 * ThreadSanitizer watches).
 */
#include "tests/http/server.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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

static void
start(const char *const *arguments)
{
    start_server(&s, arguments);
    wait_until_ready(&s);
}

/* A server of its own for each test, on an empty folder. */
static int
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

static int
tear_down(void **state)
{
    char command[64];
    (void)state;
    if (getenv("SOMA_URL"))
        return 0;
    int code = stop_server(&s);
    snprintf(command, sizeof command, "rm -rf %s", data);
    return code ? code : system(command);
}

/* ---- What is asked again and again ---- */

static answer
teach_as(const char *model, int image, int label, const char *query)
{
    char path[200];
    snprintf(path, sizeof path, "/models/%s/train?label=%d%s", model, label,
             query);
    return ask(&s, NULL, path, "application/octet-stream",
               fashion_images() + (size_t)image * PIXELS, PIXELS);
}

static void
teach(const char *model, int image)
{
    expect_ok(teach_as(model, image, fashion_labels()[image], ""));
}

/* Labels that are wrong, at a rate that does harm. */
static void
spoil(const char *model, int count)
{
    for (int i = 0; i < count; i++)
        expect_ok(teach_as(model, 100 + i, (fashion_labels()[100 + i] + 1) % 10,
                           "&learning_rate=1"));
}

static answer
fork_as(const char *model, const char *name)
{
    char path[200];
    snprintf(path, sizeof path, "/models/%s/fork", model);
    return post_json(&s, path, json_pack("{s:s}", "as", name));
}

static answer
promote(const char *model, const char *from, bool force)
{
    char path[200];
    snprintf(path, sizeof path, "/models/%s/promote", model);
    return post_json(
        &s, path, json_pack("{s:s, s:b}", "from", from, "force", (int)force));
}

static answer
roll_back(const char *model, int version)
{
    char path[200];
    snprintf(path, sizeof path, "/models/%s/rollback", model);
    return post_json(&s, path, json_pack("{s:i}", "version", version));
}

static answer
take_away(const char *model)
{
    char path[200];
    snprintf(path, sizeof path, "/models/%s", model);
    return ask(&s, "DELETE", path, NULL, NULL, 0);
}

static json_t *
describe(const char *model)
{
    char path[200];
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

static state
state_of(const char *model)
{
    state now;
    json_t *json = describe(model);
    now.version = (int)whole_of(json, "version");
    snprintf(now.digest, sizeof now.digest, "%s", text_of(json, "digest"));
    json_decref(json);
    return now;
}

static void
expect_state(const char *model, state expected)
{
    state now = state_of(model);
    assert_int_equal(now.version, expected.version);
    assert_string_equal(now.digest, expected.digest);
}

static bool
there_is(const char *format, const char *model)
{
    char path[200], name[160];
    snprintf(name, sizeof name, "%s%s", model, format);
    snprintf(path, sizeof path, "%s/%s", data, name);
    return access(path, F_OK) == 0;
}

/* What `soma replay` makes of a model's journal alone. */
static void
expect_replay(const char *model, const char *digest)
{
    char text[8192];
    int code = soma_says(text, sizeof text, "replay %s/%s.db", data, model);
    if (code || !strstr(text, digest))
        fail_msg("%s: the server has %s, the replay says (%d): %s", model,
                 digest, code, text);
}

/* ---- Forks ---- */

static void
a_fork_begins_as_its_source(void **unused)
{
    (void)unused;
    if (foreign_server("forks"))
        return;
    state untaught = state_of("fashion");
    answer a = fork_as("fashion", "b");
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(a.json, "model"), "b");
    assert_string_equal(text_of(a.json, "fork_of"), "fashion");
    assert_int_equal(whole_of(a.json, "of_version"), 0);
    free_answer(&a);
    expect_state("b", untaught);
    json_t *json = describe("b");
    assert_string_equal(text_of(json, "fork_of"), "fashion");
    assert_int_equal(whole_of(json, "examples"), 0);
    json_t *source = describe("fashion");
    assert_null(json_object_get(source, "fork_of"));
    assert_true(json_equal(json_object_get(json, "layers"),
                           json_object_get(source, "layers")));
    assert_true(json_equal(json_object_get(json, "classes"),
                           json_object_get(source, "classes")));
    assert_true(json_equal(json_object_get(json, "input"),
                           json_object_get(source, "input")));
    json_decref(source);
    json_decref(json);
    /* It predicts the very same bytes, but for its name. */
    a = ask(&s, NULL, "/models/b/predict", "application/octet-stream",
            fashion_images(), PIXELS);
    answer b = ask(&s, NULL, "/models/fashion/predict",
                   "application/octet-stream", fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    assert_string_equal(strstr(a.body, "\"version\""),
                        strstr(b.body, "\"version\""));
    free_answer(&a);
    free_answer(&b);
    /* Each learns on its own. */
    teach("b", 0);
    expect_state("fashion", untaught);
    assert_false(there_is(".db", "fashion"));
    state taught = state_of("b");
    assert_int_equal(taught.version, 1);
    assert_string_not_equal(taught.digest, untaught.digest);
    teach("fashion", 1);
    expect_state("b", taught);
}

static void
a_fork_has_what_its_source_had_learned(void **unused)
{
    (void)unused;
    if (foreign_server("forks"))
        return;
    for (int i = 0; i < 5; i++)
        teach("fashion", i);
    state source = state_of("fashion");
    answer a = fork_as("fashion", "b");
    assert_int_equal(whole_of(a.json, "of_version"), 5);
    free_answer(&a);
    state fork = state_of("b");
    assert_string_equal(fork.digest, source.digest);
    assert_int_equal(fork.version, 1); /* one record: that state */
    json_t *json = describe("b"), *of = describe("fashion");
    assert_int_equal(whole_of(json, "examples"), 5);
    assert_true(json_equal(json_object_get(json, "progressive"),
                           json_object_get(of, "progressive")));
    assert_int_equal(
        whole_of(json_object_get(json, "learning"), "stream_memory"), 5);
    json_decref(json);
    json_decref(of);
    a = get(&s, "/models/b/examples");
    const json_t *list = json_object_get(a.json, "examples");
    assert_int_equal(json_array_size(list), 1);
    const json_t *from = json_object_get(json_array_get(list, 0), "promoted");
    assert_string_equal(text_of(from, "from"), "fashion");
    assert_int_equal(whole_of(from, "version"), 5);
    free_answer(&a);
    teach("b", 5);
    expect_state("fashion", source);
    fork = state_of("b");
    teach("fashion", 6);
    expect_state("b", fork);
    /* It can go back to its beginning: the model file, and what it took over;
     * and no farther on than it has come. */
    expect_ok(roll_back("b", 1));
    assert_string_equal(state_of("b").digest, source.digest);
    expect_ok(roll_back("b", 0));
    expect_ok(fork_as("neuron", "other"));
    json = describe("b");
    assert_int_equal(whole_of(json, "examples"), 0);
    json_decref(json);
    expect_error(roll_back("b", 5), 404, "not_found", "the newest is 4");
}

/* Also that a fork outlives what it is one of. */
static void
a_fork_may_be_forked(void **unused)
{
    (void)unused;
    if (foreign_server("forks"))
        return;
    teach("fashion", 0);
    expect_ok(fork_as("fashion", "b"));
    teach("b", 1);
    expect_ok(fork_as("b", "c"));
    state b = state_of("b");
    assert_string_equal(state_of("c").digest, b.digest);
    teach("c", 2);
    expect_state("b", b);
    json_t *json = describe("c");
    assert_string_equal(text_of(json, "fork_of"), "b");
    json_decref(json);
    state c = state_of("c");
    expect_ok(take_away("b"));
    expect_state("c", c);
    assert_int_equal(stop_server(&s), 0);
    start(plain);
    expect_state("c", c);
    expect_error(get(&s, "/models/b"), 404, "unknown_model", "\"b\"");
    answer a = promote("fashion", "c", true);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    assert_string_equal(state_of("fashion").digest, c.digest);
    expect_replay("c", c.digest);
}

static void
forks_outlive_the_server(void **unused)
{
    (void)unused;
    if (foreign_server("restarts"))
        return;
    expect_ok(fork_as("fashion", "untaught"));
    teach("fashion", 0);
    expect_ok(fork_as("fashion", "copy"));
    expect_ok(fork_as("fashion", "own"));
    for (int i = 1; i < 8; i++)
        teach("own", i);
    static const char *const names[] = {"fashion", "untaught", "copy", "own"};
    for (int crash = 0; crash < FEW; crash++) {
        state before[4];
        for (int i = 0; i < 4; i++)
            before[i] = state_of(names[i]);
        if (crash)
            kill_server(&s);
        else
            assert_int_equal(stop_server(&s), 0);
        start(plain);
        for (int i = 0; i < 4; i++)
            expect_state(names[i], before[i]);
        json_t *json = describe("own");
        assert_string_equal(text_of(json, "fork_of"), "fashion");
        json_decref(json);
        teach("own", 10 + crash); /* and the next kill finds it */
        expect_ok(fork_as("own", crash ? "crash" : "term"));
        if (crash)
            expect_ok(take_away("crash"));
    }
    for (int i = 2; i < 4; i++)
        expect_replay(names[i], state_of(names[i]).digest);
}

/* The other commands know what a fork's journal is. */
static void
its_journal_can_be_read(void **unused)
{
    char text[16384];
    (void)unused;
    if (foreign_server("soma journal"))
        return;
    expect_ok(fork_as("fashion", "new"));
    for (int i = 0; i < 3; i++)
        teach("fashion", i);
    expect_ok(fork_as("fashion", "b"));
    teach("b", 3);
    teach("b", 4);
    spoil("fashion", 1);
    expect_ok(promote("fashion", "b", true));
    teach("fashion", 5);
    static const struct {
        const char *model, *listed, *checked;
        int lines; /* of the export, its head among them */
    } cases[] = {
        {"new", "a fork of fashion", "good: 0 examples, version 0", 1},
        {"b", "the state of fashion, version 3", "good: 2 examples, version 3",
         3},
        {"fashion", "the state of b, version 3", "good: 5 examples, version 6",
         6},
    };
    for (int stopped = 0; stopped < 2; stopped++) {
        for (size_t i = 0; i < 3; i++) {
            const char *m = cases[i].model;
            assert_int_equal(
                soma_says(text, sizeof text, "journal list %s/%s.db", data, m),
                0);
            if (!strstr(text, cases[i].listed))
                fail_msg("%s: no \"%s\" in %s", m, cases[i].listed, text);
            assert_int_equal(
                soma_says(text, sizeof text, "journal check %s/%s.db", data, m),
                0);
            if (!strstr(text, cases[i].checked))
                fail_msg("%s: no \"%s\" in %s", m, cases[i].checked, text);
            for (int k = 0; k < 2; k++)
                if (soma_says(text, sizeof text,
                              "journal export %s/%s.db --out %s/%s.%s", data, m,
                              data, m, k ? "safetensors" : "csv"))
                    fail_msg("%s: %s", m, text);
            char path[100], c;
            int lines = 0;
            snprintf(path, sizeof path, "%s/%s.csv", data, m);
            FILE *file = fopen(path, "r");
            while (fread(&c, 1, 1, file) == 1)
                lines += c == '\n';
            fclose(file);
            assert_int_equal(lines, cases[i].lines);
            if (!stopped)
                expect_replay(m, state_of(m).digest);
        }
        if (!stopped)
            assert_int_equal(stop_server(&s), 0);
    }
    /* A version of before the promotion, and one of after it. */
    assert_int_equal(
        soma_says(text, sizeof text, "replay %s/fashion.db --version 4", data),
        0);
    assert_int_equal(
        soma_says(text, sizeof text, "replay %s/fashion.db --version 6", data),
        0);
    assert_int_equal(soma_says(text, sizeof text,
                               "replay %s/b.db --version 1 --out "
                               "%s/one.safetensors",
                               data, data),
                     0);
    assert_int_equal(
        soma_says(text, sizeof text, "inspect %s/one.safetensors", data), 0);
    start(plain);
}

/* ---- What is refused ---- */

static void
names_are_checked(void **unused)
{
    (void)unused;
    if (foreign_server("forks"))
        return;
    static const char *const strings[] = {
        "", ".", "..", ".b", "a/b", "a b", "../b", "b\n", "\xc3\xa9", "a%b"};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        expect_error(fork_as("fashion", strings[i]), 400, "bad_argument",
                     "\"as\"");
    char name[300];
    memset(name, 'n', sizeof name);
    name[129] = '\0';
    expect_error(fork_as("fashion", name), 400, "bad_argument", "1 to 128");
    name[129] = 'n';
    name[299] = '\0';
    expect_error(fork_as("fashion", name), 400, "bad_model", "\"as\"");
    static const char *const bodies[] = {"{}",
                                         "{\"as\": 3}",
                                         "{\"as\": null}",
                                         "{\"as\": [\"b\"]}",
                                         "{\"as\": [1, 2]}",
                                         "{\"as\": true}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        expect_error(post(&s, "/models/fashion/fork", bodies[i]), 400,
                     "bad_model", "\"as\"");
    expect_error(post(&s, "/models/fashion/fork", "{\"as\": "), 400,
                 "malformed_json", "");
    expect_error(ask(&s, NULL, "/models/fashion/fork", "image/png",
                     "{\"as\": \"b\"}", 11),
                 415, "unsupported_type", "application/json");
    expect_error(get(&s, "/models/fashion/fork"), 405, "method_not_allowed",
                 "POST");
    expect_error(fork_as("frog", "b"), 404, "unknown_model", "frog");
    expect_error(fork_as("fashion", "mnist"), 409, "conflict", "\"mnist\"");
    expect_error(fork_as("fashion", "fashion"), 409, "conflict", "\"fashion\"");
    /* The longest name, and names that look like files of others. */
    name[128] = '\0';
    expect_ok(fork_as("neuron", name));
    expect_ok(fork_as("neuron", "fashion.db"));
    expect_ok(fork_as("neuron", "fashion.db.fork"));
    expect_ok(fork_as("neuron", "soma.lock"));
    teach("fashion", 0);
    expect_ok(teach_as("fashion.db", 0, 1, ""));
    expect_error(fork_as("fashion", "fashion.db"), 409, "conflict",
                 "\"fashion.db\"");
    state fashion = state_of("fashion");
    kill_server(&s);
    start(plain);
    expect_state("fashion", fashion);
    json_t *json = describe("fashion.db");
    assert_string_equal(text_of(json, "fork_of"), "neuron");
    json_decref(json);
    json = describe(name);
    json_decref(json);
    assert_false(there_is(".db", "b"));
}

static void
without_a_folder_there_are_no_forks(void **unused)
{
    static const char *const memory[] = {NULL};
    (void)unused;
    if (foreign_server("a server without --data"))
        return;
    assert_int_equal(stop_server(&s), 0);
    start(memory);
    teach("fashion", 0);
    expect_error(fork_as("fashion", "b"), 409, "conflict", "--data");
    expect_error(take_away("fashion"), 409, "conflict", "is no fork");
}

/* More models than there is room for: nothing of the one too many stays, and
 * the server comes up again with all others. */
static void
too_many_are_refused(void **unused)
{
    char models[200], command[300];
    const char *const one[] = {"--models", models, "--data", data, NULL};
    (void)unused;
    if (foreign_server("a server of its own") || WATCHED)
        return; /* hundreds of threads take long to watch */
    const char *folder = getenv("SOMA_MODELS");
    snprintf(models, sizeof models, "%s/neuron.safetensors",
             folder ? folder : "models");
    expect_ok(fork_as("neuron", "f1"));
    assert_int_equal(stop_server(&s), 0);
    /* A fork is its journal, whatever its name: so a copy is one more. */
    snprintf(command, sizeof command,
             "cd %s && for i in $(seq 2 254); do cp f1.db f$i.db; done", data);
    assert_int_equal(system(command), 0);
    start(one);
    expect_ok(fork_as("neuron", "f255"));
    expect_error(fork_as("neuron", "f256"), 413, "too_large", "256");
    assert_false(there_is(".db", "f256"));
    assert_false(there_is(".db.fork", "f256"));
    kill_server(&s);
    start(one);
    answer a = get(&s, "/models");
    assert_int_equal(json_array_size(json_object_get(a.json, "models")), 256);
    free_answer(&a);
    /* One that goes makes room. */
    expect_ok(take_away("f7"));
    expect_ok(fork_as("neuron", "f256"));
    expect_error(fork_as("neuron", "f7"), 413, "too_large", "256");
}

/* ---- Promotion ---- */

static void
only_better_ones_are_promoted(void **unused)
{
    (void)unused;
    if (foreign_server("promotion"))
        return;
    expect_ok(fork_as("fashion", "idle"));
    expect_error(promote("fashion", "idle", false), 409, "conflict",
                 "has learned nothing");
    expect_error(promote("fashion", "idle", true), 409, "conflict",
                 "has learned nothing");
    expect_ok(fork_as("fashion", "worse"));
    spoil("worse", 5);
    /* A copy is as good as its source: that is not better. */
    teach("fashion", 0);
    expect_ok(fork_as("fashion", "same"));
    state before = state_of("fashion");
    expect_error(promote("fashion", "same", false), 409, "conflict",
                 "is not better: of 500 guard examples");
    answer a = promote("fashion", "worse", false);
    assert_int_equal(a.status, 409);
    const char *text = text_of(a.json, "error");
    int all, version;
    double theirs, their_loss, own, own_loss;
    if (sscanf(text,
               "worse, version %d, is not better: of %d guard examples it "
               "reads %lf %% (loss %lf), fashion reads %lf %% (loss %lf)",
               &version, &all, &theirs, &their_loss, &own, &own_loss) != 6)
        fail_msg("%s", text);
    assert_int_equal(version, 5);
    assert_true(theirs < own && their_loss > own_loss);
    free_answer(&a);
    /* Nothing of it is recorded. */
    expect_state("fashion", before);
    a = get(&s, "/models/fashion/examples");
    assert_int_equal(json_array_size(json_object_get(a.json, "examples")), 1);
    free_answer(&a);
    kill_server(&s);
    start(plain);
    expect_state("fashion", before);
    expect_replay("fashion", before.digest);
}

static void
only_forks_of_the_same_file_are_promoted(void **unused)
{
    (void)unused;
    if (foreign_server("promotion"))
        return;
    teach("fashion", 0);
    teach("mnist", 0);
    expect_ok(fork_as("mnist", "m"));
    state before = state_of("fashion");
    for (int force = 0; force < 2; force++) {
        expect_error(promote("fashion", "mnist", force), 409, "conflict",
                     "did not begin with the same model file");
        expect_error(promote("fashion", "m", force), 409, "conflict",
                     "did not begin with the same model file");
        expect_error(promote("fashion", "cifar10", force), 409, "conflict",
                     "did not begin with the same model file");
        expect_error(promote("fashion", "fashion", force), 400, "bad_argument",
                     "itself");
        expect_error(promote("fashion", "frog", force), 404, "unknown_model",
                     "frog");
        expect_error(promote("frog", "fashion", force), 404, "unknown_model",
                     "frog");
    }
    static const struct {
        const char *body, *code;
    } cases[] = {
        {"{}", "bad_model"},
        {"{\"from\": 1}", "bad_model"},
        {"{\"from\": null}", "bad_model"},
        {"{\"from\": [1]}", "bad_model"},
        {"{\"from\": {\"a\": 1}}", "bad_model"},
        {"{\"from\": \"m\", \"force\": 1}", "bad_force"},
        {"{\"from\": \"m\", \"force\": \"true\"}", "bad_force"},
        {"{\"from\": \"m\", \"force\": [1]}", "bad_force"},
        {"{\"from\": \"m\", \"force\": {}}", "bad_force"},
        {"{\"from\": \"m\"", "malformed_json"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_error(post(&s, "/models/fashion/promote", cases[i].body), 400,
                     cases[i].code, "");
    expect_error(ask(&s, NULL, "/models/fashion/promote",
                     "application/octet-stream", "x", 1),
                 415, "unsupported_type", "application/json");
    expect_error(get(&s, "/models/fashion/promote"), 405, "method_not_allowed",
                 "POST");
    expect_state("fashion", before);
}

static void
a_better_one_is_taken_over(void **unused)
{
    (void)unused;
    if (foreign_server("promotion"))
        return;
    expect_ok(fork_as("fashion", "b"));
    for (int i = 0; i < 4; i++)
        teach("b", i);
    spoil("fashion", 8);
    state harmed = state_of("fashion"), better = state_of("b");
    answer a = promote("fashion", "b", false);
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(a.json, "model"), "fashion");
    assert_int_equal(whole_of(a.json, "version"), 9);
    const json_t *said = json_object_get(a.json, "promoted");
    assert_string_equal(text_of(said, "from"), "b");
    assert_int_equal(whole_of(said, "version"), 4);
    double now = real_of(said, "guard_accuracy");
    assert_true(now > real_of(said, "guard_accuracy_before"));
    assert_true(now > 0.8 && now <= 1);
    free_answer(&a);
    state taken = state_of("fashion");
    assert_int_equal(taken.version, 9);
    assert_string_equal(taken.digest, better.digest);
    expect_state("b", better);
    kill_server(&s);
    start(plain);
    expect_state("fashion", taken);
    expect_state("b", better);
    expect_replay("fashion", taken.digest);
    /* It can be undone, and that undone. */
    expect_ok(roll_back("fashion", 8));
    assert_string_equal(state_of("fashion").digest, harmed.digest);
    expect_ok(roll_back("fashion", 9));
    assert_string_equal(state_of("fashion").digest, better.digest);
    expect_ok(roll_back("fashion", 10));
    assert_string_equal(state_of("fashion").digest, harmed.digest);
    expect_ok(roll_back("fashion", 9));
    kill_server(&s);
    start(plain);
    assert_string_equal(state_of("fashion").digest, better.digest);
    a = get(&s, "/models/fashion/examples?after=8&limit=1");
    said = json_object_get(
        json_array_get(json_object_get(a.json, "examples"), 0), "promoted");
    assert_string_equal(text_of(said, "from"), "b");
    assert_int_equal(whole_of(said, "version"), 4);
    free_answer(&a);
    /* From here on each learns on its own again. */
    teach("b", 20);
    assert_string_equal(state_of("fashion").digest, better.digest);
    teach("fashion", 21);
    expect_replay("fashion", state_of("fashion").digest);
    expect_replay("b", state_of("b").digest);
}

static void
force_promotes_what_is_worse(void **unused)
{
    (void)unused;
    if (foreign_server("promotion"))
        return;
    expect_ok(fork_as("fashion", "b"));
    spoil("b", 5);
    expect_error(promote("fashion", "b", false), 409, "conflict",
                 "is not better");
    assert_false(there_is(".db", "fashion") &&
                 state_of("fashion").version != 0);
    answer a = promote("fashion", "b", true);
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "version"), 1);
    const json_t *said = json_object_get(a.json, "promoted");
    assert_true(real_of(said, "guard_accuracy") <
                real_of(said, "guard_accuracy_before"));
    free_answer(&a);
    assert_string_equal(state_of("fashion").digest, state_of("b").digest);
    /* Champion and challenger may change places: the other way round. */
    expect_ok(roll_back("fashion", 0));
    teach("fashion", 0);
    expect_ok(promote("b", "fashion", false));
    assert_string_equal(state_of("fashion").digest, state_of("b").digest);
    expect_replay("b", state_of("b").digest);
    /* A model without guard examples has nothing to compare by. */
    expect_ok(fork_as("neuron", "n"));
    expect_ok(teach_as("n", 0, 1, ""));
    expect_error(promote("neuron", "n", false), 409, "conflict", "--guard");
    a = promote("neuron", "n", true);
    assert_int_equal(a.status, 200);
    assert_null(
        json_object_get(json_object_get(a.json, "promoted"), "guard_accuracy"));
    free_answer(&a);
    assert_string_equal(state_of("neuron").digest, state_of("n").digest);
}

/* Two names for one file, and no folder: a promotion in memory. */
static void
it_works_without_a_journal_too(void **unused)
{
    char command[400];
    const char *const memory[] = {"--models", data, NULL};
    (void)unused;
    if (foreign_server("a server of its own"))
        return;
    const char *folder = getenv("SOMA_MODELS");
    folder = folder ? folder : "models";
    snprintf(command, sizeof command,
             "cp %s/fashion.safetensors %s/one.safetensors && "
             "cp %s/fashion.safetensors %s/two.safetensors",
             folder, data, folder, data);
    assert_int_equal(stop_server(&s), 0);
    assert_int_equal(system(command), 0);
    start(memory);
    state file = state_of("one");
    teach("two", 0);
    teach("one", 1);
    state first = state_of("one");
    expect_ok(promote("one", "two", true));
    assert_string_equal(state_of("one").digest, state_of("two").digest);
    teach("one", 2);
    state last = state_of("one");
    assert_int_equal(last.version, 3);
    expect_ok(roll_back("one", 1));
    assert_string_equal(state_of("one").digest, first.digest);
    expect_ok(roll_back("one", 3));
    assert_string_equal(state_of("one").digest, last.digest);
    expect_ok(roll_back("one", 0));
    assert_string_equal(state_of("one").digest, file.digest);
}

/* ---- Removal ---- */

static void
a_fork_can_be_taken_away(void **unused)
{
    char text[4096];
    (void)unused;
    if (foreign_server("DELETE"))
        return;
    teach("fashion", 0);
    expect_ok(fork_as("fashion", "b"));
    teach("b", 1);
    answer a = take_away("b");
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(a.json, "model"), "b");
    assert_true(json_is_true(json_object_get(a.json, "removed")));
    free_answer(&a);
    expect_error(get(&s, "/models/b"), 404, "unknown_model", "\"b\"");
    expect_error(teach_as("b", 0, 1, ""), 404, "unknown_model", "\"b\"");
    expect_error(ask(&s, NULL, "/models/b/predict", "application/octet-stream",
                     fashion_images(), PIXELS),
                 404, "unknown_model", "\"b\"");
    expect_error(take_away("b"), 404, "unknown_model", "\"b\"");
    expect_error(promote("fashion", "b", true), 404, "unknown_model", "\"b\"");
    expect_error(roll_back("b", 0), 404, "unknown_model", "\"b\"");
    a = get(&s, "/metrics");
    assert_null(strstr(a.body, "model=\"b\""));
    free_answer(&a);
    assert_false(there_is(".db", "b"));
    assert_false(there_is(".db-wal", "b"));
    assert_true(there_is(".db.old-0", "b"));
    assert_int_equal(
        soma_says(text, sizeof text, "journal check %s/b.db.old-0", data), 0);
    assert_non_null(strstr(text, "good: 1 examples, version 2"));
    /* The name is free again, for any model. */
    expect_ok(fork_as("neuron", "b"));
    json_t *json = describe("b");
    assert_string_equal(text_of(json, "fork_of"), "neuron");
    json_decref(json);
    expect_ok(take_away("b"));
    assert_true(there_is(".db.old-1", "b"));
    expect_ok(fork_as("fashion", "b"));
    expect_ok(fork_as("fashion", "c"));
    expect_ok(take_away("b"));
    kill_server(&s);
    start(plain);
    expect_error(get(&s, "/models/b"), 404, "unknown_model", "\"b\"");
    json_decref(describe("c"));
    expect_error(take_away("fashion"), 409, "conflict", "is no fork");
    expect_error(take_away("frog"), 404, "unknown_model", "frog");
    json_decref(describe("fashion"));
}

/* GET of something large over a connection that reads nothing. */
static int
ask_and_do_not_read(const char *path)
{
    char text[200];
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)s.port)};
    int room = 4096;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    int size =
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
    assert_int_equal(send(fd, text, (size_t)size, MSG_NOSIGNAL), size);
    char first;
    assert_int_equal(recv(fd, &first, 1, 0), 1); /* the answer has begun */
    return fd;
}

/* Whoever reads slowly does not keep a model from going away. */
static void
a_slow_reader_holds_up_nobody(void **unused)
{
    (void)unused;
    if (foreign_server("DELETE"))
        return;
    expect_ok(fork_as("cifar10-deep", "large"));
    int fd = ask_and_do_not_read("/models/large/weights");
    CURL *curl = curl_easy_init();
    answer a =
        ask_over(curl, &s, "DELETE", "/models/large", NULL, NULL, 0, NULL);
    curl_easy_cleanup(curl);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    close(fd);
}

/* ---- Idempotency-Key ---- */

static answer
teach_with_key(const char *model, int image, const char *key)
{
    char path[200], header[100];
    CURL *curl = curl_easy_init();
    snprintf(path, sizeof path, "/models/%s/train?label=%d", model,
             fashion_labels()[image]);
    snprintf(header, sizeof header, "Idempotency-Key: %s", key);
    answer a =
        ask_over(curl, &s, NULL, path, "application/octet-stream",
                 fashion_images() + (size_t)image * PIXELS, PIXELS, header);
    curl_easy_cleanup(curl);
    return a;
}

static void
expect_version(answer a, int version)
{
    assert_int_equal(a.status, 200);
    assert_int_equal(whole_of(a.json, "version"), version);
    free_answer(&a);
}

/* Keys are a journal's: neither a fork nor a promotion takes them along. */
static void
keys_stay_with_their_model(void **unused)
{
    (void)unused;
    if (foreign_server("Idempotency-Key"))
        return;
    expect_version(teach_with_key("fashion", 0, "a"), 1);
    expect_ok(fork_as("fashion", "b"));
    expect_version(teach_with_key("b", 0, "a"), 2);
    expect_version(teach_with_key("b", 0, "a"), 2);
    expect_version(teach_with_key("b", 1, "only b's"), 3);
    expect_error(teach_with_key("b", 2, "a"), 409, "conflict",
                 "another request");
    expect_version(teach_with_key("fashion", 0, "a"), 1);
    expect_ok(promote("fashion", "b", true)); /* version 2 */
    expect_version(teach_with_key("fashion", 0, "a"), 1);
    expect_version(teach_with_key("fashion", 1, "only b's"), 3);
    kill_server(&s);
    start(plain);
    expect_version(teach_with_key("b", 0, "a"), 2);
    expect_version(teach_with_key("fashion", 0, "a"), 1);
    expect_version(teach_with_key("fashion", 1, "only b's"), 3);
    expect_ok(take_away("b"));
    expect_ok(fork_as("fashion", "b"));
    expect_version(teach_with_key("b", 0, "a"), 2);
}

/* ---- Under load ---- */

enum { CLIENTS = 4 };

typedef struct client {
    pthread_t thread;
    int index;
    const char *const *models; /* NULL ends them */
    long asked;
} client;

static atomic_bool over;
static atomic_long counts[600]; /* by status */
static char wrong[1000];        /* what should not have been answered */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
take_note(answer *a, const char *path)
{
    bool fine = a->status == 200 || a->status == 404 || a->status == 409 ||
                a->status == 503;
    if (a->status >= 0 && a->status < 600)
        atomic_fetch_add(&counts[a->status], 1);
    if (!fine || !a->json) {
        pthread_mutex_lock(&lock);
        if (!wrong[0])
            snprintf(wrong, sizeof wrong, "%s: status %ld: %s", path, a->status,
                     a->body ? a->body : "no answer");
        pthread_mutex_unlock(&lock);
    }
    free_answer(a);
}

/* One request of a kind that follows from its number. */
static void
ask_something(CURL *curl, client *c, const char *model)
{
    static const char bytes[] = "application/octet-stream";
    char path[200];
    const unsigned char *image =
        fashion_images() + (size_t)(c->asked % 50) * PIXELS;
    const char *method = NULL, *type = bytes;
    size_t size = PIXELS;
    switch (c->asked % 8) {
    case 0:
    case 1:
        snprintf(path, sizeof path, "/models/%s/train?label=%d", model,
                 fashion_labels()[c->asked % 50]);
        break;
    case 2: /* more than a batch: in pieces */
        snprintf(path, sizeof path, "/models/%s/predict?top_k=1", model);
        size = (size_t)200 * PIXELS;
        break;
    case 3:
        snprintf(path, sizeof path, "/models/%s", model);
        size = 0;
        break;
    case 4:
        snprintf(path, sizeof path, "/models/%s/examples?limit=3", model);
        size = 0;
        break;
    default:
        snprintf(path, sizeof path, "/models/%s/predict?remember=%d", model,
                 (int)(c->asked % 2));
    }
    answer a = ask_over(curl, &s, method, path, size ? type : NULL,
                        size ? image : NULL, size, NULL);
    take_note(&a, path);
    c->asked++;
}

static void *
be_a_client(void *arg)
{
    client *c = arg;
    CURL *curl = curl_easy_init();
    while (!atomic_load(&over))
        for (int i = 0; c->models[i]; i++)
            ask_something(curl, c, c->models[i]);
    curl_easy_cleanup(curl);
    return NULL;
}

/* Another one that makes forks, promotes them and takes them away. */
static void *
come_and_go(void *arg)
{
    CURL *curl = curl_easy_init();
    const char *name = arg;
    while (!atomic_load(&over)) {
        char path[100];
        static const char json[] = "application/json";
        answer a = ask_over(curl, &s, NULL, "/models/mnist/fork", json,
                            "{\"as\": \"b\"}", 11, NULL);
        take_note(&a, "fork");
        snprintf(path, sizeof path, "/models/%s/promote", name);
        a = ask_over(curl, &s, NULL, path, json,
                     "{\"from\": \"b\", \"force\": true}", 28, NULL);
        take_note(&a, "promote");
        a = ask_over(curl, &s, NULL, "/models", NULL, NULL, 0, NULL);
        take_note(&a, "/models");
        a = ask_over(curl, &s, "DELETE", "/models/b", NULL, NULL, 0, NULL);
        take_note(&a, "DELETE");
    }
    curl_easy_cleanup(curl);
    return NULL;
}

static void
start_clients(client clients[CLIENTS], pthread_t *rival)
{
    static const char *const names[] = {"mnist", "b", "keeps", NULL};
    static char other[] = "keeps";
    curl_global_init(CURL_GLOBAL_ALL);
    fashion_images();
    fashion_labels(); /* read once, before there are threads */
    atomic_store(&over, false);
    for (int i = 0; i < 600; i++)
        atomic_store(&counts[i], 0);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (client){.index = i, .models = names, .asked = 3 * i};
        assert_int_equal(
            pthread_create(&clients[i].thread, NULL, be_a_client, &clients[i]),
            0);
    }
    assert_int_equal(pthread_create(rival, NULL, come_and_go, other), 0);
}

static void
stop_clients(client clients[CLIENTS], pthread_t rival)
{
    atomic_store(&over, true);
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    pthread_join(rival, NULL);
}

static void
models_come_and_go_under_load(void **unused)
{
    client clients[CLIENTS];
    pthread_t rival;
    int done = 0;
    (void)unused;
    if (foreign_server("forks under load"))
        return;
    const char *wish = getenv("SOMA_FORK_ROUNDS");
    int rounds = wish ? atoi(wish) : ROUNDS;
    expect_ok(fork_as("mnist", "keeps"));
    start_clients(clients, &rival);
    for (int i = 0; i < rounds; i++) {
        static const char *const steps[] = {"fork", "promote", "delete"};
        answer a[] = {fork_as("mnist", "b"), promote("mnist", "b", i % 2),
                      take_away("b")};
        for (int k = 0; k < 3; k++) {
            done += a[k].status == 200;
            take_note(&a[k], steps[k]);
        }
    }
    stop_clients(clients, rival);
    if (wrong[0])
        fail_msg("%s", wrong);
    print_message(
        "%ld answered 200, %ld 404, %ld 409, %ld 503; %d of %d forks, "
        "promotions and removals done\n",
        counts[200], counts[404], counts[409], counts[503], done, 3 * rounds);
    assert_true(counts[200] > 100 && done > 0);
    for (int i = 0; i < 2; i++) {
        const char *model = i ? "keeps" : "mnist";
        state now = state_of(model);
        expect_replay(model, now.digest);
    }
}

/* SIGTERM, too, finds all of that under way. */
static void
the_server_ends_under_load(void **unused)
{
    client clients[CLIENTS];
    pthread_t rival;
    (void)unused;
    if (foreign_server("SIGTERM"))
        return;
    for (int round = 0; round < FEW; round++) {
        answer a = fork_as("mnist", "keeps");
        assert_true(a.status == 200 || a.status == 409);
        free_answer(&a);
        start_clients(clients, &rival);
        usleep(300000 + (unsigned)round * 70000);
        assert_int_equal(stop_server(&s), 0);
        stop_clients(clients, rival);
        wrong[0] = '\0'; /* connections that were refused */
        start(plain);
        expect_replay("mnist", state_of("mnist").digest);
        expect_replay("keeps", state_of("keeps").digest);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_fork_begins_as_its_source),
        TEST(a_fork_has_what_its_source_had_learned),
        TEST(a_fork_may_be_forked),
        TEST(forks_outlive_the_server),
        TEST(its_journal_can_be_read),
        TEST(names_are_checked),
        TEST(without_a_folder_there_are_no_forks),
        TEST(too_many_are_refused),
        TEST(only_better_ones_are_promoted),
        TEST(only_forks_of_the_same_file_are_promoted),
        TEST(a_better_one_is_taken_over),
        TEST(force_promotes_what_is_worse),
        TEST(it_works_without_a_journal_too),
        TEST(a_fork_can_be_taken_away),
        TEST(a_slow_reader_holds_up_nobody),
        TEST(keys_stay_with_their_model),
        TEST(models_come_and_go_under_load),
        TEST(the_server_ends_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
