/* SPDX-License-Identifier: Apache-2.0 */
#include "txn/single_operation.h"

#include "base/compare.h"
#include "base/error.h"
#include "txn/large_value.h"
#include "txn/multi_read.h"
#include "txn/point_read.h"
#include "txn/txn.h"

/* ---- reads ---- */

static inline tern_status begin_read(tern_keyspace *keyspace, tern_slice key,
                                     struct engine_scratch *scratch, struct point_read *read,
                                     tern_error *error) {
    if (__builtin_expect(!key_is_possible(keyspace, key), 0)) {
        return TERN_NOT_FOUND;
    }
    struct txn_manager *manager = keyspace->manager;
    tern_status status = point_read_begin(manager, NULL, keyspace, key,
                                          keyspace_key_hash(keyspace, key), scratch, read, error);
    if (status == TERN_OK && read->result.record.kind == RECORD_NONE) {
        point_read_end(read);
        status = TERN_NOT_FOUND;
    }
    return status;
}

static inline void release_scratch(struct engine_scratch *scratch) {
    if (__builtin_expect(scratch->value.data != NULL || scratch->spare.data != NULL, 0)) {
        engine_scratch_release(scratch);
    }
}

tern_status single_get(tern_keyspace *keyspace, tern_slice key, void *buffer, size_t capacity,
                       size_t *out_size, tern_error *error) {
    struct point_read read;
    struct engine_scratch scratch;
    engine_scratch_init(&scratch, keyspace->manager->allocator);
    tern_status status = begin_read(keyspace, key, &scratch, &read, error);
    if (status == TERN_OK) {
        struct engine *engine = read.part->engine;
        status = value_copy(engine, &read.result.record, buffer, capacity, out_size, error);
        point_read_end(&read);
    }
    release_scratch(&scratch);
    return status;
}

tern_status single_get_pinned(tern_keyspace *keyspace, tern_slice key, tern_value *out_value,
                              tern_error *error) {
    struct point_read read;
    struct engine_scratch scratch;
    engine_scratch_init(&scratch, keyspace->manager->allocator);
    tern_status status = begin_read(keyspace, key, &scratch, &read, error);
    if (status == TERN_OK) {
        status = value_pin(&read, &scratch, NULL, out_value, error);
        point_read_end(&read);
    }
    release_scratch(&scratch);
    return status;
}

tern_status single_multi_get(tern_keyspace *keyspace, tern_get_request *requests, size_t count,
                             tern_error *error) {
    return multi_read(keyspace->manager, NULL, keyspace, requests, count, NULL, NULL, error);
}

/* ---- blind writes ---- */

/* What a commit of the one change needs; field by field, for the error is long. */
static void init_single(struct commit_single *single, tern_keyspace *keyspace,
                        tern_durability durability) {
    const struct txn_manager *manager = keyspace->manager;
    struct commit_request *request = &single->request;
    single->part = (struct commit_part){keyspace, &single->change, 1};
    request->parts = &single->part;
    request->part_count = 1;
    request->catalog = NULL;
    request->catalog_count = 0;
    request->change_count = 1;
    request->bytes = single->change.key.size + single->change.record.value.size;
    request->flags = 0;
    request->durability =
        durability != TERN_DURABILITY_DEFAULT ? durability : manager->default_durability;
    request->snapshot_seq = SEQ_NONE;
    request->expected_until_ms = 0;
    request->read_hashes = NULL;
    request->read_count = 0;
    request->read_ranges = NULL;
    request->range_count = 0;
    request->owner_id = 0;
    request->place.engine = NULL;
    request->place.node = NULL;
    request->on_done = NULL;
    request->on_done_context = NULL;
    request->status = TERN_OK;
    request->error.status = TERN_OK;
    request->error.system_errno = 0;
    request->error.offset = -1;
    request->error.source_file = NULL;
    request->error.source_line = 0;
    request->error.file[0] = request->error.message[0] = '\0';
    request->seq = SEQ_NONE;
    request->next = NULL;
}

static tern_status check_writable(const tern_keyspace *keyspace, tern_error *error) {
    if (__builtin_expect(keyspace->manager->read_only, 0)) {
        return ERROR_SET(error, TERN_READ_ONLY,
                         "the database was opened read-only, keyspace '%s' cannot be written",
                         keyspace->name);
    }
    if (__builtin_expect(
            atomic_load_explicit(&keyspace->state, memory_order_relaxed) != KEYSPACE_LIVE, 0)) {
        return keyspace_check_absence(keyspace, error);
    }
    return TERN_OK;
}

static tern_status check_write(const tern_keyspace *keyspace, tern_slice key, tern_error *error) {
    tern_status status = check_writable(keyspace, error);
    return status == TERN_OK ? write_check_key(keyspace, key, error) : status;
}

static tern_status submit(struct commit_request *request, struct txn_manager *manager,
                          tern_error *error) {
    tern_status status = write_throttle(manager, request->bytes, error);
    if (status == TERN_OK) {
        commit_find_place(manager, request);
        status = commit_submit(manager, request);
        if (__builtin_expect(status != TERN_OK, 0)) {
            error_copy(error, &request->error);
        }
    }
    return status;
}

/* The change is filled in. */
static tern_status commit_change(tern_keyspace *keyspace, struct commit_single *single,
                                 tern_durability durability, tern_error *error) {
    init_single(single, keyspace, durability);
    if (atomic_load_explicit(&keyspace->manager->live_writers, memory_order_relaxed) > 0) {
        conflict_table_prefetch(keyspace->manager->conflicts, single->change.key_hash);
    }
    return submit(&single->request, keyspace->manager, error);
}

/* After an unknown outcome the commit may hold: what it refers to must stay. */
static bool must_discard(tern_status status) {
    return status != TERN_OK && status != TERN_UNKNOWN;
}

/* The keyspace may be converted while a value is written apart: then it is written again. */
#define LARGE_TRIES_MAX 16

static tern_status put_large(tern_keyspace *keyspace, tern_slice key, uint64_t key_hash,
                             tern_slice value, uint64_t ttl_ms, tern_durability durability,
                             tern_error *error) {
    tern_status status = TERN_OK;
    bool is_stale = true;
    for (int tries = 0; is_stale && tries < LARGE_TRIES_MAX; tries++) {
        struct large_value large;
        status = large_value_write(keyspace->manager, keyspace, false, value, &large, error);
        if (status != TERN_OK) {
            return status;
        }
        struct commit_single single;
        single.change = large_value_change(&large, key, key_hash, ttl_ms);
        status = commit_change(keyspace, &single, durability, error);
        is_stale = status == TERN_CONFLICT && large_value_is_stale(&large);
        large_value_close(&large, must_discard(status));
    }
    return status;
}

tern_status single_put(tern_keyspace *keyspace, tern_slice key, tern_slice value, uint64_t ttl_ms,
                       tern_durability durability, tern_error *error) {
    tern_status status = check_write(keyspace, key, error);
    if (status == TERN_OK) {
        status = write_check_value(keyspace, value.size, error);
    }
    if (__builtin_expect(status != TERN_OK, 0)) {
        return status;
    }
    uint64_t key_hash = keyspace_key_hash(keyspace, key);
    if (__builtin_expect(value.size > keyspace->manager->large_value_bytes, 0)) {
        return put_large(keyspace, key, key_hash, value, ttl_ms, durability, error);
    }
    write_note_ttl(keyspace->manager, ttl_ms);
    struct commit_single single;
    single.change = (struct engine_change){.key = key,
                                           .key_hash = key_hash,
                                           .record = {.kind = RECORD_PUT, .value = value},
                                           .ttl_ms = ttl_ms};
    return commit_change(keyspace, &single, durability, error);
}

tern_status single_delete(tern_keyspace *keyspace, tern_slice key, tern_durability durability,
                          tern_error *error) {
    tern_status status = check_write(keyspace, key, error);
    if (status != TERN_OK) {
        return status;
    }
    struct commit_single single;
    single.change = (struct engine_change){.key = key,
                                           .key_hash = keyspace_key_hash(keyspace, key),
                                           .record = {.kind = RECORD_DELETE}};
    return commit_change(keyspace, &single, durability, error);
}

tern_status single_merge(tern_keyspace *keyspace, tern_slice key, tern_merge_kind kind,
                         tern_slice operand, tern_durability durability, tern_error *error) {
    tern_status status = check_write(keyspace, key, error);
    if (status != TERN_OK) {
        return status;
    }
    struct commit_single single;
    single.change = (struct engine_change){
        .key = key,
        .key_hash = keyspace_key_hash(keyspace, key),
        .record = {.kind = RECORD_MERGE, .merge_kind = (uint32_t)kind, .value = operand}};
    return commit_change(keyspace, &single, durability, error);
}

tern_status single_delete_range(tern_keyspace *keyspace, const tern_slice *begin,
                                const tern_slice *end, tern_durability durability,
                                tern_error *error) {
    tern_status status = check_writable(keyspace, error);
    if (status != TERN_OK) {
        return status;
    }
    struct commit_single single;
    single.change = (struct engine_change){
        .key = begin != NULL ? *begin : tern_slice_of("", 0),
        .record = {.kind = CHANGE_DELETE_RANGE, .value = end != NULL ? *end : tern_slice_of("", 0)},
        .range_has_end = end != NULL};
    return commit_change(keyspace, &single, durability, error);
}

/* ---- compare and set ----
 *
 * Reads, compares, and commits on condition that the key has not changed since the read. A conflict
 * sends it back to the read: when the value is still the expected one (the conflict table errs
 * towards conflict, or the value changed and changed back) it tries again.
 *
 * A value that expires between the two is gone at the commit's time: that is a conflict, too. Time
 * is then moved on, so that the read that follows sees it, and so does everybody.
 */

#define COMPARE_TRIES_MAX 1000

struct comparison {
    tern_keyspace *keyspace;
    tern_slice key;
    uint64_t key_hash;
    const tern_slice *expected;
    tern_value *out_current;
    const struct large_value *large; /* what is to be set, when it is stored apart */
    seq_no seq;                      /* of the read */
    uint64_t until_ms;               /* when what was read expires; 0: never */
    bool is_equal;
};

static tern_status equals_large(struct point_read *read, tern_slice expected, bool *out_equal,
                                tern_error *error) {
    uint8_t piece[16384];
    size_t offset = 0;
    bool equal = read->result.record.value_size == expected.size;
    while (equal && offset < expected.size) {
        size_t size;
        tern_status status = value_copy_part(read->part->engine, &read->result.record, offset,
                                             piece, sizeof(piece), &size, error);
        if (status != TERN_OK) {
            return status;
        }
        equal = memcmp(piece, (const uint8_t *)expected.data + offset, size) == 0;
        offset += size;
    }
    *out_equal = equal;
    return TERN_OK;
}

/* Compares what is there now; when it differs, it is pinned for the caller. */
static tern_status compare(struct comparison *comparison, tern_error *error) {
    struct txn_manager *manager = comparison->keyspace->manager;
    const tern_slice *expected = comparison->expected;
    struct engine_scratch scratch;
    struct point_read read;
    engine_scratch_init(&scratch, manager->allocator);
    tern_status status = point_read_begin(manager, NULL, comparison->keyspace, comparison->key,
                                          comparison->key_hash, &scratch, &read, error);
    if (status != TERN_OK) {
        goto done;
    }
    const struct record *record = &read.result.record;
    comparison->seq = read.moment.seq;
    comparison->until_ms = record->kind != RECORD_NONE ? record->expires_ms : 0;
    if (record->kind == RECORD_NONE || expected == NULL) {
        comparison->is_equal = record->kind == RECORD_NONE && expected == NULL;
    } else if (record->kind == RECORD_LARGE) {
        status = equals_large(&read, *expected, &comparison->is_equal, error);
    } else {
        comparison->is_equal = slice_equal(record->value, *expected);
    }
    if (status == TERN_OK && !comparison->is_equal && comparison->out_current != NULL) {
        if (record->kind == RECORD_NONE) {
            *comparison->out_current = (tern_value)TERN_VALUE_INIT;
        } else {
            status = value_pin(&read, &scratch, NULL, comparison->out_current, error);
        }
    }
    point_read_end(&read);
done:
    release_scratch(&scratch);
    return status;
}

/* Commits `change` as long as the comparison holds. */
static tern_status commit_compared(struct comparison *comparison,
                                   const struct engine_change *change, tern_durability durability,
                                   tern_error *error) {
    struct txn_manager *manager = comparison->keyspace->manager;
    struct commit_single single;
    single.change = *change;
    for (int tries = 0; tries < COMPARE_TRIES_MAX; tries++) {
        tern_status status = compare(comparison, error);
        if (status != TERN_OK) {
            return status;
        }
        if (!comparison->is_equal) {
            return ERROR_SET(error, TERN_CONFLICT,
                             "a key in keyspace '%s' does not hold the expected value",
                             comparison->keyspace->name);
        }
        if (change->record.kind == RECORD_DELETE && comparison->expected == NULL) {
            return TERN_OK;
        }
        if (comparison->seq < conflict_table_horizon(manager->conflicts)) {
            /* A commit that nobody was to be validated against is about to become visible. */
            txn_wait_for_commits(manager);
            continue;
        }
        init_single(&single, comparison->keyspace, durability);
        single.request.flags = COMMIT_EXPECT;
        single.request.snapshot_seq = comparison->seq;
        single.request.expected_until_ms = comparison->until_ms;
        status = submit(&single.request, manager, error);
        if (status == TERN_CONFLICT && comparison->until_ms != 0) {
            tern_status ticked = commit_tick(manager, error);
            status = ticked == TERN_OK ? status : ticked;
        }
        if (status != TERN_CONFLICT ||
            (comparison->large != NULL && large_value_is_stale(comparison->large))) {
            return status;
        }
    }
    return ERROR_SET(error, TERN_CONFLICT,
                     "a key in keyspace '%s' changed during each of %d tries; try again later",
                     comparison->keyspace->name, COMPARE_TRIES_MAX);
}

/* Once; *out_stale: the value was written apart and the keyspace converted meanwhile. */
static tern_status set_compared(struct comparison *comparison, const tern_slice *desired,
                                uint64_t ttl_ms, tern_durability durability, bool *out_stale,
                                tern_error *error) {
    struct txn_manager *manager = comparison->keyspace->manager;
    struct large_value large;
    struct engine_change change = {.key = comparison->key,
                                   .key_hash = comparison->key_hash,
                                   .record = {.kind = RECORD_DELETE}};
    bool is_large = desired != NULL && desired->size > manager->large_value_bytes;
    *out_stale = false;
    comparison->large = NULL;
    if (is_large) {
        tern_status status =
            large_value_write(manager, comparison->keyspace, false, *desired, &large, error);
        if (status != TERN_OK) {
            return status;
        }
        change = large_value_change(&large, comparison->key, comparison->key_hash, ttl_ms);
        comparison->large = &large;
    } else if (desired != NULL) {
        write_note_ttl(manager, ttl_ms);
        change.record = (struct record){.kind = RECORD_PUT, .value = *desired};
        change.ttl_ms = ttl_ms;
    }
    atomic_fetch_add_explicit(&manager->live_writers, 1, memory_order_seq_cst);
    tern_status status = commit_compared(comparison, &change, durability, error);
    atomic_fetch_sub_explicit(&manager->live_writers, 1, memory_order_seq_cst);
    if (is_large) {
        *out_stale =
            status == TERN_CONFLICT && comparison->is_equal && large_value_is_stale(&large);
        large_value_close(&large, must_discard(status));
    }
    return status;
}

tern_status single_compare_and_set(tern_keyspace *keyspace, tern_slice key,
                                   const tern_slice *expected, const tern_slice *desired,
                                   uint64_t ttl_ms, tern_durability durability,
                                   tern_value *out_current, tern_error *error) {
    tern_status status = check_write(keyspace, key, error);
    if (status == TERN_OK && desired != NULL) {
        status = write_check_value(keyspace, desired->size, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    struct comparison comparison = {.keyspace = keyspace,
                                    .key = key,
                                    .key_hash = keyspace_key_hash(keyspace, key),
                                    .expected = expected,
                                    .out_current = out_current};
    bool is_stale = true;
    for (int tries = 0; is_stale && tries < LARGE_TRIES_MAX; tries++) {
        status = set_compared(&comparison, desired, ttl_ms, durability, &is_stale, error);
    }
    return status;
}
