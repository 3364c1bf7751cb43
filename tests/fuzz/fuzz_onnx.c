/* ONNX files: any bytes are a network or are refused. The first byte chooses
 * the options. A network that is read has finite weights and answers; it can
 * be written again, and what is written can be read.
 */
#include "core/io/onnx.h"
#include "core/matrix.h"
#include "core/pass.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void
must(bool good)
{
    if (!good)
        abort();
}

static void
answer(const soma_model *model)
{
    const soma_spec *spec = &model->spec;
    float *x = calloc((size_t)spec->input.size, sizeof *x);
    soma_workspace *ws =
        soma_workspace_create(spec, 1, SOMA_PASS_PREDICT, NULL);
    must(x && ws);
    soma_pass_forward(model, ws, 1, x);
    soma_workspace_free(ws);
    free(x);
}

static void
again(const soma_checkpoint *checkpoint)
{
    soma_error err;
    soma_bytes bytes;
    soma_checkpoint back;
    must(!soma_onnx_build(checkpoint, &bytes, &err));
    must(!soma_onnx_parse(bytes.data, bytes.size, NULL, &back, &err));
    must(back.model->spec.input.size == checkpoint->model->spec.input.size);
    soma_checkpoint_free(&back);
    soma_bytes_free(&bytes);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const losses[] = {NULL, "multiclass_hinge", "hinge",
                                         NULL};
    static bool ready;
    soma_error err;
    soma_checkpoint checkpoint;
    if (!ready)
        must(!soma_matrix_setup(&err));
    ready = true;
    if (size == 0)
        return 0;
    soma_onnx_options options = {.loss = losses[data[0] & 3],
                                 .scale = data[0] & 4 ? 255 : 0,
                                 .planes = data[0] & 8};
    if (!soma_onnx_parse(data + 1, size - 1, &options, &checkpoint, &err)) {
        must(soma_model_finite(checkpoint.model));
        answer(checkpoint.model);
        again(&checkpoint);
    }
    soma_checkpoint_free(&checkpoint);
    return 0;
}
