/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads, writes and syncs that go on while their submitter does something else: over the queue of
 * the file system (tern_file_system::open_queue) where it has one, else by plain calls within
 * io_queue_submit, so that callers need not know.
 */
#ifndef TERN_OS_IO_QUEUE_H
#define TERN_OS_IO_QUEUE_H

#include <stdatomic.h>
#include <tern/sys/file_system.h>

#include "base/memory.h"

struct io_queue;

/* One operation: its submitter's until io_queue_submit and after io_queue_wait has said that it is
 * complete; between, it stays where it is. */
struct io_operation {
    tern_io io; /* what to do; status and done_bytes when complete */
    _Atomic bool is_complete;
};

/* `plain`: does not ask for a queue of the file system. Fails for want of memory alone: what else
 * stands in the way is told by io_queue_obstacle. */
TERN_MUST_CHECK tern_status io_queue_create(const tern_file_system *file_system,
                                            const tern_allocator *allocator, uint32_t depth,
                                            bool plain, struct io_queue **out_queue,
                                            tern_error *error);
/* Nothing may be under way. Accepts NULL. */
void io_queue_destroy(struct io_queue *queue);

/* True when operations overlap with their submitter. */
bool io_queue_is_asynchronous(const struct io_queue *queue);
/* Why not; status TERN_OK when they do, or when that was not asked for. */
const tern_error *io_queue_obstacle(const struct io_queue *queue);

/* Begins the operation, at the latest in the next io_queue_flush or io_queue_wait. Any thread. */
void io_queue_submit(struct io_queue *queue, struct io_operation *operation);
void io_queue_flush(struct io_queue *queue);

/* Until the operation is complete; its status. An operation that was never submitted must have
 * is_complete set. Any thread. */
TERN_MUST_CHECK tern_status io_queue_wait(struct io_queue *queue, struct io_operation *operation);

/* Adds to the counts; of plain calls too. */
void io_queue_get_counts(struct io_queue *queue, tern_io_queue_counts *counts);

#endif
