/* Bodies that are NumPy arrays, as np.save writes them. */
#include "core/io/npy.h"
#include "server/web/input.h"

/* As if it had come as JSON: the same shapes, the same refusals. */
static bool
take_array(soma_request *request, const soma_npy *npy, int max_rows,
           soma_refusal *refusal)
{
    soma_floats *floats = &request->floats;
    soma_array array = {.rank = npy->rank, .first = floats->used};
    if (npy->count == 0)
        return soma_refuse(refusal, 400, "wrong_shape",
                           "the array: there is no example in it");
    if (soma_floats_reserve(floats, npy->count, &refusal->err)) {
        refusal->status = 0;
        return false;
    }
    for (int i = 0; i < npy->rank; i++)
        array.shape[i] = npy->shape[i];
    array.count = npy->count;
    array.finite = soma_npy_floats(npy, floats->data + floats->used);
    floats->used += npy->count;
    request->rows =
        soma_input_rows(&array, floats, &request->served->spec, max_rows,
                        "the array", &request->list, refusal);
    return request->rows > 0;
}

bool
soma_input_npy(soma_request *request, int max_rows, soma_refusal *refusal)
{
    soma_npy npy;
    if (soma_npy_parse(request->body_size ? request->body : "",
                       request->body_size, &npy, &refusal->err))
        return soma_refuse(refusal, 400, "malformed_npy", "%s",
                           refusal->err.text);
    return take_array(request, &npy, max_rows, refusal);
}

bool
soma_input_other(soma_request *request, soma_body_kind kind, int max_rows,
                 soma_refusal *refusal)
{
    if (kind == SOMA_BODY_BYTES)
        return soma_input_bytes(request, max_rows, refusal);
    if (kind == SOMA_BODY_NPY)
        return soma_input_npy(request, max_rows, refusal);
    return soma_input_picture(request, refusal);
}
