/* Challengers: models that are forked and taught on their own, through restarts
 * and kill -9. */
#include "tests/http/forks.h"

#include <curl/curl.h>

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
        TEST(keys_stay_with_their_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
