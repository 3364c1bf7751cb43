/* Models while memory is short (exhaust.h): made of a spec, written in each
 * format, read back. */
#include "core/io/json.h"
#include "core/io/onnx.h"
#include "core/io/state_dict.h"
#include "core/matrix.h"
#include "tests/unit/exhaust_models.h"
#include "tests/unit/scratch.h"

#include <unistd.h>

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
    return exhaust_model(make_model(about, &made, err), &made, sum);
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
    return exhaust_model(status, &checkpoint, sum);
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
        cmocka_unit_test(models),
    };
    return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
