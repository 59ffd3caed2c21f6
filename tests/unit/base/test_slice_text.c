/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slice_text.h"

#include <stdbool.h>

#include "support/cmocka_test.h"

static void quotes_what_can_be_printed_and_escapes_the_rest(void **state) {
    (void)state;
    char text[SLICE_TEXT_BYTES];
    assert_string_equal(slice_text(tern_slice_str("key 1~"), text), "\"key 1~\"");
    assert_string_equal(slice_text(tern_slice_of(NULL, 0), text), "\"\"");
    assert_string_equal(slice_text(tern_slice_of("a\0\xff\"\\\n\x7f", 7), text),
                        "\"a\\x00\\xff\\x22\\x5c\\x0a\\x7f\"");
}

/* `each`: bytes that one of these is printed as. */
static void check_sizes(int byte, size_t each) {
    char long_key[2 * SLICE_TEXT_BYTES];
    memset(long_key, byte, sizeof(long_key));
    size_t whole = 0;
    for (size_t size = 0; size <= sizeof(long_key); size++) {
        char text[SLICE_TEXT_BYTES + 1];
        text[SLICE_TEXT_BYTES] = '!';
        size_t length = strlen(slice_text(tern_slice_of(long_key, size), text));
        assert_true(length < SLICE_TEXT_BYTES);
        assert_int_equal(text[SLICE_TEXT_BYTES], '!');
        bool is_cut = text[length - 1] == '.';
        assert_int_equal(text[length - (is_cut ? 4 : 1)], '"');
        assert_true(is_cut || (whole == size && length == 2 + size * each));
        whole += is_cut ? 0 : 1;
    }
    assert_true(whole > 20);
}

static void says_that_it_was_cut_short_and_stays_within_its_buffer(void **state) {
    (void)state;
    check_sizes('k', 1);
    check_sizes(0xfe, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_what_can_be_printed_and_escapes_the_rest),
        cmocka_unit_test(says_that_it_was_cut_short_and_stays_within_its_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
