/* A disk that is full or fails, and files that are not what they should be:
 * nothing that was answered is lost, nothing is replaced in silence.
 *
 * SOMA_FAULT_STEP: every how-many-th call is tried (60); `make crash` tries
 * each.
 */
#include "tests/crash/faults.h"
#include "tests/http/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[64];
static struct faults *faults;

static int
make_folder(void **state)
{
    char path[96];
    (void)state;
    strcpy(folder, "/tmp/soma-storage-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/faults", folder);
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, sizeof *faults))
        return -1;
    faults =
        mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return faults == MAP_FAILED ? -1 : 0;
}

static int
remove_folder(void **state)
{
    char command[96];
    (void)state;
    munmap(faults, sizeof *faults);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static const char *
database(void)
{
    static char path[96];
    snprintf(path, sizeof path, "%s/fashion.db", folder);
    return path;
}

static const char *
model(void)
{
    static char path[512];
    const char *models = getenv("SOMA_MODELS");
    snprintf(path, sizeof path, "%s/fashion.safetensors",
             models ? models : "models");
    return path;
}

/* One model alone, so that starts are quick. */
static void
start(server *s)
{
    const char *arguments[] = {
        "--models", model(), "--data", folder, "--checkpoint-examples",
        "5",        NULL};
    start_server(s, arguments);
    wait_until_ready(s);
}

static answer
teach(const server *s, int image)
{
    char path[64];
    snprintf(path, sizeof path, "/train?label=%d", fashion_labels()[image]);
    return ask(s, NULL, path, "application/octet-stream",
               fashion_images() + (size_t)image * PIXELS, PIXELS);
}

static void
expect_predicts(const server *s)
{
    answer a = ask(s, NULL, "/predict", "application/octet-stream",
                   fashion_images(), PIXELS);
    assert_int_equal(a.status, 200);
    free_answer(&a);
}

static char *
digest(const server *s, json_int_t *version)
{
    answer a = get(s, "/models/fashion");
    assert_int_equal(a.status, 200);
    char *text = strdup(text_of(a.json, "digest"));
    *version = whole_of(a.json, "version");
    free_answer(&a);
    return text;
}

/* ---- Faults ---- */

/* Whether the program can be preloaded into: not with a sanitizer's runtime,
 * which must come first. */
static bool
can_preload(void)
{
    const char *program = getenv("SOMA");
    const char *build = program && strstr(program, "gcc-")     ? "sanitizer"
                        : program && strstr(program, "clang-") ? "sanitizer"
                                                               : NULL;
    if (!build && access(getenv("SOMA_PRELOAD") ? getenv("SOMA_PRELOAD")
                                                : "build/gcc/tests/crash/"
                                                  "faults.so",
                         R_OK) == 0)
        return true;
    print_message("NOT TESTED: failing system calls, in a build with "
                  "sanitizers\n");
    return false;
}

static void
start_with_faults(server *s)
{
    char path[96];
    const char *library = getenv("SOMA_PRELOAD");
    snprintf(path, sizeof path, "%s/faults", folder);
    setenv("SOMA_FAULTS", path, 1);
    setenv("LD_PRELOAD", library ? library : "build/gcc/tests/crash/faults.so",
           1);
    start(s);
    unsetenv("LD_PRELOAD");
}

static void
clear_faults(void)
{
    memset(faults, 0, sizeof *faults);
}

/* A full disk: 507, predicting goes on, learning resumes, nothing is lost. */
static void
a_full_disk(void **state)
{
    server s;
    json_int_t version, before;
    (void)state;
    if (foreign_server("a full disk") || !can_preload())
        return;
    clear_faults();
    start_with_faults(&s);
    for (int i = 0; i < 3; i++) {
        answer a = teach(&s, i);
        assert_int_equal(a.status, 200);
        free_answer(&a);
    }
    char *old = digest(&s, &before);
    faults->error = ENOSPC;
    faults->kinds = FAULT_WRITE;
    faults->sticky = 1;
    faults->fail_at = faults->calls + 1;
    for (int i = 0; i < 5; i++) {
        expect_error(teach(&s, 10 + i), 507, "disk_full", "fashion.db");
        expect_predicts(&s);
    }
    char *full = digest(&s, &version);
    assert_string_equal(old, full);
    assert_int_equal(version, before);
    clear_faults();
    for (int i = 0; i < 20; i++) {
        answer a = teach(&s, 20 + i);
        assert_int_equal(a.status, 200);
        free_answer(&a);
    }
    free(old);
    free(full);
    old = digest(&s, &before);
    assert_int_equal(before, 23);
    kill(s.pid, SIGKILL);
    waitpid(s.pid, NULL, 0);
    unlink(s.log);
    start(&s);
    full = digest(&s, &version);
    assert_string_equal(old, full);
    assert_int_equal(version, before);
    free(old);
    free(full);
    assert_int_equal(stop_server(&s), 0);
}

/* One server life: teaches until something fails and on, is killed or stopped;
 * the next one must have all that was answered, with the same weights if it
 * could still be asked. Returns whether the fault was reached. */
static bool
live_with(int kinds, int error, int n, bool sticky, long *answered,
          long *refused)
{
    server s;
    json_int_t last = 0, version;
    clear_faults();
    start_with_faults(&s);
    faults->error = error;
    faults->sticky = sticky;
    faults->fail_at = n;
    faults->kinds = kinds;
    for (int i = 0; i < 12; i++) {
        answer a = teach(&s, i);
        if (a.status == 200) {
            last = whole_of(a.json, "version");
            ++*answered;
        } else if (a.status == 503 || a.status == 507) {
            ++*refused;
        } else {
            fail_msg("status %ld: %s", a.status, a.body);
        }
        free_answer(&a);
        expect_predicts(&s);
    }
    bool reached = faults->failed > 0;
    faults->kinds = 0;
    char *before = digest(&s, &version);
    assert_true(version >= last);
    json_int_t seen = version;
    kill(s.pid, SIGKILL);
    waitpid(s.pid, NULL, 0);
    unlink(s.log);
    start(&s);
    char *after = digest(&s, &version);
    assert_true(version >= last);
    if (version == seen)
        assert_string_equal(before, after);
    free(before);
    free(after);
    answer a = teach(&s, 50);
    assert_int_equal(a.status, 200);
    free_answer(&a);
    assert_int_equal(stop_server(&s), 0);
    unlink(database());
    return reached;
}

static void
any_call_may_fail(void **state)
{
    static const struct {
        int kinds, error;
        bool sticky;
        const char *name;
    } rows[] = {{FAULT_WRITE, EIO, false, "a write"},
                {FAULT_SYNC, EIO, false, "an fsync"},
                {FAULT_SYNC, EIO, true, "all fsyncs"},
                {FAULT_RENAME | FAULT_OPEN, EACCES, false, "a rename or open"},
                {FAULT_WRITE | FAULT_SYNC, ENOSPC, true, "all for no space"}};
    (void)state;
    if (foreign_server("failing calls") || !can_preload())
        return;
    const char *text = getenv("SOMA_FAULT_STEP");
    int step = text ? atoi(text) : 60;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        long answered = 0, refused = 0;
        int rounds = 0;
        for (int n = 1;; n += n < 4 ? 1 : step) {
            rounds++;
            if (!live_with(rows[i].kinds, rows[i].error, n, rows[i].sticky,
                           &answered, &refused))
                break;
        }
        print_message("%s fails: %d rounds, %ld answered, %ld refused, 0 "
                      "lost\n",
                      rows[i].name, rounds, answered, refused);
        assert_true(rounds > 1);
    }
}

/* ---- Files that are not what they should be ---- */

static unsigned char *
read_database(size_t *size)
{
    struct stat st;
    FILE *file = fopen(database(), "rb");
    assert_non_null(file);
    fstat(fileno(file), &st);
    unsigned char *bytes = malloc((size_t)st.st_size);
    *size = fread(bytes, 1, (size_t)st.st_size, file);
    fclose(file);
    return bytes;
}

static void
write_database(const unsigned char *bytes, size_t size)
{
    FILE *file = fopen(database(), "wb");
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* The server must end with code 1 and say `part`, and leave the file. */
static void
refuses(const unsigned char *bytes, size_t size, const char *part)
{
    const char *arguments[] = {"serve", "--listen", "127.0.0.1:0", "--models",
                               model(), "--data",   folder,        NULL};
    char text[8192];
    size_t after;
    write_database(bytes, size);
    int code = run_soma(arguments, text, sizeof text);
    if (code != 1 || !strstr(text, part) || !strstr(text, "fashion.db"))
        fail_msg("expected code 1 and \"%s\", got %d: %s", part, code, text);
    unsigned char *left = read_database(&after);
    assert_int_equal(after, size);
    assert_memory_equal(left, bytes, size);
    free(left);
}

static void
damaged_journals_are_refused(void **state)
{
    static const unsigned char foreign[] = "this is no database at all, "
                                           "though it is long enough to "
                                           "hold a header of one hundred "
                                           "bytes, which SQLite looks for";
    server s;
    char command[256];
    size_t size, other;
    (void)state;
    if (foreign_server("damaged journals"))
        return;
    unlink(database());
    start(&s);
    for (int i = 0; i < 8; i++) {
        answer a = teach(&s, i);
        assert_int_equal(a.status, 200);
        free_answer(&a);
    }
    assert_int_equal(stop_server(&s), 0);
    unsigned char *good = read_database(&size);
    refuses(good, 0, "empty");
    refuses(foreign, sizeof foreign, "not a database");
    for (size_t at = 100; at < size; at += size / 9)
        refuses(good, at, "damaged");
    /* Another SQLite database. */
    unlink(database());
    snprintf(command, sizeof command,
             "sqlite3 %s 'CREATE TABLE t(x); INSERT INTO t VALUES (1)'",
             database());
    if (system(command))
        fail_msg("sqlite3 is missing");
    unsigned char *foreign_database = read_database(&other);
    refuses(foreign_database, other, "no journal of soma's");
    /* A pixel that flipped: only the record's sum can know. */
    write_database(good, size);
    snprintf(command, sizeof command,
             "sqlite3 %s \"UPDATE records SET x = zeroblob(784) WHERE seq = "
             "7; DELETE FROM checkpoints; PRAGMA wal_checkpoint(TRUNCATE)\" "
             ">/dev/null",
             database());
    assert_int_equal(system(command), 0);
    unsigned char *flipped = read_database(&other);
    refuses(flipped, other, "record 7 is damaged");
    /* A record that is gone. */
    write_database(good, size);
    snprintf(command, sizeof command,
             "sqlite3 %s \"DELETE FROM records WHERE seq = 4\"", database());
    assert_int_equal(system(command), 0);
    unsigned char *gap = read_database(&other);
    refuses(gap, other, "are there");
    free(flipped);
    free(gap);
    free(foreign_database);
    /* And the good one still is. */
    write_database(good, size);
    free(good);
    json_int_t version;
    start(&s);
    free(digest(&s, &version));
    assert_int_equal(version, 8);
    assert_int_equal(stop_server(&s), 0);
}

static void
a_second_server_refuses(void **state)
{
    const char *arguments[] = {"serve", "--listen", "127.0.0.1:0", "--models",
                               model(), "--data",   folder,        NULL};
    server s;
    char text[4096];
    (void)state;
    if (foreign_server("two servers"))
        return;
    start(&s);
    assert_int_equal(run_soma(arguments, text, sizeof text), 1);
    assert_non_null(strstr(text, "another soma is using it"));
    expect_predicts(&s);
    assert_int_equal(stop_server(&s), 0);
}

/* A folder that may not be written. The user nobody, where tests run as root:
 * root may write everywhere. */
static void
a_read_only_folder_is_refused(void **state)
{
    char command[1024], text[2048];
    (void)state;
    if (foreign_server("a read-only folder"))
        return;
    assert_int_equal(chmod(folder, 0555), 0);
    snprintf(command, sizeof command,
             "%s%s serve --listen 127.0.0.1:0 --models %s --data %s 2>&1; "
             "echo code $?",
             geteuid() == 0 ? "setpriv --reuid 65534 --clear-groups " : "",
             getenv("SOMA") ? getenv("SOMA") : "build/gcc/soma", model(),
             folder);
    FILE *run = popen(command, "r");
    size_t n = fread(text, 1, sizeof text - 1, run);
    text[n] = '\0';
    pclose(run);
    chmod(folder, 0700);
    if (!strstr(text, "Permission denied") || !strstr(text, "code 1"))
        fail_msg("%s", text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk),
        cmocka_unit_test(any_call_may_fail),
        cmocka_unit_test(damaged_journals_are_refused),
        cmocka_unit_test(a_second_server_refuses),
        cmocka_unit_test(a_read_only_folder_is_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
