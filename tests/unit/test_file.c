/* Reading and unpacking with a bound; writing that survives failures. */
#include "core/io/file.h"

#include "tests/unit/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>

/* Stands before the C library's: fails with `fsync_errno` at the call that
 * `fsync_countdown` reaches 0 at, and takes down what was at `watched` when
 * the new file was synced. */
static int fsync_errno, fsync_countdown, fsync_calls;
static const char *watched;
static char watched_text[16];

/* How many files and folders the scratch folder holds. */
static int
scratch_count(void)
{
    int count = 0;
    DIR *folder = opendir(scratch);
    assert_non_null(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static void
read_small(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(text, 1, size - 1, file) : 0;
    text[n] = '\0';
    if (file)
        fclose(file);
}

int
fsync(int fd)
{
    if (fsync_calls++ == 0 && watched)
        read_small(watched, watched_text, sizeof watched_text);
    if (fsync_errno && fsync_countdown-- == 0) {
        errno = fsync_errno;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

static void
expect_file(const char *path, const char *text)
{
    char got[64];
    read_small(path, got, sizeof got);
    assert_string_equal(got, text);
}

static void
expect_read(const char *path, size_t limit, int gunzip, const void *data,
            size_t size)
{
    soma_bytes bytes;
    soma_error err = {0};
    soma_status status = soma_file_read(path, limit, gunzip, &bytes, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SOMA_OK);
    assert_int_equal(bytes.size, size);
    assert_memory_equal(bytes.data, data, size);
    assert_int_equal(bytes.data[size], 0);
    soma_bytes_free(&bytes);
    assert_null(bytes.data);
}

static void
expect_refused(const char *path, size_t limit, soma_status status,
               const char *text)
{
    soma_bytes bytes = {NULL, 0};
    soma_error err = {0};
    assert_int_equal(soma_file_read(path, limit, 1, &bytes, &err), status);
    assert_int_equal(err.status, status);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, text));
    assert_null(bytes.data);
    assert_int_equal(bytes.size, 0);
}

/* ---- Reading ---- */

static void
test_read(void **state)
{
    (void)state;
    const char *path = scratch_write("a", "a\0b\n", 4);
    expect_read(path, 4, 1, "a\0b\n", 4);
    expect_read(path, SIZE_MAX, 1, "a\0b\n", 4);
    expect_refused(path, 3, SOMA_E_LIMIT, "4 bytes, at most 3");
    scratch_text("a", "");
    expect_read(path, 0, 1, "", 0);
    scratch_text("a", "\x1f"); /* half of the gzip magic */
    expect_read(path, 9, 1, "\x1f", 1);
}

static void
test_read_no_file(void **state)
{
    (void)state;
    expect_refused(scratch_path("none"), 9, SOMA_E_NOT_FOUND, "No such file");
    expect_refused(scratch, 9, SOMA_E_FORMAT, "not a regular file");
    /* Nobody writes to it: this must not wait. */
    const char *fifo = scratch_path("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    alarm(10);
    expect_refused(fifo, 9, SOMA_E_FORMAT, "not a regular file");
    alarm(0);
    expect_refused("/dev/zero", 9, SOMA_E_FORMAT, "not a regular file");
}

/* ---- gzip ---- */

/* Appends a gzip member to `to`, which has room. */
static size_t
pack(const void *data, size_t size, unsigned char *to, size_t room)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, MAX_WBITS + 16, 8,
                                  Z_DEFAULT_STRATEGY),
                     Z_OK);
    stream.next_in = (unsigned char *)(uintptr_t)data;
    stream.avail_in = (unsigned)size;
    stream.next_out = to;
    stream.avail_out = (unsigned)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t used = room - stream.avail_out;
    deflateEnd(&stream);
    return used;
}

static void
test_unpack(void **state)
{
    (void)state;
    const char *path = scratch_path("a.gz");
    unsigned char packed[256];
    size_t size = pack("hello", 5, packed, sizeof packed);
    scratch_write("a.gz", packed, size);
    expect_read(path, 256, 1, "hello", 5);
    expect_read(path, 256, 0, packed, size);
    size_t more = pack("", 0, packed + size, sizeof packed - size);
    scratch_write("a.gz", packed, size + more);
    expect_read(path, 256, 1, "hello", 5);
    more += pack(" you", 4, packed + size + more, sizeof packed - size - more);
    scratch_write("a.gz", packed, size + more);
    expect_read(path, 256, 1, "hello you", 9);
    scratch_write("a.gz", packed, pack("", 0, packed, sizeof packed));
    expect_read(path, 256, 1, "", 0);
}

static void
test_unpack_bound(void **state)
{
    (void)state;
    enum { SIZE = 3 << 20 };
    const char *path = scratch_path("a.gz");
    unsigned char *plain = malloc(SIZE), *packed = malloc(SIZE);
    assert_non_null(plain);
    assert_non_null(packed);
    for (size_t i = 0; i < SIZE; i++)
        plain[i] = (unsigned char)(i >> 12);
    size_t size = pack(plain, SIZE, packed, SIZE);
    assert_true(size < SIZE / 100);
    scratch_write("a.gz", packed, size);
    expect_read(path, SIZE, 1, plain, SIZE);
    expect_read(path, SIZE_MAX, 1, plain, SIZE);
    expect_refused(path, SIZE - 1, SOMA_E_LIMIT, "when unpacked");
    expect_refused(path, size, SOMA_E_LIMIT, "when unpacked");
    expect_refused(path, size - 1, SOMA_E_LIMIT, "at most");
    free(plain);
    free(packed);
}

static void
test_unpack_damaged(void **state)
{
    (void)state;
    const char *path = scratch_path("a.gz");
    const char plain[] = "some words, some more words, and some more";
    unsigned char packed[256], damaged[260];
    size_t size = pack(plain, sizeof plain, packed, sizeof packed);
    for (size_t cut = 2; cut < size; cut++) {
        scratch_write("a.gz", packed, cut);
        expect_refused(path, 999, SOMA_E_FORMAT, "too early");
    }
    for (size_t i = size - 8; i < size; i++) { /* checksum and length */
        memcpy(damaged, packed, size);
        damaged[i] ^= 1;
        scratch_write("a.gz", damaged, size);
        expect_refused(path, 999, SOMA_E_FORMAT, "damaged gzip");
    }
    memcpy(damaged, packed, size);
    memcpy(damaged + size, "junk", 4);
    scratch_write("a.gz", damaged, size + 4);
    expect_refused(path, 999, SOMA_E_FORMAT, "damaged gzip");
    memset(damaged + size, 0, 4);
    scratch_write("a.gz", damaged, size + 4);
    expect_refused(path, 999, SOMA_E_FORMAT, "damaged gzip");
}

/* ---- Writing ---- */

static const soma_piece two[] = {{"new", 3}, {NULL, 0}, {" text", 5}};

static soma_status
write_two(const char *path, soma_error *err)
{
    *err = (soma_error){0};
    fsync_calls = 0;
    return soma_file_write(path, two, 3, err);
}

static void
test_write(void **state)
{
    (void)state;
    struct stat st;
    soma_error err;
    const char *path = scratch_path("a");
    mode_t mask = umask(022);
    assert_int_equal(write_two(path, &err), SOMA_OK);
    assert_string_equal(err.text, "");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    assert_int_equal(st.st_size, 8);
    expect_file(path, "new text");
    assert_int_equal(fsync_calls, 2);
    umask(077);
    scratch_text("a", "old");
    watched = path;
    assert_int_equal(write_two(path, &err), SOMA_OK);
    watched = NULL;
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    expect_file(path, "new text");
    /* The new file was synced while the old one was still in its place. */
    assert_string_equal(watched_text, "old");
    assert_int_equal(soma_file_write(path, NULL, 0, &err), SOMA_OK);
    expect_file(path, "");
    assert_int_equal(scratch_count(), 1);
}

static void
test_write_over_leftover(void **state)
{
    (void)state;
    soma_error err;
    char name[64];
    snprintf(name, sizeof name, "a.%ld-0.tmp", (long)getpid());
    scratch_text(name, "left");
    assert_int_equal(write_two(scratch_path("a"), &err), SOMA_OK);
    expect_file(scratch_path("a"), "new text");
    expect_file(scratch_path(name), "left");
    assert_int_equal(scratch_count(), 2);
}

/* The old file stays, and nothing else. */
static void
expect_write_fails(soma_status status, const char *text)
{
    soma_error err;
    const char *path = scratch_path("a");
    scratch_text("a", "old");
    assert_int_equal(write_two(path, &err), status);
    assert_int_equal(err.status, status);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, text));
    expect_file(path, "old");
    assert_int_equal(scratch_count(), 1);
}

static void
test_write_fails(void **state)
{
    (void)state;
    fsync_errno = EIO;
    fsync_countdown = 0;
    expect_write_fails(SOMA_E_IO, strerror(EIO));
    fsync_errno = ENOSPC;
    fsync_countdown = 0;
    expect_write_fails(SOMA_E_NO_SPACE, strerror(ENOSPC));
    fsync_errno = 0;
    /* The second piece does not fit any more. */
    struct rlimit old, low;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old;
    low.rlim_cur = 5;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    expect_write_fails(SOMA_E_IO, strerror(EFBIG));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
}

static void
test_write_folder_sync(void **state)
{
    (void)state;
    soma_error err;
    const char *path = scratch_path("a");
    fsync_errno = EIO;
    fsync_countdown = 1;
    assert_int_equal(write_two(path, &err), SOMA_E_IO);
    expect_file(path, "new text");
    fsync_errno = EINVAL; /* file systems without fsync of folders */
    fsync_countdown = 1;
    assert_int_equal(write_two(path, &err), SOMA_OK);
    fsync_errno = 0;
    assert_int_equal(scratch_count(), 1);
}

static void
test_write_nowhere(void **state)
{
    (void)state;
    soma_error err;
    static char path[PATH_MAX + 64];
    assert_int_equal(write_two(scratch_path("none/a"), &err), SOMA_E_NOT_FOUND);
    assert_int_equal(write_two("/proc/soma", &err), SOMA_E_NOT_FOUND);
    scratch_folder("folder");
    assert_int_equal(write_two(scratch_path("folder"), &err), SOMA_E_IO);
    assert_int_equal(scratch_count(), 1);
    for (size_t length = PATH_MAX - 6; length < sizeof path; length += 3) {
        memset(path, '/', length);
        path[length] = '\0';
        assert_int_equal(write_two(path, &err), SOMA_E_ARGUMENT);
        assert_non_null(strstr(err.text, "too long"));
    }
}

static void
test_write_replaces_link(void **state)
{
    (void)state;
    soma_error err;
    struct stat st;
    scratch_text("target", "old");
    assert_int_equal(symlink("target", scratch_path("a")), 0);
    assert_int_equal(write_two(scratch_path("a"), &err), SOMA_OK);
    assert_int_equal(lstat(scratch_path("a"), &st), 0);
    assert_true(S_ISREG(st.st_mode));
    expect_file(scratch_path("target"), "old");
}

#define SCRATCH(test)                                                          \
    cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        SCRATCH(test_read),
        SCRATCH(test_read_no_file),
        SCRATCH(test_unpack),
        SCRATCH(test_unpack_bound),
        SCRATCH(test_unpack_damaged),
        SCRATCH(test_write),
        SCRATCH(test_write_over_leftover),
        SCRATCH(test_write_fails),
        SCRATCH(test_write_folder_sync),
        SCRATCH(test_write_nowhere),
        SCRATCH(test_write_replaces_link),
    };
    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
