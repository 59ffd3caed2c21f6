/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blocked Bloom filter (Putze, Sanders, Singler, "Cache-, Hash- and Space-Efficient Bloom
 * Filters", 2007): all bits of a key lie in one cache line.
 */
#ifndef TERN_ENGINE_OVERLAY_OVERLAY_FILTER_H
#define TERN_ENGINE_OVERLAY_OVERLAY_FILTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"

#define FILTER_WORDS        8u
#define FILTER_PROBES       6u
#define FILTER_BITS_PER_KEY 10u

struct filter_block {
    _Atomic uint64_t words[FILTER_WORDS];
} __attribute__((aligned(64)));

/* One writer, any number of readers. */
struct overlay_filter {
    struct filter_block *blocks;
    uint64_t block_count;
    uint64_t capacity_keys;
    size_t size_bytes;           /* with this struct */
    bool is_pages;               /* the blocks are whole pages from the system */
    bool is_spilled;             /* and stand in a temporary file */
    struct overlay_filter *next; /* the owner's */
};

/* Empty, for so many keys at FILTER_BITS_PER_KEY; NULL when out of memory. */
struct overlay_filter *filter_create(const tern_allocator *allocator, uint64_t capacity_keys);
void filter_destroy(const tern_allocator *allocator, struct overlay_filter *filter);

/* Keys that the filter after one for `capacity_keys` is for, when there are `key_count`, and
 * `expected_keys` (0: unknown) in the end. */
uint64_t filter_next_capacity(uint64_t capacity_keys, uint64_t key_count, uint64_t expected_keys);

/* Bytes of its pages; 0 when it has none. */
static inline size_t filter_page_bytes(const struct overlay_filter *filter) {
    return filter->is_pages ? filter->size_bytes - sizeof(*filter) : 0;
}

/* The bits of a key's hash that filters use: the owner keeps them to fill a larger filter. */
static inline uint32_t filter_hash(uint64_t key_hash) {
    return (uint32_t)(key_hash >> 32);
}

static inline struct filter_block *filter_block(const struct overlay_filter *filter,
                                                uint32_t hash) {
    return &filter->blocks[((uint64_t)hash * filter->block_count) >> 32];
}

/* Six numbers of nine bits; the multiplier is 2^64 divided by the golden ratio. */
static inline uint64_t filter_pattern(uint32_t hash) {
    return ((uint64_t)hash * UINT64_C(0x9E3779B97F4A7C15)) >> 10;
}

static inline void filter_add(struct overlay_filter *filter, uint32_t hash) {
    struct filter_block *block = filter_block(filter, hash);
    uint64_t pattern = filter_pattern(hash);
    for (uint32_t i = 0; i < FILTER_PROBES; i++, pattern >>= 9) {
        _Atomic uint64_t *word = &block->words[(pattern >> 6) & (FILTER_WORDS - 1)];
        uint64_t bits = atomic_load_explicit(word, memory_order_relaxed);
        atomic_store_explicit(word, bits | UINT64_C(1) << (pattern & 63), memory_order_relaxed);
    }
}

static inline bool filter_may_contain(const struct overlay_filter *filter, uint32_t hash) {
    const struct filter_block *block = filter_block(filter, hash);
    uint64_t pattern = filter_pattern(hash);
    uint64_t all = 1;
    for (uint32_t i = 0; i < FILTER_PROBES; i++, pattern >>= 9) {
        uint64_t word = atomic_load_explicit(&block->words[(pattern >> 6) & (FILTER_WORDS - 1)],
                                             memory_order_relaxed);
        all &= word >> (pattern & 63);
    }
    return all != 0;
}

#endif
