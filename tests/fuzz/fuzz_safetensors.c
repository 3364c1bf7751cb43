/* The safetensors container: any bytes are a file or are refused. Tensors lie
 * within the file, one after the other, and are finite or are refused. */
#include "core/io/safetensors.h"
#include "tests/fuzz/files.h"
#include "tests/fuzz/fuzz.h"

static void
read_tensor(const soma_safetensors *st, const soma_tensor *tensor)
{
    soma_error err = {SOMA_OK, ""};
    const unsigned char *end = st->file.data + st->file.size;
    must(tensor->data >= st->file.data && tensor->data <= end);
    must(tensor->size <= (uint64_t)(end - tensor->data));
    must(soma_safetensors_find(st, tensor->name));
    if (tensor->elements > tensor->size)
        return; /* less than a byte each: no floats */
    float *values = calloc((size_t)tensor->elements + 1, sizeof *values);
    must(values);
    soma_status status = soma_tensor_floats(tensor, values, &err);
    files_explained(status, &err);
    for (uint64_t i = 0; i < tensor->elements && !status; i++)
        must(values[i] - values[i] == 0);
    free(values);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    soma_error err = {SOMA_OK, ""};
    soma_safetensors st;
    soma_bytes bytes = files_bytes(data, size);
    soma_status status = soma_safetensors_parse(&bytes, &st, &err);
    files_explained(status, &err);
    for (int i = 0; i < st.tensor_count && !status; i++)
        read_tensor(&st, &st.tensors[i]);
    for (int i = 0; i < st.meta_count && !status; i++)
        must(soma_safetensors_meta(&st, st.meta[i].key));
    if (!status)
        soma_safetensors_free(&st);
    return 0;
}
