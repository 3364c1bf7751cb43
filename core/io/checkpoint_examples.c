#include "core/io/checkpoint_examples.h"

#include <endian.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *x, *labels;
} names[2] = {{"memory.x", "memory.labels"}, {"guard.x", "guard.labels"}};

bool
soma_checkpoint_names_examples(const char *name)
{
    for (int i = 0; i < 2; i++)
        if (!strcmp(name, names[i].x) || !strcmp(name, names[i].labels))
            return true;
    return false;
}

/* ---- Reading ---- */

static int64_t
little_endian(const unsigned char *data, int size)
{
    uint64_t value = 0;
    for (int i = size - 1; i >= 0; i--)
        value = value << 8 | data[i];
    return size == 4 ? (int32_t)value : (int64_t)value;
}

static soma_status
read_labels(const soma_tensor *tensor, int classes, int *labels,
            soma_error *err)
{
    int size = !strcmp(tensor->dtype, "U8")    ? 1
               : !strcmp(tensor->dtype, "I32") ? 4
               : !strcmp(tensor->dtype, "I64") ? 8
                                               : 0;
    if (!size)
        return soma_error_set(
            err, SOMA_E_UNSUPPORTED,
            "tensor \"%s\": expected U8, I32 or I64, got %.8s", tensor->name,
            tensor->dtype);
    for (uint64_t i = 0; i < tensor->elements; i++) {
        int64_t label = little_endian(tensor->data + i * (uint64_t)size, size);
        if (label < 0 || label >= classes)
            return soma_error_set(err, SOMA_E_ARGUMENT,
                                  "tensor \"%s\": element %llu: expected a "
                                  "class from 0 to %d, got %lld",
                                  tensor->name, (unsigned long long)i,
                                  classes - 1, (long long)label);
        labels[i] = (int)label;
    }
    return SOMA_OK;
}

static soma_status
check_shapes(const soma_tensor *x, const soma_tensor *labels, int size,
             soma_error *err)
{
    if (x->rank == 2 && x->shape[1] == (uint64_t)size && labels->rank == 1 &&
        labels->shape[0] == x->shape[0] && x->shape[0] <= 1 << 24)
        return SOMA_OK;
    return soma_error_set(err, SOMA_E_SHAPE,
                          "tensors \"%s\" and \"%s\": expected shapes [n, %d] "
                          "and [n], n at most %d",
                          x->name, labels->name, size, 1 << 24);
}

static soma_status
read_values(const soma_tensor *tensor, soma_memory *memory, soma_error *err)
{
    if (!strcmp(tensor->dtype, "U8")) {
        memcpy(memory->bytes, tensor->data, (size_t)tensor->elements);
        return SOMA_OK;
    }
    size_t size = (size_t)memory->size;
    float *x = malloc(size * sizeof *x);
    soma_status status = x ? SOMA_OK : soma_error_memory(err, "examples");
    int count = memory->count;
    memory->count = 0;
    for (int i = 0; i < count && !status; i++) {
        status = soma_tensor_part(tensor, (uint64_t)i * size, size, x, err);
        if (!status)
            status = soma_memory_put(memory, i, x, memory->labels[i], err);
    }
    free(x);
    return status;
}

static soma_status
read_set(const soma_safetensors *st, int which, const soma_spec *spec,
         soma_memory *memory, soma_error *err)
{
    const soma_tensor *x = soma_safetensors_find(st, names[which].x);
    const soma_tensor *labels = soma_safetensors_find(st, names[which].labels);
    if (!x && !labels)
        return SOMA_OK;
    if (!x || !labels)
        return soma_error_set(err, SOMA_E_FORMAT,
                              "tensors \"%s\" and \"%s\": only one of them is "
                              "there",
                              names[which].x, names[which].labels);
    soma_status status = check_shapes(x, labels, spec->input.size, err);
    if (!status)
        status =
            soma_memory_create(memory, spec->input.size, (int)x->shape[0], err);
    if (status)
        return status;
    memory->count = memory->room;
    status = read_labels(labels, spec->classes, memory->labels, err);
    return status ? status : read_values(x, memory, err);
}

soma_status
soma_checkpoint_load_examples(const soma_safetensors *st,
                              soma_checkpoint *checkpoint, soma_error *err)
{
    const soma_spec *spec = &checkpoint->model->spec;
    soma_status status = read_set(st, 0, spec, &checkpoint->memory, err);
    return status ? status : read_set(st, 1, spec, &checkpoint->guard, err);
}

/* ---- Writing ---- */

int
soma_checkpoint_put_examples(const soma_memory *memory, bool guard,
                             soma_tensor_out *tensors)
{
    if (!memory->count)
        return 0;
    uint64_t count = (uint64_t)memory->count;
    tensors[0] = (soma_tensor_out){
        .name = names[guard].x,
        .dtype = memory->bytes ? SOMA_U8 : SOMA_F32,
        .rank = 2,
        .shape = {count, (uint64_t)memory->size},
        .values = memory->bytes ? (const void *)memory->bytes : memory->floats};
    tensors[1] = (soma_tensor_out){.name = names[guard].labels,
                                   .dtype = SOMA_I32,
                                   .rank = 1,
                                   .shape = {count},
                                   .values = memory->labels};
    return 2;
}

static soma_status
check_set(const soma_memory *memory, const soma_spec *spec, const char *name,
          soma_error *err)
{
    if (memory->count && memory->size != spec->input.size)
        return soma_error_set(err, SOMA_E_SHAPE,
                              "%s: examples have %d values, the model's input "
                              "has %d",
                              name, memory->size, spec->input.size);
    for (int i = 0; i < memory->count; i++)
        if (memory->labels[i] < 0 || memory->labels[i] >= spec->classes)
            return soma_error_set(err, SOMA_E_ARGUMENT,
                                  "%s: example %d: expected a class from 0 to "
                                  "%d, got %d",
                                  name, i, spec->classes - 1,
                                  memory->labels[i]);
    size_t values = (size_t)memory->count * (size_t)memory->size;
    for (size_t i = 0; memory->floats && i < values; i++)
        if (!isfinite(memory->floats[i]))
            return soma_error_set(err, SOMA_E_NOT_FINITE,
                                  "%s: value %zu is not finite", name, i);
    return SOMA_OK;
}

soma_status
soma_checkpoint_check_examples(const soma_checkpoint *checkpoint,
                               soma_error *err)
{
    const soma_spec *spec = &checkpoint->model->spec;
    soma_status status = check_set(&checkpoint->memory, spec, "memory", err);
    return status ? status : check_set(&checkpoint->guard, spec, "guard", err);
}
