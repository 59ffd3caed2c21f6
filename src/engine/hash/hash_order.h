/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The versions of a memory in the order of the hashes of their keys: that in which a drain writes
 * them. So the records of a segment are in the order in which the index is walked, and whoever goes
 * through many keys by their hashes, a cursor or the next drain, comes through every segment from
 * its begin to its end.
 *
 * Large memories come in several sorted parts, which bounds the list of versions. It is sorted by
 * one byte of the hash at once and by the others as it is read, so that no call takes long.
 *
 * Threads: maintenance role.
 */
#ifndef TERN_ENGINE_HASH_ORDER_H
#define TERN_ENGINE_HASH_ORDER_H

#include "engine/hash/hash_memory.h"

/* Something that is sorted by a hash. */
struct hashed_item {
    uint64_t hash;
    uint64_t item;
};
/* Sorts in place. */
void hashed_items_sort(struct hashed_item *items, size_t count);

struct version_order {
    const tern_allocator *allocator;
    struct budget *budget; /* counts BUDGET_OTHER; may be NULL */
    struct memory_walk walk;
    struct hashed_item *items; /* addresses of versions */
    size_t count, capacity;
    size_t next;   /* item that comes next */
    size_t sorted; /* items before this one are sorted altogether */
    bool is_gathering;
};

void version_order_begin(struct version_order *order, const struct hash_memory *memory);
/* The next version, ranges left out; NULL: that was all, or, with is_gathering, it was enough for
 * one call. TERN_NO_MEMORY: ask again. */
TERN_MUST_CHECK tern_status version_order_next(struct version_order *order,
                                               struct hash_version **out_version,
                                               tern_error *error);
/* Gives the list back. */
void version_order_release(struct version_order *order);

#endif
