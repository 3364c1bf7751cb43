/* What is looked at of a model that was read while memory was short.
 */
#ifndef SOMA_TESTS_UNIT_EXHAUST_MODELS_H
#define SOMA_TESTS_UNIT_EXHAUST_MODELS_H

#include "core/io/checkpoint.h"
#include "tests/unit/exhaust.h"

#include <stdlib.h>

/* Its digest, and what a digest does not see. */
static inline uint32_t
exhaust_sum_model(const soma_checkpoint *checkpoint)
{
    char hex[SOMA_DIGEST_HEX + 1];
    soma_error err;
    uint32_t sum = 0;
    if (soma_checkpoint_digest(checkpoint, hex, &err))
        fail_msg("digest: %s", err.text);
    for (int i = 0; i < checkpoint->classes.count; i++)
        sum = exhaust_sum(sum, checkpoint->classes.names[i],
                          strlen(checkpoint->classes.names[i]));
    char *made = json_dumps(checkpoint->made, JSON_SORT_KEYS);
    if (made)
        sum = exhaust_sum(sum, made, strlen(made));
    free(made);
    return exhaust_sum(sum, hex, strlen(hex));
}

/* Ends the work that read it. */
static inline soma_status
exhaust_model(soma_status status, soma_checkpoint *checkpoint, uint32_t *sum)
{
    scarce_stop();
    if (!status)
        *sum = exhaust_sum_model(checkpoint);
    else
        assert_null(checkpoint->model);
    soma_checkpoint_free(checkpoint);
    return status;
}

#endif
