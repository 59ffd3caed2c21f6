/* SPDX-License-Identifier: Apache-2.0 */
/* Every variant that this machine can run ends a common prefix where counting bytes does. */
#include <string.h>

#include "guarded.h"
#include "simd/compare.h"
#include "simd/variants.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

#define LARGE_BYTES 70000

static struct seeded_random generator;

static int seed_generator(void **state) {
    (void)state;
    seeded_random_init(&generator, seeded_random_seed("compare"));
    return 0;
}

static size_t count_equal(const uint8_t *left, const uint8_t *right, size_t size) {
    size_t at = 0;
    while (at < size && left[at] == right[at]) {
        at++;
    }
    return at;
}

static void check(const uint8_t *left, const uint8_t *right, size_t size) {
    size_t expected = count_equal(left, right, size);
    for (const struct variant *each = common_prefix_variants; each->name != NULL; each++) {
        if (each->runs_here()) {
            size_t found = ((common_prefix_function)each->function)(left, right, size);
            if (found != expected) {
                fail_msg("%s: %zu bytes, prefix of %zu, not %zu", each->name, size, found,
                         expected);
            }
        }
    }
    assert_int_equal(common_prefix(left, right, size), expected);
    int order = compare_bytes(left, right, size);
    int wanted = size > 0 ? memcmp(left, right, size) : 0;
    assert_int_equal((order > 0) - (order < 0), (wanted > 0) - (wanted < 0));
}

/* Equal strings, then a difference at `place`, and another one behind it that does not count. */
static void check_with_difference(uint8_t *left, const uint8_t *right, size_t size, size_t place) {
    uint8_t kept = left[place];
    uint8_t last = left[size - 1];
    left[place] ^= (uint8_t)(1u << seeded_random_below(&generator, 8));
    check(left, right, size);
    if (place + 1 < size) {
        left[size - 1] ^= 0x80;
        check(left, right, size);
        left[size - 1] = last;
    }
    left[place] = kept;
}

static void prefixes_end_at_the_first_difference_wherever_it_is(void **state) {
    (void)state;
    struct guarded a = guarded_make(4096);
    struct guarded b = guarded_make(4096);
    for (size_t size = 0; size <= 300; size++) {
        uint8_t *left = guarded_last(&a, size);
        uint8_t *right = size % 2 == 0 ? guarded_last(&b, size) : guarded_first(&b);
        seeded_random_fill(&generator, left, size);
        memcpy(right, left, size);
        check(left, right, size);
        for (size_t place = 0; place < size; place++) {
            check_with_difference(left, right, size, place);
        }
    }
    guarded_release(&a);
    guarded_release(&b);
}

static void alignment_does_not_matter(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 7, 8, 15, 16, 31, 33, 63, 64, 65, 127, 129, 200, 256, 300};
    struct guarded a = guarded_make(4096);
    struct guarded b = guarded_make(4096);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t offset = 0; offset < 64 * 64; offset++) {
            uint8_t *left = guarded_last(&a, sizes[i] + offset % 64);
            uint8_t *right = guarded_last(&b, sizes[i] + offset / 64);
            memset(left, 'x', sizes[i]);
            memset(right, 'x', sizes[i]);
            right[sizes[i] - 1 - offset % sizes[i]] = 'y';
            check(left, right, sizes[i]);
        }
    }
    guarded_release(&a);
    guarded_release(&b);
}

static void long_strings_are_compared_to_their_ends(void **state) {
    (void)state;
    struct guarded a = guarded_make(LARGE_BYTES);
    struct guarded b = guarded_make(LARGE_BYTES);
    for (unsigned i = 0; i < 300; i++) {
        size_t size = 1 + (size_t)seeded_random_below(&generator, LARGE_BYTES);
        uint8_t *left = guarded_last(&a, size);
        uint8_t *right = guarded_last(&b, size);
        seeded_random_fill(&generator, left, size);
        memcpy(right, left, size);
        check(left, right, size);
        check_with_difference(left, right, size, (size_t)seeded_random_below(&generator, size));
        check_with_difference(left, right, size, size - 1);
    }
    guarded_release(&a);
    guarded_release(&b);
}

static void no_bytes_have_no_prefix(void **state) {
    (void)state;
    check(NULL, NULL, 0);
    const tern_slice nothing = tern_slice_of(NULL, 0);
    assert_int_equal(slice_common_prefix(nothing, tern_slice_of("abc", 3)), 0);
    assert_int_equal(slice_common_prefix(tern_slice_of("abcd", 4), tern_slice_of("abx", 3)), 2);
    assert_int_equal(slice_common_prefix(tern_slice_of("ab", 2), tern_slice_of("abx", 3)), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefixes_end_at_the_first_difference_wherever_it_is),
        cmocka_unit_test(alignment_does_not_matter),
        cmocka_unit_test(long_strings_are_compared_to_their_ends),
        cmocka_unit_test(no_bytes_have_no_prefix),
    };
    return cmocka_run_group_tests(tests, seed_generator, NULL);
}
