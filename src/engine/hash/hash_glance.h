/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nearly every read finds: all entries of the key in the index's first table, and among them
 * one that holds the value and needs nothing else. What is more than that, hash_lookup answers; a
 * glance that fails says nothing.
 */
#ifndef TERN_ENGINE_HASH_GLANCE_H
#define TERN_ENGINE_HASH_GLANCE_H

#include "engine/hash/hash_engine_internal.h"
#include "engine/hash/hash_index_internal.h"

/* The entries whose tags fit, as one moment had them. */
struct hash_glance {
    uint64_t moves;
    uint32_t count;
    hash_link links[INDEX_COLLECT_MAX];
};

/* What a look needs; borrowed. */
struct hash_wanted {
    const struct hash_view *view;
    const struct engine_moment *moment;
    tern_slice key;
    uint64_t hash;
};

/* In two steps, so that something else may be done between them, all inside of one epoch: looks
 * into the index; */
void hash_glance_begin(struct hash_glance *glance, const struct hash_engine *engine, uint64_t hash);
/* follows what was found. True: *out_result holds the key's value at the moment. */
bool hash_glance_end(const struct hash_glance *glance, const struct hash_wanted *wanted,
                     struct engine_result *out_result);
/* Both. */
bool hash_glance(const struct hash_wanted *wanted, struct engine_result *out_result);

#endif
