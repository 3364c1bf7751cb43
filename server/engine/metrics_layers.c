/* Prometheus families of the models' layers, and of what a model's journal
 * takes. */
#include "server/engine/metrics.h"

static void
print_layers(FILE *to, soma_served *const *list, int count, const char *name,
             const char *help, double (*value)(const soma_health_report *r))
{
    soma_metrics_head(to, name, "gauge", help);
    for (int i = 0; i < count; i++)
        for (int layer = 0; layer < list[i]->spec.depth; layer++) {
            soma_health_report r;
            if (soma_health_ask(&list[i]->health, &list[i]->spec, layer, &r) &&
                r.rows)
                fprintf(to, "%s{model=\"%s\",layer=\"%d\"} %.9g\n", name,
                        list[i]->name, layer, value(&r));
        }
}

static double
stuck(const soma_health_report *r)
{
    return r->stuck;
}

static double
dead(const soma_health_report *r)
{
    return r->dead;
}

static double
rows(const soma_health_report *r)
{
    return (double)r->rows;
}

void
soma_metrics_layers(FILE *to, soma_registry *registry)
{
    soma_served *list[SOMA_MAX_MODELS] = {NULL};
    int count = soma_registry_list(registry, list);
    print_layers(
        to, list, count, "soma_layer_saturation_ratio",
        "Share of a layer's activations that pass no gradient on, over "
        "a sample of what was predicted: saturated sigmoid and tanh "
        "units, rectifiers at 0.",
        stuck);
    print_layers(to, list, count, "soma_layer_dead_units",
                 "Units that did so for every row of the sample.", dead);
    print_layers(to, list, count, "soma_layer_sampled_rows",
                 "Rows in the sample.", rows);
    soma_metrics_head(to, "soma_journal_commit_seconds", "histogram",
                      "Time that it took to have a group of records on disk.");
    for (int i = 0; i < count; i++)
        soma_metrics_times(to, "soma_journal_commit_seconds", list[i]->name,
                           soma_trainer_commits(list[i]->trainer));
}
