/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Point reads: from a root down loaded inner nodes to the frame of a leaf.
 *
 * What a read waits for is memory, so each step asks for the lines of the next before it uses its
 * own: a node's header, prefix and samples together; then the line of heads and the lines of
 * children that the samples point at; then header, heads and slots of the leaf, before its tag is
 * looked at; then the record. A batch takes one step of GROUP searches at a time, so that their
 * waits overlap.
 *
 * Inner nodes are loaded at first use and stay for the life of the root; two threads that load the
 * same one agree by compare-and-swap.
 */
#include "base/assert.h"
#include "base/error.h"
#include "engine/btree/btree_read_internal.h"
#include "engine/resolution.h"

#define GROUP 32u
/* So many missing leaves are worth a queue. */
#define TOGETHER_MIN 2u
_Static_assert(GROUP <= LEAVES_LOAD_MAX, "a group is loaded at once");

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
    const struct child_ref reference = {node->children[index].ref, node->checksums[index],
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

/* Reads a leaf's payload to where it belongs and accepts it. */
static tern_status read_leaf(struct btree *tree, const struct leaf_place *place, uint8_t *payload,
                             tern_error *error) {
    size_t size = 0;
    size_t capacity = tree->config.options.page_bytes - BLOCK_HEADER_BYTES;
    tern_status status = btree_file_read_block(tree->file, place->ref, *place->checksum, payload,
                                               capacity, &size, error);
    if (status != TERN_OK) {
        return status;
    }
    const char *broken = leaf_check(payload, size);
    if (broken != NULL) {
        return ERROR_AT(error, TERN_CORRUPTION, btree_file_path(tree->file),
                        ref_place(place->ref) * UNIT_BYTES, 0,
                        "leaf page breaks invariant %s; run verify and repair", broken);
    }
    return TERN_OK;
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

tern_status leaf_fetch_slow(struct btree *tree, const struct leaf_place *place,
                            struct cache_frame **out_frame, tern_error *error) {
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
        tern_status status = find_or_read(tree, &place, &frame, error);
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

/* ---- one key ---- */

static tern_status add_found(struct resolution *resolution, const struct leaf_cell *cell,
                             struct cache_frame *frame, tern_error *error) {
    struct record record;
    leaf_cell_record(cell, &record);
    tern_status status = resolution_add(resolution, &record, ENGINE_SOURCE_FRAME, frame);
    return status == TERN_OK ? TERN_OK : ERROR_NO_MEMORY(error, "the versions of a key");
}

/* The leaf that a key belongs in; the root is not empty. */
static tern_status descend(struct btree *tree, struct btree_root *root, tern_slice key,
                           struct leaf_place *out_place, tern_error *error) {
    struct inner_node *node = root->top;
    if (node == NULL) {
        *out_place = leaf_place_of_root(root);
        return TERN_OK;
    }
    for (;;) {
        uint32_t index = node_search(node, key);
        if (node->level == 1) {
            *out_place = leaf_place_of(node, index);
            return TERN_OK;
        }
        tern_status status = child_of(tree, node, index, &node, error);
        if (status != TERN_OK) {
            return status;
        }
        node_prefetch(node);
    }
}

tern_status btree_lookup(struct btree *tree, struct btree_root *root, tern_slice key,
                         struct resolution *resolution, tern_error *error) {
    if (root->height == 0) {
        return TERN_OK;
    }
    struct leaf_place place;
    tern_status status = descend(tree, root, key, &place, error);
    if (status != TERN_OK) {
        return status;
    }
    struct cache_frame *frame = NULL;
    status = leaf_fetch(tree, &place, &frame, error);
    if (status != TERN_OK) {
        return status;
    }
    const uint8_t *payload = leaf_payload(frame);
    uint32_t index = 0;
    struct leaf_cell cell;
    if (leaf_find_begin(payload, key, &index) && leaf_find_end(payload, key, index, &cell)) {
        return add_found(resolution, &cell, frame, error);
    }
    return TERN_OK;
}

/* ---- many keys ---- */

/* One search of a group. */
struct search {
    struct btree_lookup_request *request;
    struct inner_node *node;
    struct cache_frame *frame;
    struct leaf_place place;
    uint32_t head;
    uint32_t index; /* a block of heads, a child, or a record: as far as the search has come */
    bool is_decided;
};

/* Takes all searches through the inner levels; those that fail leave with a status. */
static size_t descend_group(struct btree *tree, struct search *searches, size_t count,
                            tern_error *error) {
    for (uint32_t level = searches[0].node->level;; level--) {
        for (size_t i = 0; i < count; i++) {
            struct search *search = &searches[i];
            search->is_decided = node_search_begin(search->node, search->request->key,
                                                   &search->head, &search->index);
        }
        size_t kept = 0;
        for (size_t i = 0; i < count; i++) {
            struct search *search = &searches[i];
            if (!search->is_decided) {
                search->index = node_search_end(search->node, search->request->key, search->head,
                                                search->index);
            }
            if (level == 1) {
                search->place = leaf_place_of(search->node, search->index);
                kept++;
                continue;
            }
            tern_status status = child_of(tree, search->node, search->index, &search->node, error);
            if (status != TERN_OK) {
                search->request->status = status;
                continue;
            }
            node_prefetch(search->node);
            searches[kept++] = *search;
        }
        count = kept;
        if (level == 1 || count == 0) {
            return count;
        }
    }
}

/* Looks at all frames that hints lead to; those that hold something else are none. Leaves that more
 * than one search misses are read together. */
static void find_frames(struct btree *tree, struct search *searches, size_t count) {
    const struct leaf_place *missing[GROUP];
    const uint8_t *base = cache_base(tree->environment->cache);
    size_t missing_count = 0;
    for (size_t i = 0; i < count; i++) {
        searches[i].frame = leaf_hinted(base, searches[i].place.hint);
    }
    for (size_t i = 0; i < count; i++) {
        struct search *search = &searches[i];
        if (search->frame == NULL ||
            !cache_frame_holds(search->frame, leaf_tag(tree, search->place.ref))) {
            search->frame = NULL;
            missing[missing_count++] = &search->place;
        }
    }
    if (missing_count >= TOGETHER_MIN && tree->environment->read_queues != NULL) {
        leaves_load(tree, missing, missing_count);
    }
}

/* Searches whose leaves are known. */
static void search_leaves(struct btree *tree, struct search *searches, size_t count,
                          tern_error *error) {
    find_frames(tree, searches, count);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct search *search = &searches[i];
        struct btree_lookup_request *request = search->request;
        if (search->frame == NULL) {
            request->status = leaf_fetch(tree, &search->place, &search->frame, error);
            if (request->status != TERN_OK) {
                continue;
            }
        }
        if (leaf_find_begin(leaf_payload(search->frame), request->key, &search->index)) {
            searches[kept++] = *search;
        }
    }
    for (size_t i = 0; i < kept; i++) {
        struct search *search = &searches[i];
        struct leaf_cell cell;
        if (leaf_find_end(leaf_payload(search->frame), search->request->key, search->index,
                          &cell)) {
            search->request->status =
                add_found(search->request->resolution, &cell, search->frame, error);
        }
    }
}

tern_status btree_lookup_many(struct btree *tree, struct btree_root *root,
                              struct btree_lookup_request *requests, size_t count,
                              tern_error *error) {
    struct search searches[GROUP];
    size_t next = 0;
    while (next < count) {
        size_t size = 0;
        for (; next < count && size < GROUP; next++) {
            requests[next].status = TERN_OK;
            if (requests[next].skip || root->height == 0) {
                continue;
            }
            searches[size].request = &requests[next];
            searches[size].node = root->top;
            if (root->top == NULL) {
                searches[size].place = leaf_place_of_root(root);
            }
            size++;
        }
        if (size > 0 && root->top != NULL) {
            size = descend_group(tree, searches, size, error);
        }
        if (size > 0) {
            search_leaves(tree, searches, size, error);
        }
    }
    return TERN_OK;
}
