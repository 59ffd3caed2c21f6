/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/record.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

static struct record_options options_of(enum record_format format) {
    return (struct record_options){.format = format, .delimiter = ',', .key_separator = "/"};
}

/* "key=value;" for each record, "!LINE:problem;" for bad ones. */
static void read_all(tern_slice text, const struct record_options *options, struct buffer *out) {
    struct input input;
    struct record record;
    input_open_memory(&input, text);
    struct record_source *source = record_source_open(&input, options);
    for (;;) {
        enum record_kind kind = record_source_next(source, &record);
        if (kind == RECORD_END) {
            break;
        }
        if (kind == RECORD_INVALID || kind == RECORD_FAILED) {
            assert_non_null(record.problem);
            buffer_print(out, "!%llu;", (unsigned long long)record.line_no);
        } else if (kind == RECORD_PAIR) {
            if (options->has_all_keyspaces) {
                buffer_append_slice(out, record.keyspace);
                buffer_append_char(out, '.');
            }
            buffer_append_slice(out, record.key);
            buffer_append_char(out, '=');
            buffer_append_slice(out, record.value);
            buffer_append_char(out, ';');
        }
        if (kind == RECORD_FAILED) {
            break;
        }
    }
    record_source_close(source);
    input_close(&input);
}

static void check(const char *text, const struct record_options *options, const char *expected) {
    struct buffer out = {0};
    read_all(tern_slice_str(text), options, &out);
    assert_string_equal(buffer_text(&out), expected);
    buffer_release(&out);
}

static void json_lines_take_keys_and_values_in_any_form(void **state) {
    (void)state;
    struct record_options options = options_of(RECORD_JSONL);
    check("{\"key\":\"a\",\"value\":\"b\"}\n\n  "
          "\n{\"value_hex\":\"6364\",\"key_base64\":\"ZQ==\"}\r\n"
          "{\"key\":1,\"value\":{\"x\": [1]}}",
          &options, "a=b;e=cd;1={\"x\": [1]};");
}

static void json_lines_name_the_line_that_is_bad(void **state) {
    (void)state;
    struct record_options options = options_of(RECORD_JSONL);
    check("{\"key\":\"a\",\"value\":\"b\"}\n{\"key\":\"a\"}\nnonsense\n{\"value\":1}\n"
          "{\"key\":\"x\",\"key_hex\":\"00\",\"value\":1}\n{\"key_hex\":\"0\",\"value\":1}\n"
          "{\"key\":\"z\",\"value\":\"y\"}\n",
          &options, "a=b;!2;!3;!4;!5;!6;z=y;");
}

static void json_lines_can_be_any_objects(void **state) {
    (void)state;
    struct record_options options = options_of(RECORD_JSONL);
    options.key_field = "id";
    options.key_prefix = "p-";
    check("{\"id\":7,\"name\":\"n\"}\n{\"name\":\"n\"}\n", &options,
          "p-7={\"id\":7,\"name\":\"n\"};!2;");
    options.value_field = "name";
    check("{\"id\":7,\"name\":\"n\"}\n", &options, "p-7=n;");
}

static void json_lines_name_their_keyspace_with_all(void **state) {
    (void)state;
    struct record_options options = options_of(RECORD_JSONL);
    options.has_all_keyspaces = true;
    check("{\"keyspace\":\"k\",\"key\":\"a\",\"value\":\"b\"}\n{\"key\":\"a\",\"value\":\"b\"}\n",
          &options, "k.a=b;!2;");
}

static void csv_makes_json_of_the_other_columns(void **state) {
    (void)state;
    struct record_options options = options_of(RECORD_CSV);
    check("id,name,note\n1,x,\"a \"\"b\"\"\"\n2,y,\n3\n", &options,
          "1={\"name\":\"x\",\"note\":\"a \\\"b\\\"\"};2={\"name\":\"y\",\"note\":\"\"};3={};");
    options.has_no_header = true;
    check("1,x,y\n", &options, "1=[\"x\",\"y\"];");
}

static void csv_takes_the_columns_that_are_named(void **state) {
    (void)state;
    struct record_options options = options_of(RECORD_CSV);
    options.key_columns = "name,id";
    options.value_columns = "3";
    check("id,name,note\n1,x,n\n2,y\n", &options, "x/1=n;!3;");
    options.key_columns = "nmae";
    check("id,name,note\n1,x,n\n", &options, "!1;");
    options.key_columns = "a";
    options.value_columns = "b,a";
    options.column_names = "a,b";
    options.has_no_header = true;
    check("1,2\n", &options, "1={\"b\":\"2\",\"a\":\"1\"};");
}

static void csv_that_export_wrote_needs_no_options(void **state) {
    (void)state;
    struct record_options options = options_of(RECORD_CSV);
    check("key,value\r\na,1\r\n\"b\"\"\",\"2\n3\"\r\n", &options, "a=1;b\"=2\n3;");
}

static void every_format_gives_any_bytes_back(void **state) {
    (void)state;
    static const enum record_format formats[] = {RECORD_JSONL, RECORD_CSV, RECORD_DUMP};
    unsigned seed = 12345;
    for (int round = 0; round < 900; round++) {
        struct record_options options = options_of(formats[round % 3]);
        struct buffer expected = {0};
        struct buffer out = {0};
        char *text = NULL;
        size_t size = 0;
        FILE *stream = open_memstream(&text, &size);
        struct record_sink *sink = record_sink_open(stream, &options);
        tern_keyspace_options keyspace = TERN_KEYSPACE_OPTIONS_INIT;
        record_sink_keyspace(sink, "k", &keyspace);
        for (int i = 0; i < 5; i++) {
            char key[12];
            char value[12];
            size_t key_size = 1 + (size_t)rand_r(&seed) % 11;
            size_t value_size = (size_t)rand_r(&seed) % 12;
            for (size_t k = 0; k < 11; k++) {
                key[k] =
                    (char)((round & 1) != 0 ? rand_r(&seed) : "\"\n\r,a{} "[rand_r(&seed) % 8]);
                value[k] = (char)rand_r(&seed);
            }
            record_sink_pair(sink, tern_slice_of(key, key_size),
                             tern_slice_of(value, value_size > 11 ? 11 : value_size));
            buffer_append(&expected, key, key_size);
            buffer_append_char(&expected, '=');
            buffer_append(&expected, value, value_size > 11 ? 11 : value_size);
            buffer_append_char(&expected, ';');
        }
        record_sink_finish(sink);
        record_sink_close(sink);
        fclose(stream);
        read_all(tern_slice_of(text, size), &options, &out);
        assert_int_equal(out.size, expected.size);
        assert_memory_equal(buffer_text(&out), buffer_text(&expected), out.size);
        free(text);
        buffer_release(&expected);
        buffer_release(&out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines_take_keys_and_values_in_any_form),
        cmocka_unit_test(json_lines_name_the_line_that_is_bad),
        cmocka_unit_test(json_lines_can_be_any_objects),
        cmocka_unit_test(json_lines_name_their_keyspace_with_all),
        cmocka_unit_test(csv_makes_json_of_the_other_columns),
        cmocka_unit_test(csv_takes_the_columns_that_are_named),
        cmocka_unit_test(csv_that_export_wrote_needs_no_options),
        cmocka_unit_test(every_format_gives_any_bytes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
