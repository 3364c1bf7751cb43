/* How a fit is going: a bar on a terminal, a line an epoch elsewhere.
 */
#ifndef SOMA_SERVER_PROGRESS_H
#define SOMA_SERVER_PROGRESS_H

#include "server/engine/fit.h"

typedef struct soma_progress {
    bool terminal;
    double shown; /* when the bar was last drawn, seconds */
} soma_progress;

void soma_progress_start(soma_progress *bar);
void soma_progress_show(soma_progress *bar, const soma_fit_progress *progress);
void soma_progress_end(soma_progress *bar);

#endif
