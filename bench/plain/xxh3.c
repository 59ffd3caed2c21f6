/* SPDX-License-Identifier: Apache-2.0 */
/* xxHash's own text without vectors; its short cuts for up to 240 bytes are in it. */
#include "plain.h"

#define XXH_VECTOR 0
#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t plain_xxh3(const void *bytes, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, size, seed);
}
