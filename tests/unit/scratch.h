/* A temporary folder for a test's files, removed with all that is in it.
 */
#ifndef SOMA_TESTS_UNIT_SCRATCH_H
#define SOMA_TESTS_UNIT_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

static char scratch[] = "/tmp/soma-test-XXXXXX";

static inline int
scratch_remove_one(const char *path, const struct stat *st, int type,
                   struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

/* cmocka's setup and teardown. */
static inline int
scratch_make(void **state)
{
    (void)state;
    memcpy(scratch + strlen(scratch) - 6, "XXXXXX", 6);
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int
scratch_remove(void **state)
{
    (void)state;
    return nftw(scratch, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The path of a file in it; lives until the fourth call after this one. */
static inline const char *
scratch_path(const char *name)
{
    static char paths[4][PATH_MAX];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, PATH_MAX, "%s/%s", scratch, name);
    return path;
}

static inline const char *
scratch_write(const char *name, const void *data, size_t size)
{
    const char *path = scratch_path(name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

static inline const char *
scratch_text(const char *name, const char *text)
{
    return scratch_write(name, text, strlen(text));
}

static inline const char *
scratch_gzip(const char *name, const void *data, size_t size)
{
    const char *path = scratch_path(name);
    gzFile file = gzopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, data, (unsigned)size), size);
    assert_int_equal(gzclose(file), Z_OK);
    return path;
}

static inline const char *
scratch_folder(const char *name)
{
    const char *path = scratch_path(name);
    assert_int_equal(mkdir(path, 0755), 0);
    return path;
}

#endif
