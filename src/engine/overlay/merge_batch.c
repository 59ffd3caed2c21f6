/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches of the merging cursor. The base hands out runs straight into the caller's array: up to
 * the next key of an overlay, or to the end of its leaf. Where a range is deleted, or if the base
 * cannot step inside of a leaf, it hands out whole leaves that no overlay has a key in; other
 * leaves are taken over into `leaf` and merged from there. Entries of the base live until it goes
 * to another leaf, so a batch that holds some ends there.
 */
#include "engine/overlay/merge_cursor_internal.h"

#define LEAF_ENTRIES 256u

struct batch {
    tern_entry *entries;
    size_t capacity;
    size_t count;
    struct engine_entry last; /* of those */
    bool holds_base;          /* some entries are lent by the base's leaf */
};

static bool comes_alone(const struct engine_cursor *cursor, const struct record *record) {
    return record->kind == RECORD_LARGE && !cursor->keys_only;
}

/* The rest of the base's leaf goes to the caller as it is, if no overlay has to do with it. */
static bool can_hand_out_leaf(const struct engine_cursor *cursor, bool has_overlay_key,
                              tern_slice overlay_key) {
    if (cursor->has_ranges) {
        return false;
    }
    if (!has_overlay_key) {
        return true;
    }
    if (merge_has_leaf(cursor)) {
        return slice_compare(overlay_key, cursor->leaf[cursor->leaf_count - 1].key) > 0;
    }
    tern_slice fence;
    return cursor->base->methods->leaf_fence(cursor->base, &fence) &&
           slice_compare(overlay_key, fence) >= 0;
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

/* False: all of them have to be looked at one by one. */
static bool hand_out_pairs(struct engine_cursor *cursor, struct batch *batch,
                           const tern_slice *end) {
    const struct base_cursor_methods *methods = cursor->base->methods;
    const struct base_wanted wanted = {
        .end = end,
        .now_ms = cursor->moment.time_ms,
        .keys_only = cursor->keys_only,
    };
    if (methods->leaf_pairs == NULL || merge_has_leaf(cursor)) {
        return false;
    }
    size_t added = methods->leaf_pairs(cursor->base, &wanted, batch->entries + batch->count,
                                       batch->capacity - batch->count);
    if (added == 0) {
        return false;
    }
    batch->count += added;
    batch->last.key = batch->entries[batch->count - 1].key;
    batch->holds_base = true;
    methods->record(cursor->base, &batch->last.record);
    return true;
}

/* What `leaf` still has; stands on the last one handed out. */
static tern_status hand_out_loaded(struct engine_cursor *cursor, struct batch *batch,
                                   bool *out_is_full, tern_error *error) {
    size_t last = SIZE_MAX;
    for (size_t at = cursor->leaf_position;
         at < cursor->leaf_count && batch->count < batch->capacity; at++) {
        const struct engine_entry *entry = &cursor->leaf[at];
        if (record_has_expired(&entry->record, cursor->moment.time_ms)) {
            continue;
        }
        bool is_alone = comes_alone(cursor, &entry->record);
        if (!is_alone || batch->count == 0) {
            batch->entries[batch->count++] = (tern_entry){entry->key, entry->record.value};
            batch->last = *entry;
            last = at;
        } else {
            *out_is_full = true;
            cursor->leaf_position = last == SIZE_MAX ? at : last;
        }
        if (is_alone) {
            break;
        }
    }
    if (last != SIZE_MAX) {
        cursor->leaf_position = last;
        *out_is_full = true;
    }
    *out_is_full = *out_is_full || batch->holds_base;
    if (*out_is_full) {
        return TERN_OK;
    }
    merge_forget_leaf(cursor); /* all of it has expired */
    return merge_step_base(cursor, error);
}

static tern_status hand_out_leaf(struct engine_cursor *cursor, struct batch *batch,
                                 bool *out_is_full, tern_error *error) {
    if (hand_out_pairs(cursor, batch, cursor->bounds.has_end ? &cursor->bounds.end : NULL)) {
        *out_is_full = true;
        return TERN_OK;
    }
    tern_status status = merge_has_leaf(cursor) ? TERN_OK : load_leaf(cursor, error);
    /* Not valid: the end of the bounds. */
    return status == TERN_OK && cursor->is_base_valid
               ? hand_out_loaded(cursor, batch, out_is_full, error)
               : status;
}

static tern_status append_entry(struct engine_cursor *cursor, struct batch *batch, tern_slice key,
                                const struct engine_result *result, bool is_in_base,
                                tern_error *error) {
    tern_slice value = result->record.value;
    if (result->source == ENGINE_SOURCE_SCRATCH && value.size > 0) {
        value = arena_copy(&cursor->arena, value);
        if (value.data == NULL) {
            return ERROR_NO_MEMORY(error, "merged values");
        }
    }
    batch->entries[batch->count++] = (tern_entry){key, value};
    batch->last = (struct engine_entry){key, result->record};
    batch->last.record.value = value;
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
    bool is_alone = status == TERN_OK && comes_alone(cursor, &result.record);
    if (is_alone && batch->count > 0) {
        *out_is_full = true;
        return TERN_OK;
    }
    if (status == TERN_OK && result.record.kind != RECORD_NONE) {
        status = append_entry(cursor, batch, key, &result, is_in_base, error);
    }
    *out_is_full = *out_is_full || is_alone;
    if (status == TERN_OK && !is_alone && batch->count < batch->capacity) {
        status = pass_merged(cursor, batch, is_in_base, out_is_full, error);
    }
    return status;
}

/* ---- runs ---- */

static bool can_take_runs(const struct engine_cursor *cursor) {
    return !cursor->has_ranges && !merge_has_leaf(cursor) &&
           cursor->base->methods->step_inside != NULL;
}

/* Goes beyond the base's record just dealt with. False: what is lent would be lost with it, so it
 * stays, and the next batch deals with the key again if it was not handed out. */
static bool pass_base(struct engine_cursor *cursor, const struct batch *batch, tern_status *status,
                      tern_error *error) {
    if (cursor->base->methods->step_inside(cursor->base)) {
        return true;
    }
    if (!batch->holds_base) {
        *status = merge_step_base(cursor, error);
        return true;
    }
    return false;
}

/* What the base has before the overlays' next key: as much of its leaf as is short and whole at
 * once, else a single record. */
static tern_status take_run(struct engine_cursor *cursor, struct batch *batch, tern_slice key,
                            bool *out_is_full, tern_error *error) {
    const struct engine_cursor_bounds *bounds = &cursor->bounds;
    bool ends_before = bounds->has_end && slice_compare(bounds->end, key) < 0;
    tern_status status = TERN_OK;
    if (!hand_out_pairs(cursor, batch, ends_before ? &bounds->end : &key)) {
        struct engine_entry entry = {.key = merge_base_key(cursor)};
        cursor->base->methods->record(cursor->base, &entry.record);
        *out_is_full = merge_is_out_of_bounds(cursor, entry.key);
        if (!*out_is_full && !record_has_expired(&entry.record, cursor->moment.time_ms)) {
            bool is_alone = comes_alone(cursor, &entry.record);
            *out_is_full = is_alone;
            if (!is_alone || batch->count == 0) {
                batch->entries[batch->count++] = (tern_entry){entry.key, entry.record.value};
                batch->last = entry;
                batch->holds_base = true;
            }
        }
    }
    if (!*out_is_full && batch->count < batch->capacity) {
        *out_is_full = !pass_base(cursor, batch, &status, error);
    }
    return status;
}

/* The overlays' next key, with what the base has of it. */
static tern_status take_overlay_key(struct engine_cursor *cursor, struct batch *batch,
                                    tern_slice key, bool is_in_base, bool *out_is_full,
                                    tern_error *error) {
    struct engine_result result;
    if (merge_is_out_of_bounds(cursor, key)) {
        *out_is_full = true;
        return TERN_OK;
    }
    tern_status status = merge_resolve(cursor, key, is_in_base, &result, error);
    bool is_alone = status == TERN_OK && comes_alone(cursor, &result.record);
    *out_is_full = is_alone;
    if (is_alone && batch->count > 0) {
        return TERN_OK;
    }
    if (status == TERN_OK && result.record.kind != RECORD_NONE) {
        status = append_entry(cursor, batch, key, &result, is_in_base, error);
    }
    if (status != TERN_OK || is_alone || batch->count == batch->capacity) {
        return status;
    }
    if (is_in_base && !pass_base(cursor, batch, &status, error)) {
        *out_is_full = true;
        return TERN_OK;
    }
    return status == TERN_OK ? merge_pass_key(cursor, false, error) : status;
}

static tern_status merge_by_run(struct engine_cursor *cursor, struct batch *batch, tern_slice key,
                                bool *out_is_full, tern_error *error) {
    int order = slice_compare(merge_base_key(cursor), key);
    return order < 0 ? take_run(cursor, batch, key, out_is_full, error)
                     : take_overlay_key(cursor, batch, key, order == 0, out_is_full, error);
}

/* ---- filling ---- */

static tern_status fill(struct engine_cursor *cursor, struct batch *batch, tern_error *error) {
    bool is_full = false;
    while (!is_full && batch->count < batch->capacity) {
        merge_count_key(cursor);
        tern_slice key = tern_slice_of(NULL, 0);
        bool has_key = cursor->source_count > 0 && merge_next_overlay_key(cursor, &key);
        if (!has_key && !cursor->is_base_valid) {
            break;
        }
        tern_status status;
        if (cursor->is_base_valid && has_key && can_take_runs(cursor)) {
            status = merge_by_run(cursor, batch, key, &is_full, error);
        } else if (cursor->is_base_valid && can_hand_out_leaf(cursor, has_key, key)) {
            status = hand_out_leaf(cursor, batch, &is_full, error);
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
    bool is_in_base = cursor->is_base_valid &&
                      (cursor->source_count == 0 || slice_equal(merge_base_key(cursor), position));
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

/* The sources stand where the batch begins, if `status` says so; ends the call. */
static tern_status fill_and_leave(struct engine_cursor *cursor, tern_status status,
                                  tern_entry *out_entries, size_t capacity, size_t *out_count,
                                  tern_error *error) {
    struct batch batch = {.entries = out_entries, .capacity = capacity};
    if (status == TERN_OK) {
        status = fill(cursor, &batch, error);
    }
    if (status == TERN_OK && batch.count == 0) {
        status = TERN_NOT_FOUND;
    }
    if (status == TERN_OK) {
        cursor->entry = batch.last;
        cursor->is_standing = true;
        *out_count = batch.count;
    }
    return merge_leave(cursor, status);
}

tern_status merge_cursor_next_batch(struct engine_cursor *cursor, tern_entry *out_entries,
                                    size_t capacity, size_t *out_count, tern_error *error) {
    merge_enter(cursor);
    tern_status status = leave_position(cursor, error);
    return fill_and_leave(cursor, status, out_entries, capacity, out_count, error);
}

tern_status merge_cursor_seek_batch(struct engine_cursor *cursor, tern_slice key,
                                    tern_entry *out_entries, size_t capacity, size_t *out_count,
                                    tern_error *error) {
    merge_enter(cursor);
    tern_status status = merge_seek_key(cursor, key, false, error);
    return fill_and_leave(cursor, status, out_entries, capacity, out_count, error);
}
