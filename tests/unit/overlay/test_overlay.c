/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=900
 *
 * Single properties of the overlay: memory, failures, hot keys, order, filter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <tern/txn.h>

#include "base/bytes.h"
#include "base/compare.h"
#include "engine/overlay/overlay_stack.h"
#include "model.h"
#include "support/fault_allocator.h"

struct fixture {
    struct fault_allocator *faults;
    const tern_allocator *allocator;
    struct budget budget;
    struct epoch_domain *epoch;
    struct overlay *overlay;
    seq_no seq;
};

static int set_up(void **state) {
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->faults = fault_allocator_create();
    fixture->allocator = fault_allocator_interface(fixture->faults);
    assert_int_equal(epoch_domain_create(fixture->allocator, &fixture->epoch, NULL), TERN_OK);
    struct overlay_options options = {fixture->allocator, &fixture->budget, fixture->epoch, NULL,
                                      0};
    assert_int_equal(overlay_create(&options, &fixture->overlay, NULL), TERN_OK);
    *state = fixture;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(budget_used(&fixture->budget, BUDGET_OVERLAY),
                     overlay_bytes(fixture->overlay));
    overlay_destroy(fixture->overlay);
    assert_int_equal(budget_used(&fixture->budget, BUDGET_OVERLAY), 0);
    epoch_domain_destroy(fixture->epoch);
    fault_allocator_destroy(fixture->faults);
    free(fixture);
    return 0;
}

static struct engine_change change_of(tern_slice key, enum record_kind kind, tern_slice value) {
    struct engine_change change = {.key = key, .key_hash = engine_key_hash(1, key)};
    change.record.kind = kind;
    change.record.value = value;
    change.record.value_size = value.size;
    return change;
}

static void apply_one(struct fixture *fixture, const struct engine_change *change, bool prunes) {
    struct engine_horizon horizon = {NULL, 0, fixture->seq};
    assert_int_equal(
        overlay_reserve(fixture->overlay, 1, change->key.size + change->record.value.size, NULL),
        TERN_OK);
    overlay_apply(fixture->overlay, change, 1, ++fixture->seq, prunes ? &horizon : NULL);
}

static void assert_sound(const struct fixture *fixture) {
    const char *broken = overlay_check(fixture->overlay);
    if (broken != NULL) {
        fail_msg("%s", broken);
    }
}

static uint64_t mixed(uint64_t number) {
    number = (number ^ (number >> 31)) * UINT64_C(0x9E3779B97F4A7C15);
    return number ^ (number >> 29);
}

static void put_number(struct fixture *fixture, uint64_t number) {
    uint8_t key[8];
    put_u64(key, number);
    struct engine_change change =
        change_of(tern_slice_of(key, 8), RECORD_PUT, tern_slice_of(key, 8));
    apply_one(fixture, &change, true);
}

static bool has_number(const struct fixture *fixture, uint64_t number) {
    uint8_t key[8];
    put_u64(key, number);
    struct resolution resolution;
    resolution_init(&resolution, fixture->allocator);
    tern_slice slice = tern_slice_of(key, 8);
    assert_int_equal(
        overlay_lookup(fixture->overlay, slice, engine_key_hash(1, slice), SEQ_MAX, &resolution),
        TERN_OK);
    return resolution.terminal.kind == RECORD_PUT;
}

static void finds_all_keys_while_tree_and_filter_grow(void **state) {
    struct fixture *fixture = *state;
    uint64_t false_positives = 0;
    for (uint64_t i = 0; i < 60000; i++) {
        put_number(fixture, mixed(i));
        assert_true(has_number(fixture, mixed(i)));
        assert_true(has_number(fixture, mixed(mixed(i) % (i + 1))));
        uint64_t missing = mixed(i + (UINT64_C(1) << 40));
        uint8_t key[8];
        put_u64(key, missing);
        tern_slice slice = tern_slice_of(key, 8);
        false_positives += overlay_may_contain(fixture->overlay, slice, engine_key_hash(1, slice));
    }
    assert_sound(fixture);
    assert_int_equal(overlay_key_count(fixture->overlay), 60000);
    assert_true(false_positives < 60000 / 50);
}

/* A place that was fetched ahead serves its own key, and only until the tree has changed. */
/* Most keyspaces of many are idle. */
static void an_empty_overlay_is_small(void **state) {
    const struct fixture *fixture = *state;
    assert_true(overlay_bytes(fixture->overlay) <= (size_t)7 << 10);
}

static void fetching_ahead_changes_nothing(void **state) {
    struct fixture *fixture = *state;
    uint8_t key[48];
    for (uint64_t i = 0; i < 20000; i++) {
        /* Keys of 48 bytes are too long to be remembered; one fetched stays behind for a while. */
        memset(key, (int)(mixed(i) % 200), sizeof(key));
        put_u64(key, mixed(i / 3 * 3 + 1 + i % 2));
        struct engine_change ahead =
            change_of(tern_slice_of(key, i % 5 == 0 ? 48 : 8), RECORD_PUT, tern_slice_of(key, 8));
        struct change_place place = {.node = NULL};
        if (i % 4 < 2) {
            overlay_find_place(fixture->overlay, &ahead, &place);
        }
        if (i % 11 == 0) {
            put_number(fixture, mixed(i + 2000000));
            put_number(fixture, get_u64(key) + 1); /* beside it, mostly in the same leaf */
        }
        if (i % 3 != 2) {
            overlay_prefetch(fixture->overlay, &ahead, i % 4 < 2 ? &place : NULL);
            overlay_prefetch_next(fixture->overlay, &ahead);
        }
        if (i % 7 == 0) {
            put_number(fixture, mixed(i + 1000000));
            put_number(fixture, get_u64(key) - 1);
        }
        apply_one(fixture, &ahead, true);
        assert_true(has_number(fixture, mixed(i / 3 * 3 + 1 + i % 2)) || i % 5 == 0);
    }
    assert_sound(fixture);
}

static void sequential_keys_leave_leaves_full(void **state) {
    struct fixture *fixture = *state;
    uint64_t before = overlay_bytes(fixture->overlay);
    for (uint64_t i = 0; i < 100000; i++) {
        put_number(fixture, __builtin_bswap64(i));
    }
    assert_sound(fixture);
    struct overlay_iterator iterator;
    overlay_iterator_init(&iterator, fixture->overlay);
    assert_true(
        overlay_iterator_seek(&iterator, tern_slice_of("\0\0\0\0\0\0\1\0", 8), false, true));
    assert_int_equal(iterator.count, OVERLAY_ITERATOR_ENTRIES);
    /* 24 + 32 bytes of entry and version, 17 of leaf, some of filter, chunks growing by doubling.
     */
    assert_true(overlay_bytes(fixture->overlay) - before < 100000 * 120);
}

static void iterates_every_key_both_ways_from_anywhere(void **state) {
    struct fixture *fixture = *state;
    for (uint64_t i = 0; i < 3000; i++) {
        put_number(fixture, __builtin_bswap64(2 * i));
    }
    struct overlay_iterator iterator;
    overlay_iterator_init(&iterator, fixture->overlay);
    for (uint64_t i = 0; i < 6000; i += 7) {
        uint8_t key[8];
        put_u64(key, __builtin_bswap64(i));
        bool found = overlay_iterator_seek(&iterator, tern_slice_of(key, 8), false, true);
        assert_int_equal(found, i <= 5998);
        if (found) {
            assert_int_equal(get_u64_be(overlay_iterator_key(&iterator).data), (i + 1) / 2 * 2);
        }
        found = overlay_iterator_seek(&iterator, tern_slice_of(key, 8), true, false);
        assert_int_equal(found, i > 0);
        if (found) {
            assert_int_equal(get_u64_be(overlay_iterator_key(&iterator).data), (i - 1) / 2 * 2);
            assert_true(!overlay_iterator_next(&iterator) ||
                        get_u64_be(overlay_iterator_key(&iterator).data) == (i + 1) / 2 * 2);
        }
    }
}

static void add_one(struct fixture *fixture, uint64_t time_ms) {
    static const uint64_t one = 1;
    struct engine_change change =
        change_of(tern_slice_str("counter"), RECORD_MERGE, tern_slice_of(&one, 8));
    change.record.merge_kind = TERN_MERGE_ADD;
    change.record.expires_ms = time_ms;
    apply_one(fixture, &change, true);
}

static uint64_t read_counter(struct fixture *fixture, uint64_t base_expires_ms, uint64_t now_ms,
                             size_t *out_operands) {
    static const uint64_t base = 1000000;
    struct resolution resolution;
    resolution_init(&resolution, fixture->allocator);
    tern_slice key = tern_slice_str("counter");
    assert_int_equal(
        overlay_lookup(fixture->overlay, key, engine_key_hash(1, key), SEQ_MAX, &resolution),
        TERN_OK);
    *out_operands = resolution.operand_count;
    if (!resolution.is_complete) {
        struct record record = {.kind = RECORD_PUT,
                                .expires_ms = base_expires_ms,
                                .value_size = 8,
                                .value = tern_slice_of(&base, 8)};
        assert_int_equal(resolution_add(&resolution, &record, ENGINE_SOURCE_FRAME, NULL), TERN_OK);
    }
    struct engine_scratch scratch;
    struct engine_result result;
    engine_scratch_init(&scratch, fixture->allocator);
    assert_int_equal(resolution_finish(&resolution, now_ms, &scratch, NULL, NULL, &result, NULL),
                     TERN_OK);
    uint64_t number = result.record.kind == RECORD_PUT ? get_u64(result.record.value.data) : 0;
    engine_scratch_release(&scratch);
    return number;
}

/* 200,000 adds, 200 a millisecond, over a value of the base. */
static void hot_counter_over_base_stays_small_and_quick(void **state) {
    struct fixture *fixture = *state;
    size_t operands;
    for (uint64_t i = 0; i < 200000; i++) {
        add_one(fixture, 1000 + i / 200);
    }
    assert_int_equal(read_counter(fixture, 0, 5000, &operands), 1200000);
    assert_int_equal(operands, 1);
    assert_true(overlay_bytes(fixture->overlay) < 512 << 10);
    /* The value expired in between: only what came after counts. */
    assert_int_equal(read_counter(fixture, 1400, 5000, &operands), 120000);
    assert_int_equal(read_counter(fixture, 1000, 5000, &operands), 200000);
    assert_int_equal(read_counter(fixture, 2000, 5000, &operands), 0);
    assert_int_equal(read_counter(fixture, 9000, 5000, &operands), 1200000);
    assert_sound(fixture);
}

static void hot_counter_over_own_value_is_one_value(void **state) {
    struct fixture *fixture = *state;
    static const uint64_t first = 500;
    size_t operands;
    struct engine_change change =
        change_of(tern_slice_str("counter"), RECORD_PUT, tern_slice_of(&first, 8));
    change.record.expires_ms = 1500;
    apply_one(fixture, &change, true);
    for (uint64_t i = 0; i < 100000; i++) {
        add_one(fixture, 1000 + i / 100);
    }
    /* 50,000 adds went with the value that expired at 1500. */
    assert_int_equal(read_counter(fixture, 0, 5000, &operands), 50000);
    assert_true(operands <= 2);
    assert_true(overlay_bytes(fixture->overlay) < 256 << 10);
}

static void overwriting_one_key_takes_no_memory(void **state) {
    struct fixture *fixture = *state;
    static uint8_t value[3000];
    for (uint64_t i = 0; i < 100000; i++) {
        struct engine_change change = change_of(tern_slice_str("key"), RECORD_PUT,
                                                tern_slice_of(value, mixed(i) % sizeof(value)));
        apply_one(fixture, &change, true);
    }
    assert_sound(fixture);
    assert_true(overlay_bytes(fixture->overlay) < 8 << 20);
}

static void keys_overwritten_in_turn_hold_one_version_each(void **state) {
    struct fixture *fixture = *state;
    static const uint8_t value[1100];
    for (uint64_t i = 0; i < 100000; i++) {
        uint8_t key[8];
        put_u64(key, mixed(i % 5000));
        struct engine_change change =
            change_of(tern_slice_of(key, 8), RECORD_PUT, tern_slice_of(value, sizeof(value)));
        apply_one(fixture, &change, true);
    }
    assert_sound(fixture);
    /* 6 MB of them, in chunks of two; those of before would be as much again. */
    assert_true(overlay_bytes(fixture->overlay) < 9 << 20);
}

static void appends_fold_into_few_pieces(void **state) {
    struct fixture *fixture = *state;
    for (uint64_t i = 0; i < 20000; i++) {
        struct engine_change change =
            change_of(tern_slice_str("list"), RECORD_MERGE, tern_slice_of("abc", 3));
        change.record.merge_kind = TERN_MERGE_APPEND;
        change.record.expires_ms = 1;
        apply_one(fixture, &change, true);
    }
    struct resolution resolution;
    resolution_init(&resolution, fixture->allocator);
    tern_slice key = tern_slice_str("list");
    assert_int_equal(
        overlay_lookup(fixture->overlay, key, engine_key_hash(1, key), SEQ_MAX, &resolution),
        TERN_OK);
    assert_true(resolution.operand_count < 32);
    struct engine_scratch scratch;
    struct engine_result result;
    engine_scratch_init(&scratch, fixture->allocator);
    assert_int_equal(resolution_finish(&resolution, 1, &scratch, NULL, NULL, &result, NULL),
                     TERN_OK);
    assert_int_equal(result.record.value.size, 60000);
    engine_scratch_release(&scratch);
}

/* ---- readers while operands are folded ---- */

static void add_operand(struct fixture *fixture, uint64_t time_ms, uint64_t amount, seq_no live) {
    uint8_t operand[8];
    put_u64(operand, amount);
    struct engine_change change =
        change_of(tern_slice_str("counter"), RECORD_MERGE, tern_slice_of(operand, 8));
    change.record.merge_kind = TERN_MERGE_ADD;
    change.record.expires_ms = time_ms;
    struct engine_horizon horizon = {&live, live != SEQ_NONE ? 1 : 0, fixture->seq};
    assert_int_equal(overlay_reserve(fixture->overlay, 1, 64, NULL), TERN_OK);
    overlay_apply(fixture->overlay, &change, 1, ++fixture->seq, &horizon);
}

/*
 * Reads the counter over a value that expired at 150, when two of its operands, both of 200, have
 * been read as one pile and are folded before the resolution asks for those since the expiry.
 */
static tern_status read_amid_fold(struct fixture *fixture, seq_no live, uint64_t *out_count) {
    struct resolution resolution;
    struct engine_scratch scratch;
    struct engine_result result;
    tern_slice key = tern_slice_str("counter");
    uint8_t old[8] = {77};
    struct record base = {
        .kind = RECORD_PUT, .expires_ms = 150, .value = tern_slice_of(old, 8), .value_size = 8};
    engine_scratch_init(&scratch, fixture->allocator);
    resolution_init(&resolution, fixture->allocator);
    add_operand(fixture, 100, 1, SEQ_NONE);
    add_operand(fixture, 200, 20, SEQ_NONE);
    add_operand(fixture, 200, 300, SEQ_NONE);
    assert_int_equal(overlay_lookup(fixture->overlay, key, engine_key_hash(1, key), 3, &resolution),
                     TERN_OK);
    assert_int_equal(resolution.pile_count, 1);
    add_operand(fixture, 200, 4000, live);
    add_operand(fixture, 200, 50000, live);
    assert_int_equal(resolution_add(&resolution, &base, ENGINE_SOURCE_FRAME, NULL), TERN_OK);
    tern_status status = resolution_finish(&resolution, 300, &scratch, NULL, NULL, &result, NULL);
    if (status == TERN_OK) {
        *out_count = get_u64(result.record.value.data);
    }
    engine_scratch_release(&scratch);
    assert_sound(fixture);
    return status;
}

static void a_snapshot_reads_on_while_its_operands_are_folded(void **state) {
    uint64_t count = 0;
    assert_int_equal(read_amid_fold(*state, 3, &count), TERN_OK);
    assert_int_equal(count, 320);
}

static void who_has_no_snapshot_is_told_when_later_operands_took_in_what_it_reads(void **state) {
    uint64_t count;
    assert_int_equal(read_amid_fold(*state, SEQ_NONE, &count), TERN_CANCELLED);
}

/* ---- range deletes ---- */

/* Processor time that a commit of so many range deletes, in no order, takes. */
static double time_of_ranges(struct fixture *fixture, size_t count) {
    struct engine_change *changes = calloc(count, sizeof(*changes));
    uint8_t(*keys)[16] = calloc(count, sizeof(*keys));
    struct timespec from;
    struct timespec to;
    for (size_t i = 0; i < count; i++) {
        put_u64(keys[i], __builtin_bswap64(mixed(i)));
        put_u64(keys[i] + 8, __builtin_bswap64(mixed(i) + 1));
        changes[i] = change_of(tern_slice_of(keys[i], 8), CHANGE_DELETE_RANGE,
                               tern_slice_of(keys[i] + 8, 8));
        changes[i].range_has_end = true;
    }
    assert_int_equal(overlay_reserve(fixture->overlay, count, count * 16, NULL), TERN_OK);
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from), 0);
    overlay_apply(fixture->overlay, changes, count, ++fixture->seq, NULL);
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to), 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(overlay_range_seq(fixture->overlay, changes[i].key, SEQ_MAX),
                         fixture->seq);
    }
    assert_sound(fixture);
    free(changes);
    free(keys);
    return (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
}

static void a_commit_of_many_range_deletes_does_not_hold_up_others(void **state) {
    struct fixture *fixture = *state;
    (void)time_of_ranges(fixture, 500);
    /* Compared with each other these would take many times as long. */
    assert_true(time_of_ranges(fixture, 100000) < 5.0);
    (void)time_of_ranges(fixture, 300);
}

static void commits_of_one_range_delete_each_stay_quick(void **state) {
    enum { RANGES = 60000 };
    struct fixture *fixture = *state;
    struct timespec from;
    struct timespec to;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from), 0);
    for (uint64_t i = 0; i < RANGES; i++) {
        uint8_t key[16];
        put_u64(key, __builtin_bswap64(mixed(i)));
        put_u64(key + 8, __builtin_bswap64(mixed(i) + 1));
        struct engine_change change =
            change_of(tern_slice_of(key, 8), CHANGE_DELETE_RANGE, tern_slice_of(key + 8, 8));
        change.range_has_end = true;
        apply_one(fixture, &change, false);
    }
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to), 0);
    /* With each copying all those before it they take many times as long. */
    assert_true(to.tv_sec - from.tv_sec < 5);
    assert_int_equal(overlay_range_count(fixture->overlay), RANGES);
    for (uint64_t i = 0; i < RANGES; i++) {
        uint8_t key[8];
        put_u64(key, __builtin_bswap64(mixed(i)));
        assert_int_equal(overlay_range_seq(fixture->overlay, tern_slice_of(key, 8), SEQ_MAX),
                         i + 1);
    }
    assert_sound(fixture);
}

static void range_delete_orders_with_changes_of_its_own_commit(void **state) {
    struct fixture *fixture = *state;
    tern_slice value = tern_slice_str("v");
    struct engine_change changes[4] = {
        change_of(tern_slice_str("b1"), RECORD_PUT, value),
        change_of(tern_slice_str("b"), CHANGE_DELETE_RANGE, tern_slice_str("c")),
        change_of(tern_slice_str("b2"), RECORD_PUT, value),
        change_of(tern_slice_str("c"), RECORD_PUT, value),
    };
    changes[1].range_has_end = true;
    assert_int_equal(overlay_reserve(fixture->overlay, 4, 64, NULL), TERN_OK);
    overlay_apply(fixture->overlay, changes, 4, 1, NULL);
    static const char *const keys[] = {"b1", "b2", "c", "b0"};
    static const enum record_kind kinds[] = {RECORD_DELETE, RECORD_PUT, RECORD_PUT, RECORD_DELETE};
    for (size_t i = 0; i < 4; i++) {
        struct resolution resolution;
        resolution_init(&resolution, fixture->allocator);
        tern_slice key = tern_slice_str(keys[i]);
        assert_int_equal(
            overlay_lookup(fixture->overlay, key, engine_key_hash(1, key), 1, &resolution),
            TERN_OK);
        assert_int_equal(resolution.terminal.kind, kinds[i]);
        assert_true(overlay_may_contain(fixture->overlay, key, engine_key_hash(1, key)));
    }
}

static void count_garbage(void *context, tern_slice reference) {
    (void)reference;
    ++*(size_t *)context;
}

static void large_versions_stay_until_drained(void **state) {
    struct fixture *fixture = *state;
    for (size_t i = 0; i < 5; i++) {
        struct engine_change large =
            change_of(tern_slice_str("key"), RECORD_LARGE, tern_slice_str("reference"));
        large.record.value_size = 12345;
        apply_one(fixture, &large, true);
        struct engine_change put =
            change_of(tern_slice_str("key"), RECORD_PUT, tern_slice_str("small"));
        apply_one(fixture, &put, true);
    }
    struct overlay_iterator iterator;
    overlay_iterator_init(&iterator, fixture->overlay);
    assert_true(overlay_iterator_first(&iterator, false));
    size_t garbage = 0;
    overlay_iterator_garbage(&iterator, count_garbage, &garbage);
    assert_int_equal(garbage, 5);
}

static void several_reservations_hold_together(void **state) {
    struct fixture *fixture = *state;
    static uint8_t value[1000];
    for (size_t round = 0; round < 30; round++) {
        for (size_t i = 0; i < 10; i++) {
            assert_int_equal(overlay_reserve(fixture->overlay, 20, 20 * 1008, NULL), TERN_OK);
        }
        uint64_t calls = fault_allocator_calls(fixture->faults);
        fault_allocator_fail(fixture->faults, 1, true);
        for (size_t i = 0; i < 200; i++) {
            uint8_t key[8];
            put_u64(key, mixed(fixture->seq));
            struct engine_change change =
                change_of(tern_slice_of(key, 8), RECORD_PUT, tern_slice_of(value, sizeof(value)));
            overlay_apply(fixture->overlay, &change, 1, ++fixture->seq, NULL);
        }
        fault_allocator_fail(fixture->faults, 0, false);
        assert_int_equal(fault_allocator_calls(fixture->faults), calls);
    }
    assert_sound(fixture);
}

/* Random commits; every nth allocation fails; what was reserved is applied without allocating. */
static void survive_failures(bool sticky) {
    struct fault_allocator *faults = fault_allocator_create();
    const tern_allocator *allocator = fault_allocator_interface(faults);
    struct epoch_domain *epoch;
    assert_int_equal(epoch_domain_create(tern_allocator_default(), &epoch, NULL), TERN_OK);
    for (uint64_t nth = 1; nth < 40; nth++) {
        static struct model model;
        struct budget budget = {0};
        struct overlay *overlay = NULL;
        struct overlay_options options = {allocator, &budget, epoch, NULL, 0};
        model_init(&model, 4000, nth);
        fault_allocator_fail(faults, nth, sticky);
        tern_status status = overlay_create(&options, &overlay, NULL);
        size_t refused = status == TERN_OK ? 0 : 1;
        for (size_t i = 0; status == TERN_OK && i < 120; i++) {
            struct engine_change changes[40];
            size_t bytes;
            size_t count = model_commit(&model, changes, 40, &bytes);
            struct engine_horizon horizon = {NULL, 0, model.last_seq - 1};
            tern_status reserved;
            for (size_t tries = 0;
                 (reserved = overlay_reserve(overlay, count, bytes, NULL)) != TERN_OK && tries < 3;
                 tries++) {
                assert_int_equal(reserved, TERN_NO_MEMORY);
                refused++;
            }
            if (reserved == TERN_OK) {
                overlay_apply(overlay, changes, count, model.last_seq, &horizon);
            }
        }
        if (overlay != NULL) {
            assert_null(overlay_check(overlay));
            assert_int_equal(overlay_bytes(overlay), budget_used(&budget, BUDGET_OVERLAY));
        }
        assert_true(refused > 0 || fault_allocator_failures(faults) > 0 || nth > 1);
        overlay_destroy(overlay);
        assert_int_equal(budget_used(&budget, BUDGET_OVERLAY), 0);
        assert_int_equal(fault_allocator_live_blocks(faults), 0);
        model_release(&model);
    }
    epoch_domain_destroy(epoch);
    fault_allocator_destroy(faults);
}

static void survives_each_allocation_failing_once(void **state) {
    (void)state;
    survive_failures(false);
}

static void survives_all_allocations_failing_from_each_on(void **state) {
    (void)state;
    survive_failures(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_empty_overlay_is_small, set_up, tear_down),
        cmocka_unit_test_setup_teardown(finds_all_keys_while_tree_and_filter_grow, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(fetching_ahead_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sequential_keys_leave_leaves_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(iterates_every_key_both_ways_from_anywhere, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(hot_counter_over_base_stays_small_and_quick, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(hot_counter_over_own_value_is_one_value, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_overwritten_in_turn_hold_one_version_each, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(overwriting_one_key_takes_no_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(appends_fold_into_few_pieces, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_snapshot_reads_on_while_its_operands_are_folded, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            who_has_no_snapshot_is_told_when_later_operands_took_in_what_it_reads, set_up,
            tear_down),
        cmocka_unit_test_setup_teardown(commits_of_one_range_delete_each_stay_quick, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_commit_of_many_range_deletes_does_not_hold_up_others,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(range_delete_orders_with_changes_of_its_own_commit, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(large_versions_stay_until_drained, set_up, tear_down),
        cmocka_unit_test_setup_teardown(several_reservations_hold_together, set_up, tear_down),
        cmocka_unit_test(survives_each_allocation_failing_once),
        cmocka_unit_test(survives_all_allocations_failing_from_each_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
