#include "server/engine/journal_sqlite.h"

#include <endian.h>
#include <zlib.h>

uint32_t
soma_db_sum_int(uint32_t sum, int64_t value)
{
    uint64_t bytes = htole64((uint64_t)value);
    return (uint32_t)crc32(sum, (const unsigned char *)&bytes, sizeof bytes);
}

/* With their number, so that bytes cannot move from one field to the next. */
uint32_t
soma_db_sum_bytes(uint32_t sum, const void *data, size_t size)
{
    sum = soma_db_sum_int(sum, (int64_t)size);
    return size ? (uint32_t)crc32_z(sum, data, size) : sum;
}

soma_status
soma_db_damaged(const soma_db *db, soma_error *err, const char *what,
                uint64_t number)
{
    return soma_error_set(err, SOMA_E_FORMAT, "%s: %s %llu is damaged",
                          db->path, what, (unsigned long long)number);
}
