/* SPDX-License-Identifier: Apache-2.0 */
/* Functions that hash keys: as docs/format/hash.md has them, for files hold what they give. */
#include <string.h>

#include "engine/engine.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

#define FUNCTIONS 3

static uint64_t hash_of(tern_hash_function function, uint64_t seed, const char *key) {
    const struct key_hasher hasher = key_hasher_make(function, seed);
    return key_hasher_hash(&hasher, tern_slice_str(key));
}

static void functions_give_what_the_format_says(void **state) {
    static const char long_key[] = "a key that is longer than sixteen bytes";
    const uint64_t seed = UINT64_C(0x0123456789abcdef);
    (void)state;
    assert_true(hash_of(TERN_HASH_FUNCTION_XXH3, 0, "") == UINT64_C(0x2d06800538d394c2));
    assert_true(hash_of(TERN_HASH_FUNCTION_XXH3, 7, "tern") == UINT64_C(0x5e95e86414ac46bd));
    assert_true(hash_of(TERN_HASH_FUNCTION_CRC32C, 7, "tern") == UINT64_C(0x38b098162fc8742a));
    assert_true(hash_of(TERN_HASH_FUNCTION_CRC32C, seed, "") == UINT64_C(0x3b4a8ce959d84c68));
    assert_true(hash_of(TERN_HASH_FUNCTION_CRC32C, seed, long_key) == UINT64_C(0x9e2ab6cb38ecdebb));
    assert_true(hash_of(TERN_HASH_FUNCTION_FNV1A, 7, "tern") == UINT64_C(0x7673c0231040d275));
    assert_true(hash_of(TERN_HASH_FUNCTION_FNV1A, seed, "") == UINT64_C(0x87210f9b2f845e7c));
    assert_true(hash_of(TERN_HASH_FUNCTION_FNV1A, seed, long_key) == UINT64_C(0x1d991b44927333a4));
}

static void many_keys_hash_as_each_alone(void **state) {
    uint8_t bytes[200 * 40];
    tern_slice keys[200];
    uint64_t hashes[200];
    struct seeded_random random;
    uint64_t seed = seeded_random_seed("key hasher");
    (void)state;
    seeded_random_init(&random, seed);
    seeded_random_fill(&random, bytes, sizeof(bytes));
    for (size_t i = 0; i < 200; i++) {
        keys[i] = tern_slice_of(bytes + i * 40, (size_t)seeded_random_below(&random, 40));
    }
    for (int function = 0; function < FUNCTIONS; function++) {
        const struct key_hasher hasher = key_hasher_make((tern_hash_function)function, seed);
        for (size_t count = 0; count <= 200; count += 25) {
            memset(hashes, 0, sizeof(hashes));
            key_hasher_hash_many(&hasher, keys, count, hashes);
            for (size_t i = 0; i < 200; i++) {
                assert_true(hashes[i] == (i < count ? key_hasher_hash(&hasher, keys[i]) : 0));
            }
        }
    }
}

/* Counters and their like, in which functions that are no more than sums fail first. */
static void keys_that_differ_little_spread_over_both_ends(void **state) {
    (void)state;
    for (int function = 0; function < FUNCTIONS; function++) {
        const struct key_hasher hasher = key_hasher_make((tern_hash_function)function, 99);
        uint32_t low[256] = {0};
        uint32_t high[256] = {0};
        for (uint64_t number = 0; number < 256 * 100; number++) {
            uint64_t hash = key_hasher_hash(&hasher, tern_slice_of(&number, sizeof(number)));
            low[hash % 256]++;
            high[hash >> 56]++;
        }
        for (unsigned i = 0; i < 256; i++) {
            assert_in_range(low[i], 50, 160);
            assert_in_range(high[i], 50, 160);
        }
    }
}

static void seeds_and_functions_give_different_hashes(void **state) {
    (void)state;
    for (int function = 0; function < FUNCTIONS; function++) {
        tern_hash_function one = (tern_hash_function)function;
        const struct key_hasher hasher = key_hasher_make(one, 1);
        const struct key_hasher other =
            key_hasher_make((tern_hash_function)((function + 1) % 3), 1);
        assert_int_not_equal(hash_of(one, 1, "key"), hash_of(one, 2, "key"));
        assert_int_not_equal(hash_of(one, 1, "key"), hash_of(other.function, 1, "key"));
        assert_true(key_hasher_equal(&hasher, &hasher));
        assert_false(key_hasher_equal(&hasher, &other));
    }
    assert_false(key_hasher_is_known((tern_hash_function)FUNCTIONS));
    assert_false(key_hasher_is_known((tern_hash_function)-1));
}

static void a_partition_without_a_hasher_has_the_default(void **state) {
    const struct engine_config config = {.id = 5};
    const struct key_hasher hasher = engine_config_hasher(&config);
    (void)state;
    assert_int_equal(key_hasher_hash(&hasher, tern_slice_str("k")),
                     engine_key_hash(5, tern_slice_str("k")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(functions_give_what_the_format_says),
        cmocka_unit_test(many_keys_hash_as_each_alone),
        cmocka_unit_test(keys_that_differ_little_spread_over_both_ends),
        cmocka_unit_test(seeds_and_functions_give_different_hashes),
        cmocka_unit_test(a_partition_without_a_hasher_has_the_default),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
