/* SPDX-License-Identifier: Apache-2.0 */
/* The hash of a tag: all bits of it are good, high and low. */
#ifndef TERN_CACHE_TAG_HASH_H
#define TERN_CACHE_TAG_HASH_H

#include "cache/cache.h"

static inline uint64_t tag_hash(cache_tag tag) {
    uint64_t mixed = (tag ^ tag >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 32) * UINT64_C(0xd6e8feb86659fd93);
    return mixed ^ mixed >> 32;
}

#endif
