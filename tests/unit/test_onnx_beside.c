/* ONNX files whose weights stand in another file beside them, and where those
 * must not be read from.
 */
#include "tests/unit/onnx_files.h"
#include "tests/unit/scratch.h"

#include <unistd.h>

static const long IN3[] = {-1, 3}, W23[] = {2, 3};
static const float W[] = {1, -2, 0.5f, 0.25f, 3, -1};
static const soma_onnx_options SCORES = {.loss = "multiclass_hinge"};

static void
put_entry(onnx_bytes *tensor, const char *key, const char *value)
{
    onnx_bytes entry = {NULL, 0};
    onnx_text(&entry, 1, key);
    onnx_text(&entry, 2, value);
    onnx_inside(tensor, 13, &entry);
}

static const char *
external(const char *location, const char *offset, const char *length)
{
    onnx_file f = onnx_start(13);
    onnx_bytes t = onnx_header("w", 1, 2, W23);
    onnx_int(&t, 14, 1);
    put_entry(&t, "location", location);
    if (offset)
        put_entry(&t, "offset", offset);
    if (length)
        put_entry(&t, "length", length);
    onnx_inside(&f.graph, 5, &t);
    onnx_input(&f, "x", 1, 2, IN3);
    onnx_output(&f, "y");
    onnx_node(&f, "Gemm", "x w", "y", "transB=1");
    onnx_bytes all = onnx_end(&f);
    const char *path = scratch_write("beside.onnx", all.data, all.size);
    free(all.data);
    return path;
}

static void
bad_external(const char *location, const char *offset, const char *length,
             soma_status status, const char *words)
{
    soma_error err = {SOMA_OK, ""};
    soma_checkpoint checkpoint;
    const char *path = external(location, offset, length);
    soma_status got = soma_onnx_read(path, &SCORES, &checkpoint, &err);
    if (got != status || !strstr(err.text, words))
        fail_msg("%s: status %d, %s", location, (int)got, err.text);
}

static void
test_external(void **state)
{
    (void)state;
    soma_error err;
    soma_checkpoint checkpoint;
    float data[8] = {9, 9};
    memcpy(data + 2, W, sizeof W);
    scratch_write("weights.data", data, sizeof data);
    nets_ok(soma_onnx_read(external("weights.data", "8", "24"), &SCORES,
                           &checkpoint, &err),
            &err);
    float x[] = {1, 1, 1}, answer[2];
    onnx_answer(&checkpoint, x, answer);
    assert_true(answer[0] == -0.5f && answer[1] == 2.25f);
    soma_checkpoint_free(&checkpoint);

    bad_external("../weights.data", NULL, NULL, SOMA_E_UNSUPPORTED,
                 "only a file in the same folder");
    bad_external("/etc/passwd", NULL, NULL, SOMA_E_UNSUPPORTED, "same folder");
    bad_external("..", NULL, NULL, SOMA_E_UNSUPPORTED, "same folder");
    bad_external("sub/weights.data", NULL, NULL, SOMA_E_UNSUPPORTED, "same");
    bad_external("none.data", NULL, NULL, SOMA_E_IO, "none.data");
    bad_external("weights.data", "9", NULL, SOMA_E_FORMAT, "are not there");
    bad_external("weights.data", "18446744073709551615", NULL, SOMA_E_FORMAT,
                 "are not there");
    bad_external("weights.data", "-8", NULL, SOMA_E_FORMAT, "numbers as");
    bad_external("weights.data", "8", "23", SOMA_E_FORMAT, "its length is 23");
    bad_external(".", NULL, NULL, SOMA_E_UNSUPPORTED, "same folder");
    assert_int_equal(symlink("/etc/passwd", scratch_path("link.data")), 0);
    bad_external("link.data", NULL, NULL, SOMA_E_UNSUPPORTED, "symbolic link");

    /* Bytes alone have no folder. */
    soma_bytes bytes;
    nets_ok(soma_file_read(external("weights.data", "8", "24"), 1 << 20, 0,
                           &bytes, &err),
            &err);
    assert_int_equal(
        soma_onnx_parse(bytes.data, bytes.size, &SCORES, &checkpoint, &err),
        SOMA_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "does not come along"));
    soma_bytes_free(&bytes);
}

static int
setup(void **state)
{
    return nets_setup(state) || scratch_make(state);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_external),
    };
    return cmocka_run_group_tests(tests, setup, scratch_remove);
}
