/* SPDX-License-Identifier: Apache-2.0 */
/* Every variant sets and finds the bits that the format of filters says, written down bit by bit.
 */
#include <string.h>

#include "guarded.h"
#include "simd/bloom.h"
#include "simd/variants.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

#define LINES_MAX 40u

static struct seeded_random generator;

static int seed_generator(void **state) {
    (void)state;
    seeded_random_init(&generator, seeded_random_seed("bloom"));
    return 0;
}

/* docs/format/lsm.md: word w of the line has bit (low * salt[w]) >> 27. */
static const uint32_t salts[8] = {0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d,
                                  0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31};

static void set_bits(uint8_t *lines, uint32_t line_count, uint64_t hash) {
    uint8_t *line = lines + (size_t)((hash >> 32) * line_count >> 32) * 32;
    for (unsigned word = 0; word < 8; word++) {
        uint32_t bit = (uint32_t)((uint32_t)hash * salts[word]) >> 27;
        line[4 * word + bit / 8] |= (uint8_t)(1u << bit % 8);
    }
}

static bool has_bits(const uint8_t *line, uint64_t hash) {
    uint8_t wanted[32] = {0};
    set_bits(wanted, 1, hash);
    for (unsigned i = 0; i < 32; i++) {
        if ((wanted[i] & ~line[i]) != 0) {
            return false;
        }
    }
    return true;
}

static void check_build(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count) {
    uint8_t expected[LINES_MAX * 32] = {0};
    for (size_t i = 0; i < count; i++) {
        set_bits(expected, line_count, hashes[i]);
    }
    for (const struct variant *each = bloom_build_variants; each->name != NULL; each++) {
        if (each->runs_here()) {
            memset(lines, 0, (size_t)line_count * 32);
            ((bloom_build_function)each->function)(lines, line_count, hashes, count);
            assert_memory_equal(lines, expected, (size_t)line_count * 32);
        }
    }
    memset(lines, 0, (size_t)line_count * 32);
    bloom_build(lines, line_count, hashes, count);
    assert_memory_equal(lines, expected, (size_t)line_count * 32);
}

static void filters_have_the_bytes_of_the_format(void **state) {
    (void)state;
    struct guarded memory = guarded_make(LINES_MAX * 32 + 64);
    struct guarded list = guarded_make(400 * sizeof(uint64_t));
    for (uint32_t line_count = 1; line_count <= LINES_MAX; line_count++) {
        size_t count = (size_t)seeded_random_below(&generator, 400);
        uint64_t *hashes = (void *)guarded_last(&list, count * sizeof(uint64_t));
        seeded_random_fill(&generator, hashes, count * sizeof(uint64_t));
        for (size_t offset = 0; offset < 33; offset++) {
            check_build(guarded_last(&memory, (size_t)line_count * 32 + offset), line_count, hashes,
                        offset % 2 == 0 ? count : count / 20);
        }
        check_build(guarded_first(&memory), line_count, hashes, count);
    }
    guarded_release(&memory);
    guarded_release(&list);
}

static void check_probe(const uint8_t *line, uint64_t hash) {
    bool expected = has_bits(line, hash);
    for (const struct variant *each = bloom_probe_variants; each->name != NULL; each++) {
        if (each->runs_here()) {
            assert_int_equal(((bloom_probe_function)each->function)(line, hash), expected);
        }
    }
    assert_int_equal(bloom_line_may_contain(line, hash), expected);
}

static void probes_want_all_eight_bits_and_nothing_else(void **state) {
    (void)state;
    struct guarded memory = guarded_make(32 + 64);
    for (unsigned i = 0; i < 3000; i++) {
        uint8_t *line = guarded_last(&memory, 32 + i % 64);
        uint64_t hash = seeded_random_next(&generator);
        /* Every bit of every word must occur: small and large multipliers of the salts. */
        hash = i % 8 == 0 ? i / 8 : hash;
        memset(line, 0, 32);
        check_probe(line, hash);
        bloom_build(line, 1, &hash, 1);
        assert_true(bloom_line_may_contain(line, hash));
        check_probe(line, hash);
        for (unsigned bit = 0; bit < 256; bit++) {
            line[bit / 8] ^= (uint8_t)(1u << bit % 8);
            check_probe(line, hash);
            line[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        seeded_random_fill(&generator, line, 32);
        check_probe(line, hash);
        memset(line, 0xff, 32);
        check_probe(line, hash);
    }
    guarded_release(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_have_the_bytes_of_the_format),
        cmocka_unit_test(probes_want_all_eight_bits_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, seed_generator, NULL);
}
