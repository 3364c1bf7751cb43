/* NumPy: an even first byte is followed by an .npz file, an odd one by a file
 * of labels and one of images (datasets.h: two parts). */
#include "core/io/npy.h"
#include "tests/fuzz/datasets.h"
#include "tests/fuzz/fuzz.h"

static void
read_array(const uint8_t *data, size_t size)
{
    soma_error err = {SOMA_OK, ""};
    soma_npy array;
    soma_status status = soma_npy_parse(data, size, &array, &err);
    files_explained(status, &err);
    if (status)
        return;
    must(array.count <= size / array.width);
    float *values = calloc(array.count + 1, sizeof *values);
    uint8_t *bytes = calloc(array.count + 1, 1);
    must(values && bytes);
    bool finite = soma_npy_floats(&array, values);
    bool small = soma_npy_bytes(&array, bytes);
    for (size_t i = 0; i < array.count; i++) {
        must(!finite || values[i] - values[i] == 0);
        must(!small || (finite && values[i] == (float)bytes[i]));
    }
    free(values);
    free(bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool pair = data[0] & 1;
    data++, size--;
    if (!pair) {
        datasets_open(files_write("x.npz", data, size), NULL);
        return 0;
    }
    size_t length = datasets_split(&data, &size);
    read_array(data + length, size - length);
    char labels[PATH_MAX];
    snprintf(labels, sizeof labels, "%s", files_write("y.npy", data, length));
    soma_dataset_options options = {.labels = labels};
    datasets_open(files_write("x.npy", data + length, size - length), &options);
    return 0;
}
