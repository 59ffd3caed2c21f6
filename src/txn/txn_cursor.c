/* SPDX-License-Identifier: Apache-2.0 */
/* A transaction's cursor: opening, moving, values, batches, and what it has read. */
#include "base/compare.h"
#include "base/error.h"
#include "txn/txn_cursor_internal.h"

/* A batch with copied bytes ends when it holds that many. */
#define BATCH_BYTES_MAX ((size_t)4 << 20)

/* ---- opening and closing ---- */

void txn_cursor_spares_init(struct txn_manager *manager) {
    spares_init(&manager->cursors, manager->allocator, sizeof(struct tern_cursor));
}

void txn_cursor_spares_release(struct txn_manager *manager) {
    spares_release(&manager->cursors);
}

static tern_status copy_bounds(tern_cursor *cursor, const tern_cursor_options *options) {
    size_t begin_size = options->begin != NULL ? options->begin->size : 0;
    size_t end_size = options->end != NULL ? options->end->size : 0;
    uint8_t *bytes = cursor->short_bounds;
    if (begin_size + end_size > SHORT_BOUNDS_BYTES) {
        if (buffer_reserve(&cursor->bound_bytes, begin_size + end_size) != TERN_OK) {
            return TERN_NO_MEMORY;
        }
        bytes = cursor->bound_bytes.data;
    }
    if (begin_size > 0) {
        memcpy(bytes, options->begin->data, begin_size);
    }
    if (end_size > 0) {
        memcpy(bytes + begin_size, options->end->data, end_size);
    }
    cursor->bounds =
        (struct engine_cursor_bounds){.has_begin = options->begin != NULL,
                                      .has_end = options->end != NULL,
                                      .begin = tern_slice_of(bytes, begin_size),
                                      .end = tern_slice_of(bytes + begin_size, end_size)};
    return TERN_OK;
}

/* Finds the view and opens the engine's cursor, when there is something to read there. */
static tern_status open_engine(tern_cursor *cursor) {
    tern_txn *txn = cursor->txn;
    const struct snapshot *snapshot = txn_snapshot(txn);
    if (txn_keyspace_is_own(txn, cursor->keyspace)) {
        cursor->tracks = false;
        cursor->is_unordered = !cursor->keyspace->methods->is_ordered;
        return TERN_OK;
    }
    if (snapshot == NULL) {
        tern_status status = snapshot_take(txn->manager, &cursor->own_snapshot, &txn->error);
        if (status != TERN_OK) {
            return status;
        }
        snapshot = &cursor->own_snapshot;
    }
    if (snapshot_is_ended(snapshot)) {
        return snapshot_say_too_old(&snapshot->moment, &txn->error);
    }
    cursor->part = view_part(snapshot->view, cursor->keyspace);
    if (cursor->part == NULL) {
        return keyspace_check_absence(cursor->keyspace, &txn->error);
    }
    cursor->methods = cursor->part->methods;
    cursor->is_unordered = !cursor->methods->is_ordered;
    return cursor->methods->cursor_open(cursor->part, &snapshot->moment, &cursor->bounds,
                                        cursor->keys_only, &cursor->engine, &txn->error);
}

static void init_buffers(tern_cursor *cursor, const tern_allocator *allocator) {
    buffer_init(&cursor->bound_bytes, allocator);
    buffer_init(&cursor->key, allocator);
    buffer_init(&cursor->value, allocator);
    buffer_init(&cursor->sought, allocator);
    buffer_init(&cursor->spare, allocator);
    buffer_init(&cursor->low, allocator);
    buffer_init(&cursor->high, allocator);
    arena_init(&cursor->batch_arena, allocator, 4096);
}

tern_status txn_cursor_open(tern_txn *txn, tern_keyspace *keyspace,
                            const tern_cursor_options *options, tern_cursor **out_cursor) {
    tern_cursor_options given = options != NULL ? *options : TERN_CURSOR_OPTIONS_INIT;
    tern_status status = txn_check_read(txn, keyspace);
    if (status != TERN_OK) {
        return status;
    }
    const tern_allocator *allocator = txn->manager->allocator;
    tern_cursor *cursor = spares_take(&txn->manager->cursors);
    if (cursor == NULL) {
        return ERROR_NO_MEMORY(&txn->error, "a cursor");
    }
    memset(cursor, 0, offsetof(struct tern_cursor, error));
    cursor->txn = txn;
    cursor->allocator = allocator;
    cursor->keyspace = keyspace;
    cursor->keys_only = given.keys_only;
    cursor->tracks = txn_tracks_reads(txn);
    cursor->error = (tern_error)TERN_ERROR_INIT;
    init_buffers(cursor, allocator);
    cursor->next = txn->cursors;
    if (cursor->next != NULL) {
        cursor->next->previous = cursor;
    }
    txn->cursors = cursor;
    status = copy_bounds(cursor, &given) == TERN_OK ? open_engine(cursor)
                                                    : ERROR_NO_MEMORY(&txn->error, "a cursor");
    if (status != TERN_OK) {
        cursor->engine = NULL;
        txn_cursor_close(cursor);
        return status;
    }
    *out_cursor = cursor;
    return TERN_OK;
}

/* Has nothing of the engine any more. */
static void let_go_of_engine(tern_cursor *cursor) {
    if (cursor->engine != NULL) {
        cursor->methods->cursor_close(cursor->engine);
        cursor->engine = NULL;
    }
    cursor->part = NULL;
    cursor->engine_stands = false;
}

/* Everything that keeps the database busy. */
static void let_go(tern_cursor *cursor) {
    tern_txn *txn = cursor->txn;
    let_go_of_engine(cursor);
    snapshot_drop(txn->manager, &cursor->own_snapshot);
    if (cursor->previous != NULL) {
        cursor->previous->next = cursor->next;
    } else {
        txn->cursors = cursor->next;
    }
    if (cursor->next != NULL) {
        cursor->next->previous = cursor->previous;
    }
    cursor->txn = NULL;
    cursor->place = CURSOR_NOWHERE;
}

void txn_cursors_orphan(tern_txn *txn) {
    while (txn->cursors != NULL) {
        let_go(txn->cursors);
    }
}

void txn_cursors_renew(tern_txn *txn) {
    const struct snapshot *snapshot = &txn->snapshot;
    for (tern_cursor *cursor = txn->cursors; cursor != NULL; cursor = cursor->next) {
        cursor->place = CURSOR_NOWHERE;
        cursor->is_loaded = false;
        if (cursor->engine != NULL && cursor->part == view_part(snapshot->view, cursor->keyspace)) {
            cursor->methods->cursor_renew(cursor->engine, &snapshot->moment);
        } else {
            let_go_of_engine(cursor);
            cursor->is_stale = true;
        }
    }
}

void txn_cursors_rolled_back(tern_txn *txn) {
    for (tern_cursor *cursor = txn->cursors; cursor != NULL; cursor = cursor->next) {
        const struct write_part *part = cursor_writes(cursor);
        uint32_t key_count = part != NULL ? (uint32_t)part->key_count : 0;
        cursor->next_write = cursor->next_write < key_count ? cursor->next_write : key_count;
    }
}

void txn_cursors_leave(tern_txn *txn, const tern_keyspace *keyspace) {
    for (tern_cursor *cursor = txn->cursors; cursor != NULL; cursor = cursor->next) {
        if (cursor->keyspace == keyspace) {
            cursor->place = CURSOR_NOWHERE;
        }
    }
}

static tern_status note_range(tern_cursor *cursor);

void txn_cursor_close(tern_cursor *cursor) {
    if (cursor == NULL) {
        return;
    }
    if (cursor->txn != NULL) {
        /* A read that cannot be remembered cannot be validated. */
        tern_status status = note_range(cursor);
        if (status != TERN_OK) {
            cursor->txn->failed = status;
        }
        let_go(cursor);
    }
    buffer_release(&cursor->bound_bytes);
    buffer_release(&cursor->key);
    buffer_release(&cursor->value);
    buffer_release(&cursor->sought);
    buffer_release(&cursor->spare);
    buffer_release(&cursor->low);
    buffer_release(&cursor->high);
    arena_release(&cursor->batch_arena);
    spares_give(&cursor->keyspace->manager->cursors, cursor);
}

const tern_error *txn_cursor_error(const tern_cursor *cursor) {
    return &cursor->error;
}

/* ---- what a serializable transaction has read ---- */

/* On failure nothing is forgotten: the range is noted with the next try. */
static tern_status note_range(tern_cursor *cursor) {
    if (!cursor->has_range) {
        return TERN_OK;
    }
    struct engine_cursor_bounds range = cursor->bounds;
    if (!cursor->low_is_bound) {
        range.has_begin = true;
        range.begin = buffer_slice(&cursor->low);
    }
    size_t high_size = cursor->high.size;
    if (!cursor->high_is_bound) {
        /* The key after `high`. */
        if (buffer_append(&cursor->high, "", 1) != TERN_OK) {
            return ERROR_NO_MEMORY(&cursor->txn->error, "a transaction's reads");
        }
        range.has_end = true;
        range.end = buffer_slice(&cursor->high);
    }
    tern_status status =
        read_set_add_range(&cursor->txn->reads, cursor->keyspace, &range, &cursor->txn->error);
    cursor->high.size = high_size;
    return status;
}

/* The cursors keep their ranges: a commit may fail and be tried again after they have gone on. */
tern_status txn_cursors_note_reads(tern_txn *txn) {
    tern_status status = TERN_OK;
    for (tern_cursor *cursor = txn->cursors; cursor != NULL && status == TERN_OK;
         cursor = cursor->next) {
        status = note_range(cursor);
    }
    return status;
}

/* On failure the edge is as before. */
static tern_status set_edge(tern_cursor *cursor, struct buffer *edge, tern_slice key) {
    if (buffer_reserve(edge, key.size) != TERN_OK) {
        return ERROR_NO_MEMORY(&cursor->error, "a transaction's reads");
    }
    if (key.size > 0) {
        memcpy(edge->data, key.data, key.size);
    }
    edge->size = key.size;
    return TERN_OK;
}

/*
 * Before a jump: the range begins anew at `key`, or (NULL) at the edge that it comes from. When
 * that fails the cursor stands nowhere, so that no move goes on without a range.
 */
static tern_status begin_range(tern_cursor *cursor, const tern_slice *key, bool backward) {
    tern_status status = note_range(cursor);
    if (status != TERN_OK) {
        error_copy(&cursor->error, &cursor->txn->error);
        cursor->place = CURSOR_NOWHERE;
        return status;
    }
    cursor->has_range = false;
    if (cursor->is_unordered) {
        /* Where something would have been cannot be told: all within the bounds. */
        cursor->low_is_bound = cursor->high_is_bound = cursor->has_range = true;
        return TERN_OK;
    }
    cursor->low_is_bound = key == NULL && !backward;
    cursor->high_is_bound = key == NULL && backward;
    tern_slice from = key != NULL ? *key : tern_slice_of(NULL, 0);
    status = set_edge(cursor, &cursor->low, from);
    if (status == TERN_OK) {
        status = set_edge(cursor, &cursor->high, from);
    }
    if (key == NULL && status == TERN_OK) {
        /* The far edge is where the move will end; until then, nowhere. */
        cursor->low_is_bound = cursor->high_is_bound = true;
    }
    cursor->has_range = status == TERN_OK;
    if (status != TERN_OK) {
        cursor->place = CURSOR_NOWHERE;
    }
    return status;
}

/* After a move: the range reaches to where the cursor stands, or to the edge. */
static tern_status extend_range(tern_cursor *cursor, bool found, bool backward,
                                bool came_from_edge) {
    struct buffer *edge = backward ? &cursor->low : &cursor->high;
    bool *is_bound = backward ? &cursor->low_is_bound : &cursor->high_is_bound;
    if (!found || cursor->is_unordered) {
        *is_bound = true;
        return TERN_OK;
    }
    if (came_from_edge) {
        tern_status status = set_edge(cursor, edge, cursor->entry.key);
        *is_bound = status != TERN_OK;
        return status;
    }
    if (*is_bound) {
        return TERN_OK;
    }
    int order = slice_compare(cursor->entry.key, buffer_slice(edge));
    return (backward ? order < 0 : order > 0) ? set_edge(cursor, edge, cursor->entry.key) : TERN_OK;
}

/* ---- moving ---- */

static tern_status check(tern_cursor *cursor) {
    if (__builtin_expect(cursor->txn == NULL, 0)) {
        return ERROR_SET(&cursor->error, TERN_CLOSED,
                         "the transaction of this cursor has ended; close the cursor");
    }
    tern_status status = txn_check(cursor->txn);
    if (__builtin_expect(status != TERN_OK, 0)) {
        error_copy(&cursor->error, &cursor->txn->error);
    }
    return status;
}

static const struct snapshot *snapshot_of(const tern_cursor *cursor) {
    const struct snapshot *snapshot = txn_snapshot(cursor->txn);
    return snapshot != NULL ? snapshot : &cursor->own_snapshot;
}

static __attribute__((noinline)) tern_status say_ended(tern_cursor *cursor) {
    cursor->place = CURSOR_NOWHERE;
    return snapshot_say_too_old(&snapshot_of(cursor)->moment, &cursor->error);
}

/* As a cursor that is opened now would be. When that fails, the next move tries again. */
static __attribute__((noinline)) tern_status open_again(tern_cursor *cursor) {
    tern_status status = open_engine(cursor);
    if (status != TERN_OK) {
        cursor->engine = NULL;
        error_copy(&cursor->error, &cursor->txn->error);
        return status;
    }
    cursor->is_stale = false;
    return TERN_OK;
}

/* The same for a move: who reads on at a snapshot that was ended is to notice. */
static inline tern_status check_move(tern_cursor *cursor) {
    tern_status status = check(cursor);
    if (__builtin_expect(status == TERN_OK, 1)) {
        const struct snapshot *snapshot = snapshot_of(cursor);
        if (__builtin_expect(snapshot->slot != NULL && snapshot_is_ended(snapshot), 0)) {
            return say_ended(cursor);
        }
        if (__builtin_expect(cursor->is_stale, 0)) {
            return open_again(cursor);
        }
    }
    return status;
}

/* Failures leave the cursor nowhere; what they mean for the transaction it learns. */
static tern_status finish_move(tern_cursor *cursor, tern_status status) {
    if (status == TERN_CANCELLED) {
        status = snapshot_say_too_old(&snapshot_of(cursor)->moment, &cursor->error);
    }
    if (status != TERN_OK) {
        cursor->place = CURSOR_NOWHERE;
    }
    cursor->is_loaded = false;
    return status;
}

static tern_status track(tern_cursor *cursor, tern_status status, bool backward,
                         bool came_from_edge) {
    if (status != TERN_OK && status != TERN_NOT_FOUND) {
        return status;
    }
    tern_status tracked = extend_range(cursor, status == TERN_OK, backward, came_from_edge);
    return tracked != TERN_OK ? finish_move(cursor, tracked) : status;
}

/* The engine's cursor alone: what most scans do. */
static tern_status move_engine(tern_cursor *cursor, bool backward) {
    const struct engine_methods *methods = cursor->methods;
    tern_status status;
    if (cursor->place == CURSOR_NOWHERE) {
        cursor_restart(cursor);
        status = methods->cursor_first(cursor->engine, backward, &cursor->error);
    } else if (backward) {
        status = methods->cursor_previous(cursor->engine, &cursor->error);
    } else {
        status = methods->cursor_next(cursor->engine, &cursor->error);
    }
    if (status == TERN_OK) {
        methods->cursor_entry(cursor->engine, &cursor->entry);
        cursor->place = CURSOR_ON_ENGINE;
        cursor->engine_place = ENGINE_AT_CURRENT;
    }
    return status;
}

static tern_status move(tern_cursor *cursor, bool backward) {
    tern_status status = cursor_passes_through(cursor) ? move_engine(cursor, backward)
                         : cursor->is_unordered        ? cursor_unordered_next(cursor)
                                                       : cursor_merge_move(cursor, NULL, backward);
    return finish_move(cursor, status);
}

static tern_status refuse_order(tern_cursor *cursor, const char *what) {
    return ERROR_SET(
        &cursor->error, TERN_UNSUPPORTED,
        "keyspace '%s' is stored by the engine '%s', which keeps no order: a cursor "
        "cannot %s; go forward from the first entry, or use a keyspace of the engine "
        "btree or lsm",
        cursor->keyspace->name,
        cursor->methods != NULL ? cursor->methods->name : cursor->keyspace->methods->name, what);
}

tern_status txn_cursor_move(tern_cursor *cursor, bool backward) {
    tern_status status = check_move(cursor);
    if (__builtin_expect(status != TERN_OK, 0)) {
        return status;
    }
    if (__builtin_expect(backward && cursor->is_unordered, 0)) {
        return refuse_order(cursor, "go backward");
    }
    if (!cursor->tracks) {
        return move(cursor, backward);
    }
    bool from_edge = cursor->place == CURSOR_NOWHERE;
    if (from_edge) {
        status = begin_range(cursor, NULL, backward);
        if (status != TERN_OK) {
            return status;
        }
    }
    return track(cursor, move(cursor, backward), backward, from_edge);
}

/* A key to seek, which may be one that this cursor handed out. */
struct sought_key {
    tern_slice key;
    struct buffer copy; /* of what `bytes` have no room for */
    uint8_t bytes[SHORT_BOUNDS_BYTES];
};

static tern_status copy_sought(tern_cursor *cursor, tern_slice key, struct sought_key *out_sought) {
    uint8_t *bytes = out_sought->bytes;
    buffer_init(&out_sought->copy, cursor->allocator);
    if (key.size > sizeof(out_sought->bytes)) {
        if (buffer_reserve(&out_sought->copy, key.size) != TERN_OK) {
            buffer_release(&out_sought->copy);
            return ERROR_NO_MEMORY(&cursor->error, "a seek");
        }
        bytes = out_sought->copy.data;
    }
    if (key.size > 0) {
        memcpy(bytes, key.data, key.size);
    }
    out_sought->key = tern_slice_of(bytes, key.size);
    return TERN_OK;
}

/* What comes before every seek. On success `out_sought` is to be released. */
static tern_status begin_seek(tern_cursor *cursor, tern_slice key, bool backward,
                              struct sought_key *out_sought) {
    tern_status status = check_move(cursor);
    if (status == TERN_OK && cursor->is_unordered) {
        status = refuse_order(cursor, "seek");
    }
    if (status == TERN_OK) {
        status = copy_sought(cursor, key, out_sought);
    }
    if (status == TERN_OK && cursor->tracks) {
        status = begin_range(cursor, &out_sought->key, backward);
        if (status != TERN_OK) {
            buffer_release(&out_sought->copy);
        }
    }
    return status;
}

tern_status txn_cursor_seek(tern_cursor *cursor, tern_slice key, bool backward) {
    struct sought_key sought;
    tern_status status = begin_seek(cursor, key, backward, &sought);
    if (status != TERN_OK) {
        return status;
    }
    status = finish_move(cursor, cursor_merge_move(cursor, &sought.key, backward));
    if (cursor->tracks) {
        status = track(cursor, status, backward, false);
    }
    buffer_release(&sought.copy);
    return status;
}

/* ---- where it stands ---- */

tern_slice txn_cursor_key(const tern_cursor *cursor) {
    return cursor->place != CURSOR_NOWHERE ? cursor->entry.key : tern_slice_of(NULL, 0);
}

tern_status txn_cursor_value(tern_cursor *cursor, tern_slice *out_value) {
    tern_status status = check(cursor);
    if (status != TERN_OK) {
        return status;
    }
    if (cursor->place == CURSOR_NOWHERE) {
        return ERROR_SET(&cursor->error, TERN_INVALID,
                         "the cursor stands nowhere; move it to an entry first");
    }
    if (cursor->entry.record.kind != RECORD_LARGE || cursor->keys_only) {
        *out_value = cursor->keys_only ? tern_slice_of(NULL, 0) : cursor->entry.record.value;
        return TERN_OK;
    }
    /* `spare`, because the reference of a copy is in `value`. */
    if (!cursor->is_loaded) {
        status = value_load(cursor_engine(cursor), &cursor->entry.record, &cursor->spare,
                            &cursor->error);
        if (status != TERN_OK) {
            return status;
        }
        cursor->is_loaded = true;
    }
    *out_value = buffer_slice(&cursor->spare);
    return TERN_OK;
}

/* ---- batches ---- */

/* Copies the entry where the cursor stands into the batch's memory. */
static tern_status copy_entry(tern_cursor *cursor, tern_entry *out_entry) {
    tern_slice value;
    tern_status status = txn_cursor_value(cursor, &value);
    if (status != TERN_OK) {
        return status;
    }
    uint8_t *bytes = arena_allocate(&cursor->batch_arena, cursor->entry.key.size + value.size);
    if (bytes == NULL) {
        return ERROR_NO_MEMORY(&cursor->error, "a batch of a cursor");
    }
    memcpy(bytes, cursor->entry.key.data, cursor->entry.key.size);
    out_entry->key = tern_slice_of(bytes, cursor->entry.key.size);
    bytes += cursor->entry.key.size;
    if (value.size > 0) {
        memcpy(bytes, value.data, value.size);
    }
    out_entry->value = tern_slice_of(bytes, value.size);
    return TERN_OK;
}

/* The cursor ran past the end while it filled a batch: it stands on the last one handed out. */
static tern_status stand_on_last(tern_cursor *cursor, const tern_entry *last) {
    cursor->key.size = 0;
    cursor->value.size = 0;
    if (buffer_append(&cursor->key, last->key.data, last->key.size) != TERN_OK) {
        return ERROR_NO_MEMORY(&cursor->error, "a batch of a cursor");
    }
    cursor->entry.key = buffer_slice(&cursor->key);
    cursor->entry.record = (struct record){.kind = RECORD_PUT, .value = last->value};
    cursor->place = CURSOR_ON_COPY;
    cursor->engine_place = ENGINE_UNKNOWN;
    return TERN_OK;
}

/* Entry by entry, with copies: own writes lie between, or values stored apart. The first entry is
 * that of `key`, or (NULL) the one after where the cursor stands. */
static tern_status fill_by_copies(tern_cursor *cursor, const tern_slice *key,
                                  tern_entry *out_entries, size_t capacity, size_t *out_count) {
    size_t count = 0;
    size_t bytes = 0;
    tern_status status = TERN_OK;
    arena_reset(&cursor->batch_arena);
    while (count < capacity && bytes < BATCH_BYTES_MAX) {
        status = key != NULL && count == 0
                     ? finish_move(cursor, cursor_merge_move(cursor, key, false))
                     : move(cursor, false);
        if (status == TERN_OK) {
            status = copy_entry(cursor, &out_entries[count]);
        }
        if (status != TERN_OK) {
            break;
        }
        bytes += out_entries[count].key.size + out_entries[count].value.size;
        count++;
    }
    if (status == TERN_NOT_FOUND && count > 0) {
        status = stand_on_last(cursor, &out_entries[count - 1]);
    }
    *out_count = count;
    /* What was not handed out must not be passed by: it stands nowhere then. */
    return status == TERN_OK ? TERN_OK : finish_move(cursor, status);
}

/* The engine's cursor stands on a value stored apart, which goes alone. */
static tern_status copy_single(tern_cursor *cursor, tern_entry *out_entries, size_t *out_count) {
    cursor->is_loaded = false;
    arena_reset(&cursor->batch_arena);
    tern_status status = copy_entry(cursor, &out_entries[0]);
    if (status != TERN_OK) {
        return finish_move(cursor, status);
    }
    *out_count = 1;
    return TERN_OK;
}

/* The engine's cursor alone fills the batch, from `key` on or (NULL) from where it stands. */
static tern_status pass_batch(tern_cursor *cursor, const tern_slice *key, tern_entry *out_entries,
                              size_t capacity, size_t *out_count) {
    const struct engine_methods *methods = cursor->methods;
    size_t count = 0;
    if (cursor->place == CURSOR_NOWHERE) {
        cursor_restart(cursor);
    }
    tern_status status = key != NULL ? methods->cursor_seek_batch(cursor->engine, *key, out_entries,
                                                                  capacity, &count, &cursor->error)
                                     : methods->cursor_next_batch(cursor->engine, out_entries,
                                                                  capacity, &count, &cursor->error);
    status = finish_move(cursor, status);
    if (status != TERN_OK) {
        return status;
    }
    methods->cursor_entry(cursor->engine, &cursor->entry);
    cursor->place = CURSOR_ON_ENGINE;
    cursor->engine_place = ENGINE_AT_CURRENT;
    if (cursor->keys_only) {
        for (size_t i = 0; i < count; i++) {
            out_entries[i].value = tern_slice_of(NULL, 0);
        }
    } else if (cursor->entry.record.kind == RECORD_LARGE) {
        return copy_single(cursor, out_entries, out_count);
    }
    *out_count = count;
    return TERN_OK;
}

tern_status txn_cursor_next_batch(tern_cursor *cursor, tern_entry *out_entries, size_t capacity,
                                  size_t *out_count) {
    size_t count = 0;
    tern_status status = check_move(cursor);
    bool from_edge = cursor->place == CURSOR_NOWHERE;
    if (status == TERN_OK && cursor->tracks && from_edge) {
        status = begin_range(cursor, NULL, false);
    }
    if (status != TERN_OK) {
        return status;
    }
    status = cursor_passes_through(cursor)
                 ? pass_batch(cursor, NULL, out_entries, capacity, &count)
                 : fill_by_copies(cursor, NULL, out_entries, capacity, &count);
    if (cursor->tracks) {
        status = track(cursor, status, false, from_edge);
    }
    if (status == TERN_OK) {
        *out_count = count;
    }
    return status;
}

tern_status txn_cursor_seek_batch(tern_cursor *cursor, tern_slice key, tern_entry *out_entries,
                                  size_t capacity, size_t *out_count) {
    size_t count = 0;
    struct sought_key sought;
    tern_status status = begin_seek(cursor, key, false, &sought);
    if (status != TERN_OK) {
        return status;
    }
    bool is_alone = cursor->engine != NULL && cursor_writes(cursor) == NULL;
    status = is_alone ? pass_batch(cursor, &sought.key, out_entries, capacity, &count)
                      : fill_by_copies(cursor, &sought.key, out_entries, capacity, &count);
    if (cursor->tracks) {
        status = track(cursor, status, false, false);
    }
    buffer_release(&sought.copy);
    if (status == TERN_OK) {
        *out_count = count;
    }
    return status;
}
