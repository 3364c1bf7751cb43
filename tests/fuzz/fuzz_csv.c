/* CSV: the first byte chooses the options, the rest is the file. */
#include "tests/fuzz/datasets.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char one[] = "cat", two[] = "dog";
    static char *names[] = {one, two};
    static const soma_classes classes = {.count = 2, .names = names};
    if (size == 0)
        return 0;
    soma_dataset_options options = {.label_column =
                                        data[0] & 1 ? "label" : NULL,
                                    .classes = data[0] & 2 ? &classes : NULL};
    datasets_open(files_write("x.csv", data + 1, size - 1), &options);
    return 0;
}
