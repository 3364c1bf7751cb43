/* Journals whose file is damaged: rows that were changed, files that were cut,
 * bits that were flipped. */
#include "tests/unit/journal_files.h"

#include <fcntl.h>

/* Rows that are changed are found where they are read. */
static void
test_sums(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "UPDATE records SET label = 8 WHERE seq = 9",
        "UPDATE records SET rate = 0.5 WHERE seq = 9",
        "UPDATE records SET time = 9 WHERE seq = 9",
        "UPDATE records SET x = zeroblob(48) WHERE seq = 9",
        "UPDATE records SET x = zeroblob(11) WHERE seq = 9",
        "UPDATE records SET kind = 3 WHERE seq = 9",
        "UPDATE records SET target = 3 WHERE seq = 5",
        "UPDATE records SET data = x'00' WHERE seq = 3",
        "UPDATE records SET data = zeroblob(length(data)) WHERE seq = 41",
        "UPDATE records SET target = 8 WHERE seq = 41",
        "UPDATE records SET kind = 2 WHERE seq = 41",
        "UPDATE keys SET count = 7 WHERE text = 'key 1'",
        "UPDATE keys SET text = 'key 2' WHERE text = 'key 1'",
        "UPDATE lessons SET last = last + 1 WHERE first = 5",
        "UPDATE lessons SET data = zeroblob(52) WHERE first = 5",
        "UPDATE checkpoints SET seq = 29 WHERE seq = 30",
        "UPDATE checkpoints SET complete = 1",
        "UPDATE base_parts SET data = zeroblob(length(data))",
        "DELETE FROM checkpoint_parts WHERE id = 1 AND at > 0",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[16];
        snprintf(name, sizeof name, "sums%zu", i);
        soma_journal *j = create(name);
        OK(append_records(j, 1, 40, &err));
        soma_journal_key key = a_key("key 1", 1, 5);
        soma_lesson some[4] = {a_lesson(5), a_lesson(6), a_lesson(7),
                               a_lesson(8)};
        soma_journal_group group = {
            .keys = &key, .key_count = 1, .lessons = some, .lesson_count = 4};
        OK(j->backend->append(j, &group, &err));
        OK(append_checkpoint(j, 30, 5000, 3000, 9, &err));
        OK(append_checkpoint(j, 40, 5000, 3000, 1, &err));
        OK(append_adoption(j, 41, 7, 6000));
        shut(j);
        meddle(name, cases[i]);
        j = open_again(name);
        if (j->backend->check(j, &err) != SOMA_E_FORMAT)
            fail_msg("not found: %s", cases[i]);
        shut(j);
    }
}

static size_t
load_file(const char *name, unsigned char **data)
{
    soma_bytes bytes;
    OK(soma_file_read(scratch_path(name), 1 << 26, 0, &bytes, &err));
    *data = bytes.data;
    return bytes.size;
}

static void
test_truncated(void **state)
{
    (void)state;
    soma_journal *j = create("whole");
    fill(j);
    shut(j);
    unsigned char *data;
    size_t size = load_file("whole", &data);
    int cuts = 0;
    for (size_t keep = 0; keep < size;
         keep += keep < 200 || size - keep < 20 ? 1 : 397) {
        const char *path = scratch_write("cut", data, keep);
        refuses(path, SOMA_E_FORMAT, "");
        cuts++;
    }
    print_message("%d cuts, every one refused\n", cuts);
    free(data);
}

/* Position i of a journal is worth a flip: headers are, the origin's name, and
 * samples of the rest. */
static bool
is_tried(const unsigned char *data, size_t size, size_t i)
{
    static const char origin[] = "the origin";
    const unsigned char *at = memmem(data, size, origin, sizeof origin - 1);
    size_t first = (size_t)(at - data);
    return i < 128 || i % 4096 < 24 || i % 61 == 0 ||
           (i >= first && i < first + sizeof origin - 1);
}

static void
test_flips(void **state)
{
    (void)state;
    soma_journal *j = create_fork("flips", "the origin");
    fill(j);
    OK(append_adoption(j, 41, 7, 9000));
    char *expected = journal_text(j);
    shut(j);
    unsigned char *data;
    size_t size = load_file("flips", &data);
    int flips = 0, refused = 0, changed = 0;
    int fd = open(scratch_path("flips"), O_RDWR | O_CLOEXEC);
    for (size_t i = 0; i < size; i++) {
        if (!is_tried(data, size, i))
            continue;
        unsigned char was = data[i], is = was ^ (unsigned char)(1 << i % 8);
        assert_int_equal(pwrite(fd, &is, 1, (off_t)i), 1);
        flips++;
        j = soma_journal_open(scratch_path("flips"), i % 3 != 0, &err);
        if (!j || j->backend->check(j, &err) != SOMA_OK) {
            refused++;
            assert_true(err.status == SOMA_E_FORMAT ||
                        err.status == SOMA_E_UNSUPPORTED);
        } else {
            char *text = journal_text(j);
            if (!text || strcmp(text, expected) != 0) {
                print_message("byte %zu changes what is read\n", i);
                changed++;
            }
            free(text);
        }
        if (j)
            shut(j);
        /* All of it: one that is open to be written may have been. */
        unlink(scratch_path("flips-wal"));
        unlink(scratch_path("flips-shm"));
        unlink(scratch_path("flips-journal"));
        assert_int_equal(pwrite(fd, data, size, 0), size);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
    }
    close(fd);
    free(data);
    free(expected);
    print_message("%d flips: %d refused, %d without effect, %d unnoticed\n",
                  flips, refused, flips - refused - changed, changed);
    assert_int_equal(changed, 0);
    assert_true(refused > flips / 4);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sums),
        TEST(test_truncated),
        TEST(test_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
