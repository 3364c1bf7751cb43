/* The latest of what a model was taught, for those who watch it learn: written
 * by its trainer, its own examples once they are in force, those of other
 * replicas as they are learned; read by any thread. It holds the last SOMA_FEED
 * of them and is not kept: the journal is.
 */
#ifndef SOMA_ENGINE_FEED_H
#define SOMA_ENGINE_FEED_H

#include "server/engine/journal.h"

#include <pthread.h>
#include <stdint.h>

enum { SOMA_FEED = 512 };

typedef struct soma_news {
    uint64_t version;      /* of the record */
    int64_t time;          /* milliseconds since 1970 */
    soma_record_kind kind; /* what was not taught has a */
    uint64_t target;       /* version: that rolled back to, or of the fork */
    int label, predicted;  /* before it was learned */
    float loss;            /* the same */
} soma_news;

typedef struct soma_feed {
    pthread_mutex_t lock;
    uint64_t count; /* of all that came; item n stands at n % SOMA_FEED */
    soma_news items[SOMA_FEED];
} soma_feed;

void soma_feed_create(soma_feed *feed);
void soma_feed_free(soma_feed *feed);

void soma_feed_add(soma_feed *feed, const soma_news *news);

/* How many have come so far. */
uint64_t soma_feed_count(soma_feed *feed);

/* Those from number *at on that are still there, oldest first, at most `room`;
 * *at becomes the number of the next one. Returns how many. */
int soma_feed_read(soma_feed *feed, uint64_t *at, soma_news *news, int room);

/* Examples that came since that time; where more came than are held, as many
 * as that makes at the rate of those. */
double soma_feed_since(soma_feed *feed, int64_t since, int64_t now);

#endif
