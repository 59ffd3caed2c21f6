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
#include "base/assert.h"
#include "base/error.h"
#include "engine/btree/btree_read_internal.h"
#include "engine/btree/read_ahead.h"

#define LINE_BYTES 64u

struct path_step {
    struct inner_node *node;
    uint32_t index;
};

struct btree_cursor {
    struct base_cursor head;
    struct btree *tree;
    struct btree_root *root;
    uint32_t depth;
    bool pins; /* has leave to pin */
    bool is_placed;
    struct cache_frame *held;
    const uint8_t *payload;
    uint32_t index, count;
    uint32_t prefix_left_out; /* bytes of the prefix that records do not hold */
    uint32_t first_offset;    /* of the first record in the payload */
    struct buffer key_area;
    struct buffer fence;
    const struct cache_frame *next_frame; /* where the next leaf was last seen, or NULL */
    size_t next_done;                     /* bytes of it that were asked for */
    bool is_prefetched;                   /* the held leaf was, or is being, asked for */
    struct read_ahead read_ahead;
    struct path_step path[INNER_LEVELS_MAX]; /* the first `depth` */
};

static struct btree_cursor *cursor_of(struct base_cursor *cursor) {
    return (struct btree_cursor *)cursor;
}

/* Key areas and fences are memory of the cursor, also where its position is constant. */
static struct btree_cursor *cursor_of_const(const struct base_cursor *cursor) {
    return (struct btree_cursor *)(uintptr_t)cursor;
}

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

/* Lowest step of the path from which there is a way to the right; depth when there is none. */
static uint32_t step_with_right_sibling(const struct btree_cursor *cursor) {
    for (uint32_t i = cursor->depth; i-- > 0;) {
        if (cursor->path[i].index + 1 < cursor->path[i].node->count) {
            return i;
        }
    }
    return cursor->depth;
}

/* Room for every key of the leaf and for its fence, so that handing them out cannot fail. */
static tern_status reserve_keys(struct btree_cursor *cursor, const uint8_t *payload,
                                tern_error *error) {
    uint32_t left_out = leaf_prefix_size(payload) - leaf_prefix_in_records(payload);
    size_t keys = 0;
    if (left_out > 0) {
        keys = (size_t)left_out * leaf_count(payload) + get_u16(payload + 6);
    }
    uint32_t step = step_with_right_sibling(cursor);
    size_t fence = step == cursor->depth
                       ? 0
                       : node_separator_size(cursor->path[step].node, cursor->path[step].index);
    if ((keys > cursor->key_area.capacity && buffer_reserve(&cursor->key_area, keys) != TERN_OK) ||
        (fence > cursor->fence.capacity && buffer_reserve(&cursor->fence, fence) != TERN_OK)) {
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
    cursor->is_prefetched = frame == cursor->next_frame && cursor->next_done > 0;
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
    struct btree_cursor *cursor = cursor_of(base);
    if (cursor->root->height == 0) {
        return TERN_NOT_FOUND;
    }
    return key == NULL ? seek_edge(cursor, backward, error)
                       : seek_key(cursor, *key, backward, error);
}

static tern_status next(struct base_cursor *base, tern_error *error) {
    struct btree_cursor *cursor = cursor_of(base);
    ASSERT_DEBUG(cursor->is_placed);
    if (cursor->index + 1 < cursor->count) {
        cursor->index++;
        return TERN_OK;
    }
    return move_leaf(cursor, false, error);
}

static tern_status previous(struct base_cursor *base, tern_error *error) {
    struct btree_cursor *cursor = cursor_of(base);
    ASSERT_DEBUG(cursor->is_placed);
    if (cursor->index > 0) {
        cursor->index--;
        return TERN_OK;
    }
    return move_leaf(cursor, true, error);
}

/* ---- handing out ---- */

/* Puts a key together in its place of the key area. `position`: of the record in the payload. */
static inline tern_slice materialise(const struct btree_cursor *cursor,
                                     const struct leaf_cell *cell, uint32_t index,
                                     size_t position) {
    size_t prefix_size = cursor->prefix_left_out;
    uint8_t *target =
        cursor->key_area.data + (position - cursor->first_offset) + (size_t)index * prefix_size;
    const uint8_t *prefix = leaf_prefix_bytes(cursor->payload);
    memcpy(target, prefix, prefix_size);
    memcpy(target + prefix_size, cell->key, cell->key_size);
    return tern_slice_of(target, prefix_size + cell->key_size);
}

static tern_slice key(const struct base_cursor *base) {
    struct btree_cursor *cursor = cursor_of_const(base);
    ASSERT_DEBUG(cursor->is_placed);
    const uint8_t *start = leaf_record_start(cursor->payload, cursor->index);
    struct leaf_cell cell;
    (void)leaf_cell_parse(start, &cell);
    if (cursor->prefix_left_out == 0) {
        return tern_slice_of(cell.key, cell.key_size);
    }
    return materialise(cursor, &cell, cursor->index, (size_t)(start - cursor->payload));
}

static void record(const struct base_cursor *base, struct record *out_record) {
    const struct btree_cursor *cursor = cursor_of_const(base);
    ASSERT_DEBUG(cursor->is_placed);
    leaf_record(cursor->payload, cursor->index, out_record);
}

/* Index behind the last record below `end`. */
static uint32_t batch_end(const struct btree_cursor *cursor, const tern_slice *end) {
    if (end == NULL) {
        return cursor->count;
    }
    bool equal = false;
    return leaf_lower_bound(cursor->payload, *end, &equal);
}

/* Lines asked for before the first record of a batch is read, then kept so far ahead of it. */
#define LINES_AHEAD 24u
/* Handed out between two looks at what to ask for. */
#define RECORDS_PER_LOOK 8u

/* A stretch of memory that is asked for little by little. */
struct prefetch_run {
    const uint8_t *position;
    const uint8_t *end;
};

static inline void prefetch_to(struct prefetch_run *run, const uint8_t *target) {
    const uint8_t *end = target < run->end ? target : run->end;
    for (; run->position < end; run->position += LINE_BYTES) {
        __builtin_prefetch(run->position);
    }
}

/*
 * What a batch will read of the leaf at hand and of the next one, in the order in which it will:
 * of the leaf only what is not here already, of the next one as much as is still wanted. The leaf
 * is taken to be filled evenly.
 */
static struct prefetch_run run_here(struct btree_cursor *cursor, const uint8_t *start,
                                    size_t record_bytes, size_t count) {
    const uint8_t *end = start + record_bytes * count;
    const uint8_t *last =
        cursor->payload - BLOCK_HEADER_BYTES + cursor->tree->config.options.page_bytes;
    struct prefetch_run run = {start, cursor->is_prefetched ? start : end < last ? end : last};
    cursor->is_prefetched = true;
    return run;
}

static struct prefetch_run run_ahead(struct btree_cursor *cursor, size_t record_bytes,
                                     size_t wanted) {
    size_t page_bytes = cursor->tree->config.options.page_bytes;
    const uint8_t *frame = (const uint8_t *)cursor->next_frame;
    if (frame == NULL || wanted == 0) {
        return (struct prefetch_run){NULL, NULL};
    }
    size_t bytes =
        wanted < cursor->count ? LEAF_LINES_FIRST * LINE_BYTES + wanted * record_bytes : page_bytes;
    struct prefetch_run run = {frame + cursor->next_done,
                               frame + (bytes < page_bytes ? bytes : page_bytes)};
    return run;
}

/* A batch on its way through the leaf where the cursor stands. */
struct leaf_walk {
    uint32_t count; /* records from where it stands on, within the bounds and the capacity */
    const uint8_t *position;
    struct prefetch_run here;
    struct prefetch_run next;
    size_t pace; /* bytes of the next leaf that are asked for with each record */
    const uint8_t *paced;
};

/* False: nothing within the bounds. */
static inline bool walk_begin(struct btree_cursor *cursor, const tern_slice *end, size_t capacity,
                              struct leaf_walk *out_walk) {
    ASSERT_DEBUG(cursor->is_placed);
    uint32_t limit = batch_end(cursor, end);
    if (limit <= cursor->index) {
        return false;
    }
    uint32_t count = limit - cursor->index;
    count = count < capacity ? count : (uint32_t)capacity;
    size_t record_bytes = cursor->tree->config.options.page_bytes / cursor->count + 1;
    struct leaf_walk walk = {
        .count = count,
        .position = leaf_record_start(cursor->payload, cursor->index),
    };
    walk.here = run_here(cursor, walk.position, record_bytes, count);
    walk.next = run_ahead(cursor, record_bytes, capacity - count);
    /* The batch before may have asked for more of it than is wanted now. */
    walk.pace = walk.next.position < walk.next.end
                    ? (size_t)(walk.next.end - walk.next.position) / count + 1
                    : 0;
    walk.paced = walk.next.position;
    *out_walk = walk;
    return true;
}

/* Asks for what is read after the next `records`, which are about to be. */
static inline void walk_ask_ahead(struct leaf_walk *walk, uint32_t records) {
    prefetch_to(&walk->here, walk->position + (size_t)LINES_AHEAD * LINE_BYTES);
    walk->paced += walk->pace * records;
    prefetch_to(&walk->next, walk->paced);
}

/* Reads the record `i` steps from where the cursor stands, after all before it; returns its key. */
static inline tern_slice walk_step(const struct btree_cursor *cursor, struct leaf_walk *walk,
                                   uint32_t i, struct leaf_cell *out_cell) {
    const uint8_t *start = walk->position;
    walk->position = leaf_cell_parse(start, out_cell);
    if (cursor->prefix_left_out == 0) {
        return tern_slice_of(out_cell->key, out_cell->key_size);
    }
    return materialise(cursor, out_cell, cursor->index + i, (size_t)(start - cursor->payload));
}

static inline void walk_end(struct btree_cursor *cursor, const struct leaf_walk *walk) {
    if (walk->next.position != NULL) {
        cursor->next_done = (size_t)(walk->next.position - (const uint8_t *)cursor->next_frame);
    }
}

static size_t leaf_batch(struct base_cursor *base, const tern_slice *end,
                         struct engine_entry *out_entries, size_t capacity) {
    struct btree_cursor *cursor = cursor_of(base);
    struct leaf_walk walk;
    if (!walk_begin(cursor, end, capacity, &walk)) {
        return 0;
    }
    for (uint32_t i = 0; i < walk.count; i++) {
        struct leaf_cell cell;
        walk_ask_ahead(&walk, 1);
        out_entries[i].key = walk_step(cursor, &walk, i, &cell);
        leaf_cell_record(&cell, &out_entries[i].record);
    }
    walk_end(cursor, &walk);
    cursor->index += walk.count - 1;
    return walk.count;
}

/* Entries of the records from position `i` on, below `stop`, as long as they are short and whole;
 * returns how many. */
static inline uint32_t take_short(struct leaf_walk *walk, uint32_t i, uint32_t stop,
                                  tern_entry *out_entries) {
    const uint8_t *position = walk->position;
    uint32_t count = 0;
    for (; i + count < stop && leaf_cell_is_short(position); count++) {
        const uint8_t *key = position + LEAF_SHORT_HEADER_BYTES;
        size_t key_size = position[1];
        size_t value_size = position[2];
        out_entries[count] = (tern_entry){{key, key_size}, {key + key_size, value_size}};
        position = key + key_size + value_size;
    }
    walk->position = position;
    return count;
}

/* One record of any kind. False: it ends the batch. */
static bool take_any(const struct btree_cursor *cursor, struct leaf_walk *walk, uint32_t i,
                     const struct base_wanted *wanted, tern_entry *out_entry, bool *out_is_taken) {
    struct leaf_cell cell;
    tern_slice key = walk_step(cursor, walk, i, &cell);
    *out_is_taken = cell.expires_ms == 0 || cell.expires_ms > wanted->now_ms;
    if (*out_is_taken) {
        if ((cell.flags & RECORD_FLAG_LARGE) != 0 && !wanted->keys_only) {
            return false;
        }
        *out_entry = (tern_entry){key, tern_slice_of(cell.value, cell.value_size)};
    }
    return true;
}

static size_t leaf_pairs(struct base_cursor *base, const struct base_wanted *wanted,
                         tern_entry *out_entries, size_t capacity) {
    struct btree_cursor *cursor = cursor_of(base);
    struct leaf_walk walk;
    if (!walk_begin(cursor, wanted->end, capacity, &walk)) {
        return 0;
    }
    size_t count = 0;
    uint32_t i = 0;
    uint32_t last = 0;
    bool goes_on = true;
    while (goes_on && i < walk.count) {
        uint32_t stop = walk.count - i < RECORDS_PER_LOOK ? walk.count : i + RECORDS_PER_LOOK;
        walk_ask_ahead(&walk, stop - i);
        while (goes_on && i < stop) {
            uint32_t taken =
                cursor->prefix_left_out == 0 ? take_short(&walk, i, stop, &out_entries[count]) : 0;
            i += taken;
            count += taken;
            last = taken > 0 ? i - 1 : last;
            if (i < stop) {
                bool is_taken;
                goes_on = take_any(cursor, &walk, i, wanted, &out_entries[count], &is_taken);
                if (goes_on && is_taken) {
                    count++;
                    last = i;
                }
                i++;
            }
        }
    }
    walk_end(cursor, &walk);
    cursor->index += last;
    return count;
}

static bool leaf_fence(const struct base_cursor *base, tern_slice *out_fence) {
    struct btree_cursor *cursor = cursor_of_const(base);
    uint32_t i = step_with_right_sibling(cursor);
    if (i == cursor->depth) {
        return false;
    }
    const struct path_step *step = &cursor->path[i];
    size_t size = node_separator(step->node, step->index, cursor->fence.data);
    *out_fence = tern_slice_of(cursor->fence.data, size);
    return true;
}

/* ---- opening and closing ---- */

static void close_cursor(struct base_cursor *base) {
    struct btree_cursor *cursor = cursor_of(base);
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
    .leaf_batch = leaf_batch,
    .leaf_pairs = leaf_pairs,
    .leaf_fence = leaf_fence,
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
