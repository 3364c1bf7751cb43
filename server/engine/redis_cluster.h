/* Redis Cluster: masters that share the keys among them, by slots. A node that
 * does not have a key says who does: "MOVED SLOT HOST:PORT"
 * (https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/).
 * All keys of a journal are in one slot, so a journal has one node at a time,
 * and no map of the slots is needed.
 */
#ifndef SOMA_ENGINE_REDIS_CLUSTER_H
#define SOMA_ENGINE_REDIS_CLUSTER_H

#include "server/engine/redis.h"

/* Connects to the node that has redis->route, and signs in: the one it was
 * last, else what redis->hosts name, and where those point to. redis->host and
 * redis->port are that node's then. SOMA_E_IO: none was found; the last one's
 * reason. */
soma_status soma_cluster_reach(soma_redis *redis, soma_error *err);

#endif
