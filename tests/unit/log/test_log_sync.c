/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads sync while one appends and another prepares and releases, on the real file system.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "log_fixture.h"
#include "os/mutex.h"
#include "os/pages.h"
#include "temporary_directory.h"

#define SYNCERS 8
#define RECORDS 6000u

struct crowd {
    struct log *log;
    bool goes_direct; /* and back */
    struct mutex append_lock;
    uint64_t next; /* under append_lock */
    _Atomic bool is_done;
    _Atomic uint64_t acknowledged;
    _Atomic uint64_t failures;
};

/* As the commit pipeline does: the log sees bursts of synced groups, and others in between. */
static tern_status conclude_group(struct crowd *crowd, uint64_t number) {
    if (number % 256 < 160) {
        return number % 4 == 0 ? log_sync_group(crowd->log, NULL) : TERN_OK;
    }
    return number % 32 == 0 ? log_keep(crowd->log, NULL) : TERN_OK;
}

static tern_status append_next(struct crowd *crowd, log_position *out_end) {
    mutex_lock(&crowd->append_lock);
    uint64_t number = crowd->next;
    uint8_t *payload;
    size_t size = fixture_payload_bytes(number);
    tern_status status = number < RECORDS
                             ? log_begin(crowd->log, LOG_RECORD_COMMIT, size, &payload, NULL)
                             : TERN_CLOSED;
    if (status == TERN_OK) {
        fixture_fill(number, payload, size);
        status = log_end(crowd->log, size, out_end, NULL);
        crowd->next += status == TERN_OK;
    }
    if (status == TERN_OK && crowd->goes_direct) {
        status = conclude_group(crowd, number);
    }
    mutex_unlock(&crowd->append_lock);
    return status;
}

static void *append_and_sync(void *context) {
    struct crowd *crowd = context;
    log_position end;
    tern_status status;
    while ((status = append_next(crowd, &end)) == TERN_OK) {
        if (log_sync(crowd->log, end, NULL) != TERN_OK || log_durable_position(crowd->log) < end) {
            atomic_fetch_add(&crowd->failures, 1);
        }
        atomic_fetch_add(&crowd->acknowledged, 1);
    }
    if (status != TERN_CLOSED) {
        atomic_fetch_add(&crowd->failures, 1);
    }
    return NULL;
}

static void *maintain(void *context) {
    struct crowd *crowd = context;
    struct log_stats stats;
    while (!atomic_load(&crowd->is_done)) {
        bool ok = true;
        log_touch_ahead(crowd->log);
        if (log_wants_prepare(crowd->log)) {
            ok = log_prepare(crowd->log, NULL) == TERN_OK;
        }
        ok = ok && log_release(crowd->log, log_durable_position(crowd->log), NULL) == TERN_OK;
        log_get_stats(crowd->log, &stats);
        if (!ok || log_start_position(crowd->log) > log_end_position(crowd->log)) {
            atomic_fetch_add(&crowd->failures, 1);
        }
        (void)sched_yield();
    }
    return NULL;
}

struct follower {
    struct crowd *crowd;
    struct log_reader *reader;
    uint64_t expected;
};

static tern_status follow_visit(void *context, const struct log_record *record, tern_error *error) {
    struct follower *follower = context;
    (void)error;
    if (record->kind == LOG_RECORD_COMMIT && fixture_number(record) != follower->expected++) {
        atomic_fetch_add(&follower->crowd->failures, 1);
    }
    return TERN_OK;
}

static void *follow(void *context) {
    struct follower *follower = context;
    struct crowd *crowd = follower->crowd;
    bool last = false;
    for (;;) {
        size_t visited;
        last = atomic_load(&crowd->is_done);
        log_position limit = crowd->goes_direct ? UINT64_MAX : log_durable_position(crowd->log);
        if (log_reader_next(follower->reader, limit, 64, follow_visit, follower, &visited, NULL) !=
            TERN_OK) {
            atomic_fetch_add(&crowd->failures, 1);
            break;
        }
        if (last && visited == 0) {
            break;
        }
        (void)sched_yield();
    }
    return NULL;
}

static void run_crowd(bool goes_direct) {
    struct fixture f;
    fixture_init(&f, 31);
    char *directory = temporary_directory_create();
    f.options.directory = directory;
    f.options.file_system = tern_file_system_default();
    f.options.direct_syncs = 2;
    fixture_reopen(&f);
    struct crowd crowd = {.log = f.log, .goes_direct = goes_direct};
    struct follower follower = {.crowd = &crowd};
    mutex_init(&crowd.append_lock);
    assert_int_equal(log_reader_open(f.log, 0, &follower.reader, &f.error), TERN_OK);
    pthread_t threads[SYNCERS];
    pthread_t maintainer;
    pthread_t reader;
    assert_int_equal(pthread_create(&maintainer, NULL, maintain, &crowd), 0);
    assert_int_equal(pthread_create(&reader, NULL, follow, &follower), 0);
    for (int i = 0; i < SYNCERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, append_and_sync, &crowd), 0);
    }
    for (int i = 0; i < SYNCERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    atomic_store(&crowd.is_done, true);
    assert_int_equal(pthread_join(maintainer, NULL), 0);
    assert_int_equal(pthread_join(reader, NULL), 0);
    assert_int_equal(crowd.failures, 0);
    assert_int_equal(crowd.acknowledged, RECORDS);
    assert_int_equal(follower.expected, RECORDS);
    struct log_stats stats;
    log_get_stats(f.log, &stats);
    assert_true(stats.syncs < RECORDS);
    assert_true(stats.recycled_segments > 0);
    assert_true(goes_direct || stats.direct_syncs == 0);
    log_reader_close(follower.reader);
    log_position start = log_start_position(f.log);
    fixture_close(&f);
    assert_int_equal(fixture_open(&f, start, false), TERN_OK);
    assert_true(f.is_in_order);
    assert_int_equal(f.last, RECORDS - 1);
    fixture_discard(&f);
    mutex_destroy(&crowd.append_lock);
    temporary_directory_remove(directory);
    fixture_release(&f);
}

static void eight_threads_share_syncs_while_segments_come_and_go(void **state) {
    (void)state;
    run_crowd(false);
}

static void so_they_do_while_the_log_becomes_direct_and_mapped_again(void **state) {
    (void)state;
    run_crowd(true);
}

static uint64_t faults_of_appending(struct log *log, size_t bytes) {
    uint64_t before = pages_fault_count();
    for (size_t done = 0; done < bytes; done += 1024) {
        uint8_t *payload;
        assert_int_equal(log_begin(log, LOG_RECORD_COMMIT, 1000, &payload, NULL), TERN_OK);
        memset(payload, 1, 1000);
        assert_int_equal(log_end(log, 1000, NULL, NULL), TERN_OK);
    }
    return pages_fault_count() - before;
}

static void appends_to_touched_memory_wait_for_no_page(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, 34);
    char *directory = temporary_directory_create();
    f.options.directory = directory;
    f.options.file_system = tern_file_system_default();
    f.options.segment_bytes = 8 << 20;
    fixture_reopen(&f);
    uint64_t stage = log_stage(f.log);
    log_touch_ahead(f.log); /* nothing has been appended: it is not worth it */
    uint64_t untouched = faults_of_appending(f.log, 6 * LOG_STAGE_BYTES);
    assert_true(log_stage(f.log) >= stage + 6);
    assert_int_equal(log_stage_segment(log_stage(f.log)), log_stage_segment(stage));
    log_touch_ahead(f.log);
    uint64_t touched = faults_of_appending(f.log, LOG_STAGE_BYTES);
    struct log_stats stats;
    log_get_stats(f.log, &stats);
    /* Sanitizers have pages of their own. Not where nothing is mapped, or a fault brings several.
     */
    uint64_t stage_pages = LOG_STAGE_BYTES / 4096;
    if (stats.is_mapped && untouched >= 6 * stage_pages) {
        assert_true(touched + stage_pages / 2 < untouched / 6);
    }
    fixture_close(&f);
    temporary_directory_remove(directory);
    fixture_release(&f);
}

/* The file system below, and what of its files is not needed any more. */
static const tern_file_system *inner_system;
static tern_file_methods telling_methods;
static uint64_t sent_segments;

static void note_advice(tern_file *file, uint64_t offset, uint64_t size, bool will_need) {
    (void)file;
    assert_false(will_need);
    assert_int_equal(offset, 0);
    assert_int_equal(size, FIXTURE_SEGMENT_BYTES);
    sent_segments++;
}

static tern_status open_telling(void *context, const char *path, uint32_t flags,
                                tern_file **out_file, tern_error *error) {
    tern_status status = inner_system->open(context, path, flags, out_file, error);
    if (status == TERN_OK) {
        telling_methods = *(*out_file)->methods;
        telling_methods.advise = note_advice;
        (*out_file)->methods = &telling_methods;
    }
    return status;
}

static void finished_segments_are_sent_to_the_device_where_no_sync_does_that(void **state) {
    (void)state;
    for (int syncs = 0; syncs < 2; syncs++) {
        struct fixture f;
        fixture_init(&f, 35);
        inner_system = f.options.file_system;
        tern_file_system telling = *inner_system;
        telling.open = open_telling;
        f.options.file_system = &telling;
        fixture_reopen(&f);
        sent_segments = 0;
        uint32_t first = log_position_segment(log_end_position(f.log));
        uint32_t left = 0;
        for (uint64_t number = 0; left < 4; number++) {
            fixture_append_range(&f, number, number + 1);
            if (syncs == 1 && number % 8 == 0) {
                fixture_sync(&f);
            }
            assert_int_equal(log_prepare(f.log, &f.error), TERN_OK);
            left = log_position_segment(log_end_position(f.log)) - first;
        }
        /* In the first something was durable when it was begun; of the others each is told of when
         * it is finished, and when the next one is. */
        assert_int_equal(sent_segments, syncs == 1 ? 0 : 2 * (left - 1) - 1);
        fixture_close(&f);
        fixture_release(&f);
    }
}

struct waiter {
    struct log *log;
    log_position upto;
    tern_status status;
};

static void *wait_for_sync(void *context) {
    struct waiter *waiter = context;
    waiter->status = log_sync(waiter->log, waiter->upto, NULL);
    return NULL;
}

static void a_failed_sync_tells_every_waiter(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, 32);
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 100);
    struct fault_plan plan = {FAULT_SYNC, 1, false, false, TERN_OK, 0};
    fault_file_system_arm(f.faults, &plan);
    struct waiter waiters[SYNCERS];
    pthread_t threads[SYNCERS];
    for (int i = 0; i < SYNCERS; i++) {
        waiters[i] = (struct waiter){f.log, log_end_position(f.log), TERN_OK};
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_sync, &waiters[i]), 0);
    }
    uint64_t unknown = 0;
    for (int i = 0; i < SYNCERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(waiters[i].status == TERN_UNKNOWN || waiters[i].status == TERN_POISONED);
        unknown += waiters[i].status == TERN_UNKNOWN;
    }
    assert_true(unknown >= 1);
    assert_int_equal(fault_file_system_failures(f.faults), 1);
    fixture_release(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_threads_share_syncs_while_segments_come_and_go),
        cmocka_unit_test(so_they_do_while_the_log_becomes_direct_and_mapped_again),
        cmocka_unit_test(appends_to_touched_memory_wait_for_no_page),
        cmocka_unit_test(finished_segments_are_sent_to_the_device_where_no_sync_does_that),
        cmocka_unit_test(a_failed_sync_tells_every_waiter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
