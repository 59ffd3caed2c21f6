/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps of node_search, inline, so that a batch can take one step of many searches at a time
 * while the lines of the next step are on their way.
 */
#ifndef TERN_ENGINE_BTREE_NODE_ACCESS_H
#define TERN_ENGINE_BTREE_NODE_ACCESS_H

#include "engine/btree/btree_node.h"
#include "engine/btree/leaf_access.h"

/* As node_decode, but only names the invariant (static storage) when the status is
 * TERN_CORRUPTION. */
TERN_MUST_CHECK tern_status node_decode_named(const tern_allocator *allocator,
                                              struct budget *budget, const uint8_t *payload,
                                              size_t size, uint16_t level, const char **out_broken,
                                              struct inner_node **out_node, tern_error *error);

/* Asks for the lines of a node that its search begins with: header, prefix, first samples. */
static inline void node_prefetch(const struct inner_node *node) {
    __builtin_prefetch(node);
    __builtin_prefetch((const uint8_t *)node + 64);
    __builtin_prefetch((const uint8_t *)node + 128);
    __builtin_prefetch((const uint8_t *)node + 192);
}

/*
 * First step: true when the prefix alone decides and *out_index is the child; else *out_head is
 * what to look for and *out_index the block of 16 heads to look in, whose lines are asked for.
 */
static inline bool node_search_begin(const struct inner_node *node, tern_slice key,
                                     uint32_t *out_head, uint32_t *out_index) {
    int order = prefix_compare(node->prefix, node->prefix_size, key);
    if (__builtin_expect(order != 0, 0)) {
        *out_index = order < 0 ? 0 : node->count - 1;
        return true;
    }
    tern_slice rest = slice_after(key, node->prefix_size);
    uint32_t head = head_of(rest);
    uint32_t block = 0;
    for (uint32_t i = 0; i < node->sample_count; i += 16) {
        uint32_t below = heads_below_in_line(node->samples + i, head);
        block += below;
        if (below < 16) {
            break;
        }
    }
    size_t first = (size_t)16 * block;
    __builtin_prefetch(node->heads + first);
    if (node->level == 1) {
        __builtin_prefetch(node->hints + first);
        __builtin_prefetch(node->refs + first);
        __builtin_prefetch(node->refs + first + 8);
    } else {
        __builtin_prefetch(node->nodes + first);
        __builtin_prefetch(node->nodes + first + 8);
    }
    *out_head = head;
    *out_index = block;
    return false;
}

/* Separators <= key among those from `first` on whose heads equal `head`: where they end. */
uint32_t node_search_equal_heads(const struct inner_node *node, uint32_t first, uint32_t head,
                                 tern_slice key);

/* Second step: the child. */
static inline uint32_t node_search_end(const struct inner_node *node, tern_slice key, uint32_t head,
                                       uint32_t block) {
    uint32_t index = 16 * block + heads_below_in_line(node->heads + (size_t)16 * block, head);
    if (__builtin_expect(index + 1 < node->count && node->heads[index] == head, 0)) {
        return node_search_equal_heads(node, index, head, key);
    }
    return index;
}

#endif
