/* SPDX-License-Identifier: Apache-2.0 */
/* Searching sorted arrays of key heads. Any thread. */
#ifndef TERN_SIMD_SEARCH_H
#define TERN_SIMD_SEARCH_H

#include <stddef.h>
#include <stdint.h>

/*
 * Number of heads below `head` in the ascending array (its lower bound), branch-free. The array may
 * be read up to 64 bytes past its end (callers pad), contents there do not matter.
 */
size_t search_lower_u32(const uint32_t *heads, size_t count, uint32_t head);
size_t search_lower_u64(const uint64_t *heads, size_t count, uint64_t head);

#endif
