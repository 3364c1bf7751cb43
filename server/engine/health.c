#include "server/engine/health.h"

#include "core/activation.h"

#include <stdlib.h>
#include <string.h>

soma_status
soma_health_create(soma_health *health, const soma_spec *spec, soma_error *err)
{
    int units = 0;
    for (int i = 0; i < spec->depth; i++)
        units += spec->layers[i].units;
    unsigned char *lively = calloc(2, (size_t)units + 1);
    if (!lively)
        return soma_error_memory(err, "the health of units");
    pthread_mutex_init(&health->lock, NULL);
    health->halves[0].lively = lively;
    health->halves[1].lively = lively + units + 1;
    health->units = units;
    return SOMA_OK;
}

void
soma_health_free(soma_health *health)
{
    if (!health->units)
        return;
    unsigned char *a = health->halves[0].lively, *b = health->halves[1].lively;
    free(a < b ? a : b); /* they are one block, and change places */
    pthread_mutex_destroy(&health->lock);
    health->units = 0;
}

static void
turn_over(soma_health *health)
{
    soma_health_half full = health->halves[0];
    health->halves[0] = health->halves[1];
    health->halves[1] = full;
    unsigned char *lively = health->halves[0].lively;
    memset(lively, 0, (size_t)health->units);
    health->halves[0] = (soma_health_half){.lively = lively};
}

static void
look_at(soma_health_half *half, const soma_spec *spec, const soma_workspace *ws,
        size_t row)
{
    unsigned char *lively = half->lively;
    for (int i = 0; i < spec->depth; i++) {
        const soma_layer *layer = &spec->layers[i];
        const float *a =
            soma_pass_activations(ws, i) + row * (size_t)layer->units;
        bool (*is_stuck)(float) = layer->activation->is_stuck;
        for (int u = 0; is_stuck && u < layer->units; u++)
            if (is_stuck(a[u]))
                half->stuck[i]++;
            else
                lively[u] = 1;
        lively += layer->units;
    }
    half->rows++;
}

void
soma_health_look(soma_health *health, const soma_spec *spec,
                 const soma_workspace *ws, uint64_t now)
{
    if (!health->units ||
        now < atomic_load_explicit(&health->due, memory_order_relaxed) ||
        pthread_mutex_trylock(&health->lock))
        return;
    atomic_store_explicit(&health->due, now + SOMA_HEALTH_PAUSE,
                          memory_order_relaxed);
    if (health->halves[0].rows == SOMA_HEALTH_WINDOW)
        turn_over(health);
    look_at(&health->halves[0], spec, ws,
            (size_t)health->halves[0].rows % (size_t)soma_pass_rows(ws));
    pthread_mutex_unlock(&health->lock);
}

bool
soma_health_ask(soma_health *health, const soma_spec *spec, int layer,
                soma_health_report *report)
{
    return soma_health_ask_units(health, spec, layer, report, NULL);
}

bool
soma_health_ask_units(soma_health *health, const soma_spec *spec, int layer,
                      soma_health_report *report, unsigned char *dead)
{
    int units = spec->layers[layer].units;
    *report = (soma_health_report){0, 0, 0};
    if (dead)
        memset(dead, 0, (size_t)units);
    if (!health->units || !spec->layers[layer].activation->is_stuck)
        return false;
    size_t first = 0;
    for (int i = 0; i < layer; i++)
        first += (size_t)spec->layers[i].units;
    pthread_mutex_lock(&health->lock);
    const soma_health_half *now = &health->halves[0], *then = now + 1;
    report->rows = now->rows + then->rows;
    if (report->rows)
        report->stuck = (double)(now->stuck[layer] + then->stuck[layer]) /
                        ((double)report->rows * units);
    for (size_t u = first; report->rows && u < first + (size_t)units; u++) {
        bool is_dead = !now->lively[u] && !then->lively[u];
        report->dead += is_dead;
        if (dead)
            dead[u - first] = is_dead;
    }
    pthread_mutex_unlock(&health->lock);
    return true;
}
