/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/latencies.h"
#include "cli/quantity.h"
#include "cli/suggest.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void units_are_understood(void **state) {
    (void)state;
    uint64_t number = 0;
    assert_true(quantity_parse_count("12", &number) && number == 12);
    assert_true(quantity_parse_count("2M", &number) && number == 2000000);
    assert_true(quantity_parse_count("1.5k", &number) && number == 1500);
    assert_true(quantity_parse_bytes("64KiB", &number) && number == 65536);
    assert_true(quantity_parse_bytes("1GB", &number) && number == 1000000000);
    assert_true(quantity_parse_bytes("0.5K", &number) && number == 512);
    assert_true(quantity_parse_duration_ms("250ms", &number) && number == 250);
    assert_true(quantity_parse_duration_ms("7d", &number) && number == 604800000);
    assert_true(quantity_parse_duration_ms("90", &number) && number == 90000);
}

static void nonsense_and_overflow_are_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",   "-1", "k",  "1x", "1.5", "18446744073709551616", "18446744073709551615k",
        " 1", "1 ", "+1", "1e3"};
    uint64_t number = 42;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(quantity_parse_count(bad[i], &number));
    }
    assert_int_equal(number, 42);
}

static void check(void (*print)(uint64_t number, struct buffer *text), uint64_t number,
                  const char *expected) {
    struct buffer text = {0};
    print(number, &text);
    assert_string_equal(buffer_text(&text), expected);
    buffer_release(&text);
}

static void numbers_are_printed_for_reading(void **state) {
    (void)state;
    check(quantity_print_count, 0, "0");
    check(quantity_print_count, 1234567, "1,234,567");
    check(quantity_print_count, 123, "123");
    check(quantity_print_bytes, 1023, "1023 B");
    check(quantity_print_bytes, 1536, "1.5 KiB");
    check(quantity_print_bytes, 1048575, "1.0 MiB");
    check(quantity_print_bytes, UINT64_MAX, "16.0 EiB");
    check(quantity_print_duration_ns, 999, "999 ns");
    check(quantity_print_duration_ns, 1500, "1.5 µs");
    check(quantity_print_duration_ns, 80000000000, "1m 20s");
}

static void percentiles_are_within_six_percent(void **state) {
    (void)state;
    struct latencies latencies = {0};
    for (uint64_t i = 1; i <= 100000; i++) {
        latencies_add(&latencies, i * 1000);
    }
    for (unsigned percent = 1; percent <= 100; percent++) {
        double truth = percent * 1e6;
        double found = (double)latencies_percentile_ns(&latencies, percent);
        assert_true(found >= truth * 0.999 && found <= truth * 1.0626);
    }
    assert_int_equal(latencies.max_ns, 100000000);
    latencies_clear(&latencies);
    assert_int_equal(latencies_percentile_ns(&latencies, 50), 0);
    latencies_add(&latencies, UINT64_MAX);
    assert_true(latencies_percentile_ns(&latencies, 50) == UINT64_MAX);
}

static void edit_distance_counts_swaps_as_one(void **state) {
    (void)state;
    assert_int_equal(edit_distance("", ""), 0);
    assert_int_equal(edit_distance("abc", ""), 3);
    assert_int_equal(edit_distance("scna", "scan"), 1);
    assert_int_equal(edit_distance("kitten", "sitting"), 3);
    char longer[80];
    memset(longer, 'a', sizeof(longer));
    longer[79] = '\0';
    assert_true(edit_distance(longer, "a") == SIZE_MAX);
}

static void far_words_are_not_suggested(void **state) {
    (void)state;
    struct suggestion suggestion = {.typed = "frobnicate"};
    suggestion_offer(&suggestion, "scan");
    assert_null(suggestion.best);
    suggestion = (struct suggestion){.typed = "compac"};
    suggestion_offer(&suggestion, "compact");
    assert_string_equal(suggestion.best, "compact");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_are_understood),
        cmocka_unit_test(nonsense_and_overflow_are_refused),
        cmocka_unit_test(numbers_are_printed_for_reading),
        cmocka_unit_test(percentiles_are_within_six_percent),
        cmocka_unit_test(edit_distance_counts_swaps_as_one),
        cmocka_unit_test(far_words_are_not_suggested),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
