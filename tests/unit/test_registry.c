/* server/engine/registry*.c: what a server is told to serve, and cannot. */
#include "core/io/onnx.h"
#include "server/engine/log.h"
#include "server/engine/registry_parts.h"
#include "tests/fuzz/learners.h"
#include "tests/unit/scratch.h"

static soma_error err;
static soma_checkpoint model;
static soma_registry registry;

static soma_registry_options
options_of(const char *models)
{
    return (soma_registry_options){
        .models = models,
        .recall = 10,
        .recall_seconds = 10,
        .trainer = {.learning = SOMA_LEARNING_DEFAULT,
                    .max_waiting = 10,
                    .journal_bytes = 1 << 16,
                    .checkpoint_examples = 100,
                    .checkpoint_seconds = 100}};
}

static void
write_model(const char *name)
{
    soma_bytes bytes;
    bool onnx = soma_onnx_is_name(name);
    assert_int_equal(
        onnx ? soma_onnx_build(&model, &bytes, &err)
             : soma_checkpoint_build(&model, SOMA_F32, &bytes, &err),
        SOMA_OK);
    scratch_write(name, bytes.data, bytes.size);
    soma_bytes_free(&bytes);
}

static void
refuses(const char *what, const soma_registry_options *options,
        soma_status status, const char *words)
{
    err = (soma_error){0};
    soma_status got = soma_registry_open(&registry, options, &err);
    if (got != status || !strstr(err.text, words))
        fail_msg("%s: expected status %d and \"%s\", got %d: %s", what,
                 (int)status, words, (int)got, err.text);
}

static void
opens(const soma_registry_options *options)
{
    if (soma_registry_open(&registry, options, &err))
        fail_msg("%s", err.text);
    while (soma_registry_recovered(&registry, &err) == SOMA_E_BUSY)
        usleep(1000);
}

/* ---- Model files ---- */

static void
files_that_are_refused(void **state)
{
    static char longest[160];
    static const struct {
        const char *folder, *first, *second, *models;
        soma_status status;
        const char *words;
    } rows[] = {
        {"none", NULL, NULL, "none", SOMA_E_NOT_FOUND, "no model file (*.safe"},
        {"hidden", ".m.safetensors", NULL, "hidden", SOMA_E_NOT_FOUND,
         "no model file"},
        {"other", "m.txt", NULL, "other", SOMA_E_NOT_FOUND, "no model file"},
        {"text", "m.txt", NULL, "text/m.txt", SOMA_E_ARGUMENT,
         "name ends in .safetensors or .onnx"},
        {"gone", NULL, NULL, "gone/m.onnx", SOMA_E_NOT_FOUND, "opening"},
        {"space", "a b.safetensors", NULL, "space", SOMA_E_ARGUMENT,
         "a model's name is 1 to 128 letters"},
        {"bracket", "a[1].safetensors", NULL, "bracket/a[1].safetensors",
         SOMA_E_ARGUMENT, "letters, digits, '.', '_' or '-'"},
        {"brace", "a{.safetensors", NULL, "brace", SOMA_E_ARGUMENT, "letters"},
        {"at", "a@.safetensors", NULL, "at", SOMA_E_ARGUMENT, "letters"},
        {"colon", "a:.safetensors", NULL, "colon", SOMA_E_ARGUMENT, "letters"},
        {"bang", "a!.safetensors", NULL, "bang", SOMA_E_ARGUMENT, "letters"},
        {"long", longest, NULL, "long", SOMA_E_ARGUMENT, "1 to 128 letters"},
        {"twice", "m.safetensors", "m.onnx", "twice", SOMA_E_CONFLICT,
         "there is another file for a model \"m\"; move one of them away"},
    };
    (void)state;
    memset(longest, 'a', 129);
    strcpy(longest + 129, ".safetensors");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[400];
        scratch_folder(rows[i].folder);
        for (int k = 0; k < 2; k++) {
            const char *file = k ? rows[i].second : rows[i].first;
            snprintf(path, sizeof path, "%s/%s", rows[i].folder,
                     file ? file : "");
            if (file)
                write_model(path);
        }
        soma_registry_options options =
            options_of(scratch_path(rows[i].models));
        refuses(rows[i].folder, &options, rows[i].status, rows[i].words);
    }
    scratch_folder("damaged");
    const char *path = scratch_text("damaged/m.safetensors", "no such thing");
    soma_registry_options options = options_of(path);
    refuses("damage", &options, SOMA_E_FORMAT, path);
}

static void
one_file_of_a_folder(void **state)
{
    (void)state;
    scratch_folder("both");
    write_model("both/one.safetensors");
    write_model("both/two.onnx");
    soma_registry_options options =
        options_of(scratch_path("both/one.safetensors"));
    char path[PATH_MAX];
    opens(&options);
    assert_non_null(soma_registry_look_up(&registry, "one"));
    assert_null(soma_registry_look_up(&registry, "two"));
    assert_true(soma_registry_path(&registry, "one", path, sizeof path));
    assert_string_equal(path, options.models);
    assert_false(soma_registry_path(&registry, "on", path, sizeof path));
    assert_false(soma_registry_path(&registry, "two", path, sizeof path));
    assert_false(soma_registry_path(&registry, "../one", path, sizeof path));
    assert_false(soma_registry_path(&registry, "one", path, 5));
    char **files = soma_registry_files(&registry);
    assert_string_equal(files[0], "one");
    assert_null(files[1]);
    soma_registry_free_files(files);
    soma_registry_close(&registry);
    options = options_of(scratch_path("both"));
    opens(&options);
    soma_served *served;
    assert_int_equal(soma_registry_find(&registry, NULL, &served, &err),
                     SOMA_E_ARGUMENT);
    assert_non_null(strstr(err.text, "which model? \"model\" is missing and "
                                     "there is no default; there are: one, "
                                     "two"));
    assert_true(soma_registry_path(&registry, "new", path, sizeof path));
    assert_non_null(strstr(path, "both/new.safetensors"));
    soma_registry_close(&registry);
    options.default_model = "three";
    refuses("a default", &options, SOMA_E_NOT_FOUND,
            "--default-model: there is no model \"three\"; there are: one");
}

/* ---- Guards ---- */

static void
guards(void **state)
{
    static const struct {
        const char *guards;
        soma_status status;
        const char *words;
    } rows[] = {
        {"m", SOMA_E_ARGUMENT, "--guard: expected NAME=PATH, got \"m\""},
        {"m=", SOMA_E_ARGUMENT, "--guard: expected NAME=PATH, got \"m=\""},
        {"m,x=y", SOMA_E_ARGUMENT, "expected NAME=PATH, got \"m\""},
        {"x=y", SOMA_E_ARGUMENT, "--guard: there is no model \"x\""},
        {"mm=y", SOMA_E_ARGUMENT, "--guard: there is no model \"mm\""},
        {"m=/nowhere/g.csv", SOMA_E_NOT_FOUND, "--guard m=/nowhere/g.csv: "},
        {"m=three.csv", SOMA_E_SHAPE,
         "three.csv: examples of 3 values, the model's input has 4"},
        {"m=large.csv", SOMA_E_ARGUMENT, "label 3, the model has 3 classes"},
    };
    char folder[PATH_MAX], here[PATH_MAX], good[64];
    (void)state;
    scratch_folder("guards");
    write_model("guards/m.safetensors");
    scratch_text("guards/three.csv", "0,1,2,3\n1,4,5,6\n");
    scratch_text("guards/large.csv", "0,1,2,3,4\n3,5,6,7,8\n");
    scratch_text("guards/good.csv", "0,1,2,3,4\n2,5,6,7,8\n1,1,1,1,1\n");
    snprintf(folder, sizeof folder, "%s", scratch_path("guards"));
    soma_registry_options options = options_of(folder);
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        options.guards = rows[i].guards;
        refuses(rows[i].guards, &options, rows[i].status, rows[i].words);
    }
    snprintf(good, sizeof good, "%s", "m=good.csv,");
    options.guards = good;
    opens(&options);
    soma_served *served = soma_registry_look_up(&registry, "m");
    assert_int_equal(served->guard.count, 3);
    soma_trainer_report report;
    soma_trainer_ask(served->trainer, &report);
    assert_int_equal(report.guard, 3);
    soma_registry_close(&registry);
    assert_int_equal(chdir(here), 0);
}

/* ---- Journals that are no fork's ---- */

static void
journals_beside(void **state)
{
    soma_journal_base begin = {
        .digest = "sha256:0", .model = "x", .model_size = 1, .size = INPUTS};
    char data[PATH_MAX];
    (void)state;
    scratch_folder("served");
    write_model("served/m.safetensors");
    scratch_folder("data");
    snprintf(data, sizeof data, "%s", scratch_path("data"));
    soma_journal *journal =
        soma_journal_create(scratch_path("data/orphan.db"), &begin, &err);
    assert_non_null(journal);
    journal->backend->close(journal);
    scratch_text("data/no name.db", "passed over");
    scratch_text("data/.hidden.db", "passed over");
    soma_registry_options options = options_of(scratch_path("served"));
    options.trainer.data = data;
    opens(&options);
    soma_served *list[SOMA_MAX_MODELS];
    assert_int_equal(soma_registry_list(&registry, list), 1);
    assert_string_equal(list[0]->name, "m");
    soma_registry_close(&registry);
    /* A fork whose model is none; a journal that is none; no folder. */
    begin.origin = "m";
    journal = soma_journal_create(scratch_path("data/fork.db"), &begin, &err);
    assert_non_null(journal);
    journal->backend->close(journal);
    refuses("a fork", &options, SOMA_E_FORMAT,
            "data/fork.db: the model that it began with: 1 bytes: too short");
    scratch_text("data/fork.db", "no database at all");
    refuses("a journal", &options, SOMA_E_FORMAT, "fork.db");
    options.trainer.data = "/nowhere/at/all";
    assert_int_not_equal(soma_registry_open(&registry, &options, &err),
                         SOMA_OK);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
}

static int
set_up(void **state)
{
    soma_log_set_least(SOMA_LOG_ERROR);
    model.model = learners_model();
    return scratch_make(state);
}

static int
tear_down(void **state)
{
    soma_checkpoint_free(&model);
    return scratch_remove(state);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_are_refused),
        cmocka_unit_test(one_file_of_a_folder),
        cmocka_unit_test(guards),
        cmocka_unit_test(journals_beside),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
