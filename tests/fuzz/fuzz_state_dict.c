/* PyTorch state_dicts with a sidecar: two bytes (little endian) are the length
 * of the sidecar, which follows, and then the file. A model that is read is one
 * as in fuzz_checkpoint.c, and can be written as a state_dict. */
#include "core/io/state_dict.h"
#include "tests/fuzz/files.h"
#include "tests/fuzz/fuzz.h"

static void export(const soma_checkpoint *checkpoint)
{
    soma_error err = {SOMA_OK, ""};
    soma_bytes bytes = {NULL, 0};
    soma_status status = soma_state_dict_build(checkpoint, &bytes, &err);
    files_explained(status, &err);
    if (!status)
        soma_bytes_free(&bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    soma_error err = {SOMA_OK, ""};
    soma_checkpoint checkpoint;
    if (size < 2)
        return 0;
    size_t length = (size_t)data[0] | (size_t)data[1] << 8;
    data += 2, size -= 2;
    length = length < size ? length : size;
    soma_bytes sidecar = files_bytes(data, length);
    soma_bytes bytes = files_bytes(data + length, size - length);
    soma_status status = soma_checkpoint_parse(
        &bytes, (const char *)sidecar.data, &checkpoint, &err);
    files_explained(status, &err);
    if (!status) {
        files_answer(checkpoint.model);
        files_again(&checkpoint);
        export(&checkpoint);
    }
    soma_checkpoint_free(&checkpoint);
    soma_bytes_free(&sidecar);
    return 0;
}
