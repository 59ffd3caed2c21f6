/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <string.h>

#include "support/cmocka_test.h"

static void says_what_happened_where_and_why(void **state) {
    (void)state;
    tern_error error = TERN_ERROR_INIT;
    char line[256];
    assert_int_equal(ERROR_AT(&error, TERN_CORRUPTION, "a/b", 512, EIO, "bad page %d", 7),
                     TERN_CORRUPTION);
    assert_int_equal(error.status, TERN_CORRUPTION);
    assert_int_equal(error.system_errno, EIO);
    assert_int_equal(error.offset, 512);
    assert_string_equal(error.file, "a/b");
    assert_string_equal(error.message, "bad page 7");
    assert_non_null(strstr(error.source_file, "test_error.c"));
    int size = tern_error_format(&error, line, sizeof(line));
    assert_string_equal(line, "bad page 7 (file a/b at offset 512): Input/output error");
    assert_int_equal(size, strlen(line));
    assert_int_equal(ERROR_AT(&error, TERN_IO, "a/b", -1, 0, "bad"), TERN_IO);
    (void)tern_error_format(&error, line, sizeof(line));
    assert_string_equal(line, "bad (file a/b)");
    assert_int_equal(ERROR_SET(&error, TERN_INVALID, "only this"), TERN_INVALID);
    (void)tern_error_format(&error, line, sizeof(line));
    assert_string_equal(line, "only this");
    assert_int_equal(error.offset, -1);
    assert_int_equal(error.system_errno, 0);
}

static void falls_back_to_the_text_of_the_status(void **state) {
    (void)state;
    tern_error error = TERN_ERROR_INIT;
    char line[64];
    error.status = TERN_NOT_FOUND;
    (void)tern_error_format(&error, line, sizeof(line));
    assert_string_equal(line, tern_status_text(TERN_NOT_FOUND));
}

static void accepts_no_error_and_passes_the_status_on(void **state) {
    (void)state;
    assert_int_equal(ERROR_SET(NULL, TERN_IO, "nobody listens"), TERN_IO);
    assert_int_equal(ERROR_NO_MEMORY(NULL, "x"), TERN_NO_MEMORY);
    error_copy(NULL, NULL);
    error_clear(NULL);
}

static void keeps_the_end_of_a_long_path_and_the_beginning_of_a_long_message(void **state) {
    (void)state;
    tern_error error = TERN_ERROR_INIT;
    for (size_t size = TERN_ERROR_FILE_BYTES - 3; size < TERN_ERROR_FILE_BYTES + 3; size++) {
        char path[TERN_ERROR_FILE_BYTES + 3];
        memset(path, 'd', size);
        memcpy(path + size - 4, "name", 5);
        assert_int_equal(ERROR_AT(&error, TERN_IO, path, 1, 0, "%s%s", path, path), TERN_IO);
        size_t kept = strlen(error.file);
        assert_true(kept < TERN_ERROR_FILE_BYTES);
        assert_string_equal(error.file + kept - 4, "name");
        assert_true((memcmp(error.file, "...", 3) == 0) == (size >= TERN_ERROR_FILE_BYTES));
        assert_true(strlen(error.message) < TERN_ERROR_MESSAGE_BYTES);
    }
}

static void formats_into_any_capacity(void **state) {
    (void)state;
    tern_error error = TERN_ERROR_INIT;
    assert_int_equal(ERROR_AT(&error, TERN_IO, "file", 1, EIO, "message"), TERN_IO);
    char whole[256];
    int size = tern_error_format(&error, whole, sizeof(whole));
    for (size_t capacity = 1; capacity < (size_t)size + 2; capacity++) {
        char line[256];
        memset(line, 'x', sizeof(line));
        assert_int_equal(tern_error_format(&error, line, capacity), size);
        assert_true(strlen(line) < capacity);
        assert_memory_equal(line, whole, strlen(line));
        assert_int_equal(line[capacity], 'x');
    }
}

static void copies_and_clears(void **state) {
    (void)state;
    tern_error error = TERN_ERROR_INIT;
    tern_error copy = TERN_ERROR_INIT;
    assert_int_equal(ERROR_AT(&error, TERN_IO, "file", 1, EIO, "message"), TERN_IO);
    error_copy(&copy, &error);
    error_copy(&copy, &copy);
    assert_string_equal(copy.message, "message");
    error_clear(&copy);
    assert_int_equal(copy.status, TERN_OK);
    assert_int_equal(copy.offset, -1);
    assert_string_equal(copy.message, "");
}

static void every_status_has_name_text_and_codes_of_its_own(void **state) {
    (void)state;
    static const tern_status all[] = {
#define STATUS_VALUE(name, code, text, http, grpc, exit_code) TERN_##name,
        TERN_STATUS_MAP(STATUS_VALUE)
#undef STATUS_VALUE
    };
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        assert_true(all[i] <= 0);
        for (unsigned j = 0; j < i; j++) {
            assert_int_not_equal(all[i], all[j]);
            assert_int_not_equal(tern_status_exit(all[i]), tern_status_exit(all[j]));
            assert_string_not_equal(tern_status_name(all[i]), tern_status_name(all[j]));
            assert_string_not_equal(tern_status_text(all[i]), tern_status_text(all[j]));
        }
        assert_true(tern_status_http(all[i]) >= 200 && tern_status_http(all[i]) < 600);
        assert_true(tern_status_grpc(all[i]) >= 0 && tern_status_grpc(all[i]) <= 16);
    }
    assert_int_equal(tern_status_exit(TERN_OK), 0);
    assert_string_equal(tern_status_text((tern_status)77), "unknown status");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_happened_where_and_why),
        cmocka_unit_test(falls_back_to_the_text_of_the_status),
        cmocka_unit_test(accepts_no_error_and_passes_the_status_on),
        cmocka_unit_test(keeps_the_end_of_a_long_path_and_the_beginning_of_a_long_message),
        cmocka_unit_test(formats_into_any_capacity),
        cmocka_unit_test(copies_and_clears),
        cmocka_unit_test(every_status_has_name_text_and_codes_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
