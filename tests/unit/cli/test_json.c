/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json_reader.h"
#include "cli/json_writer.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

/* Reads all fields; "name=kind:raw;" each. */
static bool read_all(tern_slice text, struct buffer *out) {
    static const char kinds[] = "nft0saO";
    struct json_reader reader;
    struct buffer name = {0};
    struct json_value value;
    enum json_field_result result = JSON_FIELD_INVALID;
    if (json_reader_open(&reader, text)) {
        while ((result = json_reader_field(&reader, &name, &value)) == JSON_FIELD) {
            buffer_print(out, "%s=%c:%.*s;", buffer_text(&name), kinds[value.kind],
                         (int)value.raw.size, (const char *)value.raw.data);
        }
    }
    assert_true(result == JSON_FIELD_END || reader.problem != NULL);
    buffer_release(&name);
    return result == JSON_FIELD_END;
}

static void check(const char *text, const char *expected) {
    struct buffer out = {0};
    assert_true(read_all(tern_slice_str(text), &out));
    assert_string_equal(buffer_text(&out), expected);
    buffer_release(&out);
}

static void fields_come_in_order_with_their_kinds(void **state) {
    (void)state;
    check("{}", "");
    check(" { \"a\" : 1 , \"b\":[1,{\"c\":null}],\"d\":{},\"e\":\"x\",\"f\":true,\"g\":false,"
          "\"h\":null,\"i\":[] } ",
          "a=0:1;b=a:[1,{\"c\":null}];d=O:{};e=s:\"x\";f=t:true;g=f:false;h=n:null;i=a:[];");
    check("{\"\\u0061\\n\":-0.5e+10}", "a\n=0:-0.5e+10;");
}

static void text_that_is_not_one_object_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "1",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1}x",
        "{\"a\":1}{}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":+1}",
        "{\"a\":1e}",
        "{\"a\":nul}",
        "{\"a\":tru e}",
        "{\"a\":NaN}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":[}",
        "{\"a\":{]}",
        "{\"a\":{\"b\"}}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":--1}",
        "{\"a\":-}",
        "{\"a\":[[]}",
        "{\"a\":\"\\",
        "{\"a\":\"\\u",
        "{\"a\":1}}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct buffer out = {0};
        if (read_all(tern_slice_str(bad[i]), &out)) {
            fail_msg("accepted: %s", bad[i]);
        }
        buffer_release(&out);
    }
}

static void nesting_is_bounded(void **state) {
    (void)state;
    for (int depth = JSON_READER_DEPTH_MAX; depth <= JSON_READER_DEPTH_MAX + 1; depth++) {
        struct buffer text = {0};
        struct buffer out = {0};
        buffer_append_text(&text, "{\"a\":");
        for (int i = 0; i < depth; i++) {
            buffer_append_char(&text, '[');
        }
        for (int i = 0; i < depth; i++) {
            buffer_append_char(&text, ']');
        }
        buffer_append_char(&text, '}');
        assert_int_equal(read_all(buffer_slice(&text), &out), depth == JSON_READER_DEPTH_MAX);
        buffer_release(&text);
        buffer_release(&out);
    }
}

static void strings_decode_to_their_bytes(void **state) {
    (void)state;
    struct json_value value = {
        JSON_STRING, tern_slice_str("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\"")};
    struct buffer bytes = {0};
    json_value_decode(&value, &bytes);
    assert_string_equal(buffer_text(&bytes), "a\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80");
    buffer_release(&bytes);
}

static void every_beginning_of_a_document_is_refused_and_no_byte_past_it_is_read(void **state) {
    (void)state;
    static const char whole[] = "{\"a\":[1,-2.5e3,{\"b\":\"\\u00e9\\ud83d\\ude00x\"}],\"c\":true}";
    for (size_t size = 0; size + 1 < sizeof(whole) - 1; size++) {
        struct buffer out = {0};
        char *exact = malloc(size > 0 ? size : 1); /* so that a sanitizer sees the end */
        memcpy(exact, whole, size);
        assert_false(read_all(tern_slice_of(exact, size), &out));
        free(exact);
        buffer_release(&out);
    }
}

static void random_damage_never_breaks_the_reader(void **state) {
    (void)state;
    static const char whole[] = "{\"key\":\"a\\u00e9\",\"value\":[1,{\"x\":null}],\"n\":-1.5e-3}";
    unsigned seed = 4711;
    for (int round = 0; round < 20000; round++) {
        char *text = malloc(sizeof(whole) - 1);
        struct buffer out = {0};
        memcpy(text, whole, sizeof(whole) - 1);
        for (int hits = 1 + rand_r(&seed) % 3; hits > 0; hits--) {
            size_t place = (size_t)rand_r(&seed) % (sizeof(whole) - 1);
            text[place] = (rand_r(&seed) & 1) != 0 ? (char)rand_r(&seed)
                                                   : "{}[]\",:\\u0n"[(size_t)rand_r(&seed) % 11];
        }
        (void)read_all(tern_slice_of(text, sizeof(whole) - 1), &out);
        free(text);
        buffer_release(&out);
    }
}

static char *written(void (*write)(struct json_writer *json)) {
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    struct json_writer json = {.stream = stream};
    write(&json);
    fclose(stream);
    return text;
}

static void write_sample(struct json_writer *json) {
    for (int i = 0; i < 2; i++) {
        json_begin_object(json, NULL);
        json_text(json, "s", "q\" b\\ n\n t\t c\x01 \xff é");
        json_text(json, "none", NULL);
        json_begin_array(json, "list");
        json_unsigned(json, NULL, UINT64_MAX);
        json_signed(json, NULL, INT64_MIN);
        json_real(json, NULL, 0.5);
        json_real(json, NULL, (double)INFINITY);
        json_begin_object(json, NULL);
        json_end_object(json);
        json_end_array(json);
        json_boolean(json, "b", true);
        json_end_object(json);
        json_end_line(json);
    }
}

static void the_writer_places_commas_and_escapes(void **state) {
    (void)state;
    char *text = written(write_sample);
    const char *line =
        "{\"s\":\"q\\\" b\\\\ n\\n t\\t c\\u0001 \xef\xbf\xbd é\",\"none\":null,\"list\":["
        "18446744073709551615,-9223372036854775808,0.5,null,{}],\"b\":true}\n";
    size_t size = strlen(line);
    assert_int_equal(strlen(text), 2 * size);
    assert_memory_equal(text, line, size);
    assert_string_equal(text + size, line);
    free(text);
}

static void write_bytes(struct json_writer *json) {
    tern_slice number = tern_slice_of("\x05\0\0\0\0\0\0\0", 8);
    json_begin_object(json, NULL);
    json_bytes(json, "a", tern_slice_str("x"), BYTES_TEXT);
    json_bytes(json, "b", tern_slice_str("\xff"), BYTES_TEXT);
    json_bytes(json, "c", tern_slice_str("\xff"), BYTES_HEX);
    json_bytes(json, "d", number, BYTES_INTEGER);
    json_bytes(json, "e", tern_slice_str("x"), BYTES_INTEGER);
    json_bytes(json, "f", tern_slice_str("\n"), BYTES_ESCAPED);
    json_end_object(json);
}

static void bytes_say_in_their_name_how_they_are_written(void **state) {
    (void)state;
    char *text = written(write_bytes);
    assert_string_equal(text, "{\"a\":\"x\",\"b_base64\":\"/w==\",\"c_hex\":\"ff\",\"d_integer\":5,"
                              "\"e\":\"x\",\"f_escaped\":\"\\\\n\"}");
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_come_in_order_with_their_kinds),
        cmocka_unit_test(text_that_is_not_one_object_is_refused),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(strings_decode_to_their_bytes),
        cmocka_unit_test(every_beginning_of_a_document_is_refused_and_no_byte_past_it_is_read),
        cmocka_unit_test(random_damage_never_breaks_the_reader),
        cmocka_unit_test(the_writer_places_commas_and_escapes),
        cmocka_unit_test(bytes_say_in_their_name_how_they_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
