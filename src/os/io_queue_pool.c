/* SPDX-License-Identifier: Apache-2.0 */
#include "os/io_queue_pool.h"

#include "base/assert.h"

#define MEMORY_ALIGNMENT ((size_t)4096)

void io_queue_pool_init(struct io_queue_pool *pool, const tern_file_system *file_system,
                        const tern_allocator *allocator, uint32_t depth, bool plain) {
    *pool =
        (struct io_queue_pool){.file_system = file_system, .allocator = allocator, .depth = depth};
    atomic_init(&pool->is_off, plain);
}

void io_queue_pool_release(struct io_queue_pool *pool) {
    for (unsigned i = 0; i < IO_QUEUE_POOL_LOANS; i++) {
        struct io_loan *loan = &pool->loans[i];
        ASSERT(!atomic_load_explicit(&loan->is_taken, memory_order_relaxed));
        io_queue_destroy(loan->queue);
        if (loan->memory != NULL) {
            memory_release_aligned(pool->allocator, loan->memory);
        }
    }
}

/* What the loan lacks, if it can be had. */
static bool equip(struct io_queue_pool *pool, struct io_loan *loan, size_t memory_bytes) {
    if (loan->queue == NULL) {
        struct io_queue *queue = NULL;
        if (io_queue_create(pool->file_system, pool->allocator, pool->depth, false, &queue, NULL) !=
            TERN_OK) {
            return false;
        }
        if (!io_queue_is_asynchronous(queue)) {
            io_queue_destroy(queue);
            atomic_store_explicit(&pool->is_off, true, memory_order_relaxed);
            return false;
        }
        loan->queue = queue;
    }
    if (loan->memory_bytes < memory_bytes) {
        uint8_t *memory = memory_allocate_aligned(pool->allocator, MEMORY_ALIGNMENT, memory_bytes);
        if (memory == NULL) {
            return false;
        }
        if (loan->memory != NULL) {
            memory_release_aligned(pool->allocator, loan->memory);
        }
        loan->memory = memory;
        loan->memory_bytes = memory_bytes;
    }
    return true;
}

struct io_loan *io_queue_pool_take(struct io_queue_pool *pool, size_t memory_bytes) {
    if (atomic_load_explicit(&pool->is_off, memory_order_relaxed)) {
        return NULL;
    }
    for (unsigned i = 0; i < IO_QUEUE_POOL_LOANS; i++) {
        struct io_loan *loan = &pool->loans[i];
        if (atomic_load_explicit(&loan->is_taken, memory_order_relaxed) ||
            atomic_exchange_explicit(&loan->is_taken, true, memory_order_acquire)) {
            continue;
        }
        if (equip(pool, loan, memory_bytes)) {
            return loan;
        }
        io_queue_pool_give(loan);
        return NULL;
    }
    return NULL;
}

void io_queue_pool_give(struct io_loan *loan) {
    atomic_store_explicit(&loan->is_taken, false, memory_order_release);
}

void io_queue_pool_get_counts(struct io_queue_pool *pool, tern_io_queue_counts *counts) {
    for (unsigned i = 0; i < IO_QUEUE_POOL_LOANS; i++) {
        struct io_loan *loan = &pool->loans[i];
        /* One that is at work is counted the next time. */
        if (!atomic_exchange_explicit(&loan->is_taken, true, memory_order_acquire)) {
            if (loan->queue != NULL) {
                io_queue_get_counts(loan->queue, counts);
            }
            io_queue_pool_give(loan);
        }
    }
}
