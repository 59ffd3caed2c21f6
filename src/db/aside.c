/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page of one base is damaged, and the drain that needs it fails, now and whenever it is tried.
 * Then that keyspace is set aside:
 *
 *   it       takes no writes (they would have nowhere to go), is read as far as its base can be,
 *            and is tried again with every checkpoint
 *   the log  is kept from its first commit that is not in the base
 *   others   are checkpointed, published and given their memory back as ever
 *
 * Invariants:
 *  X1 no commit of a keyspace that is aside is in the released part of the log: kept_from is not
 *     above any of them, and no manifest that is written while it is aside begins above kept_from.
 *  X2 what it holds in memory does not grow: the overlays that were active when it was set aside,
 *     and those before. The cache gives up as much.
 *
 * What is wrong with the device or with memory is nobody's in particular: then all wait, as for a
 * full disk. A read or write error counts as the keyspace's when it comes again and again.
 */
#include "db/aside.h"

#include <stdio.h>

#include "base/error.h"
#include "db/database_internal.h"

/* In one checkpoint; they are a tenth of a second apart. */
#define IO_FAILURES_MAX 20u

static bool is_lasting(tern_keyspace *keyspace, tern_status status) {
    if (status == TERN_IO) {
        return ++keyspace->drain_failures >= IO_FAILURES_MAX;
    }
    return status == TERN_CORRUPTION || status == TERN_VERSION || status == TERN_UNSUPPORTED;
}

/* Also what a writer is told: it ends with what can be done. */
static bool note_failure(struct tern_db *db, tern_keyspace *keyspace, tern_status status,
                         const tern_error *error) {
    struct keyspace_failure *failure = memory_allocate(db->allocator, sizeof(*failure));
    if (failure == NULL) {
        return false;
    }
    failure->older = keyspace->failures;
    failure->error = *error;
    failure->error.status = status;
    (void)snprintf(failure->error.message, sizeof(failure->error.message),
                   "keyspace '%.60s' takes no writes: its file cannot take what was committed "
                   "(%.120s); it can be read, its log is kept, others go on; run 'tern verify', "
                   "then 'tern repair' into a new directory, or drop it",
                   keyspace->name, error->message);
    keyspace->failures = failure;
    atomic_store_explicit(&keyspace->aside, failure, memory_order_release);
    return true;
}

/* Sums up who is aside. */
static void count_all(struct tern_db *db) {
    uint32_t count = 0;
    uint64_t bytes = 0;
    mutex_lock(&db->catalog_mutex);
    for (uint32_t i = 0; i < db->slot_count; i++) {
        const tern_keyspace *keyspace = db->slots[i];
        uint64_t all_bytes = 0;
        uint64_t active_bytes = 0;
        if (keyspace != NULL &&
            atomic_load_explicit(&keyspace->aside, memory_order_relaxed) != NULL) {
            keyspace->methods->overlay_usage(keyspace->engine, &all_bytes, &active_bytes);
            bytes += all_bytes;
            count++;
        }
    }
    mutex_unlock(&db->catalog_mutex);
    atomic_store_explicit(&db->aside_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&db->aside_count, count, memory_order_relaxed);
}

bool aside_take(struct tern_db *db, tern_keyspace *keyspace, tern_status status,
                const tern_error *failure) {
    bool is_aside = atomic_load_explicit(&keyspace->aside, memory_order_relaxed) != NULL;
    if (!is_aside &&
        (!is_lasting(keyspace, status) || !note_failure(db, keyspace, status, failure))) {
        return false;
    }
    if (!is_aside) {
        keyspace->kept_from = db->maintenance.log_start;
    }
    keyspace->has_failed_drain = true;
    count_all(db);
    return true;
}

void aside_settle(struct tern_db *db) {
    bool has_any = false;
    mutex_lock(&db->catalog_mutex);
    for (uint32_t i = 0; i < db->slot_count; i++) {
        tern_keyspace *keyspace = db->slots[i];
        if (keyspace != NULL && !keyspace->has_failed_drain) {
            has_any =
                has_any || atomic_load_explicit(&keyspace->aside, memory_order_relaxed) != NULL;
            atomic_store_explicit(&keyspace->aside, NULL, memory_order_release);
            keyspace->drain_failures = 0;
        }
    }
    mutex_unlock(&db->catalog_mutex);
    if (has_any || aside_count(db) > 0) {
        count_all(db);
    }
}

log_position aside_kept_from(struct tern_db *db) {
    log_position lowest = UINT64_MAX;
    mutex_lock(&db->catalog_mutex);
    for (uint32_t i = 0; i < db->slot_count; i++) {
        const tern_keyspace *keyspace = db->slots[i];
        if (keyspace != NULL && keyspace->has_failed_drain && keyspace->kept_from < lowest) {
            lowest = keyspace->kept_from;
        }
    }
    mutex_unlock(&db->catalog_mutex);
    return lowest;
}

tern_status aside_tell(struct tern_db *db, tern_error *error) {
    tern_status status = TERN_OK;
    mutex_lock(&db->catalog_mutex);
    for (uint32_t i = 0; status == TERN_OK && i < db->slot_count; i++) {
        const struct keyspace_failure *failure =
            db->slots[i] != NULL ? atomic_load_explicit(&db->slots[i]->aside, memory_order_acquire)
                                 : NULL;
        if (failure != NULL) {
            error_copy(error, &failure->error);
            status = failure->error.status;
        }
    }
    mutex_unlock(&db->catalog_mutex);
    return status;
}

uint32_t aside_count(const struct tern_db *db) {
    return atomic_load_explicit(&db->aside_count, memory_order_relaxed);
}

uint64_t aside_bytes(const struct tern_db *db) {
    return atomic_load_explicit(&db->aside_bytes, memory_order_relaxed);
}
