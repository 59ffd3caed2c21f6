/* SPDX-License-Identifier: Apache-2.0 */
#include "os/page_pool.h"

#include <string.h>

#include "os/pages.h"

/* Below the first somebody is told, up to the second page_pool_grow goes on. */
#define LOW_BYTES  (4 * (uint64_t)HUGE_PAGE_BYTES)
#define HIGH_BYTES (8 * (uint64_t)HUGE_PAGE_BYTES)

void page_pool_init(struct page_pool *pool, uint64_t limit_bytes) {
    mutex_init(&pool->mutex);
    pool->limit_bytes = limit_bytes;
    pool->first = NULL;
    pool->on_low = NULL;
    pool->on_spilled_reads = NULL;
    pool->on_low_context = NULL;
    atomic_init(&pool->pooled_bytes, 0);
}

static void *next_of(const void *memory) {
    void *next;
    memcpy(&next, memory, sizeof(next));
    return next;
}

void page_pool_release(struct page_pool *pool) {
    while (pool->first != NULL) {
        void *memory = pool->first;
        pool->first = next_of(memory);
        pages_release(memory, HUGE_PAGE_BYTES);
    }
    atomic_store_explicit(&pool->pooled_bytes, 0, memory_order_relaxed);
    mutex_destroy(&pool->mutex);
}

static uint64_t pooled_bytes(const struct page_pool *pool) {
    return atomic_load_explicit(&pool->pooled_bytes, memory_order_relaxed);
}

static void *take(struct page_pool *pool) {
    mutex_lock(&pool->mutex);
    void *memory = pool->first;
    if (memory != NULL) {
        pool->first = next_of(memory);
        atomic_fetch_sub_explicit(&pool->pooled_bytes, HUGE_PAGE_BYTES, memory_order_relaxed);
    }
    mutex_unlock(&pool->mutex);
    return memory;
}

void *page_pool_take(struct page_pool *pool) {
    if (pool == NULL) {
        return NULL;
    }
    if (pool->on_low != NULL && pooled_bytes(pool) < LOW_BYTES) {
        pool->on_low(pool->on_low_context);
    }
    return take(pool);
}

void page_pool_shrink(struct page_pool *pool, uint64_t bytes) {
    void *memory = bytes > 0 ? take(pool) : NULL;
    while (memory != NULL) {
        pages_release(memory, HUGE_PAGE_BYTES);
        bytes -= bytes < HUGE_PAGE_BYTES ? bytes : HUGE_PAGE_BYTES;
        memory = bytes > 0 ? take(pool) : NULL;
    }
}

bool page_pool_put(struct page_pool *pool, void *memory, uint64_t used_bytes) {
    if (pool == NULL) {
        return false;
    }
    mutex_lock(&pool->mutex);
    bool keeps = atomic_load_explicit(&pool->pooled_bytes, memory_order_relaxed) + HUGE_PAGE_BYTES +
                     used_bytes <=
                 pool->limit_bytes;
    if (keeps) {
        memcpy(memory, &pool->first, sizeof(pool->first));
        pool->first = memory;
        atomic_fetch_add_explicit(&pool->pooled_bytes, HUGE_PAGE_BYTES, memory_order_relaxed);
    }
    mutex_unlock(&pool->mutex);
    return keeps;
}

bool page_pool_grow(struct page_pool *pool, uint64_t used_bytes) {
    void *memory = NULL;
    if (pooled_bytes(pool) >= HIGH_BYTES ||
        pooled_bytes(pool) + HUGE_PAGE_BYTES + used_bytes > pool->limit_bytes ||
        pages_allocate(HUGE_PAGE_BYTES, true, &memory, NULL) != TERN_OK) {
        return false;
    }
    for (size_t at = 0; at < HUGE_PAGE_BYTES; at += 4096) {
        *((volatile uint8_t *)memory + at) = 0;
    }
    if (!page_pool_put(pool, memory, used_bytes)) {
        pages_release(memory, HUGE_PAGE_BYTES);
        return false;
    }
    return true;
}
