/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <tern/txn.h>

#include "base/bytes.h"
#include "engine/resolution.h"
#include "support/fault_allocator.h"

struct fixture {
    struct fault_allocator *faults;
    const tern_allocator *allocator;
    struct engine_scratch scratch;
    struct resolution resolution;
};

static int set_up(void **state) {
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->faults = fault_allocator_create();
    fixture->allocator = fault_allocator_interface(fixture->faults);
    engine_scratch_init(&fixture->scratch, fixture->allocator);
    resolution_init(&fixture->resolution, fixture->allocator);
    *state = fixture;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;
    resolution_release(&fixture->resolution);
    engine_scratch_release(&fixture->scratch);
    fault_allocator_destroy(fixture->faults);
    free(fixture);
    return 0;
}

static void add(struct fixture *fixture, enum record_kind kind, uint32_t merge_kind,
                uint64_t time_ms, tern_slice value) {
    struct record record = {.kind = kind,
                            .merge_kind = merge_kind,
                            .expires_ms = time_ms,
                            .value_size = value.size,
                            .value = value};
    assert_int_equal(resolution_add(&fixture->resolution, &record, ENGINE_SOURCE_OVERLAY, NULL),
                     TERN_OK);
}

static struct engine_result finish(struct fixture *fixture, uint64_t time_ms) {
    struct engine_result result;
    assert_int_equal(resolution_finish(&fixture->resolution, time_ms, &fixture->scratch, NULL, NULL,
                                       &result, NULL),
                     TERN_OK);
    return result;
}

static void assert_value(const struct engine_result *result, const char *expected) {
    if (expected == NULL) {
        assert_int_equal(result->record.kind, RECORD_NONE);
        return;
    }
    assert_int_equal(result->record.kind, RECORD_PUT);
    assert_int_equal(result->record.value.size, strlen(expected));
    assert_memory_equal(result->record.value.data, expected, strlen(expected));
}

static void plain_value_is_not_copied(void **state) {
    struct fixture *fixture = *state;
    tern_slice value = tern_slice_str("value");
    add(fixture, RECORD_PUT, 0, 0, value);
    assert_true(fixture->resolution.is_complete);
    struct engine_result result = finish(fixture, 5);
    assert_ptr_equal(result.record.value.data, value.data);
    assert_int_equal(result.source, ENGINE_SOURCE_OVERLAY);
    assert_int_equal(fault_allocator_calls(fixture->faults), 0);
}

static void expired_value_is_missing_from_its_time_on(void **state) {
    struct fixture *fixture = *state;
    add(fixture, RECORD_PUT, 0, 10, tern_slice_str("value"));
    struct engine_result before = finish(fixture, 9);
    assert_value(&before, "value");
    struct engine_result after = finish(fixture, 10);
    assert_value(&after, NULL);
}

static void nothing_found_is_none(void **state) {
    struct fixture *fixture = *state;
    struct engine_result result = finish(fixture, 1);
    assert_value(&result, NULL);
    add(fixture, RECORD_DELETE, 0, 0, tern_slice_of(NULL, 0));
    result = finish(fixture, 1);
    assert_value(&result, NULL);
}

static void operands_apply_oldest_first(void **state) {
    struct fixture *fixture = *state;
    add(fixture, RECORD_MERGE, TERN_MERGE_APPEND, 3, tern_slice_str("d"));
    add(fixture, RECORD_MERGE, TERN_MERGE_MAX, 2, tern_slice_str("abb"));
    add(fixture, RECORD_MERGE, TERN_MERGE_APPEND, 1, tern_slice_str("b"));
    add(fixture, RECORD_PUT, 0, 0, tern_slice_str("a"));
    struct engine_result result = finish(fixture, 3);
    assert_value(&result, "abbd");
}

static void operands_without_a_value_start_from_nothing(void **state) {
    struct fixture *fixture = *state;
    add(fixture, RECORD_MERGE, TERN_MERGE_APPEND, 2, tern_slice_str("y"));
    add(fixture, RECORD_MERGE, TERN_MERGE_APPEND, 1, tern_slice_str("x"));
    struct engine_result result = finish(fixture, 3);
    assert_value(&result, "xy");
}

static void operands_from_before_the_expiry_go_with_the_value(void **state) {
    struct fixture *fixture = *state;
    add(fixture, RECORD_MERGE, TERN_MERGE_APPEND, 10, tern_slice_str("c"));
    add(fixture, RECORD_MERGE, TERN_MERGE_APPEND, 9, tern_slice_str("b"));
    add(fixture, RECORD_PUT, 0, 10, tern_slice_str("a"));
    struct engine_result result = finish(fixture, 12);
    assert_value(&result, "c");
    assert_int_equal(result.record.expires_ms, 0);
}

static void merged_value_keeps_its_expiry(void **state) {
    struct fixture *fixture = *state;
    add(fixture, RECORD_MERGE, TERN_MERGE_APPEND, 5, tern_slice_str("b"));
    add(fixture, RECORD_PUT, 0, 10, tern_slice_str("a"));
    struct engine_result result = finish(fixture, 6);
    assert_value(&result, "ab");
    assert_int_equal(result.record.expires_ms, 10);
}

static void takes_any_number_of_operands(void **state) {
    struct fixture *fixture = *state;
    uint8_t one[8];
    put_u64(one, 1);
    for (size_t i = 0; i < 1000; i++) {
        add(fixture, RECORD_MERGE, TERN_MERGE_ADD, 1, tern_slice_of(one, 8));
    }
    struct engine_result result = finish(fixture, 2);
    assert_int_equal(get_u64(result.record.value.data), 1000);
}

static void value_in_the_scratch_itself_can_be_merged_over(void **state) {
    struct fixture *fixture = *state;
    assert_int_equal(buffer_append(&fixture->scratch.value, "abc", 3), TERN_OK);
    add(fixture, RECORD_MERGE, TERN_MERGE_APPEND, 2, tern_slice_str("e"));
    add(fixture, RECORD_MERGE, TERN_MERGE_APPEND, 1, tern_slice_str("d"));
    add(fixture, RECORD_PUT, 0, 0, buffer_slice(&fixture->scratch.value));
    struct engine_result result = finish(fixture, 2);
    assert_value(&result, "abcde");
}

static void failing_allocations_are_reported_and_leak_nothing(void **state) {
    struct fixture *fixture = *state;
    for (uint64_t nth = 1; nth < 8; nth++) {
        for (size_t i = 0; i < 40; i++) {
            if (i == 0) {
                fault_allocator_fail(fixture->faults, nth, nth % 2 == 0);
            }
            struct record record = {.kind = RECORD_MERGE,
                                    .merge_kind = TERN_MERGE_APPEND,
                                    .value = tern_slice_str("0123456789abcdef")};
            tern_status status =
                resolution_add(&fixture->resolution, &record, ENGINE_SOURCE_OVERLAY, NULL);
            assert_true(status == TERN_OK || status == TERN_NO_MEMORY);
        }
        struct engine_result result;
        tern_status status = resolution_finish(&fixture->resolution, 1, &fixture->scratch, NULL,
                                               NULL, &result, NULL);
        assert_true(status == TERN_OK || status == TERN_NO_MEMORY);
        fault_allocator_fail(fixture->faults, 0, false);
        engine_scratch_release(&fixture->scratch);
        assert_int_equal(fault_allocator_live_blocks(fixture->faults), 0);
        resolution_init(&fixture->resolution, fixture->allocator);
    }
}

static void equal_keys_of_two_partitions_hash_apart(void **state) {
    (void)state;
    tern_slice key = tern_slice_str("key");
    assert_int_equal(engine_key_hash(1, key), engine_key_hash(1, key));
    assert_int_not_equal(engine_key_hash(1, key), engine_key_hash(2, key));
    assert_int_not_equal(engine_key_hash(1, key), engine_key_hash(1, tern_slice_str("kez")));
}

struct test_view {
    struct engine_view view;
    size_t destroyed;
};

static void count_destroyed(struct engine_view *view) {
    ((struct test_view *)view)->destroyed++;
}

static void last_reference_retires_a_view_beyond_the_epoch(void **state) {
    (void)state;
    static const struct engine_methods methods = {.view_destroy = count_destroyed};
    struct test_view view = {.view = {.methods = &methods}};
    atomic_init(&view.view.references, 1);
    struct epoch_domain *epoch;
    assert_int_equal(epoch_domain_create(tern_allocator_default(), &epoch, NULL), TERN_OK);
    engine_view_retain(&view.view);
    engine_view_release(&view.view, epoch);
    (void)epoch_reclaim(epoch);
    assert_int_equal(view.destroyed, 0);
    struct epoch_slot *slot = epoch_enter(epoch);
    engine_view_release(&view.view, epoch);
    (void)epoch_reclaim(epoch);
    assert_int_equal(view.destroyed, 0);
    epoch_exit(slot);
    (void)epoch_reclaim(epoch);
    assert_int_equal(view.destroyed, 1);
    engine_view_release(NULL, epoch);
    epoch_domain_destroy(epoch);
}

static void starting_over_with_no_operand_leaks_nothing(void **state) {
    struct fixture *fixture = *state;
    uint8_t one[8] = {1};
    struct resolution_mark mark = resolution_mark(&fixture->resolution);
    uint64_t blocks = fault_allocator_live_blocks(fixture->faults);
    for (unsigned i = 0; i < RESOLUTION_INLINE_OPERANDS + 4; i++) {
        add(fixture, RECORD_MERGE, TERN_MERGE_ADD, 10, tern_slice_of(one, sizeof(one)));
    }
    /* Somebody has folded them into a value meanwhile. */
    resolution_rewind(&fixture->resolution, mark);
    add(fixture, RECORD_PUT, 0, 0, tern_slice_str("value"));
    struct engine_result result = finish(fixture, 20);
    assert_int_equal(result.record.kind, RECORD_PUT);
    assert_int_equal(fault_allocator_live_blocks(fixture->faults), blocks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(plain_value_is_not_copied, set_up, tear_down),
        cmocka_unit_test_setup_teardown(expired_value_is_missing_from_its_time_on, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(nothing_found_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(operands_apply_oldest_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(operands_without_a_value_start_from_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(operands_from_before_the_expiry_go_with_the_value, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(merged_value_keeps_its_expiry, set_up, tear_down),
        cmocka_unit_test_setup_teardown(takes_any_number_of_operands, set_up, tear_down),
        cmocka_unit_test_setup_teardown(starting_over_with_no_operand_leaks_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(value_in_the_scratch_itself_can_be_merged_over, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(failing_allocations_are_reported_and_leak_nothing, set_up,
                                        tear_down),
        cmocka_unit_test(equal_keys_of_two_partitions_hash_apart),
        cmocka_unit_test(last_reference_retires_a_view_beyond_the_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
