/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes that are durable when they return: one request with RWF_DSYNC instead of a write and a
 * sync of the whole file.
 *
 * With a ring (TERN_OPEN_RING) the caller stays awake while the device works: it looks at the
 * completion ring, which costs no call, and yields in between. A device answers in less than a
 * hundred microseconds, and to wake a processor that went idle costs a good part of that again.
 *
 * That is a loss where the device takes longer (AWAKE_NS, then the caller sleeps), and where others
 * want the processor: to yield then means to be away for a whole slice, and so may be the kernel's
 * worker that flushes what a ring began. After either the next writes are made by calls, in which
 * the caller does all of it and sleeps; twice as many each time it happens again.
 *
 * Invariants:
 *  W1 at most one operation is in the ring, and it is out of it before the caller goes on: its
 *     memory is the caller's
 *  W2 what the ring did not do, or did in part, is done again by a call, from the first byte
 *  W3 a ring that refuses for good is not used again
 */
#include <errno.h>
#include <sched.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/memory.h"
#include "os/mutex.h"
#include "os/posix_file_internal.h"
#include "os/system_error.h"

#ifdef TERN_HAVE_LIBURING

#include <liburing.h>
#include <tern/sys/clock.h>

/* Longer than a device that is well takes, and short beside one that is not. */
#define AWAKE_NS 300000u
/* Away for longer than this: somebody else has work for the processor. */
#define AWAY_NS 1000000u
/* So many writes in a row that took longer than AWAKE_NS: the device is slow. */
#define SLOW_IN_A_ROW   8u
#define CALLS_AFTER_MIN 64u
#define CALLS_AFTER_MAX 1024u
/* Between two looks at the clock, and chances for others to run. */
#define PAUSES_PER_LOOK 20
/* The first call of a thread allocates in the kernel: so often it may find no memory. */
#define SUBMIT_TRIES_MAX 1000
/* Between looks for what completes when no call may wait for it. */
#define LOOK_PAUSE_NS 50000L

struct durable_ring {
    struct io_uring ring;
    struct mutex lock;
    bool is_plain;        /* W3 */
    uint32_t calls_left;  /* writes to make by calls */
    uint32_t calls_after; /* so many were they when to stay awake was a loss last */
    uint32_t gains;       /* writes for which it was none since */
    uint32_t slow_count;  /* writes in a row that took long */
};

struct durable_ring *durable_ring_open(void) {
    struct durable_ring *ring = memory_allocate_zeroed(tern_allocator_default(), sizeof(*ring));
    if (ring == NULL) {
        return NULL;
    }
    if (io_uring_queue_init(1, &ring->ring, 0) != 0) {
        memory_release(tern_allocator_default(), ring);
        return NULL;
    }
    mutex_init(&ring->lock);
    return ring;
}

void durable_ring_close(struct durable_ring *ring) {
    if (ring != NULL) {
        io_uring_queue_exit(&ring->ring);
        mutex_destroy(&ring->lock);
        memory_release(tern_allocator_default(), ring);
    }
}

/* False: the kernel has not taken it and will not. */
static bool hand_over(struct durable_ring *ring) {
    for (unsigned tries = 0; tries < SUBMIT_TRIES_MAX; tries++) {
        int result = io_uring_submit(&ring->ring);
        if (result > 0) {
            return true;
        }
        if (result != 0 && result != -EINTR && result != -EAGAIN && result != -EBUSY &&
            result != -ENOMEM) {
            break;
        }
        (void)sched_yield();
    }
    return false;
}

static struct io_uring_cqe *look(struct durable_ring *ring) {
    struct io_uring_cqe *entry = NULL;
    return io_uring_peek_cqe(&ring->ring, &entry) == 0 ? entry : NULL;
}

static void note_loss(struct durable_ring *ring) {
    uint32_t doubled = ring->calls_after * 2;
    ring->calls_after = doubled < CALLS_AFTER_MIN   ? CALLS_AFTER_MIN
                        : doubled > CALLS_AFTER_MAX ? CALLS_AFTER_MAX
                                                    : doubled;
    ring->calls_left = ring->calls_after;
    ring->gains = 0;
}

static void note_gain(struct durable_ring *ring) {
    if (ring->calls_after != 0 && ++ring->gains >= ring->calls_after) {
        ring->calls_after = 0;
    }
}

/* NULL: it takes long, or the processor is wanted. */
static struct io_uring_cqe *await_awake(struct durable_ring *ring) {
    const tern_clock *clock = tern_clock_default();
    uint64_t begin_ns = clock->monotonic_ns(clock->context);
    uint64_t last_ns = begin_ns;
    struct io_uring_cqe *entry = NULL;
    bool is_away = false;
    while (entry == NULL && !is_away && last_ns - begin_ns < AWAKE_NS) {
        for (int i = 0; i < PAUSES_PER_LOOK && entry == NULL; i++) {
            entry = look(ring);
            spin_pause();
        }
        if (entry == NULL) {
            (void)sched_yield();
        }
        uint64_t now_ns = clock->monotonic_ns(clock->context);
        is_away = now_ns - last_ns > AWAY_NS;
        last_ns = now_ns;
    }
    ring->slow_count = entry == NULL && !is_away ? ring->slow_count + 1 : 0;
    if (is_away || ring->slow_count == SLOW_IN_A_ROW) {
        ring->slow_count = 0;
        note_loss(ring);
    } else if (entry != NULL) {
        note_gain(ring);
    }
    return entry;
}

static struct io_uring_cqe *await_asleep(struct durable_ring *ring) {
    for (;;) {
        struct io_uring_cqe *entry = NULL;
        int result = io_uring_wait_cqe(&ring->ring, &entry);
        if (result == 0 && entry != NULL) {
            return entry;
        }
        if (result != -EINTR) {
            const struct timespec pause = {.tv_nsec = LOOK_PAUSE_NS};
            (void)nanosleep(&pause, NULL);
        }
    }
}

static struct io_uring_cqe *await(struct durable_ring *ring) {
    struct io_uring_cqe *entry = await_awake(ring);
    return entry != NULL ? entry : await_asleep(ring);
}

/* What the system answered, as of pwritev2; -EAGAIN: nothing was done. */
static int write_in_ring(struct durable_ring *ring, int descriptor, uint64_t offset,
                         const void *buffer, size_t size) {
    if (!mutex_try_lock(&ring->lock)) {
        return -EAGAIN;
    }
    int result = -EAGAIN;
    if (ring->calls_left > 0) {
        ring->calls_left--;
    } else if (!ring->is_plain) {
        struct io_uring_sqe *entry = io_uring_get_sqe(&ring->ring);
        ASSERT(entry != NULL);
        io_uring_prep_write(entry, descriptor, buffer, (unsigned)size, offset);
        entry->rw_flags = RWF_DSYNC;
        if (hand_over(ring)) {
            struct io_uring_cqe *completion = await(ring);
            result = completion->res;
            io_uring_cqe_seen(&ring->ring, completion);
        } else {
            /* What lies in the submission ring is looked at in calls alone: there are no more. */
            ring->is_plain = true;
        }
    }
    mutex_unlock(&ring->lock);
    return result;
}

#else

struct durable_ring *durable_ring_open(void) {
    return NULL;
}

void durable_ring_close(struct durable_ring *ring) {
    (void)ring;
}

static int write_in_ring(struct durable_ring *ring, int descriptor, uint64_t offset,
                         const void *buffer, size_t size) {
    (void)ring;
    (void)descriptor;
    (void)offset;
    (void)buffer;
    (void)size;
    return -EAGAIN;
}

#endif

/* As the ring's, by a call. */
static int write_in_call(int descriptor, uint64_t offset, const void *buffer, size_t size) {
#ifdef RWF_DSYNC
    struct iovec part = {(void *)(uintptr_t)buffer, size};
    ssize_t put;
    do {
        put = pwritev2(descriptor, &part, 1, (off_t)offset, RWF_DSYNC);
    } while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : (int)put;
#else
    (void)descriptor;
    (void)offset;
    (void)buffer;
    (void)size;
    return -EOPNOTSUPP;
#endif
}

/* A write that came short, or a system that does not know the request. */
static bool is_open(int result, size_t size) {
    return result == -EAGAIN || result == -EINTR || result == -ECANCELED || result == -EINVAL ||
           result == -EOPNOTSUPP || result == -ENOSYS || (result >= 0 && (size_t)result < size);
}

tern_status posix_write_durable(tern_file *file, uint64_t offset, const void *buffer, size_t size,
                                tern_error *error) {
    const struct posix_file *posix = (const struct posix_file *)file;
    int result = -EAGAIN;
    if (size > INT32_MAX) {
        result = -EINVAL;
    } else if (posix->ring != NULL) {
        result = write_in_ring(posix->ring, posix->descriptor, offset, buffer, size);
    }
    if (result != -EINVAL && is_open(result, size)) {
        result = write_in_call(posix->descriptor, offset, buffer, size);
    }
    if (is_open(result, size)) {
        tern_status status = file->methods->write(file, offset, buffer, size, error);
        return status == TERN_OK ? file->methods->sync(file, error) : status;
    }
    return result >= 0 ? TERN_OK
                       : SYSTEM_ERROR(error, -result, posix->path, offset,
                                      "write the file and sync that to the device");
}
