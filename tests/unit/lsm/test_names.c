/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the files of a partition. */
#include "engine/lsm/lsm.h"
#include "support/cmocka_test.h"

static void every_name_that_is_made_is_known_again(void **state) {
    (void)state;
    static const uint64_t numbers[] = {0, 1, 7, 1000000, LSM_FILE_NUMBER_MAX};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        for (unsigned kind = LSM_FILE_TABLE; kind <= LSM_FILE_VALUES; kind++) {
            char name[LSM_FILE_NAME_BYTES];
            uint64_t number = 99;
            enum lsm_file_kind found = LSM_FILE_TABLE;
            lsm_file_name(7, numbers[i], (enum lsm_file_kind)kind, name);
            assert_true(lsm_file_parse(7, name, &number, &found));
            assert_true(number == numbers[i]);
            assert_int_equal(found, kind);
            assert_false(lsm_file_parse(8, name, &number, &found));
        }
    }
}

static void names_that_are_not_made_are_of_no_partition(void **state) {
    (void)state;
    static const char *const names[] = {
        "p-0000000000000007.007.lsm",
        "p-0000000000000007.9999999999999999999.lsm",
        "p-0000000000000007.18446744073709551615.lsm",
        "p-0000000000000007.99999999999999999999.lsm",
        "p-0000000000000007.lsm",
        "p-0000000000000007.1.lsm2",
        "p-0000000000000007.1",
        "p-0000000000000007.+1.lsm",
        "p-7.1.lsm",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        uint64_t number = 0;
        enum lsm_file_kind kind;
        assert_false(lsm_file_parse(7, names[i], &number, &kind));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_name_that_is_made_is_known_again),
        cmocka_unit_test(names_that_are_not_made_are_of_no_partition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
