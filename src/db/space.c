/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving disk space back: when free space inside the files is worth it, blocks are moved down from
 * their tails a quantum at a time, as compaction does, and the tails are cut off.
 *
 *   look -> ( compact_step -> publish )* -> settle -> shrink
 *
 * When it is worth it depends on what else is going on. While commits come in, drains will use most
 * of the free space themselves: then only files more than half free are worked on. Once nothing has
 * been committed for a moment, an eighth is enough. After a file has been worked on, it is looked
 * at again only when it has gained free space since: what readers of old views hold cannot be
 * moved.
 *
 * Settle: blocks are free for good, and may be cut off, when both manifests are past them (K2 in
 * checkpoint.c). In an idle database nobody writes manifests, so two are written.
 */
#include "base/error.h"
#include "db/database_internal.h"
#include "txn/commit_queue.h"

#define SPACE_QUANTUM_BYTES ((size_t)1 << 20)
#define QUIET_NS            ((uint64_t)500000000)
/* Engines may do then what costs much and helps readers alone. */
#define REST_NS ((uint64_t)10000000000)
/* Free space below this, or below the part of the file, stays. */
#define FREE_BYTES_MIN  ((uint64_t)256 << 10)
#define FREE_PART_QUIET ((uint64_t)8)
#define FREE_PART_BUSY  ((uint64_t)2)
/* New free space, as a part of the file, that makes another try worth it. */
#define GAIN_PART ((uint64_t)16)
/* A checkpoint that was asked for gives back what it can in this time; the rest comes later. */
#define CHECKPOINT_NS ((uint64_t)2000000000)

/* ---- when ---- */

void space_watch(struct tern_db *db) {
    struct space_watch *watch = &db->space_watch;
    seq_no visible = atomic_load_explicit(&db->manager.visible_seq, memory_order_acquire);
    uint64_t oldest = checkpoint_oldest_view(db);
    uint64_t now = database_now_ns(db);
    bool is_due = oldest != watch->oldest_view; /* readers have let go of something */
    if (visible != watch->visible_seq) {
        watch->visible_seq = visible;
        watch->since_ns = now;
        atomic_store_explicit(&watch->is_quiet, false, memory_order_relaxed);
        atomic_store_explicit(&watch->is_at_rest, false, memory_order_relaxed);
    } else if (!atomic_load_explicit(&watch->is_quiet, memory_order_relaxed) &&
               now - watch->since_ns >= QUIET_NS) {
        atomic_store_explicit(&watch->is_quiet, true, memory_order_relaxed);
        is_due = true;
    }
    if (!atomic_load_explicit(&watch->is_at_rest, memory_order_relaxed) &&
        visible == watch->visible_seq && now - watch->since_ns >= REST_NS) {
        atomic_store_explicit(&watch->is_at_rest, true, memory_order_relaxed);
        maintenance_wake(db);
    }
    watch->oldest_view = oldest;
    if (is_due) {
        atomic_store_explicit(&watch->is_due, true, memory_order_release);
        maintenance_wake(db);
    }
}

void space_look_again(struct tern_db *db) {
    atomic_store_explicit(&db->space_watch.is_due, true, memory_order_release);
}

static bool is_worth_it(const struct tern_db *db, tern_keyspace *keyspace, bool is_quiet) {
    struct engine_space space;
    (void)db;
    keyspace->methods->space(keyspace->engine, &space);
    uint64_t free_bytes = space.free_bytes;
    if (keyspace->space_left > free_bytes) {
        keyspace->space_left = free_bytes;
    }
    uint64_t least = space.file_bytes / (is_quiet ? FREE_PART_QUIET : FREE_PART_BUSY);
    uint64_t gain = space.file_bytes / GAIN_PART;
    least = least < FREE_BYTES_MIN ? FREE_BYTES_MIN : least;
    gain = gain < FREE_BYTES_MIN / 2 ? FREE_BYTES_MIN / 2 : gain;
    bool is_new = keyspace->space_left == 0 || free_bytes >= keyspace->space_left + gain;
    return free_bytes >= least && is_new;
}

/* ---- what ---- */

tern_status space_settle(struct tern_db *db, tern_error *error) {
    tern_status status = checkpoint_has_sealed(db) ? checkpoint_publish(db, false, error) : TERN_OK;
    for (unsigned i = 0; status == TERN_OK && i < MANIFEST_SLOTS; i++) {
        status = checkpoint_rewrite_manifest(db, error);
        if (status == TERN_OK) {
            commit_applier_lock(&db->manager);
            db->maintenance.durable_generations[1] = db->maintenance.durable_generations[0];
            db->maintenance.durable_generations[0] = db->view_generation;
            commit_applier_unlock(&db->manager);
        }
    }
    if (status == TERN_OK) {
        (void)checkpoint_release_blocks(db);
    }
    return status;
}

/* Both manifests are past what was moved: cuts the tail off. */
static tern_status end_shrinking(struct tern_db *db, tern_keyspace *keyspace, bool *out_done,
                                 tern_error *error) {
    struct engine_space space;
    uint64_t freed = 1;
    keyspace->methods->space(keyspace->engine, &space);
    uint64_t file_bytes = space.file_bytes;
    tern_status status = space_settle(db, error);
    while (status == TERN_OK && freed > 0) {
        status = keyspace->methods->shrink(keyspace->engine, &freed, error);
        if (status == TERN_OK) {
            atomic_fetch_add_explicit(&db->counters.shrunk_bytes, freed, memory_order_relaxed);
        }
    }
    keyspace->methods->space(keyspace->engine, &space);
    keyspace->space_left = space.free_bytes > 0 ? space.free_bytes : 1;
    keyspace->is_shrinking = false;
    /* Another pass while this one gained something. */
    *out_done = space.file_bytes + space.file_bytes / GAIN_PART > file_bytes;
    keyspace->space_left = *out_done ? keyspace->space_left : 0;
    return status;
}

/* A quantum of one keyspace; *out_done: there is nothing more to gain. */
static tern_status shrink_some(struct tern_db *db, tern_keyspace *keyspace, bool *out_done,
                               tern_error *error) {
    enum engine_drain_state state = ENGINE_DRAIN_IDLE;
    tern_status status =
        keyspace->methods->compact_step(keyspace->engine, SPACE_QUANTUM_BYTES, &state, error);
    if (status == TERN_OK && state == ENGINE_DRAIN_SLICE) {
        status = checkpoint_publish(db, false, error);
    }
    bool is_idle = status == TERN_OK && state == ENGINE_DRAIN_IDLE;
    *out_done = false;
    return is_idle ? end_shrinking(db, keyspace, out_done, error) : status;
}

/* Begins a look at all files, if there is a reason for one. */
static bool begin_look(struct tern_db *db) {
    struct maintenance *maintenance = &db->maintenance;
    if (!maintenance->space_is_looking &&
        atomic_exchange_explicit(&db->space_watch.is_due, false, memory_order_acquire)) {
        maintenance->space_is_looking = true;
        maintenance->space_is_left = false;
        maintenance->space_index = 0;
    }
    return maintenance->space_is_looking;
}

/* What could not be done now is looked at again, at the latest when the care for it is due. */
static void end_look(struct tern_db *db) {
    struct maintenance *maintenance = &db->maintenance;
    maintenance->space_is_looking = false;
    if (maintenance->space_is_left) {
        space_look_again(db);
    }
}

/* A quantum of the file that is being looked at, or on to the next. */
static void step_file(struct tern_db *db, tern_keyspace *keyspace, bool *out_more) {
    struct maintenance *maintenance = &db->maintenance;
    bool done = true;
    tern_status status = TERN_OK;
    if (!care_is_due(db, &keyspace->space_care)) {
        maintenance->space_is_left = true;
    } else {
        keyspace->is_shrinking = true;
        status = shrink_some(db, keyspace, &done, NULL);
        *out_more = status == TERN_OK;
    }
    if (status != TERN_OK) {
        /* Not now; what was moved is moved, and the other files have their turn. */
        keyspace->is_shrinking = false;
        maintenance->space_is_left = true;
        care_failed(db, &keyspace->space_care, status);
        atomic_fetch_add_explicit(&db->counters.shrink_failures, 1, memory_order_relaxed);
    } else if (*out_more && done) {
        care_succeeded(&keyspace->space_care);
    }
    maintenance->space_index += done || status != TERN_OK ? 1 : 0;
}

void space_step(struct tern_db *db, bool *out_more) {
    struct maintenance *maintenance = &db->maintenance;
    bool is_quiet = atomic_load_explicit(&db->space_watch.is_quiet, memory_order_relaxed) ||
                    maintenance->space_is_asked;
    bool is_looking = begin_look(db);
    *out_more = false;
    while (is_looking && !*out_more) {
        tern_keyspace *keyspace = catalog_at(db, maintenance->space_index, &is_looking);
        if (!is_looking) {
            end_look(db);
        } else if (keyspace != NULL && keyspace->methods->space != NULL &&
                   (keyspace->is_shrinking || is_worth_it(db, keyspace, is_quiet))) {
            step_file(db, keyspace, out_more);
        } else {
            if (keyspace != NULL) {
                care_succeeded(&keyspace->space_care); /* nothing is left that could fail */
            }
            maintenance->space_index++;
        }
    }
}

void space_give_back(struct tern_db *db) {
    uint64_t begin = database_now_ns(db);
    bool more = true;
    tern_status status = TERN_OK;
    space_look_again(db);
    while (more && status == TERN_OK && database_now_ns(db) - begin < CHECKPOINT_NS) {
        mutex_lock(&db->maintenance_mutex);
        status = maintenance_first(db, NULL);
        if (status == TERN_OK && db->maintenance.phase == CHECKPOINT_IDLE) {
            db->maintenance.space_is_asked = true;
            space_step(db, &more);
            db->maintenance.space_is_asked = false;
        }
        mutex_unlock(&db->maintenance_mutex);
        maintenance_give_way(db);
    }
}
