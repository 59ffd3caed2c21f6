/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocked Bloom filter of the keys of one partition of a table: a key sets one bit in each of the
 * eight words of one line of 32 bytes (Putze, Sanders, Singler, "Cache-, hash- and space-efficient
 * Bloom filters", 2007), so that a probe touches one cache line.
 *
 * Payload: u8 type, 3 zero bytes, u32 lines, 8 zero bytes, lines.
 */
#ifndef TERN_ENGINE_LSM_FILTER_BLOCK_H
#define TERN_ENGINE_LSM_FILTER_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "engine/lsm/lsm_format.h"

#define FILTER_HEADER_BYTES 16u
#define FILTER_LINE_BYTES   32u

/* Payload size of a filter of `keys` keys. */
size_t filter_block_size(size_t keys, uint32_t bits_per_key);
/* Fills `payload` of filter_block_size bytes. */
void filter_block_build(uint8_t *payload, size_t size, const uint64_t *hashes, size_t keys);
const char *filter_block_check(const uint8_t *payload, size_t size);

static inline const uint8_t *filter_line(const uint8_t *payload, uint64_t key_hash) {
    uint32_t lines = get_u32(payload + 4);
    return payload + FILTER_HEADER_BYTES +
           (size_t)((key_hash >> 32) * lines >> 32) * FILTER_LINE_BYTES;
}

/* False: the key is not there. */
bool filter_line_may_contain(const uint8_t *line, uint64_t key_hash);

#endif
