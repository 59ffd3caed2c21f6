/* SPDX-License-Identifier: Apache-2.0 */
#include "os/page_pool.h"

#include <string.h>

#include "os/pages.h"

void page_pool_init(struct page_pool *pool, uint64_t limit_bytes) {
    mutex_init(&pool->mutex);
    pool->limit_bytes = limit_bytes;
    pool->first = NULL;
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

void *page_pool_take(struct page_pool *pool) {
    if (pool == NULL || atomic_load_explicit(&pool->pooled_bytes, memory_order_relaxed) == 0) {
        return NULL;
    }
    mutex_lock(&pool->mutex);
    void *memory = pool->first;
    if (memory != NULL) {
        pool->first = next_of(memory);
        atomic_fetch_sub_explicit(&pool->pooled_bytes, HUGE_PAGE_BYTES, memory_order_relaxed);
    }
    mutex_unlock(&pool->mutex);
    return memory;
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
