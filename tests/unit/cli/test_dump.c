/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/dump.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

/* A dump with two keyspaces, small records of any bytes and a large value. */
static struct buffer make_dump(void) {
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    struct dump_writer writer;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.page_bytes = 16384;
    options.compression = TERN_COMPRESSION_ZSTD;
    dump_writer_open(&writer, stream);
    dump_write_keyspace(&writer, "first", &options);
    dump_write_record(&writer, tern_slice_of("a\0", 2), tern_slice_of("\xff\n", 2));
    dump_write_record(&writer, tern_slice_str("b"), tern_slice_of(NULL, 0));
    dump_write_large(&writer, tern_slice_str("c"), 5);
    dump_write_chunk(&writer, tern_slice_str("12"));
    dump_write_chunk(&writer, tern_slice_str("345"));
    dump_write_record(&writer, tern_slice_str("d"), tern_slice_str("x"));
    dump_write_keyspace(&writer, "empty", &options);
    dump_writer_finish(&writer);
    dump_writer_release(&writer);
    fclose(stream);
    struct buffer dump = {0};
    buffer_append(&dump, text, size);
    free(text);
    return dump;
}

/* Reads to the end or the first problem; counts events. */
static enum dump_event read_all(tern_slice dump, struct buffer *out) {
    struct input input;
    struct dump_reader reader;
    enum dump_event event;
    input_open_memory(&input, dump);
    dump_reader_open(&reader, &input);
    do {
        event = dump_reader_next(&reader);
        switch (event) {
        case DUMP_KEYSPACE:
            buffer_print(out, "[%.*s %u %d]", (int)reader.name.size, (const char *)reader.name.data,
                         reader.options.page_bytes, (int)reader.options.compression);
            break;
        case DUMP_RECORD:
            buffer_print(out, "(%zu:%zu)", reader.key.size, reader.value.size);
            break;
        case DUMP_LARGE:
            buffer_print(out, "{%.*s:%llu", (int)reader.key.size, (const char *)reader.key.data,
                         (unsigned long long)reader.value_size);
            break;
        case DUMP_CHUNK:
            buffer_print(out, "+%.*s", (int)reader.value.size, (const char *)reader.value.data);
            break;
        default:
            break;
        }
    } while (event < DUMP_END);
    assert_true(event != DUMP_INVALID || reader.problem != NULL);
    input_close(&input);
    return event;
}

static void what_was_written_is_read(void **state) {
    (void)state;
    struct buffer dump = make_dump();
    struct buffer out = {0};
    assert_int_equal(read_all(buffer_slice(&dump), &out), DUMP_END);
    assert_string_equal(buffer_text(&out),
                        "[first 16384 2](2:2)(1:0){c:5+12+345(1:1)[empty 16384 2]");
    buffer_release(&out);
    buffer_release(&dump);
}

static void every_flipped_bit_is_noticed(void **state) {
    (void)state;
    struct buffer dump = make_dump();
    for (size_t bit = 0; bit < dump.size * 8; bit++) {
        struct buffer out = {0};
        dump.data[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_equal(read_all(buffer_slice(&dump), &out), DUMP_INVALID);
        dump.data[bit / 8] ^= (char)(1 << bit % 8);
        buffer_release(&out);
    }
    buffer_release(&dump);
}

static void every_cut_is_noticed(void **state) {
    (void)state;
    struct buffer dump = make_dump();
    for (size_t size = 0; size < dump.size; size++) {
        struct buffer out = {0};
        assert_int_equal(read_all(tern_slice_of(dump.data, size), &out), DUMP_INVALID);
        buffer_release(&out);
    }
    buffer_release(&dump);
}

static uint32_t block_size(const char *block) {
    const unsigned char *bytes = (const unsigned char *)block;
    return 16 + ((uint32_t)bytes[4] | (uint32_t)bytes[5] << 8);
}

static void a_missing_block_is_noticed(void **state) {
    (void)state;
    struct buffer dump = make_dump();
    for (size_t offset = 16; offset < dump.size;) {
        size_t size = block_size(dump.data + offset);
        struct buffer without = {0};
        struct buffer out = {0};
        buffer_append(&without, dump.data, offset);
        buffer_append(&without, dump.data + offset + size, dump.size - offset - size);
        assert_int_equal(read_all(buffer_slice(&without), &out), DUMP_INVALID);
        buffer_release(&without);
        buffer_release(&out);
        offset += size;
    }
    buffer_release(&dump);
}

static void checksums_are_crc32c(void **state) {
    (void)state;
    struct crc32c_table table;
    crc32c_prepare(&table);
    assert_int_equal(crc32c_extend(&table, 0, "123456789", 9), 0xe3069283U);
    uint32_t first = crc32c_extend(&table, 0, "12345", 5);
    assert_int_equal(crc32c_extend(&table, first, "6789", 4), 0xe3069283U);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read), cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(every_cut_is_noticed),     cmocka_unit_test(a_missing_block_is_noticed),
        cmocka_unit_test(checksums_are_crc32c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
