/* SPDX-License-Identifier: Apache-2.0 */
/* Appending, replay, recycling, disk full, poison: the log as its users see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "log/log_segment.h"
#include "log_fixture.h"

#define SEED 11

static void assert_replayed(const struct fixture *fixture, uint64_t from, uint64_t to) {
    assert_true(fixture->is_in_order);
    assert_int_equal(fixture->visited, to - from);
    if (to > from) {
        assert_int_equal(fixture->first, from);
        assert_int_equal(fixture->last, to - 1);
    }
}

static void replays_what_was_appended_across_many_segments(void **state) {
    (void)state;
    for (int mapped = 0; mapped < 2; mapped++) {
        struct fixture f;
        fixture_init(&f, SEED);
        if (!mapped) {
            fixture_refuse_map(&f);
        }
        fixture_reopen(&f);
        assert_replayed(&f, 0, 0);
        fixture_append_range(&f, 0, 3000);
        struct log_stats stats;
        log_get_stats(f.log, &stats);
        assert_true(stats.segments > 5);
        assert_int_equal(stats.is_mapped, mapped);
        assert_int_equal(stats.appended_records, 3000);
        fixture_close(&f);
        fixture_reopen(&f);
        assert_replayed(&f, 0, 3000);
        assert_true(f.recovery.was_clean);
        assert_int_equal(f.recovery.incarnation, 2);
        fixture_append_range(&f, 3000, 3100);
        fixture_close(&f);
        fixture_reopen(&f);
        assert_replayed(&f, 0, 3100);
        assert_int_equal(f.last_incarnation, 2);
        fixture_release(&f);
    }
}

static void replays_what_was_not_closed(void **state) {
    (void)state;
    for (int mapped = 0; mapped < 2; mapped++) {
        struct fixture f;
        fixture_init(&f, SEED);
        if (!mapped) {
            fixture_refuse_map(&f);
        }
        fixture_reopen(&f);
        uint64_t number = 0;
        for (uint32_t round = 1; round < 8; round++) {
            fixture_append_range(&f, number, number + 500);
            number += 500;
            if (round % 2 == 0) {
                fixture_sync(&f);
                fixture_append_range(&f, number, number + 10);
                number += 10;
            }
            fixture_discard(&f);
            fixture_reopen(&f);
            assert_replayed(&f, 0, number);
            assert_false(f.recovery.was_clean);
            assert_int_equal(f.recovery.incarnation, round + 1);
        }
        fixture_release(&f);
    }
}

static void recycled_segments_never_show_stale_records(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    uint64_t number = 0;
    uint64_t kept = 0;
    log_position release = 0;
    for (int round = 0; round < 12; round++) {
        kept = number;
        release = log_end_position(f.log);
        fixture_append_range(&f, number, number + 700);
        number += 700;
        fixture_sync(&f);
        assert_int_equal(log_release(f.log, release, &f.error), TERN_OK);
        while (log_wants_prepare(f.log)) {
            assert_int_equal(log_prepare(f.log, &f.error), TERN_OK);
        }
        assert_true(log_start_position(f.log) <= release);
        fixture_discard(&f);
        assert_int_equal(fixture_open(&f, release, false), TERN_OK);
        assert_replayed(&f, kept, number);
        struct log_stats stats;
        log_get_stats(f.log, &stats);
        assert_true(stats.segments <= 6);
    }
    fixture_release(&f);
}

/* Bytes are written ahead by whole segments, so the calls tell. */
static uint64_t writes_of_a_fresh_spare(uint32_t prewrite_syncs, unsigned syncs) {
    struct fixture f;
    fixture_init(&f, SEED);
    f.options.prewrite_syncs = prewrite_syncs;
    fixture_reopen(&f);
    while (log_wants_prepare(f.log)) {
        assert_int_equal(log_prepare(f.log, &f.error), TERN_OK);
    }
    uint64_t number = 0;
    for (unsigned i = 0; i < syncs; i++) {
        fixture_append_range(&f, number, number + 1);
        number++;
        fixture_sync(&f);
    }
    while (!log_wants_prepare(f.log)) {
        fixture_append_range(&f, number, number + 1);
        number++;
    }
    uint64_t before = fault_file_system_calls(f.faults, FAULT_WRITE);
    while (log_wants_prepare(f.log)) {
        assert_int_equal(log_prepare(f.log, &f.error), TERN_OK);
    }
    uint64_t writes = fault_file_system_calls(f.faults, FAULT_WRITE) - before;
    log_position release = log_start_position(f.log);
    fixture_sync(&f);
    fixture_discard(&f);
    assert_int_equal(fixture_open(&f, release, false), TERN_OK);
    assert_replayed(&f, 0, number);
    fixture_release(&f);
    return writes;
}

static void fresh_segment_is_written_ahead_only_while_syncs_are_many(void **state) {
    (void)state;
    uint64_t few = writes_of_a_fresh_spare(20, 3);
    uint64_t many = writes_of_a_fresh_spare(20, 40);
    assert_int_equal(writes_of_a_fresh_spare(0, 3), many);
    assert_true(few < many);
}

static void trim_leaves_the_spares_wanted(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 2000);
    fixture_sync(&f);
    assert_int_equal(log_release(f.log, log_end_position(f.log), &f.error), TERN_OK);
    assert_int_equal(log_trim(f.log, &f.error), TERN_OK);
    struct log_stats stats;
    log_get_stats(f.log, &stats);
    unsigned files = 0;
    for (uint32_t id = 1; id < 200; id++) {
        char path[FILE_PATH_BYTES];
        assert_int_equal(log_segment_path(&f.options, id, path, &f.error), TERN_OK);
        files +=
            f.options.file_system->exists(f.options.file_system->context, path, NULL) == TERN_OK;
    }
    assert_int_equal(stats.segments, 1);
    assert_true(files <= 1 + f.options.reserve_segments + 1);
    fixture_append_range(&f, 2000, 4000);
    fixture_release(&f);
}

static void release_recycles_files_and_steady_state_creates_none(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    uint64_t number = 0;
    uint64_t allocations = 0;
    for (int round = 0; round < 40; round++) {
        fixture_append_range(&f, number, number + 400);
        number += 400;
        fixture_sync(&f);
        assert_int_equal(log_release(f.log, log_end_position(f.log), &f.error), TERN_OK);
        while (log_wants_prepare(f.log)) {
            assert_int_equal(log_prepare(f.log, &f.error), TERN_OK);
        }
        if (round == 10) {
            allocations = fault_file_system_calls(f.faults, FAULT_ALLOCATE);
        }
    }
    struct log_stats stats;
    log_get_stats(f.log, &stats);
    assert_int_equal(fault_file_system_calls(f.faults, FAULT_ALLOCATE), allocations);
    assert_true(stats.recycled_segments > 20);
    assert_true(stats.spare_segments <= 4);
    fixture_release(&f);
}

static void names_itself_poisoned_after_a_failed_sync_for_ever(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 10);
    fixture_sync(&f);
    log_position durable = log_durable_position(f.log);
    fixture_append_range(&f, 10, 20);
    power_cut_fail_sync(f.disk, 1);
    uint64_t syncs = power_cut_syncs(f.disk);
    assert_int_equal(log_sync(f.log, log_end_position(f.log), &f.error), TERN_UNKNOWN);
    assert_int_equal(f.error.status, TERN_UNKNOWN);
    assert_true(log_is_poisoned(f.log));
    assert_int_equal(log_sync(f.log, log_end_position(f.log), &f.error), TERN_POISONED);
    assert_int_equal(log_sync(f.log, durable, &f.error), TERN_OK);
    assert_int_equal(fixture_append(&f, 20, NULL), TERN_POISONED);
    assert_int_equal(log_mark(f.log, &f.error), TERN_POISONED);
    assert_int_equal(log_reserve(f.log, 1, 1, &f.error), TERN_POISONED);
    assert_int_equal(log_release(f.log, durable, &f.error), TERN_POISONED);
    assert_true(log_durable_position(f.log) == durable);
    assert_int_equal(power_cut_syncs(f.disk), syncs + 1);
    struct log *log = f.log;
    f.log = NULL;
    assert_int_equal(log_close(log, &f.error), TERN_POISONED);
    /* The process starts again: the page cache shows records that the disk does not have. */
    fixture_reopen(&f);
    assert_replayed(&f, 0, 20);
    fixture_discard(&f);
    fixture_cut(&f, POWER_CUT_KEEP_NOTHING, 1);
    fixture_reopen(&f);
    assert_replayed(&f, 0, 20);
    fixture_release(&f);
}

static void a_failed_write_poisons(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_refuse_map(&f);
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 10);
    struct fault_plan plan = {FAULT_WRITE, 1, false, true, TERN_OK, 0};
    fault_file_system_arm(f.faults, &plan);
    log_position end = log_end_position(f.log);
    assert_int_equal(fixture_append(&f, 10, NULL), TERN_POISONED);
    assert_true(log_end_position(f.log) == end);
    assert_int_equal(fixture_append(&f, 10, NULL), TERN_POISONED);
    fixture_discard(&f);
    fixture_reopen(&f);
    assert_replayed(&f, 0, 10);
    fixture_release(&f);
}

static void a_full_disk_refuses_appends_and_space_lets_them_go_on(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fault_file_system_set_capacity(f.faults, 5 * FIXTURE_SEGMENT_BYTES);
    fixture_reopen(&f);
    uint64_t number = 0;
    tern_status status;
    while ((status = fixture_append(&f, number, NULL)) == TERN_OK) {
        number++;
    }
    assert_int_equal(status, TERN_DISK_FULL);
    assert_false(log_is_poisoned(f.log));
    assert_int_equal(log_reserve(f.log, 50000, 1, &f.error), TERN_DISK_FULL);
    assert_int_equal(fixture_append(&f, number, NULL), TERN_DISK_FULL);
    fixture_sync(&f);
    /* The spare held back still takes marks. */
    struct log_stats stats;
    log_get_stats(f.log, &stats);
    assert_int_equal(stats.spare_segments, 1);
    for (int i = 0; i < 20; i++) {
        uint8_t *payload;
        assert_int_equal(log_begin(f.log, LOG_RECORD_MARK, 16000, &payload, &f.error), TERN_OK);
        log_abandon(f.log);
    }
    assert_int_equal(log_mark(f.log, &f.error), TERN_OK);
    fixture_sync(&f);
    assert_int_equal(log_release(f.log, log_end_position(f.log), &f.error), TERN_OK);
    uint64_t more = number;
    while (more < number + 400 && (status = fixture_append(&f, more, NULL)) == TERN_OK) {
        more++;
    }
    assert_int_equal(status, TERN_OK);
    fixture_release(&f);
}

static void a_crash_on_a_full_disk_is_recovered_with_the_spare_held_back(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fault_file_system_set_capacity(f.faults, 5 * FIXTURE_SEGMENT_BYTES);
    fixture_reopen(&f);
    uint64_t number = 0;
    while (fixture_append(&f, number, NULL) == TERN_OK) {
        number++;
        if (number % 100 == 0) {
            fixture_sync(&f);
        }
    }
    fixture_discard(&f);
    fixture_reopen(&f);
    assert_replayed(&f, 0, number);
    fixture_release(&f);
}

static void reserve_keeps_its_word(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    size_t most = log_payload_bytes_max(f.log);
    for (int round = 0; round < 20; round++) {
        assert_int_equal(log_reserve(f.log, most * 7, 7, &f.error), TERN_OK);
        struct fault_plan plan = {FAULT_ANY & ~(unsigned)FAULT_SYNC, 1, true, false, TERN_OK, 0};
        fault_file_system_arm(f.faults, &plan);
        for (int i = 0; i < 7; i++) {
            uint8_t *payload;
            assert_int_equal(log_begin(f.log, LOG_RECORD_PART, most, &payload, &f.error), TERN_OK);
            memset(payload, i, most);
            assert_int_equal(log_end(f.log, most, NULL, &f.error), TERN_OK);
        }
        fault_file_system_disarm(f.faults);
    }
    uint8_t *payload;
    assert_int_equal(log_begin(f.log, LOG_RECORD_PART, most + 1, &payload, &f.error),
                     TERN_TOO_LARGE);
    fixture_release(&f);
}

static void read_only_writes_nothing_and_refuses_appends(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    assert_int_equal(fixture_open(&f, 0, true), TERN_OK);
    assert_replayed(&f, 0, 0);
    fixture_discard(&f);
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 1500);
    fixture_discard(&f);
    uint64_t changes = fault_file_system_calls(f.faults, FAULT_CHANGES & ~(unsigned)FAULT_OPEN);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(fixture_open(&f, 0, true), TERN_OK);
        assert_replayed(&f, 0, 1500);
        assert_int_equal(fixture_append(&f, 1500, NULL), TERN_READ_ONLY);
        assert_int_equal(log_mark(f.log, &f.error), TERN_READ_ONLY);
        assert_false(log_wants_prepare(f.log));
        assert_int_equal(log_prepare(f.log, &f.error), TERN_OK);
        assert_int_equal(log_release(f.log, log_end_position(f.log), &f.error), TERN_OK);
        fixture_close(&f);
    }
    assert_int_equal(fault_file_system_calls(f.faults, FAULT_CHANGES & ~(unsigned)FAULT_OPEN),
                     changes);
    fixture_release(&f);
}

static tern_status stop_at_seven(void *context, const struct log_record *record,
                                 tern_error *error) {
    (void)error;
    if (record->kind != LOG_RECORD_MARK && fixture_number(record) == 7) {
        return TERN_CANCELLED;
    }
    return fixture_visit(context, record, error);
}

static void readers_follow_and_hold_what_they_have_not_seen(void **state) {
    (void)state;
    for (int mapped = 0; mapped < 2; mapped++) {
        struct fixture f;
        fixture_init(&f, SEED);
        if (!mapped) {
            fixture_refuse_map(&f);
        }
        fixture_reopen(&f);
        struct log_reader *reader;
        size_t visited;
        assert_int_equal(log_reader_open(f.log, log_end_position(f.log), &reader, &f.error),
                         TERN_OK);
        fixture_forget_visits(&f);
        fixture_append_range(&f, 0, 2000);
        assert_int_equal(log_reader_next(reader, log_durable_position(f.log), 100, fixture_visit,
                                         &f, &visited, &f.error),
                         TERN_OK);
        assert_int_equal(visited, 0);
        fixture_sync(&f);
        log_position start = log_start_position(f.log);
        assert_int_equal(log_release(f.log, log_end_position(f.log), &f.error), TERN_OK);
        assert_true(log_start_position(f.log) == start);
        assert_int_equal(log_reader_next(reader, log_durable_position(f.log), 100, stop_at_seven,
                                         &f, &visited, &f.error),
                         TERN_CANCELLED);
        assert_int_equal(visited, 7);
        uint64_t seen = 7;
        do {
            assert_int_equal(log_reader_next(reader, log_durable_position(f.log), 100,
                                             fixture_visit, &f, &visited, &f.error),
                             TERN_OK);
            seen += visited;
        } while (visited > 0);
        assert_int_equal(seen, 2000);
        assert_replayed(&f, 0, 2000);
        assert_int_equal(log_release(f.log, log_end_position(f.log), &f.error), TERN_OK);
        assert_true(log_start_position(f.log) > start);
        struct log_reader *late;
        assert_int_equal(log_reader_open(f.log, start, &late, &f.error), TERN_NOT_FOUND);
        fixture_append_range(&f, 2000, 2003);
        assert_int_equal(
            log_reader_next(reader, UINT64_MAX, 100, fixture_visit, &f, &visited, &f.error),
            TERN_OK);
        assert_int_equal(visited, 3);
        log_reader_close(reader);
        fixture_release(&f);
    }
}

struct archive {
    uint64_t calls;
    uint32_t fail_id; /* refuses this one */
    uint64_t last_id;
    bool is_in_order;
};

static tern_status archive_segment(void *context, const char *path, uint64_t id) {
    struct archive *archive = context;
    (void)path;
    archive->calls++;
    if (id == archive->fail_id) {
        return TERN_IO;
    }
    if (id <= archive->last_id) {
        archive->is_in_order = false;
    }
    archive->last_id = id;
    return TERN_OK;
}

static void the_archive_gets_each_segment_in_order_and_again_when_it_refused(void **state) {
    (void)state;
    struct fixture f;
    struct archive archive = {0, 3, 0, true};
    fixture_init(&f, SEED);
    f.options.archive = archive_segment;
    f.options.archive_context = &archive;
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 3000);
    fixture_sync(&f);
    log_position end = log_end_position(f.log);
    assert_int_equal(log_release(f.log, end, &f.error), TERN_IO);
    assert_int_equal(archive.last_id, 2);
    assert_int_equal(log_position_segment(log_start_position(f.log)), 3);
    /* Neither a restart nor a second refusal loses it; a crash offers the earlier ones again. */
    archive.last_id = 0;
    fixture_discard(&f);
    assert_int_equal(fixture_open(&f, end, false), TERN_OK);
    assert_int_equal(log_release(f.log, end, &f.error), TERN_IO);
    assert_int_equal(log_position_segment(log_start_position(f.log)), 3);
    archive.fail_id = 0;
    assert_int_equal(log_release(f.log, end, &f.error), TERN_OK);
    assert_true(archive.is_in_order);
    assert_int_equal(archive.last_id, log_position_segment(end) - 1);
    fixture_release(&f);
}

static void marks_say_something_only_when_there_is_news(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    log_position end = log_end_position(f.log);
    assert_int_equal(log_mark(f.log, &f.error), TERN_OK);
    fixture_append_range(&f, 0, 3);
    fixture_sync(&f);
    end = log_end_position(f.log);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(log_mark(f.log, &f.error), TERN_OK);
        fixture_sync(&f);
        assert_true(log_end_position(f.log) == end + 24);
    }
    fixture_release(&f);
}

static void an_idle_open_and_close_leaves_the_size_as_it_is(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 10);
    fixture_close(&f);
    fixture_reopen(&f);
    log_position end = log_end_position(f.log);
    fixture_close(&f);
    for (uint32_t i = 0; i < 20; i++) {
        fixture_reopen(&f);
        assert_replayed(&f, 0, 10);
        assert_true(f.recovery.was_clean);
        assert_int_equal(f.recovery.incarnation, i + 3);
        assert_true(log_end_position(f.log) == end);
        fixture_close(&f);
    }
    fixture_release(&f);
}

static void opens_at_a_start_in_the_middle(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    log_position ends[1200];
    for (uint64_t i = 0; i < 1200; i++) {
        assert_int_equal(fixture_append(&f, i, &ends[i]), TERN_OK);
    }
    fixture_sync(&f);
    for (uint64_t i = 0; i < 1200; i += 37) {
        fixture_discard(&f);
        assert_int_equal(fixture_open(&f, ends[i], true), TERN_OK);
        assert_replayed(&f, i + 1, 1200);
    }
    fixture_discard(&f);
    assert_int_equal(fixture_open(&f, ends[1199], false), TERN_OK);
    assert_replayed(&f, 0, 0);
    fixture_append_range(&f, 1200, 1210);
    fixture_discard(&f);
    assert_int_equal(fixture_open(&f, ends[1199], false), TERN_OK);
    assert_replayed(&f, 1200, 1210);
    fixture_discard(&f);
    assert_int_equal(fixture_open(&f, ends[600], false), TERN_OK);
    assert_replayed(&f, 601, 1210);
    fixture_discard(&f);
    assert_int_equal(fixture_open(&f, (log_position)99 << 32 | 4096, false), TERN_CORRUPTION);
    assert_int_equal(fixture_open(&f, ends[600] + 4, false), TERN_CORRUPTION);
    fixture_release(&f);
}

static void smaller_segments_from_now_on_do_not_keep_it_from_opening(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    f.options.segment_bytes = 4 * FIXTURE_SEGMENT_BYTES;
    fixture_reopen(&f);
    uint8_t *payload;
    for (int i = 0; i < 9; i++) {
        assert_int_equal(log_begin(f.log, LOG_RECORD_PART, 60000, &payload, &f.error), TERN_OK);
        memset(payload, i, 60000);
        assert_int_equal(log_end(f.log, 60000, NULL, &f.error), TERN_OK);
    }
    f.options.segment_bytes = FIXTURE_SEGMENT_BYTES;
    for (int round = 0; round < 3; round++) {
        fixture_discard(&f);
        fixture_reopen(&f);
        assert_int_equal(f.visited, 9);
    }
    fixture_append_range(&f, 0, 3000);
    fixture_close(&f);
    fixture_reopen(&f);
    assert_int_equal(f.visited, 3009);
    fixture_release(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replays_what_was_appended_across_many_segments),
        cmocka_unit_test(replays_what_was_not_closed),
        cmocka_unit_test(recycled_segments_never_show_stale_records),
        cmocka_unit_test(fresh_segment_is_written_ahead_only_while_syncs_are_many),
        cmocka_unit_test(trim_leaves_the_spares_wanted),
        cmocka_unit_test(release_recycles_files_and_steady_state_creates_none),
        cmocka_unit_test(names_itself_poisoned_after_a_failed_sync_for_ever),
        cmocka_unit_test(a_failed_write_poisons),
        cmocka_unit_test(a_full_disk_refuses_appends_and_space_lets_them_go_on),
        cmocka_unit_test(a_crash_on_a_full_disk_is_recovered_with_the_spare_held_back),
        cmocka_unit_test(reserve_keeps_its_word),
        cmocka_unit_test(read_only_writes_nothing_and_refuses_appends),
        cmocka_unit_test(readers_follow_and_hold_what_they_have_not_seen),
        cmocka_unit_test(the_archive_gets_each_segment_in_order_and_again_when_it_refused),
        cmocka_unit_test(marks_say_something_only_when_there_is_news),
        cmocka_unit_test(an_idle_open_and_close_leaves_the_size_as_it_is),
        cmocka_unit_test(opens_at_a_start_in_the_middle),
        cmocka_unit_test(smaller_segments_from_now_on_do_not_keep_it_from_opening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
