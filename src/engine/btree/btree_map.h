/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mapping page source: leaves read in place, out of a mapping of the partition's file, instead
 * of out of frames of the cache.
 */
#ifndef TERN_ENGINE_BTREE_BTREE_MAP_H
#define TERN_ENGINE_BTREE_BTREE_MAP_H

#include "engine/btree/btree_page.h"
#include "engine/engine.h"

struct btree_map;

/* Maps a file that ends at `end_units`. TERN_UNSUPPORTED where that cannot be had; TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status btree_map_create(const tern_allocator *allocator, tern_file *handle,
                                             uint64_t end_units, struct btree_map **out_map,
                                             tern_error *error);
/* Nobody reads any more. Before the handle is closed. Accepts NULL. */
void btree_map_destroy(struct btree_map *map);

/* The file ends here from now on; before it is cut, and after it has grown. */
void btree_map_set_end(struct btree_map *map, uint64_t end_units);
/* The block at `place` is nobody's any more: what comes there next is checked anew. Accepts NULL.
 */
void btree_map_forget(struct btree_map *map, uint64_t place);

/* Where the block lies, header included; NULL when the mapping does not reach so far. The bytes may
 * only be looked at once they are checked. */
const uint8_t *btree_map_block(const struct btree_map *map, uint64_t place, uint64_t units);
bool btree_map_is_checked(const struct btree_map *map, uint64_t place);
void btree_map_set_checked(struct btree_map *map, uint64_t place);
/* Reads the block in, so that a failure of the device is an error and no signal. */
TERN_MUST_CHECK tern_status btree_map_populate(struct btree_map *map, uint64_t place,
                                               uint64_t units, tern_error *error);

/* True for an address in the mapping. */
bool btree_map_contains(const struct btree_map *map, const void *address);

struct btree_map_stats {
    uint64_t mapped_bytes;  /* of the file */
    uint64_t checked_pages; /* checks since open: one for each page, unless memory was short */
};
void btree_map_get_stats(const struct btree_map *map, struct btree_map_stats *out_stats);

#endif
