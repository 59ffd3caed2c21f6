/* SPDX-License-Identifier: Apache-2.0 */
/* Checks what cache.h, cache_table.c and frame_pool.c promise; for tests and verify. */
#include "cache/cache_internal.h"

static const char *check_frame(struct cache *cache, struct cache_frame *frame) {
    cache_tag tag = atomic_load(&frame->tag);
    if (frame_phase(frame) != FRAME_PHASE_PUBLISHED) {
        return tag == 0 ? NULL : "C3: only published frames have a tag";
    }
    if (tag == 0) {
        return "C1: a published frame has a tag";
    }
    return table_find(&cache->table, tag) == cache_hint_of(cache, frame)
               ? NULL
               : "C1: a tag is in at most one published frame";
}

/* The free frames of a class, by chunk. */
static const char *check_free(struct cache *cache, const struct frame_pool *pool) {
    uint32_t in_pool = 0;
    uint32_t previous = 0;
    for (uint32_t at = pool->free_chunk; at != 0; at = pool->chunks[at - 1].next_free) {
        const struct frame_chunk *chunk = &pool->chunks[at - 1];
        if (chunk->state != CHUNK_ACTIVE || chunk->free_first == 0 ||
            chunk->previous_free != previous) {
            return "P2: active chunks with free frames are linked";
        }
        previous = at;
        uint32_t in_chunk = 0;
        for (cache_hint hint = chunk->free_first; hint != 0; hint = cache->links[hint]) {
            struct cache_frame *frame = cache_frame_at(cache->address.base, hint);
            size_t place = (size_t)((const uint8_t *)frame - pool->base) / cache->chunk_bytes;
            if (frame_phase(frame) != FRAME_PHASE_FREE || place != at - 1) {
                return "P2: a free list holds free frames of its chunk";
            }
            in_chunk++;
        }
        if (in_chunk != chunk->free_count) {
            return "P2: a free list is counted right";
        }
        in_pool += in_chunk;
    }
    return in_pool == pool->free_count ? NULL : "P2: free frames are counted right";
}

static const char *check_pool(struct cache *cache, struct frame_pool *pool, uint64_t *published) {
    uint64_t frames = 0;
    uint32_t active = 0;
    uint32_t draining = 0;
    for (uint32_t c = 0; c < pool->chunk_limit; c++) {
        const struct frame_chunk *chunk = &pool->chunks[c];
        active += chunk->state == CHUNK_ACTIVE;
        draining += chunk->state == CHUNK_DRAINING;
        if (chunk->state == CHUNK_ABSENT) {
            continue;
        }
        if (c >= pool->chunk_high) {
            return "P0: chunks in use lie below chunk_high";
        }
        uint32_t busy = 0;
        for (uint32_t i = 0; i < chunk->carved; i++) {
            uint8_t *start = pool->base + (size_t)c * cache->chunk_bytes;
            struct cache_frame *frame =
                (struct cache_frame *)(void *)(start + ((size_t)i << pool->frame_shift));
            const char *broken = check_frame(cache, frame);
            if (broken != NULL) {
                return broken;
            }
            busy += frame_phase(frame) != FRAME_PHASE_FREE;
            *published += frame_phase(frame) == FRAME_PHASE_PUBLISHED;
        }
        if (busy != chunk->busy) {
            return "P1: busy counts the frames that are not free";
        }
        frames += chunk->state == CHUNK_ACTIVE ? pool->frames_per_chunk : 0;
    }
    if (active != pool->active_chunks || draining != pool->draining_chunks ||
        frames != pool->frame_count) {
        return "P0: chunks are counted right";
    }
    return check_free(cache, pool);
}

static uint64_t count_entries(const struct table_array *array) {
    uint64_t entries = 0;
    for (uint64_t b = 0; array != NULL && b < array->bucket_count; b++) {
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            entries += atomic_load(&array->buckets[b].tags[i]) != 0;
        }
    }
    return entries;
}

const char *cache_check(struct cache *cache) {
    uint64_t published = 0;
    uint64_t chunks_bytes = 0;
    mutex_lock(&cache->lock);
    const char *broken = NULL;
    for (unsigned i = 0; broken == NULL && i < FRAME_CLASSES; i++) {
        const struct frame_pool *pool = &cache->pools[i];
        broken = check_pool(cache, &cache->pools[i], &published);
        chunks_bytes +=
            (uint64_t)(pool->active_chunks + pool->draining_chunks) * frame_pool_chunk_cost(pool);
        if (broken == NULL && cache->policy_methods->check != NULL) {
            broken = cache->policy_methods->check(pool->policy);
        }
    }
    uint64_t entries = count_entries(atomic_load(&cache->table.array)) +
                       count_entries(atomic_load(&cache->table.older));
    if (broken == NULL && (entries != published || published != atomic_load(&cache->published))) {
        broken = "T0: the table holds the published frames and nothing else";
    }
    if (broken == NULL && atomic_load(&cache->used_bytes) != cache->fixed_bytes + chunks_bytes) {
        broken = "C4: used bytes are what chunks, table and metadata take";
    }
    mutex_unlock(&cache->lock);
    return broken;
}
