/* Between a test and the library that it preloads into soma (shim.c).
 */
#ifndef SOMA_TESTS_FAULTS_SHIM_H
#define SOMA_TESTS_FAULTS_SHIM_H

#include <stdint.h>

/* What can fail, by the functions' names. */
enum {
    SHIM_MEMORY = 1 << 0,    /* malloc and its relatives */
    SHIM_RECV = 1 << 1,      /* recv */
    SHIM_SEND = 1 << 2,      /* send, sendmsg */
    SHIM_ACCEPT = 1 << 3,    /* accept4 */
    SHIM_WAIT = 1 << 4,      /* epoll_wait */
    SHIM_CONTROL = 1 << 5,   /* epoll_ctl */
    SHIM_OPEN = 1 << 6,      /* open */
    SHIM_READ = 1 << 7,      /* read, pread */
    SHIM_WRITE = 1 << 8,     /* pwrite */
    SHIM_SYNC = 1 << 9,      /* fsync, fdatasync */
    SHIM_TRUNCATE = 1 << 10, /* ftruncate */
    SHIM_MAP = 1 << 11,      /* mmap */
};

/* In place of an errno. */
enum {
    SHIM_SHORT = -1, /* `most` bytes are read or written, if more were asked
                        for */
    SHIM_EXIT = -2,  /* the thread ends */
    SHIM_DRIP = -3,  /* of sockets: EAGAIN and `most` bytes by turns */
};

struct shim {
    int kinds;     /* that count and fail */
    int calls;     /* counted so far */
    int fail_at;   /* the n-th fails; 0: none */
    int run;       /* how many after it do too */
    int error;     /* errno, or one of the above */
    int most;      /* bytes that a short call moves; 0 is 1 */
    int buffer;    /* SO_SNDBUF of connections that come in; 0: as it is */
    int full;      /* calls that a full buffer of the kernel's made short */
    int failed;    /* how many did */
    int64_t live;  /* pieces of memory that are taken */
    int64_t jump;  /* seconds that clocks are ahead, or behind */
    int monotonic; /* whether the monotonic ones are too */
};

#endif
