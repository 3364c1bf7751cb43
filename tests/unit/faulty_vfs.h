/* An SQLite VFS over the system's own, whose n-th operation fails, or at
 * whose n-th operation the power goes.
 *
 * Writes go to the real files at once, but fsync is only noted, not made: for
 * every file it is known what each 512-byte sector was when it was last
 * synced. faulty_power_cut then gives each sector that was written since its
 * old or its new bytes, at random; a file that grew or was cut has its old or
 * its new length; a file that was made or deleted without its folder being
 * synced is there or not.
 */
#ifndef SOMA_TESTS_UNIT_FAULTY_VFS_H
#define SOMA_TESTS_UNIT_FAULTY_VFS_H

#include "core/rng.h"

#include "tests/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

enum { SECTOR = 512, NODES = 32 };

/* A file by its name, and what the disk has of it. */
typedef struct node {
    char path[256];
    unsigned char **old; /* [sectors]: as synced; NULL: not written since */
    size_t sectors;
    off_t size;           /* as synced */
    bool fresh;           /* its name is not on disk yet */
    bool exists;          /* for the process */
    unsigned char *ghost; /* what stood under this name on disk; NULL: none */
    off_t ghost_size;
} node;

typedef struct faulty_file {
    sqlite3_file base;
    node *node;
    bool tracked;
    sqlite3_file *real; /* behind this struct */
} faulty_file;

static struct {
    sqlite3_vfs vfs, *real;
    /* Atomic, since a trainer may be writing when a test changes them. */
    atomic_int operations; /* since faulty_start */
    atomic_int fail_at;    /* the n-th fails; 0: none */
    atomic_int error;      /* with this errno */
    atomic_bool sticky;    /* and all after it */
    bool power;            /* the power goes instead */
    bool dead;             /* it has gone: nothing reaches the files */
    atomic_bool failed;    /* the fault has come */
    node nodes[NODES];
} faulty;

/* ---- What the disk has ---- */

static inline node *
node_of(const char *path)
{
    for (int i = 0; i < NODES; i++) {
        node *n = &faulty.nodes[i];
        if (!n->path[0])
            snprintf(n->path, sizeof n->path, "%s", path);
        if (strcmp(n->path, path) == 0)
            return n;
    }
    fail_msg("too many files");
    return NULL;
}

static inline void
node_settle(node *n)
{
    for (size_t i = 0; i < n->sectors; i++)
        free(n->old[i]);
    free(n->old);
    n->old = NULL;
    n->sectors = 0;
}

static inline off_t
file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) ? 0 : st.st_size;
}

/* Reads what stands there; zeros behind the end. */
static inline void
read_at(const char *path, off_t at, unsigned char *to, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    memset(to, 0, size);
    if (fd >= 0) {
        ssize_t n = pread(fd, to, size, at);
        (void)n;
        close(fd);
    }
}

/* Keeps the synced bytes of sectors that are about to change. */
static inline void
node_touch(node *n, off_t from, off_t to)
{
    size_t last = (size_t)((to + SECTOR - 1) / SECTOR);
    if (last > n->sectors) {
        n->old = realloc(n->old, last * sizeof *n->old);
        memset(n->old + n->sectors, 0, (last - n->sectors) * sizeof *n->old);
        n->sectors = last;
    }
    for (size_t i = (size_t)(from / SECTOR); i < last; i++)
        if (!n->old[i]) {
            n->old[i] = malloc(SECTOR);
            read_at(n->path, (off_t)i * SECTOR, n->old[i], SECTOR);
        }
}

static inline void
node_synced(node *n)
{
    node_settle(n);
    n->size = file_size(n->path);
    n->fresh = false; /* SQLite syncs the folder of a new log with it */
    free(n->ghost);
    n->ghost = NULL;
}

static inline void
node_deleted(node *n, bool folder_synced)
{
    if (n->exists && !n->fresh) {
        n->ghost_size = n->size;
        n->ghost = malloc((size_t)n->size + 1);
        read_at(n->path, 0, n->ghost, (size_t)n->size);
        for (size_t i = 0; i < n->sectors; i++) {
            off_t at = (off_t)i * SECTOR, left = n->size - at;
            if (n->old[i] && left > 0)
                memcpy(n->ghost + at, n->old[i],
                       left < SECTOR ? (size_t)left : SECTOR);
        }
    }
    if (folder_synced) {
        free(n->ghost);
        n->ghost = NULL;
    }
    node_settle(n);
    n->exists = false;
}

/* ---- The power cut ---- */

static inline void
cut_file(node *n, soma_rng *rng)
{
    off_t size = file_size(n->path), end = size;
    int fd = open(n->path, O_WRONLY | O_CLOEXEC);
    if (size != n->size && soma_rng_below(rng, 2))
        end = n->size;
    /* Three kinds of cuts: any subset, nothing, and nearly everything. */
    uint32_t kind = soma_rng_below(rng, 3);
    for (size_t i = 0; i < n->sectors; i++) {
        off_t at = (off_t)i * SECTOR;
        bool lost = kind == 1 || soma_rng_below(rng, kind ? 16 : 2) == 0;
        if (n->old[i] && (lost || at >= size))
            assert_int_equal(pwrite(fd, n->old[i], SECTOR, at), SECTOR);
    }
    assert_int_equal(ftruncate(fd, end), 0);
    close(fd);
}

/* When nothing has a file open any more. */
static inline void
faulty_power_cut(soma_rng *rng)
{
    for (int i = 0; i < NODES && faulty.nodes[i].path[0]; i++) {
        node *n = &faulty.nodes[i];
        bool back = n->ghost && soma_rng_below(rng, 2);
        if (n->exists && n->fresh && soma_rng_below(rng, 2)) {
            unlink(n->path);
            n->exists = false;
        }
        if (n->exists) {
            cut_file(n, rng);
        } else if (back) {
            int fd =
                open(n->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
            assert_int_equal(write(fd, n->ghost, (size_t)n->ghost_size),
                             n->ghost_size);
            close(fd);
        }
    }
}

/* ---- Faults ---- */

/* Counts an operation. True: it must fail. */
static inline bool
faulty_strikes(void)
{
    if (faulty.dead)
        return true;
    int n = ++faulty.operations;
    int at = faulty.fail_at;
    bool now = at && (n == at || (faulty.sticky && n > at));
    if (now) {
        faulty.failed = true;
        faulty.dead = faulty.power;
        errno = faulty.error;
    }
    return now;
}

static inline int
shim_close(sqlite3_file *file)
{
    faulty_file *f = (faulty_file *)file;
    return f->real->pMethods ? f->real->pMethods->xClose(f->real) : SQLITE_OK;
}

static inline int
shim_read(sqlite3_file *file, void *to, int size, sqlite3_int64 at)
{
    faulty_file *f = (faulty_file *)file;
    return f->real->pMethods->xRead(f->real, to, size, at);
}

static inline int
shim_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 at)
{
    faulty_file *f = (faulty_file *)file;
    bool was_dead = faulty.dead;
    bool strikes = faulty_strikes();
    if (was_dead)
        return SQLITE_IOERR_WRITE;
    /* Half of it may get there. */
    int part = strikes ? size / 2 : size;
    if (f->tracked)
        node_touch(f->node, at, at + part);
    int code = part ? f->real->pMethods->xWrite(f->real, data, part, at) : 0;
    if (!strikes)
        return code;
    errno = faulty.error;
    return faulty.error == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static inline int
shim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    faulty_file *f = (faulty_file *)file;
    if (faulty_strikes())
        return SQLITE_IOERR_TRUNCATE;
    off_t now = file_size(f->node->path);
    if (f->tracked && size < now)
        node_touch(f->node, size, now);
    return f->real->pMethods->xTruncate(f->real, size);
}

static inline int
shim_sync(sqlite3_file *file, int flags)
{
    faulty_file *f = (faulty_file *)file;
    (void)flags;
    if (faulty_strikes())
        return SQLITE_IOERR_FSYNC;
    if (f->tracked)
        node_synced(f->node);
    return SQLITE_OK;
}

static inline int
shim_size(sqlite3_file *file, sqlite3_int64 *size)
{
    faulty_file *f = (faulty_file *)file;
    return f->real->pMethods->xFileSize(f->real, size);
}

static inline int
shim_lock(sqlite3_file *file, int level)
{
    faulty_file *f = (faulty_file *)file;
    return f->real->pMethods->xLock(f->real, level);
}

static inline int
shim_unlock(sqlite3_file *file, int level)
{
    faulty_file *f = (faulty_file *)file;
    return f->real->pMethods->xUnlock(f->real, level);
}

static inline int
shim_reserved(sqlite3_file *file, int *reserved)
{
    faulty_file *f = (faulty_file *)file;
    return f->real->pMethods->xCheckReservedLock(f->real, reserved);
}

static inline int
shim_control(sqlite3_file *file, int op, void *arg)
{
    faulty_file *f = (faulty_file *)file;
    return f->real->pMethods->xFileControl(f->real, op, arg);
}

static inline int
shim_sector(sqlite3_file *file)
{
    faulty_file *f = (faulty_file *)file;
    return f->real->pMethods->xSectorSize(f->real);
}

static inline int
shim_device(sqlite3_file *file)
{
    faulty_file *f = (faulty_file *)file;
    return f->real->pMethods->xDeviceCharacteristics(f->real);
}

static inline int
shim_shm_map(sqlite3_file *file, int page, int size, int extend,
             void volatile **at)
{
    faulty_file *f = (faulty_file *)file;
    if (faulty_strikes())
        return SQLITE_IOERR_SHMMAP;
    return f->real->pMethods->xShmMap(f->real, page, size, extend, at);
}

static inline int
shim_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    faulty_file *f = (faulty_file *)file;
    if ((flags & SQLITE_SHM_LOCK) && faulty_strikes())
        return SQLITE_IOERR_SHMLOCK;
    return f->real->pMethods->xShmLock(f->real, offset, count, flags);
}

static inline void
shim_shm_barrier(sqlite3_file *file)
{
    faulty_file *f = (faulty_file *)file;
    f->real->pMethods->xShmBarrier(f->real);
}

static inline int
shim_shm_unmap(sqlite3_file *file, int remove_it)
{
    faulty_file *f = (faulty_file *)file;
    return f->real->pMethods->xShmUnmap(f->real, remove_it);
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_device,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

static inline int
shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
          int *out)
{
    faulty_file *f = (faulty_file *)file;
    (void)vfs;
    memset(f, 0, sizeof *f);
    f->real = (sqlite3_file *)(f + 1);
    if (faulty_strikes())
        return SQLITE_CANTOPEN;
    f->tracked = name != NULL;
    bool there = name && access(name, F_OK) == 0;
    int code = faulty.real->xOpen(faulty.real, name, f->real, flags, out);
    if (f->real->pMethods)
        f->base.pMethods = &shim_methods;
    if (code || !name)
        return code;
    f->node = node_of(name);
    if (!f->node->exists) {
        node_settle(f->node);
        f->node->exists = true;
        f->node->fresh = !there;
        f->node->size = file_size(name);
    }
    return SQLITE_OK;
}

static inline int
shim_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    (void)vfs;
    if (faulty_strikes())
        return SQLITE_IOERR_DELETE;
    node_deleted(node_of(name), sync_folder);
    return faulty.real->xDelete(faulty.real, name, 0);
}

static inline int
shim_access(sqlite3_vfs *vfs, const char *name, int flags, int *result)
{
    (void)vfs;
    return faulty.real->xAccess(faulty.real, name, flags, result);
}

static inline int
shim_last_error(sqlite3_vfs *vfs, int size, char *text)
{
    (void)vfs, (void)size, (void)text;
    return errno;
}

/* ---- What tests call ---- */

static inline void
faulty_install(void)
{
    faulty.real = sqlite3_vfs_find("unix");
    faulty.vfs = *faulty.real;
    faulty.vfs.zName = "faulty";
    faulty.vfs.pNext = NULL;
    faulty.vfs.szOsFile = (int)sizeof(faulty_file) + faulty.real->szOsFile;
    faulty.vfs.xOpen = shim_open;
    faulty.vfs.xDelete = shim_delete;
    faulty.vfs.xAccess = shim_access;
    faulty.vfs.xGetLastError = shim_last_error;
}

/* The files that stand there now are on disk. */
static inline void
faulty_start(int fail_at, int error, bool sticky, bool power)
{
    for (int i = 0; i < NODES; i++) {
        node_settle(&faulty.nodes[i]);
        free(faulty.nodes[i].ghost);
        faulty.nodes[i] = (node){0};
    }
    faulty.operations = 0;
    faulty.fail_at = fail_at;
    faulty.error = error;
    faulty.sticky = sticky;
    faulty.power = power;
    faulty.dead = false;
    faulty.failed = false;
    sqlite3_vfs_register(&faulty.vfs, 1);
}

/* What was wrong with the disk is repaired. */
static inline void
faulty_repair(void)
{
    faulty.fail_at = 0;
}

/* New databases use the system's VFS again. */
static inline void
faulty_stop(void)
{
    sqlite3_vfs_register(faulty.real, 1);
}

#endif
