/* SPDX-License-Identifier: Apache-2.0 */
#include "block/block.h"

#include <stdlib.h>
#include <string.h>

#include "simd/hash.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

#define KINDS  4 /* of tern_compression */
#define PATH   "some.file"
#define OFFSET 12288u

static struct seeded_random generator;

static int seed_generator(void **state) {
    (void)state;
    seeded_random_init(&generator, seeded_random_seed("block"));
    return 0;
}

struct encoded {
    uint8_t *bytes; /* exactly `size` of them, so that reading past them shows */
    size_t size;
    uint64_t checksum;
};

static struct encoded encode(tern_compression compression, const void *raw, size_t raw_bytes) {
    struct block_context context = {compression, 7};
    struct encoded encoded = {0};
    tern_error error = TERN_ERROR_INIT;
    uint8_t *target = malloc(block_bound(raw_bytes));
    assert_ok(
        block_encode(&context, raw, raw_bytes, target, &encoded.size, &encoded.checksum, &error),
        error);
    assert_true(encoded.size <= block_bound(raw_bytes));
    encoded.bytes = malloc(encoded.size);
    memcpy(encoded.bytes, target, encoded.size);
    free(target);
    return encoded;
}

/* Decodes into exactly `capacity` bytes; compares with `raw` on success. */
static tern_status decode(const struct encoded *encoded, const void *raw, size_t raw_bytes,
                          size_t capacity, tern_error *error) {
    uint8_t *target = malloc(capacity + 1);
    size_t size = SIZE_MAX;
    tern_status status = block_decode(encoded->bytes, encoded->size, encoded->checksum, PATH,
                                      OFFSET, target, capacity, NULL, &size, error);
    if (status == TERN_OK && raw != NULL) {
        assert_int_equal(size, raw_bytes);
        assert_memory_equal(target, raw, raw_bytes);
    }
    free(target);
    return status;
}

/* Text-like bytes that compress, or noise that does not. */
static uint8_t *make_raw(size_t size, bool compressible) {
    uint8_t *raw = malloc(size + 1);
    seeded_random_fill(&generator, raw, size);
    if (compressible) {
        for (size_t i = 0; i < size; i++) {
            raw[i] = (uint8_t)("the quick brown fox "[i % 20] + (raw[i] > 250));
        }
    }
    return raw;
}

static void gives_back_what_was_put_in(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 7, 8, 9, 100, 4096, 8192, 65536, 1000000};
    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (unsigned compressible = 0; compressible < 2; compressible++) {
                uint8_t *raw = make_raw(sizes[i], compressible != 0);
                struct encoded encoded = encode((tern_compression)kind, raw, sizes[i]);
                tern_error error = TERN_ERROR_INIT;
                assert_ok(decode(&encoded, raw, sizes[i], sizes[i], &error), error);
                free(encoded.bytes);
                free(raw);
            }
        }
    }
}

static void compresses_only_when_that_saves_an_eighth(void **state) {
    (void)state;
    for (unsigned kind = 1; kind < KINDS; kind++) {
        uint8_t *raw = make_raw(8192, true);
        struct encoded encoded = encode((tern_compression)kind, raw, 8192);
        assert_int_equal(encoded.bytes[1], kind);
        assert_true(encoded.size < BLOCK_HEADER_BYTES + 8192 / 2);
        free(encoded.bytes);
        /* Seven eighths noise: what compression there is does not pay. */
        uint8_t *noise = make_raw(8192, false);
        memset(noise, 0, 900);
        encoded = encode((tern_compression)kind, noise, 8192);
        assert_int_equal(encoded.bytes[1], TERN_COMPRESSION_NONE);
        assert_int_equal(encoded.size, BLOCK_HEADER_BYTES + 8192);
        free(encoded.bytes);
        free(noise);
        free(raw);
    }
}

static void writes_the_header_as_documented(void **state) {
    (void)state;
    uint8_t block[BLOCK_HEADER_BYTES + 5] = {0};
    memcpy(block + BLOCK_HEADER_BYTES, "hello", 5);
    struct block_context context = {TERN_COMPRESSION_ZSTD, 0x01020304};
    uint64_t checksum = block_seal(&context, block, 5);
    static const uint8_t expected[BLOCK_HEADER_BYTES] = {1, 0, 0, 0, 5, 0, 0, 0,
                                                         5, 0, 0, 0, 4, 3, 2, 1};
    assert_memory_equal(block, expected, sizeof(expected));
    assert_true(checksum == hash_u64(block, sizeof(block), 0));
    struct encoded same = encode(TERN_COMPRESSION_NONE, "hello", 5);
    assert_int_equal(same.size, sizeof(block));
    assert_memory_equal(same.bytes + BLOCK_HEADER_BYTES, "hello", 5);
    free(same.bytes);
}

static void points_into_uncompressed_blocks_and_says_where_the_rest_is(void **state) {
    (void)state;
    uint8_t *raw = make_raw(1000, true);
    uint8_t *target = malloc(1000);
    const void *found = NULL;
    size_t size = 0;
    tern_error error = TERN_ERROR_INIT;
    struct encoded plain = encode(TERN_COMPRESSION_NONE, raw, 1000);
    assert_ok(block_decode(plain.bytes, plain.size, plain.checksum, PATH, OFFSET, target, 1000,
                           &found, &size, &error),
              error);
    assert_ptr_equal(found, plain.bytes + BLOCK_HEADER_BYTES);
    struct encoded packed = encode(TERN_COMPRESSION_LZ4, raw, 1000);
    assert_ok(block_decode(packed.bytes, packed.size, packed.checksum, PATH, OFFSET, target, 1000,
                           &found, &size, &error),
              error);
    assert_ptr_equal(found, target);
    assert_memory_equal(target, raw, 1000);
    free(plain.bytes);
    free(packed.bytes);
    free(target);
    free(raw);
}

static void notices_every_flipped_bit(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < KINDS; kind++) {
        uint8_t *raw = make_raw(600, true);
        struct encoded encoded = encode((tern_compression)kind, raw, 600);
        for (size_t bit = 0; bit < encoded.size * 8; bit++) {
            tern_error error = TERN_ERROR_INIT;
            encoded.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_int_equal(decode(&encoded, NULL, 0, 600, &error), TERN_CORRUPTION);
            assert_string_equal(error.file, PATH);
            assert_int_equal(error.offset, OFFSET);
            encoded.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        free(encoded.bytes);
        free(raw);
    }
}

/* Decodes after the checksum has been made to fit, as a hostile file could. */
static tern_status decode_forged(struct encoded *encoded, size_t capacity, tern_error *error) {
    encoded->checksum = hash_u64(encoded->bytes, encoded->size, 0);
    return decode(encoded, NULL, 0, capacity, error);
}

static void refuses_headers_that_do_not_fit_even_with_a_good_checksum(void **state) {
    (void)state;
    uint8_t *raw = make_raw(600, true);
    static const struct {
        size_t at;
        uint8_t value;
    } forgeries[] = {{0, 0}, {0, 2},   {1, 4},   {1, 255}, {2, 1},   {3, 1},
                     {4, 1}, {4, 255}, {7, 255}, {8, 1},   {11, 255}};
    for (unsigned kind = 0; kind < KINDS; kind++) {
        for (unsigned i = 0; i < sizeof(forgeries) / sizeof(forgeries[0]); i++) {
            struct encoded encoded = encode((tern_compression)kind, raw, 600);
            tern_error error = TERN_ERROR_INIT;
            encoded.bytes[forgeries[i].at] = forgeries[i].value;
            assert_int_equal(decode_forged(&encoded, 4096, &error), TERN_CORRUPTION);
            assert_string_equal(error.file, PATH);
            free(encoded.bytes);
        }
        struct encoded encoded = encode((tern_compression)kind, raw, 600);
        tern_error error = TERN_ERROR_INIT;
        assert_int_equal(decode(&encoded, NULL, 0, 599, &error), TERN_CORRUPTION);
        for (size_t size = 0; size < BLOCK_HEADER_BYTES + 4; size++) {
            uint8_t *cut = malloc(size + 1);
            memcpy(cut, encoded.bytes, size);
            struct encoded shorter = {cut, size, 0};
            assert_int_equal(decode_forged(&shorter, 600, &error), TERN_CORRUPTION);
            free(cut);
        }
        free(encoded.bytes);
    }
    free(raw);
}

static void survives_hostile_payloads(void **state) {
    (void)state;
    for (unsigned kind = 1; kind < KINDS; kind++) {
        uint8_t *raw = make_raw(4096, true);
        for (unsigned round = 0; round < 2000; round++) {
            struct encoded encoded = encode((tern_compression)kind, raw, 4096);
            unsigned flips = 1 + (unsigned)seeded_random_below(&generator, 8);
            for (unsigned i = 0; i < flips; i++) {
                size_t place =
                    BLOCK_HEADER_BYTES +
                    (size_t)seeded_random_below(&generator, encoded.size - BLOCK_HEADER_BYTES);
                encoded.bytes[place] = (uint8_t)seeded_random_next(&generator);
            }
            tern_error error = TERN_ERROR_INIT;
            tern_status status = decode_forged(&encoded, 4096, &error);
            assert_true(status == TERN_OK || status == TERN_CORRUPTION);
            free(encoded.bytes);
        }
        free(raw);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_was_put_in),
        cmocka_unit_test(compresses_only_when_that_saves_an_eighth),
        cmocka_unit_test(writes_the_header_as_documented),
        cmocka_unit_test(points_into_uncompressed_blocks_and_says_where_the_rest_is),
        cmocka_unit_test(notices_every_flipped_bit),
        cmocka_unit_test(refuses_headers_that_do_not_fit_even_with_a_good_checksum),
        cmocka_unit_test(survives_hostile_payloads),
    };
    return cmocka_run_group_tests(tests, seed_generator, NULL);
}
