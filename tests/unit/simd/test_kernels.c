/* SPDX-License-Identifier: Apache-2.0 */
/* Every variant that this machine can run gives, bit for bit, what the scalar one does. */
#include <stdlib.h>
#include <string.h>

#include "guarded.h"
#include "simd/crc32c_table.h"
#include "simd/hash.h"
#include "simd/search.h"
#include "simd/variants.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

/* Kernels may read this much past the end of an array of heads. */
#define PAD_BYTES 64

static struct seeded_random generator;

static int seed_generator(void **state) {
    (void)state;
    seeded_random_init(&generator, seeded_random_seed("kernels"));
    return 0;
}

static void crc32c_gives_the_published_values(void **state) {
    (void)state;
    uint8_t bytes[32] = {0};
    /* RFC 3720, appendix B.4, and the check value of the catalogue of CRCs. */
    assert_int_equal(crc32c(0, bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, 32);
    assert_int_equal(crc32c(0, bytes, 32), 0x62a8ab43);
    for (unsigned i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)i;
    }
    assert_int_equal(crc32c(0, bytes, 32), 0x46dd794e);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c_scalar(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, NULL, 0), 0);
}

static void crc32c_table_follows_from_the_polynomial(void **state) {
    (void)state;
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t remainder = n;
        for (unsigned zeros = 0; zeros < 8; zeros++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                remainder = remainder >> 1 ^ ((remainder & 1) != 0 ? 0x82f63b78u : 0);
            }
            assert_int_equal(crc32c_table[zeros][n], remainder);
        }
    }
}

static void check_crc(crc32c_function variant) {
    enum { SIZE = 20000 };
    struct guarded memory = guarded_make(SIZE + 64);
    uint8_t *bytes = guarded_first(&memory);
    seeded_random_fill(&generator, bytes, memory.bytes);
    for (size_t size = 0; size < 1200; size++) {
        for (size_t offset = 0; offset < 64; offset += size <= 300 ? 1 : 7) {
            const uint8_t *at = guarded_last(&memory, size + offset);
            assert_int_equal(variant((uint32_t)size, at, size),
                             crc32c_scalar((uint32_t)size, at, size));
        }
    }
    for (unsigned i = 0; i < 300; i++) {
        size_t offset = (size_t)seeded_random_below(&generator, SIZE);
        size_t size = (size_t)seeded_random_below(&generator, SIZE - offset + 1);
        uint32_t begin = (uint32_t)seeded_random_next(&generator);
        assert_int_equal(variant(begin, bytes + offset, size),
                         crc32c_scalar(begin, bytes + offset, size));
        size_t first = size / 3; /* in two parts it is the same */
        assert_int_equal(
            variant(variant(begin, bytes + offset, first), bytes + offset + first, size - first),
            crc32c_scalar(begin, bytes + offset, size));
    }
    guarded_release(&memory);
}

static void crc32c_variants_agree(void **state) {
    (void)state;
    check_crc(crc32c);
    for (const struct variant *each = crc32c_variants; each->name != NULL; each++) {
        if (each->runs_here()) {
            check_crc((crc32c_function)each->function);
        }
    }
}

static void hash_gives_the_published_values(void **state) {
    (void)state;
    /* XXH3_64bits of nothing, with seed 0, as xxHash's own documentation and tools give it. */
    assert_true(hash_u64(NULL, 0, 0) == 0x2d06800538d394c2u);
}

static void check_hash(const uint8_t *bytes, size_t size, uint64_t seed) {
    uint64_t expected = hash_long_scalar(bytes, size, seed);
    assert_true(hash_u64(bytes, size, seed) == expected);
    for (const struct variant *each = hash_long_variants; each->name != NULL; each++) {
        if (each->runs_here()) {
            assert_true(((hash_function)each->function)(bytes, size, seed) == expected);
        }
    }
}

static void hash_variants_agree_and_depend_on_every_byte(void **state) {
    (void)state;
    enum { SIZE = 9000 };
    struct guarded memory = guarded_make(SIZE + 64);
    seeded_random_fill(&generator, guarded_first(&memory), memory.bytes);
    for (size_t size = 0; size < SIZE; size += size <= 300 ? 1 : 1 + size / 32) {
        uint64_t seed = seeded_random_next(&generator);
        for (size_t offset = 0; offset < 64; offset++) {
            check_hash(guarded_last(&memory, size + offset), size, seed);
        }
        uint8_t *bytes = guarded_last(&memory, size);
        uint64_t expected = hash_u64(bytes, size, seed);
        assert_true(hash_u64(bytes, size, seed + 1) != expected);
        if (size > 0) {
            size_t place = (size_t)seeded_random_below(&generator, size);
            bytes[place] ^= 1;
            assert_true(hash_u64(bytes, size, seed) != expected);
            check_hash(bytes, size, seed);
            bytes[place] ^= 1;
        }
    }
    guarded_release(&memory);
}

static int compare_u64(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static int compare_u32(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

/* What a lower bound is, word for word. */
static size_t count_below_u64(const uint64_t *heads, size_t count, uint64_t head) {
    size_t below = 0;
    for (size_t i = 0; i < count; i++) {
        below += heads[i] < head;
    }
    return below;
}

static size_t count_below_u32(const uint32_t *heads, size_t count, uint32_t head) {
    size_t below = 0;
    for (size_t i = 0; i < count; i++) {
        below += heads[i] < head;
    }
    return below;
}

/* A random number, often one of few so that there are duplicates, often at an end of the range. */
static uint64_t random_head(uint64_t max) {
    switch (seeded_random_below(&generator, 4)) {
    case 0:
        return seeded_random_below(&generator, 8);
    case 1:
        return max - seeded_random_below(&generator, 8);
    case 2: /* around the change of sign */
        return max / 2 - 2 + seeded_random_below(&generator, 6);
    default:
        return seeded_random_next(&generator) & max;
    }
}

static void check_head_u64(const uint64_t *heads, size_t count, uint64_t head) {
    size_t expected = count_below_u64(heads, count, head);
    assert_int_equal(search_lower_u64(heads, count, head), expected);
    for (const struct variant *each = search_lower_u64_variants; each->name != NULL; each++) {
        if (each->runs_here()) {
            size_t found = ((search_u64_function)each->function)(heads, count, head);
            assert_int_equal(found, expected);
        }
    }
}

static void check_head_u32(const uint32_t *heads, size_t count, uint32_t head) {
    size_t expected = count_below_u32(heads, count, head);
    assert_int_equal(search_lower_u32(heads, count, head), expected);
    for (const struct variant *each = search_lower_u32_variants; each->name != NULL; each++) {
        if (each->runs_here()) {
            size_t found = ((search_u32_function)each->function)(heads, count, head);
            assert_int_equal(found, expected);
        }
    }
}

static void lower_bounds_agree_with_counting_for_u64(void **state) {
    (void)state;
    struct guarded memory = guarded_make(300 * sizeof(uint64_t) + PAD_BYTES);
    for (size_t count = 0; count < 300; count += count < 70 ? 1 : 23) {
        /* Exactly as much memory as callers must give, and random bytes in the pad. */
        uint64_t *heads = (void *)guarded_last(&memory, count * sizeof(*heads) + PAD_BYTES);
        seeded_random_fill(&generator, heads, count * sizeof(*heads) + PAD_BYTES);
        for (size_t i = 0; i < count; i++) {
            heads[i] = random_head(UINT64_MAX);
        }
        qsort(heads, count, sizeof(*heads), compare_u64);
        for (size_t i = 0; i < count; i++) {
            check_head_u64(heads, count, heads[i]);
            check_head_u64(heads, count, heads[i] + 1);
        }
        for (unsigned i = 0; i < 50; i++) {
            check_head_u64(heads, count, random_head(UINT64_MAX));
        }
    }
    guarded_release(&memory);
}

static void lower_bounds_agree_with_counting_for_u32(void **state) {
    (void)state;
    struct guarded memory = guarded_make(300 * sizeof(uint64_t) + PAD_BYTES);
    for (size_t count = 0; count < 300; count += count < 70 ? 1 : 23) {
        uint32_t *heads = (void *)guarded_last(&memory, count * sizeof(*heads) + PAD_BYTES);
        seeded_random_fill(&generator, heads, count * sizeof(*heads) + PAD_BYTES);
        for (size_t i = 0; i < count; i++) {
            heads[i] = (uint32_t)random_head(UINT32_MAX);
        }
        qsort(heads, count, sizeof(*heads), compare_u32);
        for (size_t i = 0; i < count; i++) {
            check_head_u32(heads, count, heads[i]);
            check_head_u32(heads, count, heads[i] + 1);
        }
        for (unsigned i = 0; i < 50; i++) {
            check_head_u32(heads, count, (uint32_t)random_head(UINT32_MAX));
        }
    }
    guarded_release(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_gives_the_published_values),
        cmocka_unit_test(crc32c_table_follows_from_the_polynomial),
        cmocka_unit_test(crc32c_variants_agree),
        cmocka_unit_test(hash_gives_the_published_values),
        cmocka_unit_test(hash_variants_agree_and_depend_on_every_byte),
        cmocka_unit_test(lower_bounds_agree_with_counting_for_u64),
        cmocka_unit_test(lower_bounds_agree_with_counting_for_u32),
    };
    return cmocka_run_group_tests(tests, seed_generator, NULL);
}
