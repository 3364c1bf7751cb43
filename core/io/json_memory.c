#include "core/io/json_memory.h"

#include <jansson.h>
#include <stdlib.h>

static _Thread_local bool is_short;

static void *
allocate(size_t size)
{
    void *memory = malloc(size);
    if (!memory)
        is_short = true;
    return memory;
}

/* Before there is any thread. What was taken until then may be freed after. */
__attribute__((constructor)) static void
watch(void)
{
    json_set_alloc_funcs(allocate, free);
}

void
soma_json_memory_begin(void)
{
    is_short = false;
}

bool
soma_json_memory_short(void)
{
    return is_short;
}
