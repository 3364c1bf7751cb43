/* How many requests a second a caller may make: a token bucket for each key,
 * and for each address from which requests come without a good key. An IPv6
 * address counts by its first 64 bits, which is what one customer has.
 *
 * A bucket holds the tokens of one second (at least one), so that a caller who
 * has been quiet may send so many at once. The table is bounded: a caller for
 * whom there is no place takes over that one of a few buckets that has the most
 * tokens, with what it has, so whoever comes with many addresses gains nothing
 * that way. Thread-safe.
 */
#ifndef SOMA_WEB_RATE_H
#define SOMA_WEB_RATE_H

#include <stdint.h>
#include <sys/socket.h>

typedef struct soma_rates soma_rates;

enum { SOMA_RATE_CALLERS = 16384 };

/* `limit` > 0, requests a second. NULL: there is no memory for it. */
soma_rates *soma_rates_create(double limit);
void soma_rates_free(soma_rates *rates);

/* Callers as the table knows them; not 0. */
uint64_t soma_rate_key(const char *name);
uint64_t soma_rate_address(const struct sockaddr *address);

/* Takes a token at this time (clock.h). 0: there was one; else the whole
 * seconds until there will be. */
int soma_rates_take(soma_rates *rates, uint64_t caller, uint64_t now);

#endif
