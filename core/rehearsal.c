#include "core/rehearsal.h"

#include "core/loss.h"

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

/* The most votes that count by rule 1, so that what was agreed to for long can
 * be retired as soon as anything else. */
enum { MOST_VOTES = 8 };

/* The cosine to the nearest other one of the same label: the fifth, by rule 1
 * the tenth, of the kept examples that has it smallest. */
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
    rehearsal->close[0] = count ? nearest[count / 5] : 2;
    rehearsal->close[1] = count ? nearest[count / 10] : 2;
    free(nearest);
    return SOMA_OK;
}

/* The median margin of the kept examples that the base model reads right. */
static soma_status
measure_sure(soma_rehearsal *rehearsal, soma_error *err)
{
    const soma_memory *kept = rehearsal->kept;
    int classes = rehearsal->meaning.classes;
    float *margins = malloc((size_t)kept->count * sizeof *margins);
    if (!margins)
        return soma_error_memory(err, "examples to rehearse");
    for (int k = 0; k < classes; k++) {
        int count = 0;
        for (int i = 0; i < kept->count; i++) {
            const float *scores =
                rehearsal->scores + (size_t)i * (size_t)classes;
            float margin = soma_meaning_margin(scores, classes, k);
            if (kept->labels[i] == k && margin > 0)
                margins[count++] = margin;
        }
        qsort(margins, (size_t)count, sizeof *margins, ascending);
        if (count)
            rehearsal->meaning.sure[k] = margins[count / 2];
    }
    free(margins);
    return SOMA_OK;
}

/* Where each class has a score of its own. */
static soma_status
know_classes(soma_rehearsal *rehearsal, const soma_spec *spec, soma_error *err)
{
    if (spec->outputs != spec->classes)
        return SOMA_OK;
    soma_status status =
        soma_meaning_create(&rehearsal->meaning, spec->classes, err);
    if (status)
        return status;
    rehearsal->former_opinions =
        calloc((size_t)spec->classes, sizeof *rehearsal->former_opinions);
    return rehearsal->former_opinions
               ? measure_sure(rehearsal, err)
               : soma_error_memory(err, "the meaning of classes");
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
    rehearsal->former_votes = calloc(count, sizeof *rehearsal->former_votes);
    rehearsal->active = malloc(count * sizeof *rehearsal->active);
    rehearsal->scores = malloc(count * outputs * sizeof *rehearsal->scores);
    rehearsal->directions =
        malloc(count * features * sizeof *rehearsal->directions);
    rehearsal->direction = malloc(features * sizeof *rehearsal->direction);
    if (!x || !rehearsal->direction || !rehearsal->votes ||
        !rehearsal->former_votes || !rehearsal->active || !rehearsal->scores ||
        !rehearsal->directions) {
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
    soma_status status = measure_close(rehearsal, err);
    return status ? status : know_classes(rehearsal, &base->spec, err);
}

soma_status
soma_rehearsal_create(soma_rehearsal *rehearsal, const soma_model *base,
                      soma_workspace *ws, const soma_memory *kept, int room,
                      soma_error *err)
{
    const soma_spec *spec = &base->spec;
    *rehearsal = (soma_rehearsal){.kept = kept && kept->count > 0 ? kept : NULL,
                                  .features = spec->layers[spec->depth - 1].in,
                                  .outputs = spec->outputs,
                                  .loss = spec->loss,
                                  .renamed = -1};
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
    soma_meaning_free(&rehearsal->meaning);
    free(rehearsal->votes);
    free(rehearsal->former_votes);
    free(rehearsal->former_opinions);
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
soma_rehearsal_follow(soma_rehearsal *rehearsal, int rule)
{
    rehearsal->rule = rule;
    if (rule == 0)
        soma_meaning_reset(&rehearsal->meaning);
}

/* What an example of the base memory is called by now. */
static int
name_of(const soma_rehearsal *rehearsal, int label)
{
    return rehearsal->meaning.renamed ? rehearsal->meaning.opinions[label].name
                                      : label;
}

static void
vote(soma_rehearsal *rehearsal, int i, bool agrees)
{
    int32_t *votes = &rehearsal->votes[i];
    int bound = rehearsal->rule == 0 ? INT32_MAX : MOST_VOTES;
    if (agrees)
        *votes += *votes < bound;
    else
        *votes -= *votes > -bound;
}

/* Examples of a class that was renamed begin anew, under the new name. */
static void
hear(soma_rehearsal *rehearsal, int said, float margin, int label)
{
    int former = rehearsal->meaning.opinions[said].name;
    if (!soma_meaning_hear(&rehearsal->meaning, said, margin, label))
        return;
    rehearsal->renamed = said;
    rehearsal->former = former;
    for (int i = 0; i < rehearsal->kept->count; i++)
        if (rehearsal->kept->labels[i] == said)
            rehearsal->votes[i] = 0;
    soma_rehearsal_recount(rehearsal);
}

static void
keep_former(soma_rehearsal *rehearsal)
{
    const soma_meaning *meaning = &rehearsal->meaning;
    memcpy(rehearsal->former_votes, rehearsal->votes,
           (size_t)rehearsal->kept->count * sizeof *rehearsal->votes);
    if (meaning->classes)
        memcpy(rehearsal->former_opinions, meaning->opinions,
               (size_t)meaning->classes * sizeof *meaning->opinions);
    rehearsal->renamed = -1;
}

void
soma_rehearsal_vote(soma_rehearsal *rehearsal, const soma_model *base,
                    soma_workspace *ws, const float *x, int label)
{
    const soma_memory *kept = rehearsal->kept;
    if (!kept)
        return;
    int features = rehearsal->features, outputs = rehearsal->outputs;
    float *direction = rehearsal->direction;
    float close = rehearsal->close[rehearsal->rule];
    bool changed = false, near = false;
    keep_former(rehearsal);
    direction_of(base, ws, x, features, direction);
    const float *scores = soma_pass_scores(ws);
    int said = soma_loss_decide(rehearsal->loss, outputs, scores);
    for (int i = 0; i < kept->count; i++) {
        const float *other =
            rehearsal->directions + (size_t)i * (size_t)features;
        if (cosine(direction, other, features) <= close)
            continue;
        vote(rehearsal, i, name_of(rehearsal, kept->labels[i]) == label);
        changed = true;
        near = near || kept->labels[i] == said;
    }
    rehearsal->near = near && rehearsal->rule > 0;
    if (changed)
        soma_rehearsal_recount(rehearsal);
    if (rehearsal->near && rehearsal->meaning.classes)
        hear(rehearsal, said, soma_meaning_margin(scores, outputs, said),
             label);
}

void
soma_rehearsal_take_back(soma_rehearsal *rehearsal)
{
    soma_meaning *meaning = &rehearsal->meaning;
    if (!rehearsal->kept)
        return;
    memcpy(rehearsal->votes, rehearsal->former_votes,
           (size_t)rehearsal->kept->count * sizeof *rehearsal->votes);
    if (meaning->classes)
        memcpy(meaning->opinions, rehearsal->former_opinions,
               (size_t)meaning->classes * sizeof *meaning->opinions);
    soma_meaning_recount(meaning);
    soma_rehearsal_recount(rehearsal);
    rehearsal->renamed = -1;
}

void
soma_rehearsal_rename(soma_rehearsal *rehearsal, const soma_model *base,
                      soma_workspace *ws, float *x)
{
    soma_memory *stream = &rehearsal->stream;
    int renamed = rehearsal->renamed;
    if (renamed < 0)
        return;
    for (int i = 0; i < stream->count; i++) {
        if (stream->labels[i] != rehearsal->former)
            continue;
        soma_memory_get(stream, i, x);
        const float *scores = soma_pass_forward(base, ws, 1, x);
        if (soma_loss_decide(rehearsal->loss, rehearsal->outputs, scores) ==
            renamed)
            stream->labels[i] = rehearsal->meaning.opinions[renamed].name;
    }
    rehearsal->renamed = -1;
}

static void
draw_kept(const soma_rehearsal *rehearsal, int one, int at, float hold,
          soma_rows *rows)
{
    size_t outputs = (size_t)rehearsal->outputs;
    float *held = rows->held + (size_t)at * outputs;
    rows->labels[at] = name_of(rehearsal, rehearsal->kept->labels[one]);
    rows->hold[at] = hold;
    memcpy(held, rehearsal->scores + (size_t)one * outputs,
           outputs * sizeof(float));
    if (rehearsal->meaning.renamed)
        soma_meaning_translate(&rehearsal->meaning, held);
}

int
soma_rehearsal_draw(const soma_rehearsal *rehearsal, soma_rng *rng, int count,
                    float hold, soma_rows *rows)
{
    const soma_memory *stream = &rehearsal->stream;
    int active = rehearsal->active_count, every = rehearsal->near ? 2 : 3;
    if (!active && !stream->count)
        return 0;
    for (int i = 1; i <= count; i++) {
        bool base = active && (!stream->count || i % every == 1);
        const soma_memory *from = base ? rehearsal->kept : stream;
        int one =
            (int)soma_rng_below(rng, (uint32_t)(base ? active : stream->count));
        if (base)
            one = rehearsal->active[one];
        soma_memory_get(from, one, rows->x + (size_t)i * (size_t)from->size);
        rows->labels[i] = from->labels[one];
        rows->hold[i] = 0;
        if (base)
            draw_kept(rehearsal, one, i, hold, rows);
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
