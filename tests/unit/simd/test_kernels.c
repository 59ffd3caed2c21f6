/* SPDX-License-Identifier: Apache-2.0 */
/* Every variant that this machine can run gives, bit for bit, what the scalar one does. */
#include <stdlib.h>
#include <string.h>

#include "simd/crc32c_table_internal.h"
#include "simd/hash.h"
#include "simd/search.h"
#include "simd/variants_internal.h"
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

typedef uint32_t (*crc_function)(uint32_t crc, const void *bytes, size_t size);

static void check_crc(crc_function variant) {
    enum { SIZE = 20000 };
    uint8_t *bytes = malloc(SIZE);
    seeded_random_fill(&generator, bytes, SIZE);
    for (size_t size = 0; size < 1200; size++) {
        size_t offset = size % 17;
        assert_int_equal(variant((uint32_t)size, bytes + offset, size),
                         crc32c_scalar((uint32_t)size, bytes + offset, size));
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
    free(bytes);
}

static void crc32c_variants_agree(void **state) {
    (void)state;
    check_crc(crc32c);
#if CPU_X86
    if (cpu_has_sse42()) {
        check_crc(crc32c_sse42);
    }
#elif CPU_ARM
    if (cpu_has_arm_crc()) {
        check_crc(crc32c_neon);
    }
#endif
}

static void hash_gives_the_published_values(void **state) {
    (void)state;
    /* XXH3_64bits of nothing, with seed 0, as xxHash's own documentation and tools give it. */
    assert_true(hash_u64(NULL, 0, 0) == 0x2d06800538d394c2u);
}

static void hash_variants_agree_and_depend_on_every_byte(void **state) {
    (void)state;
    enum { SIZE = 9000 };
    uint8_t *bytes = malloc(SIZE);
    seeded_random_fill(&generator, bytes, SIZE);
    for (size_t size = 0; size < SIZE; size += 1 + size / 32) {
        uint64_t seed = seeded_random_next(&generator);
        uint64_t expected = hash_long_scalar(bytes, size, seed);
        assert_true(hash_u64(bytes, size, seed) == expected);
        assert_true(hash_u64(bytes, size, seed + 1) != expected);
#if CPU_X86
        if (cpu_has_avx2()) {
            assert_true(hash_long_avx2(bytes, size, seed) == expected);
        }
#endif
        if (size > 0) {
            size_t place = (size_t)seeded_random_below(&generator, size);
            bytes[place] ^= 1;
            assert_true(hash_u64(bytes, size, seed) != expected);
            bytes[place] ^= 1;
        }
    }
    free(bytes);
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
    assert_int_equal(search_lower_u64_scalar(heads, count, head), expected);
#if CPU_X86
    if (cpu_has_avx2()) {
        assert_int_equal(search_lower_u64_avx2(heads, count, head), expected);
    }
#elif CPU_ARM
    assert_int_equal(search_lower_u64_neon(heads, count, head), expected);
#endif
}

static void check_head_u32(const uint32_t *heads, size_t count, uint32_t head) {
    size_t expected = count_below_u32(heads, count, head);
    assert_int_equal(search_lower_u32(heads, count, head), expected);
    assert_int_equal(search_lower_u32_scalar(heads, count, head), expected);
#if CPU_X86
    if (cpu_has_avx2()) {
        assert_int_equal(search_lower_u32_avx2(heads, count, head), expected);
    }
#elif CPU_ARM
    assert_int_equal(search_lower_u32_neon(heads, count, head), expected);
#endif
}

static void lower_bounds_agree_with_counting_for_u64(void **state) {
    (void)state;
    for (size_t count = 0; count < 300; count += count < 70 ? 1 : 23) {
        /* Exactly as much memory as callers must give, and random bytes in the pad. */
        uint64_t *heads = malloc(count * sizeof(*heads) + PAD_BYTES);
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
        free(heads);
    }
}

static void lower_bounds_agree_with_counting_for_u32(void **state) {
    (void)state;
    for (size_t count = 0; count < 300; count += count < 70 ? 1 : 23) {
        uint32_t *heads = malloc(count * sizeof(*heads) + PAD_BYTES);
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
        free(heads);
    }
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
