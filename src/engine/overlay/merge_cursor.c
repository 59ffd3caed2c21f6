/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merging cursor. Sources are the overlays that had anything at the moment, newest first, and
 * the base; all stand at their first key from the position on, in the direction of travel:
 *
 *   overlay 0   . . d . f        The position is the key handed out last; sources that stand on it
 *   overlay 1   . . . e .        move only when the cursor does, so what they lend stays good. Keys
 *   base        a b . e . g      of several sources that are equal are one entry.
 *
 * Invariants
 *  1. `is_standing`: entry.key is the position, every source is at the first key >= (backward: <=)
 *     the position, but for the base while `leaf` holds entries: then leaf[leaf_position] is where
 *     the base counts as standing.
 *  2. Keys below the boundary are never taken from the oldest overlay.
 *  3. Outside of calls no epoch is held: entries and their keys live as long as the overlays, and
 *     versions that a registered snapshot selects are not pruned. So the moment must be that of a
 *     registered snapshot if entries are used after the call. For the same reason a call that
 *     passes many keys that are not there may leave the epoch and enter it again between two.
 */
#include "engine/overlay/merge_cursor_internal.h"

/* ---- opening ---- */

static size_t bound_bytes(bool has_bound, const tern_slice *bound) {
    return has_bound ? bound->size : 0;
}

/* Puts a copy of the bound at `place`; returns the place behind it. */
static uint8_t *copy_bound(bool has_bound, tern_slice *bound, uint8_t *place) {
    size_t size = bound_bytes(has_bound, bound);
    if (size > 0) {
        memcpy(place, bound->data, size);
    }
    *bound = tern_slice_of(size > 0 ? place : NULL, size);
    return place + size;
}

/* What is empty at the moment stays empty for it, whatever is applied later. */
static void add_source(struct engine_cursor *cursor, const struct overlay *overlay,
                       bool is_oldest) {
    seq_no first = overlay_first_seq(overlay);
    if (first == SEQ_NONE || first > cursor->moment.seq) {
        return;
    }
    struct merge_source *source = &cursor->sources[cursor->source_count++];
    source->overlay = overlay;
    source->has_boundary = is_oldest && cursor->stack->has_boundary;
    overlay_iterator_init(&source->iterator, overlay);
}

static void add_sources(struct engine_cursor *cursor) {
    const struct overlay_stack *stack = cursor->stack;
    cursor->source_count = 0;
    if (stack->active != NULL) {
        add_source(cursor, stack->active->overlay, false);
    }
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        add_source(cursor, stack->frozen[i]->overlay, i + 1 == stack->frozen_count);
    }
}

tern_status merge_cursor_open(const struct merge_cursor_options *options,
                              struct engine_cursor **out_cursor, tern_error *error) {
    const struct engine_cursor_bounds *bounds = &options->bounds;
    size_t size = sizeof(struct engine_cursor) +
                  (options->stack->frozen_count + 1) * sizeof(struct merge_source);
    size_t bounds_size =
        bound_bytes(bounds->has_begin, &bounds->begin) + bound_bytes(bounds->has_end, &bounds->end);
    struct engine_cursor *cursor = memory_allocate(options->allocator, size + bounds_size);
    if (cursor == NULL) {
        if (options->base != NULL) {
            options->base->methods->close(options->base);
        }
        return ERROR_NO_MEMORY(error, "a cursor");
    }
    memset(cursor, 0, sizeof(*cursor));
    cursor->allocator = options->allocator;
    cursor->epoch = options->epoch;
    cursor->stack = options->stack;
    cursor->base = options->base;
    cursor->moment = options->moment;
    cursor->bounds = options->bounds;
    cursor->keys_only = options->keys_only;
    cursor->read_large = options->read_large;
    cursor->large_context = options->large_context;
    engine_scratch_init(&cursor->scratch, options->allocator);
    buffer_init(&cursor->key, options->allocator);
    arena_init(&cursor->arena, options->allocator, 4096);
    uint8_t *place = (uint8_t *)cursor + size;
    place = copy_bound(cursor->bounds.has_begin, &cursor->bounds.begin, place);
    (void)copy_bound(cursor->bounds.has_end, &cursor->bounds.end, place);
    add_sources(cursor);
    *out_cursor = cursor;
    return TERN_OK;
}

void merge_cursor_renew(struct engine_cursor *cursor, const struct engine_moment *moment) {
    cursor->moment = *moment;
    cursor->is_standing = false;
    cursor->is_base_valid = false;
    merge_forget_leaf(cursor);
    add_sources(cursor);
    if (cursor->base != NULL && cursor->base->methods->renew != NULL) {
        cursor->base->methods->renew(cursor->base, moment->time_ms);
    }
}

void merge_cursor_close(struct engine_cursor *cursor) {
    if (cursor == NULL) {
        return;
    }
    if (cursor->base != NULL) {
        cursor->base->methods->close(cursor->base);
    }
    memory_release(cursor->allocator, cursor->leaf);
    arena_release(&cursor->arena);
    buffer_release(&cursor->key);
    engine_scratch_release(&cursor->scratch);
    memory_release(cursor->allocator, cursor);
}

static void enter_epoch(struct engine_cursor *cursor) {
    cursor->slot = cursor->epoch != NULL ? epoch_enter(cursor->epoch) : NULL;
    cursor->keys_in_epoch = 0;
}

static void leave_epoch(struct engine_cursor *cursor) {
    if (cursor->slot != NULL) {
        epoch_exit(cursor->slot);
        cursor->slot = NULL;
    }
}

void merge_enter_again(struct engine_cursor *cursor) {
    leave_epoch(cursor);
    enter_epoch(cursor);
}

void merge_enter(struct engine_cursor *cursor) {
    cursor->has_ranges = false;
    if (cursor->arena.chunks != NULL) {
        arena_reset(&cursor->arena);
    }
    enter_epoch(cursor);
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        cursor->has_ranges =
            cursor->has_ranges || overlay_range_count(cursor->sources[i].overlay) > 0;
    }
}

tern_status merge_leave(struct engine_cursor *cursor, tern_status status) {
    leave_epoch(cursor);
    if (status != TERN_OK) {
        cursor->is_standing = false;
    }
    return status;
}

/* ---- moving sources ---- */

/* Keys below the boundary are in the base already. */
static void respect_boundary(struct engine_cursor *cursor, struct merge_source *source) {
    if (source->has_boundary && source_is_valid(source) &&
        slice_compare(overlay_iterator_key(&source->iterator), cursor->stack->boundary) < 0) {
        source->iterator.position = source->iterator.count = 0;
    }
}

/* To the first key from `key` on (NULL: of all) in the direction; `inclusive` false: beyond it. */
static void seek_source(struct engine_cursor *cursor, struct merge_source *source,
                        const tern_slice *key, bool inclusive) {
    struct overlay_iterator *iterator = &source->iterator;
    const tern_slice *boundary = &cursor->stack->boundary;
    if (!cursor->is_backward && source->has_boundary &&
        (key == NULL || slice_compare(*key, *boundary) < 0)) {
        key = boundary;
        inclusive = true;
    }
    if (key == NULL) {
        (void)overlay_iterator_first(iterator, cursor->is_backward);
    } else {
        (void)overlay_iterator_seek(iterator, *key, cursor->is_backward, inclusive);
    }
    respect_boundary(cursor, source);
}

void merge_step_source(struct engine_cursor *cursor, struct merge_source *source) {
    if (cursor->is_backward) {
        (void)overlay_iterator_previous(&source->iterator);
        respect_boundary(cursor, source);
    } else {
        (void)overlay_iterator_next(&source->iterator);
    }
}

static tern_status move_base(struct engine_cursor *cursor, tern_error *error) {
    const struct base_cursor_methods *methods = cursor->base->methods;
    return cursor->is_backward ? methods->previous(cursor->base, error)
                               : methods->next(cursor->base, error);
}

/* Keys that are gone are passed a slice at a time, with the epoch left in between, and only within
 * the bounds. */
static tern_status base_moved(struct engine_cursor *cursor, tern_status status, tern_error *error) {
    const struct base_cursor_methods *methods = cursor->base->methods;
    while (status == TERN_OK && methods->is_passing != NULL && methods->is_passing(cursor->base)) {
        if (merge_is_out_of_bounds(cursor, methods->key(cursor->base))) {
            status = TERN_NOT_FOUND;
        } else {
            merge_enter_again(cursor);
            status = move_base(cursor, error);
        }
    }
    cursor->is_base_valid = status == TERN_OK;
    return status == TERN_NOT_FOUND ? TERN_OK : status;
}

tern_status merge_step_base(struct engine_cursor *cursor, tern_error *error) {
    return base_moved(cursor, move_base(cursor, error), error);
}

static tern_status seek_base(struct engine_cursor *cursor, const tern_slice *key, bool inclusive,
                             tern_error *error) {
    merge_forget_leaf(cursor);
    if (cursor->base == NULL) {
        cursor->is_base_valid = false;
        return TERN_OK;
    }
    const struct base_cursor_methods *methods = cursor->base->methods;
    tern_status status =
        base_moved(cursor, methods->seek(cursor->base, key, cursor->is_backward, error), error);
    if (status == TERN_OK && cursor->is_base_valid && key != NULL && !inclusive &&
        slice_equal(methods->key(cursor->base), *key)) {
        status = merge_step_base(cursor, error);
    }
    return status;
}

/* Brings all sources to the first key from `key` on in the direction. */
static tern_status seek_all(struct engine_cursor *cursor, const tern_slice *key, bool inclusive,
                            bool backward, tern_error *error) {
    cursor->is_backward = backward;
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        seek_source(cursor, &cursor->sources[i], key, inclusive);
    }
    return seek_base(cursor, key, inclusive, error);
}

/* As the first half of seek_all for a key that belongs to a source. */
tern_status merge_seek_beyond_position(struct engine_cursor *cursor, bool backward,
                                       tern_error *error) {
    cursor->key.size = 0;
    if (buffer_append(&cursor->key, cursor->entry.key.data, cursor->entry.key.size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a cursor");
    }
    tern_slice key = buffer_slice(&cursor->key);
    return seek_all(cursor, &key, false, backward, error);
}

/* ---- resolving a key ---- */

static void base_record(const struct engine_cursor *cursor, struct record *out_record) {
    if (merge_has_leaf(cursor)) {
        *out_record = cursor->leaf[cursor->leaf_position].record;
    } else {
        cursor->base->methods->record(cursor->base, out_record);
    }
}

static bool source_counts(const struct engine_cursor *cursor, const struct merge_source *source,
                          tern_slice key) {
    return !source->has_boundary || slice_compare(key, cursor->stack->boundary) >= 0;
}

/* What the moment sees of the key; sources that stand on it are marked. */
tern_status merge_resolve(struct engine_cursor *cursor, tern_slice key, bool is_in_base,
                          struct engine_result *out_result, tern_error *error) {
    struct resolution resolution;
    resolution_init(&resolution, cursor->allocator);
    tern_status status = TERN_OK;
    for (uint32_t i = 0; i < cursor->source_count && status == TERN_OK; i++) {
        struct merge_source *source = &cursor->sources[i];
        if (resolution.is_complete || !source_counts(cursor, source, key)) {
            break; /* the boundary is that of the last */
        }
        if (source->is_at_key) {
            status = overlay_iterator_resolve(&source->iterator, cursor->moment.seq, &resolution);
        } else if (cursor->has_ranges &&
                   overlay_range_seq(source->overlay, key, cursor->moment.seq) != SEQ_NONE) {
            struct record gone = {.kind = RECORD_DELETE};
            status = resolution_add(&resolution, &gone, ENGINE_SOURCE_OVERLAY, NULL);
        }
    }
    if (status == TERN_OK && !resolution.is_complete && is_in_base) {
        struct record record;
        base_record(cursor, &record);
        status = resolution_add(&resolution, &record, ENGINE_SOURCE_FRAME, NULL);
    }
    if (status != TERN_OK) {
        resolution_release(&resolution);
        return status == TERN_CANCELLED
                   ? ERROR_SET(error, status, "the cursor's moment is older than what is kept")
                   : ERROR_NO_MEMORY(error, "merge operands");
    }
    return resolution_finish(&resolution, cursor->moment.time_ms, &cursor->scratch,
                             cursor->read_large, cursor->large_context, out_result, error);
}

/*
 * The next key in the direction among overlays, marking who stands on it; false when there is
 * none. Later the base is compared with it.
 */
bool merge_next_overlay_key(struct engine_cursor *cursor, tern_slice *out_key) {
    bool has_key = false;
    tern_slice key = tern_slice_of(NULL, 0);
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        struct merge_source *source = &cursor->sources[i];
        source->is_at_key = false;
        if (!source_is_valid(source)) {
            continue;
        }
        tern_slice candidate = overlay_iterator_key(&source->iterator);
        int order = has_key ? slice_compare(candidate, key) : -1;
        if (has_key && cursor->is_backward) {
            order = -order;
        }
        if (order < 0) {
            for (uint32_t j = 0; j < i; j++) {
                cursor->sources[j].is_at_key = false;
            }
            key = candidate;
            has_key = true;
        }
        source->is_at_key = order <= 0;
    }
    *out_key = key;
    return has_key;
}

void merge_clear_marks(struct engine_cursor *cursor) {
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        cursor->sources[i].is_at_key = false;
    }
}

bool merge_is_out_of_bounds(const struct engine_cursor *cursor, tern_slice key) {
    const struct engine_cursor_bounds *bounds = &cursor->bounds;
    return cursor->is_backward ? bounds->has_begin && slice_compare(key, bounds->begin) < 0
                               : bounds->has_end && slice_compare(key, bounds->end) >= 0;
}

/* ---- range deletes over the base ---- */

/* The range delete over a key of the base that reaches furthest. */
bool merge_find_cover(const struct engine_cursor *cursor, tern_slice key,
                      struct overlay_range *out_range) {
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        const struct merge_source *source = &cursor->sources[i];
        if (source_counts(cursor, source, key) &&
            overlay_range_cover(source->overlay, key, cursor->moment.seq, cursor->is_backward,
                                out_range)) {
            if (source->has_boundary &&
                slice_compare(out_range->begin, cursor->stack->boundary) < 0) {
                out_range->begin = cursor->stack->boundary;
            }
            return true;
        }
    }
    return false;
}

/* Moves the base over the range that covers where it stands; only the base's own keys are hidden.
 */
tern_status merge_skip_range(struct engine_cursor *cursor, const struct overlay_range *range,
                             tern_error *error) {
    if (cursor->is_backward) {
        if (range->begin.size == 0) {
            cursor->is_base_valid = false;
            return TERN_OK;
        }
        return seek_base(cursor, &range->begin, false, error);
    }
    if (!range->has_end) {
        merge_forget_leaf(cursor);
        cursor->is_base_valid = false;
        return TERN_OK;
    }
    while (merge_has_leaf(cursor)) {
        if (slice_compare(cursor->leaf[cursor->leaf_position].key, range->end) >= 0) {
            return TERN_OK;
        }
        cursor->leaf_position++;
    }
    return seek_base(cursor, &range->end, true, error);
}

/* ---- single steps ---- */

/* Moves those who stand on the key just dealt with; the base too when `is_in_base`. */
tern_status merge_pass_key(struct engine_cursor *cursor, bool is_in_base, tern_error *error) {
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        if (cursor->sources[i].is_at_key) {
            merge_step_source(cursor, &cursor->sources[i]);
            cursor->sources[i].is_at_key = false;
        }
    }
    return is_in_base ? merge_step_base(cursor, error) : TERN_OK;
}

static void stand_on(struct engine_cursor *cursor, tern_slice key,
                     const struct engine_result *result) {
    cursor->entry.key = key;
    cursor->entry.record = result->record;
    cursor->is_standing = true;
}

/* Without overlays the base is handed through. */
static tern_status settle_on_base(struct engine_cursor *cursor, tern_error *error) {
    while (cursor->is_base_valid) {
        merge_count_key(cursor);
        struct engine_entry *entry = &cursor->entry;
        const struct base_cursor_methods *methods = cursor->base->methods;
        entry->key = methods->key(cursor->base);
        if (merge_is_out_of_bounds(cursor, entry->key)) {
            break;
        }
        methods->record(cursor->base, &entry->record);
        if (!record_has_expired(&entry->record, cursor->moment.time_ms)) {
            cursor->is_standing = true;
            return TERN_OK;
        }
        tern_status status = merge_step_base(cursor, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    return TERN_NOT_FOUND;
}

/* Which of the base's key and the overlays' comes first in the direction; 0 when they are equal. */
int merge_compare_sources(const struct engine_cursor *cursor, bool has_overlay_key,
                          tern_slice overlay_key) {
    if (!cursor->is_base_valid) {
        return 1;
    }
    if (!has_overlay_key) {
        return -1;
    }
    int order = slice_compare(merge_base_key(cursor), overlay_key);
    return cursor->is_backward ? -order : order;
}

/* Stands on the first visible key from where the sources are. TERN_NOT_FOUND. */
static tern_status settle(struct engine_cursor *cursor, tern_error *error) {
    if (cursor->source_count == 0) {
        return settle_on_base(cursor, error);
    }
    for (;;) {
        merge_count_key(cursor);
        tern_slice key;
        bool has_key = merge_next_overlay_key(cursor, &key);
        if (!has_key && !cursor->is_base_valid) {
            return TERN_NOT_FOUND;
        }
        int order = merge_compare_sources(cursor, has_key, key);
        bool is_in_base = order <= 0;
        if (order < 0) {
            merge_clear_marks(cursor);
            key = merge_base_key(cursor);
        }
        if (merge_is_out_of_bounds(cursor, key)) {
            return TERN_NOT_FOUND;
        }
        tern_status status;
        struct overlay_range range;
        if (order < 0 && cursor->has_ranges && merge_find_cover(cursor, key, &range)) {
            status = merge_skip_range(cursor, &range, error);
            if (status != TERN_OK) {
                return status;
            }
            continue;
        }
        struct engine_result result;
        status = merge_resolve(cursor, key, is_in_base, &result, error);
        if (status != TERN_OK) {
            return status;
        }
        if (result.record.kind != RECORD_NONE) {
            stand_on(cursor, key, &result);
            return TERN_OK;
        }
        status = merge_pass_key(cursor, is_in_base, error);
        if (status != TERN_OK) {
            return status;
        }
    }
}

/* Moves the sources beyond the position in the direction. */
static tern_status move_on(struct engine_cursor *cursor, bool backward, tern_error *error) {
    if (backward != cursor->is_backward || merge_has_leaf(cursor)) {
        return merge_seek_beyond_position(cursor, backward, error);
    }
    bool is_in_base =
        cursor->is_base_valid &&
        (cursor->source_count == 0 || slice_equal(merge_base_key(cursor), cursor->entry.key));
    for (uint32_t i = 0; i < cursor->source_count; i++) {
        struct merge_source *source = &cursor->sources[i];
        if (source_is_valid(source) &&
            slice_equal(overlay_iterator_key(&source->iterator), cursor->entry.key)) {
            merge_step_source(cursor, source);
        }
    }
    return is_in_base ? merge_step_base(cursor, error) : TERN_OK;
}

/* Brings the sources to the edge of the bounds. */
tern_status merge_seek_edge(struct engine_cursor *cursor, bool backward, tern_error *error) {
    if (backward) {
        return seek_all(cursor, cursor->bounds.has_end ? &cursor->bounds.end : NULL, false, true,
                        error);
    }
    return seek_all(cursor, cursor->bounds.has_begin ? &cursor->bounds.begin : NULL, true, false,
                    error);
}

/* Brings the sources to the first key from `key` on, within the bounds. */
tern_status merge_seek_key(struct engine_cursor *cursor, tern_slice key, bool backward,
                           tern_error *error) {
    const struct engine_cursor_bounds *bounds = &cursor->bounds;
    bool is_beyond_edge = backward ? bounds->has_end && slice_compare(key, bounds->end) >= 0
                                   : bounds->has_begin && slice_compare(key, bounds->begin) < 0;
    return is_beyond_edge ? merge_seek_edge(cursor, backward, error)
                          : seek_all(cursor, &key, true, backward, error);
}

tern_status merge_cursor_seek(struct engine_cursor *cursor, tern_slice key, bool backward,
                              tern_error *error) {
    merge_enter(cursor);
    tern_status status = merge_seek_key(cursor, key, backward, error);
    return merge_leave(cursor, status == TERN_OK ? settle(cursor, error) : status);
}

tern_status merge_cursor_first(struct engine_cursor *cursor, bool backward, tern_error *error) {
    merge_enter(cursor);
    tern_status status = merge_seek_edge(cursor, backward, error);
    return merge_leave(cursor, status == TERN_OK ? settle(cursor, error) : status);
}

static tern_status step(struct engine_cursor *cursor, bool backward, tern_error *error) {
    merge_enter(cursor);
    tern_status status = cursor->is_standing ? move_on(cursor, backward, error)
                                             : merge_seek_edge(cursor, backward, error);
    return merge_leave(cursor, status == TERN_OK ? settle(cursor, error) : status);
}

tern_status merge_cursor_next(struct engine_cursor *cursor, tern_error *error) {
    return step(cursor, false, error);
}

tern_status merge_cursor_previous(struct engine_cursor *cursor, tern_error *error) {
    return step(cursor, true, error);
}

void merge_cursor_entry(const struct engine_cursor *cursor, struct engine_entry *out_entry) {
    ASSERT(cursor->is_standing);
    *out_entry = cursor->entry;
}
