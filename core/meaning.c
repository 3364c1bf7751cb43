#include "core/meaning.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

soma_status
soma_meaning_create(soma_meaning *meaning, int classes, soma_error *err)
{
    size_t n = (size_t)classes;
    *meaning = (soma_meaning){.classes = classes};
    meaning->opinions = calloc(n, sizeof *meaning->opinions);
    meaning->sure = malloc(n * sizeof *meaning->sure);
    meaning->scores = malloc(n * sizeof *meaning->scores);
    if (!meaning->opinions || !meaning->sure || !meaning->scores) {
        soma_meaning_free(meaning);
        return soma_error_memory(err, "the meaning of classes");
    }
    for (int k = 0; k < classes; k++)
        meaning->sure[k] = INFINITY;
    soma_meaning_reset(meaning);
    return SOMA_OK;
}

void
soma_meaning_free(soma_meaning *meaning)
{
    free(meaning->opinions);
    free(meaning->sure);
    free(meaning->scores);
    *meaning = (soma_meaning){0};
}

void
soma_meaning_reset(soma_meaning *meaning)
{
    for (int k = 0; k < meaning->classes; k++)
        meaning->opinions[k] = (soma_opinion){.name = k, .leader = k};
    meaning->renamed = false;
}

bool
soma_meaning_recount(soma_meaning *meaning)
{
    bool fine = true;
    meaning->renamed = false;
    for (int k = 0; k < meaning->classes; k++) {
        const soma_opinion *one = &meaning->opinions[k];
        fine = fine && one->name >= 0 && one->name < meaning->classes &&
               one->leader >= 0 && one->leader < meaning->classes &&
               one->lead >= 0 && one->lead <= SOMA_MEANING_MOST;
        meaning->renamed = meaning->renamed || one->name != k;
    }
    return fine;
}

float
soma_meaning_margin(const float *scores, int classes, int said)
{
    float second = -INFINITY;
    for (int k = 0; k < classes; k++)
        if (k != said && scores[k] > second)
            second = scores[k];
    return scores[said] - second;
}

bool
soma_meaning_hear(soma_meaning *meaning, int said, float margin, int label)
{
    soma_opinion *one = &meaning->opinions[said];
    if (!(margin >= meaning->sure[said]))
        return false;
    if (label == one->leader) {
        one->lead += one->lead < SOMA_MEANING_MOST;
    } else if (one->lead > 0) {
        one->lead--;
    } else {
        one->leader = label;
        one->lead = 1;
    }
    if (one->lead < SOMA_MEANING_LEAD || one->leader == one->name)
        return false;
    one->name = one->leader;
    soma_meaning_recount(meaning);
    return true;
}

void
soma_meaning_translate(const soma_meaning *meaning, float *scores)
{
    float *new = meaning->scores, lowest = scores[0];
    for (int k = 1; k < meaning->classes; k++)
        lowest = scores[k] < lowest ? scores[k] : lowest;
    for (int k = 0; k < meaning->classes; k++)
        new[k] = lowest;
    for (int k = 0; k < meaning->classes; k++) {
        int name = meaning->opinions[k].name;
        new[name] = scores[k] > new[name] ? scores[k] : new[name];
    }
    memcpy(scores, new, (size_t)meaning->classes * sizeof *scores);
}
