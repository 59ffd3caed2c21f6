/* SPDX-License-Identifier: Apache-2.0 */
#include "base/varint.h"

#include <string.h>

#include "base/bytes.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

static struct seeded_random generator;

static int seed_generator(void **state) {
    (void)state;
    seeded_random_init(&generator, seeded_random_seed("varint"));
    return 0;
}

static void check_round_trip(uint64_t value) {
    uint8_t bytes[VARINT_BYTES_MAX];
    uint8_t *end = varint_put(bytes, value);
    size_t size = (size_t)(end - bytes);
    assert_true(size >= 1 && size <= VARINT_BYTES_MAX);
    assert_int_equal(varint_size(value), size);
    uint64_t back = ~value;
    assert_ptr_equal(varint_get(bytes, end, &back), end);
    assert_true(back == value);
    for (size_t cut = 0; cut < size; cut++) {
        back = 99;
        assert_null(varint_get(bytes, bytes + cut, &back));
        assert_int_equal(back, 99); /* untouched on failure */
    }
}

static void reads_back_every_number_and_no_part_of_one(void **state) {
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        check_round_trip((uint64_t)1 << bit);
        check_round_trip(((uint64_t)1 << bit) - 1);
        check_round_trip(UINT64_MAX - ((uint64_t)1 << bit));
    }
    check_round_trip(UINT64_MAX);
    for (unsigned i = 0; i < 10000; i++) {
        check_round_trip(seeded_random_next(&generator) >> seeded_random_below(&generator, 64));
    }
}

static void refuses_numbers_of_more_than_64_bits(void **state) {
    (void)state;
    uint8_t bytes[12];
    uint64_t value = 0;
    memset(bytes, 0xff, sizeof(bytes));
    assert_null(varint_get(bytes, bytes + 12, &value)); /* never ends */
    bytes[9] = 0x01;
    assert_ptr_equal(varint_get(bytes, bytes + 12, &value), bytes + 10);
    assert_true(value == UINT64_MAX);
    bytes[9] = 0x02;
    assert_null(varint_get(bytes, bytes + 12, &value));
    bytes[9] = 0x81;
    bytes[10] = 0x00;
    assert_null(varint_get(bytes, bytes + 12, &value));
}

static void refuses_numbers_longer_than_they_need_to_be(void **state) {
    (void)state;
    uint64_t value = 0;
    static const uint8_t padded_zero[] = {0x80, 0x00};
    static const uint8_t padded_one[] = {0x81, 0x80, 0x00};
    assert_null(varint_get(padded_zero, padded_zero + 2, &value));
    assert_null(varint_get(padded_one, padded_one + 3, &value));
    assert_null(varint_get(padded_one, padded_one, &value));
}

/* Whatever it accepts of noise, it writes the same way again: there is one form of each number. */
static void accepts_one_form_of_each_number(void **state) {
    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        uint8_t noise[12];
        uint8_t again[VARINT_BYTES_MAX];
        seeded_random_fill(&generator, noise, sizeof(noise));
        size_t size = (size_t)seeded_random_below(&generator, sizeof(noise) + 1);
        uint64_t value = 0;
        const uint8_t *end = varint_get(noise, noise + size, &value);
        if (end != NULL) {
            size_t used = (size_t)(end - noise);
            assert_true(used <= size);
            assert_int_equal(varint_put(again, value) - again, used);
            assert_memory_equal(again, noise, used);
        }
    }
}

static void key_heads_order_as_the_bytes_do(void **state) {
    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t left[9];
        uint8_t right[9];
        seeded_random_fill(&generator, left, sizeof(left));
        memcpy(right, left, sizeof(right));
        right[seeded_random_below(&generator, 9)] = (uint8_t)seeded_random_next(&generator);
        int order = memcmp(left, right, 8);
        uint64_t a = key_head_u64(left, 9);
        uint64_t b = key_head_u64(right, 9);
        assert_int_equal((a > b) - (a < b), (order > 0) - (order < 0));
        order = memcmp(left, right, 4);
        uint32_t c = key_head_u32(left, 9);
        uint32_t d = key_head_u32(right, 9);
        assert_int_equal((c > d) - (c < d), (order > 0) - (order < 0));
        /* Missing bytes are zeros. */
        size_t size = (size_t)seeded_random_below(&generator, 8);
        uint8_t padded[8] = {0};
        memcpy(padded, left, size);
        assert_true(key_head_u64(left, size) == get_u64_be(padded));
        size = size < 4 ? size : 3;
        memset(padded, 0, 8);
        memcpy(padded, left, size);
        assert_true(key_head_u32(left, size) == get_u32_be(padded));
    }
}

static void fixed_integers_are_little_endian_at_any_alignment(void **state) {
    (void)state;
    uint8_t bytes[16] = {0};
    put_u64(bytes + 1, 0x0102030405060708u);
    assert_int_equal(bytes[1], 8);
    assert_int_equal(bytes[8], 1);
    assert_true(get_u64(bytes + 1) == 0x0102030405060708u);
    assert_int_equal(get_u32(bytes + 1), 0x05060708);
    assert_int_equal(get_u16(bytes + 1), 0x0708);
    put_u32(bytes + 3, 0xa1b2c3d4u);
    assert_int_equal(get_u32_be(bytes + 3), 0xd4c3b2a1u);
    put_u16(bytes + 3, 0xbeef);
    assert_int_equal(get_u16(bytes + 3), 0xbeef);
    assert_int_equal(round_up_u64(1, 512), 512);
    assert_int_equal(round_up_u64(512, 512), 512);
    assert_int_equal(round_up_u64(0, 512), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_back_every_number_and_no_part_of_one),
        cmocka_unit_test(refuses_numbers_of_more_than_64_bits),
        cmocka_unit_test(refuses_numbers_longer_than_they_need_to_be),
        cmocka_unit_test(accepts_one_form_of_each_number),
        cmocka_unit_test(key_heads_order_as_the_bytes_do),
        cmocka_unit_test(fixed_integers_are_little_endian_at_any_alignment),
    };
    return cmocka_run_group_tests(tests, seed_generator, NULL);
}
