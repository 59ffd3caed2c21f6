/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From records and subtrees to a root.
 *
 *   levels[2]   ........................ nodes of level 2 that wait for a parent
 *   levels[1]   ............ nodes of level 1
 *   levels[0]   ...... leaves
 *   leaves      .. records
 *
 * Invariants:
 *   T1 everything in levels[i] lies left of everything in levels[i - 1], and that left of the
 *      records in `leaves`
 *   T2 the lower fence of an entry is above every key left of it and at most its first key; the
 *      fence of the very first is empty
 *   T3 no level ever holds more than two nodes' worth
 *   T4 what is written lies in runs of the output or is noted in `values`, until kept
 */
#include "engine/btree/tree_builder.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"
#include "base/varint.h"
#include "engine/btree/btree_value.h"
#include "simd/compare.h"

/* A node is closed at this many bytes even when it has fewer children than the fan-out. */
#define NODE_BYTES_MAX ((size_t)128 * 1024)
_Static_assert(NODE_BYTES_MAX <= INNER_PAYLOAD_BYTES_MAX, "nodes stay readable");

static tern_status emit_leaf(void *context, uint32_t begin, uint32_t end, tern_error *error);

static tern_status prepare_level(struct tree_builder *builder, uint32_t index, tern_error *error) {
    struct level *level = &builder->levels[index];
    if (level->entries == NULL) {
        level->entries = memory_allocate(builder->tree->environment->allocator,
                                         builder->level_capacity * sizeof(level->entries[0]));
        if (level->entries == NULL) {
            return ERROR_NO_MEMORY(error, "building a tree");
        }
    }
    return TERN_OK;
}

static tern_status allocate_scratch(struct tree_builder *builder, tern_error *error) {
    const tern_allocator *allocator = builder->tree->environment->allocator;
    uint32_t count = builder->fan_out;
    builder->children = memory_allocate(allocator, count * sizeof(builder->children[0]));
    builder->nodes = memory_allocate(allocator, count * sizeof(builder->nodes[0]));
    builder->hints = memory_allocate(allocator, count * sizeof(builder->hints[0]));
    builder->separators = memory_allocate(allocator, count * sizeof(builder->separators[0]));
    if (builder->children == NULL || builder->nodes == NULL || builder->hints == NULL ||
        builder->separators == NULL || buffer_reserve(&builder->payload, 32 * 1024) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "building a tree");
    }
    /* Enough for most trees; more levels are made when they are needed. */
    tern_status status = prepare_level(builder, 0, error);
    if (status == TERN_OK) {
        status = prepare_level(builder, 1, error);
    }
    return status;
}

tern_status tree_builder_create(struct btree *tree, const struct generation_map *generations,
                                struct tree_builder **out_builder, tern_error *error) {
    const struct engine_environment *environment = tree->environment;
    const tern_allocator *allocator = environment->allocator;
    struct tree_builder *builder = memory_allocate_zeroed(allocator, sizeof(*builder));
    if (builder == NULL) {
        return ERROR_NO_MEMORY(error, "building a tree");
    }
    builder->tree = tree;
    builder->generations = generations;
    builder->fan_out = tree->config.options.fan_out;
    builder->level_capacity = 2 * builder->fan_out + 1;
    buffer_init(&builder->next_fence, allocator);
    buffer_init(&builder->payload, allocator);
    buffer_init(&builder->values, allocator);
    for (uint32_t i = 0; i < INNER_LEVELS_MAX; i++) {
        buffer_init(&builder->levels[i].fences, allocator);
    }
    builder->leaves.allocator = allocator;
    builder->output.allocator = allocator;
    tern_status status = leaf_builder_init(
        &builder->leaves, allocator, tree->config.options.page_bytes, emit_leaf, builder, error);
    if (status == TERN_OK) {
        status = block_output_init(&builder->output, environment, tree->config.options.compression,
                                   tree->file, error);
    }
    if (status == TERN_OK) {
        status = allocate_scratch(builder, error);
    }
    if (status != TERN_OK) {
        tree_builder_destroy(builder);
        return status;
    }
    *out_builder = builder;
    return TERN_OK;
}

void tree_builder_destroy(struct tree_builder *builder) {
    if (builder == NULL) {
        return;
    }
    const tern_allocator *allocator = builder->tree->environment->allocator;
    for (uint32_t i = 0; i < INNER_LEVELS_MAX; i++) {
        ASSERT(builder->levels[i].count == 0);
        memory_release(allocator, builder->levels[i].entries);
        buffer_release(&builder->levels[i].fences);
    }
    leaf_builder_release(&builder->leaves);
    block_output_release(&builder->output);
    buffer_release(&builder->next_fence);
    buffer_release(&builder->payload);
    buffer_release(&builder->values);
    memory_release(allocator, builder->children);
    memory_release(allocator, builder->nodes);
    memory_release(allocator, builder->hints);
    memory_release(allocator, builder->separators);
    memory_release(allocator, builder);
}

tern_status tree_builder_begin(struct tree_builder *builder, uint32_t fill_percent,
                               tern_error *error) {
    builder->generation = generation_next(builder->generations);
    builder->next_fence.size = 0;
    builder->values.size = 0;
    builder->is_caching = false;
    builder->leaf_count = 0;
    leaf_builder_reset(&builder->leaves, fill_percent);
    return block_output_begin(&builder->output, error);
}

/* ---- entries ---- */

static tern_slice entry_fence(const struct level *level, uint32_t i) {
    const struct level_entry *entry = &level->entries[i];
    return tern_slice_of(level->fences.data + entry->fence_offset, entry->fence_size);
}

static size_t entry_bytes(const struct level_entry *entry) {
    return INNER_CHILD_BYTES + entry->fence_size + varint_size(entry->fence_size);
}

static void release_node(struct tree_builder *builder, struct inner_node *node) {
    node_release(builder->tree->environment->allocator, builder->tree->environment->budget, node);
}

/* Puts an entry at `at`; takes over one reference of `node` when it succeeds. */
static tern_status insert_entry(struct tree_builder *builder, struct level *level, uint32_t at,
                                const struct level_entry *entry, tern_slice fence,
                                tern_error *error) {
    ASSERT(level->count < builder->level_capacity);
    size_t offset = level->fences.size;
    if (buffer_append(&level->fences, fence.data, fence.size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "building a tree");
    }
    memmove(&level->entries[at + 1], &level->entries[at],
            (level->count - at) * sizeof(level->entries[0]));
    level->entries[at] = *entry;
    level->entries[at].fence_offset = (uint32_t)offset;
    level->entries[at].fence_size = (uint32_t)fence.size;
    level->count++;
    return TERN_OK;
}

/* Drops the first `count` entries and moves the fences of the others together. */
static tern_status remove_front(struct tree_builder *builder, struct level *level, uint32_t count,
                                tern_error *error) {
    struct buffer *fences = &builder->payload;
    fences->size = 0;
    if (buffer_reserve(fences, level->fences.size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "building a tree");
    }
    for (uint32_t i = 0; i < count; i++) {
        release_node(builder, level->entries[i].node);
    }
    level->count -= count;
    memmove(level->entries, level->entries + count, level->count * sizeof(level->entries[0]));
    for (uint32_t i = 0; i < level->count; i++) {
        tern_slice fence = entry_fence(level, i);
        memcpy(fences->data + fences->size, fence.data, fence.size);
        level->entries[i].fence_offset = (uint32_t)fences->size;
        fences->size += fence.size;
    }
    if (fences->size > 0) {
        memcpy(level->fences.data, fences->data, fences->size);
    }
    level->fences.size = fences->size;
    return TERN_OK;
}

static tern_status emit_front(struct tree_builder *builder, uint32_t index, uint32_t count,
                              tern_error *error);

/* How many entries from the front make a full node. */
static uint32_t full_node(const struct tree_builder *builder, const struct level *level) {
    size_t bytes = INNER_HEADER_BYTES;
    uint32_t count = 0;
    while (count < level->count && count < builder->fan_out) {
        bytes += entry_bytes(&level->entries[count]);
        if (count >= 2 && bytes > NODE_BYTES_MAX) {
            break;
        }
        count++;
    }
    return count;
}

static size_t level_bytes(const struct level *level) {
    return INNER_HEADER_BYTES + level->fences.size + (size_t)level->count * (INNER_CHILD_BYTES + 2);
}

/* Appends and takes over a reference of `node`; on failure the reference is the caller's. */
static tern_status append_entry(struct tree_builder *builder, uint32_t index,
                                const struct level_entry *entry, tern_slice fence,
                                tern_error *error) {
    if (index >= INNER_LEVELS_MAX) {
        return ERROR_SET(error, TERN_TOO_LARGE, "a tree of more than %u levels", INNER_LEVELS_MAX);
    }
    struct level *level = &builder->levels[index];
    tern_status status = prepare_level(builder, index, error);
    if (status == TERN_OK) {
        status = insert_entry(builder, level, level->count, entry, fence, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    if (level->count == 2 * builder->fan_out || level_bytes(level) >= 2 * NODE_BYTES_MAX) {
        status = emit_front(builder, index, full_node(builder, level), error);
        if (status != TERN_OK) {
            /* The entry stays in the level, which the caller is about to abandon; keep the rule
             * that on failure the reference is the caller's. */
            level->entries[level->count - 1].node = NULL;
        }
    }
    return status;
}

/* Makes a node of the first `count` entries of a level. */
static tern_status emit_front(struct tree_builder *builder, uint32_t index, uint32_t count,
                              tern_error *error) {
    struct btree *tree = builder->tree;
    const struct engine_environment *environment = tree->environment;
    struct level *level = &builder->levels[index];
    struct level_entry parent = {0};
    struct inner_node *node = NULL;
    uint32_t flags = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct level_entry *entry = &level->entries[i];
        builder->children[i] = entry->child;
        builder->nodes[i] = entry->node;
        builder->hints[i] = entry->hint;
        if (i > 0) {
            builder->separators[i - 1] = entry_fence(level, i);
        }
        flags |= ref_flags(entry->child.ref);
        parent.child.records += entry->child.records;
        parent.child.bytes += entry->child.bytes;
    }
    const struct node_source source = {
        .level = (uint16_t)(index + 1),
        .count = count,
        .children = builder->children,
        .nodes = index > 0 ? builder->nodes : NULL,
        .hints = index == 0 ? builder->hints : NULL,
        .separators = builder->separators,
        .generation = builder->generation,
    };
    tern_status status =
        node_build(environment->allocator, environment->budget, &source, &node, error);
    if (status != TERN_OK) {
        return status;
    }
    uint8_t *payload = NULL;
    builder->payload.size = 0;
    if (node_encode(node, &builder->payload) != TERN_OK) {
        status = ERROR_NO_MEMORY(error, "an inner page");
        goto done;
    }
    status = block_output_reserve(&builder->output, builder->payload.size, &payload, error);
    if (status != TERN_OK) {
        goto done;
    }
    memcpy(payload, builder->payload.data, builder->payload.size);
    status = block_output_commit(&builder->output, builder->payload.size, &parent.child.ref,
                                 &parent.child.checksum, error);
    if (status != TERN_OK) {
        goto done;
    }
    parent.child.ref |= flags;
    parent.node = node;
    node->self = parent.child.ref;
    node->self_checksum = parent.child.checksum;
    status = append_entry(builder, index + 1, &parent, entry_fence(level, 0), error);
    if (status == TERN_OK) {
        node = NULL;
        status = remove_front(builder, level, count, error);
    }
done:
    release_node(builder, node);
    return status;
}

/* Makes nodes of all that waits in a level. */
static tern_status flush_level(struct tree_builder *builder, uint32_t index, tern_error *error) {
    struct level *level = &builder->levels[index];
    while (level->count > 0) {
        uint32_t count = full_node(builder, level);
        if (count < level->count && level->count <= 2 * count) {
            count = (level->count + 1) / 2;
        }
        tern_status status = emit_front(builder, index, count, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    return TERN_OK;
}

static bool level_is_underfull(const struct tree_builder *builder, uint32_t index) {
    const struct level *level = &builder->levels[index];
    return level->count > 0 && level->count < builder->fan_out / 2 &&
           level_bytes(level) < NODE_BYTES_MAX / 2;
}

/* ---- leaves ---- */

/* Shortest key above `low` and at most `high`. */
static tern_slice shortest_separator(tern_slice low, tern_slice high) {
    size_t shared = slice_common_prefix(low, high);
    ASSERT_DEBUG(shared < high.size);
    return tern_slice_of(high.data, shared + 1);
}

static tern_status set_fence(struct tree_builder *builder, tern_slice fence, tern_error *error) {
    builder->next_fence.size = 0;
    if (buffer_append(&builder->next_fence, fence.data, fence.size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "building a tree");
    }
    return TERN_OK;
}

/* Copies a new leaf into a frame when it is to be cached. */
static struct cache_frame *fill_frame(struct tree_builder *builder, const uint8_t *payload,
                                      size_t size) {
    struct btree *tree = builder->tree;
    if (!builder->is_caching || tree->environment->cache == NULL || tree->is_mapping) {
        return NULL;
    }
    struct cache_frame *frame =
        cache_acquire(tree->environment->cache, tree->config.options.page_bytes);
    if (frame != NULL) {
        memcpy((uint8_t *)frame + BLOCK_HEADER_BYTES, payload, size);
    }
    return frame;
}

static tern_status emit_leaf(void *context, uint32_t begin, uint32_t end, tern_error *error) {
    struct tree_builder *builder = context;
    struct cache *cache = builder->tree->environment->cache;
    struct leaf_builder *leaves = &builder->leaves;
    struct leaf_summary summary;
    uint8_t *payload = NULL;
    tern_status status =
        block_output_reserve(&builder->output, leaves->payload_max, &payload, error);
    if (status != TERN_OK) {
        return status;
    }
    leaf_builder_encode(leaves, begin, end, builder->generation, payload, &summary);
    struct cache_frame *frame = fill_frame(builder, payload, summary.payload_bytes);
    struct level_entry entry = {.child.records = summary.records};
    status = block_output_commit(&builder->output, summary.payload_bytes, &entry.child.ref,
                                 &entry.child.checksum, error);
    if (status != TERN_OK) {
        if (frame != NULL) {
            cache_discard(cache, frame);
        }
        return status;
    }
    if (cache != NULL) {
        cache_tag tag = cache_tag_of(builder->tree->space, ref_place(entry.child.ref));
        cache_invalidate(cache, tag);
        if (frame != NULL) {
            entry.hint = cache_hint_of(cache, cache_publish(cache, frame, tag));
        }
    }
    entry.child.bytes = (uint64_t)ref_units(entry.child.ref) * UNIT_BYTES + summary.large_bytes;
    entry.child.ref |= summary.has_large ? REF_HAS_LARGE : 0;
    builder->leaf_count++;
    status = append_entry(builder, 0, &entry, buffer_slice(&builder->next_fence), error);
    if (status == TERN_OK && end < leaves->count) {
        status = set_fence(
            builder,
            shortest_separator(leaf_builder_key(leaves, end - 1), leaf_builder_key(leaves, end)),
            error);
    }
    return status;
}

tern_status tree_builder_open_run(struct tree_builder *builder, tern_slice fence,
                                  tern_error *error) {
    if (!leaf_builder_is_empty(&builder->leaves)) {
        return TERN_OK;
    }
    return set_fence(builder, fence, error);
}

/* ---- values apart ---- */

static tern_status put_piece(struct tree_builder *builder, tern_slice value,
                             struct value_reference *reference, tern_error *error) {
    uint8_t *payload = NULL;
    size_t size = VALUE_HEADER_BYTES + value.size;
    tern_status status = block_output_reserve(&builder->output, size, &payload, error);
    if (status != TERN_OK) {
        return status;
    }
    btree_value_piece_header(payload, 0, builder->generation);
    memcpy(payload + VALUE_HEADER_BYTES, value.data, value.size);
    return block_output_commit(&builder->output, size, &reference->ref, &reference->checksum,
                               error);
}

/* Notes a reference so that the value goes when the build is given up. */
static tern_status note_value(struct tree_builder *builder, const uint8_t *reference, size_t size,
                              tern_error *error) {
    uint8_t length = (uint8_t)size;
    if (buffer_reserve(&builder->values, size + 1) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "writing a value");
    }
    memcpy(builder->values.data + builder->values.size, &length, 1);
    memcpy(builder->values.data + builder->values.size + 1, reference, size);
    builder->values.size += size + 1;
    return TERN_OK;
}

static tern_status put_pieces(struct tree_builder *builder, tern_slice value,
                              uint8_t *out_reference, size_t *out_size, tern_error *error) {
    struct engine_large_writer *writer = NULL;
    tern_status status =
        btree_value_writer_create(builder->tree, builder->generation, &writer, error);
    if (status != TERN_OK) {
        return status;
    }
    status = btree_value_writer_append(writer, value.data, value.size, error);
    if (status != TERN_OK) {
        btree_value_writer_abandon(writer);
        return status;
    }
    size_t size = 0;
    status = btree_value_writer_finish(writer, out_reference, &size, error);
    if (status != TERN_OK) {
        return status;
    }
    status = note_value(builder, out_reference, size, error);
    if (status != TERN_OK) {
        btree_value_discard(builder->tree, tern_slice_of(out_reference, size));
        return status;
    }
    *out_size = size;
    return TERN_OK;
}

tern_status tree_builder_put_value(struct tree_builder *builder, const struct record *record,
                                   uint8_t out_reference[ENGINE_LARGE_REFERENCE_BYTES_MAX],
                                   struct record *out_record, tern_error *error) {
    size_t size = 0;
    tern_status status;
    if (record->value.size <= VALUE_PIECE_BYTES) {
        struct value_reference reference = {.size_bytes = record->value.size,
                                            .born = builder->generation};
        status = put_piece(builder, record->value, &reference, error);
        if (status == TERN_OK) {
            size = btree_value_reference_encode(&reference, out_reference);
        }
    } else {
        status = put_pieces(builder, record->value, out_reference, &size, error);
    }
    if (status == TERN_OK) {
        *out_record = (struct record){.kind = RECORD_LARGE,
                                      .expires_ms = record->expires_ms,
                                      .value_size = record->value.size,
                                      .value = tern_slice_of(out_reference, size)};
    }
    return status;
}

tern_status tree_builder_copy_value(struct tree_builder *builder, tern_slice reference,
                                    uint8_t out_reference[ENGINE_LARGE_REFERENCE_BYTES_MAX],
                                    size_t *out_size, tern_error *error) {
    size_t size = 0;
    tern_status status = btree_value_copy(builder->tree, reference, builder->tree,
                                          builder->generation, out_reference, &size, error);
    if (status != TERN_OK) {
        return status;
    }
    status = note_value(builder, out_reference, size, error);
    if (status != TERN_OK) {
        btree_value_discard(builder->tree, tern_slice_of(out_reference, size));
        return status;
    }
    *out_size = size;
    return TERN_OK;
}

/* ---- subtrees ---- */

tern_status tree_builder_can_append(struct tree_builder *builder, uint32_t level, bool *out_can,
                                    tern_error *error) {
    *out_can = false;
    if (leaf_builder_is_underfull(&builder->leaves)) {
        return TERN_OK;
    }
    tern_status status = leaf_builder_flush(&builder->leaves, true, error);
    for (uint32_t i = 0; status == TERN_OK && i < level; i++) {
        if (level_is_underfull(builder, i)) {
            return TERN_OK;
        }
        status = flush_level(builder, i, error);
    }
    if (status == TERN_OK) {
        *out_can = true;
    }
    return status;
}

tern_status tree_builder_append(struct tree_builder *builder, uint32_t level,
                                const struct child_ref *child, struct inner_node *node,
                                cache_hint hint, tern_slice fence, tern_error *error) {
    ASSERT_DEBUG(leaf_builder_is_empty(&builder->leaves));
    const struct level_entry entry = {.child = *child, .node = node, .hint = hint};
    if (node != NULL) {
        node_retain(node);
    }
    tern_status status = append_entry(builder, level, &entry, fence, error);
    if (status != TERN_OK) {
        release_node(builder, node);
    }
    return status;
}

tern_status tree_load_node(struct btree *tree, const struct child_ref *child, uint16_t level,
                           struct inner_node **out_node, tern_error *error) {
    struct btree_root *root = NULL;
    tern_status status =
        btree_root_load(tree, (uint32_t)level + 1, child, child->records, 0, &root, error);
    if (status == TERN_OK) {
        node_retain(root->top);
        *out_node = root->top;
        btree_root_release(tree, root);
    }
    return status;
}

/* Replaces the last entry of the level above by its children, in front of those that wait here. */
static tern_status borrow_left(struct tree_builder *builder, uint32_t index, tern_error *error) {
    struct btree *tree = builder->tree;
    struct level *above = &builder->levels[index + 1];
    struct level *level = &builder->levels[index];
    const struct level_entry last = above->entries[above->count - 1];
    struct inner_node *node = last.node;
    tern_status status = TERN_OK;
    if (node == NULL) {
        /* It may be among what waits to be written. */
        status = block_output_finish(&builder->output, error);
        if (status == TERN_OK) {
            status = tree_load_node(tree, &last.child, (uint16_t)(index + 1), &node, error);
        }
        if (status != TERN_OK) {
            return status;
        }
        above->entries[above->count - 1].node = node;
    }
    status = prepare_level(builder, index, error);
    if (status == TERN_OK && level->count + node->count > builder->level_capacity) {
        return TERN_OK;
    }
    for (uint32_t i = 0; status == TERN_OK && i < node->count; i++) {
        struct level_entry entry = {
            .child = {node->refs[i], node->checksums[i], node->records[i], node->bytes[i]}};
        if (node->level > 1) {
            entry.node = atomic_load_explicit(&node->nodes[i], memory_order_acquire);
        } else {
            entry.hint = atomic_load_explicit(&node->hints[i], memory_order_relaxed);
        }
        builder->next_fence.size = 0;
        size_t size = i > 0 ? node_separator_size(node, i - 1) : last.fence_size;
        if (buffer_reserve(&builder->next_fence, size) != TERN_OK) {
            return ERROR_NO_MEMORY(error, "building a tree");
        }
        if (i > 0) {
            (void)node_separator(node, i - 1, builder->next_fence.data);
        } else if (size > 0) {
            memcpy(builder->next_fence.data, entry_fence(above, above->count - 1).data, size);
        }
        status = insert_entry(builder, level, i, &entry,
                              tern_slice_of(builder->next_fence.data, size), error);
        if (status == TERN_OK && entry.node != NULL) {
            node_retain(entry.node);
        }
    }
    if (status == TERN_OK) {
        status = btree_file_release_later(
            tree->file, ref_place(last.child.ref), ref_units(last.child.ref),
            generation_born(builder->generations, node->generation), error);
    }
    if (status == TERN_OK) {
        above->count--;
        above->fences.size = above->count == 0 ? 0 : above->fences.size;
        release_node(builder, node);
    }
    return status;
}

/* ---- the end ---- */

/* Highest level with entries; false when there is none. */
static bool find_top(const struct tree_builder *builder, uint32_t *out_level) {
    for (uint32_t i = INNER_LEVELS_MAX; i > 0; i--) {
        if (builder->levels[i - 1].count > 0) {
            *out_level = i - 1;
            return true;
        }
    }
    return false;
}

/* Fills up a level that would make a small last node from what lies left of it. */
static tern_status fill_from_left(struct tree_builder *builder, uint32_t index, uint32_t top,
                                  tern_error *error) {
    uint32_t from = index + 1;
    while (from < top && builder->levels[from].count == 0) {
        from++;
    }
    for (; from > index; from--) {
        tern_status status = borrow_left(builder, from - 1, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    return TERN_OK;
}

static tern_status make_root(struct tree_builder *builder, uint32_t height,
                             struct btree_root **out_root, tern_error *error) {
    const tern_allocator *allocator = builder->tree->environment->allocator;
    tern_status status = block_output_finish(&builder->output, error);
    if (status != TERN_OK) {
        return status;
    }
    struct level_entry *entry = height > 0 ? &builder->levels[height - 1].entries[0] : NULL;
    if (height > 1 && entry->node == NULL) {
        status = tree_load_node(builder->tree, &entry->child, (uint16_t)(height - 1), &entry->node,
                                error);
        if (status != TERN_OK) {
            return status;
        }
    }
    struct btree_root *root = memory_allocate_zeroed(allocator, sizeof(*root));
    if (root == NULL) {
        return ERROR_NO_MEMORY(error, "a root");
    }
    atomic_init(&root->references, 1);
    atomic_init(&root->leaf_hint, entry != NULL ? entry->hint : 0);
    root->height = height;
    root->generation = builder->generation;
    if (entry != NULL) {
        root->child = entry->child;
        root->records = entry->child.records;
        root->top = entry->node;
        builder->levels[height - 1].count = 0;
        builder->levels[height - 1].fences.size = 0;
    }
    *out_root = root;
    return TERN_OK;
}

tern_status tree_builder_finish(struct tree_builder *builder, bool balanced,
                                struct btree_root **out_root, tern_error *error) {
    tern_status status = leaf_builder_flush(&builder->leaves, balanced, error);
    uint32_t top = 0;
    if (status == TERN_OK && !find_top(builder, &top)) {
        return make_root(builder, 0, out_root, error);
    }
    for (uint32_t i = 0; status == TERN_OK; i++) {
        (void)find_top(builder, &top);
        if (i == top && builder->levels[i].count == 1) {
            return make_root(builder, i + 1, out_root, error);
        }
        if (i < top && level_is_underfull(builder, i)) {
            status = fill_from_left(builder, i, top, error);
            (void)find_top(builder, &top);
            if (status == TERN_OK && i == top && builder->levels[i].count == 1) {
                return make_root(builder, i + 1, out_root, error);
            }
        }
        if (status == TERN_OK) {
            status = flush_level(builder, i, error);
        }
    }
    return status;
}

void tree_builder_keep(struct tree_builder *builder) {
    builder->values.size = 0;
    block_output_keep(&builder->output);
}

void tree_builder_abandon(struct tree_builder *builder) {
    for (uint32_t i = 0; i < INNER_LEVELS_MAX; i++) {
        struct level *level = &builder->levels[i];
        for (uint32_t j = 0; j < level->count; j++) {
            release_node(builder, level->entries[j].node);
        }
        level->count = 0;
        level->fences.size = 0;
    }
    for (size_t at = 0; at < builder->values.size;) {
        size_t size = builder->values.data[at];
        btree_value_discard(builder->tree, tern_slice_of(builder->values.data + at + 1, size));
        at += size + 1;
    }
    builder->values.size = 0;
    leaf_builder_reset(&builder->leaves, 100);
    block_output_abandon(&builder->output);
}
