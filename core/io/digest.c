#include "core/io/checkpoint.h"
#include "core/matrix.h"

#include <endian.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>

static void
update(struct sha256_ctx *context, const float *values, size_t count)
{
#if __BYTE_ORDER == __LITTLE_ENDIAN
    sha256_update(context, count * sizeof *values, (const uint8_t *)values);
#else
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bits = htole32(bits);
        sha256_update(context, sizeof bits, (const uint8_t *)&bits);
    }
#endif
}

static void
put_hex(struct sha256_ctx *context, char hex[SOMA_DIGEST_HEX + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(context, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        *hex++ = digits[digest[i] >> 4];
        *hex++ = digits[digest[i] & 15];
    }
    *hex = '\0';
}

soma_status
soma_model_digest(const soma_model *model, char hex[SOMA_DIGEST_HEX + 1],
                  soma_error *err)
{
    struct sha256_ctx context;
    sha256_init(&context);
    for (int i = 0; i < model->spec.depth; i++) {
        const soma_layer *layer = &model->spec.layers[i];
        size_t weights = (size_t)layer->in * (size_t)layer->out;
        float *rows = malloc(weights * sizeof *rows);
        if (!rows)
            return soma_error_memory(err, "a digest");
        soma_matrix_to_rows(layer->in, layer->out, soma_model_weights(model, i),
                            rows);
        update(&context, rows, weights);
        update(&context, soma_model_bias(model, i), (size_t)layer->out);
        free(rows);
    }
    put_hex(&context, hex);
    return SOMA_OK;
}

/* Bytes are hashed as bytes and floats as floats: the same examples are stored
 * the same way. */
static void
update_memory(struct sha256_ctx *context, const soma_memory *memory)
{
    size_t values = (size_t)memory->count * (size_t)memory->size;
    for (int i = 0; i < memory->count; i++) {
        uint32_t label = htole32((uint32_t)memory->labels[i]);
        sha256_update(context, sizeof label, (const uint8_t *)&label);
    }
    if (memory->bytes)
        sha256_update(context, values, memory->bytes);
    else if (memory->floats)
        update(context, memory->floats, values);
}

soma_status
soma_checkpoint_digest(const soma_checkpoint *checkpoint,
                       char hex[SOMA_DIGEST_HEX + 1], soma_error *err)
{
    const soma_model *model = checkpoint->model;
    size_t normals = (size_t)model->spec.input.normals;
    struct sha256_ctx context;
    soma_status status = soma_model_digest(model, hex, err);
    if (status)
        return status;
    sha256_init(&context);
    sha256_update(&context, SOMA_DIGEST_HEX, (const uint8_t *)hex);
    update(&context, soma_model_mean(model), normals);
    update(&context, soma_model_std(model), normals);
    update_memory(&context, &checkpoint->memory);
    put_hex(&context, hex);
    return SOMA_OK;
}
