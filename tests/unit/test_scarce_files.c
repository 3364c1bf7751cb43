/* Readers and writers of files while memory is short (exhaust.h): each reader
 * over its fuzz target's corpus, each format of datasets, each format that
 * models are written in.
 */
#include "core/io/dataset.h"
#include "core/io/json.h"
#include "core/io/onnx.h"
#include "core/io/picture.h"
#include "core/io/state_dict.h"
#include "core/matrix.h"
#include "tests/unit/exhaust.h"
#include "tests/unit/scratch.h"

#include <dirent.h>
#include <minizip/zip.h>
#include <png.h>
#include <unistd.h>

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

/* Its digest, and what a digest does not see. */
static uint32_t
sum_of_model(const soma_checkpoint *checkpoint)
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

static soma_status
finish_model(soma_status status, soma_checkpoint *checkpoint, uint32_t *sum)
{
    scarce_stop();
    if (!status)
        *sum = sum_of_model(checkpoint);
    else
        assert_null(checkpoint->model);
    soma_checkpoint_free(checkpoint);
    return status;
}

/* The first byte chooses a fuzz target's options; here there are none. */
static soma_status
read_onnx(const void *about, uint32_t *sum, soma_error *err)
{
    const soma_bytes *file = about;
    soma_checkpoint checkpoint = {0};
    soma_status status =
        soma_onnx_parse(file->data + 1, file->size - 1, NULL, &checkpoint, err);
    return finish_model(status, &checkpoint, sum);
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
    return finish_model(status, &checkpoint, sum);
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
    return finish_model(status, &checkpoint, sum);
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

/* ---- Models, written and read back ---- */

static soma_checkpoint whole; /* has all that a model file can have */

static const char spec_text[] =
    "{\"format\":1,\"input\":{\"shape\":[3,2,2],\"range\":[-1,2],"
    "\"mean\":[1,2,3],\"std\":[4,5,6]},"
    "\"layers\":[{\"units\":5,\"activation\":\"leaky_relu\",\"slope\":0.2},"
    "{\"units\":4,\"activation\":\"sigmoid\"},{\"units\":2}],"
    "\"loss\":\"softmax_cross_entropy\",\"classes\":[\"cat\",\"dog\"]}";

static soma_status
make_model(const char *text, soma_checkpoint *made, soma_error *err)
{
    soma_spec spec;
    float *mean, *std;
    json_t *json;
    soma_status status =
        soma_json_parse(text, strlen(text), "a spec", &json, err);
    if (status)
        return status;
    status =
        soma_checkpoint_spec(json, &spec, &mean, &std, &made->classes, err);
    json_decref(json);
    if (status)
        return status;
    made->model = soma_model_create(&spec, err);
    for (int i = 0; made->model && i < spec.input.normals; i++) {
        soma_model_mean(made->model)[i] = mean[i];
        soma_model_std(made->model)[i] = std[i];
    }
    for (int i = 0; made->model && i < spec.depth; i++)
        soma_model_bias(made->model, i)[0] = 0.25f;
    free(mean);
    free(std);
    return made->model ? SOMA_OK : err->status;
}

static void
make_whole(void)
{
    float x[12];
    soma_error err;
    assert_int_equal(make_model(spec_text, &whole, &err), SOMA_OK);
    whole.training = json_pack("{s:f}", "rate", 0.125);
    whole.made = json_pack("{s:s}", "by", "a test");
    for (int m = 0; m < 2; m++) {
        soma_memory *memory = m ? &whole.guard : &whole.memory;
        assert_int_equal(soma_memory_create(memory, 12, 3, &err), SOMA_OK);
        for (int i = 0; i < 3; i++) {
            for (int k = 0; k < 12; k++)
                x[k] = (float)(i + k) / (m ? 1.0f : 8.0f);
            assert_int_equal(soma_memory_put(memory, i, x, i % 2, &err), 0);
        }
    }
}

static soma_status
build_spec(const void *about, uint32_t *sum, soma_error *err)
{
    soma_checkpoint made = {0};
    return finish_model(make_model(about, &made, err), &made, sum);
}

/* How a model is written, and to what name. */
typedef struct form {
    const char *name;
    soma_status (*build)(const soma_checkpoint *checkpoint, soma_bytes *bytes,
                         soma_error *err);
} form;

static soma_status
build_plain(const soma_checkpoint *checkpoint, soma_bytes *bytes,
            soma_error *err)
{
    return soma_checkpoint_build(checkpoint, SOMA_F32, bytes, err);
}

static soma_status
build_half(const soma_checkpoint *checkpoint, soma_bytes *bytes,
           soma_error *err)
{
    return soma_checkpoint_build(checkpoint, SOMA_BF16, bytes, err);
}

static soma_status
build_form(const void *about, uint32_t *sum, soma_error *err)
{
    const form *f = about;
    soma_bytes bytes = {NULL, 0};
    soma_status status = f->build(&whole, &bytes, err);
    scarce_stop();
    if (status)
        return status;
    *sum = exhaust_sum(0, bytes.data, bytes.size);
    soma_bytes_free(&bytes);
    return status;
}

static soma_status
read_form(const void *about, uint32_t *sum, soma_error *err)
{
    const form *f = about;
    soma_checkpoint checkpoint = {0};
    soma_status status =
        soma_checkpoint_read(scratch_path(f->name), NULL, &checkpoint, err);
    return finish_model(status, &checkpoint, sum);
}

static soma_status
write_plain(const void *about, uint32_t *sum, soma_error *err)
{
    soma_bytes bytes;
    soma_status status = soma_checkpoint_write(about, &whole, SOMA_F32, err);
    scarce_stop();
    if (status) { /* and what was there is still there */
        assert_int_equal(access(about, R_OK), 0);
        return status;
    }
    assert_int_equal(soma_file_read(about, 1 << 20, 0, &bytes, err), SOMA_OK);
    *sum = exhaust_sum(0, bytes.data, bytes.size);
    soma_bytes_free(&bytes);
    return status;
}

static soma_status
describe(const void *about, uint32_t *sum, soma_error *err)
{
    (void)about;
    json_t *object = soma_checkpoint_describe(&whole.model->spec, whole.model,
                                              &whole.classes);
    scarce_stop();
    if (!object)
        return soma_error_memory(err, "a description");
    char *text = json_dumps(object, JSON_COMPACT);
    *sum = exhaust_sum(0, text, strlen(text));
    free(text);
    json_decref(object);
    return SOMA_OK;
}

static void
models(void **state)
{
    static const form forms[] = {{"whole.safetensors", build_plain},
                                 {"half.safetensors", build_half},
                                 {"net.onnx", soma_onnx_build},
                                 {"net.safetensors", soma_state_dict_build}};
    (void)state;
    make_whole();
    assert_true(exhaust("a spec", build_spec, spec_text) > 20);
    assert_true(exhaust("a description", describe, NULL) > 20);
    scratch_text("net.safetensors.json", spec_text);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        soma_bytes bytes;
        soma_error err;
        assert_int_equal(forms[i].build(&whole, &bytes, &err), SOMA_OK);
        scratch_write(forms[i].name, bytes.data, bytes.size);
        soma_bytes_free(&bytes);
        int written = exhaust(forms[i].name, build_form, &forms[i]);
        int read = exhaust(forms[i].name, read_form, &forms[i]);
        print_message("%s: %d allocations to write, %d to read\n",
                      forms[i].name, written, read);
        assert_true(written > 5 && read > 20);
    }
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", scratch_path("whole.safetensors"));
    assert_true(exhaust("a model file", write_plain, path) > 5);
    soma_checkpoint_free(&whole);
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
        cmocka_unit_test(models),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
