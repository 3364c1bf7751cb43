/* How trainers, their writers and workers share a processor, when there are
 * more of them than processors. A writer is like a trainer.
 *
 * The scheduler lets a thread that wakes up run for milliseconds (a tick)
 * before another that was busy gets on, and a trainer wakes up at each commit:
 * that would be what most of the slowest predictions wait for. So a trainer
 * gives way every SOMA_SHARE_US of its work, and a worker, while a trainer is
 * at work, after the first turn that ends SOMA_SHARE_TURN_US or more after it
 * last gave way. Neither waits for the other: who gives way with nobody waiting
 * goes on at once, at the cost of a system call.
 *
 * Each finds the caches full of the other's weights, so turns must not be too
 * short; and where both have more to do than the processor can, a trainer gets
 * a seventh of it, or a step's time in each turn if that takes longer. Seen
 * with 16 connections that predict while 2,000 examples a second are taught:
 * the 99th percentile is 2.3 times that without for 100 us and every turn, 1.6
 * times for these.
 *
 * Only when something is computed changes by that, never what.
 */
#ifndef SOMA_ENGINE_SHARE_H
#define SOMA_ENGINE_SHARE_H

enum {
    SOMA_SHARE_US = 70,       /* of time */
    SOMA_SHARE_TURN_US = 400, /* of the worker's own */
};

/* On a trainer's or writer's thread, around its work. */
void soma_share_begin(void);
void soma_share_end(void);

/* Wherever a thread may have worked for long; one that is no trainer, or that
 * has not worked for so long, goes on. */
void soma_share_give(void);

/* On a worker's thread, between turns. */
void soma_share_turn(void);

#endif
