/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cache tells of itself: numbers, and which pages it holds. Whoever asks takes the cache's
 * lock for a chunk at a time, so that nobody waits for the whole of a large cache.
 */
#include "cache/cache_internal.h"

/* Pinned frames of a chunk, if it is in use. */
static uint64_t count_pinned(const struct cache *cache, const struct frame_pool *pool,
                             uint32_t chunk) {
    const uint8_t *start = pool->base + (size_t)chunk * cache->chunk_bytes;
    uint32_t carved = pool->chunks[chunk].state == CHUNK_ABSENT ? 0 : pool->chunks[chunk].carved;
    uint64_t pinned = 0;
    for (uint32_t i = 0; i < carved; i++) {
        const void *frame = start + ((size_t)i << pool->frame_shift);
        if (i + 8 < carved) {
            __builtin_prefetch(start + ((size_t)(i + 8) << pool->frame_shift));
        }
        pinned += frame_pins(frame) > 0;
    }
    return pinned;
}

void cache_get_stats(const struct cache *cache, struct cache_stats *out_stats) {
    struct mutex *lock = (struct mutex *)(uintptr_t)&cache->lock;
    struct cache_stats stats = {
        .limit_bytes = atomic_load(&cache->limit_bytes),
        .used_bytes = atomic_load(&cache->used_bytes),
        .frames = atomic_load(&cache->published),
        .misses = atomic_load(&cache->misses),
        .evictions = atomic_load(&cache->evictions),
        .acquire_failures = atomic_load(&cache->acquire_failures),
        .policy = cache->policy,
    };
    placement_get_stats(cache, &stats.placement);
    for (unsigned p = 0; p < FRAME_CLASSES; p++) {
        const struct cache_policy *policy = cache->pools[p].policy;
        mutex_lock(lock);
        stats.hits_seen += policy->hits_seen;
        stats.ghost_hits += policy->ghost_hits;
        stats.ghosts += policy->ghosts;
        mutex_unlock(lock);
        for (uint32_t c = 0; c < cache->pools[p].chunk_limit; c++) {
            mutex_lock(lock);
            bool is_last = c >= cache->pools[p].chunk_high;
            stats.pinned_frames += is_last ? 0 : count_pinned(cache, &cache->pools[p], c);
            mutex_unlock(lock);
            if (is_last) {
                break;
            }
        }
    }
    *out_stats = stats;
}

/* ---- what is cached ---- */

static bool is_hot(const struct frame_pool *pool, const struct cache_frame *frame) {
    const struct cache_policy_methods *methods = pool->cache->policy_methods;
    return (atomic_load_explicit(&frame->state, memory_order_relaxed) & CACHE_FRAME_REFERENCED) !=
               0 ||
           (methods->is_hot != NULL &&
            methods->is_hot(pool->policy, frame_pool_index(pool, frame)));
}

/* Appends the places of a chunk's pages of the space; the cache's lock is held. */
static size_t list_chunk(const struct frame_pool *pool, uint32_t chunk, uint32_t space, bool hot,
                         uint64_t *out_places, size_t capacity) {
    uint32_t carved = pool->chunks[chunk].state == CHUNK_ABSENT ? 0 : pool->chunks[chunk].carved;
    size_t count = 0;
    for (uint32_t i = 0; i < carved && count < capacity; i++) {
        const struct cache_frame *frame = frame_pool_at(pool, chunk * pool->frames_per_chunk + i);
        cache_tag tag = atomic_load_explicit(&frame->tag, memory_order_relaxed);
        if (tag != 0 && tag >> CACHE_PLACE_BITS == space && is_hot(pool, frame) == hot) {
            out_places[count++] = tag & ((UINT64_C(1) << CACHE_PLACE_BITS) - 1);
        }
    }
    return count;
}

size_t cache_list_space(struct cache *cache, uint32_t space, uint64_t *out_places,
                        size_t capacity) {
    size_t count = 0;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned p = 0; p < FRAME_CLASSES; p++) {
            const struct frame_pool *pool = &cache->pools[p];
            for (uint32_t c = 0; c < pool->chunk_limit && count < capacity; c++) {
                mutex_lock(&cache->lock);
                bool is_last = c >= pool->chunk_high;
                count += is_last ? 0
                                 : list_chunk(pool, c, space, pass == 0, out_places + count,
                                              capacity - count);
                mutex_unlock(&cache->lock);
                if (is_last) {
                    break;
                }
            }
        }
    }
    return count;
}

uint64_t cache_evictions(const struct cache *cache) {
    return atomic_load_explicit(&cache->evictions, memory_order_relaxed);
}
