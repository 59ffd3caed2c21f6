/* SPDX-License-Identifier: Apache-2.0 */
/* Odd multipliers, one a word: those of the split block Bloom filter of Apache Parquet. */
#ifndef TERN_SIMD_BLOOM_SALTS_H
#define TERN_SIMD_BLOOM_SALTS_H

#include <stdint.h>

#define BLOOM_WORDS 8u

static const uint32_t bloom_salts[BLOOM_WORDS] = {0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d,
                                                  0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31};

#endif
