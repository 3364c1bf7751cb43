/* The forward product by oneDNN, weights packed beforehand in the layout that
 * it likes best for the number of rows, one thread (OMP_NUM_THREADS=1 must be
 * in the environment). Ends the program when oneDNN fails. */
#ifndef SOMA_TESTS_BENCH_ONEDNN_H
#define SOMA_TESTS_BENCH_ONEDNN_H

typedef struct onednn onednn;

onednn *onednn_create(int in, int out, int rows);
void onednn_run(const onednn *product);
void onednn_free(onednn *product);

#endif
