/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine can do, and how kernels are chosen.
 *
 * Each kernel with variants is called through one atomic function pointer that first points at a
 * resolver; the resolver asks the processor, stores the best variant and calls it. Racing resolvers
 * store the same value, so relaxed order is enough. These pointers are the layer's only state. (An
 * ifunc would save the load, but is resolved before sanitizers are up and cannot be linked
 * statically everywhere.)
 */
#ifndef TERN_SIMD_CPU_H
#define TERN_SIMD_CPU_H

#include <stdbool.h>

#if defined(__x86_64__)
#define CPU_X86 1
#else
#define CPU_X86 0
#endif
#if defined(__aarch64__)
#define CPU_ARM 1
#else
#define CPU_ARM 0
#endif

/*
 * With TERN_SIMD=scalar in the environment the processor has nothing: the plain variants are
 * chosen, so that tests can run everything on them. Not looked at in set-user-ID programs.
 */
bool cpu_has_sse42(void);  /* with PCLMULQDQ and POPCNT, as every such processor in use */
bool cpu_has_avx2(void);   /* with BMI and BMI2 */
bool cpu_has_avx512(void); /* F, BW, DQ and VL */
bool cpu_has_neon(void);
bool cpu_has_arm_crc(void);

#endif
