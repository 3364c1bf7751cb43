/* soma export: from a model file to an ONNX file or a PyTorch state_dict. */
#include "core/io/onnx.h"
#include "core/io/state_dict.h"
#include "server/command.h"

#include <string.h>

typedef struct export_options {
    const char *format;
} export_options;

static const soma_option options[] = {
    {"format", "NAME", SOMA_OPTION_TEXT, NULL, 0, 0,
     offsetof(export_options, format),
     "onnx, or pytorch: the state_dict of an nn.Sequential of nn.Linear and "
     "activations, in safetensors. Without it by OUT's name: .onnx or "
     ".safetensors."},
    {.name = NULL}};

static const soma_command command = {
    "export",
    "MODEL OUT [options]",
    "Makes an ONNX file, or a PyTorch state_dict, of a model file. They take "
    "the same\ninputs and, with ONNX, give the same answers; normalisation is "
    "in them.",
    options,
    2,
    2};

static soma_status
build(const export_options *o, const char *out,
      const soma_checkpoint *checkpoint, soma_bytes *bytes, soma_error *err)
{
    const char *format = o->format;
    if (!format)
        format = soma_onnx_is_name(out)                   ? "onnx"
                 : soma_file_ends_in(out, ".safetensors") ? "pytorch"
                                                          : "";
    if (!strcmp(format, "onnx"))
        return soma_onnx_build(checkpoint, bytes, err);
    if (!strcmp(format, "pytorch"))
        return soma_state_dict_build(checkpoint, bytes, err);
    if (o->format)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "--format: expected onnx or pytorch, got \"%s\"",
                              format);
    return soma_error_set(err, SOMA_E_ARGUMENT,
                          "%s: expected a name that ends in .onnx or "
                          ".safetensors, or --format",
                          out);
}

int
soma_cmd_export(int argc, char **argv)
{
    export_options o;
    const char *paths[2];
    int code = soma_command_start(&command, argc, argv, &o, paths);
    if (code >= 0)
        return code;
    soma_error err;
    soma_checkpoint checkpoint = {0};
    soma_bytes bytes = {NULL, 0};
    soma_status status =
        soma_checkpoint_read(paths[0], NULL, &checkpoint, &err);
    if (!status)
        status = build(&o, paths[1], &checkpoint, &bytes, &err);
    soma_piece piece = {bytes.data, bytes.size};
    if (!status)
        status = soma_file_write(paths[1], &piece, 1, &err);
    if (!status)
        printf("%s: %zu bytes\n", paths[1], bytes.size);
    soma_bytes_free(&bytes);
    soma_checkpoint_free(&checkpoint);
    return status ? soma_command_fail(&err) : SOMA_EXIT_OK;
}
