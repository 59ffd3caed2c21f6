/* SPDX-License-Identifier: Apache-2.0 */
/* Segments written past the page cache: when they are used, and what holds in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "fault_file_system.h"
#include "log_fixture.h"

#define SYNCS 3u

static struct log_stats stats_of(const struct fixture *f) {
    struct log_stats stats;
    log_get_stats(f->log, &stats);
    return stats;
}

static void commit(struct fixture *f, uint64_t number) {
    fixture_append_range(f, number, number + 1);
    assert_int_equal(log_sync_group(f->log, &f->error), TERN_OK);
}

static void prepare(struct fixture *f) {
    while (log_wants_prepare(f->log)) {
        assert_int_equal(log_prepare(f->log, &f->error), TERN_OK);
    }
}

/* An open log that has just become direct; the number of the next record. */
static uint64_t make_direct(struct fixture *f) {
    fixture_init(f, 7);
    f->options.direct_syncs = SYNCS;
    fixture_reopen(f);
    prepare(f);
    uint64_t number = 0;
    for (; number <= SYNCS; number++) {
        assert_true(stats_of(f).is_mapped);
        commit(f, number);
    }
    assert_false(stats_of(f).is_mapped);
    assert_int_equal(stats_of(f).segment_switches, 1);
    return number;
}

static void expect_records(struct fixture *f, uint64_t count) {
    fixture_reopen(f);
    assert_true(f->is_in_order);
    assert_int_equal(f->visited, count);
    assert_true(count == 0 || f->first == 0);
}

static void commits_synced_in_a_row_become_single_writes(void **state) {
    (void)state;
    struct fixture f;
    uint64_t number = make_direct(&f);
    uint64_t writes = fault_file_system_calls(f.faults, FAULT_WRITE);
    uint64_t syncs = fault_file_system_calls(f.faults, FAULT_SYNC);
    for (int i = 0; i < 50; i++) {
        commit(&f, number++);
    }
    assert_int_equal(stats_of(&f).direct_syncs, 50);
    assert_int_equal(fault_file_system_calls(f.faults, FAULT_WRITE) - writes, 50);
    assert_int_equal(fault_file_system_calls(f.faults, FAULT_SYNC) - syncs, 50);
    fixture_discard(&f);
    fixture_cut(&f, POWER_CUT_KEEP_NOTHING, 1);
    expect_records(&f, number);
    fixture_release(&f);
}

static void direct_segments_follow_each_other(void **state) {
    (void)state;
    struct fixture f;
    uint64_t number = make_direct(&f);
    while (stats_of(&f).segment_switches < 6) {
        prepare(&f);
        commit(&f, number++);
    }
    assert_false(stats_of(&f).is_mapped);
    assert_true(stats_of(&f).direct_syncs > number * 9 / 10);
    fixture_discard(&f);
    fixture_cut(&f, POWER_CUT_KEEP_NOTHING, 1);
    expect_records(&f, number);
    fixture_release(&f);
}

static void what_is_kept_without_a_sync_survives_the_process(void **state) {
    (void)state;
    struct fixture f;
    uint64_t number = make_direct(&f);
    fixture_append_range(&f, number, number + 20);
    assert_int_equal(log_keep(f.log, &f.error), TERN_OK);
    fixture_append_range(&f, number + 20, number + 25); /* told to nobody */
    fixture_discard(&f);
    fixture_cut(&f, POWER_CUT_KEEP_EVERYTHING, 1);
    fixture_reopen(&f);
    assert_true(f.is_in_order && f.visited >= number + 20 && f.visited <= number + 25);
    fixture_release(&f);
}

static void commits_that_are_not_synced_go_back_to_mapped_segments(void **state) {
    (void)state;
    struct fixture f;
    uint64_t number = make_direct(&f);
    assert_false(log_wants_prepare(f.log)); /* there is time */
    fixture_append_range(&f, number, number + 1);
    assert_int_equal(log_keep(f.log, &f.error), TERN_OK);
    assert_true(log_wants_prepare(f.log));
    prepare(&f);
    assert_false(stats_of(&f).is_mapped);
    fixture_append_range(&f, number + 1, number + 2);
    assert_true(stats_of(&f).is_mapped);
    number += 2;
    /* It had not been worth it: twice as many are asked for. */
    prepare(&f);
    for (unsigned i = 0; i < 2 * SYNCS; i++) {
        commit(&f, number++);
        assert_true(stats_of(&f).is_mapped);
    }
    commit(&f, number++);
    assert_false(stats_of(&f).is_mapped);
    fixture_discard(&f);
    fixture_cut(&f, POWER_CUT_KEEP_NOTHING, 1);
    expect_records(&f, number);
    fixture_release(&f);
}

static void without_a_spare_the_segment_goes_on_and_keeps(void **state) {
    (void)state;
    struct fixture f;
    uint64_t number = make_direct(&f);
    uint64_t switches = stats_of(&f).segment_switches;
    for (int i = 0; i < 10; i++) {
        fixture_append_range(&f, number, number + 1);
        number++;
        assert_int_equal(log_keep(f.log, &f.error), TERN_OK);
    }
    assert_int_equal(stats_of(&f).segment_switches, switches);
    assert_int_equal(stats_of(&f).inline_prepares, 0);
    /* Part of the segment is written and not durable: a sync is one of the file. */
    uint64_t direct_syncs = stats_of(&f).direct_syncs;
    commit(&f, number++);
    assert_int_equal(stats_of(&f).direct_syncs, direct_syncs);
    commit(&f, number++);
    assert_int_equal(stats_of(&f).direct_syncs, direct_syncs + 1);
    fixture_discard(&f);
    fixture_cut(&f, POWER_CUT_KEEP_NOTHING, 1);
    expect_records(&f, number);
    fixture_release(&f);
}

static void a_reader_sees_what_is_in_memory_alone(void **state) {
    (void)state;
    struct fixture f;
    struct log_reader *reader;
    size_t visited;
    uint64_t number = make_direct(&f);
    fixture_append_range(&f, number, number + 30);
    assert_int_equal(log_reader_open(f.log, 0, &reader, &f.error), TERN_OK);
    fixture_forget_visits(&f);
    assert_int_equal(
        log_reader_next(reader, UINT64_MAX, SIZE_MAX, fixture_visit, &f, &visited, &f.error),
        TERN_OK);
    assert_true(f.is_in_order);
    assert_int_equal(f.visited, number + 30);
    log_reader_close(reader);
    fixture_release(&f);
}

static void a_failed_durable_write_poisons_for_good(void **state) {
    (void)state;
    struct fixture f;
    uint64_t number = make_direct(&f);
    for (int i = 0; i < 5; i++) {
        commit(&f, number++);
    }
    log_position durable = log_durable_position(f.log);
    fixture_append_range(&f, number, number + 1);
    power_cut_fail_sync(f.disk, 1);
    assert_int_equal(log_sync_group(f.log, &f.error), TERN_UNKNOWN);
    assert_true(log_is_poisoned(f.log));
    assert_true(log_durable_position(f.log) == durable);
    assert_int_equal(log_sync_group(f.log, &f.error), TERN_POISONED);
    assert_int_equal(log_write_out(f.log, &f.error), TERN_POISONED);
    assert_int_equal(fixture_append(&f, number, NULL), TERN_POISONED);
    struct log *log = f.log;
    f.log = NULL;
    assert_int_equal(log_close(log, &f.error), TERN_POISONED);
    fixture_cut(&f, POWER_CUT_KEEP_NOTHING, 1);
    expect_records(&f, number);
    fixture_release(&f);
}

/* The header of a next segment may be on disk and the seal that leads to it not. */
static void a_segment_that_was_begun_and_not_reached_is_superseded(void **state) {
    (void)state;
    struct fixture f;
    struct fault_plan half = {.kinds = FAULT_WRITE, .nth = 1, .short_write = true};
    fixture_init(&f, 13);
    f.options.direct_syncs = 1;
    fixture_reopen(&f);
    prepare(&f);
    commit(&f, 0);
    assert_int_equal(log_mark(f.log, &f.error), TERN_OK);
    fault_file_system_arm(f.faults, &half);
    assert_int_equal(fixture_append(&f, 1, NULL), TERN_POISONED);
    fault_file_system_disarm(f.faults);
    fixture_discard(&f);
    for (uint64_t number = 1; number < 5; number++) {
        expect_records(&f, number);
        commit(&f, number);
        fixture_discard(&f);
    }
    fixture_release(&f);
}

static tern_status visit_large(void *context, const struct log_record *record, tern_error *error) {
    size_t *bytes = context;
    (void)error;
    if (record->kind == LOG_RECORD_CHUNK) {
        for (size_t i = 0; i < record->payload_size; i++) {
            if (record->payload[i] != (uint8_t)(i * 13)) {
                return TERN_CORRUPTION;
            }
        }
        *bytes += record->payload_size;
    }
    return TERN_OK;
}

/* Larger than the buffer of a direct segment, with and without a spare to leave it for. */
static void large_records_are_taken_whole(void **state) {
    (void)state;
    for (int round = 0; round < 2; round++) {
        struct fixture f;
        size_t size = (size_t)400 << 10;
        fixture_init(&f, 9);
        f.options.direct_syncs = 1;
        f.options.segment_bytes = (uint64_t)2 << 20;
        f.options.reserve_segments = round == 0 ? 1 : 3;
        fixture_reopen(&f);
        prepare(&f);
        commit(&f, 0);
        commit(&f, 1);
        assert_false(stats_of(&f).is_mapped);
        for (int i = 0; i < 2; i++) {
            uint8_t *payload;
            assert_int_equal(log_begin(f.log, LOG_RECORD_CHUNK, size, &payload, &f.error), TERN_OK);
            for (size_t k = 0; k < size; k++) {
                payload[k] = (uint8_t)(k * 13);
            }
            assert_int_equal(log_end(f.log, size, NULL, &f.error), TERN_OK);
        }
        assert_int_equal(stats_of(&f).is_mapped, round == 1);
        assert_int_equal(log_sync_group(f.log, &f.error), TERN_OK);
        fixture_discard(&f);
        fixture_cut(&f, POWER_CUT_KEEP_NOTHING, 1);
        size_t bytes = 0;
        struct log_recovery recovery;
        struct log *log;
        assert_int_equal(
            log_open(&f.options, 0, 0, false, visit_large, &bytes, &recovery, &log, &f.error),
            TERN_OK);
        assert_int_equal(bytes, 2 * size);
        log_discard(log);
        fixture_release(&f);
    }
}

/* A file system that answers TERN_OPEN_DIRECT as those in memory do. */
struct indirect {
    tern_file_system interface;
    const tern_file_system *inner;
};

static tern_status open_indirect(void *context, const char *path, uint32_t flags,
                                 tern_file **out_file, tern_error *error) {
    struct indirect *indirect = context;
    const tern_file_system *inner = indirect->inner;
    return inner->open(inner->context, path, flags & ~(uint32_t)TERN_OPEN_DIRECT, out_file, error);
}

/* The functions of the wrapped system find its context in their own first argument. */
static tern_status pass_list(void *context, const char *path, tern_list_visitor visit,
                             void *visit_context, tern_error *error) {
    struct indirect *indirect = context;
    return indirect->inner->list(indirect->inner->context, path, visit, visit_context, error);
}

static tern_status pass_sync_directory(void *context, const char *path, tern_error *error) {
    struct indirect *indirect = context;
    return indirect->inner->sync_directory(indirect->inner->context, path, error);
}

static tern_status pass_remove(void *context, const char *path, tern_error *error) {
    struct indirect *indirect = context;
    return indirect->inner->remove(indirect->inner->context, path, error);
}

static void stays_mapped_where_direct_writes_are_refused(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, 11);
    struct indirect indirect = {.inner = f.options.file_system};
    indirect.interface = (tern_file_system){.context = &indirect,
                                            .open = open_indirect,
                                            .list = pass_list,
                                            .sync_directory = pass_sync_directory,
                                            .remove = pass_remove};
    f.options.direct_syncs = 1;
    f.options.file_system = &indirect.interface;
    fixture_reopen(&f);
    prepare(&f);
    for (uint64_t number = 0; number < 20; number++) {
        commit(&f, number);
    }
    assert_true(stats_of(&f).is_mapped);
    assert_int_equal(stats_of(&f).segment_switches, 0);
    assert_int_equal(stats_of(&f).direct_syncs, 0);
    fixture_discard(&f);
    f.options.file_system = indirect.inner;
    expect_records(&f, 20);
    fixture_release(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commits_synced_in_a_row_become_single_writes),
        cmocka_unit_test(direct_segments_follow_each_other),
        cmocka_unit_test(what_is_kept_without_a_sync_survives_the_process),
        cmocka_unit_test(commits_that_are_not_synced_go_back_to_mapped_segments),
        cmocka_unit_test(without_a_spare_the_segment_goes_on_and_keeps),
        cmocka_unit_test(a_reader_sees_what_is_in_memory_alone),
        cmocka_unit_test(a_failed_durable_write_poisons_for_good),
        cmocka_unit_test(a_segment_that_was_begun_and_not_reached_is_superseded),
        cmocka_unit_test(large_records_are_taken_whole),
        cmocka_unit_test(stays_mapped_where_direct_writes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
