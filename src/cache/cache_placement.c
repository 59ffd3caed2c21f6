/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory behind chunks: huge pages, NUMA nodes, locking. What the system refuses is done
 * without and said in the statistics: a cache with small pages is slower, a database that does not
 * open is worse.
 */
#include <errno.h>

#include "base/assert.h"
#include "cache/cache_internal.h"
#include "os/page_placement.h"

static enum page_numa numa_of(tern_numa_placement placement) {
    switch (placement) {
    case TERN_NUMA_LOCAL:
        return PAGE_NUMA_LOCAL;
    case TERN_NUMA_INTERLEAVE:
        return PAGE_NUMA_INTERLEAVE;
    case TERN_NUMA_BIND:
        return PAGE_NUMA_BIND;
    case TERN_NUMA_DEFAULT:
    default:
        return PAGE_NUMA_NONE;
    }
}

static bool chunks_can_be_huge(const struct cache *cache) {
    return cache->chunk_bytes >= HUGE_PAGE_BYTES;
}

void placement_begin(struct cache *cache, const struct cache_placement *placement) {
    cache->placement = *placement;
    if (cache->placement.huge_pages == TERN_HUGE_PAGES_DEFAULT) {
        cache->placement.huge_pages = TERN_HUGE_PAGES_TRANSPARENT;
    }
    cache->has_transparent = pages_transparent_huge_available();
    bool is_movable = cache->placement.huge_pages == TERN_HUGE_PAGES_RESERVED &&
                      chunks_can_be_huge(cache) && pages_try_reserved() == 0;
    atomic_init(&cache->can_move_reserved, is_movable);
    /* The policy belongs to the addresses: chunks have it as soon as they have memory. */
    cache->numa_failure = pages_set_numa(cache->address.base, cache->range_bytes,
                                         numa_of(placement->numa), placement->numa_nodes);
}

/* What a refused replacement has left of a chunk's addresses. */
static void look_at_target(struct cache *cache, struct frame_chunk *chunk, void *memory,
                           enum page_target target) {
    if (target == PAGE_TARGET_EMPTY && cache->numa_failure == 0) {
        /* The new mapping came without the old one's policy. */
        (void)pages_set_numa(memory, cache->chunk_bytes, numa_of(cache->placement.numa),
                             cache->placement.numa_nodes);
    } else if (target == PAGE_TARGET_LOST) {
        chunk->is_dead = true;
        cache->dead_chunks++;
    }
}

/* True when the chunk is made of pages of the reserved pool. */
static bool take_reserved(struct cache *cache, struct frame_chunk *chunk, void *memory) {
    if (!atomic_load_explicit(&cache->can_move_reserved, memory_order_relaxed)) {
        return false;
    }
    enum page_numa numa =
        cache->numa_failure == 0 ? numa_of(cache->placement.numa) : PAGE_NUMA_NONE;
    enum page_target target;
    int reason = pages_commit_reserved(memory, cache->chunk_bytes, numa,
                                       cache->placement.numa_nodes, &target);
    atomic_store_explicit(&cache->reserved_failure, reason, memory_order_relaxed);
    if (reason == 0) {
        chunk->is_reserved = true;
        atomic_fetch_add_explicit(&cache->reserved_bytes, cache->chunk_bytes, memory_order_relaxed);
    } else if (target != PAGE_TARGET_KEPT) {
        /* What costs a chunk each time is not tried again. */
        atomic_store_explicit(&cache->can_move_reserved, false, memory_order_relaxed);
        look_at_target(cache, chunk, memory, target);
    }
    return reason == 0;
}

bool placement_commit(struct cache *cache, struct frame_chunk *chunk, void *memory) {
    ASSERT(!chunk->is_dead && !chunk->is_reserved);
    if (!take_reserved(cache, chunk, memory)) {
        if (chunk->is_dead) {
            return false;
        }
        bool is_huge =
            cache->placement.huge_pages != TERN_HUGE_PAGES_OFF && chunks_can_be_huge(cache);
        if (pages_commit(memory, cache->chunk_bytes, is_huge, NULL) != TERN_OK) {
            return false;
        }
    }
    if (cache->placement.lock) {
        int reason = pages_lock(memory, cache->chunk_bytes);
        chunk->is_locked = reason == 0;
        atomic_store_explicit(&cache->lock_failure, reason, memory_order_relaxed);
        if (reason == 0) {
            atomic_fetch_add_explicit(&cache->locked_bytes, cache->chunk_bytes,
                                      memory_order_relaxed);
        }
    }
    return true;
}

void placement_discard(struct cache *cache, struct frame_chunk *chunk, void *memory) {
    if (chunk->is_locked) {
        /* Locked memory cannot be given back. */
        pages_unlock(memory, cache->chunk_bytes);
        chunk->is_locked = false;
        atomic_fetch_sub_explicit(&cache->locked_bytes, cache->chunk_bytes, memory_order_relaxed);
    }
    if (!chunk->is_reserved) {
        pages_discard(memory, cache->chunk_bytes);
    } else {
        enum page_target target = pages_discard_reserved(memory, cache->chunk_bytes);
        chunk->is_reserved = false;
        atomic_fetch_sub_explicit(&cache->reserved_bytes, cache->chunk_bytes, memory_order_relaxed);
        look_at_target(cache, chunk, memory, target);
    }
}

void placement_release(struct cache *cache) {
    uint8_t *from = cache->address.base;
    for (unsigned i = 0; i < FRAME_CLASSES && cache->dead_chunks > 0; i++) {
        const struct frame_pool *pool = &cache->pools[i];
        for (uint32_t c = 0; c < pool->chunk_limit; c++) {
            if (pool->chunks[c].is_dead) {
                uint8_t *dead = pool->base + (size_t)c * cache->chunk_bytes;
                if (dead > from) {
                    pages_release(from, (size_t)(dead - from));
                }
                from = dead + cache->chunk_bytes;
            }
        }
    }
    uint8_t *end = cache->address.base + cache->range_bytes;
    if (end > from) {
        pages_release(from, (size_t)(end - from));
    }
}

/* ---- what is in force ---- */

static void tell_huge_pages(const struct cache *cache, struct cache_placement_stats *stats) {
    bool is_movable = atomic_load_explicit(&cache->can_move_reserved, memory_order_relaxed);
    bool had_no_reserved =
        !is_movable || atomic_load_explicit(&cache->reserved_failure, memory_order_relaxed) != 0;
    tern_huge_pages wanted = cache->placement.huge_pages;
    stats->huge_pages = TERN_HUGE_PAGES_OFF;
    if (wanted == TERN_HUGE_PAGES_OFF) {
        stats->huge_text = "pages behind the cache: 1 small, 2 transparent huge, 3 reserved huge";
    } else if (!chunks_can_be_huge(cache)) {
        stats->huge_text = "unavailable, pages behind the cache are small: huge ones need a cache "
                           "of at least 32 MiB";
    } else if (wanted == TERN_HUGE_PAGES_RESERVED && !had_no_reserved) {
        stats->huge_pages = TERN_HUGE_PAGES_RESERVED;
        stats->huge_text = "pages behind the cache: 1 small, 2 transparent huge, 3 reserved huge";
    } else if (wanted == TERN_HUGE_PAGES_RESERVED && !is_movable) {
        stats->huge_pages =
            cache->has_transparent ? TERN_HUGE_PAGES_TRANSPARENT : TERN_HUGE_PAGES_OFF;
        stats->huge_text =
            cache->has_transparent
                ? "reserved huge pages are unavailable, this system cannot move them "
                  "into the cache: transparent ones (2) behind the rest of it"
                : "unavailable, pages behind the cache are small: this system cannot "
                  "move reserved huge pages into it, transparent ones are off";
    } else if (!cache->has_transparent) {
        stats->huge_text =
            wanted == TERN_HUGE_PAGES_RESERVED
                ? "unavailable, pages behind the cache are small: the reserved pool has too few "
                  "(sysctl vm.nr_hugepages), transparent ones are off"
                : "unavailable, pages behind the cache are small: "
                  "/sys/kernel/mm/transparent_hugepage/enabled says never, or is not there";
    } else {
        stats->huge_pages = TERN_HUGE_PAGES_TRANSPARENT;
        stats->huge_text =
            wanted == TERN_HUGE_PAGES_RESERVED
                ? "reserved huge pages are unavailable, the pool has too few (sysctl "
                  "vm.nr_hugepages): transparent ones (2) behind the rest of the cache"
                : "pages behind the cache: 1 small, 2 transparent huge, 3 reserved huge";
    }
}

static void tell_numa(const struct cache *cache, struct cache_placement_stats *stats) {
    stats->numa = cache->numa_failure == 0 ? cache->placement.numa : TERN_NUMA_DEFAULT;
    if (cache->numa_failure == 0) {
        stats->numa_text = "NUMA nodes of the cache: 0 as the process, 1 local, 2 interleaved, 3 "
                           "bound";
    } else if (cache->numa_failure == ENOSYS || cache->numa_failure == EPERM) {
        stats->numa_text = "NUMA placement is unavailable: this system does not let the process "
                           "choose nodes";
    } else {
        stats->numa_text = "NUMA placement is unavailable: the process may not use any of the "
                           "nodes asked for";
    }
}

static void tell_lock(const struct cache *cache, struct cache_placement_stats *stats) {
    stats->locked_bytes = atomic_load_explicit(&cache->locked_bytes, memory_order_relaxed);
    int failure = atomic_load_explicit(&cache->lock_failure, memory_order_relaxed);
    if (failure == 0) {
        stats->lock_text = "memory of the cache that cannot be swapped out";
    } else if (failure == ENOMEM || failure == EPERM || failure == EAGAIN) {
        stats->lock_text = "memory of the cache that cannot be swapped out; no more is available: "
                           "RLIMIT_MEMLOCK (ulimit -l) is reached";
    } else {
        stats->lock_text = "memory of the cache that cannot be swapped out; unavailable: the "
                           "system refuses to lock memory";
    }
}

void placement_get_stats(const struct cache *cache, struct cache_placement_stats *out_stats) {
    struct cache_placement_stats stats = {
        .reserved_bytes = atomic_load_explicit(&cache->reserved_bytes, memory_order_relaxed)};
    tell_huge_pages(cache, &stats);
    tell_numa(cache, &stats);
    tell_lock(cache, &stats);
    *out_stats = stats;
}
