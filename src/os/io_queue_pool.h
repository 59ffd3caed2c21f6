/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues for readers: who has several reads to do takes a queue, with memory to read into, and
 * gives both back. Queues and memory are made when they are first wanted.
 */
#ifndef TERN_OS_IO_QUEUE_POOL_H
#define TERN_OS_IO_QUEUE_POOL_H

#include "os/io_queue.h"

/* As many threads read in batches at once; others do without. */
#define IO_QUEUE_POOL_LOANS 4

/* A queue and memory, one thread's at a time. */
struct io_loan {
    struct io_queue *queue;
    uint8_t *memory; /* aligned to 4096 */
    size_t memory_bytes;
    _Atomic bool is_taken;
};

struct io_queue_pool {
    const tern_file_system *file_system;
    const tern_allocator *allocator;
    uint32_t depth;
    _Atomic bool is_off; /* there are no queues to be had */
    struct io_loan loans[IO_QUEUE_POOL_LOANS];
};

/* `plain`: nothing is ever lent. */
void io_queue_pool_init(struct io_queue_pool *pool, const tern_file_system *file_system,
                        const tern_allocator *allocator, uint32_t depth, bool plain);
/* Everything has been given back. */
void io_queue_pool_release(struct io_queue_pool *pool);

/* With at least `memory_bytes`; NULL when all are taken, or there is no queue or memory to be had.
 * Any thread. */
struct io_loan *io_queue_pool_take(struct io_queue_pool *pool, size_t memory_bytes);
void io_queue_pool_give(struct io_loan *loan);

/* Adds to the counts. Any thread. */
void io_queue_pool_get_counts(struct io_queue_pool *pool, tern_io_queue_counts *counts);

#endif
