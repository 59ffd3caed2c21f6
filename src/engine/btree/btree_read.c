/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What point reads stand on: loaded inner nodes and frames of leaves.
 *
 * Inner nodes are loaded at first use and stay for the life of the root; two threads that load the
 * same one agree by compare-and-swap.
 */
#include "base/assert.h"
#include "base/error.h"
#include "engine/btree/btree_file_internal.h"
#include "engine/btree/btree_read_internal.h"

/* ---- inner nodes ---- */

/* Reads and decodes the inner page at `child`. */
static tern_status read_node(struct btree *tree, const struct child_ref *child, uint16_t level,
                             struct inner_node **out_node, tern_error *error) {
    const tern_allocator *allocator = tree->environment->allocator;
    size_t capacity = INNER_PAYLOAD_BYTES_MAX;
    if (tree->config.options.compression == TERN_COMPRESSION_NONE) {
        size_t stored = (size_t)ref_units(child->ref) * UNIT_BYTES;
        capacity = stored < capacity ? stored : capacity;
    }
    uint8_t *payload = memory_allocate(allocator, capacity);
    if (payload == NULL) {
        return ERROR_NO_MEMORY(error, "an inner page");
    }
    size_t size = 0;
    struct inner_node *node = NULL;
    tern_status status = btree_file_read_block(tree->file, child->ref, child->checksum, payload,
                                               capacity, &size, error);
    if (status == TERN_OK) {
        status = node_decode(allocator, tree->environment->budget, payload, size, level,
                             btree_file_path(tree->file), ref_place(child->ref) * UNIT_BYTES, &node,
                             error);
    }
    memory_release(allocator, payload);
    if (status == TERN_OK) {
        node->self = child->ref;
        node->self_checksum = child->checksum;
        *out_node = node;
    }
    return status;
}

tern_status btree_child_node(struct btree *tree, struct inner_node *node, uint32_t index,
                             struct inner_node **out_child, tern_error *error) {
    ASSERT(node->level > 1 && index < node->count);
    struct inner_node *child = atomic_load_explicit(&node->nodes[index], memory_order_acquire);
    if (child != NULL) {
        *out_child = child;
        return TERN_OK;
    }
    const struct child_ref reference = {node->refs[index], node->checksums[index],
                                        node->records[index], node->bytes[index]};
    struct inner_node *loaded = NULL;
    tern_status status = read_node(tree, &reference, (uint16_t)(node->level - 1), &loaded, error);
    if (status != TERN_OK) {
        return status;
    }
    if (atomic_compare_exchange_strong_explicit(&node->nodes[index], &child, loaded,
                                                memory_order_acq_rel, memory_order_acquire)) {
        child = loaded;
    } else {
        node_release(tree->environment->allocator, tree->environment->budget, loaded);
    }
    *out_child = child;
    return TERN_OK;
}

tern_status child_of(struct btree *tree, struct inner_node *node, uint32_t index,
                     struct inner_node **out_child, tern_error *error) {
    struct inner_node *child = atomic_load_explicit(&node->nodes[index], memory_order_acquire);
    if (__builtin_expect(child != NULL, 1)) {
        *out_child = child;
        return TERN_OK;
    }
    return btree_child_node(tree, node, index, out_child, error);
}

/* ---- roots ---- */

tern_status btree_root_load(struct btree *tree, uint32_t height, const struct child_ref *child,
                            uint64_t records, uint64_t generation, struct btree_root **out_root,
                            tern_error *error) {
    const tern_allocator *allocator = tree->environment->allocator;
    if (height > INNER_LEVELS_MAX + 1) {
        return ERROR_AT(error, TERN_CORRUPTION, btree_file_path(tree->file), -1, 0,
                        "a tree of %u levels; run verify and repair", height);
    }
    struct btree_root *root = memory_allocate_zeroed(allocator, sizeof(*root));
    if (root == NULL) {
        return ERROR_NO_MEMORY(error, "a root");
    }
    atomic_init(&root->references, 1);
    atomic_init(&root->leaf_hint, 0);
    root->height = height;
    root->generation = generation;
    root->records = records;
    if (height > 0) {
        root->child = *child;
    }
    if (height > 1) {
        tern_status status = read_node(tree, child, (uint16_t)(height - 1), &root->top, error);
        if (status != TERN_OK) {
            memory_release(allocator, root);
            return status;
        }
    }
    *out_root = root;
    return TERN_OK;
}

void btree_root_retain(struct btree_root *root) {
    atomic_fetch_add_explicit(&root->references, 1, memory_order_relaxed);
}

void btree_root_release(struct btree *tree, struct btree_root *root) {
    if (root == NULL ||
        atomic_fetch_sub_explicit(&root->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    node_release(tree->environment->allocator, tree->environment->budget, root->top);
    memory_release(tree->environment->allocator, root);
}

/* ---- leaves ---- */

static tern_status accept_leaf(struct btree *tree, const struct leaf_place *place,
                               const uint8_t *payload, size_t size, tern_error *error) {
    const char *broken = leaf_check(payload, size);
    if (broken != NULL) {
        return ERROR_AT(error, TERN_CORRUPTION, btree_file_path(tree->file),
                        ref_place(place->ref) * UNIT_BYTES, 0,
                        "leaf page breaks invariant %s; run verify and repair", broken);
    }
    return TERN_OK;
}

/* Reads a leaf's payload to where it belongs and accepts it. */
static tern_status read_leaf(struct btree *tree, const struct leaf_place *place, uint8_t *payload,
                             tern_error *error) {
    size_t size = 0;
    size_t capacity = tree->config.options.page_bytes - BLOCK_HEADER_BYTES;
    tern_status status = btree_file_read_block(tree->file, place->ref, *place->checksum, payload,
                                               capacity, &size, error);
    return status == TERN_OK ? accept_leaf(tree, place, payload, size, error) : status;
}

/* By tag, or from disk into a frame; *out_frame NULL when no frame can be had. */
static tern_status find_or_read(struct btree *tree, const struct leaf_place *place,
                                struct cache_frame **out_frame, tern_error *error) {
    struct cache *cache = tree->environment->cache;
    cache_tag tag = leaf_tag(tree, place->ref);
    struct cache_frame *frame = cache_lookup(cache, tag);
    if (frame == NULL) {
        frame = cache_acquire(cache, tree->config.options.page_bytes);
        if (frame == NULL) {
            *out_frame = NULL;
            return TERN_OK;
        }
        tern_status status = read_leaf(tree, place, (uint8_t *)frame + BLOCK_HEADER_BYTES, error);
        if (status != TERN_OK) {
            cache_discard(cache, frame);
            return status;
        }
        frame = cache_publish(cache, frame, tag);
    }
    atomic_store_explicit(place->hint, cache_hint_of(cache, frame), memory_order_relaxed);
    *out_frame = frame;
    return TERN_OK;
}

/* Checks a mapped leaf that nobody has looked at yet. TERN_NOT_FOUND: it has to be unpacked. */
static tern_status check_mapped(struct btree *tree, struct btree_map *map,
                                const struct leaf_place *place, const uint8_t *block,
                                tern_error *error) {
    uint64_t where = ref_place(place->ref);
    uint64_t units = ref_units(place->ref);
    const void *payload = NULL;
    size_t size = 0;
    tern_status status = btree_map_populate(map, where, units, error);
    if (status == TERN_OK && block[1] != TERN_COMPRESSION_NONE) {
        return TERN_NOT_FOUND; /* cannot be read in place */
    }
    if (status == TERN_OK) {
        status = btree_file_decode(tree->file, block, where, units, *place->checksum, NULL,
                                   tree->config.options.page_bytes - BLOCK_HEADER_BYTES, &payload,
                                   &size, error);
    }
    if (status == TERN_OK) {
        status = accept_leaf(tree, place, payload, size, error);
    }
    if (status == TERN_OK) {
        btree_map_set_checked(map, where);
    }
    return status;
}

/* TERN_NOT_FOUND, without detail: the mapping does not reach the leaf. */
static tern_status find_mapped(struct btree *tree, const struct leaf_place *place,
                               struct cache_frame **out_frame, tern_error *error) {
    struct btree_map *map = btree_file_map(tree->file);
    const uint8_t *block =
        map != NULL && ref_place(place->ref) >= FILE_HEADER_UNITS && ref_units(place->ref) > 0
            ? btree_map_block(map, ref_place(place->ref), ref_units(place->ref))
            : NULL;
    if (block == NULL) {
        return TERN_NOT_FOUND;
    }
    if (!btree_map_is_checked(map, ref_place(place->ref))) {
        tern_status status = check_mapped(tree, map, place, block, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    /* Read-only, and no frame: leaf_is_mapped tells. */
    *out_frame = (struct cache_frame *)(uintptr_t)block;
    return TERN_OK;
}

tern_status leaf_fetch_slow(struct btree *tree, const struct leaf_place *place,
                            struct cache_frame **out_frame, tern_error *error) {
    if (tree->is_mapping) {
        tern_status mapped = find_mapped(tree, place, out_frame, error);
        if (mapped != TERN_NOT_FOUND) {
            return mapped;
        }
    }
    tern_status status = find_or_read(tree, place, out_frame, error);
    if (status != TERN_OK || *out_frame != NULL) {
        return status;
    }
    struct cache_frame *frame =
        cache_private_create(tree->environment->cache, tree->config.options.page_bytes);
    if (frame == NULL) {
        return ERROR_NO_MEMORY(error, "a leaf page");
    }
    status = read_leaf(tree, place, (uint8_t *)frame + BLOCK_HEADER_BYTES, error);
    if (status != TERN_OK) {
        cache_private_release(frame);
        return status;
    }
    cache_private_release_later(frame);
    *out_frame = frame;
    return TERN_OK;
}

tern_status btree_leaf(struct btree *tree, packed_ref ref, uint64_t checksum,
                       _Atomic cache_hint *hint, const uint8_t **out_payload,
                       struct cache_frame **out_frame, void **out_owned, tern_error *error) {
    _Atomic cache_hint no_hint = 0;
    const struct leaf_place place = {ref, &checksum, hint != NULL ? hint : &no_hint};
    struct cache_frame *frame = leaf_hinted(cache_base(tree->environment->cache), place.hint);
    if (frame == NULL || !cache_frame_holds(frame, leaf_tag(tree, ref))) {
        tern_status status =
            tree->is_mapping ? find_mapped(tree, &place, &frame, error) : TERN_NOT_FOUND;
        if (status == TERN_OK) {
            *out_payload = leaf_payload(frame);
            if (out_frame != NULL) {
                *out_frame = NULL;
            }
            *out_owned = NULL;
            return TERN_OK;
        }
        if (status == TERN_NOT_FOUND) {
            status = find_or_read(tree, &place, &frame, error);
        }
        if (status != TERN_OK) {
            return status;
        }
    }
    void *owned = NULL;
    if (frame == NULL) {
        const tern_allocator *allocator = tree->environment->allocator;
        owned = memory_allocate(allocator, tree->config.options.page_bytes);
        if (owned == NULL) {
            return ERROR_NO_MEMORY(error, "a leaf page");
        }
        tern_status status = read_leaf(tree, &place, owned, error);
        if (status != TERN_OK) {
            memory_release(allocator, owned);
            return status;
        }
    }
    *out_payload = owned != NULL ? owned : leaf_payload(frame);
    if (out_frame != NULL) {
        *out_frame = frame;
    }
    *out_owned = owned;
    return TERN_OK;
}
