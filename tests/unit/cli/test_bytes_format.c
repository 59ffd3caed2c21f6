/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bytes_format.h"
#include "cli/utf8.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static void check_encoded(enum bytes_format format, tern_slice bytes, const char *expected) {
    struct buffer text = {0};
    bytes_encode(format, bytes, &text);
    assert_string_equal(buffer_text(&text), expected);
    buffer_release(&text);
}

static void check_refused(enum bytes_format format, const char *text) {
    struct buffer bytes = {0};
    const char *problem = NULL;
    assert_false(bytes_decode(format, tern_slice_str(text), &bytes, &problem));
    assert_non_null(problem);
    buffer_release(&bytes);
}

static void check_decoded(enum bytes_format format, const char *text, const char *expected,
                          size_t size) {
    struct buffer bytes = {0};
    const char *problem = NULL;
    assert_true(bytes_decode(format, tern_slice_str(text), &bytes, &problem));
    assert_int_equal(bytes.size, size);
    assert_memory_equal(buffer_text(&bytes), expected, size);
    buffer_release(&bytes);
}

static void text_that_is_printable_stands_as_it_is(void **state) {
    (void)state;
    check_encoded(BYTES_TEXT, tern_slice_str("naïve 漢字 \\ 'x'"), "naïve 漢字 \\ 'x'");
    check_encoded(BYTES_TEXT, tern_slice_str(""), "");
}

static void text_that_could_be_misread_is_quoted_and_escaped(void **state) {
    (void)state;
    check_encoded(BYTES_TEXT, tern_slice_of("\0\xff", 2), "\"\\x00\\xff\"");
    check_encoded(BYTES_TEXT, tern_slice_str("\"a\""), "\"\\\"a\\\"\"");
    check_encoded(BYTES_TEXT, tern_slice_str("a\tb\n"), "\"a\\tb\\n\"");
    check_encoded(BYTES_TEXT,
                  tern_slice_str("\xe2\x80\xae"
                                 "evil"),
                  "\"\\xe2\\x80\\xaeevil\"");
    check_encoded(BYTES_TEXT, tern_slice_str("\033[31m"), "\"\\e[31m\"");
}

static void escapes_mean_their_bytes(void **state) {
    (void)state;
    check_decoded(BYTES_ESCAPED, "\\0\\a\\b\\e\\f\\n\\r\\t\\v\\\\\\\"\\'",
                  "\0\a\b\033\f\n\r\t\v\\\"'", 12);
    check_decoded(BYTES_ESCAPED, "\\x00\\xFf\\u00e9", "\0\xff\xc3\xa9", 4);
}

static void bad_escapes_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"\\",   "a\\",   "\\q",   "\\x",
                                      "\\x1", "\\xg0", "\\u12", "\\ud800"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        check_refused(BYTES_ESCAPED, bad[i]);
    }
}

static void hex_needs_two_digits_a_byte(void **state) {
    (void)state;
    check_decoded(BYTES_HEX, "00fFa1", "\0\xff\xa1", 3);
    check_encoded(BYTES_HEX, tern_slice_of("\0\xff", 2), "00ff");
    check_refused(BYTES_HEX, "0");
    check_refused(BYTES_HEX, "0g");
}

static void base64_follows_the_vectors_of_rfc_4648(void **state) {
    (void)state;
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        check_encoded(BYTES_BASE64, tern_slice_str(vectors[i][0]), vectors[i][1]);
        check_decoded(BYTES_BASE64, vectors[i][1], vectors[i][0], strlen(vectors[i][0]));
    }
}

static void base64_with_a_second_spelling_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "Zg", "Zg=", "Zh==", "Zm9=", "=Zg=", "Z===", "Zg==Zg==", "Zm 9", "Zm9v\n", "===="};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        check_refused(BYTES_BASE64, bad[i]);
    }
}

static void integers_are_eight_little_endian_bytes(void **state) {
    (void)state;
    check_decoded(BYTES_INTEGER, "-2", "\xfe\xff\xff\xff\xff\xff\xff\xff", 8);
    check_decoded(BYTES_INTEGER, "9223372036854775807", "\xff\xff\xff\xff\xff\xff\xff\x7f", 8);
    check_encoded(BYTES_INTEGER, tern_slice_of("\x00\x00\x00\x00\x00\x00\x00\x80", 8),
                  "-9223372036854775808");
    static const char *const bad[] = {"",   "-",    "+",  "1x", "9223372036854775808",
                                      " 1", "0x10", "1.0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        check_refused(BYTES_INTEGER, bad[i]);
    }
}

static void every_form_gives_random_bytes_back(void **state) {
    (void)state;
    static const enum bytes_format formats[] = {BYTES_RAW, BYTES_ESCAPED, BYTES_HEX, BYTES_BASE64};
    unsigned seed = 20250601;
    for (int round = 0; round < 4000; round++) {
        char bytes[40];
        size_t size = (size_t)rand_r(&seed) % sizeof(bytes);
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (char)rand_r(&seed);
        }
        struct buffer text = {0};
        struct buffer back = {0};
        const char *problem = NULL;
        enum bytes_format format = formats[round % 4];
        bytes_encode(format, tern_slice_of(bytes, size), &text);
        assert_true(bytes_decode(format, buffer_slice(&text), &back, &problem));
        assert_int_equal(back.size, size);
        assert_memory_equal(buffer_text(&back), bytes, size);
        assert_true(format == BYTES_RAW || utf8_is_printable(buffer_slice(&text)));
        buffer_release(&text);
        buffer_release(&back);
    }
}

static void utf8_with_overlong_forms_and_surrogates_is_invalid(void **state) {
    (void)state;
    static const char *const bad[] = {
        "\xc0\x80",         "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xf0\x80\x80\x80", "\x80",         "\xc3",         "\xff"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(utf8_is_valid(tern_slice_str(bad[i])));
    }
    assert_true(utf8_is_valid(tern_slice_str("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
    assert_int_equal(utf8_width_columns(tern_slice_str("漢e\xcc\x81")), 3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_that_is_printable_stands_as_it_is),
        cmocka_unit_test(text_that_could_be_misread_is_quoted_and_escaped),
        cmocka_unit_test(escapes_mean_their_bytes),
        cmocka_unit_test(bad_escapes_are_refused),
        cmocka_unit_test(hex_needs_two_digits_a_byte),
        cmocka_unit_test(base64_follows_the_vectors_of_rfc_4648),
        cmocka_unit_test(base64_with_a_second_spelling_is_refused),
        cmocka_unit_test(integers_are_eight_little_endian_bytes),
        cmocka_unit_test(every_form_gives_random_bytes_back),
        cmocka_unit_test(utf8_with_overlong_forms_and_surrogates_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
