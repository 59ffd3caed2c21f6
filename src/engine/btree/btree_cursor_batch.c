/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many records of the leaf where a cursor stands, while what comes next is asked for: the lines of
 * this leaf some way ahead, and, paced so that it is through with this one, those of the next.
 */
#include "engine/btree/btree_cursor_internal.h"

/* Index behind the last record below `end`. */
static uint32_t batch_end(const struct btree_cursor *cursor, const tern_slice *end) {
    if (end == NULL) {
        return cursor->count;
    }
    const uint8_t *payload = cursor->payload;
    uint32_t prefix_size = leaf_prefix_size(payload);
    int order = prefix_compare(leaf_prefix_bytes(payload), prefix_size, *end);
    if (order != 0) {
        return order < 0 ? 0 : cursor->count;
    }
    /* Mostly all of the leaf lies below, and the last head tells. */
    if (leaf_head(payload, cursor->count - 1) < head_of(slice_after(*end, prefix_size))) {
        return cursor->count;
    }
    bool equal = false;
    return leaf_lower_bound(payload, *end, &equal);
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

/* Up to `target` and, so that the loop costs little, up to three lines beyond. */
static inline void prefetch_to(struct prefetch_run *run, const uint8_t *target) {
    const uint8_t *end = target < run->end ? target : run->end;
    const uint8_t *position = run->position;
    for (; position < end; position += (size_t)4 * BTREE_LINE_BYTES) {
        __builtin_prefetch(position);
        __builtin_prefetch(position + BTREE_LINE_BYTES);
        __builtin_prefetch(position + (size_t)2 * BTREE_LINE_BYTES);
        __builtin_prefetch(position + (size_t)3 * BTREE_LINE_BYTES);
    }
    run->position = position;
}

/*
 * What a batch will read of the leaf at hand and of the next one, in the order in which it will:
 * of the leaf only what is not here already, of the next one as much as is still wanted. The leaf
 * is taken to be filled evenly.
 */
static struct prefetch_run run_here(const struct btree_cursor *cursor, const uint8_t *start,
                                    size_t record_bytes, size_t count) {
    const uint8_t *end = start + record_bytes * count;
    const uint8_t *last =
        cursor->payload - BLOCK_HEADER_BYTES + cursor->tree->config.options.page_bytes;
    const uint8_t *begin = cursor->fetched > start ? cursor->fetched : start;
    return (struct prefetch_run){begin, end < last ? end : last};
}

static struct prefetch_run run_ahead(struct btree_cursor *cursor, size_t record_bytes,
                                     size_t wanted) {
    size_t page_bytes = cursor->tree->config.options.page_bytes;
    const uint8_t *frame = (const uint8_t *)cursor->next_frame;
    if (frame == NULL || wanted == 0) {
        return (struct prefetch_run){NULL, NULL};
    }
    size_t bytes = wanted < cursor->count
                       ? LEAF_LINES_FIRST * BTREE_LINE_BYTES + wanted * record_bytes
                       : page_bytes;
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
    /* Behind a limit that lies within the leaf more may be asked for: by the next walk. */
    uint32_t reach = cursor->count - cursor->index;
    reach = reach < capacity ? reach : (uint32_t)capacity;
    size_t record_bytes = cursor->tree->config.options.page_bytes / cursor->count + 1;
    struct leaf_walk walk = {
        .count = count,
        .position = leaf_record_start(cursor->payload, cursor->index),
    };
    walk.here = run_here(cursor, walk.position, record_bytes, reach);
    walk.next = run_ahead(cursor, record_bytes, capacity - reach);
    /* The batch before may have asked for more of it than is wanted now. */
    walk.pace = walk.next.position < walk.next.end
                    ? (size_t)(walk.next.end - walk.next.position) / reach + 1
                    : 0;
    walk.paced = walk.next.position;
    *out_walk = walk;
    return true;
}

/* Asks for what is read after the next `records`, which are about to be. */
static inline void walk_ask_ahead(struct leaf_walk *walk, uint32_t records) {
    prefetch_to(&walk->here, walk->position + (size_t)LINES_AHEAD * BTREE_LINE_BYTES);
    if (walk->pace > 0) {
        walk->paced += walk->pace * records;
        prefetch_to(&walk->next, walk->paced);
    }
}

/* Reads the record `i` steps from where the cursor stands, after all before it; returns its key. */
static inline tern_slice walk_step(const struct btree_cursor *cursor, struct leaf_walk *walk,
                                   uint32_t i, struct leaf_cell *out_cell) {
    const uint8_t *start = walk->position;
    walk->position = leaf_cell_parse(start, out_cell);
    if (cursor->prefix_left_out == 0) {
        return tern_slice_of(out_cell->key, out_cell->key_size);
    }
    return btree_cursor_materialise(cursor, out_cell, cursor->index + i,
                                    (size_t)(start - cursor->payload));
}

static inline void walk_end(struct btree_cursor *cursor, const struct leaf_walk *walk) {
    cursor->fetched = walk->here.position;
    if (walk->next.position != NULL) {
        cursor->next_done = (size_t)(walk->next.position - (const uint8_t *)cursor->next_frame);
    }
}

size_t btree_cursor_leaf_batch(struct base_cursor *base, const tern_slice *end,
                               struct engine_entry *out_entries, size_t capacity) {
    struct btree_cursor *cursor = btree_cursor_of(base);
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
    tern_entry *entry = out_entries;
    const tern_entry *end = out_entries + (stop - i);
    for (; entry < end; entry++) {
        uint32_t header = leaf_cell_short_header(position);
        if (!leaf_cell_is_short(header)) {
            break;
        }
        const uint8_t *key = position + LEAF_SHORT_HEADER_BYTES;
        size_t key_size = leaf_cell_short_key_size(header);
        size_t value_size = leaf_cell_short_value_size(header);
        *entry = (tern_entry){{key, key_size}, {key + key_size, value_size}};
        position = key + key_size + value_size;
    }
    walk->position = position;
    return (uint32_t)(entry - out_entries);
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

size_t btree_cursor_leaf_pairs(struct base_cursor *base, const struct base_wanted *wanted,
                               tern_entry *out_entries, size_t capacity) {
    struct btree_cursor *cursor = btree_cursor_of(base);
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
