/* The file of a journal: made, opened again, moved and set aside under other
 * names; and files that are none. */
#include "tests/unit/journal_files.h"

static void
test_reopen(void **state)
{
    (void)state;
    soma_journal *j = create("again");
    fill(j);
    char *before = journal_text(j);
    assert_non_null(before);
    OK(j->backend->reopen(j, &err));
    char *after = journal_text(j);
    assert_string_equal(before, after);
    free(after);
    shut(j);
    assert_int_not_equal(access(scratch_path("again-wal"), F_OK), 0);
    /* Read only, while another writes. */
    j = open_again("again");
    soma_journal *reader = soma_journal_open(scratch_path("again"), true, &err);
    assert_non_null(reader);
    after = journal_text(reader);
    assert_string_equal(before, after);
    free(after);
    free(before);
    assert_int_equal(append_records(reader, 41, 1, &err), SOMA_E_INTERNAL);
    OK(append_records(j, 41, 3, &err));
    assert_int_equal(info_of(reader).last, 43);
    assert_int_equal(read_all(reader, 0), 43);
    OK(reader->backend->check(reader, &err));
    /* Two that write: the numbers of one are not those of the other. */
    soma_journal *other = open_again("again");
    OK(append_records(other, 44, 1, &err));
    assert_int_equal(append_records(j, 44, 1, &err), SOMA_E_CONFLICT);
    shut(reader);
    OK(j->backend->reopen(j, &err));
    assert_int_equal(info_of(j).last, 44);
    shut(other);
    shut(j);
}

static void
test_create(void **state)
{
    (void)state;
    soma_journal_base base = a_base();
    soma_journal *j;
    /* What a crash left is replaced. */
    scratch_text("here.new", "half a journal");
    scratch_text("here.new-wal", "x");
    j = create("here");
    shut(j);
    assert_int_not_equal(access(scratch_path("here.new"), F_OK), 0);
    assert_null(soma_journal_create(scratch_path("here"), &base, &err));
    assert_int_equal(err.status, SOMA_E_CONFLICT);
    /* A log whose database is gone is not given to another one. */
    scratch_text("gone-wal", "records");
    assert_null(soma_journal_create(scratch_path("gone"), &base, &err));
    assert_int_equal(err.status, SOMA_E_CONFLICT);
    assert_null(soma_journal_create(scratch_path("no/folder"), &base, &err));
    assert_int_equal(err.status, SOMA_E_IO);
    assert_null(soma_journal_open(scratch_path("none"), false, &err));
    assert_int_equal(err.status, SOMA_E_NOT_FOUND);
    assert_int_not_equal(access(scratch_path("none"), F_OK), 0);
    /* Names that mean something to SQLite. */
    char cwd[PATH_MAX];
    assert_non_null(getcwd(cwd, sizeof cwd));
    assert_int_equal(chdir(scratch), 0);
    static const char *const names[] = {":memory:", "file:x?mode=memory"};
    for (int i = 0; i < 2; i++) {
        j = soma_journal_create(names[i], &base, &err);
        assert_non_null(j);
        shut(j);
        assert_int_equal(access(names[i], F_OK), 0);
    }
    assert_int_equal(chdir(cwd), 0);
}

static void
test_foreign(void **state)
{
    (void)state;
    refuses(scratch_text("empty", ""), SOMA_E_FORMAT, "empty");
    refuses(scratch_folder("folder"), SOMA_E_FORMAT, "regular");
    refuses(scratch_text("text", "no database at all"), SOMA_E_FORMAT, "not a");
    char noise[8192];
    memset(noise, 'x', sizeof noise);
    refuses(scratch_write("noise", noise, sizeof noise), SOMA_E_FORMAT,
            "not a database");
    meddle("foreign", "CREATE TABLE t (a)");
    refuses(scratch_path("foreign"), SOMA_E_FORMAT, "no journal");
    static const struct {
        const char *sql;
        soma_status status;
        const char *word;
    } cases[] = {
        {"PRAGMA user_version = 2", SOMA_E_UNSUPPORTED, "newer"},
        {"PRAGMA user_version = 0", SOMA_E_FORMAT, "version 0"},
        {"PRAGMA user_version = -1", SOMA_E_FORMAT, "version -1"},
        {"PRAGMA application_id = 1", SOMA_E_FORMAT, "no journal"},
        {"DROP TABLE keys", SOMA_E_FORMAT, "keys"},
        {"DROP INDEX keys_time", SOMA_E_FORMAT, "keys_time"},
        {"CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM keys; END",
         SOMA_E_FORMAT, "trigger"},
        {"CREATE VIEW v AS SELECT 1", SOMA_E_FORMAT, "view"},
        {"DELETE FROM meta", SOMA_E_FORMAT, "description"},
        {"UPDATE meta SET size = 13", SOMA_E_FORMAT, "description"},
        {"DELETE FROM records WHERE seq = 7", SOMA_E_FORMAT, "39 of"},
        {"DELETE FROM records WHERE seq = 1", SOMA_E_FORMAT, "first record"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[16];
        snprintf(name, sizeof name, "meddled%zu", i);
        soma_journal *j = create(name);
        OK(append_records(j, 1, 40, &err));
        shut(j);
        meddle(name, cases[i].sql);
        refuses(scratch_path(name), cases[i].status, cases[i].word);
    }
    /* A table of another tool's (Litestream makes two) is no harm. */
    soma_journal *j = create("litestream");
    shut(j);
    meddle("litestream", "CREATE TABLE _litestream_lock (id INTEGER)");
    j = open_again("litestream");
    OK(append_records(j, 1, 1, &err));
    shut(j);
}

static void
test_origin(void **state)
{
    char longest[SOMA_ORIGIN_MAX + 1];
    (void)state;
    memset(longest, 'o', sizeof longest);
    longest[SOMA_ORIGIN_MAX] = '\0';
    const char *const origins[] = {NULL, "", "a", "an origin's 'name'",
                                   longest};
    for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
        char name[16];
        snprintf(name, sizeof name, "origin%zu", i);
        soma_journal *j = create_fork(name, origins[i]);
        const char *expected = origins[i] ? origins[i] : "";
        assert_string_equal(info_of(j).origin, expected);
        OK(append_adoption(j, 1, 5, 9000));
        OK(j->backend->check(j, &err));
        shut(j);
        j = open_again(name);
        assert_string_equal(info_of(j).origin, expected);
        shut(j);
        /* What makes a fork of a model, or a model of a fork, is noticed. */
        meddle(name, "UPDATE meta SET origin = 'x' || origin");
        refuses(scratch_path(name), SOMA_E_FORMAT, "description");
        if (*expected) {
            meddle(name, "UPDATE meta SET origin = ''");
            refuses(scratch_path(name), SOMA_E_FORMAT, "description");
        }
    }
}

/* ---- Names ---- */

static bool
is_there(const char *name)
{
    return access(scratch_path(name), F_OK) == 0;
}

static void
test_move(void **state)
{
    char from[PATH_MAX], to[PATH_MAX];
    (void)state;
    soma_journal *j = create("m.fork");
    OK(append_records(j, 1, 9, &err));
    shut(j);
    snprintf(from, sizeof from, "%s", scratch_path("m.fork"));
    snprintf(to, sizeof to, "%s", scratch_path("m.db"));
    OK(soma_journal_move(from, to, &err));
    assert_false(is_there("m.fork"));
    j = open_again("m.db");
    assert_int_equal(read_all(j, 0), 9);
    shut(j);
    /* Nothing is ever replaced. */
    shut(create("m.fork"));
    assert_int_equal(soma_journal_move(from, to, &err), SOMA_E_CONFLICT);
    assert_non_null(strstr(err.text, to));
    assert_true(is_there("m.fork"));
    j = open_again("m.db");
    assert_int_equal(read_all(j, 0), 9);
    shut(j);
    /* Nor is a log that another database has left taken for its own. */
    scratch_text("n.db-wal", "records");
    snprintf(to, sizeof to, "%s", scratch_path("n.db"));
    assert_int_equal(soma_journal_move(from, to, &err), SOMA_E_CONFLICT);
    assert_true(is_there("m.fork"));
    assert_false(is_there("n.db"));
    snprintf(to, sizeof to, "%s", scratch_path("o.db"));
    assert_int_equal(soma_journal_move(scratch_path("none"), to, &err),
                     SOMA_E_NOT_FOUND);
    snprintf(to, sizeof to, "%s", scratch_path("no/folder"));
    assert_int_equal(soma_journal_move(from, to, &err), SOMA_E_NOT_FOUND);
    assert_true(is_there("m.fork"));
}

static void
test_set_aside(void **state)
{
    char path[PATH_MAX], aside[PATH_MAX];
    (void)state;
    snprintf(path, sizeof path, "%s", scratch_path("s.db"));
    soma_journal *j = create("s.db");
    OK(append_records(j, 1, 9, &err));
    shut(j);
    /* A second name, of the same file; those in use are passed over. */
    scratch_text("s.db.old-1", "something");
    OK(soma_journal_set_aside(path, aside, sizeof aside, &err));
    assert_string_equal(aside, scratch_path("s.db.old-0"));
    OK(soma_journal_set_aside(path, aside, sizeof aside, &err));
    assert_string_equal(aside, scratch_path("s.db.old-2"));
    assert_true(is_there("s.db"));
    j = open_again("s.db.old-2");
    assert_int_equal(read_all(j, 0), 9);
    shut(j);
    /* Retiring takes the first name away. */
    OK(soma_journal_retire(path, aside, sizeof aside, &err));
    assert_string_equal(aside, scratch_path("s.db.old-3"));
    assert_false(is_there("s.db"));
    assert_true(is_there("s.db.old-3"));
    assert_int_equal(soma_journal_retire(path, aside, sizeof aside, &err),
                     SOMA_E_NOT_FOUND);
    assert_false(is_there("s.db.old-4"));
    j = create("s.db"); /* which is free again */
    assert_int_equal(info_of(j).last, 0);
    shut(j);
}

/* Another program that has the database open keeps SQLite from putting its log
 * into it: then the log goes along, and is not left to the next one of the
 * same name. */
static void
test_retire_while_read(void **state)
{
    char path[PATH_MAX], aside[PATH_MAX];
    sqlite3 *reader;
    (void)state;
    snprintf(path, sizeof path, "%s", scratch_path("r.db"));
    soma_journal *j = create("r.db");
    OK(append_records(j, 1, 5, &err));
    assert_int_equal(sqlite3_open(path, &reader), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(reader, "SELECT count(*) FROM records", NULL, NULL, NULL),
        SQLITE_OK);
    OK(append_records(j, 6, 20, &err));
    shut(j);
    assert_true(is_there("r.db-wal"));
    OK(soma_journal_retire(path, aside, sizeof aside, &err));
    assert_false(is_there("r.db"));
    assert_false(is_there("r.db-wal"));
    assert_false(is_there("r.db-shm"));
    j = create_fork("r.db", "another");
    assert_int_equal(info_of(j).last, 0);
    OK(append_adoption(j, 1, 3, 5000));
    sqlite3_close(reader);
    OK(append_records(j, 2, 1, &err));
    shut(j);
    j = open_again("r.db");
    assert_int_equal(info_of(j).last, 2);
    OK(j->backend->check(j, &err));
    shut(j);
    j = open_again("r.db.old-0");
    assert_int_equal(read_all(j, 0), 25);
    OK(j->backend->check(j, &err));
    shut(j);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_reopen),
        TEST(test_create),
        TEST(test_foreign),
        TEST(test_origin),
        TEST(test_move),
        TEST(test_set_aside),
        TEST(test_retire_while_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
