/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a serializable transaction has read and must find unchanged at its commit: hashes of keys,
 * found or missing, and ranges. One thread at a time.
 */
#ifndef TERN_TXN_READ_SET_H
#define TERN_TXN_READ_SET_H

#include "base/arena.h"
#include "txn/commit.h"

struct read_set {
    const tern_allocator *allocator;
    struct budget *budget; /* counts BUDGET_OTHER; may be NULL */
    uint64_t bytes_max;
    uint64_t charged_bytes;
    uint64_t *hashes;
    size_t hash_count, hash_capacity;
    struct commit_range *ranges;
    size_t range_count, range_capacity;
    struct arena arena; /* bytes of bounds */
};

void read_set_init(struct read_set *set, const tern_allocator *allocator, struct budget *budget,
                   uint64_t bytes_max);
void read_set_release(struct read_set *set);
void read_set_reset(struct read_set *set);

/* TERN_NO_MEMORY, TERN_TOO_LARGE. */
TERN_MUST_CHECK tern_status read_set_add_key(struct read_set *set, uint64_t key_hash,
                                             tern_error *error);
/* Bounds are copied. */
TERN_MUST_CHECK tern_status read_set_add_range(struct read_set *set, tern_keyspace *keyspace,
                                               const struct engine_cursor_bounds *bounds,
                                               tern_error *error);

#endif
