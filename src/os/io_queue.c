/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the queue of a file system usable by many threads, each waiting for its own operations.
 *
 * The lock is held while waiting in the system: whoever else waits then finds that the first has
 * noted its operation as complete, too. Completed operations belong to their submitters again as
 * soon as is_complete is set, so that is the last thing done to them.
 */
#include "os/io_queue.h"

#include "base/assert.h"
#include "base/error.h"
#include "os/file.h"
#include "os/mutex.h"

struct io_queue {
    const tern_allocator *allocator;
    struct mutex lock;
    tern_io_queue *inner; /* NULL: plain calls */
    tern_io_queue_counts plain;
    tern_error obstacle;
};

tern_status io_queue_create(const tern_file_system *file_system, const tern_allocator *allocator,
                            uint32_t depth, bool plain, struct io_queue **out_queue,
                            tern_error *error) {
    struct io_queue *queue = memory_allocate_zeroed(allocator, sizeof(*queue));
    if (queue == NULL) {
        return ERROR_NO_MEMORY(error, "a queue of file operations");
    }
    queue->allocator = allocator;
    queue->obstacle = (tern_error)TERN_ERROR_INIT;
    mutex_init(&queue->lock);
    if (!plain) {
        tern_status status = file_system->open_queue == NULL
                                 ? ERROR_SET(&queue->obstacle, TERN_UNSUPPORTED,
                                             "the file system given at open has no queues")
                                 : file_system->open_queue(file_system->context, depth,
                                                           &queue->inner, &queue->obstacle);
        if (status != TERN_OK) {
            queue->inner = NULL;
        }
    }
    *out_queue = queue;
    return TERN_OK;
}

void io_queue_destroy(struct io_queue *queue) {
    if (queue == NULL) {
        return;
    }
    if (queue->inner != NULL) {
        queue->inner->methods->close(queue->inner);
    }
    mutex_destroy(&queue->lock);
    memory_release(queue->allocator, queue);
}

bool io_queue_is_asynchronous(const struct io_queue *queue) {
    return queue->inner != NULL;
}

const tern_error *io_queue_obstacle(const struct io_queue *queue) {
    return &queue->obstacle;
}

/* ---- plain calls ---- */

static void carry_out(tern_io *io) {
    switch (io->kind) {
    case TERN_IO_READ:
        io->status =
            file_read(io->file, io->offset, io->buffer, io->size, &io->done_bytes, io->error);
        break;
    case TERN_IO_WRITE:
        io->status = file_write(io->file, io->offset, io->buffer, io->size, io->error);
        break;
    default:
        io->status = file_sync(io->file, io->error);
        break;
    }
}

/* ---- operations ---- */

static bool is_complete(const struct io_operation *operation) {
    return atomic_load_explicit(&operation->is_complete, memory_order_acquire);
}

static void set_complete(struct io_operation *operation) {
    atomic_store_explicit(&operation->is_complete, true, memory_order_release);
}

/* Under the lock. */
static void take_completed(struct io_queue *queue, size_t least) {
    tern_io *io = queue->inner->methods->wait(queue->inner, least);
    while (io != NULL) {
        tern_io *next = io->next;
        set_complete((struct io_operation *)((char *)io - offsetof(struct io_operation, io)));
        io = next;
    }
}

void io_queue_submit(struct io_queue *queue, struct io_operation *operation) {
    operation->io.status = TERN_OK;
    operation->io.done_bytes = 0;
    operation->io.next = NULL;
    atomic_store_explicit(&operation->is_complete, false, memory_order_relaxed);
    if (queue->inner == NULL) {
        carry_out(&operation->io);
    }
    mutex_lock(&queue->lock);
    if (queue->inner != NULL) {
        queue->inner->methods->submit(queue->inner, &operation->io);
    } else {
        queue->plain.submitted++;
        queue->plain.completed++;
        set_complete(operation);
    }
    mutex_unlock(&queue->lock);
}

void io_queue_flush(struct io_queue *queue) {
    if (queue->inner != NULL) {
        mutex_lock(&queue->lock);
        queue->inner->methods->flush(queue->inner);
        mutex_unlock(&queue->lock);
    }
}

tern_status io_queue_wait(struct io_queue *queue, struct io_operation *operation) {
    if (!is_complete(operation)) {
        ASSERT(queue->inner != NULL);
        mutex_lock(&queue->lock);
        while (!is_complete(operation)) {
            take_completed(queue, 1);
        }
        mutex_unlock(&queue->lock);
    }
    return operation->io.status;
}

void io_queue_get_counts(struct io_queue *queue, tern_io_queue_counts *counts) {
    mutex_lock(&queue->lock);
    counts->submitted += queue->plain.submitted;
    counts->completed += queue->plain.completed;
    if (queue->inner != NULL) {
        queue->inner->methods->get_counts(queue->inner, counts);
    }
    mutex_unlock(&queue->lock);
}
