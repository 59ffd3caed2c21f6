/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/csv.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

/* Reads all records: fields in <>, records ended by ';', bad ones as !LINE;. */
static void read_all(const char *text, const struct csv_reader *settings, struct buffer *out) {
    struct input input;
    input_open_memory(&input, tern_slice_str(text));
    struct csv_reader reader = *settings;
    reader.input = &input;
    enum csv_result result;
    while ((result = csv_reader_next(&reader)) == CSV_RECORD || result == CSV_INVALID) {
        for (size_t i = 0; result == CSV_RECORD && i < reader.field_count; i++) {
            buffer_append_char(out, '<');
            buffer_append_slice(out, reader.fields[i]);
            buffer_append_char(out, '>');
        }
        if (result == CSV_INVALID) {
            assert_non_null(reader.problem);
            buffer_print(out, "!%llu", (unsigned long long)reader.line_no);
        }
        buffer_append_char(out, ';');
    }
    assert_int_equal(result, CSV_END);
    csv_reader_release(&reader);
    input_close(&input);
}

static void check_with(const char *text, const struct csv_reader *settings, const char *expected) {
    struct buffer out = {0};
    read_all(text, settings, &out);
    assert_string_equal(buffer_text(&out), expected);
    buffer_release(&out);
}

static void check(const char *text, const char *expected) {
    check_with(text, &(struct csv_reader){.delimiter = ','}, expected);
}

static void fields_and_records_are_separated(void **state) {
    (void)state;
    check("a,b\r\nc,d\r\n", "<a><b>;<c><d>;");
    check("a,b\nc,d", "<a><b>;<c><d>;");
    check(",\n,,\n", "<><>;<><><>;");
    check("", "");
}

static void quoted_fields_hold_anything(void **state) {
    (void)state;
    check("\"a,b\",\"c\"\"d\",\"\"\n", "<a,b><c\"d><>;");
    check("\"line 1\nline 2\r\nline 3\",x\ny\n", "<line 1\nline 2\r\nline 3><x>;<y>;");
    check("\"a\r\"\r\n", "<a\r>;");
}

static void bad_records_are_named_by_line_and_reading_goes_on(void **state) {
    (void)state;
    check("a\nb\"c\nd\n", "<a>;!2;<d>;");
    check("a\n\"b\"c\nd\n", "<a>;!2;<d>;");
    check("\"x\ny\"z\nd\n", "!1;<d>;");
    check("a\n\"open\nmore", "<a>;!2;");
}

static void empty_lines_and_comments_are_left_out(void **state) {
    (void)state;
    struct csv_reader settings = {.delimiter = '\t', .comment = '#'};
    check_with("# c\n\na\tb\n\r\n#x\nc\n", &settings, "<a><b>;<c>;");
}

static void quotes_can_mean_themselves(void **state) {
    (void)state;
    struct csv_reader settings = {.delimiter = ';', .has_no_quotes = true};
    check_with("a\"b;\"c\n", &settings, "<a\"b><\"c>;");
}

static void too_many_fields_are_refused(void **state) {
    (void)state;
    struct buffer text = {0};
    struct buffer out = {0};
    for (int i = 0; i < CSV_FIELDS_MAX; i++) {
        buffer_append_char(&text, ',');
    }
    buffer_append_text(&text, "\na\n");
    read_all(buffer_text(&text), &(struct csv_reader){.delimiter = ','}, &out);
    assert_string_equal(buffer_text(&out), "!1;<a>;");
    buffer_release(&text);
    buffer_release(&out);
}

static void written_fields_are_read_back(void **state) {
    (void)state;
    unsigned seed = 99;
    for (int round = 0; round < 5000; round++) {
        struct buffer text = {0};
        char fields[3][16];
        size_t sizes[3];
        for (size_t i = 0; i < 3; i++) {
            sizes[i] = (size_t)rand_r(&seed) % 16;
            for (size_t k = 0; k < sizes[i]; k++) {
                fields[i][k] = "\"\n\r,a#;\0 \xff"[(size_t)rand_r(&seed) % 10];
            }
            csv_write_field(tern_slice_of(fields[i], sizes[i]), ',', &text);
            buffer_append_text(&text, i < 2 ? "," : "\r\n");
        }
        struct input input;
        input_open_memory(&input, buffer_slice(&text));
        struct csv_reader reader = {.input = &input, .delimiter = ',', .comment = '#'};
        assert_int_equal(csv_reader_next(&reader), CSV_RECORD);
        assert_int_equal(reader.field_count, 3);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(reader.fields[i].size, sizes[i]);
            assert_memory_equal(reader.fields[i].data, fields[i], sizes[i]);
        }
        assert_int_equal(csv_reader_next(&reader), CSV_END);
        csv_reader_release(&reader);
        input_close(&input);
        buffer_release(&text);
    }
}

static void an_empty_field_that_stands_alone_is_quoted(void **state) {
    (void)state;
    struct buffer text = {0};
    csv_write_field(tern_slice_of(NULL, 0), ',', &text);
    buffer_append_text(&text, "\n");
    check(buffer_text(&text), "<>;");
    buffer_release(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_and_records_are_separated),
        cmocka_unit_test(quoted_fields_hold_anything),
        cmocka_unit_test(bad_records_are_named_by_line_and_reading_goes_on),
        cmocka_unit_test(empty_lines_and_comments_are_left_out),
        cmocka_unit_test(quotes_can_mean_themselves),
        cmocka_unit_test(too_many_fields_are_refused),
        cmocka_unit_test(written_fields_are_read_back),
        cmocka_unit_test(an_empty_field_that_stands_alone_is_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
