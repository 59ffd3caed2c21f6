/* SPDX-License-Identifier: Apache-2.0 */
#include "base/record.h"

#include <stdlib.h>
#include <string.h>
#include <tern/txn.h>

#include "base/bytes.h"
#include "base/compare.h"
#include "support/cmocka_test.h"
#include "support/fault_allocator.h"
#include "support/seeded_random.h"

static struct seeded_random generator;

static int seed_generator(void **state) {
    (void)state;
    seeded_random_init(&generator, seeded_random_seed("record"));
    return 0;
}

static const uint32_t kinds[] = {TERN_MERGE_ADD, TERN_MERGE_APPEND, TERN_MERGE_MAX};

/* Often 8 bytes, which add takes for a number, and often not. */
static tern_slice random_bytes(uint8_t *storage) {
    size_t size =
        seeded_random_chance(&generator, 1, 2) ? 8 : (size_t)seeded_random_below(&generator, 20);
    seeded_random_fill(&generator, storage, size);
    return tern_slice_of(storage, size);
}

static struct buffer merge(uint32_t kind, bool present, tern_slice value, tern_slice operand) {
    struct buffer result;
    buffer_init(&result, tern_allocator_default());
    assert_int_equal(record_merge(kind, present, value, operand, &result), TERN_OK);
    return result;
}

static struct buffer fold(uint32_t kind, tern_slice older, tern_slice newer) {
    struct buffer result;
    buffer_init(&result, tern_allocator_default());
    assert_int_equal(record_fold(kind, older, newer, &result), TERN_OK);
    return result;
}

/* merge(merge(v, a), b) == merge(v, fold(a, b)), for every value, also a missing one. */
static void folding_two_operands_is_applying_them_in_order(void **state) {
    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        uint8_t bytes[3][20];
        uint32_t kind = kinds[i % 3];
        bool present = seeded_random_chance(&generator, 3, 4);
        tern_slice value = random_bytes(bytes[0]);
        tern_slice older = random_bytes(bytes[1]);
        tern_slice newer = random_bytes(bytes[2]);
        struct buffer first = merge(kind, present, value, older);
        struct buffer both = merge(kind, true, buffer_slice(&first), newer);
        struct buffer folded = fold(kind, older, newer);
        struct buffer at_once = merge(kind, present, value, buffer_slice(&folded));
        assert_true(slice_equal(buffer_slice(&both), buffer_slice(&at_once)));
        buffer_release(&first);
        buffer_release(&both);
        buffer_release(&folded);
        buffer_release(&at_once);
    }
}

/* fold(fold(a, b), c) == fold(a, fold(b, c)): chains may be folded wherever it is convenient. */
static void folding_is_associative(void **state) {
    (void)state;
    for (unsigned i = 0; i < 5000; i++) {
        uint8_t bytes[3][20];
        uint32_t kind = kinds[i % 3];
        tern_slice a = random_bytes(bytes[0]);
        tern_slice b = random_bytes(bytes[1]);
        tern_slice c = random_bytes(bytes[2]);
        struct buffer ab = fold(kind, a, b);
        struct buffer left = fold(kind, buffer_slice(&ab), c);
        struct buffer bc = fold(kind, b, c);
        struct buffer right = fold(kind, a, buffer_slice(&bc));
        assert_true(slice_equal(buffer_slice(&left), buffer_slice(&right)));
        buffer_release(&ab);
        buffer_release(&left);
        buffer_release(&bc);
        buffer_release(&right);
    }
}

static void check_merge(uint32_t kind, bool present, const char *value, const char *operand,
                        const char *expected) {
    struct buffer result = merge(kind, present, tern_slice_of(value, strlen(value)),
                                 tern_slice_of(operand, strlen(operand)));
    assert_int_equal(result.size, strlen(expected));
    assert_memory_equal(result.data, expected, result.size);
    buffer_release(&result);
}

static void appends_and_takes_the_greater_by_the_order_of_keys(void **state) {
    (void)state;
    check_merge(TERN_MERGE_APPEND, true, "ab", "cd", "abcd");
    check_merge(TERN_MERGE_APPEND, false, "ab", "cd", "cd");
    check_merge(TERN_MERGE_MAX, true, "b", "ab", "b");
    check_merge(TERN_MERGE_MAX, true, "a", "ab", "ab");
    check_merge(TERN_MERGE_MAX, false, "b", "a", "a");
}

static void adds_numbers_modulo_2_to_the_64_and_takes_anything_else_for_zero(void **state) {
    (void)state;
    uint8_t most[8];
    uint8_t two[8];
    put_u64(most, UINT64_MAX);
    put_u64(two, 2);
    struct buffer sum = merge(TERN_MERGE_ADD, true, tern_slice_of(most, 8), tern_slice_of(two, 8));
    assert_int_equal(get_u64(sum.data), 1);
    buffer_release(&sum);
    sum = merge(TERN_MERGE_ADD, true, tern_slice_of("text", 4), tern_slice_of(two, 8));
    assert_int_equal(sum.size, 8);
    assert_int_equal(get_u64(sum.data), 2);
    buffer_release(&sum);
    sum = merge(TERN_MERGE_ADD, false, tern_slice_of(NULL, 0), tern_slice_of(two, 8));
    assert_int_equal(get_u64(sum.data), 2);
    buffer_release(&sum);
}

static void says_so_when_out_of_memory(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct buffer result;
    buffer_init(&result, fault_allocator_interface(allocator));
    fault_allocator_fail(allocator, 1, true);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(record_merge(kinds[i], true, tern_slice_of("12345678", 8),
                                      tern_slice_of("abcdefgh", 8), &result),
                         TERN_NO_MEMORY);
    }
    buffer_release(&result);
    fault_allocator_destroy(allocator);
}

static void expires_from_its_time_on(void **state) {
    (void)state;
    struct record record = {.kind = RECORD_PUT, .expires_ms = 100};
    assert_false(record_has_expired(&record, 99));
    assert_true(record_has_expired(&record, 100));
    record.expires_ms = 0;
    assert_false(record_has_expired(&record, UINT64_MAX));
}

static void keys_order_by_unsigned_bytes_and_shorter_first(void **state) {
    (void)state;
    static const char *const ascending[] = {"", "a", "a\x01", "ab", "b", "b\x7f", "b\x80", "\xff"};
    for (unsigned i = 0; i < sizeof(ascending) / sizeof(ascending[0]); i++) {
        for (unsigned j = 0; j < sizeof(ascending) / sizeof(ascending[0]); j++) {
            tern_slice left = tern_slice_of(ascending[i], strlen(ascending[i]));
            tern_slice right = tern_slice_of(ascending[j], strlen(ascending[j]));
            int order = slice_compare(left, right);
            assert_int_equal((order > 0) - (order < 0), (i > j) - (i < j));
            assert_true(slice_equal(left, right) == (i == j));
        }
    }
    assert_int_equal(slice_compare(tern_slice_of(NULL, 0), tern_slice_of(NULL, 0)), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folding_two_operands_is_applying_them_in_order),
        cmocka_unit_test(folding_is_associative),
        cmocka_unit_test(appends_and_takes_the_greater_by_the_order_of_keys),
        cmocka_unit_test(adds_numbers_modulo_2_to_the_64_and_takes_anything_else_for_zero),
        cmocka_unit_test(says_so_when_out_of_memory),
        cmocka_unit_test(expires_from_its_time_on),
        cmocka_unit_test(keys_order_by_unsigned_bytes_and_shorter_first),
    };
    return cmocka_run_group_tests(tests, seed_generator, NULL);
}
