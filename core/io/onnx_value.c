/* Memory, names and values of the ONNX reader. */
#include "core/io/onnx_parts.h"
#include "core/io/quote.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Memory ---- */

typedef struct soma_onnx_block {
    struct soma_onnx_block *next;
    _Alignas(16) unsigned char data[];
} soma_onnx_block;

typedef struct soma_onnx_slot {
    const char *name;
    soma_onnx_value *value;
} soma_onnx_slot;

void *
soma_onnx_alloc(soma_onnx *onnx, size_t count, size_t size, soma_error *err)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > onnx->budget) {
        soma_error_set(err, SOMA_E_LIMIT,
                       "the graph's constants need too much memory: 1 GiB is "
                       "the bound, besides the weights");
        return NULL;
    }
    soma_onnx_block *block = calloc(1, sizeof *block + bytes);
    if (!block) {
        soma_error_memory(err, "an ONNX graph");
        return NULL;
    }
    onnx->budget -= bytes;
    block->next = onnx->blocks;
    onnx->blocks = block;
    return block->data;
}

void
soma_onnx_free(soma_onnx *onnx)
{
    while (onnx->blocks) {
        soma_onnx_block *next = onnx->blocks->next;
        free(onnx->blocks);
        onnx->blocks = next;
    }
    free(onnx->table);
    onnx->table = NULL;
}

/* ---- Names ---- */

/* FNV-1a. */
static size_t
hash_of(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    return (size_t)(hash ^ hash >> 32);
}

static soma_onnx_slot *
slot_of(const soma_onnx *onnx, const char *name)
{
    size_t at = hash_of(name) & (onnx->slots - 1);
    while (onnx->table[at].name && strcmp(onnx->table[at].name, name) != 0)
        at = (at + 1) & (onnx->slots - 1);
    return &onnx->table[at];
}

static soma_status
grow(soma_onnx *onnx, soma_error *err)
{
    size_t slots = onnx->slots, more = slots ? slots * 2 : 256;
    soma_onnx_slot *old = onnx->table;
    soma_onnx_slot *table = calloc(more, sizeof *table);
    if (!table)
        return soma_error_memory(err, "an ONNX graph");
    onnx->table = table;
    onnx->slots = more;
    for (size_t i = 0; i < slots; i++)
        if (old[i].name)
            *slot_of(onnx, old[i].name) = old[i];
    free(old);
    return SOMA_OK;
}

/* The first value of a name stays: ONNX forbids a second. */
soma_status
soma_onnx_name(soma_onnx *onnx, const char *name, soma_onnx_value *value,
               soma_error *err)
{
    if (!name || !*name)
        return SOMA_OK;
    if (onnx->used * 2 >= onnx->slots) {
        soma_status status = grow(onnx, err);
        if (status)
            return status;
    }
    soma_onnx_slot *slot = slot_of(onnx, name);
    if (slot->name) {
        char text[SOMA_QUOTE_SIZE];
        return soma_error_set(err, SOMA_E_FORMAT,
                              "the value \"%s\" stands there twice",
                              soma_quote(name, text));
    }
    *slot = (soma_onnx_slot){name, value};
    onnx->used++;
    return SOMA_OK;
}

soma_onnx_value *
soma_onnx_find(const soma_onnx *onnx, const char *name)
{
    return onnx->slots ? slot_of(onnx, name)->value : NULL;
}

/* ---- Values ---- */

soma_onnx_value *
soma_onnx_new(soma_onnx *onnx, const soma_onnx_node *node, soma_onnx_kind kind,
              soma_error *err)
{
    soma_onnx_value *value = soma_onnx_alloc(onnx, 1, sizeof *value, err);
    if (!value)
        return NULL;
    value->node = node;
    value->kind = kind;
    value->size = 1;
    value->pieces = 1;
    value->alpha = 1;
    return value;
}

soma_onnx_value *
soma_onnx_derive(soma_onnx *onnx, const soma_onnx_node *node,
                 soma_onnx_kind kind, const soma_onnx_value *from,
                 soma_error *err)
{
    soma_onnx_value *value = soma_onnx_new(onnx, node, kind, err);
    if (!value)
        return NULL;
    value->from = from;
    value->rank = from->rank;
    memcpy(value->dims, from->dims, sizeof value->dims);
    value->size = from->size;
    value->batched = from->batched;
    value->is_whole = from->is_whole;
    return value;
}

soma_onnx_value *
soma_onnx_constant(soma_onnx *onnx, const soma_onnx_node *node, int rank,
                   const int64_t *dims, bool whole, soma_error *err)
{
    soma_onnx_value *value = soma_onnx_new(onnx, node, ONNX_CONSTANT, err);
    if (!value)
        return NULL;
    value->rank = rank;
    for (int i = 0; i < rank; i++) {
        value->dims[i] = dims[i];
        if (dims[i] < 0 ||
            __builtin_mul_overflow(value->size, (size_t)dims[i],
                                   &value->size) ||
            value->size > ONNX_MAX_FOLDED) {
            soma_onnx_refuse(node, err, SOMA_E_LIMIT,
                             "a computed constant of more than %d elements",
                             ONNX_MAX_FOLDED);
            return NULL;
        }
    }
    void *memory = soma_onnx_alloc(
        onnx, value->size, whole ? sizeof(int64_t) : sizeof(float), err);
    if (whole)
        value->whole = memory;
    else
        value->floats = memory;
    return memory ? value : NULL;
}

/* ---- Nodes ---- */

soma_status
soma_onnx_refuse(const soma_onnx_node *node, soma_error *err,
                 soma_status status, const char *format, ...)
{
    char text[sizeof err->text], name[SOMA_QUOTE_SIZE], type[SOMA_QUOTE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!node)
        return soma_error_set(err, status, "%s", text);
    const char *called = node->name && *node->name ? node->name
                         : node->n_output          ? node->output[0]
                                                   : "";
    return soma_error_set(
        err, status, "node \"%s\" (%s): %s", soma_quote(called, name),
        soma_quote(node->op_type ? node->op_type : "", type), text);
}

soma_status
soma_onnx_advise(const soma_onnx *onnx, const char *option, soma_error *err)
{
    if (!onnx->as_it_is || !onnx->path)
        return err->status;
    const char *slash = strrchr(onnx->path, '/');
    const char *file = slash ? slash + 1 : onnx->path;
    const char *dot = strrchr(file, '.');
    int stem = (int)(dot ? (size_t)(dot - file) : strlen(file));
    size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used,
             "; type: soma import %s %.*s.safetensors %s, and take %.*s."
             "safetensors in its place",
             onnx->path, stem, file, option, stem, file);
    return err->status;
}

soma_onnx_value *
soma_onnx_arg(const soma_onnx *onnx, const soma_onnx_node *node, size_t i)
{
    if (i >= node->n_input || !*node->input[i])
        return NULL;
    return soma_onnx_find(onnx, node->input[i]);
}

const soma_onnx_attribute *
soma_onnx_attr(const soma_onnx_node *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++)
        if (node->attribute[i]->name && !strcmp(node->attribute[i]->name, name))
            return node->attribute[i];
    return NULL;
}

int64_t
soma_onnx_attr_int(const soma_onnx_node *node, const char *name,
                   int64_t fallback)
{
    const soma_onnx_attribute *attribute = soma_onnx_attr(node, name);
    return attribute && attribute->has_i ? attribute->i : fallback;
}

float
soma_onnx_attr_float(const soma_onnx_node *node, const char *name,
                     float fallback)
{
    const soma_onnx_attribute *attribute = soma_onnx_attr(node, name);
    return attribute && attribute->has_f ? attribute->f : fallback;
}
