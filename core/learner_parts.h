/* What a learner consists of; for learner.c and learner_state.c alone. */
#ifndef SOMA_CORE_LEARNER_PARTS_H
#define SOMA_CORE_LEARNER_PARTS_H

#include "core/learner.h"
#include "core/rehearsal.h"
#include "core/step.h"

struct soma_learner {
    soma_learning settings;
    const soma_model *base; /* borrowed */
    soma_model *model;
    float *velocity; /* [trainable] with momentum, else NULL */
    soma_rehearsal rehearsal;
    soma_progressive progressive;
    /* Scratch, which no result depends on: */
    soma_workspace *ws; /* for 1 + settings.rehearse rows */
    float *grad;        /* with momentum */
    soma_step step;     /* without */
    const float *next;  /* borrowed; NULL: not known */
    soma_rows rows;     /* [1 + rehearse], the new example first */
    float *answer;      /* [answers of the loss] */
};

#endif
