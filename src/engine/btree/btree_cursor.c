/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cursor over a tree: a stack of (node, index) from the root down, and one leaf held.
 *
 *   path[0] top ... path[depth - 1] level 1 -> held leaf -> index
 *
 * The root is held by reference, so the nodes of the path stay. The leaf is held by a pin, or, when
 * pins of cursors would take too much of the cache, by a private copy; so the cursor needs no epoch
 * between calls. A mapped leaf needs neither: it stays as long as the view, which whoever has the
 * cursor holds.
 *
 * Keys of leaves whose records hold them whole are handed out in place. Others are put together in
 * `key_area`, which has a place of its own for each record of the leaf: suffixes keep the distances
 * they have in the page, and a prefix's room is added for each record before. So a key handed out
 * once stays where it is until the cursor moves to another leaf, however it is asked for again.
 *
 * One thread at a time.
 */
#include "engine/btree/btree_cursor_internal.h"

static void let_go(struct btree_cursor *cursor) {
    if (cursor->held != NULL) {
        cache_unpin(cursor->held);
        cursor->held = NULL;
    }
    cursor->is_placed = false;
}

/* ---- holding a leaf ---- */

/* A private frame with the same bytes; its one reference is the caller's. */
static struct cache_frame *copy_frame(struct btree_cursor *cursor, struct cache_frame *frame) {
    struct btree *tree = cursor->tree;
    size_t size = tree->config.options.page_bytes;
    struct cache_frame *copy = cache_private_create(tree->environment->cache, size);
    if (copy != NULL) {
        memcpy((uint8_t *)copy + BLOCK_HEADER_BYTES, leaf_payload(frame),
               size - BLOCK_HEADER_BYTES);
    }
    return copy;
}

/* Room for every key of the leaf, so that handing them out cannot fail. */
static tern_status reserve_keys(struct btree_cursor *cursor, const uint8_t *payload,
                                tern_error *error) {
    uint32_t left_out = leaf_prefix_size(payload) - leaf_prefix_in_records(payload);
    size_t keys = 0;
    if (left_out > 0) {
        keys = (size_t)left_out * leaf_count(payload) + get_u16(payload + 6);
    }
    if (keys > cursor->key_area.capacity && buffer_reserve(&cursor->key_area, keys) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "the keys of a leaf");
    }
    cursor->prefix_left_out = left_out;
    return TERN_OK;
}

static struct leaf_place place_here(struct btree_cursor *cursor) {
    if (cursor->depth == 0) {
        return leaf_place_of_root(cursor->root);
    }
    const struct path_step *step = &cursor->path[cursor->depth - 1];
    return leaf_place_of(step->node, step->index);
}

/* The frame of the leaf that the path leads to, with leaves behind it read ahead. */
static tern_status fetch_here(struct btree_cursor *cursor, struct cache_frame **out_frame,
                              tern_error *error) {
    struct btree *tree = cursor->tree;
    struct leaf_place place = place_here(cursor);
    if (cursor->depth > 0) {
        const struct path_step *step = &cursor->path[cursor->depth - 1];
        read_ahead_note(&cursor->read_ahead, step->node, step->index);
    }
    struct cache_frame *frame = leaf_hinted(cache_base(tree->environment->cache), place.hint);
    if (__builtin_expect(frame != NULL && cache_frame_holds(frame, leaf_tag(tree, place.ref)), 1)) {
        *out_frame = frame;
        return TERN_OK;
    }
    if (cursor->depth > 0) {
        const struct path_step *step = &cursor->path[cursor->depth - 1];
        read_ahead_run(&cursor->read_ahead, tree, step->node, step->index);
    }
    return leaf_fetch_slow(tree, &place, out_frame, error);
}

static void note_next_frame(struct btree_cursor *cursor) {
    cursor->next_frame = NULL;
    if (cursor->depth == 0) {
        return;
    }
    const struct path_step *step = &cursor->path[cursor->depth - 1];
    if (step->index + 1 >= step->node->count) {
        return;
    }
    struct leaf_place next = leaf_place_of(step->node, step->index + 1);
    cursor->next_frame = leaf_hinted(cache_base(cursor->tree->environment->cache), next.hint);
    const struct btree_map *map =
        cursor->tree->is_mapping ? btree_file_map(cursor->tree->file) : NULL;
    if (map != NULL) {
        cursor->next_frame = (const struct cache_frame *)(const void *)btree_map_block(
            map, ref_place(next.ref), ref_units(next.ref));
    }
}

/* Holds the leaf that the path leads to, instead of the one before. On failure the cursor stands
 * nowhere. */
static tern_status hold_here(struct btree_cursor *cursor, tern_error *error) {
    struct epoch_slot *slot = epoch_enter(cursor->tree->environment->epoch);
    struct cache_frame *frame = NULL;
    tern_status status = fetch_here(cursor, &frame, error);
    if (status == TERN_OK) {
        status = reserve_keys(cursor, leaf_payload(frame), error);
    }
    bool is_mapped = status == TERN_OK && leaf_is_mapped(cursor->tree, frame);
    if (status == TERN_OK && !is_mapped) {
        if (cursor->pins || cache_frame_is_private(frame)) {
            cache_pin(frame);
        } else {
            frame = copy_frame(cursor, frame);
            status = frame != NULL ? TERN_OK : ERROR_NO_MEMORY(error, "a copy of a leaf");
        }
    }
    epoch_exit(slot);
    let_go(cursor);
    if (status != TERN_OK) {
        return status;
    }
    bool is_fetched = frame == cursor->next_frame && cursor->next_done > 0;
    cursor->fetched =
        is_fetched ? (const uint8_t *)frame + cursor->tree->config.options.page_bytes : NULL;
    cursor->next_done = 0;
    cursor->held = is_mapped ? NULL : frame;
    cursor->payload = leaf_payload(frame);
    cursor->count = leaf_count(cursor->payload);
    cursor->first_offset = get_u16(leaf_slots(cursor->payload));
    cursor->is_placed = true;
    note_next_frame(cursor);
    return TERN_OK;
}

/* ---- moving among leaves ---- */

/* Goes down from path[step] to the first or last leaf below it. */
static tern_status descend_edge(struct btree_cursor *cursor, uint32_t step, bool last,
                                tern_error *error) {
    for (uint32_t i = step; i + 1 < cursor->depth; i++) {
        struct inner_node *child = NULL;
        tern_status status =
            child_of(cursor->tree, cursor->path[i].node, cursor->path[i].index, &child, error);
        if (status != TERN_OK) {
            let_go(cursor);
            return status;
        }
        cursor->path[i + 1] = (struct path_step){child, last ? child->count - 1 : 0};
    }
    return hold_here(cursor, error);
}

/* TERN_NOT_FOUND: there is no leaf on that side; the cursor stands nowhere. */
static tern_status move_leaf(struct btree_cursor *cursor, bool backward, tern_error *error) {
    uint32_t i = cursor->depth;
    while (i-- > 0) {
        struct path_step *step = &cursor->path[i];
        if (backward ? step->index > 0 : step->index + 1 < step->node->count) {
            step->index = backward ? step->index - 1 : step->index + 1;
            tern_status status = descend_edge(cursor, i, backward, error);
            if (status == TERN_OK) {
                cursor->index = backward ? cursor->count - 1 : 0;
            }
            return status;
        }
    }
    let_go(cursor);
    return TERN_NOT_FOUND;
}

static tern_status seek_edge(struct btree_cursor *cursor, bool last, tern_error *error) {
    if (cursor->depth > 0) {
        struct inner_node *top = cursor->root->top;
        cursor->path[0] = (struct path_step){top, last ? top->count - 1 : 0};
    }
    tern_status status = descend_edge(cursor, 0, last, error);
    if (status == TERN_OK) {
        cursor->index = last ? cursor->count - 1 : 0;
    }
    return status;
}

static tern_status seek_key(struct btree_cursor *cursor, tern_slice key, bool backward,
                            tern_error *error) {
    struct inner_node *node = cursor->root->top;
    tern_status status = TERN_OK;
    for (uint32_t i = 0; i < cursor->depth; i++) {
        cursor->path[i] = (struct path_step){node, node_search(node, key)};
        if (i + 1 < cursor->depth) {
            status = child_of(cursor->tree, node, cursor->path[i].index, &node, error);
            if (status != TERN_OK) {
                let_go(cursor);
                return status;
            }
            node_prefetch(node);
        }
    }
    status = hold_here(cursor, error);
    if (status != TERN_OK) {
        return status;
    }
    bool equal = false;
    uint32_t index = leaf_lower_bound(cursor->payload, key, &equal);
    if (!backward && index == cursor->count) {
        return move_leaf(cursor, false, error);
    }
    if (backward && !equal) {
        if (index == 0) {
            return move_leaf(cursor, true, error);
        }
        index--;
    }
    cursor->index = index;
    return TERN_OK;
}

static tern_status seek(struct base_cursor *base, const tern_slice *key, bool backward,
                        tern_error *error) {
    struct btree_cursor *cursor = btree_cursor_of(base);
    if (cursor->root->height == 0) {
        return TERN_NOT_FOUND;
    }
    return key == NULL ? seek_edge(cursor, backward, error)
                       : seek_key(cursor, *key, backward, error);
}

static tern_status next(struct base_cursor *base, tern_error *error) {
    struct btree_cursor *cursor = btree_cursor_of(base);
    ASSERT_DEBUG(cursor->is_placed);
    if (cursor->index + 1 < cursor->count) {
        cursor->index++;
        return TERN_OK;
    }
    return move_leaf(cursor, false, error);
}

static tern_status previous(struct base_cursor *base, tern_error *error) {
    struct btree_cursor *cursor = btree_cursor_of(base);
    ASSERT_DEBUG(cursor->is_placed);
    if (cursor->index > 0) {
        cursor->index--;
        return TERN_OK;
    }
    return move_leaf(cursor, true, error);
}

/* ---- handing out ---- */

static tern_slice key(const struct base_cursor *base) {
    struct btree_cursor *cursor = btree_cursor_of_const(base);
    ASSERT_DEBUG(cursor->is_placed);
    const uint8_t *start = leaf_record_start(cursor->payload, cursor->index);
    struct leaf_cell cell;
    (void)leaf_cell_parse(start, &cell);
    if (cursor->prefix_left_out == 0) {
        return tern_slice_of(cell.key, cell.key_size);
    }
    return btree_cursor_materialise(cursor, &cell, cursor->index,
                                    (size_t)(start - cursor->payload));
}

static void record(const struct base_cursor *base, struct record *out_record) {
    const struct btree_cursor *cursor = btree_cursor_of_const(base);
    ASSERT_DEBUG(cursor->is_placed);
    leaf_record(cursor->payload, cursor->index, out_record);
}

/* Lowest step of the path from which there is a way to the right; depth when there is none. */
static uint32_t step_with_right_sibling(const struct btree_cursor *cursor) {
    for (uint32_t i = cursor->depth; i-- > 0;) {
        if (cursor->path[i].index + 1 < cursor->path[i].node->count) {
            return i;
        }
    }
    return cursor->depth;
}

static bool leaf_fence(const struct base_cursor *base, tern_slice *out_fence) {
    struct btree_cursor *cursor = btree_cursor_of_const(base);
    uint32_t i = step_with_right_sibling(cursor);
    if (i == cursor->depth) {
        return false;
    }
    const struct path_step *step = &cursor->path[i];
    size_t size = node_separator_size(step->node, step->index);
    if (size > cursor->fence.capacity && buffer_reserve(&cursor->fence, size) != TERN_OK) {
        return false;
    }
    size = node_separator(step->node, step->index, cursor->fence.data);
    *out_fence = tern_slice_of(cursor->fence.data, size);
    return true;
}

static bool step_inside(struct base_cursor *base) {
    struct btree_cursor *cursor = btree_cursor_of(base);
    ASSERT_DEBUG(cursor->is_placed);
    bool is_last = cursor->index + 1 == cursor->count;
    cursor->index += is_last ? 0 : 1;
    return !is_last;
}

/* ---- opening and closing ---- */

static void close_cursor(struct base_cursor *base) {
    struct btree_cursor *cursor = btree_cursor_of(base);
    if (cursor == NULL) {
        return;
    }
    struct btree *tree = cursor->tree;
    const tern_allocator *allocator = tree->environment->allocator;
    let_go(cursor);
    if (cursor->pins) {
        cache_pin_unreserve(tree->environment->cache, tree->config.options.page_bytes);
    }
    read_ahead_release(&cursor->read_ahead, allocator);
    buffer_release(&cursor->key_area);
    buffer_release(&cursor->fence);
    btree_root_release(tree, cursor->root);
    memory_release(allocator, cursor);
}

static const struct base_cursor_methods btree_cursor_methods = {
    .seek = seek,
    .next = next,
    .previous = previous,
    .key = key,
    .record = record,
    .leaf_batch = btree_cursor_leaf_batch,
    .leaf_pairs = btree_cursor_leaf_pairs,
    .leaf_fence = leaf_fence,
    .step_inside = step_inside,
    .close = close_cursor,
};

tern_status btree_cursor_open(struct btree *tree, struct btree_root *root,
                              struct base_cursor **out_cursor, tern_error *error) {
    const tern_allocator *allocator = tree->environment->allocator;
    struct btree_cursor *cursor = memory_allocate(allocator, sizeof(*cursor));
    if (cursor == NULL) {
        return ERROR_NO_MEMORY(error, "a cursor");
    }
    memset(cursor, 0, offsetof(struct btree_cursor, path));
    cursor->head.methods = &btree_cursor_methods;
    cursor->tree = tree;
    cursor->root = root;
    cursor->depth = root->top != NULL ? root->height - 1 : 0;
    buffer_init(&cursor->key_area, allocator);
    buffer_init(&cursor->fence, allocator);
    cursor->pins = cache_pin_reserve(tree->environment->cache, tree->config.options.page_bytes);
    btree_root_retain(root);
    *out_cursor = &cursor->head;
    return TERN_OK;
}
