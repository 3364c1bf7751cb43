/* .npy headers and elements; .npz and .npy as datasets. */
#include "core/io/dataset.h"
#include "core/io/npy.h"
#include "tests/unit/nets.h"
#include "tests/unit/scratch.h"

#include <zlib.h>

/* A file of version 1 with this header and these elements. */
static size_t
make_npy(unsigned char *to, const char *header, const void *data, size_t size)
{
    size_t length = strlen(header);
    memcpy(to, "\x93NUMPY\x01\x00", 8);
    to[8] = (unsigned char)(length & 0xff);
    to[9] = (unsigned char)(length >> 8);
    memcpy(to + 10, header, length);
    memcpy(to + 10 + length, data, size);
    return 10 + length + size;
}

static void
expect_floats(const char *header, const void *data, size_t size, int count,
              const float *want)
{
    unsigned char file[512];
    float got[16];
    soma_npy array;
    soma_error err;
    size_t whole = make_npy(file, header, data, size);
    nets_ok(soma_npy_parse(file, whole, &array, &err), &err);
    assert_int_equal(array.count, count);
    assert_true(soma_npy_floats(&array, got));
    for (int i = 0; i < count; i++)
        assert_true(got[i] == want[i]);
}

static void
test_types(void **state)
{
    (void)state;
    expect_floats("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } "
                  "  \n",
                  (const float[]){1.5f, -2}, 8, 2, (const float[]){1.5f, -2});
    expect_floats("{'descr': '<f8', 'fortran_order': False, 'shape': (2,)}",
                  (const double[]){0.1, -2}, 16, 2, (const float[]){0.1f, -2});
    expect_floats("{\"descr\": \"|u1\", \"fortran_order\": False, "
                  "\"shape\": (1, 3)}",
                  "\x00\x07\xff", 3, 3, (const float[]){0, 7, 255});
    expect_floats("{'descr': '|i1', 'fortran_order': False, 'shape': (2,)}",
                  "\xff\x7f", 2, 2, (const float[]){-1, 127});
    expect_floats("{'descr': '|b1', 'fortran_order': False, 'shape': (2,)}",
                  "\x00\x01", 2, 2, (const float[]){0, 1});
    expect_floats("{'descr': '>i2', 'fortran_order': False, 'shape': (2,)}",
                  "\xff\xfe\x01\x00", 4, 2, (const float[]){-2, 256});
    expect_floats("{'descr': '<i8', 'fortran_order': False, 'shape': ()}",
                  (const int64_t[]){-9}, 8, 1, (const float[]){-9});
    expect_floats("{'descr': '<u4', 'fortran_order': False, 'shape': (1,)}",
                  (const uint32_t[]){4000000000u}, 4, 1,
                  (const float[]){4000000000.0f});
    expect_floats("{'descr': '<f2', 'fortran_order': False, 'shape': (2,)}",
                  "\x00\x3c\x00\xc1", 4, 2, (const float[]){1, -2.5f});
    expect_floats("{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}",
                  "\x3f\x80\x00\x00", 4, 1, (const float[]){1});
}

/* [[0, 1, 2], [3, 4, 5]] with the first index running fastest. */
static void
test_fortran_order(void **state)
{
    (void)state;
    expect_floats("{'shape': (2, 3), 'fortran_order': True, 'descr': '|u1'}",
                  "\x00\x03\x01\x04\x02\x05", 6, 6,
                  (const float[]){0, 1, 2, 3, 4, 5});
}

static void
test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t size;
        soma_status status;
        const char *words;
    } bad[] = {
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 8,
         SOMA_E_UNSUPPORTED, "type '|O'"},
        {"{'descr': '<U5', 'fortran_order': False, 'shape': (1,)}", 20,
         SOMA_E_UNSUPPORTED, "astype"},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", 8,
         SOMA_E_UNSUPPORTED, "type"},
        {"{'descr': '<f3', 'fortran_order': False, 'shape': (1,)}", 3,
         SOMA_E_UNSUPPORTED, "type"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 4,
         SOMA_E_FORMAT, "header"},
        {"{'descr': '<f4', 'fortran_order': False}", 4, SOMA_E_FORMAT,
         "header"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': "
         "(1,)}",
         4, SOMA_E_FORMAT, "header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1)}", 4,
         SOMA_E_FORMAT, "header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", 4,
         SOMA_E_FORMAT, "header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': "
         "(1,1,1,1,1,1,1,1,1)}",
         4, SOMA_E_FORMAT, "header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", 4,
         SOMA_E_FORMAT, "header"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", 4,
         SOMA_E_FORMAT, "4 bytes of elements"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 8,
         SOMA_E_FORMAT, "8 bytes of elements"},
        {"{'descr': '<f8', 'fortran_order': False, 'shape': "
         "(4294967296, 4294967296)}",
         8, SOMA_E_FORMAT, "bytes of elements"},
        {"", 0, SOMA_E_FORMAT, "header"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        unsigned char file[512];
        static const unsigned char zeros[32];
        soma_npy array;
        soma_error err = {SOMA_OK, ""};
        size_t size = make_npy(file, bad[i].header, zeros, bad[i].size);
        soma_status status = soma_npy_parse(file, size, &array, &err);
        if (status != bad[i].status || !strstr(err.text, bad[i].words))
            fail_msg("%s: status %d, %s", bad[i].header, (int)status, err.text);
    }
}

/* Cut anywhere, and with any byte another one. */
static void
test_damage(void **state)
{
    (void)state;
    unsigned char file[512];
    static const unsigned char data[12];
    soma_npy array;
    size_t size = make_npy(
        file, "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)}", data,
        sizeof data);
    for (size_t cut = 0; cut < size; cut++) {
        unsigned char *part = nets_alloc(cut, 1);
        memcpy(part, file, cut);
        assert_int_not_equal(soma_npy_parse(part, cut, &array, NULL), SOMA_OK);
        free(part);
    }
    for (size_t at = 0; at < size; at++)
        for (int bit = 0; bit < 8; bit++) {
            float to[16];
            file[at] ^= (unsigned char)(1 << bit);
            if (!soma_npy_parse(file, size, &array, NULL)) {
                assert_true(array.count <= 12);
                soma_npy_floats(&array, to);
            }
            file[at] ^= (unsigned char)(1 << bit);
        }
}

/* ---- Datasets ---- */

static void
write_npy(const char *name, const char *header, const void *data, size_t size)
{
    unsigned char file[512];
    scratch_write(name, file, make_npy(file, header, data, size));
}

static void
test_pair_of_files(void **state)
{
    (void)state;
    soma_dataset dataset;
    soma_error err;
    write_npy("x_test.npy",
              "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}",
              (const float[]){1, 2, 3, 4, 5, 6.5f}, 24);
    write_npy("y_test.npy",
              "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 1)}",
              (const int64_t[]){4, 0}, 16);
    nets_ok(soma_dataset_open(scratch_path("x_test.npy"), NULL, &dataset, &err),
            &err);
    assert_int_equal(dataset.count, 2);
    assert_int_equal(dataset.size, 3);
    assert_int_equal(dataset.labels[0], 4);
    assert_int_equal(dataset.label_count, 5);
    assert_true(dataset.values[5] == 6.5f);
    soma_dataset_free(&dataset);

    soma_dataset_options options = {.labels = scratch_path("y_test.npy")};
    write_npy("other.npy",
              "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2, 2, 1)}",
              "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    nets_ok(
        soma_dataset_open(scratch_path("other.npy"), &options, &dataset, &err),
        &err);
    assert_int_equal(dataset.rank, 2); /* the last 1 is dropped */
    assert_int_equal(dataset.bytes[7], 8);
    soma_dataset_free(&dataset);

    assert_int_equal(
        soma_dataset_open(scratch_path("other.npy"), NULL, &dataset, &err),
        SOMA_E_ARGUMENT);
    assert_non_null(strstr(err.text, "--labels"));
}

static void
test_wrong_labels(void **state)
{
    (void)state;
    soma_dataset dataset;
    soma_error err;
    write_npy("x.npy",
              "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1)}",
              (const float[]){1, 2}, 8);
    write_npy("y.npy",
              "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
              (const float[]){1, 0.5f}, 8);
    assert_int_equal(
        soma_dataset_open(scratch_path("x.npy"), NULL, &dataset, &err),
        SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "number 1 is 0.5"));
    write_npy("y.npy",
              "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}",
              (const float[]){1, 0, 0, 1}, 16);
    assert_int_equal(
        soma_dataset_open(scratch_path("x.npy"), NULL, &dataset, &err),
        SOMA_E_SHAPE);
    assert_non_null(strstr(err.text, "one for each example"));
}

/* Pictures with their channels last, for a model that wants them first. */
static void
test_channels(void **state)
{
    (void)state;
    soma_dataset dataset;
    soma_error err;
    soma_dataset_options options = {.rank = 3, .shape = {3, 1, 2}};
    write_npy("x.npy",
              "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 2, 3)}",
              "\x01\x02\x03\x04\x05\x06", 6);
    write_npy("y.npy",
              "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)}", "\x02",
              1);
    nets_ok(soma_dataset_open(scratch_path("x.npy"), &options, &dataset, &err),
            &err);
    assert_int_equal(dataset.shape[0], 3);
    assert_memory_equal(dataset.bytes, "\x01\x04\x02\x05\x03\x06", 6);
    soma_dataset_free(&dataset);
}

/* ---- Zip archives, byte by byte ---- */

typedef struct zip {
    unsigned char data[4096];
    size_t size, central, count;
    unsigned char entries[1024];
} zip;

static void
put(unsigned char *to, size_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[(*at)++] = (unsigned char)(value >> 8 * i);
}

/* Deflated if `deflate`; claims `claimed` bytes unpacked. */
static void
add_entry(zip *z, const char *name, const void *data, size_t size,
          bool deflated, size_t claimed)
{
    unsigned char packed[2048];
    uLongf length = sizeof packed;
    uint32_t crc = (uint32_t)crc32(0, data, (uInt)size);
    size_t offset = z->size;
    memcpy(packed, data, size);
    if (deflated) { /* raw: without zlib's 2 bytes before and 4 behind */
        assert_int_equal(compress(packed, &length, data, size), Z_OK);
        length -= 6;
        memmove(packed, packed + 2, length);
    } else {
        length = size;
    }
    for (int central = 0; central < 2; central++) {
        unsigned char *to = central ? z->entries : z->data;
        size_t *at = central ? &z->central : &z->size;
        put(to, at, central ? 0x02014b50 : 0x04034b50, 4);
        put(to, at, 20, central ? 4 : 2);
        put(to, at, 0, 2);
        put(to, at, deflated ? 8 : 0, 2);
        put(to, at, 0, 4);
        put(to, at, crc, 4);
        put(to, at, length, 4);
        put(to, at, claimed, 4);
        put(to, at, strlen(name), 2);
        put(to, at, 0, central ? 8 : 2);
        if (central) {
            put(to, at, 0, 4);
            put(to, at, 0, 2);
            *at -= 2;
            put(to, at, offset, 4);
        }
        memcpy(to + *at, name, strlen(name));
        *at += strlen(name);
        if (!central) {
            memcpy(to + *at, packed, length);
            *at += length;
        }
    }
    z->count++;
}

static const char *
end_zip(zip *z)
{
    size_t start = z->size;
    memcpy(z->data + z->size, z->entries, z->central);
    z->size += z->central;
    put(z->data, &z->size, 0x06054b50, 4);
    put(z->data, &z->size, 0, 4);
    put(z->data, &z->size, z->count, 2);
    put(z->data, &z->size, z->count, 2);
    put(z->data, &z->size, z->central, 4);
    put(z->data, &z->size, start, 4);
    put(z->data, &z->size, 0, 2);
    return scratch_write("set.npz", z->data, z->size);
}

static const char *
make_npz(bool deflated, size_t more)
{
    static const char *const names[] = {"x_train.npy", "y_train.npy",
                                        "x_test.npy", "y_test.npy"};
    zip z = {.size = 0};
    for (int i = 0; i < 4; i++) {
        unsigned char file[512];
        size_t size = make_npy(
            file,
            i % 2 ? "{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}"
                  : "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2)}",
            i < 2 ? "\x01\x02\x03\x04" : "\x05\x06\x07\x08", i % 2 ? 2 : 4);
        add_entry(&z, names[i], file, size, deflated, size + more);
    }
    return end_zip(&z);
}

static void
test_npz(void **state)
{
    (void)state;
    soma_error err;
    soma_dataset dataset;
    for (int deflated = 0; deflated < 2; deflated++)
        for (int test = 0; test < 2; test++) {
            soma_dataset_options options = {.split = test ? SOMA_SPLIT_TEST
                                                          : SOMA_SPLIT_TRAIN};
            nets_ok(soma_dataset_open(make_npz(deflated, 0), &options, &dataset,
                                      &err),
                    &err);
            assert_int_equal(dataset.count, 2);
            assert_int_equal(dataset.bytes[0], test ? 5 : 1);
            assert_int_equal(dataset.labels[1], test ? 6 : 2);
            soma_dataset_free(&dataset);
        }
}

static void
test_bad_npz(void **state)
{
    (void)state;
    soma_error err;
    soma_dataset dataset;
    assert_int_equal(
        soma_dataset_open(make_npz(true, 1 << 30), NULL, &dataset, &err),
        SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "larger than the file can hold"));
    assert_int_equal(soma_dataset_open(make_npz(true, 7), NULL, &dataset, &err),
                     SOMA_E_FORMAT);
    assert_int_equal(
        soma_dataset_open(scratch_text("no.npz", "PK"), NULL, &dataset, &err),
        SOMA_E_FORMAT);
    assert_non_null(strstr(err.text, "no zip archive"));
    /* Any byte another one: an error, or a dataset. */
    soma_bytes bytes;
    nets_ok(soma_file_read(make_npz(true, 0), 1 << 16, 0, &bytes, &err), &err);
    int refused = 0;
    for (size_t at = 0; at < bytes.size; at++) {
        bytes.data[at] ^= 0x55;
        const char *path = scratch_write("bad.npz", bytes.data, bytes.size);
        refused += soma_dataset_open(path, NULL, &dataset, &err) != SOMA_OK;
        soma_dataset_free(&dataset);
        bytes.data[at] ^= 0x55;
    }
    assert_true(refused > 50);
    soma_bytes_free(&bytes);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_fortran_order),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_pair_of_files),
        cmocka_unit_test(test_wrong_labels),
        cmocka_unit_test(test_channels),
        cmocka_unit_test(test_npz),
        cmocka_unit_test(test_bad_npz),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
