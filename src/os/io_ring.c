/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of the POSIX file system: an io_uring.
 *
 *   submit --> submission ring --(flush, wait: one system call)--> kernel --> completion ring -->
 * wait
 *
 * Invariants:
 *  R1 at most `depth` operations are in the ring, so that its completion side never overflows;
 *     submit takes completions in (and keeps them for the next wait) where it would be more
 *  R2 an operation is returned exactly once, complete: what came back short, interrupted, or
 *     cancelled because the thread that submitted it has ended, is finished by a plain call
 *  R3 writes go to the kernel's workers at once. Tried without waiting first, as rings do, ext4
 *     sends a part of a direct write to the device, finds the next extent in need of a conversion,
 *     gives up, and a worker writes all of it again: twice the bytes
 *  R4 where the kernel refuses a call for good (a filter that only some threads have), the ring
 * takes back what the kernel has not consumed and is plain from then on; what is in the kernel
 * completes without calls of ours
 *
 * A ring may be forbidden (a container's filter, sysctl kernel.io_uring_disabled, RLIMIT_MEMLOCK of
 * old kernels) or not built in: posix_open_queue tries it, says so, and callers do without.
 */
#include <errno.h>
#include <sched.h>
#include <time.h>

#include "base/error.h"
#include "base/memory.h"
#include "os/file.h"
#include "os/posix_file_internal.h"
#include "os/system_error.h"

#ifdef TERN_HAVE_LIBURING

#include <liburing.h>
#ifdef TERN_VALGRIND
#include <valgrind/memcheck.h>
#endif

#include "base/assert.h"

/* The kernel's count of bytes in one operation is an int. */
#define OPERATION_BYTES_MAX ((size_t)1 << 30)
/* The first call of each thread allocates in the kernel: so often it may find no memory. */
#define MEMORY_TRIES_MAX 1000u
/* Between looks for what completes when no call may wait for it. */
#define LOOK_PAUSE_NS 50000L

struct io_ring {
    tern_io_queue head;
    struct io_uring ring;
    uint32_t depth;
    uint32_t in_ring;   /* given to the ring, not taken out of it */
    uint32_t unflushed; /* of these, the kernel has not been told of */
    tern_io *done;      /* completed, for the next wait */
    size_t done_count;
    uint32_t memory_tries; /* calls in a row that the kernel had no memory for */
    bool is_plain;         /* R4 */
    tern_io_queue_counts counts;
};

static struct io_ring *ring_of(tern_io_queue *queue) {
    return (struct io_ring *)queue;
}

static void keep_done(struct io_ring *ring, tern_io *io) {
    io->next = ring->done;
    ring->done = io;
    ring->done_count++;
    ring->counts.completed++;
}

/* Plain calls for all of the operation, or for what is left of it from `done` bytes on. */
static void finish_plainly(tern_io *io, size_t done) {
    size_t got = 0;
    uint8_t *rest = io->buffer != NULL ? (uint8_t *)io->buffer + done : NULL;
    switch (io->kind) {
    case TERN_IO_READ:
        io->status = file_read(io->file, io->offset + done, rest, io->size - done, &got, io->error);
        break;
    case TERN_IO_WRITE:
        io->status = file_write(io->file, io->offset + done, rest, io->size - done, io->error);
        break;
    default:
        io->status = file_sync(io->file, io->error);
        break;
    }
    io->done_bytes = done + got;
}

static void fail(tern_io *io, int reason) {
    static const char *const what[] = {"", "read the file", "write the file",
                                       "sync the file to the device"};
    /* A wrapper that lends the descriptor of another file names its own elsewhere. */
    bool is_ours = io->file->methods == &posix_file_methods;
    const char *path = is_ours ? ((const struct posix_file *)io->file)->path : "";
    uint64_t offset = io->kind == TERN_IO_SYNC ? UINT64_MAX : io->offset;
    io->status = SYSTEM_ERROR(io->error, reason, path, offset, what[io->kind]);
}

static void complete(struct io_ring *ring, tern_io *io, int result) {
    /* The last two: this kernel's rings do not know the operation. */
    bool is_again = result == -EINTR || result == -EAGAIN || result == -ECANCELED ||
                    result == -EINVAL || result == -EOPNOTSUPP;
    size_t done = result > 0 ? (size_t)result : 0;
    /* A sync that was cancelled has not been: the pages it did not write are still dirty. */
    bool is_short = io->kind != TERN_IO_SYNC && result >= 0 && done < io->size;
    io->status = TERN_OK;
    io->done_bytes = done;
#ifdef TERN_VALGRIND
    if (io->kind == TERN_IO_READ) {
        (void)VALGRIND_MAKE_MEM_DEFINED(io->buffer, done); /* it does not see what rings do */
    }
#endif
    if (is_short && io->kind == TERN_IO_READ &&
        (done == 0 || done % io->file->alignment_bytes != 0)) {
        is_short = false; /* the end of the file */
    }
    if (is_again || is_short) {
        ring->counts.finished++;
        finish_plainly(io, done);
    } else if (result < 0) {
        fail(io, -result);
    }
    keep_done(ring, io);
}

/* Takes out what has completed, without a system call. */
static void take_completions(struct io_ring *ring) {
    struct io_uring_cqe *entry;
    unsigned position;
    unsigned count = 0;
    io_uring_for_each_cqe(&ring->ring, position, entry) {
        ASSERT(ring->in_ring > 0);
        ring->in_ring--;
        count++;
        complete(ring, io_uring_cqe_get_data(entry), entry->res);
    }
    io_uring_cq_advance(&ring->ring, count);
}

/* R4. The kernel looks at the submission side only inside of calls, and the queue's lock is held.
 */
static void become_plain(struct io_ring *ring) {
    struct io_uring_sq *queue = &ring->ring.sq;
    unsigned consumed = __atomic_load_n(queue->khead, __ATOMIC_ACQUIRE);
    unsigned end = queue->sqe_tail;
    __atomic_store_n(queue->ktail, consumed, __ATOMIC_RELEASE);
    queue->sqe_head = queue->sqe_tail = consumed;
    ring->is_plain = true;
    ring->unflushed = 0;
    for (unsigned i = consumed; i != end; i++) {
        tern_io *io = (tern_io *)(uintptr_t)queue->sqes[i & queue->ring_mask].user_data;
        ring->in_ring--;
        ring->counts.finished++;
        finish_plainly(io, 0);
        keep_done(ring, io);
    }
}

/* No call may wait for it: what the kernel has goes on, and is seen when it is done. */
static void await_without_calls(struct io_ring *ring) {
    uint32_t before = ring->in_ring;
    take_completions(ring);
    if (ring->in_ring == before && before > 0) {
        const struct timespec pause = {.tv_nsec = LOOK_PAUSE_NS};
        (void)nanosleep(&pause, NULL);
        take_completions(ring);
    }
}

/* The kernel took nothing. */
static void look_at_refusal(struct io_ring *ring, int reason) {
    bool is_passing = reason == EINTR || reason == EAGAIN || reason == EBUSY;
    if (is_passing) {
        return;
    }
    if (reason == ENOMEM && ring->memory_tries < MEMORY_TRIES_MAX) {
        ring->memory_tries++;
        (void)sched_yield();
        return;
    }
    become_plain(ring);
}

/* One system call: hands over what is unflushed and waits for `least` completions. A signal may end
 * it early; callers look at what has come of it. */
static void enter(struct io_ring *ring, uint32_t least) {
    if (ring->is_plain) {
        await_without_calls(ring);
        return;
    }
    int result = io_uring_submit_and_wait(&ring->ring, least);
    if (result > 0) {
        uint32_t taken = (uint32_t)result;
        ring->counts.batches++;
        ring->unflushed -= taken < ring->unflushed ? taken : ring->unflushed;
    }
    if (result >= 0) {
        ring->memory_tries = 0;
    } else {
        look_at_refusal(ring, -result);
    }
    take_completions(ring);
}

static void ring_submit(tern_io_queue *queue, tern_io *io) {
    struct io_ring *ring = ring_of(queue);
    ring->counts.submitted++;
    int descriptor = io->file->methods->descriptor(io->file);
    bool is_fit = descriptor >= 0 && io->size <= OPERATION_BYTES_MAX;
    while (is_fit && !ring->is_plain && ring->in_ring >= ring->depth) {
        enter(ring, 1);
    }
    if (!is_fit || ring->is_plain) {
        finish_plainly(io, 0);
        keep_done(ring, io);
        return;
    }
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->ring);
    ASSERT(entry != NULL);
    switch (io->kind) {
    case TERN_IO_READ:
        io_uring_prep_read(entry, descriptor, io->buffer, (unsigned)io->size, io->offset);
        break;
    case TERN_IO_WRITE:
        io_uring_prep_write(entry, descriptor, io->buffer, (unsigned)io->size, io->offset);
        break;
    default:
        io_uring_prep_fsync(entry, descriptor, IORING_FSYNC_DATASYNC);
        break;
    }
    if (io->kind != TERN_IO_READ) {
        io_uring_sqe_set_flags(entry, IOSQE_ASYNC); /* R3 */
    }
    io_uring_sqe_set_data(entry, io);
    ring->in_ring++;
    ring->unflushed++;
}

static void ring_flush(tern_io_queue *queue) {
    struct io_ring *ring = ring_of(queue);
    while (ring->unflushed > 0) {
        enter(ring, 0);
    }
}

static tern_io *ring_wait(tern_io_queue *queue, size_t least) {
    struct io_ring *ring = ring_of(queue);
    take_completions(ring);
    ring_flush(queue);
    while (ring->done_count < least && ring->in_ring > 0) {
        size_t missing = least - ring->done_count;
        enter(ring, missing < ring->in_ring ? (uint32_t)missing : ring->in_ring);
    }
    tern_io *done = ring->done;
    ring->done = NULL;
    ring->done_count = 0;
    return done;
}

static void ring_get_counts(tern_io_queue *queue, tern_io_queue_counts *counts) {
    const struct io_ring *ring = ring_of(queue);
    counts->submitted += ring->counts.submitted;
    counts->completed += ring->counts.completed;
    counts->batches += ring->counts.batches;
    counts->finished += ring->counts.finished;
}

static void ring_close(tern_io_queue *queue) {
    struct io_ring *ring = ring_of(queue);
    ASSERT(ring->in_ring == 0 && ring->done == NULL);
    io_uring_queue_exit(&ring->ring);
    memory_release(tern_allocator_default(), ring);
}

static const tern_io_queue_methods ring_methods = {
    .submit = ring_submit,
    .flush = ring_flush,
    .wait = ring_wait,
    .get_counts = ring_get_counts,
    .close = ring_close,
};

/* A filter may let a ring be made and refuse its use: an operation that does nothing goes through
 * it. 0, or the errno. */
static int try_out(struct io_uring *ring) {
    struct io_uring_sqe *entry = io_uring_get_sqe(ring);
    struct io_uring_cqe *completion = NULL;
    int result = 0;
    ASSERT(entry != NULL);
    io_uring_prep_nop(entry);
    io_uring_sqe_set_data(entry, NULL);
    for (unsigned tries = 0; tries < MEMORY_TRIES_MAX; tries++) {
        result = io_uring_submit_and_wait(ring, 1);
        if (result != -EINTR && result != -EAGAIN && result != -EBUSY && result != -ENOMEM) {
            break;
        }
        (void)sched_yield();
    }
    while (result >= 0 && (result = io_uring_wait_cqe(ring, &completion)) == -EINTR) {
        result = 0;
    }
    if (result >= 0) {
        result = completion->res;
        io_uring_cqe_seen(ring, completion);
    }
    return result < 0 ? -result : 0;
}

tern_status posix_open_queue(void *context, uint32_t depth, tern_io_queue **out_queue,
                             tern_error *error) {
    (void)context;
    struct io_ring *ring = memory_allocate_zeroed(tern_allocator_default(), sizeof(*ring));
    if (ring == NULL) {
        return ERROR_NO_MEMORY(error, "a ring");
    }
    ring->head.methods = &ring_methods;
    ring->depth = depth;
    int reason = -io_uring_queue_init(depth, &ring->ring, IORING_SETUP_CLAMP);
    if (reason == 0) {
        reason = try_out(&ring->ring);
        if (reason != 0) {
            io_uring_queue_exit(&ring->ring);
        }
    }
    if (reason != 0) {
        memory_release(tern_allocator_default(), ring);
        return ERROR_AT(error, TERN_UNSUPPORTED, "", -1, reason,
                        "io_uring cannot be used here: see kernel.io_uring_disabled, the "
                        "container's system call filter and ulimit -l");
    }
    /* A clamped ring is smaller. */
    ring->depth = ring->ring.sq.ring_entries < depth ? ring->ring.sq.ring_entries : depth;
    *out_queue = &ring->head;
    return TERN_OK;
}

#else

tern_status posix_open_queue(void *context, uint32_t depth, tern_io_queue **out_queue,
                             tern_error *error) {
    (void)context;
    (void)depth;
    (void)out_queue;
    return ERROR_SET(error, TERN_UNSUPPORTED, "built without io_uring");
}

#endif
