/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache gets what the others leave of the one memory budget: overlays have their share whether
 * they use it or not, mapped segments of the log too; inner nodes and everything else as much as
 * they take. Inner nodes of old views may become many, so the share is looked at again and again.
 */
#include "db/database_internal.h"

/* Segments of the log that are in memory: the active one, the one before, a prepared one. */
#define LOG_SEGMENTS_MAPPED ((uint64_t)3)
#define CACHE_BYTES_MIN     ((uint64_t)1 << 20)
/* The cache keeps this part of the budget whatever the others take. */
#define CACHE_PART_MIN ((uint64_t)16)
/* Set aside for inner nodes and scratch, used or not. */
#define INDEX_PART    ((uint64_t)50)
#define SCRATCH_BYTES ((uint64_t)2 << 20)
/* Large budgets have room for the log in their slack (15 %). */
#define LARGE_BYTES ((uint64_t)512 << 20)
#define LOG_PART    ((uint64_t)16)
/* The limit moves in steps of this part of the budget. */
#define STEP_PART ((uint64_t)64)

uint64_t memory_cache_share(const struct tern_db *db) {
    uint64_t whole = db->options.memory_bytes;
    uint64_t index = budget_used(&db->budget, BUDGET_INDEX);
    index += SCRATCH_BYTES < whole / CACHE_PART_MIN ? SCRATCH_BYTES : whole / CACHE_PART_MIN;
    index = index > whole / INDEX_PART ? index : whole / INDEX_PART;
    uint64_t log = LOG_SEGMENTS_MAPPED * db->options.segment_bytes;
    uint64_t slack = whole > LARGE_BYTES ? (whole - LARGE_BYTES) / LOG_PART : 0;
    uint64_t taken = db->options.overlay_bytes + aside_bytes(db) +
                     budget_used(&db->budget, BUDGET_OTHER) + index +
                     (log > slack ? log - slack : 0);
    uint64_t share = taken < whole ? whole - taken : 0;
    uint64_t least = whole / CACHE_PART_MIN;
    share = share < least ? least : share;
    return share < CACHE_BYTES_MIN ? CACHE_BYTES_MIN : share;
}

void memory_share_again(struct tern_db *db) {
    uint64_t share = memory_cache_share(db);
    uint64_t limit = cache_limit(db->cache);
    uint64_t step = db->options.memory_bytes / STEP_PART;
    if (share + step <= limit || share >= limit + step) {
        cache_set_limit(db->cache, share);
    }
}
