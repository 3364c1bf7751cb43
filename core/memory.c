#include "core/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

soma_status
soma_memory_create(soma_memory *memory, int size, int room, soma_error *err)
{
    *memory = (soma_memory){.size = size, .room = room};
    size_t rows = room > 0 ? (size_t)room : 1;
    memory->bytes = malloc(rows * (size_t)size);
    memory->labels = malloc(rows * sizeof *memory->labels);
    if (memory->bytes && memory->labels)
        return SOMA_OK;
    soma_memory_free(memory);
    return soma_error_memory(err, "examples to rehearse");
}

void
soma_memory_free(soma_memory *memory)
{
    free(memory->bytes);
    free(memory->floats);
    free(memory->labels);
    *memory = (soma_memory){0};
}

bool
soma_memory_are_bytes(const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = x[i];
        if (!(value >= 0 && value <= 255) || value != (float)(uint8_t)value ||
            (value == 0 && signbit(value)))
            return false;
    }
    return true;
}

soma_status
soma_memory_as_floats(soma_memory *memory, soma_error *err)
{
    size_t size = (size_t)memory->size;
    memory->floats =
        malloc((size_t)memory->room * size * sizeof *memory->floats);
    if (!memory->floats)
        return soma_error_memory(err, "examples to rehearse");
    for (size_t i = 0; i < (size_t)memory->count * size; i++)
        memory->floats[i] = memory->bytes[i];
    free(memory->bytes);
    memory->bytes = NULL;
    return SOMA_OK;
}

soma_status
soma_memory_put(soma_memory *memory, int at, const float *x, int label,
                soma_error *err)
{
    size_t size = (size_t)memory->size, first = (size_t)at * size;
    if (memory->bytes && !soma_memory_are_bytes(x, size)) {
        soma_status status = soma_memory_as_floats(memory, err);
        if (status)
            return status;
    }
    if (memory->bytes)
        for (size_t i = 0; i < size; i++)
            memory->bytes[first + i] = (uint8_t)x[i];
    else
        memcpy(memory->floats + first, x, size * sizeof *x);
    memory->labels[at] = label;
    if (at == memory->count)
        memory->count++;
    return SOMA_OK;
}

void
soma_memory_get(const soma_memory *memory, int at, float *x)
{
    size_t size = (size_t)memory->size, first = (size_t)at * size;
    if (memory->bytes)
        for (size_t i = 0; i < size; i++)
            x[i] = memory->bytes[first + i];
    else
        memcpy(x, memory->floats + first, size * sizeof *x);
}
