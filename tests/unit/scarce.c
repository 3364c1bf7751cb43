#include "tests/unit/scarce.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int filter(const struct dirent *entry);
typedef int compare(const struct dirent **a, const struct dirent **b);

static atomic_int fail_at, asked, fail_run, calls, failed;
static atomic_long live;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __wrap_free(void *memory);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t most);
int __real_scandir(const char *folder, struct dirent ***entries, filter *is_one,
                   compare *by);
int __wrap_scandir(const char *folder, struct dirent ***entries, filter *is_one,
                   compare *by);
int __real_scandir64(const char *folder, struct dirent ***entries,
                     filter *is_one, compare *by);
int __wrap_scandir64(const char *folder, struct dirent ***entries,
                     filter *is_one, compare *by);
int __wrap_asprintf(char **text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int __wrap___asprintf_chk(char **text, int flag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void
scarce_start(int n, int run)
{
    calls = failed = 0;
    fail_run = run;
    fail_at = asked = n;
}

int
scarce_stop(void)
{
    fail_at = 0;
    return failed;
}

void
scarce_again(void)
{
    fail_at = asked;
}

long
scarce_live(void)
{
    return live;
}

static bool
fails(void)
{
    int at = fail_at;
    if (!at)
        return false;
    int n = ++calls;
    bool now = n >= at && n - at <= fail_run;
    failed += now;
    return now;
}

static void *
counted(void *memory)
{
    live += memory != NULL;
    return memory;
}

void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : counted(__real_malloc(size));
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(count, size));
}

void *
__wrap_realloc(void *old, size_t size)
{
    if (fails())
        return NULL;
    void *memory = __real_realloc(old, size);
    return old ? memory : counted(memory);
}

void *
__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : counted(__real_aligned_alloc(alignment, size));
}

void
__wrap_free(void *memory)
{
    live -= memory != NULL;
    __real_free(memory);
}

char *
__wrap_strndup(const char *text, size_t most)
{
    size_t length = strnlen(text, most);
    char *copy = __wrap_malloc(length + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

char *
__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}

static int __attribute__((format(printf, 2, 0)))
print(char **text, const char *format, va_list arguments)
{
    if (fails())
        return -1;
    int length = vasprintf(text, format, arguments);
    live += length >= 0;
    return length;
}

int
__wrap_asprintf(char **text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = print(text, format, arguments);
    va_end(arguments);
    return length;
}

int
__wrap___asprintf_chk(char **text, int flag, const char *format, ...)
{
    va_list arguments;
    (void)flag;
    va_start(arguments, format);
    int length = print(text, format, arguments);
    va_end(arguments);
    return length;
}

/* They give the list and its entries away, to be freed one by one. */
#define SCANDIR(name)                                                          \
    int __wrap_##name(const char *folder, struct dirent ***entries,            \
                      filter *is_one, compare *by)                             \
    {                                                                          \
        int count = __real_##name(folder, entries, is_one, by);                \
        live += count >= 0 ? count + 1 : 0;                                    \
        return count;                                                          \
    }

SCANDIR(scandir)
SCANDIR(scandir64)

/* ---- SQLite's, which asks for the size of a piece: it stands before it ----
 */

enum { HEAD = 16 };

static void *
sql_malloc(int size)
{
    char *piece = __wrap_malloc(HEAD + (size_t)size);
    if (!piece)
        return NULL;
    memcpy(piece, &size, sizeof size);
    return piece + HEAD;
}

static void
sql_free(void *memory)
{
    if (memory)
        __wrap_free((char *)memory - HEAD);
}

static void *
sql_realloc(void *memory, int size)
{
    char *piece = __wrap_realloc((char *)memory - HEAD, HEAD + (size_t)size);
    if (!piece)
        return NULL;
    memcpy(piece, &size, sizeof size);
    return piece + HEAD;
}

static int
sql_size(void *memory)
{
    int size;
    if (!memory)
        return 0;
    memcpy(&size, (char *)memory - HEAD, sizeof size);
    return size;
}

static int
sql_round(int size)
{
    return (size + 7) & ~7;
}

static int
sql_begin(void *data)
{
    (void)data;
    return SQLITE_OK;
}

static void
sql_end(void *data)
{
    (void)data;
}

void
scarce_set_up(void)
{
    static const sqlite3_mem_methods methods = {
        .xMalloc = sql_malloc,
        .xFree = sql_free,
        .xRealloc = sql_realloc,
        .xSize = sql_size,
        .xRoundup = sql_round,
        .xInit = sql_begin,
        .xShutdown = sql_end,
    };
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
    sqlite3_initialize();
}
