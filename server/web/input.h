/* From a request's body to rows of float32, by its Content-Type:
 *
 *     application/json           see document.h (also without a type, and
 *                                for curl's default form type)
 *     application/octet-stream   one byte a value, one or more examples
 *     application/x-npy          a NumPy array of one or more examples
 *     image/png, image/jpeg      one picture, scaled to the model's shape
 */
#ifndef SOMA_WEB_INPUT_H
#define SOMA_WEB_INPUT_H

#include "server/web/document.h"
#include "server/web/request.h"

typedef enum soma_body_kind {
    SOMA_BODY_JSON,
    SOMA_BODY_BYTES,
    SOMA_BODY_NPY,
    SOMA_BODY_PICTURE,
    SOMA_BODY_OTHER
} soma_body_kind;

soma_body_kind soma_body_kind_of(const char *content_type);

/* What is wrong with an input: the status and code besides the text. */
typedef struct soma_refusal {
    int status;
    const char *code;
    soma_error err;
} soma_refusal;

/* How many examples of this model the array holds: its shape is the input's,
 * or flat, or a list of such. *list tells whether it was a list. 0, and a
 * refusal, if it is anything else, or not finite, or too many. `where` names
 * it in the text. */
int soma_input_rows(const soma_array *array, const soma_floats *floats,
                    const soma_spec *spec, int max_rows, const char *where,
                    bool *list, soma_refusal *refusal);

/* Appends the rows of a body of bytes, an array or a picture to
 * request->floats, by the shape of request->served; sets rows and list. False:
 * refusal. */
bool soma_input_bytes(soma_request *request, int max_rows,
                      soma_refusal *refusal);
bool soma_input_npy(soma_request *request, int max_rows, soma_refusal *refusal);
bool soma_input_picture(soma_request *request, soma_refusal *refusal);

/* Whichever of these the body is. */
bool soma_input_other(soma_request *request, soma_body_kind kind, int max_rows,
                      soma_refusal *refusal);

/* The numbers of the body go to memory of the request's own, not into a
 * batch. Before any of these. */
void soma_input_own(soma_request *request);

/* Parses the JSON body, which must be an object. */
bool soma_input_json(soma_request *request, soma_document *document,
                     soma_refusal *refusal);

/* The model that the request is about: of the path, the body ("model", may
 * be NULL), or the default. */
bool soma_input_model(soma_request *request, const json_t *name,
                      soma_refusal *refusal);

/* A label by number or by the name of a class. */
bool soma_input_label(const soma_served *served, const json_t *value,
                      const char *where, int *label, soma_refusal *refusal);
bool soma_input_label_text(const soma_served *served, const char *text,
                           int *label, soma_refusal *refusal);

__attribute__((format(printf, 4, 5))) bool soma_refuse(soma_refusal *refusal,
                                                       int status,
                                                       const char *code,
                                                       const char *format, ...);

soma_outcome soma_reply_refusal(soma_request *request,
                                const soma_refusal *refusal);

#endif
