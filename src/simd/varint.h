/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the numbers of base/varint.h. Any thread. */
#ifndef TERN_SIMD_VARINT_H
#define TERN_SIMD_VARINT_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads `count` numbers from [source, end). Returns the first byte after them, or NULL when
 * varint_get would refuse one of them; what stands in out_values then does not matter.
 */
const uint8_t *varint_get_many(const uint8_t *source, const uint8_t *end, size_t count,
                               uint64_t *out_values);

#endif
