/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>

#include "base/compare.h"
#include "engine/btree/leaf_builder.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

#define RECORDS 3000u

struct stream {
    struct leaf_builder builder;
    uint8_t keys[RECORDS][80];
    size_t key_sizes[RECORDS];
    uint8_t values[RECORDS][300];
    size_t value_sizes[RECORDS];
    uint32_t added;
    uint32_t seen;
    uint32_t leaves;
    uint32_t small_leaves;
    uint8_t page[65536];
    /* copies every leaf into a second builder */
    struct stream *copy;
};

static tern_status look_at_leaf(void *context, uint32_t begin, uint32_t end, tern_error *error) {
    struct stream *stream = context;
    struct leaf_summary summary;
    leaf_builder_encode(&stream->builder, begin, end, 5, stream->page, &summary);
    assert_true(summary.payload_bytes <= stream->builder.payload_max);
    assert_null(leaf_check(stream->page, summary.payload_bytes));
    assert_int_equal(leaf_count(stream->page), end - begin);
    for (uint32_t i = 0; i < end - begin; i++, stream->seen++) {
        uint8_t key[80];
        struct record record;
        size_t size = leaf_key_copy(stream->page, i, key);
        leaf_record(stream->page, i, &record);
        assert_int_equal(size, stream->key_sizes[stream->seen]);
        assert_memory_equal(key, stream->keys[stream->seen], size);
        assert_int_equal(record.value.size, stream->value_sizes[stream->seen]);
        assert_int_equal(record.kind, stream->seen % 50 == 3 ? RECORD_LARGE : RECORD_PUT);
        if (record.value.size > 0) {
            assert_memory_equal(record.value.data, stream->values[stream->seen], record.value.size);
        }
    }
    stream->leaves++;
    stream->small_leaves += summary.payload_bytes < stream->builder.payload_max / 2 - 400;
    if (stream->copy != NULL) {
        uint32_t stopped = 0;
        return leaf_builder_copy(&stream->copy->builder, stream->page, 0, end - begin, 0, &stopped,
                                 error);
    }
    return TERN_OK;
}

static void make_stream(struct stream *stream, unsigned shared, uint64_t seed) {
    struct seeded_random random;
    seeded_random_init(&random, seed);
    for (uint32_t i = 0; i < RECORDS; i++) {
        char digits[16];
        (void)snprintf(digits, sizeof(digits), "%08u", i * 3);
        memset(stream->keys[i], 's', shared);
        memcpy(stream->keys[i] + shared, digits, 8);
        stream->key_sizes[i] = shared + 8;
        stream->value_sizes[i] = (size_t)seeded_random_below(&random, i % 50 == 3 ? 40 : 300);
        seeded_random_fill(&random, stream->values[i], stream->value_sizes[i]);
    }
}

static void add_all(struct stream *stream) {
    tern_error error = TERN_ERROR_INIT;
    for (uint32_t i = 0; i < RECORDS; i++) {
        const struct record record = {.kind = i % 50 == 3 ? RECORD_LARGE : RECORD_PUT,
                                      .expires_ms = i % 7 == 0 ? 1000000 : 0,
                                      .value_size = i % 50 == 3 ? 123456 : 0,
                                      .value = {stream->values[i], stream->value_sizes[i]}};
        assert_ok(leaf_builder_add(&stream->builder,
                                   tern_slice_of(stream->keys[i], stream->key_sizes[i]), &record,
                                   &error),
                  error);
    }
    assert_ok(leaf_builder_flush(&stream->builder, true, &error), error);
}

static void run_stream(unsigned shared, uint32_t page_bytes, uint32_t fill) {
    struct stream *stream = calloc(1, sizeof(*stream));
    struct stream *copy = calloc(1, sizeof(*copy));
    tern_error error = TERN_ERROR_INIT;
    assert_non_null(stream);
    assert_non_null(copy);
    make_stream(stream, shared, shared + page_bytes);
    make_stream(copy, shared, shared + page_bytes);
    assert_ok(leaf_builder_init(&stream->builder, tern_allocator_default(), page_bytes,
                                look_at_leaf, stream, &error),
              error);
    assert_ok(leaf_builder_init(&copy->builder, tern_allocator_default(), page_bytes, look_at_leaf,
                                copy, &error),
              error);
    leaf_builder_reset(&stream->builder, fill);
    leaf_builder_reset(&copy->builder, 95);
    stream->copy = copy;
    add_all(stream);
    assert_ok(leaf_builder_flush(&copy->builder, true, &error), error);
    assert_int_equal(stream->seen, RECORDS);
    assert_int_equal(copy->seen, RECORDS);
    assert_true(copy->leaves <= stream->leaves);
    assert_int_equal(copy->small_leaves, 0);
    leaf_builder_release(&stream->builder);
    leaf_builder_release(&copy->builder);
    free(stream);
    free(copy);
}

static void whole_keys_survive_building_and_copying(void **state) {
    (void)state;
    run_stream(0, 4096, 60);
    run_stream(1, 8192, 95);
}

static void long_prefixes_are_cut_off_and_come_back(void **state) {
    (void)state;
    run_stream(60, 4096, 95);
    run_stream(70, 65536, 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_keys_survive_building_and_copying),
        cmocka_unit_test(long_prefixes_are_cut_off_and_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
