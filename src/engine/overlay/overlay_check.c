/* SPDX-License-Identifier: Apache-2.0 */
/* The invariants of the overlay's files as code. Called with no applier at work. */
#include "engine/overlay/overlay_internal.h"

#include "simd/compare.h"

struct checking {
    const struct overlay *overlay;
    const struct overlay_filter *filter;
    const struct overlay_node *expected_leaf;
    uint64_t key_count;
    uint64_t leaf_count;
};

static struct overlay_entry *key_at(const struct overlay_node *node, uint32_t slot) {
    return atomic_load_explicit(&node_keys(node)[slot], memory_order_acquire);
}

static uint64_t head_of(tern_slice key, uint32_t prefix_size) {
    return key_head_u64((const uint8_t *)key.data + prefix_size, key.size - prefix_size);
}

static const char *check_versions(const struct checking *checking, const struct overlay_node *leaf,
                                  const struct overlay_entry *entry) {
    const struct overlay_version *version =
        atomic_load_explicit(&entry->newest, memory_order_acquire);
    if (version == NULL) {
        return "overlay: an entry has a version";
    }
    if (version->seq > atomic_load_explicit(&leaf->newest_seq, memory_order_acquire) ||
        version->seq > overlay_last_seq(checking->overlay)) {
        return "overlay: no version is newer than its leaf and its overlay say";
    }
    while (version != NULL) {
        uintptr_t link = version_older(version);
        if ((link & BLOCK_RETIRED) != 0) {
            return "overlay: no version in a chain is retired";
        }
        const struct overlay_version *older = version_of(link);
        if (version_cut(version) > version->seq ||
            (older != NULL &&
             (older->seq > version->seq ||
              (version_cut(version) < older->seq && version_cut(version) != version->seq)))) {
            return "overlay: versions and cuts of a chain descend";
        }
        if (overlay_memory_class(version_words(version->block.flags) + sizeof(*version) +
                                 version->block.size +
                                 ((version->block.flags & VERSION_HAS_PILE) != 0
                                      ? version_pile(version)->size
                                      : 0)) != version->block.size_class) {
            return "overlay: a version has the size class of its bytes";
        }
        version = older;
    }
    return NULL;
}

static const char *check_keys(const struct overlay_node *node, const struct overlay_entry *low,
                              const struct overlay_entry *high) {
    uint32_t count = atomic_load_explicit(&node->count, memory_order_acquire);
    uint32_t prefix_size = atomic_load_explicit(&node->prefix_size, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        tern_slice key = entry_key(key_at(node, i));
        if (i > 0 && slice_compare(entry_key(key_at(node, i - 1)), key) >= 0) {
            return "overlay: keys of a node ascend";
        }
        if (slice_common_prefix(entry_key(key_at(node, 0)), key) < prefix_size) {
            return "overlay: keys of a node share its prefix";
        }
        if (head_of(key, prefix_size) !=
            atomic_load_explicit(&node_heads(node)[i], memory_order_acquire)) {
            return "overlay: heads are what follows the prefix";
        }
    }
    if (count > 0 && low != NULL && slice_compare(entry_key(low), entry_key(key_at(node, 0))) > 0) {
        return "overlay: no key is below the separator to the left";
    }
    if (count > 0 && high != NULL &&
        slice_compare(entry_key(key_at(node, count - 1)), entry_key(high)) >= 0) {
        return "overlay: all keys are below the separator to the right";
    }
    uint64_t words[NODE_PREFIX_WORDS];
    for (uint32_t i = 0; i < NODE_PREFIX_WORDS; i++) {
        words[i] = atomic_load_explicit(&node->prefix[i], memory_order_acquire);
    }
    if (count > 0 && prefix_size <= sizeof(words) &&
        memcmp(words, key_at(node, 0)->key, prefix_size) != 0) {
        return "overlay: a node holds the first bytes of its prefix";
    }
    return NULL;
}

static const char *check_leaf(struct checking *checking, const struct overlay_node *leaf) {
    uint32_t count = atomic_load_explicit(&leaf->count, memory_order_acquire);
    if (leaf != checking->expected_leaf) {
        return "overlay: leaves are chained in order";
    }
    checking->expected_leaf = leaf->next;
    checking->leaf_count++;
    if (count == 0 && checking->overlay->first_leaf->next != NULL) {
        return "overlay: no leaf but the first root is empty";
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct overlay_entry *entry = key_at(leaf, i);
        const char *broken = check_versions(checking, leaf, entry);
        if (broken != NULL) {
            return broken;
        }
        if (!filter_may_contain(checking->filter, entry->filter_hash)) {
            return "overlay: the filter knows every key";
        }
        checking->key_count++;
    }
    return NULL;
}

static const char *check_node(struct checking *checking, const struct overlay_node *node,
                              const struct overlay_entry *low, const struct overlay_entry *high) {
    uint32_t count = atomic_load_explicit(&node->count, memory_order_acquire);
    if ((atomic_load_explicit(&node->version, memory_order_acquire) & 1) != 0) {
        return "overlay: no node is left locked";
    }
    if (count > node_capacity(node)) {
        return "overlay: a node holds no more than its slots";
    }
    const char *broken = check_keys(node, low, high);
    if (broken != NULL || node->level == 0) {
        return broken != NULL ? broken : check_leaf(checking, node);
    }
    const struct overlay_inner_node *inner = (const struct overlay_inner_node *)node;
    for (uint32_t i = 0; i <= count; i++) {
        const struct overlay_node *child =
            atomic_load_explicit(&inner->children[i], memory_order_acquire);
        if (child == NULL || child->level + 1 != node->level) {
            return "overlay: all leaves are at one depth";
        }
        broken = check_node(checking, child, i > 0 ? key_at(node, i - 1) : low,
                            i < count ? key_at(node, i) : high);
        if (broken != NULL) {
            return broken;
        }
    }
    return NULL;
}

static const char *check_ranges(const struct overlay *overlay) {
    const struct overlay_range_set *set =
        atomic_load_explicit(&overlay->ranges, memory_order_acquire);
    for (; set != NULL; set = set->older) {
        for (size_t i = 0; i < set->block.size; i++) {
            if (i > 0 && slice_compare(set->ranges[i - 1].begin, set->ranges[i].begin) > 0) {
                return "overlay: ranges are sorted by begin";
            }
            if (set->ranges[i].seq > set->newest_seq) {
                return "overlay: no range is newer than its set says";
            }
        }
        if (set->total != set->block.size + (set->older != NULL ? set->older->total : 0)) {
            return "overlay: ranges are counted right";
        }
        if (set->older != NULL && set->older->newest_seq > set->newest_seq) {
            return "overlay: sets of ranges descend";
        }
    }
    return NULL;
}

const char *overlay_check(const struct overlay *overlay) {
    struct checking checking = {
        .overlay = overlay,
        .filter = atomic_load_explicit(&overlay->filter, memory_order_acquire),
        .expected_leaf = overlay->first_leaf,
    };
    const char *broken = check_node(
        &checking, atomic_load_explicit(&overlay->root, memory_order_acquire), NULL, NULL);
    if (broken != NULL) {
        return broken;
    }
    if (checking.key_count != overlay_key_count(overlay) ||
        checking.leaf_count != overlay->leaf_count || checking.expected_leaf != NULL) {
        return "overlay: keys and leaves are counted right";
    }
    return check_ranges(overlay);
}
