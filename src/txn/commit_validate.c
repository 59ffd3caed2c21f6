/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a commit is checked against:
 *  - written keys (and, serializable, read keys): the conflict table by hash, and the ring of
 * recent range deletes;
 *  - range deletes and ranges read: the overlays of the current view (engine changed_since);
 *  - all written keys: locks held by others, when there are any;
 *  - keyspaces: alive, and for a drop unwritten since the snapshot.
 * All errs towards conflict, never away from it. Keys read are known by hash only, so any range
 * delete in the database after the snapshot conflicts with them, and any drop of a keyspace.
 */
#include "txn/commit_validate.h"

#include "base/compare.h"
#include "base/error.h"
#include "txn/point_read.h"

void range_history_init(struct range_history *history, const tern_allocator *allocator) {
    *history = (struct range_history){.allocator = allocator};
}

static void forget_range(struct range_history *history, struct range_memory *entry) {
    memory_release(history->allocator, entry->begin);
    memory_release(history->allocator, entry->end);
    *entry = (struct range_memory){0};
}

void range_history_release(struct range_history *history) {
    for (size_t i = 0; i < RANGE_HISTORY_ENTRIES; i++) {
        forget_range(history, &history->entries[i]);
    }
}

/* Out of memory only makes the history shorter. */
static void remember_range(struct range_history *history, partition_id partition,
                           const struct engine_change *change, seq_no seq) {
    struct range_memory *entry = &history->entries[history->next];
    if (entry->seq != SEQ_NONE) {
        history->horizon_seq = entry->seq;
        forget_range(history, entry);
    }
    tern_slice end = change->range_has_end ? change->record.value : tern_slice_of(NULL, 0);
    uint8_t *begin_copy =
        (uint8_t *)memory_copy_string(history->allocator, change->key.data, change->key.size);
    uint8_t *end_copy = change->range_has_end
                            ? (uint8_t *)memory_copy_string(history->allocator, end.data, end.size)
                            : NULL;
    history->newest_seq = seq;
    if (begin_copy == NULL || (change->range_has_end && end_copy == NULL)) {
        memory_release(history->allocator, begin_copy);
        memory_release(history->allocator, end_copy);
        history->horizon_seq = seq;
        return;
    }
    *entry =
        (struct range_memory){partition, seq, begin_copy, end_copy, change->key.size, end.size};
    history->next = (history->next + 1) % RANGE_HISTORY_ENTRIES;
}

static bool range_covers(const struct range_memory *range, tern_slice key) {
    return slice_compare(key, tern_slice_of(range->begin, range->begin_size)) >= 0 &&
           (range->end == NULL ||
            slice_compare(key, tern_slice_of(range->end, range->end_size)) < 0);
}

/* Was the key inside a range deleted after `since`? */
static bool range_deleted_since(const struct range_history *history, partition_id partition,
                                tern_slice key, seq_no since) {
    if (history->newest_seq <= since) {
        return false;
    }
    if (history->horizon_seq > since) {
        return true;
    }
    for (size_t i = 0; i < RANGE_HISTORY_ENTRIES; i++) {
        const struct range_memory *range = &history->entries[i];
        if (range->seq > since && range->partition == partition && range_covers(range, key)) {
            return true;
        }
    }
    return false;
}

static tern_status conflict(struct txn_manager *manager, struct commit_request *request,
                            const tern_keyspace *keyspace, const char *what, bool is_certain) {
    atomic_fetch_add_explicit(&manager->conflicts_found, 1, memory_order_relaxed);
    if (!is_certain) {
        atomic_fetch_add_explicit(&manager->false_conflicts_possible, 1, memory_order_relaxed);
    }
    if (keyspace == NULL) {
        return ERROR_SET(&request->error, TERN_CONFLICT,
                         "%s changed after the snapshot of this transaction; begin it again", what);
    }
    return ERROR_SET(&request->error, TERN_CONFLICT,
                     "%s in keyspace '%s' changed after the snapshot of this transaction; begin "
                     "it again",
                     what, keyspace->name);
}

static struct engine_cursor_bounds bounds_of_range(const struct engine_change *change) {
    return (struct engine_cursor_bounds){.has_begin = change->key.size > 0,
                                         .has_end = change->range_has_end,
                                         .begin = change->key,
                                         .end = change->record.value};
}

static bool changed_since(struct txn_manager *manager, const tern_keyspace *keyspace,
                          const struct engine_cursor_bounds *bounds, seq_no since) {
    /* What has gone to the base an engine cannot tell from what was there. */
    if (atomic_load_explicit(&keyspace->last_write_seq, memory_order_relaxed) <= since) {
        return false;
    }
    struct database_view *view = atomic_load_explicit(&manager->view, memory_order_relaxed);
    struct engine_view *part = view_part(view, keyspace);
    if (atomic_load_explicit(&keyspace->shown_seq, memory_order_relaxed) > since) {
        return true; /* converted since: its overlays tell nothing of the time before */
    }
    return part != NULL && part->methods->changed_since(part, bounds, since);
}

static tern_status validate_change(struct txn_manager *manager, const struct range_history *history,
                                   struct commit_request *request, const tern_keyspace *keyspace,
                                   const struct engine_change *change) {
    seq_no since = request->snapshot_seq;
    if ((int)change->record.kind == (int)CHANGE_DELETE_RANGE) {
        struct engine_cursor_bounds bounds = bounds_of_range(change);
        return changed_since(manager, keyspace, &bounds, since)
                   ? conflict(manager, request, keyspace, "the deleted range", true)
                   : TERN_OK;
    }
    enum conflict_answer answer = conflict_table_check(manager->conflicts, change->key_hash, since,
                                                       change->record.kind == RECORD_MERGE);
    if (answer != CONFLICT_NO) {
        return conflict(manager, request, keyspace, "a written key", answer == CONFLICT_YES);
    }
    if (range_deleted_since(history, keyspace->id, change->key, since)) {
        return conflict(manager, request, keyspace, "a written key's range", true);
    }
    return TERN_OK;
}

static tern_status validate_reads(struct txn_manager *manager, const struct range_history *history,
                                  struct commit_request *request) {
    seq_no since = request->snapshot_seq;
    for (size_t i = 0; i < request->read_count; i++) {
        enum conflict_answer answer =
            conflict_table_check(manager->conflicts, request->read_hashes[i], since, false);
        if (answer != CONFLICT_NO) {
            return conflict(manager, request, NULL, "a key read", answer == CONFLICT_YES);
        }
    }
    if (request->read_count > 0 && history->newest_seq > since) {
        return conflict(manager, request, NULL, "a range (deleted)", false);
    }
    for (size_t i = 0; i < request->range_count; i++) {
        const struct commit_range *range = &request->read_ranges[i];
        /* It was there at the snapshot, or nothing could have been read. */
        bool is_dropped =
            atomic_load_explicit(&range->keyspace->dropped_seq, memory_order_relaxed) != SEQ_MAX;
        if (is_dropped || changed_since(manager, range->keyspace, &range->bounds, since)) {
            return conflict(manager, request, range->keyspace, "a range read", true);
        }
    }
    return TERN_OK;
}

static tern_status check_locks(struct txn_manager *manager, struct commit_request *request,
                               const tern_keyspace *keyspace, const struct engine_change *change) {
    bool is_locked;
    if ((int)change->record.kind == (int)CHANGE_DELETE_RANGE) {
        is_locked = lock_manager_is_range_locked(
            manager->locks, request->owner_id, keyspace->id, change->key,
            change->range_has_end ? &change->record.value : NULL);
    } else {
        is_locked =
            lock_manager_is_locked(manager->locks, request->owner_id, keyspace->id, change->key);
    }
    if (is_locked) {
        return ERROR_SET(&request->error, TERN_LOCKED,
                         "a key written in keyspace '%s' is locked by another transaction; try "
                         "again when that has ended",
                         keyspace->name);
    }
    return TERN_OK;
}

/* A keyspace may be written when it is alive, or when this very request creates it. */
static tern_status check_keyspace(struct commit_request *request, const tern_keyspace *keyspace) {
    uint32_t state = atomic_load_explicit(&keyspace->state, memory_order_relaxed);
    bool is_alive = state == KEYSPACE_LIVE &&
                    atomic_load_explicit(&keyspace->dropped_seq, memory_order_relaxed) == SEQ_MAX;
    for (size_t i = 0; !is_alive && i < request->catalog_count; i++) {
        is_alive = request->catalog[i].keyspace == keyspace && !request->catalog[i].is_drop;
    }
    if (!is_alive) {
        return ERROR_SET(&request->error, TERN_NOT_FOUND, "keyspace '%s' has been dropped",
                         keyspace->name);
    }
    return TERN_OK;
}

/*
 * What was prepared for a partition that the keyspace has left since: keys may be too long for the
 * new one, and values stored apart are in the old one. Keys are validated as ever: their hashes are
 * the keyspace's.
 */
static tern_status check_converted(struct commit_request *request, const struct commit_part *part) {
    const tern_keyspace *keyspace = part->keyspace;
    for (size_t i = 0; i < part->count; i++) {
        const struct engine_change *change = &part->changes[i];
        if ((int)change->record.kind != (int)CHANGE_DELETE_RANGE &&
            change->key.size > keyspace->key_bytes_max) {
            return ERROR_SET(&request->error, TERN_TOO_LARGE,
                             "a key of %zu bytes for keyspace '%s', which takes 1 to %zu since it "
                             "was converted",
                             change->key.size, keyspace->name, keyspace->key_bytes_max);
        }
        if (change->record.kind == RECORD_LARGE && change->large_partition != keyspace->partition) {
            return keyspace_say_converted(keyspace, &request->error);
        }
    }
    return TERN_OK;
}

static tern_status validate_horizon(struct txn_manager *manager, struct commit_request *request) {
    if (request->snapshot_seq < conflict_table_horizon(manager->conflicts) &&
        (request->flags & (COMMIT_VALIDATE_WRITES | COMMIT_VALIDATE_READS | COMMIT_EXPECT)) != 0) {
        return conflict(manager, request, NULL, "something (too long ago to tell)", false);
    }
    return TERN_OK;
}

tern_status commit_validate(struct txn_manager *manager, const struct range_history *history,
                            struct commit_request *request) {
    bool validates = (request->flags & (COMMIT_VALIDATE_WRITES | COMMIT_EXPECT)) != 0;
    bool has_locks = lock_manager_held(manager->locks) != 0;
    tern_status status = validate_horizon(manager, request);
    for (size_t i = 0; status == TERN_OK && i < request->catalog_count; i++) {
        const struct catalog_change *change = &request->catalog[i];
        if (change->is_drop && validates &&
            atomic_load_explicit(&change->keyspace->last_write_seq, memory_order_relaxed) >
                request->snapshot_seq) {
            status = conflict(manager, request, change->keyspace, "the dropped keyspace", true);
        }
    }
    for (size_t i = 0; status == TERN_OK && i < request->part_count; i++) {
        const struct commit_part *part = &request->parts[i];
        status = check_keyspace(request, part->keyspace);
        if (status == TERN_OK &&
            atomic_load_explicit(&part->keyspace->shown_seq, memory_order_relaxed) != SEQ_NONE) {
            status = check_converted(request, part);
        }
        for (size_t j = 0; status == TERN_OK && (validates || has_locks) && j < part->count; j++) {
            if (validates) {
                status =
                    validate_change(manager, history, request, part->keyspace, &part->changes[j]);
            }
            if (status == TERN_OK && has_locks) {
                status = check_locks(manager, request, part->keyspace, &part->changes[j]);
            }
        }
    }
    if (status == TERN_OK && (request->flags & COMMIT_VALIDATE_READS) != 0) {
        status = validate_reads(manager, history, request);
    }
    return status;
}

void commit_remember(struct txn_manager *manager, struct range_history *history,
                     const struct commit_request *request, seq_no seq) {
    bool records = atomic_load_explicit(&manager->live_writers, memory_order_seq_cst) > 0;
    for (size_t i = 0; i < request->part_count; i++) {
        const struct commit_part *part = &request->parts[i];
        atomic_store_explicit(&part->keyspace->last_write_seq, seq, memory_order_relaxed);
        for (size_t j = 0; j < part->count; j++) {
            const struct engine_change *change = &part->changes[j];
            if ((int)change->record.kind == (int)CHANGE_DELETE_RANGE) {
                remember_range(history, part->keyspace->id, change, seq);
            } else if (records) {
                conflict_table_record(manager->conflicts, change->key_hash, seq,
                                      change->record.kind == RECORD_MERGE);
            }
        }
    }
    for (size_t i = 0; i < request->catalog_count; i++) {
        if (request->catalog[i].is_drop) {
            history->newest_seq = seq; /* of whom reads are known by hash only */
        }
    }
    if (!records) {
        conflict_table_set_horizon(manager->conflicts, seq);
    }
}
