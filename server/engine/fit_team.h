/* The threads of a fit, working in step. Private to fit.c and fit_team.c.
 */
#ifndef SOMA_ENGINE_FIT_TEAM_H
#define SOMA_ENGINE_FIT_TEAM_H

#include "server/engine/fit.h"

typedef struct soma_fit_team soma_fit_team;

/* `order` holds the row numbers of the dataset; it, like the rest, stays the
 * caller's and must outlive the team. The calling thread is one of the
 * fit->threads. */
soma_fit_team *soma_fit_team_create(const soma_fit *fit, soma_model *model,
                                    const soma_dataset *dataset,
                                    const int *order, soma_error *err);
void soma_fit_team_free(soma_fit_team *team); /* NULL is fine */

/* One SGD step on rows order[first .. first + rows) at this rate; returns the
 * sum of their losses. */
double soma_fit_team_step(soma_fit_team *team, int first, int rows, float rate);

/* What the model makes of rows order[first .. first + rows). */
typedef struct soma_fit_validation {
    int64_t correct;
    double loss; /* sum */
} soma_fit_validation;

soma_fit_validation soma_fit_team_validate(soma_fit_team *team, int first,
                                           int rows);

#endif
