/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge pages kept for the next user: clearing a fresh one costs the system more than filling it
 * costs the user, milliseconds where a hypervisor has to find the memory first. So somebody else
 * may bring some in before they are asked for.
 */
#ifndef TERN_OS_PAGE_POOL_H
#define TERN_OS_PAGE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "os/mutex.h"

/* Any thread. */
struct page_pool {
    /* Called by whoever takes pages when few are left, without locks. NULL: nobody brings more. Set
     * before the first use. */
    void (*on_low)(void *context);
    /* Called by readers after some reads of pages that were moved to files, maybe inside an epoch,
     * with the same context. NULL: nobody wants to know. */
    void (*on_spilled_reads)(void *context);
    void *on_low_context;
    struct mutex mutex;
    uint64_t limit_bytes; /* for what is kept and what is in use, together */
    void *first;          /* each begins with a pointer to the next */
    _Atomic uint64_t pooled_bytes;
};

void page_pool_init(struct page_pool *pool, uint64_t limit_bytes);
/* Gives everything back to the system. */
void page_pool_release(struct page_pool *pool);

/* HUGE_PAGE_BYTES of memory with any contents, or NULL when none is kept. NULL pool: none. */
void *page_pool_take(struct page_pool *pool);
/* Keeps the memory unless that and the `used_bytes` that users hold would exceed the limit; false:
 * it is still the caller's. */
bool page_pool_put(struct page_pool *pool, void *memory, uint64_t used_bytes);

/* Gives up to `bytes` of what is kept back to the system. */
void page_pool_shrink(struct page_pool *pool, uint64_t bytes);

/* Brings in one page, cleared by the system here and now. False: there are enough, or no more may
 * or can be had. */
bool page_pool_grow(struct page_pool *pool, uint64_t used_bytes);

#endif
