#include "server/engine/feed.h"

void
soma_feed_create(soma_feed *feed)
{
    pthread_mutex_init(&feed->lock, NULL);
    feed->count = 0;
}

void
soma_feed_free(soma_feed *feed)
{
    pthread_mutex_destroy(&feed->lock);
}

void
soma_feed_add(soma_feed *feed, const soma_news *news)
{
    pthread_mutex_lock(&feed->lock);
    feed->items[feed->count++ % SOMA_FEED] = *news;
    pthread_mutex_unlock(&feed->lock);
}

uint64_t
soma_feed_count(soma_feed *feed)
{
    pthread_mutex_lock(&feed->lock);
    uint64_t count = feed->count;
    pthread_mutex_unlock(&feed->lock);
    return count;
}

/* The number of the oldest that is held. */
static uint64_t
oldest(const soma_feed *feed)
{
    return feed->count > SOMA_FEED ? feed->count - SOMA_FEED : 0;
}

int
soma_feed_read(soma_feed *feed, uint64_t *at, soma_news *news, int room)
{
    int count = 0;
    pthread_mutex_lock(&feed->lock);
    if (*at < oldest(feed))
        *at = oldest(feed);
    while (count < room && *at < feed->count)
        news[count++] = feed->items[(*at)++ % SOMA_FEED];
    pthread_mutex_unlock(&feed->lock);
    return count;
}

double
soma_feed_since(soma_feed *feed, int64_t since, int64_t now)
{
    double count = 0;
    pthread_mutex_lock(&feed->lock);
    uint64_t first = oldest(feed);
    for (uint64_t n = first; n < feed->count; n++) {
        const soma_news *news = &feed->items[n % SOMA_FEED];
        count += news->kind == SOMA_RECORD_EXAMPLE && news->time >= since;
    }
    int64_t held = feed->count ? feed->items[first % SOMA_FEED].time : now;
    if (first > 0 && held > since && now > held)
        count *= (double)(now - since) / (double)(now - held);
    pthread_mutex_unlock(&feed->lock);
    return count;
}
