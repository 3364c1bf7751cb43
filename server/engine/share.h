/* How trainers and workers share a processor, when there are more of them than
 * processors.
 *
 * The scheduler lets a thread that wakes up run for milliseconds (a tick)
 * before another that was busy gets on, and a trainer wakes up at each commit:
 * that would be what most of the slowest predictions wait for. So a trainer
 * gives way every SOMA_SHARE_US of its work, and a worker after each turn while
 * a trainer is at work. Neither waits for the other: who gives way with nobody
 * waiting goes on at once, at the cost of a system call.
 *
 * Only when something is computed changes by that, never what.
 */
#ifndef SOMA_ENGINE_SHARE_H
#define SOMA_ENGINE_SHARE_H

enum { SOMA_SHARE_US = 100 };

/* On a trainer's thread, around its work. */
void soma_share_begin(void);
void soma_share_end(void);

/* Wherever a thread may have worked for long; one that is no trainer, or that
 * has not worked for so long, goes on. */
void soma_share_give(void);

/* On a worker's thread, between turns. */
void soma_share_turn(void);

#endif
