/* IDX: a file of labels and one of images (datasets.h: two parts), either of
 * them packed by gzip if it begins so. */
#include "tests/fuzz/datasets.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t length = datasets_split(&data, &size);
    files_write("x-labels-idx1-ubyte", data, length);
    datasets_open(
        files_write("x-images-idx3-ubyte", data + length, size - length), NULL);
    return 0;
}
