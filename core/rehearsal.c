#include "core/rehearsal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What enters the last layer of the base model for x, scaled to length 1. */
static void
direction_of(const soma_model *base, soma_workspace *ws, const float *x,
             int features, float *direction)
{
    soma_pass_forward(base, ws, 1, x);
    const float *a = soma_pass_entered(ws, base->spec.depth - 1);
    float square = 0;
    for (int i = 0; i < features; i++)
        square += a[i] * a[i];
    float scale = square > 0 ? 1 / sqrtf(square) : 0;
    for (int i = 0; i < features; i++)
        direction[i] = a[i] * scale;
}

static float
cosine(const float *a, const float *b, int count)
{
    /* Eight sums in a fixed order, so that the compiler may use vectors. */
    float sum[8] = {0};
    int i = 0;
    for (; i + 8 <= count; i += 8)
        for (int k = 0; k < 8; k++)
            sum[k] += a[i + k] * b[i + k];
    for (; i < count; i++)
        sum[0] += a[i] * b[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) +
           ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

static int
ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The cosine to the nearest other one of the same label: the fifth of the kept
 * examples that has it smallest. */
static soma_status
measure_close(soma_rehearsal *rehearsal, soma_error *err)
{
    const soma_memory *kept = rehearsal->kept;
    int features = rehearsal->features, count = 0;
    float *nearest = malloc((size_t)kept->count * sizeof *nearest);
    if (!nearest)
        return soma_error_memory(err, "examples to rehearse");
    for (int i = 0; i < kept->count; i++) {
        float best = -1;
        for (int j = 0; j < kept->count; j++)
            if (j != i && kept->labels[j] == kept->labels[i]) {
                float c =
                    cosine(rehearsal->directions + (size_t)i * (size_t)features,
                           rehearsal->directions + (size_t)j * (size_t)features,
                           features);
                best = c > best ? c : best;
            }
        if (best >= 0)
            nearest[count++] = best;
    }
    qsort(nearest, (size_t)count, sizeof *nearest, ascending);
    rehearsal->close = count ? nearest[count / 5] : 2;
    free(nearest);
    return SOMA_OK;
}

static soma_status
know_kept(soma_rehearsal *rehearsal, const soma_model *base, soma_workspace *ws,
          soma_error *err)
{
    const soma_memory *kept = rehearsal->kept;
    size_t count = (size_t)kept->count, features = (size_t)rehearsal->features;
    size_t outputs = (size_t)rehearsal->outputs;
    float *x = malloc((size_t)kept->size * sizeof *x);
    rehearsal->votes = calloc(count, sizeof *rehearsal->votes);
    rehearsal->active = malloc(count * sizeof *rehearsal->active);
    rehearsal->scores = malloc(count * outputs * sizeof *rehearsal->scores);
    rehearsal->directions =
        malloc(count * features * sizeof *rehearsal->directions);
    rehearsal->direction = malloc(features * sizeof *rehearsal->direction);
    if (!x || !rehearsal->direction || !rehearsal->votes ||
        !rehearsal->active || !rehearsal->directions) {
        free(x);
        return soma_error_memory(err, "examples to rehearse");
    }
    for (int i = 0; i < kept->count; i++) {
        soma_memory_get(kept, i, x);
        direction_of(base, ws, x, rehearsal->features,
                     rehearsal->directions + (size_t)i * features);
        memcpy(rehearsal->scores + (size_t)i * outputs, soma_pass_scores(ws),
               outputs * sizeof(float));
    }
    free(x);
    soma_rehearsal_recount(rehearsal);
    return measure_close(rehearsal, err);
}

soma_status
soma_rehearsal_create(soma_rehearsal *rehearsal, const soma_model *base,
                      soma_workspace *ws, const soma_memory *kept, int room,
                      soma_error *err)
{
    const soma_spec *spec = &base->spec;
    *rehearsal = (soma_rehearsal){.kept = kept && kept->count > 0 ? kept : NULL,
                                  .features = spec->layers[spec->depth - 1].in,
                                  .outputs = spec->outputs};
    soma_status status =
        soma_memory_create(&rehearsal->stream, spec->input.size, room, err);
    size_t places = room > 0 ? (size_t)room : 1;
    rehearsal->hashes = calloc(places, sizeof *rehearsal->hashes);
    if (!status && !rehearsal->hashes)
        status = soma_error_memory(err, "examples to rehearse");
    if (!status && rehearsal->kept)
        status = know_kept(rehearsal, base, ws, err);
    if (status)
        soma_rehearsal_free(rehearsal);
    return status;
}

void
soma_rehearsal_free(soma_rehearsal *rehearsal)
{
    soma_memory_free(&rehearsal->stream);
    free(rehearsal->hashes);
    free(rehearsal->votes);
    free(rehearsal->active);
    free(rehearsal->directions);
    free(rehearsal->direction);
    free(rehearsal->scores);
    *rehearsal = (soma_rehearsal){0};
}

soma_status
soma_rehearsal_resize(soma_rehearsal *rehearsal, int room, soma_error *err)
{
    soma_memory old = rehearsal->stream, new;
    if (room == old.room)
        return SOMA_OK;
    size_t places = room > 0 ? (size_t)room : 1;
    uint64_t *hashes = calloc(places, sizeof *hashes);
    float *x = malloc((size_t)old.size * sizeof *x);
    soma_status status = soma_memory_create(&new, old.size, room, err);
    if (!status && (!hashes || !x))
        status = soma_error_memory(err, "examples to rehearse");
    for (int i = 0; i < old.count && i < room && !status; i++) {
        soma_memory_get(&old, i, x);
        hashes[i] = rehearsal->hashes[i];
        status = soma_memory_put(&new, i, x, old.labels[i], err);
    }
    free(x);
    if (status) {
        soma_memory_free(&new);
        free(hashes);
        return status;
    }
    soma_memory_free(&old);
    free(rehearsal->hashes);
    rehearsal->stream = new;
    rehearsal->hashes = hashes;
    return SOMA_OK;
}

void
soma_rehearsal_recount(soma_rehearsal *rehearsal)
{
    rehearsal->active_count = 0;
    for (int i = 0; rehearsal->kept && i < rehearsal->kept->count; i++)
        if (rehearsal->votes[i] >= 0)
            rehearsal->active[rehearsal->active_count++] = i;
}

void
soma_rehearsal_vote(soma_rehearsal *rehearsal, const soma_model *base,
                    soma_workspace *ws, const float *x, int label, int sign)
{
    const soma_memory *kept = rehearsal->kept;
    if (!kept)
        return;
    int features = rehearsal->features;
    float *direction = rehearsal->direction;
    bool changed = false;
    direction_of(base, ws, x, features, direction);
    for (int i = 0; i < kept->count; i++) {
        const float *other =
            rehearsal->directions + (size_t)i * (size_t)features;
        if (cosine(direction, other, features) <= rehearsal->close)
            continue;
        rehearsal->votes[i] += kept->labels[i] == label ? sign : -sign;
        changed = true;
    }
    if (changed)
        soma_rehearsal_recount(rehearsal);
}

int
soma_rehearsal_draw(const soma_rehearsal *rehearsal, soma_rng *rng, int count,
                    float hold, soma_rows *rows)
{
    const soma_memory *stream = &rehearsal->stream;
    size_t outputs = (size_t)rehearsal->outputs;
    int active = rehearsal->active_count;
    if (!active && !stream->count)
        return 0;
    for (int i = 1; i <= count; i++) {
        bool base = active && (!stream->count || i % 3 == 1);
        const soma_memory *from = base ? rehearsal->kept : stream;
        int one =
            (int)soma_rng_below(rng, (uint32_t)(base ? active : stream->count));
        if (base)
            one = rehearsal->active[one];
        soma_memory_get(from, one, rows->x + (size_t)i * (size_t)from->size);
        rows->labels[i] = from->labels[one];
        rows->hold[i] = base ? hold : 0;
        if (base)
            memcpy(rows->held + (size_t)i * outputs,
                   rehearsal->scores + (size_t)one * outputs,
                   outputs * sizeof(float));
    }
    return count;
}

/* Several at a time: one alone waits for each of its products. */
enum { HASHES = 8 };

uint64_t
soma_rehearsal_hash(const float *x, int size)
{
    static const uint64_t prime = 0x100000001b3u;
    uint64_t hash[HASHES], all = 0xcbf29ce484222325u;
    for (int k = 0; k < HASHES; k++)
        hash[k] = all + (uint64_t)k;
    for (int i = 0; i < size; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        hash[i % HASHES] = (hash[i % HASHES] ^ bits) * prime;
    }
    for (int k = 0; k < HASHES; k++)
        all = (all ^ hash[k] ^ hash[k] >> 32) * prime;
    return all;
}

/* Its place in the sample, if it is there; else -1. */
static int
find(const soma_rehearsal *rehearsal, uint64_t hash)
{
    for (int i = 0; i < rehearsal->stream.count; i++)
        if (rehearsal->hashes[i] == hash)
            return i;
    return -1;
}

soma_status
soma_rehearsal_offer(soma_rehearsal *rehearsal, soma_rng *rng, const float *x,
                     int label, soma_error *err)
{
    soma_memory *stream = &rehearsal->stream;
    if (!stream->room)
        return SOMA_OK;
    uint64_t hash = soma_rehearsal_hash(x, stream->size);
    int at = find(rehearsal, hash);
    if (at < 0) {
        rehearsal->offered++;
        at = stream->count;
        if (at == stream->room) {
            uint64_t one = soma_rng_next(rng) % rehearsal->offered;
            if (one >= (uint64_t)stream->room)
                return SOMA_OK;
            at = (int)one;
        }
    }
    soma_status status = soma_memory_put(stream, at, x, label, err);
    if (!status)
        rehearsal->hashes[at] = hash;
    return status;
}
