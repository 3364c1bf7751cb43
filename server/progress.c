#include "server/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static double
now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

void
soma_progress_start(soma_progress *bar)
{
    bar->terminal = isatty(STDERR_FILENO);
    bar->shown = 0;
}

static void
numbers(const soma_fit_progress *p)
{
    fprintf(stderr, "epoch %d/%d  loss %.4f", p->epoch, p->epochs, p->loss);
    if (p->validation_accuracy >= 0)
        fprintf(stderr, "  validation %.2f %%", 100 * p->validation_accuracy);
    fprintf(stderr, "  %.0f images/s", p->rows_a_second);
}

static void
time_left(double seconds)
{
    if (seconds < 100)
        fprintf(stderr, "  %.0f s left", seconds);
    else
        fprintf(stderr, "  %.0f min left", seconds / 60);
}

static void
draw(const soma_fit_progress *p)
{
    enum { WIDTH = 20 };
    int full = (int)(p->done * WIDTH);
    fputs("\r[", stderr);
    for (int i = 0; i < WIDTH; i++)
        fputs(i < full ? "=" : i == full ? ">" : " ", stderr);
    fputs("] ", stderr);
    numbers(p);
    time_left(p->seconds_left);
    fputs("\033[K", stderr); /* clears what a longer line left behind */
}

void
soma_progress_show(soma_progress *bar, const soma_fit_progress *progress)
{
    if (!bar->terminal) {
        if (progress->epoch_done) {
            numbers(progress);
            fputc('\n', stderr);
        }
        return;
    }
    double time = now();
    if (!progress->epoch_done && time - bar->shown < 0.1)
        return;
    bar->shown = time;
    draw(progress);
}

void
soma_progress_end(soma_progress *bar)
{
    if (bar->terminal && bar->shown > 0)
        fputc('\n', stderr);
}
