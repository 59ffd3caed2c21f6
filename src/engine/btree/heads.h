/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting heads below a head, without branches: sixteen bytes at a time in vectors that every
 * supported machine has, so that it can be inlined where a call through run-time dispatch would
 * cost as much as the search.
 */
#ifndef TERN_ENGINE_BTREE_HEADS_H
#define TERN_ENGINE_BTREE_HEADS_H

#include <stdint.h>
#include <string.h>
#include <tern/slice.h>

#include "base/bytes.h"

typedef uint32_t heads_vector __attribute__((vector_size(16)));

/* Head of a key or suffix, which may be empty. */
static inline uint32_t head_of(tern_slice suffix) {
    return suffix.size > 0 ? key_head_u32(suffix.data, suffix.size) : 0;
}

/* Heads below `head` in one line of 16, in any order and at any alignment. */
static inline uint32_t heads_below_in_line(const void *line, uint32_t head) {
    const uint8_t *bytes = line;
    heads_vector wanted = {head, head, head, head};
    heads_vector sum = {0, 0, 0, 0};
    for (unsigned i = 0; i < 4; i++) {
        heads_vector four;
        memcpy(&four, bytes + 16 * i, sizeof(four));
        sum -= (heads_vector)(four < wanted);
    }
    return sum[0] + sum[1] + sum[2] + sum[3];
}

/* Lower bound of `head` in `count` ascending heads; reads nothing past them. */
static inline uint32_t heads_lower_bound(const uint8_t *heads, uint32_t count, uint32_t head) {
    uint32_t base = 0;
    while (count > 128) {
        uint32_t half = count / 2;
        base += get_u32(heads + 4 * (size_t)(base + half - 1)) < head ? half : 0;
        count -= half;
    }
    const uint8_t *position = heads + 4 * (size_t)base;
    heads_vector wanted = {head, head, head, head};
    heads_vector sum = {0, 0, 0, 0};
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        heads_vector four;
        memcpy(&four, position + 4 * (size_t)i, sizeof(four));
        sum -= (heads_vector)(four < wanted);
    }
    uint32_t below = sum[0] + sum[1] + sum[2] + sum[3];
    for (; i < count; i++) {
        below += get_u32(position + 4 * (size_t)i) < head;
    }
    return base + below;
}

#endif
