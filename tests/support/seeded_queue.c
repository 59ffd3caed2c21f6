/* SPDX-License-Identifier: Apache-2.0 */
#include "support/seeded_queue.h"

#include <stdlib.h>

#include "support/check.h"
#include "support/seeded_random.h"

struct seeded_queue {
    tern_io_queue head;
    struct seeded_random random;
    tern_io *waiting; /* not carried out */
    size_t waiting_count;
    tern_io *done;
    size_t done_count;
    tern_io_queue_counts counts;
};

static struct seeded_queue *seeded_of(tern_io_queue *queue) {
    return (struct seeded_queue *)queue;
}

/* Any one of those that wait. */
static void carry_out_one(struct seeded_queue *queue) {
    uint64_t index = seeded_random_below(&queue->random, queue->waiting_count);
    tern_io **place = &queue->waiting;
    for (uint64_t i = 0; i < index; i++) {
        place = &(*place)->next;
    }
    tern_io *io = *place;
    *place = io->next;
    queue->waiting_count--;
    const tern_file_methods *methods = io->file->methods;
    switch (io->kind) {
    case TERN_IO_READ:
        io->status =
            methods->read(io->file, io->offset, io->buffer, io->size, &io->done_bytes, io->error);
        break;
    case TERN_IO_WRITE:
        io->status = methods->write(io->file, io->offset, io->buffer, io->size, io->error);
        break;
    default:
        io->status = methods->sync(io->file, io->error);
        break;
    }
    io->next = queue->done;
    queue->done = io;
    queue->done_count++;
    queue->counts.completed++;
}

/* As the device would go on meanwhile. */
static void go_on(struct seeded_queue *queue) {
    while (queue->waiting_count > 0 && seeded_random_below(&queue->random, 3) == 0) {
        carry_out_one(queue);
    }
}

static void seeded_submit(tern_io_queue *base, tern_io *io) {
    struct seeded_queue *queue = seeded_of(base);
    io->next = queue->waiting;
    queue->waiting = io;
    queue->waiting_count++;
    queue->counts.submitted++;
    go_on(queue);
}

static void seeded_flush(tern_io_queue *base) {
    seeded_of(base)->counts.batches++;
    go_on(seeded_of(base));
}

static tern_io *seeded_wait(tern_io_queue *base, size_t least) {
    struct seeded_queue *queue = seeded_of(base);
    go_on(queue);
    while (queue->done_count < least && queue->waiting_count > 0) {
        carry_out_one(queue);
    }
    tern_io *done = queue->done;
    queue->done = NULL;
    queue->done_count = 0;
    return done;
}

static void seeded_get_counts(tern_io_queue *base, tern_io_queue_counts *counts) {
    const struct seeded_queue *queue = seeded_of(base);
    counts->submitted += queue->counts.submitted;
    counts->completed += queue->counts.completed;
    counts->batches += queue->counts.batches;
}

static void seeded_close(tern_io_queue *base) {
    struct seeded_queue *queue = seeded_of(base);
    CHECK(queue->waiting == NULL && queue->done == NULL);
    free(queue);
}

static const tern_io_queue_methods methods = {
    .submit = seeded_submit,
    .flush = seeded_flush,
    .wait = seeded_wait,
    .get_counts = seeded_get_counts,
    .close = seeded_close,
};

tern_io_queue *seeded_queue_create(uint64_t seed) {
    struct seeded_queue *queue = check_allocate(sizeof(*queue));
    queue->head.methods = &methods;
    seeded_random_init(&queue->random, seed);
    return &queue->head;
}
