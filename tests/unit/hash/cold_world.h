/* SPDX-License-Identifier: Apache-2.0 */
/* A world with a hash partition whose index is larger than its share of memory. */
#ifndef TERN_TESTS_UNIT_HASH_COLD_WORLD_H
#define TERN_TESTS_UNIT_HASH_COLD_WORLD_H

#include "engine/hash/hash_engine.h"
#include "engine/hash/hash_engine_internal.h"
#include "support/engine_world.h"

/* Opened; with a budget of 1 all entries of records go to the cold part. */
void cold_world_begin(struct engine_world *world, uint64_t budget_bytes, uint64_t cache_bytes);
struct hash_engine *cold_world_engine(const struct engine_world *world);
uint64_t cold_world_entries(const struct engine_world *world);
/* Keys by number, "key-0" and so on, each with a value that says its number and its round; of round
 * 0 they are deleted. */
void cold_world_put(struct engine_world *world, unsigned from, unsigned to, unsigned step,
                    unsigned round);

#endif
