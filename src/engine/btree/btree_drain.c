/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk: which parts of the old tree are taken apart, and in which order they reach the builder.
 * btree_drain_leaf.c merges the records of a leaf.
 *
 *   frames[0]            top node      [ done | next ... ]
 *   frames[1]                 its child that is being taken apart
 *   ...
 *   leaf                           a leaf that is being merged
 *
 * A child is taken apart when the overlay has a key or a range delete between its fences, when the
 * plan of a compaction wants it, or when what waits to its left would not fill half a node. Every
 * other child is handed to the builder whole, with its loaded nodes and frame hints.
 *
 * Invariants:
 *   D1 every key and range delete of the source below the current position has been merged
 *   D2 a block of the base is superseded exactly when it has been taken apart; a failure voids all
 *      (btree_file_supersede_at), because nothing of the base was changed
 *   D3 after a stop nothing of the source at or above the boundary has been merged, also where
 *      leaves beyond it are copied to fill up a small one
 */
#include "engine/btree/btree_drain.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"
#include "engine/btree/btree_drain_internal.h"

#define APPEND_WORK_BYTES 64u

tern_status drain_create(struct btree *tree, const struct generation_map *generations,
                         struct drain **out_drain, tern_error *error) {
    const tern_allocator *allocator = tree->environment->allocator;
    struct drain *drain = memory_allocate_zeroed(allocator, sizeof(*drain));
    if (drain == NULL) {
        return ERROR_NO_MEMORY(error, "a drain");
    }
    drain->tree = tree;
    drain->generations = generations;
    buffer_init(&drain->start, allocator);
    buffer_init(&drain->boundary, allocator);
    buffer_init(&drain->key, allocator);
    buffer_init(&drain->leaf.upper, allocator);
    engine_scratch_init(&drain->scratch, allocator);
    for (uint32_t i = 0; i < INNER_LEVELS_MAX; i++) {
        buffer_init(&drain->frames[i].lower, allocator);
        buffer_init(&drain->frames[i].upper, allocator);
    }
    drain->page = memory_allocate_aligned(allocator, BTREE_FILE_MEMORY_ALIGNMENT,
                                          tree->config.options.page_bytes);
    drain->window =
        memory_allocate_aligned(allocator, BTREE_FILE_MEMORY_ALIGNMENT, DRAIN_WINDOW_BYTES);
    tern_status status = TERN_OK;
    if (drain->page == NULL || drain->window == NULL) {
        status = ERROR_NO_MEMORY(error, "a drain");
    } else {
        status = tree_builder_create(tree, generations, &drain->builder, error);
    }
    if (status != TERN_OK) {
        drain_destroy(drain);
        return status;
    }
    *out_drain = drain;
    return TERN_OK;
}

void drain_destroy(struct drain *drain) {
    if (drain == NULL) {
        return;
    }
    ASSERT(!drain->is_active);
    const tern_allocator *allocator = drain->tree->environment->allocator;
    tree_builder_destroy(drain->builder);
    for (uint32_t i = 0; i < INNER_LEVELS_MAX; i++) {
        buffer_release(&drain->frames[i].lower);
        buffer_release(&drain->frames[i].upper);
    }
    buffer_release(&drain->leaf.upper);
    buffer_release(&drain->start);
    buffer_release(&drain->boundary);
    buffer_release(&drain->key);
    engine_scratch_release(&drain->scratch);
    memory_release_aligned(allocator, drain->page);
    memory_release_aligned(allocator, drain->window);
    memory_release(allocator, drain);
}

/* ---- fences ---- */

static tern_status set_bytes(struct buffer *target, tern_slice bytes, tern_error *error) {
    target->size = 0;
    if (buffer_append(target, bytes.data, bytes.size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a drain");
    }
    return TERN_OK;
}

static tern_status set_separator(struct buffer *target, const struct inner_node *node,
                                 uint32_t index, tern_error *error) {
    size_t size = node_separator_size(node, index);
    target->size = 0;
    if (buffer_reserve(target, size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a drain");
    }
    target->size = node_separator(node, index, target->data);
    return TERN_OK;
}

/* Lower fence of child `index`, written to *out_fence. */
static tern_status lower_fence(const struct walk_frame *frame, uint32_t index,
                               struct buffer *out_fence, tern_error *error) {
    return index > 0 ? set_separator(out_fence, frame->node, index - 1, error)
                     : set_bytes(out_fence, buffer_slice(&frame->lower), error);
}

static tern_status upper_fence(const struct walk_frame *frame, uint32_t index,
                               struct buffer *out_fence, bool *out_has_upper, tern_error *error) {
    *out_has_upper = true;
    if (index + 1 < frame->node->count) {
        return set_separator(out_fence, frame->node, index, error);
    }
    *out_has_upper = frame->has_upper;
    return set_bytes(out_fence, buffer_slice(&frame->upper), error);
}

/* ---- beginning and end ---- */

static int compare_ranges(const void *left, const void *right) {
    const struct drain_range *a = left;
    const struct drain_range *b = right;
    return slice_compare(a->begin, b->begin);
}

/* Joins the range deletes of the source into disjoint ranges from the start on. */
static tern_status prepare_ranges(struct drain *drain, tern_error *error) {
    const struct overlay_range *source;
    struct overlay_range_walk walk;
    size_t count = overlay_range_count(drain->source->overlay);
    drain->range_count = drain->range_at = 0;
    if (count == 0) {
        return TERN_OK;
    }
    drain->ranges =
        memory_allocate(drain->tree->environment->allocator, count * sizeof(drain->ranges[0]));
    if (drain->ranges == NULL) {
        return ERROR_NO_MEMORY(error, "range deletes");
    }
    size_t kept = 0;
    overlay_range_walk_begin(drain->source->overlay, &walk);
    while ((source = overlay_range_walk_next(&walk)) != NULL) {
        struct drain_range range = {source->begin, source->end, source->has_end};
        if (source->seq > drain->source->frozen_seq) {
            continue;
        }
        if (drain->has_start) {
            tern_slice start = buffer_slice(&drain->start);
            if (range.has_end && slice_compare(range.end, start) <= 0) {
                continue;
            }
            range.begin = slice_compare(range.begin, start) < 0 ? start : range.begin;
        }
        if (!range.has_end || slice_compare(range.begin, range.end) < 0) {
            drain->ranges[kept++] = range;
        }
    }
    qsort(drain->ranges, kept, sizeof(drain->ranges[0]), compare_ranges);
    for (size_t i = 0; i < kept; i++) {
        struct drain_range *last =
            drain->range_count > 0 ? &drain->ranges[drain->range_count - 1] : NULL;
        const struct drain_range *range = &drain->ranges[i];
        if (last != NULL && (!last->has_end || slice_compare(range->begin, last->end) <= 0)) {
            if (last->has_end && (!range->has_end || slice_compare(range->end, last->end) > 0)) {
                last->end = range->end;
                last->has_end = range->has_end;
            }
        } else {
            drain->ranges[drain->range_count++] = *range;
        }
    }
    return TERN_OK;
}

static tern_status push_frame(struct drain *drain, struct inner_node *node, bool has_upper,
                              tern_error *error) {
    if (drain->frame_count == INNER_LEVELS_MAX) {
        return ERROR_AT(error, TERN_CORRUPTION, btree_file_path(drain->tree->file),
                        ref_place(node->self) * UNIT_BYTES, 0, "a tree of too many levels");
    }
    struct walk_frame *frame = &drain->frames[drain->frame_count];
    frame->node = node;
    frame->next = 0;
    frame->has_upper = has_upper;
    tern_status status =
        btree_file_release_later(drain->tree->file, ref_place(node->self), ref_units(node->self),
                                 generation_born(drain->generations, node->generation), error);
    if (status == TERN_OK) {
        drain->frame_count++;
    }
    return status;
}

/* Takes the top of the base apart, or opens the only leaf. */
static tern_status enter_base(struct drain *drain, tern_error *error) {
    struct btree_root *base = drain->base;
    tern_slice lowest = tern_slice_of(NULL, 0);
    if (base->height >= 2) {
        drain->frames[0].lower.size = drain->frames[0].upper.size = 0;
        return push_frame(drain, base->top, false, error);
    }
    tern_status status = tree_builder_open_run(drain->builder, lowest, error);
    if (status != TERN_OK) {
        return status;
    }
    drain->leaf.has_upper = false;
    drain->leaf.upper.size = 0;
    if (base->height == 0) {
        drain->leaf.is_open = true;
        drain->leaf.payload = NULL;
        drain->leaf.index = drain->leaf.count = 0;
        return TERN_OK;
    }
    const struct leaf_source source = {base->child.ref, base->child.checksum,
                                       atomic_load(&base->leaf_hint)};
    return drain_open_leaf(drain, &source, error);
}

tern_status drain_start(struct drain *drain, struct btree_root *base, struct shared_overlay *source,
                        const tern_slice *boundary, const struct drain_plan *plan,
                        tern_error *error) {
    ASSERT(!drain->is_active);
    btree_root_retain(base);
    drain->base = base;
    drain->source = source;
    if (source != NULL) {
        shared_overlay_retain(source);
    }
    drain->plan = plan != NULL ? *plan : (struct drain_plan){0};
    drain->is_active = true;
    drain->is_stopped = drain->is_done = false;
    drain->has_boundary = false;
    drain->has_start = boundary != NULL;
    drain->frame_count = 0;
    drain->leaf.is_open = false;
    drain->window_units = 0;
    drain->next_place = 0;
    drain->merged_keys = 0;
    drain->has_merged = false;
    drain->ranges = NULL;
    drain->range_count = drain->range_at = 0;
    uint32_t fill = drain->tree->config.options.fill_percent;
    drain->builder->output.takes_scraps = plan != NULL;
    tern_status status = tree_builder_begin(drain->builder, fill, error);
    if (status == TERN_OK && boundary != NULL) {
        status = set_bytes(&drain->start, *boundary, error);
    }
    if (status == TERN_OK && source != NULL) {
        overlay_iterator_init(&drain->keys, source->overlay);
        if (boundary != NULL) {
            (void)overlay_iterator_seek(&drain->keys, buffer_slice(&drain->start), false, true);
        } else {
            (void)overlay_iterator_first(&drain->keys, false);
        }
        status = prepare_ranges(drain, error);
    }
    if (status == TERN_OK) {
        status = enter_base(drain, error);
    }
    if (status != TERN_OK) {
        drain_abandon(drain);
    }
    return status;
}

/* Lets go of everything but the builder's output. */
static void leave(struct drain *drain) {
    const struct engine_environment *environment = drain->tree->environment;
    drain_close_leaf(drain);
    drain->frame_count = 0;
    if (drain->source != NULL) {
        shared_overlay_release(environment->allocator, drain->source);
        drain->source = NULL;
    }
    btree_root_release(drain->tree, drain->base);
    drain->base = NULL;
    memory_release(environment->allocator, drain->ranges);
    drain->ranges = NULL;
    drain->range_count = drain->range_at = 0;
    drain->is_active = false;
}

void drain_keep(struct drain *drain) {
    ASSERT(drain->is_active);
    tree_builder_keep(drain->builder);
    leave(drain);
}

void drain_abandon(struct drain *drain) {
    ASSERT(drain->is_active);
    tree_builder_abandon(drain->builder);
    btree_file_supersede_at(drain->tree->file, 0, false);
    leave(drain);
}

/* ---- the walk ---- */

bool drain_has_key(const struct drain *drain) {
    return drain->source != NULL && !drain->is_stopped && overlay_iterator_is_valid(&drain->keys);
}

bool drain_has_range(const struct drain *drain) {
    return !drain->is_stopped && drain->range_at < drain->range_count;
}

/* Drops ranges that end at or below the fence. */
static void pass_ranges(struct drain *drain, tern_slice fence) {
    while (drain_has_range(drain)) {
        const struct drain_range *range = &drain->ranges[drain->range_at];
        if (!range->has_end || slice_compare(range->end, fence) > 0) {
            return;
        }
        drain->range_at++;
    }
}

/* First child from `next` on that has to be taken apart; the node's count when none has. */
static uint32_t find_touched(struct drain *drain, const struct walk_frame *frame,
                             tern_slice next_fence) {
    struct inner_node *node = frame->node;
    tern_slice upper = buffer_slice(&frame->upper);
    uint32_t touched = node->count;
    if (drain_has_key(drain)) {
        tern_slice key = overlay_iterator_key(&drain->keys);
        if (!frame->has_upper || slice_compare(key, upper) < 0) {
            touched = node_search(node, key);
            touched = touched < frame->next ? frame->next : touched;
        }
    }
    pass_ranges(drain, next_fence);
    if (drain_has_range(drain)) {
        tern_slice begin = drain->ranges[drain->range_at].begin;
        if (slice_compare(begin, next_fence) <= 0) {
            touched = frame->next;
        } else if (!frame->has_upper || slice_compare(begin, upper) < 0) {
            uint32_t index = node_search(node, begin);
            touched = index < touched ? index : touched;
        }
    }
    if (drain->plan.wants_child != NULL && !drain->is_stopped) {
        for (uint32_t i = frame->next; i < touched; i++) {
            if (drain->plan.wants_child(drain->plan.context, node, i)) {
                touched = i;
            }
        }
    }
    return touched;
}

static struct leaf_source leaf_of(const struct inner_node *node, uint32_t index) {
    return (struct leaf_source){node->refs[index], node->checksums[index],
                                atomic_load_explicit(&node->hints[index], memory_order_relaxed)};
}

/* True when range deletes empty the whole leaf and nothing of it has to be looked at. */
static bool can_drop(struct drain *drain, const struct walk_frame *frame, tern_slice lower,
                     tern_slice upper, bool has_upper, uint32_t index) {
    if (!drain_has_range(drain) || (ref_flags(frame->node->refs[index]) & REF_HAS_LARGE) != 0) {
        return false;
    }
    const struct drain_range *range = &drain->ranges[drain->range_at];
    if (slice_compare(range->begin, lower) > 0 ||
        (range->has_end && (!has_upper || slice_compare(range->end, upper) < 0))) {
        return false;
    }
    return !drain_has_key(drain) ||
           (has_upper && slice_compare(overlay_iterator_key(&drain->keys), upper) >= 0);
}

/* Takes child frame->next apart. */
static tern_status open_child(struct drain *drain, tern_error *error) {
    struct walk_frame *frame = &drain->frames[drain->frame_count - 1];
    struct inner_node *node = frame->node;
    uint32_t index = frame->next;
    tern_status status;
    if (node->level > 1) {
        if (drain->frame_count == INNER_LEVELS_MAX) {
            return ERROR_AT(error, TERN_CORRUPTION, btree_file_path(drain->tree->file),
                            ref_place(node->self) * UNIT_BYTES, 0, "a tree of too many levels");
        }
        struct walk_frame *below = &drain->frames[drain->frame_count];
        struct inner_node *child = NULL;
        bool has_upper = false;
        status = lower_fence(frame, index, &below->lower, error);
        if (status == TERN_OK) {
            status = upper_fence(frame, index, &below->upper, &has_upper, error);
        }
        if (status == TERN_OK) {
            status = btree_child_node(drain->tree, node, index, &child, error);
        }
        if (status == TERN_OK) {
            status = push_frame(drain, child, has_upper, error);
        }
        if (status == TERN_OK) {
            frame->next++;
        }
        return status;
    }
    struct leaf_merge *leaf = &drain->leaf;
    status = lower_fence(frame, index, &drain->key, error);
    if (status == TERN_OK) {
        status = upper_fence(frame, index, &leaf->upper, &leaf->has_upper, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    tern_slice lower = buffer_slice(&drain->key);
    drain->work_bytes += APPEND_WORK_BYTES;
    if (can_drop(drain, frame, lower, buffer_slice(&leaf->upper), leaf->has_upper, index)) {
        /* Not read, so its birth is not known: taken for as old as can be. */
        packed_ref ref = node->refs[index];
        frame->next++;
        drain->has_merged = true;
        return btree_file_release_later(drain->tree->file, ref_place(ref), ref_units(ref), 0,
                                        error);
    }
    status = tree_builder_open_run(drain->builder, lower, error);
    if (status == TERN_OK) {
        const struct leaf_source source = leaf_of(node, index);
        drain_read_ahead(drain, node, index);
        status = drain_open_leaf(drain, &source, error);
    }
    if (status == TERN_OK) {
        frame->next++;
    }
    return status;
}

/* Hands children from frame->next up to `end` to the builder as they are. */
static tern_status append_children(struct drain *drain, uint32_t end, uint64_t work_max,
                                   tern_error *error) {
    struct walk_frame *frame = &drain->frames[drain->frame_count - 1];
    struct inner_node *node = frame->node;
    uint32_t level = node->level - 1u;
    while (frame->next < end && drain->work_bytes < work_max) {
        uint32_t i = frame->next;
        bool can = false;
        tern_status status = tree_builder_can_append(drain->builder, level, &can, error);
        if (status != TERN_OK) {
            return status;
        }
        if (!can) {
            return open_child(drain, error);
        }
        status = lower_fence(frame, i, &drain->key, error);
        if (status == TERN_OK) {
            const struct child_ref child = {node->refs[i], node->checksums[i], node->records[i],
                                            node->bytes[i]};
            struct inner_node *below =
                level > 0 ? atomic_load_explicit(&node->nodes[i], memory_order_acquire) : NULL;
            cache_hint hint =
                level > 0 ? 0 : atomic_load_explicit(&node->hints[i], memory_order_relaxed);
            status = tree_builder_append(drain->builder, level, &child, below, hint,
                                         buffer_slice(&drain->key), error);
        }
        if (status != TERN_OK) {
            return status;
        }
        drain->work_bytes += APPEND_WORK_BYTES;
        frame->next++;
    }
    return TERN_OK;
}

static tern_status walk(struct drain *drain, uint64_t work_max, tern_error *error) {
    struct walk_frame *frame = &drain->frames[drain->frame_count - 1];
    if (frame->next == frame->node->count) {
        drain->frame_count--;
        return TERN_OK;
    }
    tern_status status = lower_fence(frame, frame->next, &drain->key, error);
    if (status != TERN_OK) {
        return status;
    }
    uint32_t touched = find_touched(drain, frame, buffer_slice(&drain->key));
    if (touched > frame->next) {
        return append_children(drain, touched, work_max, error);
    }
    return open_child(drain, error);
}

static bool cache_has_room(const struct drain *drain, size_t wanted_bytes) {
    const struct engine_environment *environment = drain->tree->environment;
    return environment->cache != NULL && environment->budget != NULL &&
           budget_used(environment->budget, BUDGET_CACHE) + wanted_bytes <=
               cache_limit(environment->cache);
}

tern_status drain_run(struct drain *drain, size_t quantum_bytes, tern_error *error) {
    ASSERT(drain->is_active);
    tern_status status = TERN_OK;
    drain->work_bytes = 0;
    drain->moved_bytes = 0;
    drain->cache_has_room = cache_has_room(drain, 2 * quantum_bytes + DRAIN_CACHE_SLACK_BYTES);
    while (status == TERN_OK && !drain->is_done && drain->work_bytes < quantum_bytes) {
        if (drain->leaf.is_open) {
            status = drain_merge_leaf(drain, quantum_bytes, error);
        } else if (drain->frame_count > 0) {
            status = walk(drain, quantum_bytes, error);
        } else {
            drain->is_done = true;
        }
    }
    return status;
}

/* Where the walk stands between leaves; false: at the end. */
static tern_status position_between(struct drain *drain, bool *out_has, tern_error *error) {
    *out_has = false;
    for (uint32_t i = drain->frame_count; i > 0; i--) {
        const struct walk_frame *frame = &drain->frames[i - 1];
        if (frame->next < frame->node->count) {
            *out_has = true;
            return lower_fence(frame, frame->next, &drain->boundary, error);
        }
    }
    return TERN_OK;
}

tern_status drain_stop(struct drain *drain, tern_error *error) {
    ASSERT(drain->is_active);
    tern_status status = TERN_OK;
    if (drain->is_stopped) {
        return TERN_OK;
    }
    if (drain_has_key(drain) || drain_has_range(drain)) {
        status = drain->leaf.is_open
                     ? drain_leaf_position(drain, &drain->boundary, &drain->has_boundary, error)
                     : position_between(drain, &drain->has_boundary, error);
    }
    if (status == TERN_OK && drain->has_boundary && drain->has_start &&
        slice_compare(buffer_slice(&drain->boundary), buffer_slice(&drain->start)) < 0) {
        /* Still on the way to where it begins. */
        status = set_bytes(&drain->boundary, buffer_slice(&drain->start), error);
    }
    if (status == TERN_OK) {
        drain->is_stopped = true;
    }
    return status;
}

tern_status drain_finish(struct drain *drain, struct btree_root **out_root, tern_error *error) {
    ASSERT(drain->is_active && drain->is_done);
    return tree_builder_finish(drain->builder, true, out_root, error);
}
