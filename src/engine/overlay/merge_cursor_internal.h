/* SPDX-License-Identifier: Apache-2.0 */
/* The merging cursor from inside: merge_cursor.c moves it key by key, merge_batch.c in batches. */
#ifndef TERN_ENGINE_OVERLAY_MERGE_CURSOR_INTERNAL_H
#define TERN_ENGINE_OVERLAY_MERGE_CURSOR_INTERNAL_H

#include "base/arena.h"
#include "base/assert.h"
#include "base/compare.h"
#include "base/error.h"
#include "engine/overlay/merge_cursor.h"

/* A run of deleted keys may be as long as the keyspace; nobody's memory waits for its end. */
#define MERGE_KEYS_PER_EPOCH 512u
/* How often overlays that were moved to files hear of it. */
#define MERGE_KEYS_PER_NOTE 8u

struct merge_source {
    const struct overlay *overlay;
    bool has_boundary;
    bool is_at_key; /* stands on the key being resolved */
    struct overlay_iterator iterator;
};

/* The engine_cursor of every engine over an overlay stack. */
struct engine_cursor {
    const tern_allocator *allocator;
    struct epoch_domain *epoch;
    struct epoch_slot *slot; /* inside a call; NULL without a domain */
    uint32_t keys_in_epoch;
    uint32_t keys_read; /* in all calls */
    const struct overlay_stack *stack;
    struct base_cursor *base; /* NULL: empty */
    struct engine_moment moment;
    struct engine_cursor_bounds bounds;
    bool keys_only;
    tern_status (*read_large)(void *context, const struct record *large, struct buffer *out_value,
                              tern_error *error);
    void *large_context;

    bool is_standing;
    bool is_backward;
    bool is_base_valid;
    bool has_ranges; /* some source has range deletes; checked anew in every call */
    struct engine_entry entry;
    struct engine_scratch scratch;
    struct buffer key;  /* copy of a key while sources move */
    struct arena arena; /* merged values of a batch */

    struct engine_entry *leaf; /* entries of the base's leaf, NULL until needed */
    size_t leaf_count;
    size_t leaf_position; /* == leaf_count: not in use */

    uint32_t source_count;
    struct merge_source sources[]; /* room for every overlay of the stack; behind them the bounds */
};

static inline bool source_is_valid(const struct merge_source *source) {
    return overlay_iterator_is_valid(&source->iterator);
}

static inline bool merge_has_leaf(const struct engine_cursor *cursor) {
    return cursor->leaf_position < cursor->leaf_count;
}

static inline tern_slice merge_base_key(const struct engine_cursor *cursor) {
    return merge_has_leaf(cursor) ? cursor->leaf[cursor->leaf_position].key
                                  : cursor->base->methods->key(cursor->base);
}

static inline void merge_forget_leaf(struct engine_cursor *cursor) {
    cursor->leaf_count = cursor->leaf_position = 0;
}

/* Around every call: enters the epoch; leaves it and stands nowhere unless status is OK. */
void merge_enter(struct engine_cursor *cursor);
tern_status merge_leave(struct engine_cursor *cursor, tern_status status);
/* Before each key: leaves the epoch for a moment after MERGE_KEYS_PER_EPOCH of them. */
void merge_enter_again(struct engine_cursor *cursor);
static inline void merge_count_key(struct engine_cursor *cursor) {
    if (++cursor->keys_read % MERGE_KEYS_PER_NOTE == 0) {
        overlay_stack_note_reads(cursor->stack, MERGE_KEYS_PER_NOTE);
    }
    if (++cursor->keys_in_epoch > MERGE_KEYS_PER_EPOCH) {
        merge_enter_again(cursor);
    }
}

/* Moving sources, in the cursor's direction. The end of the base is no failure. */
void merge_step_source(struct engine_cursor *cursor, struct merge_source *source);
tern_status merge_step_base(struct engine_cursor *cursor, tern_error *error);
/* All sources to a key, to the edge of the bounds, or beyond the position. */
tern_status merge_seek_key(struct engine_cursor *cursor, tern_slice key, bool backward,
                           tern_error *error);
tern_status merge_seek_edge(struct engine_cursor *cursor, bool backward, tern_error *error);
tern_status merge_seek_beyond_position(struct engine_cursor *cursor, bool backward,
                                       tern_error *error);

/*
 * The next key in the direction among overlays, marking who stands on it; false when there is
 * none.
 */
bool merge_next_overlay_key(struct engine_cursor *cursor, tern_slice *out_key);
void merge_clear_marks(struct engine_cursor *cursor);
/* Which of the base's key (< 0) and the overlays' (> 0) comes first; 0 when they are equal. */
int merge_compare_sources(const struct engine_cursor *cursor, bool has_overlay_key,
                          tern_slice overlay_key);
bool merge_is_out_of_bounds(const struct engine_cursor *cursor, tern_slice key);

/* The range delete over a key of the base that reaches furthest; moving the base over it. */
bool merge_find_cover(const struct engine_cursor *cursor, tern_slice key,
                      struct overlay_range *out_range);
tern_status merge_skip_range(struct engine_cursor *cursor, const struct overlay_range *range,
                             tern_error *error);

/* What the moment sees of the key, where the marked sources and (is_in_base) the base stand. */
tern_status merge_resolve(struct engine_cursor *cursor, tern_slice key, bool is_in_base,
                          struct engine_result *out_result, tern_error *error);
/* Moves those who stand on the key just dealt with; the base too when `is_in_base`. */
tern_status merge_pass_key(struct engine_cursor *cursor, bool is_in_base, tern_error *error);

#endif
