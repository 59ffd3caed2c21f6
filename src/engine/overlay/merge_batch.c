/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches of the merging cursor. The base is taken a leaf at a time: straight into the caller's
 * array where no overlay has a key before the leaf's fence, else into `leaf`, from where it is
 * merged. Entries of the base live until it goes to another leaf, so a batch that holds some ends
 * there.
 */
#include "engine/overlay/merge_cursor_internal.h"

#define LEAF_ENTRIES 256u

struct batch {
    struct engine_entry *entries;
    size_t capacity;
    size_t count;
    bool holds_base; /* some entries are lent by the base's leaf */
};

/* Removes expired entries from the end of the batch, where `added` have come. */
static void drop_expired(const struct engine_cursor *cursor, struct batch *batch, size_t added) {
    struct engine_entry *entries = batch->entries + batch->count;
    size_t kept = 0;
    for (size_t i = 0; i < added; i++) {
        if (__builtin_expect(record_has_expired(&entries[i].record, cursor->moment.time_ms), 0)) {
            continue;
        }
        if (kept != i) {
            entries[kept] = entries[i];
        }
        kept++;
    }
    batch->count += kept;
    batch->holds_base = batch->holds_base || kept > 0;
}

/* The rest of the base's leaf goes to the caller as it is, if no overlay has to do with it. */
static bool can_hand_out_leaf(const struct engine_cursor *cursor, bool has_overlay_key,
                              tern_slice overlay_key) {
    if (cursor->has_ranges || merge_has_leaf(cursor)) {
        return false;
    }
    tern_slice fence;
    return !has_overlay_key || (cursor->base->methods->leaf_fence(cursor->base, &fence) &&
                                slice_compare(overlay_key, fence) >= 0);
}

static tern_status hand_out_leaf(struct engine_cursor *cursor, struct batch *batch,
                                 tern_error *error) {
    const tern_slice *end = cursor->bounds.has_end ? &cursor->bounds.end : NULL;
    size_t added = cursor->base->methods->leaf_batch(
        cursor->base, end, batch->entries + batch->count, batch->capacity - batch->count);
    if (added == 0) {
        cursor->is_base_valid = false; /* the end of the bounds */
        return TERN_OK;
    }
    drop_expired(cursor, batch, added);
    if (batch->holds_base) {
        return TERN_OK; /* it stands on the last of them */
    }
    return merge_step_base(cursor, error);
}

/* Takes the rest of the base's leaf over into `leaf`. */
static tern_status load_leaf(struct engine_cursor *cursor, tern_error *error) {
    if (cursor->leaf == NULL) {
        cursor->leaf =
            memory_allocate(cursor->allocator, LEAF_ENTRIES * sizeof(struct engine_entry));
        if (cursor->leaf == NULL) {
            return ERROR_NO_MEMORY(error, "a cursor");
        }
    }
    cursor->leaf_position = 0;
    cursor->leaf_count = cursor->base->methods->leaf_batch(
        cursor->base, cursor->bounds.has_end ? &cursor->bounds.end : NULL, cursor->leaf,
        LEAF_ENTRIES);
    cursor->is_base_valid = cursor->leaf_count > 0;
    return TERN_OK;
}

static tern_status append_entry(struct engine_cursor *cursor, struct batch *batch, tern_slice key,
                                const struct engine_result *result, bool is_in_base,
                                tern_error *error) {
    struct engine_entry *entry = &batch->entries[batch->count];
    entry->key = key;
    entry->record = result->record;
    if (result->source == ENGINE_SOURCE_SCRATCH && result->record.value.size > 0) {
        entry->record.value = arena_copy(&cursor->arena, result->record.value);
        if (entry->record.value.data == NULL) {
            return ERROR_NO_MEMORY(error, "merged values");
        }
    }
    batch->count++;
    batch->holds_base = batch->holds_base || is_in_base;
    return TERN_OK;
}

/*
 * Passes the key just dealt with. At the end of `leaf` the base moves only when nothing of it is
 * lent; else all stay, and the next batch deals with the key again.
 */
static tern_status pass_merged(struct engine_cursor *cursor, const struct batch *batch,
                               bool is_in_base, bool *out_is_full, tern_error *error) {
    bool is_leaf_end = is_in_base && cursor->leaf_position + 1 == cursor->leaf_count;
    if (is_leaf_end && batch->holds_base) {
        *out_is_full = true;
        return TERN_OK;
    }
    tern_status status = merge_pass_key(cursor, false, error);
    if (!is_in_base) {
        return status;
    }
    if (!is_leaf_end) {
        cursor->leaf_position++;
        return status;
    }
    merge_forget_leaf(cursor);
    return merge_step_base(cursor, error);
}

/* Merges one key into the batch. */
static tern_status merge_one(struct engine_cursor *cursor, struct batch *batch, bool has_key,
                             tern_slice key, bool *out_is_full, tern_error *error) {
    tern_status status = TERN_OK;
    if (cursor->is_base_valid && !merge_has_leaf(cursor)) {
        status = load_leaf(cursor, error);
        if (status != TERN_OK || (!cursor->is_base_valid && !has_key)) {
            *out_is_full = true;
            return status;
        }
    }
    int order = merge_compare_sources(cursor, has_key, key);
    bool is_in_base = order <= 0;
    struct overlay_range range;
    if (order < 0) {
        merge_clear_marks(cursor);
        key = merge_base_key(cursor);
        if (cursor->has_ranges && merge_find_cover(cursor, key, &range)) {
            if (batch->holds_base) {
                *out_is_full = true;
                return TERN_OK;
            }
            return merge_skip_range(cursor, &range, error);
        }
    }
    if (merge_is_out_of_bounds(cursor, key)) {
        *out_is_full = true;
        return TERN_OK;
    }
    struct engine_result result;
    status = merge_resolve(cursor, key, is_in_base, &result, error);
    if (status == TERN_OK && result.record.kind != RECORD_NONE) {
        status = append_entry(cursor, batch, key, &result, is_in_base, error);
    }
    if (status == TERN_OK && batch->count < batch->capacity) {
        status = pass_merged(cursor, batch, is_in_base, out_is_full, error);
    }
    return status;
}

static tern_status fill(struct engine_cursor *cursor, struct batch *batch, tern_error *error) {
    bool is_full = false;
    while (!is_full && batch->count < batch->capacity) {
        tern_slice key = tern_slice_of(NULL, 0);
        bool has_key = cursor->source_count > 0 && merge_next_overlay_key(cursor, &key);
        if (!has_key && !cursor->is_base_valid) {
            break;
        }
        tern_status status;
        if (cursor->is_base_valid && can_hand_out_leaf(cursor, has_key, key)) {
            status = hand_out_leaf(cursor, batch, error);
            is_full = batch->holds_base;
        } else {
            status = merge_one(cursor, batch, has_key, key, &is_full, error);
        }
        if (status != TERN_OK) {
            return status;
        }
    }
    return TERN_OK;
}

/* Moves the sources that stand on the position beyond it, before a batch. */
static tern_status leave_position(struct engine_cursor *cursor, tern_error *error) {
    if (!cursor->is_standing) {
        return merge_seek_edge(cursor, false, error);
    }
    if (cursor->is_backward) {
        return merge_seek_beyond_position(cursor, false, error);
    }
    tern_slice position = cursor->entry.key;
    bool is_in_base = cursor->is_base_valid && slice_equal(merge_base_key(cursor), position);
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        struct merge_source *source = &cursor->sources[i];
        if (source_is_valid(source) &&
            slice_equal(overlay_iterator_key(&source->iterator), position)) {
            merge_step_source(cursor, source);
        }
    }
    if (!is_in_base) {
        return TERN_OK;
    }
    if (cursor->leaf_position + 1 < cursor->leaf_count) {
        cursor->leaf_position++;
        return TERN_OK;
    }
    merge_forget_leaf(cursor);
    return merge_step_base(cursor, error);
}

tern_status merge_cursor_next_batch(struct engine_cursor *cursor, struct engine_entry *out_entries,
                                    size_t capacity, size_t *out_count, tern_error *error) {
    struct epoch_slot *slot = merge_enter(cursor);
    struct batch batch = {.entries = out_entries, .capacity = capacity};
    tern_status status = leave_position(cursor, error);
    if (status == TERN_OK) {
        status = fill(cursor, &batch, error);
    }
    if (status == TERN_OK && batch.count == 0) {
        status = TERN_NOT_FOUND;
    }
    if (status == TERN_OK) {
        cursor->entry = out_entries[batch.count - 1];
        cursor->is_standing = true;
        *out_count = batch.count;
    }
    return merge_leave(cursor, slot, status);
}
