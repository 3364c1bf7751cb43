/* Between a test and the library that it preloads (faults.c).
 */
#ifndef SOMA_TESTS_CRASH_FAULTS_H
#define SOMA_TESTS_CRASH_FAULTS_H

enum { FAULT_WRITE = 1, FAULT_SYNC = 2, FAULT_RENAME = 4, FAULT_OPEN = 8 };

struct faults {
    int kinds;   /* that count and fail */
    int calls;   /* counted so far */
    int fail_at; /* the n-th fails; 0: none */
    int sticky;  /* and all after it */
    int error;   /* errno */
    int failed;  /* how many did */
};

#endif
