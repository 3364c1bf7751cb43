#include "server/engine/batch.h"

#include <stdlib.h>

soma_status
soma_batch_create(soma_batch *batch, soma_served *served, soma_error *err)
{
    size_t size = (size_t)served->spec.input.size;
    if (batch->serial == served->serial)
        return SOMA_OK;
    soma_batch_free(batch);
    batch->served = served;
    batch->serial = served->serial;
    batch->rows = 0;
    batch->x = malloc(SOMA_BATCH_ROWS * size * sizeof *batch->x);
    batch->ws = soma_workspace_create(&served->spec, SOMA_BATCH_ROWS,
                                      SOMA_PASS_PREDICT, err);
    if (batch->x && batch->ws)
        return SOMA_OK;
    soma_batch_free(batch);
    return soma_error_memory(err, "a batch");
}

void
soma_batch_free(soma_batch *batch)
{
    free(batch->x);
    soma_workspace_free(batch->ws);
    *batch = (soma_batch){.rows = 0};
}

float *
soma_batch_next(const soma_batch *batch, int *room)
{
    *room = SOMA_BATCH_ROWS - batch->rows;
    return batch->x +
           (size_t)batch->rows * (size_t)batch->served->spec.input.size;
}

const float *
soma_batch_forward(soma_batch *batch, const soma_snapshot *snapshot,
                   const float *x, int rows)
{
    return soma_pass_forward(snapshot->model, batch->ws, rows, x);
}
