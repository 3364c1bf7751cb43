/* soma evaluate: how well a model does on a dataset. */
#include "core/loss.h"
#include "core/pass.h"
#include "core/score.h"
#include "server/command.h"
#include "server/model_data.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 256 };

typedef struct evaluate_options {
    const char *dataset, *split, *label_column, *labels;
    bool json;
} evaluate_options;

#define AT(field) offsetof(evaluate_options, field)

static const soma_option options[] = {
    {"dataset", "PATH", SOMA_OPTION_TEXT, NULL, 0, 0, AT(dataset),
     "Labelled examples, in the formats of soma train."},
    {"split", "NAME", SOMA_OPTION_TEXT, "test", 0, 0, AT(split),
     "test or train, where the dataset has both."},
    {"label-column", "NAME", SOMA_OPTION_TEXT, NULL, 0, 0, AT(label_column),
     "Of a .csv; without it the first column."},
    {"labels", "FILE", SOMA_OPTION_TEXT, NULL, 0, 0, AT(labels),
     "Of a .npy: the array of labels; without it y.npy beside x.npy, "
     "labels.npy beside images.npy."},
    {"json", NULL, SOMA_OPTION_SWITCH, NULL, 0, 0, AT(json),
     "Print one JSON object."},
    {.name = NULL}};

static const soma_command command = {
    "evaluate",
    "MODEL --dataset PATH [options]",
    "Prints accuracy, mean loss, precision and recall of each class, and the "
    "confusion\nmatrix of a model on a dataset.",
    options,
    1,
    1};

static soma_status
score_dataset(const soma_model *model, const soma_dataset *dataset,
              soma_score *score, soma_error *err)
{
    size_t size = (size_t)dataset->size;
    float *x = malloc(ROWS * size * sizeof *x);
    soma_workspace *ws =
        soma_workspace_create(&model->spec, ROWS, SOMA_PASS_PREDICT, err);
    soma_status status = SOMA_OK;
    if (!x || !ws)
        status = soma_error_memory(err, "evaluation");
    for (int at = 0; at < dataset->count && !status; at += ROWS) {
        int rows = dataset->count - at < ROWS ? dataset->count - at : ROWS;
        for (int r = 0; r < rows; r++)
            soma_dataset_row(dataset, at + r, x + (size_t)r * size);
        soma_score_add(score, &model->spec, rows,
                       soma_pass_forward(model, ws, rows, x),
                       dataset->labels + at);
    }
    soma_workspace_free(ws);
    free(x);
    return status;
}

static const char *
class_name(const soma_checkpoint *model, int class, char text[12])
{
    if (model->classes.count)
        return model->classes.names[class];
    snprintf(text, 12, "%d", class);
    return text;
}

static void
print_text(const soma_checkpoint *model, const soma_score *score)
{
    char number[12];
    int width = 5;
    for (int c = 0; c < score->classes; c++) {
        int length = (int)strlen(class_name(model, c, number));
        width = length > width ? length : width;
    }
    printf("accuracy %.2f %% (%lld of %lld), loss %.4f\n\n",
           100 * soma_score_accuracy(score), (long long)score->correct,
           (long long)score->examples, soma_score_loss(score));
    printf("%-*s  precision  recall  examples\n", width, "class");
    for (int c = 0; c < score->classes; c++)
        printf("%-*s    %5.1f %%  %4.1f %%  %8lld\n", width,
               class_name(model, c, number),
               100 * soma_score_precision(score, c),
               100 * soma_score_recall(score, c),
               (long long)soma_score_support(score, c));
    printf("\nconfusion (row: label, column: predicted)\n");
    for (int label = 0; label < score->classes; label++) {
        printf("%-*s", width, class_name(model, label, number));
        for (int c = 0; c < score->classes; c++)
            printf(" %6lld",
                   (long long)score->confusion[label * score->classes + c]);
        putchar('\n');
    }
}

static json_t *
class_json(const soma_checkpoint *model, const soma_score *score, int class)
{
    char number[12];
    return json_pack("{s:i, s:s, s:f, s:f, s:I}", "label", class, "class",
                     class_name(model, class, number), "precision",
                     soma_score_precision(score, class), "recall",
                     soma_score_recall(score, class), "examples",
                     (json_int_t)soma_score_support(score, class));
}

static void
print_json(const soma_checkpoint *model, const soma_score *score)
{
    json_t *classes = json_array(), *confusion = json_array();
    for (int label = 0; label < score->classes; label++) {
        json_array_append_new(classes, class_json(model, score, label));
        json_t *row = json_array();
        for (int c = 0; c < score->classes; c++)
            json_array_append_new(
                row,
                json_integer(score->confusion[label * score->classes + c]));
        json_array_append_new(confusion, row);
    }
    json_t *json = json_pack(
        "{s:f, s:f, s:I, s:I, s:o, s:o}", "accuracy",
        soma_score_accuracy(score), "loss", soma_score_loss(score), "correct",
        (json_int_t)score->correct, "examples", (json_int_t)score->examples,
        "classes", classes, "confusion", confusion);
    if (json && !json_dumpf(json, stdout, JSON_REAL_PRECISION(9)))
        putchar('\n');
    json_decref(json);
}

static soma_status
evaluate(const evaluate_options *o, const char *path, soma_error *err)
{
    soma_checkpoint model = {0};
    soma_dataset dataset = {0};
    soma_score score = {0};
    bool train = !strcmp(o->split, "train");
    if (!train && strcmp(o->split, "test"))
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "--split: expected train or test, got \"%s\"",
                              o->split);
    if (!o->dataset)
        return soma_error_set(err, SOMA_E_ARGUMENT, "--dataset is missing");
    soma_status status = soma_checkpoint_read(path, NULL, &model, err);
    if (!status)
        status = soma_model_data_open(
            &model, o->dataset, train ? SOMA_SPLIT_TRAIN : SOMA_SPLIT_TEST,
            o->label_column, o->labels, &dataset, err);
    if (!status)
        status = soma_score_create(&score, model.model->spec.classes, err);
    if (!status)
        status = score_dataset(model.model, &dataset, &score, err);
    if (!status && o->json)
        print_json(&model, &score);
    else if (!status)
        print_text(&model, &score);
    soma_score_free(&score);
    soma_dataset_free(&dataset);
    soma_checkpoint_free(&model);
    return status;
}

int
soma_cmd_evaluate(int argc, char **argv)
{
    evaluate_options o;
    const char *path;
    soma_error err;
    int code = soma_command_start(&command, argc, argv, &o, &path);
    if (code >= 0)
        return code;
    return evaluate(&o, path, &err) ? soma_command_fail(&err) : SOMA_EXIT_OK;
}
