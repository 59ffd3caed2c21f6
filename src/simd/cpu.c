/* SPDX-License-Identifier: Apache-2.0 */
#include "simd/cpu.h"

#include <stdlib.h>
#include <string.h>

#if CPU_ARM
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#if CPU_X86 || CPU_ARM
static bool is_scalar_wanted(void) {
    const char *wanted = secure_getenv("TERN_SIMD");
    return wanted != NULL && strcmp(wanted, "scalar") == 0;
}
#endif

bool cpu_has_sse42(void) {
#if CPU_X86
    return !is_scalar_wanted() && __builtin_cpu_supports("sse4.2") &&
           __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("popcnt");
#else
    return false;
#endif
}

bool cpu_has_avx2(void) {
#if CPU_X86
    return cpu_has_sse42() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
#else
    return false;
#endif
}

bool cpu_has_avx512(void) {
#if CPU_X86
    return cpu_has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

bool cpu_has_neon(void) {
#if CPU_ARM
    return !is_scalar_wanted(); /* every such processor has it */
#else
    return false;
#endif
}

bool cpu_has_arm_crc(void) {
#if CPU_ARM
    return !is_scalar_wanted() && (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
#else
    return false;
#endif
}
