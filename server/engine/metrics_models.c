/* Prometheus families of the models: one row of a table each. */
#include "server/engine/metrics.h"

#include <stdlib.h>
#include <string.h>

/* What a family's value is taken from. */
typedef struct view {
    const soma_served *served;
    const soma_snapshot *snapshot;
    soma_trainer_report report;
    soma_progress_report window;   /* of all classes, or of one */
    soma_progress_report *classes; /* [class_count] */
    int class_count;
    soma_recall_counts recall;
} view;

/* A negative value says that there is none. */
typedef struct family {
    const char *name, *type, *help;
    double (*value)(const view *v);
} family;

static double
version(const view *v)
{
    return (double)v->snapshot->version;
}

static double
examples(const view *v)
{
    return (double)v->snapshot->progressive.examples;
}

static double
accuracy(const view *v)
{
    return v->window.accuracy;
}

static double
loss(const view *v)
{
    return v->window.loss;
}

static double
calibration(const view *v)
{
    return v->window.calibration_error;
}

static double
window_examples(const view *v)
{
    return v->window.examples;
}

static double
fading_accuracy(const view *v)
{
    return v->snapshot->progressive.fading_accuracy;
}

static double
fading_loss(const view *v)
{
    return v->snapshot->progressive.fading_loss;
}

static double
alarms(const view *v)
{
    return (double)v->snapshot->progressive.alarms;
}

static double
guard_accuracy(const view *v)
{
    const soma_trainer_report *r = &v->report;
    return r->guard_judged ? (double)r->guard_right / r->guard_judged : -1;
}

static double
stopped(const view *v)
{
    return v->report.stopped;
}

static double
lag(const view *v)
{
    uint64_t newest = v->report.newest, here = v->snapshot->version;
    if (!v->report.looked)
        return -1;
    return newest > here ? (double)(newest - here) : 0;
}

static double
looked(const view *v)
{
    int64_t now = soma_clock_now(), then = v->report.looked;
    return !then ? -1 : now > then ? (double)(now - then) / 1000 : 0;
}

static double
waiting(const view *v)
{
    return v->report.waiting;
}

static double
remembered(const view *v)
{
    return (double)v->recall.remembered;
}

static double
labelled(const view *v)
{
    return (double)v->recall.labelled;
}

static double
labelled_right(const view *v)
{
    return (double)v->recall.right;
}

static const family families[] = {
    {"soma_model_version", "gauge", "Sequence number of the last record.",
     version},
    {"soma_examples_total", "counter", "Examples learned.", examples},
    {"soma_progressive_accuracy_ratio", "gauge",
     "Share of the latest examples predicted right before they were learned.",
     accuracy},
    {"soma_progressive_loss", "gauge",
     "Mean loss of the latest examples before they were learned.", loss},
    {"soma_progressive_calibration_error", "gauge",
     "Expected calibration error over the latest examples, 10 bins.",
     calibration},
    {"soma_progressive_fading_accuracy_ratio", "gauge",
     "The same accuracy, each example counting 0.998 times the next one.",
     fading_accuracy},
    {"soma_progressive_fading_loss", "gauge",
     "The same loss, each example counting 0.998 times the next one.",
     fading_loss},
    {"soma_drift_alarms_total", "counter",
     "How often the progressive loss has risen (Page-Hinkley test).", alarms},
    {"soma_guard_accuracy_ratio", "gauge",
     "Share of the guard examples that the version judged last reads right.",
     guard_accuracy},
    {"soma_learning_stopped", "gauge",
     "1: /train answers 503 until somebody acts.", stopped},
    {"soma_replica_lag", "gauge",
     "Records of the shared journal that are not learned here yet, when it was "
     "last looked at.",
     lag},
    {"soma_replica_looked_seconds", "gauge",
     "How long ago that was; it grows while the journal cannot be reached.",
     looked},
    {"soma_waiting_examples", "gauge", "Examples that wait to be learned.",
     waiting},
    {"soma_remembered_inputs", "gauge",
     "Inputs that are remembered for a label to come.", remembered},
    {"soma_delayed_labels_total", "counter",
     "Labels that came for remembered inputs.", labelled},
    {"soma_delayed_labels_right_total", "counter",
     "Those that had been predicted.", labelled_right},
};

/* Of each class that is in the window. */
static const family class_families[] = {
    {"soma_class_examples", "gauge", "Examples of the class in the window.",
     window_examples},
    {"soma_class_accuracy_ratio", "gauge",
     "Progressive accuracy over the window, by class.", accuracy},
    {"soma_class_loss", "gauge", "Progressive loss over the window, by class.",
     loss},
    {"soma_class_calibration_error", "gauge",
     "Expected calibration error over the window, by class.", calibration},
};

#define COUNT(table) (sizeof(table) / sizeof *(table))

/* A label's value: backslash, quote and newline are escaped. */
static void
print_escaped(FILE *to, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n') {
            fputs("\\n", to);
            continue;
        }
        if (*text == '\\' || *text == '"')
            fputc('\\', to);
        fputc(*text, to);
    }
}

static void
print_class(FILE *to, const family *f, view *v, int class)
{
    const soma_classes *classes = &v->served->classes;
    v->window = v->classes[class];
    double value = f->value(v);
    if (!v->window.examples || value < 0)
        return;
    fprintf(to, "%s{model=\"%s\",class=\"", f->name, v->served->name);
    if (classes->count)
        print_escaped(to, classes->names[class]);
    else
        fprintf(to, "%d", class);
    fprintf(to, "\"} %.9g\n", value);
}

/* Beyond so many classes, a scrape would be too large to be of use. */
enum { CLASSES = 100 };

/* Of each class, once for all families. None where nothing was learned, or
 * there is no memory for it. */
static void
report_classes(view *v)
{
    const soma_progressive *progressive = &v->snapshot->progressive;
    int count = v->served->spec.classes;
    count = count < CLASSES ? count : CLASSES;
    if (!progressive->examples ||
        !(v->classes = calloc((size_t)count, sizeof *v->classes)))
        return;
    v->class_count = count;
    for (int c = 0; c < count; c++)
        v->classes[c] = soma_progressive_report(progressive, c);
}

void
soma_metrics_models(FILE *to, soma_registry *registry)
{
    soma_served *list[SOMA_MAX_MODELS] = {NULL};
    int count = soma_registry_list(registry, list);
    view *views = calloc((size_t)count + 1, sizeof *views);
    if (!views)
        return;
    for (int i = 0; i < count; i++) {
        view *v = &views[i];
        v->served = list[i];
        v->snapshot = soma_shelf_current(&list[i]->shelf);
        v->window = soma_progressive_report(&v->snapshot->progressive, -1);
        v->recall = soma_recall_count(&list[i]->recall, soma_recall_now());
        soma_trainer_ask(list[i]->trainer, &v->report);
        report_classes(v);
    }
    for (size_t f = 0; f < COUNT(families); f++) {
        soma_metrics_head(to, families[f].name, families[f].type,
                          families[f].help);
        for (int i = 0; i < count; i++) {
            double value = families[f].value(&views[i]);
            if (value >= 0)
                fprintf(to, "%s{model=\"%s\"} %.9g\n", families[f].name,
                        list[i]->name, value);
        }
    }
    for (size_t f = 0; f < COUNT(class_families); f++) {
        soma_metrics_head(to, class_families[f].name, class_families[f].type,
                          class_families[f].help);
        for (int i = 0; i < count; i++)
            for (int c = 0; c < views[i].class_count; c++)
                print_class(to, &class_families[f], &views[i], c);
    }
    for (int i = 0; i < count; i++)
        free(views[i].classes);
    free(views);
}
