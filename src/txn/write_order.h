/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of a write set's part in order: a sorted list of key numbers in blocks of bounded size,
 * so that an insertion moves at most a block.
 */
#ifndef TERN_TXN_WRITE_ORDER_H
#define TERN_TXN_WRITE_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tern/slice.h>
#include <tern/status.h>

#include "base/memory.h"

struct write_order_block;

/* A key written; `newest` is the number of its newest operation. */
struct write_key {
    tern_slice key;
    uint64_t hash;
    uint32_t newest;
};

/* Zero-initialise. One thread at a time. */
struct write_order {
    struct write_order_block **blocks;
    size_t block_count, block_capacity;
};

void write_order_release(struct write_order *order, const tern_allocator *allocator);

/* Inserts the key numbered `number`, which is not there. TERN_NO_MEMORY changes nothing. */
TERN_MUST_CHECK tern_status write_order_insert(struct write_order *order,
                                               const tern_allocator *allocator,
                                               const struct write_key *keys, uint32_t number);

/* Removes a key that is there. */
void write_order_remove(struct write_order *order, const tern_allocator *allocator,
                        const struct write_key *keys, uint32_t number);

/*
 * Finds the first key >= `key` (inclusive false: > `key`), or with `backward` the last key <= (<).
 * `key` NULL: the first or last of all.
 */
bool write_order_seek(const struct write_order *order, const struct write_key *keys,
                      const tern_slice *key, bool backward, bool inclusive, uint32_t *out_number);

#endif
