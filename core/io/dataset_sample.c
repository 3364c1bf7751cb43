/* A sample of a dataset, balanced by class. */
#include "core/io/dataset.h"
#include "core/rng.h"

#include <stdlib.h>
#include <string.h>

/* Round r takes one more of each class, in the given order; it ends when there
 * are enough or a round finds none. */
static soma_status
take_rounds(const soma_dataset *dataset, const int *order, int count,
            bool *used, int *taken, float *x, soma_memory *memory,
            soma_error *err)
{
    for (int round = 1, before = -1;
         memory->count < count && memory->count != before; round++) {
        before = memory->count;
        for (int i = 0; i < dataset->count && memory->count < count; i++) {
            int row = order[i], label = dataset->labels[row];
            if (used[row] || taken[label] >= round)
                continue;
            used[row] = true;
            taken[label]++;
            soma_dataset_row(dataset, row, x);
            soma_status status =
                soma_memory_put(memory, memory->count, x, label, err);
            if (status)
                return status;
        }
    }
    return SOMA_OK;
}

static void
drop_rows(soma_dataset *dataset, const bool *used)
{
    size_t size = (size_t)dataset->size, to = 0;
    for (size_t from = 0; from < (size_t)dataset->count; from++) {
        if (used[from])
            continue;
        dataset->labels[to] = dataset->labels[from];
        if (dataset->bytes)
            memmove(dataset->bytes + to * size, dataset->bytes + from * size,
                    size);
        else
            memmove(dataset->values + to * size, dataset->values + from * size,
                    size * sizeof(float));
        to++;
    }
    dataset->count = (int)to;
}

soma_status
soma_dataset_sample(soma_dataset *dataset, int count, uint64_t seed,
                    bool remove, soma_memory *memory, soma_error *err)
{
    soma_rng rng = soma_rng_seed(seed, 0);
    int *order = malloc((size_t)dataset->count * sizeof *order);
    bool *used = calloc((size_t)dataset->count, sizeof *used);
    int *taken = calloc((size_t)dataset->label_count, sizeof *taken);
    float *x = malloc((size_t)dataset->size * sizeof *x);
    soma_status status = soma_memory_create(memory, dataset->size, count, err);
    if (!status && (!order || !used || !taken || !x))
        status = soma_error_memory(err, "a sample");
    if (!status) {
        for (int i = 0; i < dataset->count; i++)
            order[i] = i;
        soma_rng_shuffle(&rng, order, dataset->count);
    }
    if (!status)
        status =
            take_rounds(dataset, order, count, used, taken, x, memory, err);
    if (!status && remove)
        drop_rows(dataset, used);
    free(order);
    free(used);
    free(taken);
    free(x);
    return status;
}
