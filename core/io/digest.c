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

soma_status
soma_model_digest(const soma_model *model, char hex[SOMA_DIGEST_HEX + 1],
                  soma_error *err)
{
    static const char digits[] = "0123456789abcdef";
    struct sha256_ctx context;
    uint8_t digest[SHA256_DIGEST_SIZE];
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
    sha256_digest(&context, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        *hex++ = digits[digest[i] >> 4];
        *hex++ = digits[digest[i] & 15];
    }
    *hex = '\0';
    return SOMA_OK;
}
