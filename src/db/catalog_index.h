/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles of keyspaces by the partition that they have: replay asks for each part of each commit.
 * Under catalog_mutex.
 */
#ifndef TERN_DB_CATALOG_INDEX_H
#define TERN_DB_CATALOG_INDEX_H

#include "base/memory.h"
#include "txn/keyspace.h"

/* Zero-initialise. */
struct catalog_index {
    tern_keyspace **slots; /* open addressing, at most half full */
    uint32_t capacity;     /* a power of two */
    uint32_t count;
};

void catalog_index_release(struct catalog_index *index, const tern_allocator *allocator);
/* False: out of memory. */
TERN_MUST_CHECK bool catalog_index_add(struct catalog_index *index, const tern_allocator *allocator,
                                       tern_keyspace *keyspace);
void catalog_index_remove(struct catalog_index *index, const tern_keyspace *keyspace);
/* Both have exchanged their partitions. */
void catalog_index_exchanged(struct catalog_index *index, tern_keyspace *left,
                             tern_keyspace *right);
/* The handle that has the partition and is not dropped, or NULL. */
tern_keyspace *catalog_index_find(const struct catalog_index *index, partition_id partition);

#endif
