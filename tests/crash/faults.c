/* A library to be preloaded into soma, which makes system calls on its data
 * folder fail.
 *
 * SOMA_FAULTS names a file that is mapped: whoever maps it too decides, while
 * the program runs, which call fails. Only calls on paths below the file's own
 * folder, or on descriptors that were opened there, count.
 */
#include "tests/crash/faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct faults *faults;
static char folder[PATH_MAX];
static bool watched[4096]; /* descriptors */

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void
set_up(void)
{
    const char *path = getenv("SOMA_FAULTS");
    if (!path)
        return;
    int fd = NEXT(open)(path, O_RDWR);
    void *memory = fd < 0 ? MAP_FAILED
                          : mmap(NULL, sizeof *faults, PROT_READ | PROT_WRITE,
                                 MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        abort();
    close(fd);
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = '\0';
    faults = memory;
}

/* Counts a call of this kind; true: it fails, errno is set. */
static bool
fails(int kind)
{
    if (!faults || !(faults->kinds & kind))
        return false;
    int n = __atomic_add_fetch(&faults->calls, 1, __ATOMIC_SEQ_CST);
    if (!faults->fail_at ||
        !(n == faults->fail_at || (faults->sticky && n > faults->fail_at)))
        return false;
    __atomic_add_fetch(&faults->failed, 1, __ATOMIC_SEQ_CST);
    errno = faults->error;
    return true;
}

static bool
is_below(const char *path)
{
    size_t length = strlen(folder);
    return faults && !strncmp(path, folder, length) && path[length] == '/';
}

static bool
is_watched(int fd)
{
    return fd >= 0 && fd < (int)(sizeof watched / sizeof *watched) &&
           watched[fd];
}

static int
opened(const char *path, int fd)
{
    if (fd >= 0 && fd < (int)(sizeof watched / sizeof *watched))
        watched[fd] = is_below(path);
    return fd;
}

#define OPEN(name)                                                             \
    int name(const char *path, int flags, ...)                                 \
    {                                                                          \
        va_list arguments;                                                     \
        va_start(arguments, flags);                                            \
        mode_t mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;         \
        va_end(arguments);                                                     \
        if ((flags & O_CREAT) && is_below(path) && fails(FAULT_OPEN))          \
            return -1;                                                         \
        return opened(path, NEXT(name)(path, flags, mode));                    \
    }

OPEN(open)
OPEN(open64)

#define PWRITE(name, offset_t)                                                 \
    ssize_t name(int fd, const void *data, size_t size, offset_t offset)       \
    {                                                                          \
        if (is_watched(fd) && fails(FAULT_WRITE))                              \
            return -1;                                                         \
        return NEXT(name)(fd, data, size, offset);                             \
    }

PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t
write(int fd, const void *data, size_t size)
{
    if (is_watched(fd) && fails(FAULT_WRITE))
        return -1;
    return NEXT(write)(fd, data, size);
}

int
fsync(int fd)
{
    return is_watched(fd) && fails(FAULT_SYNC) ? -1 : NEXT(fsync)(fd);
}

int
fdatasync(int fd)
{
    return is_watched(fd) && fails(FAULT_SYNC) ? -1 : NEXT(fdatasync)(fd);
}

#define TRUNCATE(name, offset_t)                                               \
    int name(int fd, offset_t size)                                            \
    {                                                                          \
        if (is_watched(fd) && fails(FAULT_WRITE))                              \
            return -1;                                                         \
        return NEXT(name)(fd, size);                                           \
    }

TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int
rename(const char *from, const char *to)
{
    return is_below(to) && fails(FAULT_RENAME) ? -1 : NEXT(rename)(from, to);
}
