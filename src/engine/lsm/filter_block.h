/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocked Bloom filter of the keys of one partition of a table: a key sets one bit in each of the
 * eight words of one line of 32 bytes (simd/bloom.h), so that a probe touches one cache line.
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
#include "simd/bloom.h"

#define FILTER_HEADER_BYTES 16u
#define FILTER_LINE_BYTES   BLOOM_LINE_BYTES

/* Payload size of a filter of `keys` keys. */
size_t filter_block_size(size_t keys, uint32_t bits_per_key);
/* Fills `payload` of filter_block_size bytes. */
void filter_block_build(uint8_t *payload, size_t size, const uint64_t *hashes, size_t keys);
const char *filter_block_check(const uint8_t *payload, size_t size);

static inline const uint8_t *filter_line(const uint8_t *payload, uint64_t key_hash) {
    return payload + FILTER_HEADER_BYTES + bloom_line_offset(key_hash, get_u32(payload + 4));
}

#endif
