#include "core/io/checkpoint.h"

#include <stdlib.h>
#include <string.h>

void
soma_classes_free(soma_classes *classes)
{
    for (int i = 0; i < classes->count; i++)
        free(classes->names[i]);
    free(classes->names);
    *classes = (soma_classes){0, NULL};
}

soma_status
soma_classes_copy(soma_classes *to, const soma_classes *from, soma_error *err)
{
    *to = (soma_classes){0, NULL};
    if (from->count == 0)
        return SOMA_OK;
    to->names = calloc((size_t)from->count, sizeof *to->names);
    while (to->names && to->count < from->count) {
        char *name = strdup(from->names[to->count]);
        if (!name)
            break;
        to->names[to->count++] = name;
    }
    if (to->count == from->count)
        return SOMA_OK;
    soma_classes_free(to);
    return soma_error_memory(err, "names of classes");
}

int
soma_classes_find(const soma_classes *classes, const char *name)
{
    for (int i = 0; i < classes->count; i++)
        if (!strcmp(classes->names[i], name))
            return i;
    return -1;
}
