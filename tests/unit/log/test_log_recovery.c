/* SPDX-License-Identifier: Apache-2.0 */
/* Torn ends, holes, flipped bits: what recovery accepts, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "check.h"
#include "log/log_format.h"
#include "log_fixture.h"

#define SEED 21

static void assert_visited(const struct fixture *fixture, uint64_t count) {
    assert_true(fixture->is_in_order);
    assert_int_equal(fixture->visited, count);
}

static void a_last_record_torn_at_any_byte_is_dropped_and_the_log_goes_on(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 6);
    log_position begin = log_end_position(f.log);
    fixture_append_range(&f, 6, 7);
    log_position end = log_end_position(f.log);
    fixture_discard(&f);
    uint8_t whole[LOG_HEADER_BYTES] = {0};
    size_t size = (size_t)(end - begin);
    uint32_t offset = log_position_offset(begin);
    fixture_read_segment(&f, 1, offset, whole, size);
    size_t bytes = LOG_RECORD_HEADER_BYTES + fixture_payload_bytes(6);
    for (int kind = 0; kind < 3; kind++) {
        for (size_t cut = 0; cut < bytes; cut++) {
            uint8_t torn[LOG_HEADER_BYTES];
            memcpy(torn, whole, size);
            memset(torn + cut, kind == 1 ? 0xff : 0, size - cut);
            if (kind == 2) {
                /* The end came, the beginning did not. */
                memset(torn, 0, cut + 1);
                memcpy(torn + cut + 1, whole + cut + 1, size - cut - 1);
            }
            bool differs = memcmp(torn, whole, size) != 0;
            fixture_write_segment(&f, 1, offset, torn, size);
            assert_int_equal(fixture_open(&f, 0, true), TERN_OK);
            assert_visited(&f, differs ? 6 : 7);
            assert_true(!differs || log_end_position(f.log) == begin);
            fixture_discard(&f);
        }
    }
    fixture_write_segment(&f, 1, offset, "torn", 4);
    fixture_reopen(&f);
    assert_visited(&f, 6);
    fixture_append_range(&f, 6, 600);
    fixture_discard(&f);
    fixture_reopen(&f);
    assert_visited(&f, 600);
    fixture_release(&f);
}

static void a_hole_before_records_not_known_durable_is_a_torn_end(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 5);
    fixture_sync(&f);
    log_position hole = log_end_position(f.log);
    fixture_append_range(&f, 5, 900);
    fixture_discard(&f);
    fixture_write_segment(&f, 1, log_position_offset(hole), "hole", 4);
    fixture_reopen(&f);
    assert_visited(&f, 5);
    assert_true(f.recovery.discarded_bytes > 1000);
    fixture_append_range(&f, 5, 20);
    fixture_discard(&f);
    fixture_reopen(&f);
    assert_visited(&f, 20);
    fixture_release(&f);
}

static void a_hole_below_a_later_durable_mark_refuses_to_open(void **state) {
    (void)state;
    for (int far = 0; far < 2; far++) {
        struct fixture f;
        fixture_init(&f, SEED);
        fixture_reopen(&f);
        fixture_append_range(&f, 0, 5);
        log_position hole = log_end_position(f.log);
        fixture_append_range(&f, 5, far ? 1500 : 10);
        fixture_sync(&f);
        fixture_append_range(&f, far ? 1500 : 10, far ? 1501 : 11);
        fixture_discard(&f);
        fixture_write_segment(&f, 1, log_position_offset(hole), "hole", 4);
        for (int read_only = 0; read_only < 2; read_only++) {
            assert_int_equal(fixture_open(&f, 0, read_only), TERN_CORRUPTION);
            assert_int_equal(f.error.offset, log_position_offset(hole));
            assert_string_equal(f.error.file, FIXTURE_DIRECTORY "/log-0000000000000001");
            assert_non_null(strstr(f.error.message, "tern verify"));
            assert_non_null(strstr(f.error.message, "tern repair"));
        }
        fixture_release(&f);
    }
}

static void a_missing_segment_in_the_middle_is_a_loss(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 2000);
    fixture_close(&f);
    const tern_file_system *disk = power_cut_interface(f.disk);
    assert_int_equal(disk->remove(disk->context, FIXTURE_DIRECTORY "/log-0000000000000002", NULL),
                     TERN_OK);
    assert_int_equal(fixture_open(&f, 0, false), TERN_CORRUPTION);
    assert_int_equal(fixture_open(&f, (log_position)2 << 32 | LOG_HEADER_BYTES, false),
                     TERN_CORRUPTION);
    assert_int_equal(disk->remove(disk->context, FIXTURE_DIRECTORY "/log-0000000000000001", NULL),
                     TERN_OK);
    assert_int_equal(fixture_open(&f, 0, false), TERN_CORRUPTION);
    fixture_release(&f);
}

static void a_segment_of_a_newer_version_is_named_so(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    fixture_close(&f);
    struct log_segment_header header;
    uint8_t block[LOG_HEADER_BYTES];
    fixture_read_segment(&f, 1, 0, block, sizeof(block));
    assert_int_equal(log_header_decode(block, sizeof(block), 1, &header), LOG_HEADER_VALID);
    assert_int_equal(log_header_decode(block, sizeof(block), 2, &header), LOG_HEADER_FOREIGN);
    assert_int_equal(log_header_decode(block, 100, 1, &header), LOG_HEADER_BLANK);
    memset(block + 9, 1, 1);
    assert_int_equal(log_header_decode(block, sizeof(block), 1, &header), LOG_HEADER_VALID);
    fixture_release(&f);
}

static void a_whole_record_that_breaks_the_chain_is_not_replayed(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 5);
    log_position at = log_end_position(f.log);
    fixture_append_range(&f, 5, 7);
    fixture_discard(&f);
    uint8_t block[LOG_HEADER_BYTES];
    struct log_segment_header segment;
    struct log_record_header record;
    fixture_read_segment(&f, 1, 0, block, sizeof(block));
    assert_int_equal(log_header_decode(block, sizeof(block), 1, &segment), LOG_HEADER_VALID);
    uint32_t seed = log_salt_seed(segment.salt);
    fixture_read_segment(&f, 1, log_position_offset(at), block, sizeof(block));
    assert_true(log_record_header_decode(block, seed, at, FIXTURE_SEGMENT_BYTES, &record));
    assert_true(log_record_is_whole(&record, seed, at, block));
    assert_false(log_record_is_whole(&record, seed, at + 8, block));
    record.chain ^= 1;
    log_record_encode(&record, seed, at, block);
    assert_true(log_record_is_whole(&record, seed, at, block));
    fixture_write_segment(&f, 1, log_position_offset(at), block,
                          (size_t)log_record_bytes(record.payload_bytes));
    assert_int_equal(fixture_open(&f, 0, true), TERN_OK);
    assert_visited(&f, 5);
    fixture_release(&f);
}

static void a_damaged_segment_outside_the_chain_never_stands_in_the_way(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 1000);
    fixture_sync(&f);
    log_position start = log_end_position(f.log);
    fixture_discard(&f);
    uint8_t junk[LOG_HEADER_BYTES];
    memset(junk, 0xa5, sizeof(junk));
    fixture_write_segment(&f, 1, 0, junk, sizeof(junk));
    for (int round = 0; round < 4; round++) {
        assert_int_equal(fixture_open(&f, start, false), TERN_OK);
        while (log_wants_prepare(f.log)) {
            assert_int_equal(log_prepare(f.log, &f.error), TERN_OK);
        }
        fixture_discard(&f);
    }
    fixture_release(&f);
}

/* --- every byte flipped --- */

enum outcome { DETECTED, UNCHANGED, SHORTENED };

static enum outcome open_flipped(struct fixture *f, uint64_t count) {
    tern_status status = fixture_open(f, 0, true);
    if (status != TERN_OK) {
        assert_int_equal(status, TERN_CORRUPTION);
        assert_true(f->error.file[0] != '\0' && f->error.offset >= 0);
        return DETECTED;
    }
    assert_true(f->is_in_order);
    assert_true(f->visited <= count);
    assert_true(f->visited == 0 || f->first == 0);
    enum outcome outcome = f->visited == count ? UNCHANGED : SHORTENED;
    fixture_discard(f);
    return outcome;
}

/*
 * Harmless: bytes of the header block outside of the two copies, one copy alone, bytes behind the
 * end, and the mark that ends a closed log (nothing but what it says of the records before it,
 * which recovery then establishes anew). All else below that mark is detected.
 */
static void every_flipped_byte_of_a_closed_log_is_detected_or_harmless(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    fixture_append_range(&f, 0, 8);
    fixture_close(&f);
    fixture_reopen(&f); /* so that a mark lies behind the one that closed the log first */
    fixture_append_range(&f, 8, 12);
    fixture_sync(&f);
    log_position covered = log_end_position(f.log);
    fixture_close(&f);
    uint64_t counts[3] = {0};
    for (uint64_t at = 0; at < log_position_offset(covered) + 64; at++) {
        uint8_t byte;
        fixture_read_segment(&f, 1, at, &byte, 1);
        uint8_t flipped = (uint8_t)(byte ^ (1u << (at % 8)));
        fixture_write_segment(&f, 1, at, &flipped, 1);
        enum outcome outcome = open_flipped(&f, 12);
        bool is_harmless = at < LOG_HEADER_BYTES || at >= log_position_offset(covered);
        /* Single faults below the mark are detected as long as the mark itself is there. */
        assert_int_equal(outcome, is_harmless ? UNCHANGED : DETECTED);
        counts[outcome]++;
        fixture_write_segment(&f, 1, at, &byte, 1);
    }
    assert_true(counts[DETECTED] > 500);
    fixture_release(&f);
}

static void both_header_copies_damaged_refuse_to_open(void **state) {
    (void)state;
    for (uint32_t id = 1; id < 4; id++) {
        struct fixture f;
        fixture_init(&f, SEED);
        fixture_reopen(&f);
        fixture_append_range(&f, 0, 1000);
        assert_true(log_position_segment(log_end_position(f.log)) >= 3);
        fixture_close(&f);
        fixture_write_segment(&f, id, 100, "x", 1);
        fixture_reopen(&f);
        assert_visited(&f, 1000);
        fixture_close(&f);
        fixture_write_segment(&f, id, 100 + LOG_HEADER_SECOND_COPY, "x", 1);
        assert_int_equal(fixture_open(&f, 0, false), TERN_CORRUPTION);
        fixture_release(&f);
    }
}

/* --- scan --- */

struct findings {
    uint64_t count;
    char invariant[64];
    char file[64];
    int64_t offset;
};

static bool note_finding(void *context, const tern_finding *finding) {
    struct findings *findings = context;
    if (findings->count++ == 0) {
        (void)snprintf(findings->invariant, sizeof(findings->invariant), "%s", finding->invariant);
        (void)snprintf(findings->file, sizeof(findings->file), "%s", finding->file);
        findings->offset = finding->offset;
    }
    return true;
}

static tern_status count_records(void *context, const struct log_record *record,
                                 tern_error *error) {
    struct fixture *f = context;
    (void)error;
    if (record->kind != LOG_RECORD_MARK) {
        assert_true(fixture_number(record) != UINT64_MAX);
        f->visited++;
        f->last = fixture_number(record);
    }
    return TERN_OK;
}

static void scan_names_damage_and_salvage_reads_the_rest(void **state) {
    (void)state;
    struct fixture f;
    struct log_recovery recovery;
    fixture_init(&f, SEED);
    fixture_reopen(&f);
    log_position ends[1500];
    for (uint64_t i = 0; i < 1500; i++) {
        assert_int_equal(fixture_append(&f, i, &ends[i]), TERN_OK);
    }
    fixture_close(&f);
    struct findings findings = {0};
    assert_int_equal(
        log_scan(&f.options, 0, true, NULL, NULL, note_finding, &findings, &recovery, &f.error),
        TERN_OK);
    assert_int_equal(findings.count, 0);
    assert_true(recovery.was_clean);
    /* Two bad records in different segments. */
    uint64_t bad[2] = {20, 1200};
    for (int i = 0; i < 2; i++) {
        log_position at = ends[bad[i] - 1];
        fixture_write_segment(&f, log_position_segment(at), log_position_offset(at) + 25, "?", 1);
    }
    assert_int_equal(
        log_scan(&f.options, 0, false, NULL, NULL, note_finding, &findings, &recovery, &f.error),
        TERN_OK);
    assert_int_equal(findings.count, 1);
    assert_string_equal(findings.invariant, "log.record");
    assert_string_equal(findings.file, "log-0000000000000001");
    assert_int_equal(findings.offset, log_position_offset(ends[19]));
    assert_false(recovery.was_clean);
    findings.count = 0;
    fixture_forget_visits(&f);
    assert_int_equal(log_scan(&f.options, 0, true, count_records, &f, note_finding, &findings,
                              &recovery, &f.error),
                     TERN_OK);
    assert_int_equal(findings.count, 2);
    assert_int_equal(f.visited, 1498);
    assert_int_equal(f.last, 1499);
    /* A whole segment becomes unreadable. */
    uint8_t junk[LOG_HEADER_BYTES];
    memset(junk, 0xa5, sizeof(junk));
    fixture_write_segment(&f, 2, 0, junk, sizeof(junk));
    findings.count = 0;
    fixture_forget_visits(&f);
    assert_int_equal(log_scan(&f.options, 0, true, count_records, &f, note_finding, &findings,
                              &recovery, &f.error),
                     TERN_OK);
    assert_string_equal(findings.invariant, "log.header");
    assert_true(f.visited > 500 && f.visited < 1400);
    assert_int_equal(f.last, 1499);
    fixture_release(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_last_record_torn_at_any_byte_is_dropped_and_the_log_goes_on),
        cmocka_unit_test(a_hole_before_records_not_known_durable_is_a_torn_end),
        cmocka_unit_test(a_hole_below_a_later_durable_mark_refuses_to_open),
        cmocka_unit_test(a_missing_segment_in_the_middle_is_a_loss),
        cmocka_unit_test(a_segment_of_a_newer_version_is_named_so),
        cmocka_unit_test(a_whole_record_that_breaks_the_chain_is_not_replayed),
        cmocka_unit_test(a_damaged_segment_outside_the_chain_never_stands_in_the_way),
        cmocka_unit_test(every_flipped_byte_of_a_closed_log_is_detected_or_harmless),
        cmocka_unit_test(both_header_copies_damaged_refuse_to_open),
        cmocka_unit_test(scan_names_damage_and_salvage_reads_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
