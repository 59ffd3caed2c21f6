/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels leave the upper halves of the vector registers unused: where some are in use, processors
 * take long to change between code of 128 bits and the library's of 256. Compilers see to it where
 * they optimise for speed.
 *
 * ctest: only=release
 */
#include <stdlib.h>

#include "simd/variants.h"
#include "support/cmocka_test.h"

#if defined(__x86_64__)
#include <cpuid.h>

#define AVX_IN_USE        (1u << 2)
#define UPPER_ZMM_IN_USE  (1u << 6)
#define SAYS_WHAT_IS_USED (1u << 2)

/* False: the processor does not tell. */
static bool can_ask(void) {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    bool has_state = __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_OSXSAVE) != 0;
    return has_state && __get_cpuid_count(0xd, 1, &eax, &ebx, &ecx, &edx) != 0 &&
           (eax & SAYS_WHAT_IS_USED) != 0;
}

static uint32_t upper_halves_in_use(void) {
    uint32_t low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
    return low & (AVX_IN_USE | UPPER_ZMM_IN_USE);
}
#else
static bool can_ask(void) {
    return false;
}
static uint32_t upper_halves_in_use(void) {
    return 0;
}
#endif

static uint8_t bytes[4096];

static void hashes_leave_none_in_use(void **state) {
    (void)state;
    static const size_t sizes[] = {16, 200, 300, 600, 1024, sizeof(bytes)};
    uint64_t sum = 0;
    if (!can_ask()) {
        skip();
    }
    for (const struct variant *variant = hash_long_variants; variant->name != NULL; variant++) {
        for (size_t i = 0; variant->runs_here() && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            sum += ((hash_function)variant->function)(bytes, sizes[i], sum);
            assert_int_equal(upper_halves_in_use(), 0);
        }
    }
}

static void comparisons_and_filters_leave_none_in_use(void **state) {
    (void)state;
    static uint8_t others[sizeof(bytes)];
    static uint64_t hashes[64];
    uint8_t *lines = aligned_alloc(64, sizeof(bytes));
    if (!can_ask()) {
        free(lines);
        skip();
    }
    assert_non_null(lines);
    memset(lines, 0, sizeof(bytes));
    for (const struct variant *variant = common_prefix_variants; variant->name != NULL; variant++) {
        if (variant->runs_here()) {
            assert_int_equal(
                ((common_prefix_function)variant->function)(bytes, others, sizeof(bytes)),
                sizeof(bytes));
            assert_int_equal(upper_halves_in_use(), 0);
        }
    }
    for (const struct variant *variant = bloom_build_variants; variant->name != NULL; variant++) {
        if (variant->runs_here()) {
            ((bloom_build_function)variant->function)(lines, sizeof(bytes) / 64, hashes, 64);
            assert_int_equal(upper_halves_in_use(), 0);
        }
    }
    free(lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_leave_none_in_use),
        cmocka_unit_test(comparisons_and_filters_leave_none_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
