/* SPDX-License-Identifier: Apache-2.0 */
/* Queues of file operations: over the ring, by plain calls, and over a disk that loses power. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/file.h"
#include "os/io_queue.h"
#include "support/cmocka_test.h"
#include "support/power_cut_file_system.h"
#include "support/seeded_random.h"
#include "support/temporary_directory.h"

#define BLOCK 4096u
#define DEPTH 8u

struct fixture {
    char *directory;
    char path[FILE_PATH_BYTES];
    tern_file *file;
    struct io_queue *queue;
    tern_error error;
};

static struct io_queue *open_queue(const tern_file_system *files, bool plain) {
    struct io_queue *queue = NULL;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(io_queue_create(files, tern_allocator_default(), DEPTH, plain, &queue, &error),
              error);
    return queue;
}

static struct fixture *make_fixture(bool plain) {
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const tern_file_system *files = tern_file_system_default();
    fixture->directory = temporary_directory_create();
    assert_int_equal(path_join(fixture->path, fixture->directory, "file", &fixture->error), 0);
    assert_ok(files->open(NULL, fixture->path, TERN_OPEN_CREATE, &fixture->file, &fixture->error),
              fixture->error);
    fixture->queue = open_queue(files, plain);
    return fixture;
}

static void drop_fixture(struct fixture *fixture) {
    io_queue_destroy(fixture->queue);
    assert_ok(file_close(fixture->file, &fixture->error), fixture->error);
    temporary_directory_remove(fixture->directory);
    free(fixture);
}

static struct io_operation operation_on(tern_file *file, tern_io_kind kind, uint64_t block,
                                        void *buffer, tern_error *error) {
    struct io_operation operation = {.io = {.kind = kind,
                                            .file = file,
                                            .offset = block * BLOCK,
                                            .buffer = buffer,
                                            .size = kind == TERN_IO_SYNC ? 0 : BLOCK,
                                            .error = error}};
    atomic_init(&operation.is_complete, true);
    return operation;
}

/* More than the depth at once, waited for in another order. */
static void write_and_read_back(struct fixture *fixture) {
    enum { COUNT = 3 * DEPTH };
    static uint8_t blocks[COUNT][BLOCK];
    static uint8_t found[COUNT][BLOCK];
    struct io_operation operations[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        memset(blocks[i], (int)(i + 1), BLOCK);
        operations[i] = operation_on(fixture->file, TERN_IO_WRITE, i, blocks[i], &fixture->error);
        io_queue_submit(fixture->queue, &operations[i]);
    }
    for (unsigned i = COUNT; i > 0; i--) {
        assert_ok(io_queue_wait(fixture->queue, &operations[i - 1]), fixture->error);
    }
    operations[0] = operation_on(fixture->file, TERN_IO_SYNC, 0, NULL, &fixture->error);
    io_queue_submit(fixture->queue, &operations[0]);
    assert_ok(io_queue_wait(fixture->queue, &operations[0]), fixture->error);
    for (unsigned i = 0; i < COUNT; i++) {
        operations[i] = operation_on(fixture->file, TERN_IO_READ, i, found[i], &fixture->error);
        io_queue_submit(fixture->queue, &operations[i]);
    }
    io_queue_flush(fixture->queue);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_ok(io_queue_wait(fixture->queue, &operations[i]), fixture->error);
        assert_int_equal(operations[i].io.done_bytes, BLOCK);
        assert_memory_equal(found[i], blocks[i], BLOCK);
    }
    tern_io_queue_counts counts = {0};
    io_queue_get_counts(fixture->queue, &counts);
    assert_int_equal(counts.submitted, 2 * COUNT + 1);
    assert_int_equal(counts.completed, 2 * COUNT + 1);
    if (io_queue_is_asynchronous(fixture->queue)) {
        assert_true(counts.batches > 0 && counts.batches < counts.submitted);
    } else {
        assert_int_equal(counts.batches, 0);
    }
}

static bool has_ring(struct fixture *fixture) {
    if (io_queue_is_asynchronous(fixture->queue)) {
        return true;
    }
    print_message("no ring here: %s\n", io_queue_obstacle(fixture->queue)->message);
    assert_int_equal(io_queue_obstacle(fixture->queue)->status, TERN_UNSUPPORTED);
    return false;
}

static void ring_carries_out_more_than_fit_at_once(void **state) {
    (void)state;
    struct fixture *fixture = make_fixture(false);
    if (has_ring(fixture)) {
        write_and_read_back(fixture);
    }
    drop_fixture(fixture);
}

static void plain_calls_do_the_same(void **state) {
    (void)state;
    struct fixture *fixture = make_fixture(true);
    assert_false(io_queue_is_asynchronous(fixture->queue));
    assert_int_equal(io_queue_obstacle(fixture->queue)->status, TERN_OK);
    write_and_read_back(fixture);
    drop_fixture(fixture);
}

static void read_is_short_only_at_the_end_of_the_file(void **state) {
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        struct fixture *fixture = make_fixture(plain != 0);
        static uint8_t bytes[BLOCK];
        assert_ok(file_write(fixture->file, 0, "hello", 5, &fixture->error), fixture->error);
        for (unsigned block = 0; block < 2; block++) {
            struct io_operation read =
                operation_on(fixture->file, TERN_IO_READ, block, bytes, &fixture->error);
            io_queue_submit(fixture->queue, &read);
            assert_ok(io_queue_wait(fixture->queue, &read), fixture->error);
            assert_int_equal(read.io.done_bytes, block == 0 ? 5 : 0);
        }
        drop_fixture(fixture);
    }
}

static void failure_is_told_with_the_files_name(void **state) {
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        struct fixture *fixture = make_fixture(plain != 0);
        static uint8_t bytes[BLOCK];
        tern_file *file = NULL;
        assert_ok(tern_file_system_default()->open(NULL, fixture->path, TERN_OPEN_READ, &file,
                                                   &fixture->error),
                  fixture->error);
        tern_error detail = TERN_ERROR_INIT;
        struct io_operation write = operation_on(file, TERN_IO_WRITE, 3, bytes, &detail);
        io_queue_submit(fixture->queue, &write);
        assert_int_not_equal(io_queue_wait(fixture->queue, &write), TERN_OK);
        assert_string_equal(detail.file, fixture->path);
        assert_int_equal(detail.offset, 3 * BLOCK);
        assert_ok(file_close(file, &fixture->error), fixture->error);
        drop_fixture(fixture);
    }
}

struct submitter {
    struct fixture *fixture;
    struct io_operation writes[DEPTH];
    uint8_t (*blocks)[BLOCK];
};

static void *submit_and_end(void *context) {
    struct submitter *submitter = context;
    for (unsigned i = 0; i < DEPTH; i++) {
        io_queue_submit(submitter->fixture->queue, &submitter->writes[i]);
    }
    io_queue_flush(submitter->fixture->queue);
    return NULL;
}

static void operations_of_a_thread_that_ended_complete(void **state) {
    (void)state;
    static uint8_t blocks[DEPTH][BLOCK];
    static uint8_t found[BLOCK];
    struct fixture *fixture = make_fixture(false);
    struct submitter submitter = {.fixture = fixture, .blocks = blocks};
    for (unsigned round = 0; round < 50; round++) {
        pthread_t thread;
        for (unsigned i = 0; i < DEPTH; i++) {
            memset(blocks[i], (int)(round + i), BLOCK);
            submitter.writes[i] =
                operation_on(fixture->file, TERN_IO_WRITE, i, blocks[i], &fixture->error);
        }
        assert_int_equal(pthread_create(&thread, NULL, submit_and_end, &submitter), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        for (unsigned i = 0; i < DEPTH; i++) {
            assert_ok(io_queue_wait(fixture->queue, &submitter.writes[i]), fixture->error);
            assert_ok(file_read_exact(fixture->file, fixture->path, (uint64_t)i * BLOCK, found,
                                      BLOCK, &fixture->error),
                      fixture->error);
            assert_memory_equal(found, blocks[i], BLOCK);
        }
    }
    drop_fixture(fixture);
}

static void *write_own_blocks(void *context) {
    struct submitter *submitter = context;
    for (unsigned round = 0; round < 200; round++) {
        for (unsigned i = 0; i < DEPTH; i++) {
            io_queue_submit(submitter->fixture->queue, &submitter->writes[i]);
        }
        for (unsigned i = 0; i < DEPTH; i++) {
            if (io_queue_wait(submitter->fixture->queue, &submitter->writes[i]) != TERN_OK) {
                return submitter;
            }
        }
    }
    return NULL;
}

static void threads_share_a_queue(void **state) {
    (void)state;
    enum { THREADS = 3 };
    static uint8_t block[BLOCK];
    struct fixture *fixture = make_fixture(false);
    struct submitter submitters[THREADS];
    pthread_t threads[THREADS];
    for (unsigned t = 0; t < THREADS; t++) {
        submitters[t] = (struct submitter){.fixture = fixture};
        for (unsigned i = 0; i < DEPTH; i++) {
            submitters[t].writes[i] =
                operation_on(fixture->file, TERN_IO_WRITE, t * DEPTH + i, block, NULL);
        }
        assert_int_equal(pthread_create(&threads[t], NULL, write_own_blocks, &submitters[t]), 0);
    }
    for (unsigned t = 0; t < THREADS; t++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[t], &failed), 0);
        assert_null(failed);
    }
    drop_fixture(fixture);
}

/* ---- a system that refuses ---- */

/* From now on the ring's call fails in this thread. False: this system has no filters. */
static bool forbid_the_ring(int reason) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_enter, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)reason),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = {sizeof(program) / sizeof(program[0]), program};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

static void *make_a_queue_under_a_filter(void *context) {
    bool *is_refused = context;
    if (!forbid_the_ring(EPERM)) {
        *is_refused = true;
        return NULL;
    }
    struct io_queue *queue = NULL;
    tern_error error = TERN_ERROR_INIT;
    if (io_queue_create(tern_file_system_default(), tern_allocator_default(), DEPTH, false, &queue,
                        &error) == TERN_OK) {
        *is_refused = !io_queue_is_asynchronous(queue) &&
                      io_queue_obstacle(queue)->status == TERN_UNSUPPORTED;
        io_queue_destroy(queue);
    }
    return NULL;
}

static void a_ring_that_a_filter_forbids_to_use_is_unavailable(void **state) {
    (void)state;
    pthread_t thread;
    bool is_refused = false;
    assert_int_equal(pthread_create(&thread, NULL, make_a_queue_under_a_filter, &is_refused), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(is_refused);
}

/* A file whose reads wait: the end of a pipe. */
struct slow_file {
    tern_file head;
    int descriptors[2];
};

static int slow_descriptor(tern_file *file) {
    return ((struct slow_file *)file)->descriptors[0];
}

struct refused {
    struct fixture *fixture;
    struct io_operation writes[DEPTH / 2];
    struct io_operation *slow;
    int reason;
    bool has_filter, is_right;
};

static void *use_a_queue_under_a_filter(void *context) {
    struct refused *refused = context;
    refused->has_filter = forbid_the_ring(refused->reason);
    if (!refused->has_filter) {
        return NULL;
    }
    refused->is_right = true;
    for (unsigned i = 0; i < DEPTH / 2; i++) {
        io_queue_submit(refused->fixture->queue, &refused->writes[i]);
    }
    io_queue_flush(refused->fixture->queue);
    for (unsigned i = 0; i < DEPTH / 2; i++) {
        refused->is_right &= io_queue_wait(refused->fixture->queue, &refused->writes[i]) == TERN_OK;
    }
    refused->is_right &= io_queue_wait(refused->fixture->queue, refused->slow) == TERN_OK;
    return NULL;
}

/* What one thread has in the kernel completes, whichever thread waits for it; what another one
 * could not give to it is carried out all the same. */
static void a_ring_that_is_refused_later_becomes_plain_and_loses_nothing(void **state) {
    (void)state;
    static const int reasons[] = {EPERM, ENOMEM, ENOSYS};
    static const tern_file_methods slow_methods = {.descriptor = slow_descriptor};
    for (size_t r = 0; r < sizeof(reasons) / sizeof(reasons[0]); r++) {
        static uint8_t blocks[DEPTH][BLOCK];
        static uint8_t found[BLOCK];
        static uint8_t slow_bytes[BLOCK];
        struct fixture *fixture = make_fixture(false);
        struct slow_file slow = {.head = {.methods = &slow_methods, .alignment_bytes = 1}};
        struct refused refused = {.fixture = fixture, .reason = reasons[r]};
        const struct timespec pause = {.tv_nsec = 20000000};
        pthread_t thread;
        if (!has_ring(fixture)) {
            drop_fixture(fixture);
            return;
        }
        assert_int_equal(pipe(slow.descriptors), 0);
        struct io_operation read =
            operation_on(&slow.head, TERN_IO_READ, 0, slow_bytes, &fixture->error);
        refused.slow = &read;
        io_queue_submit(fixture->queue, &read);
        io_queue_flush(fixture->queue);
        for (unsigned i = 0; i < DEPTH; i++) {
            memset(blocks[i], (int)(r * DEPTH + i + 1), BLOCK);
        }
        for (unsigned i = 0; i < DEPTH / 2; i++) {
            refused.writes[i] =
                operation_on(fixture->file, TERN_IO_WRITE, i, blocks[i], &fixture->error);
        }
        assert_int_equal(pthread_create(&thread, NULL, use_a_queue_under_a_filter, &refused), 0);
        (void)nanosleep(&pause, NULL);
        assert_int_equal(write(slow.descriptors[1], blocks[0], BLOCK), BLOCK);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_ok(io_queue_wait(fixture->queue, &read), fixture->error);
        assert_memory_equal(slow_bytes, blocks[0], BLOCK);
        if (refused.has_filter) {
            assert_true(refused.is_right);
            for (unsigned i = DEPTH / 2; i < DEPTH; i++) {
                struct io_operation later =
                    operation_on(fixture->file, TERN_IO_WRITE, i, blocks[i], &fixture->error);
                io_queue_submit(fixture->queue, &later);
                assert_ok(io_queue_wait(fixture->queue, &later), fixture->error);
            }
            for (unsigned i = 0; i < DEPTH; i++) {
                assert_ok(file_read_exact(fixture->file, fixture->path, (uint64_t)i * BLOCK, found,
                                          BLOCK, &fixture->error),
                          fixture->error);
                assert_memory_equal(found, blocks[i], BLOCK);
            }
            tern_io_queue_counts counts = {0};
            io_queue_get_counts(fixture->queue, &counts);
            assert_int_equal(counts.submitted, DEPTH + 1);
            assert_int_equal(counts.completed, DEPTH + 1);
        }
        (void)close(slow.descriptors[0]);
        (void)close(slow.descriptors[1]);
        drop_fixture(fixture);
    }
}

/* ---- power ---- */

/* A write, a sync, and the write waited for before or after the sync; was it there after a cut? */
static bool survives(uint64_t seed, bool waits_first) {
    struct power_cut_file_system *disk = power_cut_create(seed);
    const tern_file_system *files = power_cut_interface(disk);
    struct io_queue *queue = open_queue(files, false);
    tern_error error = TERN_ERROR_INIT;
    static uint8_t block[BLOCK];
    tern_file *file = NULL;
    memset(block, 7, BLOCK);
    assert_true(io_queue_is_asynchronous(queue));
    assert_ok(files->open(files->context, "file", TERN_OPEN_CREATE, &file, &error), error);
    assert_ok(file->methods->truncate(file, BLOCK, &error), error);
    assert_ok(files->sync_directory(files->context, ".", &error), error);
    struct io_operation write = operation_on(file, TERN_IO_WRITE, 0, block, &error);
    io_queue_submit(queue, &write);
    if (waits_first) {
        assert_ok(io_queue_wait(queue, &write), error);
    }
    assert_ok(file_sync(file, &error), error);
    struct power_cut_file_system *later = power_cut_keeping(disk, POWER_CUT_KEEP_NOTHING, seed + 1);
    (void)!io_queue_wait(queue, &write);
    io_queue_destroy(queue);
    (void)!file_close(file, NULL);
    files = power_cut_interface(later);
    assert_ok(files->open(files->context, "file", TERN_OPEN_READ, &file, &error), error);
    uint8_t byte = 0;
    size_t size = 0;
    assert_ok(file_read(file, 0, &byte, 1, &size, &error), error);
    assert_ok(file_close(file, &error), error);
    power_cut_destroy(disk);
    power_cut_destroy(later);
    return size == 1 && byte == 7;
}

static void sync_covers_what_was_waited_for_and_nothing_else(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("io_queue");
    unsigned lucky = 0;
    for (uint64_t i = 0; i < 100; i++) {
        assert_true(survives(seed + i, true));
        lucky += survives(seed + i, false) ? 1 : 0;
    }
    assert_in_range(lucky, 1, 99);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ring_carries_out_more_than_fit_at_once),
        cmocka_unit_test(plain_calls_do_the_same),
        cmocka_unit_test(read_is_short_only_at_the_end_of_the_file),
        cmocka_unit_test(failure_is_told_with_the_files_name),
        cmocka_unit_test(operations_of_a_thread_that_ended_complete),
        cmocka_unit_test(threads_share_a_queue),
        cmocka_unit_test(a_ring_that_a_filter_forbids_to_use_is_unavailable),
        cmocka_unit_test(a_ring_that_is_refused_later_becomes_plain_and_loses_nothing),
        cmocka_unit_test(sync_covers_what_was_waited_for_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
