#include "server/web/rate.h"

#include <math.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { WAYS = 8, SETS = SOMA_RATE_CALLERS / WAYS, LOCKS = 64 };
enum { KEY = 1, ADDRESS = 2 };

typedef struct bucket {
    uint64_t caller; /* 0: free */
    uint64_t since;  /* when `tokens` was right, ticks */
    double tokens;
} bucket;

struct soma_rates {
    double limit, most; /* tokens a second; of one bucket */
    uint64_t seed;      /* which callers share a set is nobody's to know */
    pthread_mutex_t locks[LOCKS];
    bucket buckets[SETS][WAYS];
};

soma_rates *
soma_rates_create(double limit)
{
    soma_rates *rates = calloc(1, sizeof *rates);
    if (!rates)
        return NULL;
    rates->limit = limit;
    rates->most = limit < 1 ? 1 : limit;
    if (getrandom(&rates->seed, sizeof rates->seed, 0) < 0)
        rates->seed = (uintptr_t)rates;
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_init(&rates->locks[i], NULL);
    return rates;
}

void
soma_rates_free(soma_rates *rates)
{
    if (!rates)
        return;
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&rates->locks[i]);
    free(rates);
}

/* The finalizer of SplitMix64. */
static uint64_t
mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t
digest(int kind, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    uint64_t sum = (uint64_t)kind;
    for (size_t i = 0; i < size; i++)
        sum = mix(sum + 0x9e3779b97f4a7c15u + at[i]);
    return sum ? sum : 1;
}

uint64_t
soma_rate_key(const char *name)
{
    return digest(KEY, name, strlen(name));
}

uint64_t
soma_rate_address(const struct sockaddr *address)
{
    union {
        const struct sockaddr *any;
        const struct sockaddr_in *v4;
        const struct sockaddr_in6 *v6;
    } at = {.any = address};
    if (address && address->sa_family == AF_INET)
        return digest(ADDRESS, &at.v4->sin_addr, 4);
    if (!address || address->sa_family != AF_INET6)
        return digest(ADDRESS, "", 0);
    const uint8_t *bytes = at.v6->sin6_addr.s6_addr;
    if (IN6_IS_ADDR_V4MAPPED(&at.v6->sin6_addr))
        return digest(ADDRESS, bytes + 12, 4);
    return digest(ADDRESS, bytes, 8);
}

static double
tokens_of(const soma_rates *rates, const bucket *b, uint64_t now)
{
    if (!b->caller)
        return rates->most;
    double passed = now > b->since ? (double)(now - b->since) / 1e6 : 0;
    return fmin(rates->most, b->tokens + passed * rates->limit);
}

/* The caller's bucket, or the fullest. */
static bucket *
find(const soma_rates *rates, bucket set[WAYS], uint64_t caller, uint64_t now)
{
    bucket *fullest = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].caller == caller)
            return &set[i];
        if (tokens_of(rates, &set[i], now) > tokens_of(rates, fullest, now))
            fullest = &set[i];
    }
    return fullest;
}

int
soma_rates_take(soma_rates *rates, uint64_t caller, uint64_t now)
{
    size_t set = mix(caller ^ rates->seed) % SETS;
    pthread_mutex_t *lock = &rates->locks[set % LOCKS];
    pthread_mutex_lock(lock);
    bucket *b = find(rates, rates->buckets[set], caller, now);
    double tokens = tokens_of(rates, b, now);
    int wait =
        tokens >= 1 ? 0 : (int)ceil(fmin(86400, (1 - tokens) / rates->limit));
    *b = (bucket){caller, now, wait ? tokens : tokens - 1};
    pthread_mutex_unlock(lock);
    return wait;
}
