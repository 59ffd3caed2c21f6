/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of one size class: chunks of memory, a free list, and limbo.
 *
 *   class's addresses  | chunk 0 | chunk 1 | ... each ABSENT, ACTIVE or DRAINING
 *   chunk              | carved frames ... | untouched memory |
 *
 * Limbo holds frames whose tag was cleared, in batches that share an epoch: a ring, oldest first;
 * when it is full the newest batch takes more and its epoch moves on. A frame that is still pinned
 * when its batch comes up goes to the newest batch again.
 *
 * Free frames are listed by chunk, so that a chunk leaves with its own without a look at the rest.
 *
 * P1. busy(chunk) counts its frames that are not free. P2. Only ACTIVE chunks have free lists, and
 * those that have one are linked. P3. A DRAINING chunk whose busy is 0 is given back at once. P4.
 * Memory given back stays readable (as zeros), because stale hints point there. P5. A dead chunk is
 * ABSENT for good. P6. No call touches more than a few chunks' frames, or RECLAIM_FRAMES of limbo.
 *
 * Everything here holds the cache's lock.
 */
#include "base/assert.h"
#include "cache/cache_internal.h"

#define RECLAIM_FRAMES   1024u /* in one call */
#define LATE_CHUNKS      2u
#define LATE_CHUNKS_SEEN 1024u

static cache_hint hint_of(const struct frame_pool *pool, const struct cache_frame *frame) {
    return cache_hint_of(pool->cache, frame);
}

static uint32_t chunk_of(const struct frame_pool *pool, const struct cache_frame *frame) {
    return (uint32_t)((size_t)((const uint8_t *)frame - pool->base) / pool->cache->chunk_bytes);
}

static struct cache_frame *frame_in(const struct frame_pool *pool, uint32_t chunk, uint32_t index) {
    uint8_t *start = pool->base + (size_t)chunk * pool->cache->chunk_bytes;
    return (struct cache_frame *)(void *)(start + ((size_t)index << pool->frame_shift));
}

uint64_t frame_pool_chunk_cost(const struct frame_pool *pool) {
    const struct cache *cache = pool->cache;
    return cache->chunk_bytes + (cache->chunk_bytes >> FRAME_SHIFT_MIN) * sizeof(uint32_t) +
           sizeof(struct frame_chunk) +
           (uint64_t)pool->frames_per_chunk * cache->policy_methods->bytes_per_frame;
}

/* ---- chunks with free frames ---- */

static void link_free_chunk(struct frame_pool *pool, uint32_t index) {
    struct frame_chunk *chunk = &pool->chunks[index];
    chunk->previous_free = 0;
    chunk->next_free = pool->free_chunk;
    if (pool->free_chunk != 0) {
        pool->chunks[pool->free_chunk - 1].previous_free = index + 1;
    }
    pool->free_chunk = index + 1;
}

static void unlink_free_chunk(struct frame_pool *pool, uint32_t index) {
    const struct frame_chunk *chunk = &pool->chunks[index];
    if (chunk->next_free != 0) {
        pool->chunks[chunk->next_free - 1].previous_free = chunk->previous_free;
    }
    if (chunk->previous_free != 0) {
        pool->chunks[chunk->previous_free - 1].next_free = chunk->next_free;
    } else {
        pool->free_chunk = chunk->next_free;
    }
}

static void push_free(struct frame_pool *pool, uint32_t index, cache_hint hint) {
    struct frame_chunk *chunk = &pool->chunks[index];
    if (chunk->free_first == 0) {
        link_free_chunk(pool, index);
    }
    pool->cache->links[hint] = chunk->free_first;
    chunk->free_first = hint;
    chunk->free_count++;
    pool->free_count++;
}

static struct cache_frame *pop_free(struct frame_pool *pool) {
    uint32_t index = pool->free_chunk - 1;
    struct frame_chunk *chunk = &pool->chunks[index];
    struct cache_frame *frame = cache_frame_at(pool->cache->address.base, chunk->free_first);
    chunk->free_first = pool->cache->links[chunk->free_first];
    chunk->free_count--;
    pool->free_count--;
    if (chunk->free_first == 0) {
        unlink_free_chunk(pool, index);
    }
    return frame;
}

static void drop_free_frames(struct frame_pool *pool, uint32_t index) {
    struct frame_chunk *chunk = &pool->chunks[index];
    if (chunk->free_first != 0) {
        unlink_free_chunk(pool, index);
        pool->free_count -= chunk->free_count;
        chunk->free_first = 0;
        chunk->free_count = 0;
    }
}

/* ---- chunks come and go ---- */

static void tell_frame_count(struct frame_pool *pool) {
    if (pool->cache->policy_methods->resize != NULL) {
        pool->cache->policy_methods->resize(pool->policy, (uint32_t)pool->frame_count);
    }
}

static void count_used(struct cache *cache, uint64_t bytes, bool more) {
    if (more) {
        atomic_fetch_add_explicit(&cache->used_bytes, bytes, memory_order_relaxed);
        budget_add(cache->budget, BUDGET_CACHE, bytes);
    } else {
        atomic_fetch_sub_explicit(&cache->used_bytes, bytes, memory_order_relaxed);
        budget_subtract(cache->budget, BUDGET_CACHE, bytes);
    }
}

static uint32_t absent_chunk(const struct frame_pool *pool) {
    uint32_t index = 0;
    while (index < pool->chunk_limit &&
           (pool->chunks[index].is_dead ||
            (index < pool->chunk_high && pool->chunks[index].state != CHUNK_ABSENT))) {
        index++;
    }
    return index;
}

bool frame_pool_grow(struct frame_pool *pool) {
    struct cache *cache = pool->cache;
    uint64_t cost = frame_pool_chunk_cost(pool);
    if (atomic_load_explicit(&cache->used_bytes, memory_order_relaxed) + cost >
        atomic_load_explicit(&cache->limit_bytes, memory_order_relaxed)) {
        return false;
    }
    uint32_t index;
    struct frame_chunk *chunk;
    bool has_memory;
    do {
        index = absent_chunk(pool);
        if (index >= pool->chunk_limit) {
            return false;
        }
        chunk = &pool->chunks[index];
        has_memory =
            placement_commit(cache, chunk, pool->base + (size_t)index * cache->chunk_bytes);
    } while (!has_memory && chunk->is_dead);
    if (!has_memory) {
        return false;
    }
    chunk->state = CHUNK_ACTIVE;
    chunk->carved = 0;
    chunk->busy = 0;
    pool->chunk_high = index >= pool->chunk_high ? index + 1 : pool->chunk_high;
    pool->carve_chunk = index;
    pool->active_chunks++;
    pool->frame_count += pool->frames_per_chunk;
    count_used(cache, cost, true);
    tell_frame_count(pool);
    return true;
}

static void give_chunk_back(struct frame_pool *pool, uint32_t index) {
    struct frame_chunk *chunk = &pool->chunks[index];
    ASSERT(chunk->state == CHUNK_DRAINING && chunk->busy == 0);
    placement_discard(pool->cache, chunk, pool->base + (size_t)index * pool->cache->chunk_bytes);
    chunk->state = CHUNK_ABSENT;
    pool->draining_chunks--;
    while (pool->chunk_high > 0 && pool->chunks[pool->chunk_high - 1].state == CHUNK_ABSENT) {
        pool->chunk_high--;
    }
    count_used(pool->cache, frame_pool_chunk_cost(pool), false);
}

/* A frame that nobody uses any more: to the free list, or towards the end of its chunk. */
static void frame_freed(struct frame_pool *pool, struct cache_frame *frame) {
    uint32_t index = chunk_of(pool, frame);
    struct frame_chunk *chunk = &pool->chunks[index];
    frame_set_phase(frame, FRAME_PHASE_FREE);
    pool->cache->work.now++;
    chunk->busy--;
    if (chunk->state == CHUNK_ACTIVE) {
        push_free(pool, index, hint_of(pool, frame));
    } else if (chunk->busy == 0) {
        give_chunk_back(pool, index);
    }
}

static struct cache_frame *carve(struct frame_pool *pool) {
    if (pool->carve_chunk >= pool->chunk_high) {
        return NULL;
    }
    struct frame_chunk *chunk = &pool->chunks[pool->carve_chunk];
    if (chunk->state != CHUNK_ACTIVE || chunk->carved == pool->frames_per_chunk) {
        return NULL;
    }
    return frame_in(pool, pool->carve_chunk, chunk->carved++);
}

struct cache_frame *frame_pool_take(struct frame_pool *pool) {
    struct cache_frame *frame = NULL;
    if (pool->free_chunk != 0) {
        frame = pop_free(pool);
    } else {
        frame = carve(pool);
    }
    if (frame != NULL) {
        pool->chunks[chunk_of(pool, frame)].busy++;
        frame->size_class = pool->frame_shift;
        frame_set_phase(frame, FRAME_PHASE_FILLING);
    }
    return frame;
}

uint64_t frame_pool_spare(const struct frame_pool *pool) {
    uint64_t spare = pool->free_count;
    if (pool->carve_chunk < pool->chunk_high &&
        pool->chunks[pool->carve_chunk].state == CHUNK_ACTIVE) {
        spare += pool->frames_per_chunk - pool->chunks[pool->carve_chunk].carved;
    }
    return spare;
}

void frame_pool_put(struct frame_pool *pool, struct cache_frame *frame) {
    frame_freed(pool, frame);
}

static struct limbo_batch *newest_batch(struct frame_pool *pool, uint64_t epoch) {
    if (pool->limbo_size > 0) {
        struct limbo_batch *newest =
            &pool->limbo[(pool->limbo_begin + pool->limbo_size - 1) % LIMBO_BATCHES];
        if (newest->epoch == epoch || pool->limbo_size == LIMBO_BATCHES) {
            newest->epoch = epoch;
            return newest;
        }
    }
    struct limbo_batch *batch =
        &pool->limbo[(pool->limbo_begin + pool->limbo_size++) % LIMBO_BATCHES];
    *batch = (struct limbo_batch){.epoch = epoch};
    return batch;
}

void frame_pool_retire(struct frame_pool *pool, struct cache_frame *frame) {
    struct limbo_batch *batch = newest_batch(pool, epoch_current(pool->cache->epoch));
    cache_hint hint = hint_of(pool, frame);
    frame_set_phase(frame, FRAME_PHASE_LIMBO);
    pool->cache->links[hint] = batch->first;
    batch->first = hint;
    batch->count++;
    pool->limbo_count++;
}

/* Frees the frames of the oldest batch, `*left` at most; true when one came free. */
static bool free_oldest(struct frame_pool *pool, uint32_t *left) {
    struct limbo_batch *oldest = &pool->limbo[pool->limbo_begin];
    struct limbo_batch batch = *oldest;
    if (batch.count > *left) {
        cache_hint last = batch.first;
        for (uint32_t i = 1; i < *left; i++) {
            last = pool->cache->links[last];
        }
        oldest->first = pool->cache->links[last];
        oldest->count -= *left;
        batch.count = *left;
    } else {
        pool->limbo_begin = (pool->limbo_begin + 1) % LIMBO_BATCHES;
        pool->limbo_size--;
    }
    pool->limbo_count -= batch.count;
    *left -= batch.count;
    bool freed = false;
    for (cache_hint hint = batch.first; batch.count > 0; batch.count--) {
        struct cache_frame *frame = cache_frame_at(pool->cache->address.base, hint);
        hint = pool->cache->links[hint];
        if (frame_pins(frame) > 0) {
            frame_pool_retire(pool, frame);
        } else {
            frame_freed(pool, frame);
            freed = true;
        }
    }
    return freed;
}

bool frame_pool_reclaim(struct frame_pool *pool) {
    bool freed = false;
    uint32_t left = RECLAIM_FRAMES;
    uint32_t batches = pool->limbo_size; /* those that pinned frames go back to are not visited */
    while (batches-- > 0 && left > 0 &&
           epoch_is_past(pool->cache->epoch, pool->limbo[pool->limbo_begin].epoch)) {
        freed = free_oldest(pool, &left) || freed;
    }
    return freed;
}

static void evict_chunk(struct frame_pool *pool, uint32_t index) {
    for (uint32_t i = 0; i < pool->chunks[index].carved; i++) {
        struct cache_frame *frame = frame_in(pool, index, i);
        if (frame_phase(frame) == FRAME_PHASE_PUBLISHED) {
            (void)cache_evict_frame(pool->cache, frame, true);
        }
    }
}

void frame_pool_drain_chunk(struct frame_pool *pool) {
    uint32_t index = pool->chunk_high;
    while (index > 0 && pool->chunks[index - 1].state != CHUNK_ACTIVE) {
        index--;
    }
    if (index-- == 0) {
        return;
    }
    struct frame_chunk *chunk = &pool->chunks[index];
    chunk->state = CHUNK_DRAINING;
    pool->active_chunks--;
    pool->draining_chunks++;
    pool->frame_count -= pool->frames_per_chunk;
    drop_free_frames(pool, index);
    evict_chunk(pool, index);
    tell_frame_count(pool);
    if (chunk->busy == 0) {
        give_chunk_back(pool, index);
    }
}

void frame_pool_drain_late(struct frame_pool *pool) {
    uint32_t seen_max = pool->chunk_high < LATE_CHUNKS_SEEN ? pool->chunk_high : LATE_CHUNKS_SEEN;
    uint32_t evicted = 0;
    for (uint32_t seen = 0; seen < seen_max && evicted < LATE_CHUNKS; seen++) {
        pool->late_chunk = pool->late_chunk + 1 < pool->chunk_high ? pool->late_chunk + 1 : 0;
        if (pool->chunks[pool->late_chunk].state == CHUNK_DRAINING) {
            evict_chunk(pool, pool->late_chunk);
            evicted++;
        }
    }
}

struct cache_frame *frame_pool_next(struct frame_pool *pool) {
    for (uint32_t skipped = 0; skipped <= pool->chunk_high; skipped++) {
        if (pool->scan_chunk < pool->chunk_high) {
            const struct frame_chunk *chunk = &pool->chunks[pool->scan_chunk];
            if (chunk->state == CHUNK_ACTIVE && pool->scan_frame < chunk->carved) {
                /* The sweep waits for memory at every header: ask for those to come. */
                if (pool->scan_frame + 8 < chunk->carved) {
                    __builtin_prefetch(frame_in(pool, pool->scan_chunk, pool->scan_frame + 8));
                }
                return frame_in(pool, pool->scan_chunk, pool->scan_frame++);
            }
        }
        pool->scan_frame = 0;
        pool->scan_chunk = pool->scan_chunk + 1 < pool->chunk_high ? pool->scan_chunk + 1 : 0;
    }
    return NULL;
}
