#include "server/web/floats.h"

#include <stdlib.h>
#include <string.h>

soma_floats
soma_floats_lent(float *lent, size_t room, size_t most)
{
    return (soma_floats){lent, 0, room, most, false};
}

void
soma_floats_free(soma_floats *floats)
{
    if (floats->owned)
        free(floats->data);
    *floats = (soma_floats){0};
}

soma_status
soma_floats_reserve(soma_floats *floats, size_t more, soma_error *err)
{
    if (floats->room - floats->used >= more)
        return SOMA_OK;
    size_t needed = floats->used + more;
    if (needed > floats->most)
        return soma_error_set(err, SOMA_E_LIMIT,
                              "more than %zu numbers in arrays", floats->most);
    size_t room = floats->room * 2 > 1024 ? floats->room * 2 : 1024;
    room = room < needed ? needed : room;
    room = room > floats->most ? floats->most : room;
    float *data =
        realloc(floats->owned ? floats->data : NULL, room * sizeof *data);
    if (!data)
        return soma_error_memory(err, "the numbers of a request");
    if (!floats->owned && floats->used)
        memcpy(data, floats->data, floats->used * sizeof *data);
    floats->data = data;
    floats->room = room;
    floats->owned = true;
    return SOMA_OK;
}

soma_status
soma_floats_own(soma_floats *floats, size_t first, size_t count,
                soma_error *err)
{
    const float *from = floats->data + first;
    size_t size = count * sizeof *floats->data;
    if (floats->owned) {
        memmove(floats->data, from, size);
        float *less = realloc(floats->data, size);
        floats->data = less ? less : floats->data;
    } else {
        float *data = malloc(size);
        if (!data)
            return soma_error_memory(err, "the numbers of a request");
        memcpy(data, from, size);
        floats->data = data;
        floats->owned = true;
    }
    floats->used = floats->room = count;
    return SOMA_OK;
}
