/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merges the overlays of a stack with an ordered base into the entries that a moment sees: newest
 * version wins, merge operands are resolved, deletes, range deletes and expired records drop out.
 * Forwards and backwards, with a batch call that hands out whole leaves of the base where the
 * overlays have nothing within them.
 */
#ifndef TERN_ENGINE_OVERLAY_MERGE_CURSOR_H
#define TERN_ENGINE_OVERLAY_MERGE_CURSOR_H

#include "engine/overlay/overlay_stack.h"

/* A cursor over a base, embedded first in the engine's own struct. Holds at most one record per
 * key: PUT or LARGE. Bytes live until it moves. Works inside an epoch; between calls it keeps what
 * it stands on alive by itself (a pin or a copy). */
struct base_cursor;
struct base_wanted {
    const tern_slice *end; /* NULL: no end */
    uint64_t now_ms;
    bool keys_only;
};
struct base_cursor_methods {
    /* First >= key / last <= key (backward). TERN_NOT_FOUND: stands nowhere. key NULL: first/last.
     */
    tern_status (*seek)(struct base_cursor *cursor, const tern_slice *key, bool backward,
                        tern_error *error);
    tern_status (*next)(struct base_cursor *cursor, tern_error *error);
    tern_status (*previous)(struct base_cursor *cursor, tern_error *error);
    /*
     * After a move: it stands on a key that is not to be handed out, having passed many that are
     * gone, and wants to be moved on in the same direction. NULL: never.
     */
    bool (*is_passing)(const struct base_cursor *cursor);
    /* Where it stands. */
    tern_slice (*key)(const struct base_cursor *cursor);
    void (*record)(const struct base_cursor *cursor, struct record *out_record);
    /*
     * Hands out entries from where it stands (inclusive) up to the end of its leaf and below `end`
     * (NULL: no end), and stands on the last one. Entries live until the cursor moves to another
     * leaf. keys_only: values may be empty.
     */
    size_t (*leaf_batch)(struct base_cursor *cursor, const tern_slice *end,
                         struct engine_entry *out_entries, size_t capacity);
    /*
     * The same without records: leaves out what `wanted` says has expired, and ends before a value
     * stored apart unless values are not wanted. 0: leaf_batch has to tell what is there. NULL:
     * always so.
     */
    size_t (*leaf_pairs)(struct base_cursor *cursor, const struct base_wanted *wanted,
                         tern_entry *out_entries, size_t capacity);
    /* A key at or after every key of the leaf it stands in; false when it is the last leaf, or when
     * there is no memory for it. */
    bool (*leaf_fence)(const struct base_cursor *cursor, tern_slice *out_fence);
    /*
     * Goes to the next record of the leaf it stands in; false: it stands on the last one, and
     * stays. Where there are overlay keys within a leaf, what lies between them is handed out by
     * leaf_pairs then. NULL: such leaves are merged record by record.
     */
    bool (*step_inside)(struct base_cursor *cursor);
    /* What it resolves by itself is to be as of `time_ms` from the next seek on. NULL: nothing
     * hangs on a time. */
    void (*renew)(struct base_cursor *cursor, uint64_t time_ms);
    void (*close)(struct base_cursor *cursor);
};
struct base_cursor {
    const struct base_cursor_methods *methods;
};

struct merge_cursor_options {
    const tern_allocator *allocator;
    struct epoch_domain *epoch;
    const struct overlay_stack *stack; /* kept alive by the caller's view */
    struct base_cursor *base;          /* taken over, closed with the cursor; NULL: empty base */
    struct engine_moment moment;
    struct engine_cursor_bounds bounds; /* copied */
    bool keys_only;
    tern_status (*read_large)(void *context, const struct record *large, struct buffer *out_value,
                              tern_error *error);
    void *large_context;
};

TERN_MUST_CHECK tern_status merge_cursor_open(const struct merge_cursor_options *options,
                                              struct engine_cursor **out_cursor, tern_error *error);
void merge_cursor_close(struct engine_cursor *cursor);
void merge_cursor_renew(struct engine_cursor *cursor, const struct engine_moment *moment);
/* These are the functions of engine_methods with the same names. */
TERN_MUST_CHECK tern_status merge_cursor_seek(struct engine_cursor *cursor, tern_slice key,
                                              bool backward, tern_error *error);
TERN_MUST_CHECK tern_status merge_cursor_first(struct engine_cursor *cursor, bool backward,
                                               tern_error *error);
TERN_MUST_CHECK tern_status merge_cursor_next(struct engine_cursor *cursor, tern_error *error);
TERN_MUST_CHECK tern_status merge_cursor_previous(struct engine_cursor *cursor, tern_error *error);
void merge_cursor_entry(const struct engine_cursor *cursor, struct engine_entry *out_entry);
TERN_MUST_CHECK tern_status merge_cursor_next_batch(struct engine_cursor *cursor,
                                                    tern_entry *out_entries, size_t capacity,
                                                    size_t *out_count, tern_error *error);
TERN_MUST_CHECK tern_status merge_cursor_seek_batch(struct engine_cursor *cursor, tern_slice key,
                                                    tern_entry *out_entries, size_t capacity,
                                                    size_t *out_count, tern_error *error);

#endif
