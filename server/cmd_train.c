/* soma train: from a dataset to a model file. */
#include "core/activation.h"
#include "core/loss.h"
#include "server/command.h"
#include "server/engine/fit.h"
#include "server/progress.h"
#include "server/train_spec.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct train_options {
    soma_train_spec spec;
    const char *dataset, *out, *from;
    double rate, momentum, l2, clip, warmup, dropout, smoothing, validation;
    long epochs, batch, seed, threads, shift, memory, guard;
    bool nesterov, flip, f16, constant_rate;
} train_options;

#define AT(field) offsetof(train_options, field)

static const soma_option options[] = {
    {"dataset", "PATH", SOMA_OPTION_TEXT, NULL, 0, 0, AT(dataset),
     "Examples to learn from: IDX files (MNIST), CIFAR-10's binary files, a "
     ".csv, a .npz or .npy, or a folder with a folder of PNG or JPEG pictures "
     "for each class."},
    {"out", "FILE", SOMA_OPTION_TEXT, NULL, 0, 0, AT(out),
     "Model file to write (safetensors)."},
    {"from", "MODEL", SOMA_OPTION_TEXT, NULL, 0, 0, AT(from),
     "Go on from this trained model instead of random weights; it decides "
     "layers, activation, loss and normalisation."},
    {"hidden", "N,N,...", SOMA_OPTION_TEXT, "128", 0, 0, AT(spec.hidden),
     "Units of the hidden layers, first to last; 'none' for a linear "
     "classifier s = W x."},
    {"activation", "NAME", SOMA_OPTION_TEXT, "relu", 0, 0, AT(spec.activation),
     "Of the hidden layers: sigmoid, tanh, relu, leaky_relu, maxout or "
     "identity."},
    {"slope", "X", SOMA_OPTION_NUMBER, "0.01", -10, 10, AT(spec.slope),
     "Of leaky_relu, left of zero."},
    {"pieces", "N", SOMA_OPTION_WHOLE, "2", 2, 64, AT(spec.pieces),
     "Linear pieces of a maxout unit."},
    {"loss", "NAME", SOMA_OPTION_TEXT, NULL, 0, 0, AT(spec.loss),
     "softmax_cross_entropy (default), multiclass_hinge, or for a single "
     "neuron logistic or hinge."},
    {"versus-rest", "LABEL", SOMA_OPTION_TEXT, NULL, 0, 0, AT(spec.versus_rest),
     "Tell this class (number or name) from all others: the task of a single "
     "neuron."},
    {"classes", "A,B,...", SOMA_OPTION_TEXT, NULL, 0, 0, AT(spec.classes),
     "Names of the classes, where the dataset has none."},
    {"normalise", "HOW", SOMA_OPTION_TEXT, "channel", 0, 0, AT(spec.normalise),
     "Subtract the dataset's mean and divide by its deviation: of each "
     "'channel' (of a table: column), of 'all' values, or 'none'."},
    {"label-column", "NAME", SOMA_OPTION_TEXT, NULL, 0, 0,
     AT(spec.label_column), "Of a .csv; without it the first column."},
    {"labels", "FILE", SOMA_OPTION_TEXT, NULL, 0, 0, AT(spec.labels),
     "Of a .npy: the array of labels; without it y.npy beside x.npy, "
     "labels.npy beside images.npy."},
    {"shape", "CxHxW", SOMA_OPTION_TEXT, NULL, 0, 0, AT(spec.shape),
     "Scale pictures to this shape: 28x28 is grey, 3x32x32 RGB. Without it "
     "the first picture's."},
    {"epochs", "N", SOMA_OPTION_WHOLE, "15", 0, 100000, AT(epochs),
     "Passes over the training examples; 0 keeps the weights of --from and "
     "writes them with another --memory or --guard."},
    {"batch", "N", SOMA_OPTION_WHOLE, "128", 1, 65536, AT(batch),
     "Examples of one step."},
    {"learning-rate", "X", SOMA_OPTION_NUMBER, "0.05", 0, 1000, AT(rate),
     "The highest of the schedule."},
    {"warmup", "EPOCHS", SOMA_OPTION_NUMBER, "1", 0, 1000, AT(warmup),
     "Epochs over which the learning rate grows from 0."},
    {"constant-rate", NULL, SOMA_OPTION_SWITCH, NULL, 0, 0, AT(constant_rate),
     "Keep the learning rate after the warm-up, instead of letting it fall to "
     "0 along a cosine."},
    {"momentum", "X", SOMA_OPTION_NUMBER, "0.9", 0, 0.9999, AT(momentum),
     "Of SGD; 0 is plain SGD."},
    {"nesterov", NULL, SOMA_OPTION_SWITCH, "true", 0, 0, AT(nesterov),
     "Nesterov's momentum (--nesterov=false for the classical one)."},
    {"l2", "X", SOMA_OPTION_NUMBER, "0.001", 0, 100, AT(l2),
     "L2 regularisation: each step shrinks the weights, not the biases, by "
     "learning rate times X."},
    {"clip", "X", SOMA_OPTION_NUMBER, "0", 0, 1e9, AT(clip),
     "Largest norm of a step's gradient; 0 is no bound."},
    {"dropout", "X", SOMA_OPTION_NUMBER, "0", 0, 0.95, AT(dropout),
     "Share of the hidden units left out at each step."},
    {"smoothing", "X", SOMA_OPTION_NUMBER, "0", 0, 0.9, AT(smoothing),
     "Label smoothing: share of the target spread over all classes."},
    {"shift", "PIXELS", SOMA_OPTION_WHOLE, "0", 0, 1000, AT(shift),
     "Move each picture by up to this much at random."},
    {"flip", NULL, SOMA_OPTION_SWITCH, NULL, 0, 0, AT(flip),
     "Mirror every other picture."},
    {"validation", "X", SOMA_OPTION_NUMBER, "0.05", 0, 0.9, AT(validation),
     "Share of the examples held out; the epoch that does best on them is "
     "kept. 0: train on all, keep the last."},
    {"seed", "N", SOMA_OPTION_WHOLE, "1", 0, 1e18, AT(seed),
     "Same seed and threads: the same weights."},
    {"threads", "N", SOMA_OPTION_WHOLE, "0", 0, 1024, AT(threads),
     "0: one for each core."},
    {"memory", "N", SOMA_OPTION_WHOLE, "0", 0, 1 << 20, AT(memory),
     "Examples to store in the model file, balanced by class, which a server "
     "rehearses so that learning does not forget."},
    {"guard", "N", SOMA_OPTION_WHOLE, "0", 0, 1 << 20, AT(guard),
     "Examples to hold out and store in the model file, by which a server "
     "judges whether learning did harm."},
    {"f16", NULL, SOMA_OPTION_SWITCH, NULL, 0, 0, AT(f16),
     "Store the weights as 16-bit floats: half the size."},
    {.name = NULL}};

static const soma_command command = {
    "train",
    "--dataset PATH --out FILE [options]",
    "Trains a multi-layer perceptron by mini-batch SGD on all cores and "
    "writes it\nto a model file. Ctrl-C stops early and keeps the best "
    "weights so far.",
    options,
    0,
    0};

static soma_fit
fit_of(const train_options *o)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return (soma_fit){
        .sgd = {.rate = (float)o->rate,
                .momentum = (float)o->momentum,
                .nesterov = o->nesterov,
                .l2 = (float)o->l2,
                .clip = (float)o->clip},
        .epochs = (int)o->epochs,
        .batch = (int)o->batch,
        .warmup = (float)(o->warmup < (double)o->epochs ? o->warmup : 0),
        .cosine = !o->constant_rate,
        .dropout = (float)o->dropout,
        .smoothing = (float)o->smoothing,
        .validation = (float)o->validation,
        .augment = {.shift = (int)o->shift, .flip = o->flip},
        .seed = (uint64_t)o->seed,
        .threads = (int)(o->threads  ? o->threads
                         : cores < 1 ? 1
                                     : cores)};
}

/* How it was trained, for the file: what one needs to do it again. */
static json_t *
training_of(const train_options *o, const soma_fit *fit,
            const soma_dataset *dataset, const soma_fit_result *result)
{
    json_t *json = json_pack(
        "{s:s, s:i, s:i, s:f, s:f, s:f, s:b, s:f, s:f, s:f, s:i, s:b, s:I, "
        "s:i, s:f}",
        "dataset", dataset->format, "examples", dataset->count, "batch",
        fit->batch, "learning_rate", o->rate, "warmup", o->warmup, "momentum",
        o->momentum, "nesterov", o->nesterov, "l2", o->l2, "dropout",
        o->dropout, "smoothing", o->smoothing, "shift", fit->augment.shift,
        "flip", o->flip, "seed", (json_int_t)o->seed, "epochs",
        result->best_epoch, "loss", result->loss);
    if (json && result->validation_accuracy >= 0)
        json_object_set_new(json, "validation_accuracy",
                            json_real(result->validation_accuracy));
    if (json && o->spec.versus_rest_label >= 0)
        json_object_set_new(json, "versus_rest",
                            json_integer(o->spec.versus_rest_label));
    return json;
}

static json_t *
made_now(void)
{
    char date[32];
    time_t seconds = time(NULL);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return json_pack("{s:s, s:s}", "by", "soma " SOMA_VERSION, "at", date);
}

static bool
watch(const soma_fit_progress *progress, void *arg)
{
    soma_progress_show(arg, progress);
    return !soma_command_interrupted();
}

static void
summarise(const soma_fit_result *result, const char *out)
{
    if (result->stopped)
        printf("stopped early: keeping the weights of epoch %d\n",
               result->best_epoch);
    printf("%s: loss %.4f", out, result->loss);
    if (result->validation_accuracy >= 0)
        printf(", validation accuracy %.2f %% (epoch %d)",
               100 * result->validation_accuracy, result->best_epoch);
    printf(", %.1f s\n", result->seconds);
}

/* The guard's are no longer among those that are learned. */
static soma_status
set_aside(const train_options *o, soma_dataset *dataset,
          soma_checkpoint *checkpoint, soma_error *err)
{
    soma_status status = SOMA_OK;
    if (o->guard + o->memory > dataset->count / 2)
        return soma_error_set(
            err, SOMA_E_ARGUMENT,
            "--memory and --guard: %ld examples, at most half "
            "of the %d that there are",
            o->guard + o->memory, dataset->count);
    if (o->guard) {
        soma_memory_free(&checkpoint->guard);
        status = soma_dataset_sample(dataset, (int)o->guard, (uint64_t)o->seed,
                                     true, &checkpoint->guard, err);
    }
    if (o->memory && !status) {
        soma_memory_free(&checkpoint->memory);
        status =
            soma_dataset_sample(dataset, (int)o->memory, (uint64_t)o->seed + 1,
                                false, &checkpoint->memory, err);
    }
    return status;
}

/* Trains and says so in the checkpoint; a fit that diverged keeps what
 * was best before, if there was anything. */
static soma_status
fit_model(train_options *o, soma_checkpoint *checkpoint,
          const soma_dataset *dataset, bool *trained, soma_error *err)
{
    soma_fit fit = fit_of(o);
    soma_fit_result result;
    soma_progress bar;
    soma_progress_start(&bar);
    soma_command_catch_signals();
    soma_status status = soma_fit_run(&fit, checkpoint->model, dataset, watch,
                                      &bar, &result, err);
    soma_progress_end(&bar);
    if (status && (status != SOMA_E_NOT_FINITE || !result.best_epoch))
        return status;
    *trained = true;
    json_decref(checkpoint->training);
    json_decref(checkpoint->made);
    checkpoint->training = training_of(o, &fit, dataset, &result);
    checkpoint->made = made_now();
    summarise(&result, o->out);
    return status;
}

static soma_status
run(train_options *o, soma_checkpoint *checkpoint, soma_dataset *dataset,
    soma_error *err)
{
    soma_error write_err;
    soma_status status = set_aside(o, dataset, checkpoint, err);
    bool trained = false;
    if (!status && o->epochs > 0)
        status = fit_model(o, checkpoint, dataset, &trained, err);
    if (status && !trained)
        return status;
    if (soma_checkpoint_write(o->out, checkpoint, o->f16 ? SOMA_F16 : SOMA_F32,
                              &write_err)) {
        *err = write_err;
        return write_err.status;
    }
    if (!trained)
        printf("%s: the weights are as they were; %d examples to rehearse, %d "
               "to judge by\n",
               o->out, checkpoint->memory.count, checkpoint->guard.count);
    return status;
}

static soma_status
check(const train_options *o, soma_error *err)
{
    if (!o->dataset)
        return soma_error_set(err, SOMA_E_ARGUMENT, "--dataset is missing");
    if (!o->out)
        return soma_error_set(err, SOMA_E_ARGUMENT, "--out is missing");
    if (o->epochs == 0 && !o->from)
        return soma_error_set(err, SOMA_E_ARGUMENT,
                              "--epochs 0 needs --from, a trained model");
    return SOMA_OK;
}

int
soma_cmd_train(int argc, char **argv)
{
    train_options o;
    int code = soma_command_start(&command, argc, argv, &o, NULL);
    if (code >= 0)
        return code;
    soma_error err;
    soma_dataset dataset = {0};
    soma_checkpoint checkpoint = {0};
    soma_status status = check(&o, &err);
    if (!status && o.from)
        status = soma_checkpoint_read(o.from, NULL, &checkpoint, &err);
    if (!status)
        status =
            soma_train_open(&o.spec, o.dataset, &checkpoint, &dataset, &err);
    /* Now, not when hours of training are to be written. */
    if (!status)
        status = soma_classes_check(&dataset.classes, &err);
    if (!status && !checkpoint.model)
        status = soma_train_create(&o.spec, &dataset, (uint64_t)o.seed,
                                   &checkpoint, &err);
    if (!status)
        status = run(&o, &checkpoint, &dataset, &err);
    soma_checkpoint_free(&checkpoint);
    soma_dataset_free(&dataset);
    return status ? soma_command_fail(&err) : SOMA_EXIT_OK;
}
