/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generations in pages and generations of views. A page carries a number that grows over the whole
 * life of the file, so that salvage can tell old from new. What decides when a block is free is the
 * generation of the database's views, which the engine is told at each publish. The two agree as
 * long as the database goes on counting where it was closed; if it counts anew, `shift` is what
 * lies between.
 */
#ifndef TERN_ENGINE_BTREE_GENERATION_MAP_H
#define TERN_ENGINE_BTREE_GENERATION_MAP_H

#include <stdbool.h>
#include <stdint.h>

struct generation_map {
    uint64_t opened; /* of the root at open: all before it count as born at 0 */
    uint64_t shift;
    uint64_t newest_view; /* last published; 0 before the first publish */
};

/* What new pages carry: at most the view generation (shifted) they will be published with. */
static inline uint64_t generation_next(const struct generation_map *map) {
    uint64_t next = map->newest_view + map->shift + 1;
    return next > map->opened ? next : map->opened + 1;
}

/* View generation from which on a page may be seen; early is safe. */
static inline uint64_t generation_born(const struct generation_map *map, uint64_t page) {
    return page <= map->opened || page <= map->shift ? 0 : page - map->shift;
}

/* A root whose pages carry at most `page` becomes visible in `view`. */
static inline void generation_publish(struct generation_map *map, uint64_t page, uint64_t view) {
    if (page > map->shift && page - map->shift > view) {
        map->shift = page - view;
    }
    map->newest_view = view;
}

#endif
