/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the cache as they see each other: the table of tags (cache_table.c), the pools of
 * frames (frame_pool.c), and what ties them together (cache.c).
 *
 * A frame's life, kept in `state`: FREE -> FILLING (acquire) -> PUBLISHED (publish) -> LIMBO
 * (evicted or invalidated) -> FREE, or FILLING -> FREE (discard). Only PUBLISHED frames have a tag
 * and an entry in the table; FREE and LIMBO ones are linked through the pool's `links`, and so are
 * PUBLISHED ones until the policy has been told of them.
 *
 * Locks, in this order: `lock` (pools, chunks, policies, limit), then one stripe of the table.
 * Tag and table entry of a frame change together, under the stripe of the tag. Misses wait for
 * `lock`, so whatever grows with the cache is done in slices of it (CACHE_WORK_MOST).
 */
#ifndef TERN_CACHE_CACHE_INTERNAL_H
#define TERN_CACHE_CACHE_INTERNAL_H

#include "cache/cache.h"
#include "cache/cache_policy.h"
#include "os/mutex.h"
#include "os/pages.h"

#define FRAME_PINS_MASK       ((uint32_t)0x00ffffff)
#define FRAME_PHASE_MASK      ((uint32_t)3 << 25)
#define FRAME_PHASE_FREE      ((uint32_t)0 << 25)
#define FRAME_PHASE_FILLING   ((uint32_t)1 << 25)
#define FRAME_PHASE_PUBLISHED ((uint32_t)2 << 25)
#define FRAME_PHASE_LIMBO     ((uint32_t)3 << 25)
#define FRAME_PRIVATE         ((uint32_t)1 << 27)

#define FRAME_SHIFT_MIN 12u
#define FRAME_CLASSES   5u

/* ---- table of tags ---- */

#define BUCKET_SLOTS  5u
#define TABLE_STRIPES 32u /* all are held at once when the table is resized */

/* One cache line. A slot's tag is 0 (empty), TAG_BUSY (being written) or a tag with its frame. */
struct table_bucket {
    _Atomic cache_tag tags[BUCKET_SLOTS];
    _Atomic cache_hint hints[BUCKET_SLOTS];
    _Atomic uint32_t overflows; /* tags of this bucket that lie in a later one */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct table_bucket) == 64, "a bucket is one cache line");

struct table_array {
    struct epoch_node limbo;
    const tern_allocator *allocator;
    struct table_bucket *buckets;
    uint32_t bucket_bits;
    uint64_t bucket_count;
    size_t memory_bytes;
};

struct cache_table {
    _Atomic(struct table_array *) array;
    _Atomic(struct table_array *) older; /* being emptied into `array`; NULL: none */
    uint64_t move_bucket;                /* of `older`: those before are empty */
    struct mutex stripes[TABLE_STRIPES];
};

TERN_MUST_CHECK tern_status table_init(struct cache_table *table, const tern_allocator *allocator,
                                       uint64_t frame_count, tern_error *error);
void table_destroy(struct cache_table *table);
/* Bytes that a table for so many frames takes. */
uint64_t table_bytes_for(uint64_t frame_count);
struct mutex *table_stripe(struct cache_table *table, cache_tag tag);
/* Hint of a tag, or 0. Inside an epoch, or holding the tag's stripe. */
cache_hint table_find(const struct cache_table *table, cache_tag tag);
/* Holding the tag's stripe. False: no room within reach. The tag must not be there. */
bool table_insert(struct cache_table *table, cache_tag tag, cache_hint hint);
void table_remove(struct cache_table *table, cache_tag tag, cache_hint hint);
/* From now on entries go to a table for so many frames; those that are there wait for table_move.
 * Only when no other move is under way. With the cache's lock held. */
TERN_MUST_CHECK tern_status table_begin_move(struct cache_table *table,
                                             const tern_allocator *allocator, uint64_t frame_count,
                                             tern_error *error);
/* Moves the entries of so many buckets; returns the bytes of the older table when it was emptied
 * and goes through the epoch, else 0. With the cache's lock held. */
uint64_t table_move(struct cache_table *table, struct epoch_domain *epoch, uint32_t buckets_max);

/* ---- pools of frames ---- */

enum chunk_state { CHUNK_ABSENT, CHUNK_ACTIVE, CHUNK_DRAINING };

struct frame_chunk {
    uint8_t state;
    bool is_reserved; /* of huge pages from the reserved pool */
    bool is_locked;
    bool is_dead;    /* its addresses may be others' by now: never used again, never unmapped */
    uint32_t carved; /* frames handed out at least once; the rest is untouched memory */
    uint32_t busy;   /* frames FILLING, PUBLISHED or LIMBO */
    /* Free frames, and the chunk's neighbours (number + 1) among those of its class that have any.
     */
    cache_hint free_first;
    uint32_t free_count;
    uint32_t next_free, previous_free;
};

#define LIMBO_BATCHES 32u

struct limbo_batch {
    uint64_t epoch;
    cache_hint first;
    uint32_t count;
};

/* The frames of one size class. */
struct frame_pool {
    struct cache *cache;
    uint8_t *base;
    uint32_t frame_shift;
    uint32_t frames_per_chunk;
    struct frame_chunk *chunks; /* chunk_limit, zeroed pages */
    uint32_t chunk_limit;
    uint32_t chunk_high; /* chunks from here on are ABSENT */
    uint32_t active_chunks;
    uint32_t draining_chunks;
    uint32_t carve_chunk;                    /* where to look for an uncarved frame */
    uint32_t free_chunk;                     /* first chunk with free frames, number + 1 */
    uint32_t free_count;                     /* in all chunks */
    uint32_t late_chunk;                     /* where frame_pool_drain_late goes on */
    struct limbo_batch limbo[LIMBO_BATCHES]; /* ring, oldest first */
    uint32_t limbo_begin, limbo_size;
    uint32_t limbo_count;            /* frames in all batches */
    uint64_t frame_count;            /* in active chunks */
    uint32_t pressure;               /* evictions in the present window */
    uint32_t scan_chunk, scan_frame; /* where frame_pool_next goes on */
    struct cache_policy *policy;
    /* Published frames that the policy has not been told of, newest first, through `links`. */
    _Atomic cache_hint arrivals;
};

/* What one holding of the cache's lock did: frames, ghosts and buckets that it touched. */
struct cache_work {
    uint32_t now, most;
};
/* No holding does more, whatever the size of the cache. */
#define CACHE_WORK_MOST 8192u

struct cache {
    struct cache_address address;
    const tern_allocator *allocator;
    struct epoch_domain *epoch;
    struct budget *budget;
    const struct cache_policy_methods *policy_methods;
    size_t range_bytes;
    size_t chunk_bytes;
    struct cache_placement placement;           /* as asked for, defaults made definite */
    bool has_transparent;                       /* the system gives transparent huge pages */
    int numa_failure;                           /* errno, 0: in force */
    _Atomic int reserved_failure, lock_failure; /* errno of the last chunk that was refused */
    _Atomic bool can_move_reserved;             /* pages of the reserved pool, into the range */
    uint32_t dead_chunks;
    _Atomic uint64_t reserved_bytes, locked_bytes;
    struct mutex lock;
    struct cache_table table;
    struct frame_pool pools[FRAME_CLASSES];
    uint32_t *links; /* by hint: next in a free list or limbo batch; zeroed pages */
    size_t links_bytes, chunks_bytes;
    uint64_t pool_range_bytes;
    uint64_t fixed_bytes; /* everything but chunks */
    tern_cache_policy policy;
    struct cache_work work;
    uint32_t window_evictions;
    uint32_t drain_tick;
    _Atomic uint64_t limit_bytes;
    _Atomic uint64_t used_bytes;
    _Atomic uint64_t pin_reserved_bytes;
    _Atomic uint32_t next_space;
    _Atomic uint64_t published; /* frames that can be found */
    _Atomic uint64_t misses, evictions, acquire_failures;
};

_Static_assert(offsetof(struct cache, address) == 0, "cache_base looks there");

static inline void cache_lock(struct cache *cache) {
    mutex_lock(&cache->lock);
    cache->work.now = 0;
}

static inline void cache_unlock(struct cache *cache) {
    cache->work.most = cache->work.now > cache->work.most ? cache->work.now : cache->work.most;
    mutex_unlock(&cache->lock);
}

static inline uint32_t frame_phase(const struct cache_frame *frame) {
    return atomic_load_explicit(&frame->state, memory_order_acquire) & FRAME_PHASE_MASK;
}

static inline uint32_t frame_pins(const struct cache_frame *frame) {
    return atomic_load_explicit(&frame->state, memory_order_acquire) & FRAME_PINS_MASK;
}

/* Keeps pins and other flags. */
static inline void frame_set_phase(struct cache_frame *frame, uint32_t phase) {
    uint32_t state = atomic_load_explicit(&frame->state, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(
        &frame->state, &state, (state & ~(FRAME_PHASE_MASK | CACHE_FRAME_REFERENCED)) | phase,
        memory_order_acq_rel, memory_order_relaxed)) {
    }
}

/* ---- memory of chunks (cache_placement.c) ---- */

/* Takes over what was asked for, before the first chunk. */
void placement_begin(struct cache *cache, const struct cache_placement *placement);
/* Gives a chunk memory and takes it away. With the cache's lock held. */
TERN_MUST_CHECK bool placement_commit(struct cache *cache, struct frame_chunk *chunk, void *memory);
void placement_discard(struct cache *cache, struct frame_chunk *chunk, void *memory);
/* Gives all addresses back, but for those of dead chunks. */
void placement_release(struct cache *cache);
void placement_get_stats(const struct cache *cache, struct cache_placement_stats *out_stats);

/* All with the cache's lock held. */

/* A frame in phase FILLING from what is free, not yet carved, or past its epoch; NULL. */
struct cache_frame *frame_pool_take(struct frame_pool *pool);
/* Adds a chunk; false when the limit or the addresses do not allow it, or memory is out. */
bool frame_pool_grow(struct frame_pool *pool);
/* Puts frames that were FILLING back. */
void frame_pool_put(struct frame_pool *pool, struct cache_frame *frame);
/* Puts a frame whose tag was cleared into limbo as of now. */
void frame_pool_retire(struct frame_pool *pool, struct cache_frame *frame);
/* Frees frames of limbo whose epoch is past, a slice of them; true when one came free. */
bool frame_pool_reclaim(struct frame_pool *pool);
/* Frames that can be had without evicting. */
uint64_t frame_pool_spare(const struct frame_pool *pool);
/* Stops using a chunk: evicts it, and gives its memory back when the last frame is free. */
void frame_pool_drain_chunk(struct frame_pool *pool);
/* Evicts what was published in draining chunks after they began to drain; a few chunks a call. */
void frame_pool_drain_late(struct frame_pool *pool);
/* Visits carved frames round and round; NULL when there are none. */
struct cache_frame *frame_pool_next(struct frame_pool *pool);
/* Memory that one chunk costs, with its part of the metadata and of the policy's. */
uint64_t frame_pool_chunk_cost(const struct frame_pool *pool);

static inline struct cache_frame *frame_pool_at(const struct frame_pool *pool, uint32_t index) {
    return (struct cache_frame *)(void *)(pool->base + ((size_t)index << pool->frame_shift));
}

static inline uint32_t frame_pool_index(const struct frame_pool *pool,
                                        const struct cache_frame *frame) {
    return (uint32_t)((size_t)((const uint8_t *)frame - pool->base) >> pool->frame_shift);
}

/* Takes a published frame out when it is not pinned (or at any rate with `even_pinned`); it is in
 * limbo then. Cache's lock held, no stripe. */
bool cache_evict_frame(struct cache *cache, struct cache_frame *frame, bool even_pinned);
struct frame_pool *cache_pool_of(struct cache *cache, const struct cache_frame *frame);

#endif
