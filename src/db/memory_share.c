/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache gets what the others leave of the one memory budget: mapped segments of the log have
 * their share whether they use it or not; inner nodes and everything else as much as they take.
 * Inner nodes of old views may become many, so the share is looked at again and again.
 *
 * Of the overlays' share the cache is lent what they have not needed of late, but for a quarter:
 * who writes seldom, or not at all, reads from a larger cache. What they needed most is remembered
 * and fades over minutes, so that drains, which empty them, do not move the limit. A writer that
 * finds the overlays at the end of what they keep takes the rest back at once (memory_take_back);
 * usually the task has done so before. So does recovery, which fills them before the task begins,
 * or, where nobody may write, without one.
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

/* Overlays keep what they have needed of late and this part of their share; */
#define KEPT_PART ((uint64_t)4)
/* what is remembered of that fades by this part of the share in so much time, however often it is
 * looked at. */
#define FADING_PART ((uint64_t)2048)
#define FADING_NS   ((uint64_t)100 * 1000 * 1000)

static uint64_t overlay_need(const struct tern_db *db) {
    return budget_used(&db->budget, BUDGET_OVERLAY) +
           atomic_load_explicit(&db->overlay_pool.pooled_bytes, memory_order_relaxed);
}

/* Bytes of their share that overlays keep. */
static uint64_t overlay_kept(const struct tern_db *db) {
    uint64_t share = db->options.overlay_bytes;
    uint64_t kept = atomic_load_explicit(&db->overlay_kept, memory_order_relaxed);
    return kept < share ? kept : share;
}

/* Bytes to forget of what was needed, for the whole steps of time since they were last forgotten.
 */
static uint64_t forget_by_now(struct tern_db *db) {
    uint64_t share = db->options.overlay_bytes;
    uint64_t steps = (database_now_ns(db) - db->overlay_faded_ns) / FADING_NS;
    db->overlay_faded_ns += steps * FADING_NS;
    return steps < FADING_PART ? share * steps / FADING_PART : share;
}

static void look_at_overlays(struct tern_db *db) {
    uint64_t share = db->options.overlay_bytes;
    uint64_t need = overlay_need(db);
    uint64_t most = atomic_load_explicit(&db->overlay_most, memory_order_relaxed);
    uint64_t fading = forget_by_now(db);
    most = most > fading ? most - fading : 0;
    most = need > most ? need : most;
    atomic_store_explicit(&db->overlay_most, most, memory_order_relaxed);
    atomic_store_explicit(&db->overlay_kept, most + share / KEPT_PART, memory_order_relaxed);
}

void memory_share_init(struct tern_db *db) {
    db->overlay_faded_ns = database_now_ns(db);
    look_at_overlays(db);
}

uint64_t memory_cache_share(const struct tern_db *db) {
    uint64_t whole = db->options.memory_bytes;
    uint64_t index = budget_used(&db->budget, BUDGET_INDEX);
    index += SCRATCH_BYTES < whole / CACHE_PART_MIN ? SCRATCH_BYTES : whole / CACHE_PART_MIN;
    index = index > whole / INDEX_PART ? index : whole / INDEX_PART;
    uint64_t log = LOG_SEGMENTS_MAPPED * db->options.segment_bytes;
    uint64_t slack = whole > LARGE_BYTES ? (whole - LARGE_BYTES) / LOG_PART : 0;
    uint64_t taken = overlay_kept(db) + aside_bytes(db) + budget_used(&db->budget, BUDGET_OTHER) +
                     index + (log > slack ? log - slack : 0);
    uint64_t share = taken < whole ? whole - taken : 0;
    uint64_t least = whole / CACHE_PART_MIN;
    share = share < least ? least : share;
    return share < CACHE_BYTES_MIN ? CACHE_BYTES_MIN : share;
}

static void set_limit(struct tern_db *db) {
    uint64_t share = memory_cache_share(db);
    uint64_t limit = cache_limit(db->cache);
    uint64_t step = db->options.memory_bytes / STEP_PART;
    if (share + step <= limit || share >= limit + step) {
        cache_set_limit(db->cache, share);
    }
}

void memory_share_again(struct tern_db *db) {
    look_at_overlays(db);
    set_limit(db);
}

void memory_take_back(struct tern_db *db) {
    uint64_t share = db->options.overlay_bytes;
    atomic_store_explicit(&db->overlay_most, share, memory_order_relaxed);
    atomic_store_explicit(&db->overlay_kept, share, memory_order_relaxed);
    set_limit(db);
}
