/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "simd/cpu.h"
#include "support/cmocka_test.h"

static bool has_anything(void) {
    return cpu_has_sse42() || cpu_has_avx2() || cpu_has_neon() || cpu_has_arm_crc();
}

static void the_processor_has_nothing_when_scalar_kernels_are_asked_for(void **state) {
    (void)state;
    assert_int_equal(setenv("TERN_SIMD", "scalar", 1), 0);
    assert_false(has_anything());
}

static void another_word_changes_nothing(void **state) {
    (void)state;
    assert_int_equal(unsetenv("TERN_SIMD"), 0);
    bool by_itself = has_anything();
    assert_int_equal(setenv("TERN_SIMD", "whatever", 1), 0);
    assert_int_equal(has_anything(), by_itself);
}

static void arm_has_neon(void **state) {
    (void)state;
    assert_int_equal(unsetenv("TERN_SIMD"), 0);
    assert_int_equal(cpu_has_neon(), CPU_ARM == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_processor_has_nothing_when_scalar_kernels_are_asked_for),
        cmocka_unit_test(another_word_changes_nothing),
        cmocka_unit_test(arm_has_neon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
