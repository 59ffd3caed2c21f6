/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction on request: drains what is in overlays, rewrites sparse pages, moves blocks from the
 * tails of files down, and cuts the tails off. Each step publishes its result, so commits and
 * checkpoints go on in between.
 */
#include "base/error.h"
#include "db/database_internal.h"
#include "txn/commit_queue.h"

#define COMPACT_QUANTUM_BYTES ((size_t)4 << 20)
#define PASSES_MAX            8u
/* So many turns in a row go to writers' room; then the checkpoint under way is brought to its end,
 * or one after the other would be under way whenever there is a turn. */
#define TURNS_FOR_ROOM_MAX 2u

/* Nothing is left to move: cuts the tail off. No checkpoint is under way. */
static tern_status shrink(struct tern_db *db, tern_keyspace *keyspace, uint64_t *out_freed_bytes,
                          tern_error *error) {
    uint64_t freed = 1;
    tern_status status = space_settle(db, error);
    while (status == TERN_OK && freed > 0) {
        status = keyspace->methods->shrink(keyspace->engine, &freed, error);
        *out_freed_bytes += status == TERN_OK ? freed : 0;
    }
    return status;
}

/* A quantum of one keyspace; *out_more false at the end of a pass, which gave back
 * *out_freed_bytes.
 */
static tern_status compact_some(struct tern_db *db, tern_keyspace *keyspace, bool *out_more,
                                uint64_t *out_freed_bytes, tern_error *error) {
    enum engine_drain_state state = ENGINE_DRAIN_IDLE;
    *out_more = false;
    *out_freed_bytes = 0;
    if (keyspace->engine == NULL || atomic_load(&keyspace->state) != KEYSPACE_LIVE) {
        return TERN_OK;
    }
    tern_status status =
        keyspace->methods->compact_step(keyspace->engine, COMPACT_QUANTUM_BYTES, &state, error);
    care_note_written(db);
    if (status == TERN_OK) {
        status = checkpoint_publish(db, false, error);
    }
    *out_more = state != ENGINE_DRAIN_IDLE;
    return status == TERN_OK && !*out_more ? shrink(db, keyspace, out_freed_bytes, error) : status;
}

/* Compaction on request keeps to the limit, too. */
static bool has_to_wait(struct tern_db *db, const tern_keyspace *keyspace, uint64_t *out_delay_ns) {
    return keyspace->methods->maintain_step != NULL && care_is_paced(db, out_delay_ns);
}

/* Writers' room comes first; after each checkpoint there is a quantum all the same. `turns`: in a
 * row, without one. */
static tern_status compact_one_step(struct tern_db *db, tern_keyspace *keyspace, unsigned *turns,
                                    bool *out_more, uint64_t *out_freed_bytes, tern_error *error) {
    uint64_t delay_ns = 0;
    *out_more = true;
    mutex_lock(&db->maintenance_mutex);
    tern_status status = maintenance_first(db, error);
    bool is_last = ++*turns >= TURNS_FOR_ROOM_MAX;
    while (status == TERN_OK && is_last && db->maintenance.phase != CHECKPOINT_IDLE) {
        bool more;
        status = checkpoint_step(db, false, &more, error);
    }
    bool is_idle = status == TERN_OK && db->maintenance.phase == CHECKPOINT_IDLE;
    if (is_idle && !has_to_wait(db, keyspace, &delay_ns)) {
        *turns = 0;
        status = compact_some(db, keyspace, out_more, out_freed_bytes, error);
    }
    mutex_unlock(&db->maintenance_mutex);
    if (delay_ns > 0) {
        maintenance_pause(delay_ns);
    } else {
        maintenance_give_way(db);
    }
    return status;
}

static void begin(struct tern_db *db, tern_keyspace *keyspace) {
    mutex_lock(&db->maintenance_mutex);
    if (keyspace->engine != NULL && keyspace->methods->compact_begin != NULL) {
        keyspace->methods->compact_begin(keyspace->engine);
    }
    mutex_unlock(&db->maintenance_mutex);
}

static void end(struct tern_db *db, tern_keyspace *keyspace) {
    mutex_lock(&db->maintenance_mutex);
    if (keyspace->engine != NULL && keyspace->methods->compact_end != NULL) {
        keyspace->methods->compact_end(keyspace->engine);
    }
    mutex_unlock(&db->maintenance_mutex);
}

static tern_status compact_keyspace(struct tern_db *db, tern_keyspace *keyspace,
                                    tern_progress_function progress, void *context, uint64_t done,
                                    uint64_t total, tern_error *error) {
    uint64_t freed = 1;
    unsigned turns = 0;
    tern_status status = TERN_OK;
    begin(db, keyspace);
    /* A pass fills what is free; what it has moved away makes room for the next. */
    for (unsigned pass = 0; status == TERN_OK && freed > 0 && pass < PASSES_MAX; pass++) {
        bool more = true;
        while (status == TERN_OK && more) {
            if (progress != NULL && !progress(context, keyspace->name, done, total)) {
                status = ERROR_SET(error, TERN_CANCELLED, "compaction was cancelled");
                break;
            }
            status = compact_one_step(db, keyspace, &turns, &more, &freed, error);
        }
    }
    end(db, keyspace);
    return status;
}

tern_status tern_compact(tern_db *db, tern_progress_function progress, void *progress_context,
                         tern_error *error) {
    REQUIRE(error, db != NULL, "no database");
    tern_status status = tern_checkpoint(db, error);
    mutex_lock(&db->catalog_mutex);
    uint32_t count = db->slot_count;
    mutex_unlock(&db->catalog_mutex);
    for (uint32_t i = 0; status == TERN_OK && i < count; i++) {
        bool exists;
        tern_keyspace *keyspace = catalog_at(db, i, &exists);
        if (keyspace != NULL) {
            status = compact_keyspace(db, keyspace, progress, progress_context, i, count, error);
        }
    }
    maintenance_wake(db); /* files are left to remove, and level 0 may have grown */
    if (status == TERN_OK && progress != NULL) {
        (void)progress(progress_context, "done", count, count);
    }
    return status;
}
