/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/words.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

/* Splits and compares with the words joined by '|'. */
static void check(const char *line, enum words_result result, const char *joined) {
    struct words words = {0};
    struct buffer text = {0};
    const char *problem = NULL;
    assert_int_equal(words_split(&words, tern_slice_str(line), &problem), result);
    if (result == WORDS_COMPLETE) {
        for (size_t i = 0; i < words.count; i++) {
            buffer_append_text(&text, i > 0 ? "|" : "");
            buffer_append_slice(&text, words.list[i].bytes);
        }
        assert_string_equal(buffer_text(&text), joined);
    } else {
        assert_non_null(problem);
    }
    buffer_release(&text);
    words_release(&words);
}

static void blanks_separate_words(void **state) {
    (void)state;
    check("  put  a\tb c\r", WORDS_COMPLETE, "put|a|b|c");
    check("", WORDS_COMPLETE, "");
    check(" \t ", WORDS_COMPLETE, "");
}

static void quotes_keep_blanks_and_join(void **state) {
    (void)state;
    check("'a b' \"c d\" e' 'f \"\"", WORDS_COMPLETE, "a b|c d|e f|");
    check("'\\n' \"\\n\\x41\" a\\ b \\'", WORDS_COMPLETE, "\\n|\nA|a b|'");
}

static void a_hash_begins_a_comment_only_at_a_word(void **state) {
    (void)state;
    check("a#b # c d", WORDS_COMPLETE, "a#b");
    check("'#' b", WORDS_COMPLETE, "#|b");
}

static void open_quotes_ask_for_more(void **state) {
    (void)state;
    check("put 'a", WORDS_OPEN, NULL);
    check("put \"a", WORDS_OPEN, NULL);
    check("put \"a\\", WORDS_OPEN, NULL);
    check("put a \\", WORDS_OPEN, NULL);
}

static void a_bad_escape_is_invalid(void **state) {
    (void)state;
    check("put \"\\q\"", WORDS_INVALID, NULL);
    check("put \"\\x0", WORDS_INVALID, NULL);
}

static void words_may_hold_zero_bytes_and_know_whether_they_were_quoted(void **state) {
    (void)state;
    struct words words = {0};
    const char *problem = NULL;
    assert_int_equal(words_split(&words, tern_slice_str("-a \"-\\x00b\""), &problem),
                     WORDS_COMPLETE);
    assert_int_equal(words.count, 2);
    assert_false(words.list[0].quoted);
    assert_true(words.list[1].quoted);
    assert_int_equal(words.list[1].bytes.size, 3);
    assert_memory_equal(words.list[1].bytes.data, "-\0b\0", 4);
    words_release(&words);
}

static void quoting_and_splitting_give_any_bytes_back(void **state) {
    (void)state;
    unsigned seed = 77;
    struct words words = {0};
    for (int round = 0; round < 5000; round++) {
        char bytes[3][20];
        size_t sizes[3];
        struct buffer line = {0};
        const char *problem = NULL;
        for (size_t i = 0; i < 3; i++) {
            sizes[i] = (size_t)rand_r(&seed) % 20;
            for (size_t k = 0; k < sizes[i]; k++) {
                bytes[i][k] = (round & 1) != 0 ? (char)rand_r(&seed)
                                               : " \\'\"#-aé\n\t"[(size_t)rand_r(&seed) % 11];
            }
            buffer_append_char(&line, ' ');
            word_quote(tern_slice_of(bytes[i], sizes[i]), &line);
        }
        assert_int_equal(words_split(&words, buffer_slice(&line), &problem), WORDS_COMPLETE);
        assert_int_equal(words.count, 3);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(words.list[i].bytes.size, sizes[i]);
            assert_memory_equal(words.list[i].bytes.data, bytes[i], sizes[i]);
        }
        buffer_release(&line);
    }
    words_release(&words);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_separate_words),
        cmocka_unit_test(quotes_keep_blanks_and_join),
        cmocka_unit_test(a_hash_begins_a_comment_only_at_a_word),
        cmocka_unit_test(open_quotes_ask_for_more),
        cmocka_unit_test(a_bad_escape_is_invalid),
        cmocka_unit_test(words_may_hold_zero_bytes_and_know_whether_they_were_quoted),
        cmocka_unit_test(quoting_and_splitting_give_any_bytes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
