/* Challengers that are promoted: which are, and which are not. */
#include "tests/http/forks.h"

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_better_ones_are_promoted),
        TEST(only_forks_of_the_same_file_are_promoted),
        TEST(a_better_one_is_taken_over),
        TEST(force_promotes_what_is_worse),
        TEST(it_works_without_a_journal_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
