/* Model files: any bytes are a model or are refused. A model that is read has
 * finite weights, answers, and is the same once written and read again. */
#include "tests/fuzz/files.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    soma_error err = {SOMA_OK, ""};
    soma_checkpoint checkpoint;
    soma_bytes bytes = files_bytes(data, size);
    soma_status status = soma_checkpoint_parse(&bytes, NULL, &checkpoint, &err);
    files_explained(status, &err);
    if (!status) {
        files_answer(checkpoint.model);
        files_again(&checkpoint);
    }
    soma_checkpoint_free(&checkpoint);
    return 0;
}
