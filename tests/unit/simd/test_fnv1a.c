/* SPDX-License-Identifier: Apache-2.0 */
/* Many strings at once have the hashes that they have one by one. */
#include <string.h>

#include "guarded.h"
#include "simd/fnv1a.h"
#include "simd/variants.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

#define STRINGS_MAX 130u
#define BYTES       (64u << 10)

static struct seeded_random generator;

static int seed_generator(void **state) {
    (void)state;
    seeded_random_init(&generator, seeded_random_seed("fnv1a"));
    return 0;
}

static void one_string_has_the_published_hash(void **state) {
    (void)state;
    /* The test vectors of the algorithm's authors. */
    assert_true(fnv1a("", 0, FNV1A_BASIS) == 0xcbf29ce484222325u);
    assert_true(fnv1a("a", 1, FNV1A_BASIS) == 0xaf63dc4c8601ec8cu);
    assert_true(fnv1a("foobar", 6, FNV1A_BASIS) == 0x85944171f73967e8u);
}

/* What FNV-1a is, word for word. */
static uint64_t hash_of(tern_slice string, uint64_t state) {
    const uint8_t *bytes = string.data;
    for (size_t i = 0; i < string.size; i++) {
        state ^= bytes[i];
        state *= 1099511628211u;
    }
    return state;
}

static void check(const tern_slice *strings, size_t count, uint64_t begin) {
    uint64_t hashes[STRINGS_MAX + 1];
    for (const struct variant *each = fnv1a_many_variants; each->name != NULL; each++) {
        if (!each->runs_here()) {
            continue;
        }
        memset(hashes, 0x5a, sizeof(hashes));
        ((fnv1a_many_function)each->function)(strings, count, begin, hashes);
        for (size_t i = 0; i < count; i++) {
            if (hashes[i] != hash_of(strings[i], begin)) {
                fail_msg("%s: string %zu of %zu, %zu bytes", each->name, i, count, strings[i].size);
            }
        }
        assert_true(hashes[count] == 0x5a5a5a5a5a5a5a5au);
    }
    fnv1a_many(strings, count, begin, hashes);
    for (size_t i = 0; i < count; i++) {
        assert_true(hashes[i] == hash_of(strings[i], begin));
    }
}

static void strings_of_one_length_agree(void **state) {
    (void)state;
    struct guarded memory = guarded_make(BYTES);
    seeded_random_fill(&generator, guarded_first(&memory), BYTES);
    for (size_t size = 0; size <= 300; size++) {
        tern_slice strings[STRINGS_MAX];
        size_t count = size % (STRINGS_MAX + 1);
        for (size_t i = 0; i < count; i++) {
            /* Every alignment, and at both ends of what may be read. */
            size_t place = i % 3 == 0 ? 0 : (size_t)seeded_random_below(&generator, BYTES - size);
            const uint8_t *at =
                i % 3 == 1 ? guarded_last(&memory, size) : guarded_first(&memory) + place;
            strings[i] = tern_slice_of(at, size);
        }
        check(strings, count, size % 2 == 0 ? FNV1A_BASIS : seeded_random_next(&generator));
    }
    guarded_release(&memory);
}

static void strings_of_all_lengths_agree(void **state) {
    (void)state;
    struct guarded memory = guarded_make(BYTES);
    seeded_random_fill(&generator, guarded_first(&memory), BYTES);
    for (unsigned round = 0; round < 400; round++) {
        static const size_t longest[] = {4, 9, 20, 70, 300, 4000};
        tern_slice strings[STRINGS_MAX];
        size_t count = (size_t)seeded_random_below(&generator, STRINGS_MAX + 1);
        for (size_t i = 0; i < count; i++) {
            size_t size = (size_t)seeded_random_below(&generator, longest[round % 6]);
            strings[i] = tern_slice_of(guarded_last(&memory, size), size);
            if (size == 0) {
                strings[i].data = NULL;
            }
        }
        check(strings, count, FNV1A_BASIS ^ round);
    }
    guarded_release(&memory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_string_has_the_published_hash),
        cmocka_unit_test(strings_of_one_length_agree),
        cmocka_unit_test(strings_of_all_lengths_agree),
    };
    return cmocka_run_group_tests(tests, seed_generator, NULL);
}
