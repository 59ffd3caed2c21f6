/* SPDX-License-Identifier: Apache-2.0 */
/* Data, index and filter blocks. */
#include <stdio.h>
#include <stdlib.h>

#include "base/compare.h"
#include "engine/lsm/data_block.h"
#include "engine/lsm/filter_block.h"
#include "engine/lsm/index_block.h"
#include "engine/lsm/lsm_format.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

#define KEYS 300u

struct sample {
    char keys[KEYS][40];
    size_t sizes[KEYS];
    struct data_block_builder builder;
    tern_slice payload;
};

static tern_slice key_at(const struct sample *sample, unsigned i) {
    return tern_slice_of(sample->keys[i], sample->sizes[i]);
}

/* Every third key is a beginning of the next one. */
static void make_sample(struct sample *sample, unsigned count) {
    data_block_builder_init(&sample->builder, tern_allocator_default());
    data_block_builder_reset(&sample->builder);
    memset(sample->keys, 0, sizeof(sample->keys)); /* values reach behind the keys */
    for (unsigned i = 0; i < count; i++) {
        int size = i % 3 == 1 ? snprintf(sample->keys[i], 40, "key/%05u/more", i - 1)
                              : snprintf(sample->keys[i], 40, "key/%05u", i);
        sample->sizes[i] = (size_t)size;
        struct record record = {.kind = i % 5 == 4 ? RECORD_DELETE : RECORD_PUT,
                                .expires_ms = i % 7 == 0 && i % 5 != 4 ? 1000 + i : 0};
        if (record.kind == RECORD_PUT) {
            record.value = tern_slice_of(sample->keys[i], i % 20);
        }
        assert_int_equal(data_block_builder_add(&sample->builder, key_at(sample, i),
                                                engine_key_hash(1, key_at(sample, i)), &record),
                         TERN_OK);
    }
    assert_int_equal(data_block_builder_finish(&sample->builder, &sample->payload), TERN_OK);
    assert_null(data_block_check(sample->payload.data, sample->payload.size));
    assert_int_equal(data_block_size(sample->payload.data), sample->payload.size);
}

static void finds_every_key_and_nothing_else(void **state) {
    (void)state;
    static const unsigned counts[] = {1, 2, 8, 9, 11, 12, 100, KEYS};
    for (size_t n = 0; n < sizeof(counts) / sizeof(counts[0]); n++) {
        struct sample sample;
        struct record record;
        make_sample(&sample, counts[n]);
        for (unsigned i = 0; i < counts[n]; i++) {
            tern_slice key = key_at(&sample, i);
            assert_true(
                data_block_find(sample.payload.data, key, engine_key_hash(1, key), &record));
            assert_int_equal(record.kind, i % 5 == 4 ? RECORD_DELETE : RECORD_PUT);
            assert_int_equal(record.value.size, i % 5 == 4 ? 0 : i % 20);
            /* A little shorter and a little longer, wherever its bucket may lead. */
            char longer[48];
            memcpy(longer, key.data, key.size);
            longer[key.size] = '\1';
            tern_slice strange[] = {tern_slice_of(longer, key.size + 1),
                                    tern_slice_of(longer, key.size - 2)};
            for (unsigned j = 0; j < 2; j++) {
                assert_false(data_block_find(sample.payload.data, strange[j],
                                             engine_key_hash(1, key), &record));
            }
        }
        data_block_builder_release(&sample.builder);
    }
}

static void decodes_what_was_put_in(void **state) {
    (void)state;
    struct sample sample;
    struct engine_entry entries[KEYS];
    static uint8_t keys[KEYS * 40];
    make_sample(&sample, KEYS);
    assert_int_equal(data_block_count(sample.payload.data), KEYS);
    assert_true(data_block_key_bytes(sample.payload.data) <= sizeof(keys));
    data_block_decode(sample.payload.data, entries, keys);
    for (unsigned i = 0; i < KEYS; i++) {
        assert_true(slice_equal(entries[i].key, key_at(&sample, i)));
        assert_int_equal(entries[i].record.expires_ms, i % 7 == 0 && i % 5 != 4 ? 1000 + i : 0);
    }
    data_block_builder_release(&sample.builder);
}

/* Keys shorter and longer than what is copied at once, in parts of any length. */
static void a_walk_from_any_restart_point_gives_what_was_put_in(void **state) {
    (void)state;
    enum { COUNT = 200 };
    struct data_block_builder builder;
    struct engine_entry entries[COUNT];
    char texts[COUNT][48];
    tern_slice payload;
    data_block_builder_init(&builder, tern_allocator_default());
    data_block_builder_reset(&builder);
    memset(texts, 0, sizeof(texts));
    for (unsigned i = 0; i < COUNT; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "%03u%.*s", i, (int)(i * 7 % 40),
                       "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz");
        tern_slice key = tern_slice_of(texts[i], strlen(texts[i]));
        struct record put = {.kind = RECORD_PUT, .value = tern_slice_of(texts, i * 3)};
        assert_int_equal(data_block_builder_add(&builder, key, engine_key_hash(1, key), &put),
                         TERN_OK);
    }
    assert_int_equal(data_block_builder_finish(&builder, &payload), TERN_OK);
    assert_null(data_block_check(payload.data, payload.size));
    for (unsigned restart = 0; restart < COUNT / DATA_BLOCK_INTERVAL; restart++) {
        unsigned at = restart * DATA_BLOCK_INTERVAL;
        struct data_block_walk walk;
        uint8_t *keys = malloc(data_block_key_bytes(payload.data));
        assert_non_null(keys);
        tern_slice sought = tern_slice_of(texts[at + 5], strlen(texts[at + 5]));
        assert_int_equal(data_block_restart(payload.data, sought), restart);
        data_block_prefetch_restarts(payload.data);
        data_block_walk_begin(&walk, payload.data, restart, keys);
        for (unsigned part = 0; at < COUNT; part++) {
            unsigned count = 1 + part * 5 % 17 < COUNT - at ? 1 + part * 5 % 17 : COUNT - at;
            data_block_walk_take(&walk, &entries[at], count);
            at += count;
        }
        for (unsigned i = restart * DATA_BLOCK_INTERVAL; i < COUNT; i++) {
            assert_true(slice_equal(entries[i].key, tern_slice_of(texts[i], strlen(texts[i]))));
            assert_int_equal(entries[i].record.value.size, i * 3);
            assert_memory_equal(entries[i].record.value.data, texts, i * 3);
        }
        free(keys);
    }
    data_block_builder_release(&builder);
}

/* Adds records until the block is as long as one may be; each time it must not be longer than was
 * said before. Returns how many there were. */
static unsigned fill_block(struct data_block_builder *builder, const struct record *record,
                           size_t key_size) {
    char key[2000];
    tern_slice payload;
    unsigned count = 0;
    memset(key, 'k', sizeof(key));
    data_block_builder_reset(builder);
    for (;;) {
        (void)snprintf(key + key_size - 7, 8, "%07u", count);
        tern_slice slice = tern_slice_of(key, key_size);
        size_t said = data_block_builder_size(builder, slice, record);
        if (said > LSM_PAYLOAD_BYTES_MAX) {
            return count;
        }
        assert_int_equal(data_block_builder_add(builder, slice, engine_key_hash(1, slice), record),
                         TERN_OK);
        assert_int_equal(data_block_builder_finish(builder, &payload), TERN_OK);
        assert_true(payload.size <= said);
        count++;
    }
}

static void a_block_is_never_longer_than_was_said(void **state) {
    (void)state;
    struct data_block_builder builder;
    static const uint8_t value[LSM_INLINE_BYTES_MAX];
    unsigned most = 0;
    data_block_builder_init(&builder, tern_allocator_default());
    for (unsigned size = 0; size < 40; size++) {
        const struct record put = {.kind = RECORD_PUT, .value = tern_slice_of(value, size)};
        unsigned count = fill_block(&builder, &put, 8);
        most = count > most ? count : most;
    }
    assert_true(most > 2000); /* more than the buckets can tell apart */
    for (size_t size = 8; size < 2000; size += 13) {
        const struct record large = {.kind = RECORD_LARGE,
                                     .expires_ms = UINT64_MAX,
                                     .value_size = (uint64_t)1 << 40,
                                     .value = tern_slice_of(value, 9)};
        const struct record longest = {.kind = RECORD_PUT,
                                       .expires_ms = UINT64_MAX,
                                       .value = tern_slice_of(value, sizeof(value))};
        assert_true(fill_block(&builder, &large, size) > 0);
        assert_true(fill_block(&builder, &longest, size) > 0);
    }
    data_block_builder_release(&builder);
}

/* Whatever passes the check can be read without leaving the block (run with ASan). */
static void damaged_blocks_are_refused_or_harmless(void **state) {
    (void)state;
    struct sample sample;
    struct seeded_random random;
    struct engine_entry entries[KEYS];
    seeded_random_init(&random, seeded_random_seed("damaged blocks"));
    make_sample(&sample, 60);
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t *copy = malloc(sample.payload.size);
        struct record record;
        assert_non_null(copy);
        memcpy(copy, sample.payload.data, sample.payload.size);
        for (uint64_t flips = 1 + seeded_random_below(&random, 3); flips > 0; flips--) {
            size_t at = (size_t)seeded_random_below(&random, sample.payload.size);
            copy[at] = (uint8_t)seeded_random_below(&random, 256);
        }
        if (data_block_check(copy, sample.payload.size) == NULL && data_block_count(copy) <= KEYS) {
            uint8_t *keys = malloc(data_block_key_bytes(copy) + 1);
            tern_slice key = key_at(&sample, round % 60);
            assert_non_null(keys);
            data_block_decode(copy, entries, keys);
            (void)data_block_find(copy, key, engine_key_hash(1, key), &record);
            free(keys);
        }
        free(copy);
    }
    data_block_builder_release(&sample.builder);
}

static void an_index_leads_to_the_block_of_a_key(void **state) {
    (void)state;
    struct index_block_builder builder;
    tern_slice payload;
    char key[16];
    index_block_builder_init(&builder, tern_allocator_default());
    for (unsigned i = 0; i < 100; i++) {
        const struct lsm_ref ref = {lsm_place_of(i * 1000, 900), i * 7};
        (void)snprintf(key, sizeof(key), "aaaaaaa%04u", i * 10);
        assert_int_equal(index_block_builder_add(&builder, tern_slice_str(key), ref), TERN_OK);
    }
    assert_int_equal(index_block_builder_finish(&builder, &payload), TERN_OK);
    assert_null(index_block_check(payload.data, payload.size));
    assert_int_equal(index_block_size(payload.data), payload.size);
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof(key), "aaaaaaa%04u", i);
        assert_int_equal(index_block_find(payload.data, tern_slice_str(key)), i / 10);
    }
    assert_int_equal(index_block_find(payload.data, tern_slice_str("a")), 0);
    assert_int_equal(index_block_find(payload.data, tern_slice_str("b")), 99);
    assert_int_equal(index_block_ref(payload.data, 5).checksum, 35);
    index_block_builder_release(&builder);
}

static void a_filter_denies_no_key_and_few_others_pass(void **state) {
    (void)state;
    static uint64_t hashes[4000];
    struct seeded_random random;
    unsigned passed = 0;
    seeded_random_init(&random, 7);
    for (unsigned i = 0; i < 4000; i++) {
        hashes[i] = seeded_random_next(&random);
    }
    size_t size = filter_block_size(4000, 10);
    uint8_t *payload = malloc(size);
    assert_non_null(payload);
    filter_block_build(payload, size, hashes, 4000);
    assert_null(filter_block_check(payload, size));
    for (unsigned i = 0; i < 4000; i++) {
        assert_true(bloom_line_may_contain(filter_line(payload, hashes[i]), hashes[i]));
    }
    for (unsigned i = 0; i < 100000; i++) {
        uint64_t other = seeded_random_next(&random);
        passed += bloom_line_may_contain(filter_line(payload, other), other) ? 1 : 0;
    }
    assert_true(passed < 2000);
    free(payload);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_every_key_and_nothing_else),
        cmocka_unit_test(decodes_what_was_put_in),
        cmocka_unit_test(a_walk_from_any_restart_point_gives_what_was_put_in),
        cmocka_unit_test(a_block_is_never_longer_than_was_said),
        cmocka_unit_test(damaged_blocks_are_refused_or_harmless),
        cmocka_unit_test(an_index_leads_to_the_block_of_a_key),
        cmocka_unit_test(a_filter_denies_no_key_and_few_others_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
