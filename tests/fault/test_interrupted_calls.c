/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 * ctest: more=asan TERN_ROUNDS=100 1800
 *
 * Signals interrupt system calls, and reads and writes transfer less than they were asked to. The
 * functions below stand before the C library's and liburing's: half of all calls answer EINTR
 * before they do anything, half of all long transfers are cut short. Nobody may notice: random work
 * on the real file system goes as its model does, in both io modes, through the page cache and past
 * it. TERN_ROUNDS is the number of databases for each of the four.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/uio.h>
#include <unistd.h>
#ifdef TERN_HAVE_LIBURING
#include <liburing.h>
#endif

#include "support/check.h"
#include "support/cmocka_test.h"
#include "support/random_workload.h"
#include "support/seeded_random.h"
#include "support/temporary_directory.h"

#define STEPS_PER_LIFE 60
#define LIVES          3
/* What a device transfers is cut into whole pieces only. */
#define PIECE_BYTES 4096u

enum call {
    CALL_OPEN,
    CALL_READ,
    CALL_PREAD,
    CALL_PWRITE,
    CALL_PWRITEV2,
    CALL_SYNC,
    CALL_TRUNCATE,
    CALL_ALLOCATE,
    CALL_LOCK,
    CALL_RING_ENTER,
    CALL_RING_RESULT,
    CALL_KINDS
};
static const char *const call_names[CALL_KINDS] = {
    "open",
    "read",
    "pread",
    "pwrite",
    "pwritev2",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "flock",
    "io_uring_enter",
    "completion of a ring",
};

/* The work is done by one thread; others, if any, are left alone. */
static _Thread_local bool is_armed;
static struct seeded_random dice;
static uint64_t interrupted[CALL_KINDS];
static uint64_t shortened[CALL_KINDS];

static bool strikes(enum call call) {
    if (!is_armed || !seeded_random_chance(&dice, 1, 2)) {
        return false;
    }
    interrupted[call]++;
    return true;
}

/* True with errno set: the call is to fail. */
static bool interrupts(enum call call) {
    bool is_struck = strikes(call);
    if (is_struck) {
        errno = EINTR;
    }
    return is_struck;
}

/* So many bytes are to be transferred of those asked for. */
static size_t cut(enum call call, int descriptor, size_t size) {
    bool is_direct = (fcntl(descriptor, F_GETFL) & O_DIRECT) != 0;
    size_t piece = is_direct ? PIECE_BYTES : 1;
    if (!is_armed || size <= piece || !seeded_random_chance(&dice, 1, 2)) {
        return size;
    }
    shortened[call]++;
    return (1 + (size_t)seeded_random_below(&dice, (size - 1) / piece)) * piece;
}

/* ISO C has no conversion from an object's pointer to a function's. */
#define REAL(name)                                                                                 \
    static union {                                                                                 \
        void *object;                                                                              \
        __typeof__(&name) function;                                                                \
    } real;                                                                                        \
    if (real.object == NULL) {                                                                     \
        real.object = dlsym(RTLD_NEXT, #name);                                                     \
        CHECK(real.object != NULL);                                                                \
    }

int open(const char *path, int flags, ...) {
    REAL(open)
    va_list arguments;
    va_start(arguments, flags);
    int mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, int) : 0;
    va_end(arguments);
    return interrupts(CALL_OPEN) ? -1 : real.function(path, flags, mode);
}

ssize_t read(int descriptor, void *buffer, size_t size) {
    REAL(read)
    return interrupts(CALL_READ) ? -1 : real.function(descriptor, buffer, size);
}

ssize_t pread(int descriptor, void *buffer, size_t size, off_t offset) {
    REAL(pread)
    return interrupts(CALL_PREAD)
               ? -1
               : real.function(descriptor, buffer, cut(CALL_PREAD, descriptor, size), offset);
}

ssize_t pwrite(int descriptor, const void *buffer, size_t size, off_t offset) {
    REAL(pwrite)
    return interrupts(CALL_PWRITE)
               ? -1
               : real.function(descriptor, buffer, cut(CALL_PWRITE, descriptor, size), offset);
}

ssize_t pwritev2(int descriptor, const struct iovec *parts, int count, off_t offset, int flags) {
    REAL(pwritev2)
    if (interrupts(CALL_PWRITEV2)) {
        return -1;
    }
    struct iovec first = parts[0];
    CHECK(count == 1);
    first.iov_len = cut(CALL_PWRITEV2, descriptor, first.iov_len);
    return real.function(descriptor, &first, 1, offset, flags);
}

int fdatasync(int descriptor) {
    REAL(fdatasync)
    return interrupts(CALL_SYNC) ? -1 : real.function(descriptor);
}

int fsync(int descriptor) {
    REAL(fsync)
    return interrupts(CALL_SYNC) ? -1 : real.function(descriptor);
}

int ftruncate(int descriptor, off_t size) {
    REAL(ftruncate)
    return interrupts(CALL_TRUNCATE) ? -1 : real.function(descriptor, size);
}

int fallocate(int descriptor, int mode, off_t offset, off_t size) {
    REAL(fallocate)
    return interrupts(CALL_ALLOCATE) ? -1 : real.function(descriptor, mode, offset, size);
}

int flock(int descriptor, int operation) {
    REAL(flock)
    return interrupts(CALL_LOCK) ? -1 : real.function(descriptor, operation);
}

#ifdef TERN_HAVE_LIBURING

int io_uring_submit(struct io_uring *ring) {
    REAL(io_uring_submit)
    return strikes(CALL_RING_ENTER) ? -EINTR : real.function(ring);
}

/* The kernel has done the work; it says less than it did, or that it was interrupted. */
static void tamper(struct io_uring *ring) {
    struct io_uring_cqe *entry;
    unsigned position;
    io_uring_for_each_cqe(ring, position, entry) {
        if (entry->res >= 0 && entry->user_data != 0 && strikes(CALL_RING_RESULT)) {
            bool is_long = entry->res >= (int)(2 * PIECE_BYTES);
            entry->res = is_long && seeded_random_chance(&dice, 1, 2) ? (int)PIECE_BYTES : -EINTR;
        }
    }
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned least) {
    REAL(io_uring_submit_and_wait)
    if (strikes(CALL_RING_ENTER)) {
        return -EINTR;
    }
    /* What has been looked at before is not seen again, so it is not told twice otherwise. */
    int result = real.function(ring, least);
    if (is_armed && result >= 0) {
        tamper(ring);
    }
    return result;
}

#endif

struct life {
    uint64_t seed;
    struct random_workload work;
    struct virtual_clock clock;
    struct step_executor *executor;
    struct seeded_random_source *random;
    char *directory;
    tern_db_options options;
};

static void begin(struct life *life, uint64_t seed, bool is_buffered, tern_io_mode mode) {
    *life = (struct life){.seed = seed, .options = TERN_DB_OPTIONS_INIT};
    random_workload_init(&life->work, seed);
    virtual_clock_init(&life->clock);
    life->executor = step_executor_create(seed, &life->clock);
    life->random = seeded_random_source_create(seed);
    life->directory = temporary_directory_create();
    life->work.executor = life->executor;
    life->work.clock = &life->clock;
    life->work.allows_compact = true;
    life->work.allows_convert = true;
    random_workload_options(&life->options);
    life->options.buffered_io = is_buffered;
    life->options.io_mode = mode;
    life->options.clock = virtual_clock_interface(&life->clock);
    life->options.random = seeded_random_source_interface(life->random);
    life->options.executor = step_executor_interface(life->executor);
    seeded_random_init(&dice, seed);
}

static void end(struct life *life) {
    random_workload_release(&life->work);
    seeded_random_source_destroy(life->random);
    step_executor_destroy(life->executor);
    temporary_directory_remove(life->directory);
}

static void ok(const struct life *life, const char *what, tern_status status,
               const tern_error *error) {
    if (status != TERN_OK) {
        is_armed = false;
        print_error("TERN_SEED=%llu: %s: %s\n", (unsigned long long)life->seed, what,
                    error->message);
        fail();
    }
}

static bool tell(void *context, const tern_finding *finding) {
    const struct life *life = context;
    print_error("TERN_SEED=%llu: verify: %s at %lld: %s: %s\n", (unsigned long long)life->seed,
                finding->file, (long long)finding->offset, finding->invariant, finding->message);
    return true;
}

/* Opens what the life before left, compares, works, verifies, closes. */
static void live(struct life *life) {
    char difference[600] = "";
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report found;
    is_armed = true;
    ok(life, "open", tern_open(life->directory, &life->options, &db, &error), &error);
    life->work.durable = life->work.history.count - 1;
    bool is_found = random_workload_find_state(&life->work, db, difference, sizeof(difference));
    if (!is_found) {
        is_armed = false;
        print_error("TERN_SEED=%llu: %s\n", (unsigned long long)life->seed, difference);
    }
    assert_true(is_found);
    for (unsigned i = 0; i < STEPS_PER_LIFE; i++) {
        bool goes_on = random_workload_step(&life->work, db);
        ok(life, "a step", goes_on ? TERN_OK : life->work.error.status, &life->work.error);
    }
    ok(life, "verify", tern_verify(db, tell, life, NULL, NULL, &found, &error), &error);
    is_armed = false;
    assert_int_equal(found.findings, 0);
    is_armed = true;
    ok(life, "close", tern_close(db, &error), &error);
    is_armed = false;
}

static uint64_t rounds(void) {
    const char *given = getenv("TERN_ROUNDS");
    return given != NULL ? strtoull(given, NULL, 10) : 4;
}

static void work_under_interruptions(const char *name, bool is_buffered, tern_io_mode mode) {
    uint64_t seed = seeded_random_seed(name);
    for (uint64_t round = 0; round < rounds(); round++) {
        struct life life;
        begin(&life, seed + round, is_buffered, mode);
        for (unsigned i = 0; i < LIVES; i++) {
            live(&life);
        }
        end(&life);
    }
}

static void interruptions_are_not_noticed_by_plain_calls(void **state) {
    (void)state;
    work_under_interruptions("plain, direct", false, TERN_IO_MODE_PLAIN);
    work_under_interruptions("plain, buffered", true, TERN_IO_MODE_PLAIN);
}

static void interruptions_are_not_noticed_by_rings(void **state) {
    (void)state;
#ifdef TERN_HAVE_LIBURING
    struct io_uring ring;
    if (io_uring_queue_init(1, &ring, 0) != 0) {
        skip();
    }
    io_uring_queue_exit(&ring);
    work_under_interruptions("ring, direct", false, TERN_IO_MODE_RING);
    work_under_interruptions("ring, buffered", true, TERN_IO_MODE_RING);
#else
    skip();
#endif
}

static void every_kind_of_call_was_interrupted(void **state) {
    (void)state;
    for (unsigned i = 0; i < CALL_KINDS; i++) {
        print_message("%s: %llu interrupted, %llu cut short\n", call_names[i],
                      (unsigned long long)interrupted[i], (unsigned long long)shortened[i]);
    }
    for (unsigned i = 0; i < CALL_RING_ENTER; i++) {
        assert_true(interrupted[i] > 0);
    }
    assert_true(shortened[CALL_PREAD] > 0);
    assert_true(shortened[CALL_PWRITE] > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interruptions_are_not_noticed_by_plain_calls),
        cmocka_unit_test(interruptions_are_not_noticed_by_rings),
        cmocka_unit_test(every_kind_of_call_was_interrupted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
