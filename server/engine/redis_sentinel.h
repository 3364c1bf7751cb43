/* Redis Sentinel: processes that watch a master and its replicas, and make one
 * of those the master when it fails. Clients ask them for its address
 * (https://redis.io/docs/latest/develop/reference/sentinel-clients/).
 */
#ifndef SOMA_ENGINE_REDIS_SENTINEL_H
#define SOMA_ENGINE_REDIS_SENTINEL_H

#include "server/engine/redis.h"

/* Asks redis->hosts in turn, by soma_redis_dial, where redis->master is
 * now; the first that knows fills in redis->host and redis->port. SOMA_E_IO:
 * none does. */
soma_status soma_sentinel_find(soma_redis *redis, soma_error *err);

#endif
