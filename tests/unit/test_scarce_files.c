/* Readers of files while memory is short (exhaust.h): each over its fuzz
 * target's corpus, and each format of datasets. */
#include "core/io/dataset.h"
#include "core/io/onnx.h"
#include "core/io/picture.h"
#include "core/matrix.h"
#include "tests/unit/exhaust_models.h"
#include "tests/unit/scratch.h"

#include <dirent.h>
#include <minizip/zip.h>
#include <png.h>

/* ---- Each file of a corpus ---- */

static soma_bytes
bytes_of(const unsigned char *data, size_t size)
{
    soma_bytes bytes = {malloc(size + 1), size};
    if (bytes.data) {
        memcpy(bytes.data, data, size);
        bytes.data[size] = 0;
    }
    return bytes;
}

/* The first byte chooses a fuzz target's options; here there are none. */
static soma_status
read_onnx(const void *about, uint32_t *sum, soma_error *err)
{
    const soma_bytes *file = about;
    soma_checkpoint checkpoint = {0};
    soma_status status =
        soma_onnx_parse(file->data + 1, file->size - 1, NULL, &checkpoint, err);
    return exhaust_model(status, &checkpoint, sum);
}

static soma_status
read_model(const void *about, uint32_t *sum, soma_error *err)
{
    const soma_bytes *file = about;
    soma_checkpoint checkpoint = {0};
    soma_bytes bytes = bytes_of(file->data, file->size);
    if (!bytes.data)
        return soma_error_memory(err, "the test");
    soma_status status = soma_checkpoint_parse(&bytes, NULL, &checkpoint, err);
    return exhaust_model(status, &checkpoint, sum);
}

/* Two bytes: the length of the sidecar, which follows, and then the file. */
static soma_status
read_state_dict(const void *about, uint32_t *sum, soma_error *err)
{
    const soma_bytes *file = about;
    size_t length = (size_t)file->data[0] | (size_t)file->data[1] << 8;
    char sidecar[4096];
    soma_checkpoint checkpoint = {0};
    assert_true(length < sizeof sidecar && length + 2 < file->size);
    memcpy(sidecar, file->data + 2, length);
    sidecar[length] = 0;
    soma_bytes bytes =
        bytes_of(file->data + 2 + length, file->size - 2 - length);
    if (!bytes.data)
        return soma_error_memory(err, "the test");
    soma_status status =
        soma_checkpoint_parse(&bytes, sidecar, &checkpoint, err);
    return exhaust_model(status, &checkpoint, sum);
}

static soma_status
read_picture(const void *about, uint32_t *sum, soma_error *err)
{
    enum { CHANNELS = 3, SIDE = 5 };
    const soma_bytes *file = about;
    soma_picture picture = {0};
    float planes[CHANNELS * SIDE * SIDE];
    soma_status status =
        soma_picture_decode(file->data, file->size, &picture, err);
    if (!status)
        status =
            soma_picture_planes(&picture, CHANNELS, SIDE, SIDE, planes, err);
    scarce_stop();
    if (!status)
        *sum = exhaust_sum(0, planes, sizeof planes);
    soma_picture_free(&picture);
    return status;
}

static int
exhaust_corpus(const char *name, exhaust_work *work)
{
    char path[512];
    struct dirent *entry;
    int files = 0, count = 0;
    soma_error err;
    snprintf(path, sizeof path, "tests/fuzz/corpus/%s", name);
    DIR *folder = opendir(path);
    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        soma_bytes bytes;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "tests/fuzz/corpus/%s/%s", name,
                 entry->d_name);
        assert_int_equal(soma_file_read(path, 1 << 20, 0, &bytes, &err), 0);
        count += exhaust(path, work, &bytes);
        soma_bytes_free(&bytes);
        files++;
    }
    closedir(folder);
    print_message("%s: %d files, %d allocations\n", name, files, count);
    assert_true(files > 1);
    return count;
}

static void
corpora(void **state)
{
    (void)state;
    assert_true(exhaust_corpus("onnx", read_onnx) > 500);
    assert_true(exhaust_corpus("checkpoint", read_model) > 50);
    assert_true(exhaust_corpus("safetensors", read_model) > 5);
    assert_true(exhaust_corpus("state_dict", read_state_dict) > 20);
    assert_true(exhaust_corpus("picture", read_picture) > 20);
}

/* ---- Datasets ---- */

typedef struct source {
    const char *path;
    soma_dataset_options options;
} source;

static soma_status
open_dataset(const void *about, uint32_t *sum, soma_error *err)
{
    const source *s = about;
    soma_dataset d = {0};
    soma_status status =
        soma_dataset_open(scratch_path(s->path), &s->options, &d, err);
    scarce_stop();
    if (status) {
        assert_true(!d.labels && !d.bytes && !d.values && !d.classes.names);
        return status;
    }
    size_t count = (size_t)d.count * (size_t)d.size;
    *sum = d.bytes ? exhaust_sum(0, d.bytes, count)
                   : exhaust_sum(0, d.values, count * sizeof *d.values);
    *sum = exhaust_sum(*sum, d.labels, (size_t)d.count * sizeof *d.labels);
    for (int i = 0; i < d.classes.count; i++)
        *sum =
            exhaust_sum(*sum, d.classes.names[i], strlen(d.classes.names[i]));
    soma_dataset_free(&d);
    return status;
}

static void
write_npy(const char *name, const char *shape, const void *data, size_t size)
{
    unsigned char file[256] = "\x93NUMPY\x01";
    int used = snprintf((char *)file + 10, sizeof file - 10,
                        "{'descr': '|u1', 'fortran_order': False, 'shape': "
                        "(%s,)}\n",
                        shape);
    file[8] = (unsigned char)used;
    memcpy(file + 10 + used, data, size);
    scratch_write(name, file, 10 + (size_t)used + size);
}

static void
write_png(const char *name, unsigned char value)
{
    unsigned char pixels[4] = {value, 1, 2, 3};
    png_image image = {.version = PNG_IMAGE_VERSION, .width = 2, .height = 2};
    image.format = PNG_FORMAT_GRAY;
    assert_true(png_image_write_to_file(&image, scratch_path(name), 0, pixels,
                                        0, NULL));
}

static void
write_npz(const char *name)
{
    static const char *const members[] = {"x_train.npy", "y_train.npy"};
    zipFile zip = zipOpen(scratch_path(name), APPEND_STATUS_CREATE);
    assert_non_null(zip);
    for (int i = 0; i < 2; i++) {
        soma_bytes bytes;
        soma_error err;
        assert_int_equal(soma_file_read(scratch_path(i ? "y.npy" : "x.npy"),
                                        1 << 10, 0, &bytes, &err),
                         0);
        assert_int_equal(zipOpenNewFileInZip(zip, members[i], NULL, NULL, 0,
                                             NULL, 0, NULL, Z_DEFLATED, 6),
                         ZIP_OK);
        assert_int_equal(
            zipWriteInFileInZip(zip, bytes.data, (unsigned)bytes.size), ZIP_OK);
        assert_int_equal(zipCloseFileInZip(zip), ZIP_OK);
        soma_bytes_free(&bytes);
    }
    assert_int_equal(zipClose(zip, NULL), ZIP_OK);
}

static void
write_cifar10(void)
{
    enum { RECORD = 3073 };
    static unsigned char records[2 * RECORD];
    for (size_t i = 0; i < sizeof records; i++)
        records[i] = (unsigned char)(i % RECORD ? i * 7 : i / RECORD);
    scratch_folder("cifar");
    scratch_text("cifar/batches.meta.txt", "plane\ncar\nbird\ncat\ndeer\ndog\n"
                                           "frog\nhorse\nship\ntruck\n");
    for (int i = 1; i <= 5; i++) {
        char name[64];
        snprintf(name, sizeof name, "cifar/data_batch_%d.bin", i);
        scratch_write(name, records, sizeof records);
    }
}

/* More classes than the first room for their names. */
static void
write_pictures(void)
{
    char name[64];
    scratch_folder("pictures");
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "pictures/class %d", i);
        scratch_folder(name);
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "pictures/class %d/%d.png", i, k);
            write_png(name, (unsigned char)(2 * i + k));
        }
    }
}

static void
write_datasets(void)
{
    static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2,
                                     0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8};
    static const uint8_t floats[] = {0, 0, 13, 2, 0, 0, 0,  2,   0, 0,
                                     0, 1, 63, 0, 0, 0, 63, 128, 0, 0};
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 4, 1};
    scratch_folder("idx");
    scratch_gzip("idx/train-images-idx3-ubyte.gz", images, sizeof images);
    scratch_write("idx/train-labels-idx1-ubyte", labels, sizeof labels);
    scratch_write("a-images-idx2-ubyte", floats, sizeof floats);
    scratch_write("a-labels-idx1-ubyte", labels, sizeof labels);
    scratch_text("named.csv", "x,kind,y\n1,tea,2\n3,coffee,4\n5,tea,6.5\n");
    scratch_text("quoted.csv", "\"a \"\"b\"\"\",1,2\nc,3,4\n");
    write_npy("x.npy", "2, 3", "\1\2\3\4\5\6", 6);
    write_npy("y.npy", "2", "\0\1", 2);
    write_npz("set.npz");
    write_cifar10();
    write_pictures();
}

static void
datasets(void **state)
{
    static char tea[] = "tea", coffee[] = "coffee";
    static char *names[] = {tea, coffee};
    static const soma_classes classes = {2, names};
    static char labels[PATH_MAX];
    const source sources[] = {
        {"idx", {.split = SOMA_SPLIT_TRAIN}},
        {"a-images-idx2-ubyte", {.split = SOMA_SPLIT_TRAIN}},
        {"cifar", {.split = SOMA_SPLIT_TRAIN}},
        {"named.csv", {.label_column = "kind"}},
        {"named.csv", {.label_column = "kind", .classes = &classes}},
        {"quoted.csv", {.split = SOMA_SPLIT_TRAIN}},
        {"x.npy", {.labels = labels}},
        {"set.npz", {.split = SOMA_SPLIT_TRAIN}},
        {"pictures", {.split = SOMA_SPLIT_TRAIN}},
        {"pictures", {.rank = 3, .shape = {3, 1, 1}}},
    };
    (void)state;
    write_datasets();
    snprintf(labels, sizeof labels, "%s", scratch_path("y.npy"));
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        int count = exhaust(sources[i].path, open_dataset, &sources[i]);
        print_message("%s: %d allocations\n", sources[i].path, count);
        assert_true(count > 2);
    }
}

/* A sample of a data set, and its labels made two. */
static soma_status
sample_dataset(const void *about, uint32_t *sum, soma_error *err)
{
    float values[] = {0.5f, 1, 2, 3, 4, 5};
    int labels[] = {0, 1, 2};
    const bool *remove = about;
    soma_memory memory = {0};
    soma_dataset d = {.count = 3,
                      .rank = 1,
                      .shape = {2},
                      .size = 2,
                      .values = values,
                      .labels = labels,
                      .label_count = 3};
    soma_status status = soma_dataset_sample(&d, 2, 1, *remove, &memory, err);
    if (!status)
        status = soma_dataset_versus_rest(&d, 1, err);
    scarce_stop();
    if (status)
        assert_int_equal(d.label_count, 3); /* as it was */
    if (!status) {
        *sum = exhaust_sum(0, memory.floats, 4 * sizeof *memory.floats);
        *sum = exhaust_sum(*sum, labels, (size_t)d.count * sizeof *labels);
        assert_string_equal(d.classes.names[0], "not 1");
    }
    soma_memory_free(&memory);
    soma_classes_free(&d.classes);
    return status;
}

static void
samples(void **state)
{
    (void)state;
    for (int remove = 0; remove < 2; remove++)
        assert_true(exhaust("a sample", sample_dataset, &(bool){remove}) > 5);
}

static int
set_up(void **state)
{
    scarce_set_up();
    return soma_matrix_setup(NULL) ? -1 : scratch_make(state);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corpora),
        cmocka_unit_test(datasets),
        cmocka_unit_test(samples),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
