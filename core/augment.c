#include "core/augment.h"

#include <string.h>

soma_status
soma_augment_check(const soma_augment *augment, const soma_input *input,
                   soma_error *err)
{
    if (augment->shift == 0 && !augment->flip)
        return SOMA_OK;
    if (input->rank < 2)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "shift and flip need pictures, the input has "
                              "no rows and columns");
    int height = input->shape[input->rank - 2];
    int width = input->shape[input->rank - 1];
    if (augment->shift < 0 || augment->shift >= height ||
        augment->shift >= width)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "shift: %d pixels of a picture of %d x %d",
                              augment->shift, height, width);
    return SOMA_OK;
}

static int
clamp(int i, int count)
{
    return i < 0 ? 0 : i >= count ? count - 1 : i;
}

void
soma_augment_apply(const soma_augment *augment, const soma_input *input,
                   soma_rng *rng, const float *from, float *to)
{
    if (augment->shift == 0 && !augment->flip) {
        memcpy(to, from, (size_t)input->size * sizeof *to);
        return;
    }
    uint32_t span = 2 * (uint32_t)augment->shift + 1;
    int down = (int)soma_rng_below(rng, span) - augment->shift;
    int right = (int)soma_rng_below(rng, span) - augment->shift;
    bool mirror = augment->flip && soma_rng_below(rng, 2);

    int height = input->shape[input->rank - 2];
    int width = input->shape[input->rank - 1];
    int planes = input->size / (height * width);
    for (int p = 0; p < planes; p++, from += height * width)
        for (int y = 0; y < height; y++) {
            const float *row = from + clamp(y - down, height) * width;
            for (int x = 0; x < width; x++) {
                int source = clamp(x - right, width);
                *to++ = row[mirror ? width - 1 - source : source];
            }
        }
}
