/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of free intervals of a file, in units. Adjacent intervals are always joined. Allocation
 * takes the lowest interval that is large enough, so that free space gathers at the end of the file
 * where it can be cut off.
 *
 * Not thread-safe; the owner locks.
 */
#ifndef TERN_ENGINE_BTREE_EXTENTS_H
#define TERN_ENGINE_BTREE_EXTENTS_H

#include <stdbool.h>
#include <stdint.h>
#include <tern/status.h>

#include "base/memory.h"

struct extent {
    uint64_t place;
    uint64_t units;
};

struct extent_run;

/* Sorted runs of sorted extents, with the largest extent of each run beside it. */
struct extents {
    const tern_allocator *allocator;
    struct extent_run **runs;
    uint64_t *largest; /* of each run, in units */
    size_t run_count;
    size_t run_capacity;
    struct extent_run *spare; /* lets an insertion succeed without memory */
    uint64_t total_units;
    uint64_t count;
};

void extents_init(struct extents *extents, const tern_allocator *allocator);
void extents_release(struct extents *extents);

/* Adds an interval. TERN_CORRUPTION when part of it is in the set already; TERN_NO_MEMORY. On
 * failure the set is as before. */
TERN_MUST_CHECK tern_status extents_add(struct extents *extents, uint64_t place, uint64_t units);

/* Takes an interval out. TERN_NOT_FOUND when it is not wholly inside; TERN_NO_MEMORY. On failure
 * the set is as before. */
TERN_MUST_CHECK tern_status extents_remove(struct extents *extents, uint64_t place, uint64_t units);

/* Takes up to `units_max` units from the front of the lowest interval of at least `units_min`. */
bool extents_take(struct extents *extents, uint64_t units_min, uint64_t units_max,
                  struct extent *out_extent);

/* The last interval; false when the set is empty. */
bool extents_last(const struct extents *extents, struct extent *out_extent);

/* Largest interval in units; 0 when empty. */
uint64_t extents_largest(const struct extents *extents);

/* In order of place until `visit` returns false. */
void extents_visit(const struct extents *extents,
                   bool (*visit)(void *context, uint64_t place, uint64_t units), void *context);

/* Checks order, joining and totals; the name of a broken invariant or NULL. */
const char *extents_check(const struct extents *extents);

#endif
