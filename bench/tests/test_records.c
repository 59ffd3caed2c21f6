/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off: cmocka.h needs these first, in this order */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#include "../records.h"

#include <stdlib.h>

static void the_permutation_visits_every_rank_once(void **state) {
    (void)state;
    const uint64_t counts[] = {10, 11, 1000, 1023, 1024, 1025, 100000};
    for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
        struct record_space records;
        records_init(&records, counts[c], 1, 16, 100, 1.0, KEY_BINARY);
        bool *seen = calloc(counts[c], sizeof(*seen));
        assert_non_null(seen);
        for (uint64_t i = 0; i < counts[c]; i++) {
            uint64_t rank = record_permute(&records, i);
            assert_true(rank < counts[c]);
            assert_false(seen[rank]);
            seen[rank] = true;
        }
        free(seen);
    }
}

static void keys_sort_as_ranks_do_and_missing_and_inserted_ones_lie_between(void **state) {
    (void)state;
    for (int format = 0; format < 2; format++) {
        struct record_space records;
        uint8_t last[24];
        uint8_t key[24];
        uint8_t inserted[24];
        uint8_t missing[24];
        memset(last, 0, sizeof(last));
        records_init(&records, 5000, 4, 24, 100, 1.0, format == 0 ? KEY_BINARY : KEY_HEX);
        for (uint64_t rank = 0; rank < 5000; rank++) {
            uint64_t position = record_position(&records, rank);
            record_key_write(&records, position, key);
            record_key_write(&records, position + 3, inserted);
            record_key_write(&records, record_missing_position(&records, rank), missing);
            assert_true(memcmp(last, key, sizeof(key)) < 0);
            assert_true(memcmp(key, inserted, sizeof(key)) < 0);
            assert_true(memcmp(inserted, missing, sizeof(key)) < 0);
            assert_int_equal(record_key_position(&records, key), position);
            memcpy(last, missing, sizeof(last));
        }
    }
}

static void inserted_positions_are_all_different(void **state) {
    (void)state;
    struct record_space records;
    records_init(&records, 100, 4, 16, 100, 1.0, KEY_BINARY);
    for (uint64_t one = 0; one < 350; one++) {
        uint64_t position = record_insert_position(&records, one);
        for (uint64_t other = 0; other < one; other++)
            assert_int_not_equal(position, record_insert_position(&records, other));
        for (uint64_t rank = 0; rank < 100; rank++)
            assert_int_not_equal(position, record_position(&records, rank));
    }
}

static void a_value_is_right_for_its_own_key_alone(void **state) {
    (void)state;
    const size_t sizes[] = {8, 9, 15, 16, 100, 1001};
    const double entropies[] = {0.0, 0.33, 1.0};
    for (size_t s = 0; s < 6; s++) {
        for (size_t e = 0; e < 3; e++) {
            struct record_space records;
            uint8_t value[1001];
            records_init(&records, 1000, 4, 16, sizes[s], entropies[e], KEY_BINARY);
            uint64_t position = record_position(&records, 77);
            record_value_write(&records, position, 5, value);
            assert_true(record_value_is_right(&records, position, value, sizes[s]));
            assert_int_equal(record_value_version(&records, position, value), 5);
            assert_false(record_value_is_right(&records, position + 1, value, sizes[s]));
            assert_false(record_value_is_right(&records, position, value, sizes[s] - 1));
        }
    }
}

static void a_value_with_any_bit_changed_is_wrong(void **state) {
    (void)state;
    struct record_space records;
    uint8_t value[100];
    records_init(&records, 1000, 4, 16, sizeof(value), 0.5, KEY_BINARY);
    uint64_t position = record_position(&records, 77);
    record_value_write(&records, position, 5, value);
    /* A changed version asks for other random bytes, so the header is covered too. */
    for (size_t bit = 0; bit < 8 * sizeof(value); bit++) {
        value[bit / 8] ^= (uint8_t)(1U << bit % 8);
        assert_false(record_value_is_right(&records, position, value, sizeof(value)));
        value[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_permutation_visits_every_rank_once),
        cmocka_unit_test(keys_sort_as_ranks_do_and_missing_and_inserted_ones_lie_between),
        cmocka_unit_test(inserted_positions_are_all_different),
        cmocka_unit_test(a_value_is_right_for_its_own_key_alone),
        cmocka_unit_test(a_value_with_any_bit_changed_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
