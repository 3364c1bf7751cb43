/* Allocations that fail when a test says so: those of the test and of libsoma,
 * and through their hooks those of jansson, protobuf-c, libpng and SQLite. The
 * linker puts scarce.c's functions in the place of the C library's (Makefile),
 * so that sanitizers still watch every piece.
 */
#ifndef SOMA_TESTS_UNIT_SCARCE_H
#define SOMA_TESTS_UNIT_SCARCE_H

/* Before anything else: SQLite's allocations, too. */
void scarce_set_up(void);

/* From now on the n-th allocation fails, and `run` after it; n 0: none. */
void scarce_start(int n, int run);

/* Ends that. How many allocations have failed since the start. */
int scarce_stop(void);

/* Takes it up where it was stopped. */
void scarce_again(void);

/* Pieces of memory that are taken. */
long scarce_live(void);

#endif
