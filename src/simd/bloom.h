/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a blocked Bloom filter (Putze, Sanders, Singler, "Cache-, hash- and space-efficient
 * Bloom filters", 2007): a line is eight little-endian words of 32 bits, and a key sets one bit in
 * each, chosen by the low half of its hash times an odd number of the word. The high half chooses
 * the line. Any thread; builders of the same lines take turns.
 */
#ifndef TERN_SIMD_BLOOM_H
#define TERN_SIMD_BLOOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOOM_LINE_BYTES 32u

/* Place in `line_count` lines of the line of a hash. */
static inline size_t bloom_line_offset(uint64_t hash, uint32_t line_count) {
    return (size_t)((hash >> 32) * line_count >> 32) * BLOOM_LINE_BYTES;
}

/* Adds `count` hashes to `line_count` lines, at any alignment. */
void bloom_build(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count);

/* False: the hash was not added to its line. */
bool bloom_line_may_contain(const uint8_t *line, uint64_t hash);

#endif
