/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "guarded.h"
#include "simd/tags.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

static struct seeded_random generator;

static int seed_generator(void **state) {
    (void)state;
    seeded_random_init(&generator, seeded_random_seed("tags"));
    return 0;
}

static void every_set_of_places_is_found_exactly(void **state) {
    (void)state;
    struct guarded memory = guarded_make(TAGS_BYTES + 64);
    for (uint32_t places = 0; places < 1u << TAGS_BYTES; places++) {
        uint8_t *tags = guarded_last(&memory, TAGS_BYTES + places % 64);
        uint8_t tag = (uint8_t)seeded_random_next(&generator);
        for (unsigned i = 0; i < TAGS_BYTES; i++) {
            /* Others differ in one bit only. */
            uint32_t other = tag ^ 1u << (places + i) % 8;
            tags[i] = (uint8_t)((places >> i & 1) != 0 ? tag : other);
        }
        assert_int_equal(tags_match(tags, tag), places);
        assert_int_equal(tags_match_scalar(tags, tag), places);
    }
    guarded_release(&memory);
}

/* Words whose upper halves differ in one bit or not at all, whatever their lower halves are. */
static void words_are_found_by_the_bits_of_the_mask_alone(void **state) {
    (void)state;
    struct guarded memory = guarded_make(TAGS_WORDS * sizeof(uint64_t));
    uint64_t *words = (uint64_t *)(void *)guarded_last(&memory, TAGS_WORDS * sizeof(uint64_t));
    for (int round = 0; round < 20000; round++) {
        uint64_t mask = seeded_random_next(&generator) << 32;
        uint64_t tag = seeded_random_next(&generator) & mask;
        uint32_t expected = 0;
        for (uint32_t i = 0; i < TAGS_WORDS; i++) {
            words[i] = (seeded_random_next(&generator) & ~mask) | tag;
            bool differs = mask != 0 && seeded_random_next(&generator) % 2 == 0;
            while (differs && (words[i] & mask) == tag) {
                words[i] ^= mask & (uint64_t)1 << (32 + seeded_random_next(&generator) % 32);
            }
            expected |= (uint32_t)!differs << i;
        }
        assert_int_equal(tags_match_words(words, mask, tag), expected);
        assert_int_equal(tags_match_words_scalar(words, mask, tag), expected);
    }
    guarded_release(&memory);
}

static void random_tags_are_found_as_one_by_one(void **state) {
    (void)state;
    struct guarded memory = guarded_make(TAGS_BYTES);
    uint8_t *tags = guarded_last(&memory, TAGS_BYTES);
    for (unsigned i = 0; i < 100000; i++) {
        seeded_random_fill(&generator, tags, TAGS_BYTES);
        uint8_t tag = tags[i % TAGS_BYTES];
        assert_int_equal(tags_match(tags, tag), tags_match_scalar(tags, tag));
    }
    guarded_release(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_set_of_places_is_found_exactly),
        cmocka_unit_test(random_tags_are_found_as_one_by_one),
        cmocka_unit_test(words_are_found_by_the_bits_of_the_mask_alone),
    };
    return cmocka_run_group_tests(tests, seed_generator, NULL);
}
