/* SPDX-License-Identifier: Apache-2.0 */
/* Every variant unpacks, at every width, the numbers whose bits were laid down one by one. */
#include <string.h>

#include "guarded.h"
#include "simd/bits.h"
#include "simd/variants.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

#define COUNT_MAX 5000u

static struct seeded_random generator;

static int seed_generator(void **state) {
    (void)state;
    seeded_random_init(&generator, seeded_random_seed("bits"));
    return 0;
}

static void lay_down(const uint32_t *values, size_t count, unsigned width, uint8_t *target) {
    memset(target, 0, bits_packed_bytes(count, width));
    for (size_t i = 0; i < count; i++) {
        for (unsigned bit = 0; bit < width; bit++) {
            size_t place = i * width + bit;
            target[place / 8] |= (uint8_t)((values[i] >> bit & 1) << place % 8);
        }
    }
}

static void check_unpack(bits_unpack_function variant, const uint8_t *source, size_t count,
                         unsigned width, const uint32_t *expected) {
    struct guarded output = guarded_make(count * sizeof(uint32_t));
    uint32_t *values = (void *)guarded_last(&output, count * sizeof(uint32_t));
    variant(source, count, width, values);
    assert_memory_equal(values, expected, count * sizeof(uint32_t));
    guarded_release(&output);
}

static void check(const struct guarded *memory, size_t count, unsigned width, size_t offset) {
    static uint32_t values[COUNT_MAX];
    static uint8_t packed[COUNT_MAX * 4];
    size_t size = bits_packed_bytes(count, width);
    uint8_t *source = guarded_last(memory, size + offset);
    for (size_t i = 0; i < count; i++) {
        values[i] = (uint32_t)seeded_random_next(&generator);
    }
    bits_pack(values, count, width, source); /* upper bits must not show */
    for (size_t i = 0; i < count; i++) {
        values[i] = (uint32_t)(values[i] & (((uint64_t)1 << width) - 1));
    }
    lay_down(values, count, width, packed);
    if (size > 0) {
        assert_memory_equal(source, packed, size);
    }
    for (const struct variant *each = bits_unpack_variants; each->name != NULL; each++) {
        if (each->runs_here()) {
            check_unpack((bits_unpack_function)each->function, source, count, width, values);
        }
    }
    check_unpack(bits_unpack, source, count, width, values);
}

static void every_width_and_count_is_unpacked_at_the_end_of_memory(void **state) {
    (void)state;
    struct guarded memory = guarded_make(COUNT_MAX * 4 + 64);
    for (unsigned width = 0; width <= BITS_WIDTH_MAX; width++) {
        for (size_t count = 1; count <= 300; count += count < 70 ? 1 : 23) {
            check(&memory, count, width, 0);
        }
        check(&memory, COUNT_MAX - width, width, 0);
    }
    guarded_release(&memory);
}

static void alignment_does_not_matter(void **state) {
    (void)state;
    struct guarded memory = guarded_make(COUNT_MAX * 4 + 64);
    for (size_t offset = 0; offset < 64; offset++) {
        check(&memory, 131, (unsigned)(offset % 33), offset);
        check(&memory, 77, (unsigned)(32 - offset % 33), offset);
    }
    guarded_release(&memory);
}

static void nothing_takes_no_bytes(void **state) {
    (void)state;
    assert_int_equal(bits_packed_bytes(0, 32), 0);
    assert_int_equal(bits_packed_bytes(1000, 0), 0);
    assert_int_equal(bits_packed_bytes(1, 1), 1);
    assert_int_equal(bits_packed_bytes(9, 7), 8);
    bits_unpack(NULL, 0, 13, NULL);
    uint32_t values[3] = {1, 2, 3};
    bits_unpack((const uint8_t *)"", 3, 0, values);
    assert_int_equal(values[0] | values[1] | values[2], 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_width_and_count_is_unpacked_at_the_end_of_memory),
        cmocka_unit_test(alignment_does_not_matter),
        cmocka_unit_test(nothing_takes_no_bytes),
    };
    return cmocka_run_group_tests(tests, seed_generator, NULL);
}
