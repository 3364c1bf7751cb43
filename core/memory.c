#include "core/memory.h"

#include <stdlib.h>
#include <string.h>

soma_status
soma_memory_create(soma_memory *memory, int size, int room, soma_error *err)
{
    *memory = (soma_memory){.size = size, .room = room};
    size_t rows = room > 0 ? (size_t)room : 1;
    memory->bytes = malloc(rows * (size_t)size);
    memory->packed = malloc((size_t)size);
    memory->labels = malloc(rows * sizeof *memory->labels);
    if (memory->bytes && memory->packed && memory->labels)
        return SOMA_OK;
    soma_memory_free(memory);
    return soma_error_memory(err, "examples to rehearse");
}

void
soma_memory_free(soma_memory *memory)
{
    free(memory->bytes);
    free(memory->packed);
    free(memory->floats);
    free(memory->labels);
    *memory = (soma_memory){0};
}

/* Without branches and comparisons of floats, which may trap, so that compilers
 * turn it into vectors: 2^23 has no room for fractions, so adding it leaves a
 * whole number in the low bits, and taking it away again gives back the value's
 * very bits if it was one. */
bool
soma_memory_pack(const float *x, size_t count, uint8_t *to)
{
    enum { STRETCH = 256 }; /* other numbers are found out soon */
    static const float two_to_23 = 8388608;
    static const uint32_t its_bits = 0x4b000000;
    uint32_t wrong = 0;
    for (size_t from = 0; from < count && !wrong; from += STRETCH) {
        size_t end = count - from < STRETCH ? count : from + STRETCH;
        for (size_t i = from; i < end; i++) {
            float sum = x[i] + two_to_23, back = sum - two_to_23;
            uint32_t bits, sum_bits, back_bits;
            memcpy(&bits, &x[i], sizeof bits);
            memcpy(&sum_bits, &sum, sizeof bits);
            memcpy(&back_bits, &back, sizeof bits);
            uint32_t whole = sum_bits - its_bits;
            wrong |= (bits ^ back_bits) | whole >> 8;
            to[i] = (uint8_t)whole;
        }
    }
    return !wrong;
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
    if (memory->bytes && !soma_memory_pack(x, size, memory->packed)) {
        soma_status status = soma_memory_as_floats(memory, err);
        if (status)
            return status;
    }
    if (memory->bytes)
        memcpy(memory->bytes + first, memory->packed, size);
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
