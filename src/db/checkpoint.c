/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints: moving overlays into bases and letting the log go.
 *
 *   begin     one moment under the applier role: every overlay is frozen at the same seq f, and the
 *             log's end P is noted: everything after f is at or after P
 *   step      drains a quantum of one keyspace; when engines have slices ready: publish
 *   publish   seal roots -> sync the log -> sync the bases -> switch the manifest -> new view
 *   last      when nothing frozen is left, the manifest's log_start moves to P
 *
 * Invariants:
 *  K1 (promise 3) the log is durable up to everything a sealed root holds before the manifest that
 *     names the root is written.
 *  K2 (promise 4) log segments and superseded blocks are released only when both manifests are past
 *     them: the lower log_start of the two, and the view generations of both count as live.
 *  K3 (promise 7) a manifest whose sync failed may or may not be on disk, and of a base whose sync
 *     failed nobody knows what is: no manifest is written after either, by whomever.
 *  K4 chunks of large values stay until the commit that names them has been drained.
 *
 * A keyspace whose drain fails for good is left out (aside.c): the checkpoint is complete without
 * it, but the log stays from its first commit that was not drained.
 */
#include <stdlib.h>

#include "base/error.h"
#include "db/database_internal.h"
#include "txn/commit_queue.h"

/* Written per step; a few milliseconds. A writer who helps does less, in about one. */
#define DRAIN_QUANTUM_BYTES  ((size_t)1 << 20)
#define HELP_QUANTUM_BYTES   ((size_t)128 << 10)
#define LIVE_GENERATIONS_MIN 64
/* Steps, of one or several keyspaces, whose slices go into one publish at most. */
#define GROUP_STEPS_MAX         32u
#define MEMORY_PER_GROUPED_STEP ((uint64_t)32 << 20)
#define RELEASE_RETRY_NS        ((uint64_t)1000000000)

void checkpoint_update_debt(struct tern_db *db) {
    uint64_t debt = 0;
    mutex_lock(&db->catalog_mutex);
    for (uint32_t i = 0; i < db->slot_count; i++) {
        /* Who is aside has a debt that nobody can pay. */
        if (db->slots[i] != NULL &&
            atomic_load_explicit(&db->slots[i]->aside, memory_order_relaxed) == NULL) {
            debt += db->slots[i]->methods->drain_debt(db->slots[i]->engine);
        }
    }
    mutex_unlock(&db->catalog_mutex);
    atomic_store_explicit(&db->drain_debt, debt, memory_order_relaxed);
}

static tern_keyspace *slot_at(struct tern_db *db, size_t index) {
    mutex_lock(&db->catalog_mutex);
    tern_keyspace *keyspace = index < db->slot_count ? db->slots[index] : NULL;
    mutex_unlock(&db->catalog_mutex);
    return keyspace;
}

static uint32_t slot_count(struct tern_db *db) {
    mutex_lock(&db->catalog_mutex);
    uint32_t count = db->slot_count;
    mutex_unlock(&db->catalog_mutex);
    return count;
}

tern_status checkpoint_begin(struct tern_db *db, tern_error *error) {
    struct maintenance *maintenance = &db->maintenance;
    commit_applier_lock(&db->manager);
    seq_no seq = db->manager.next_seq - 1;
    if (atomic_load_explicit(&db->manager.visible_seq, memory_order_relaxed) != seq) {
        /* A group whose sync failed is in the overlays and in no view: it stays there. */
        commit_applier_unlock(&db->manager);
        return log_error_poisoned(error);
    }
    tern_status status = views_prepare(db, db->slot_count, error);
    uint64_t time_ms = atomic_load_explicit(&db->manager.visible_time_ms, memory_order_relaxed);
    bool has_frozen = false;
    for (uint32_t i = 0; status == TERN_OK && i < db->slot_count; i++) {
        bool changed = false;
        tern_keyspace *keyspace = db->slots[i];
        if (keyspace != NULL) {
            keyspace->has_failed_drain = false;
            status = keyspace->methods->freeze(keyspace->engine, seq, time_ms, &changed, error);
            has_frozen = has_frozen || changed;
        }
    }
    log_position position = log_end_position(db->manager.log);
    if (has_frozen) {
        views_refresh(db);
    }
    commit_applier_unlock(&db->manager);
    /* What was frozen before another failed is drained too: nothing else would ever do it. */
    if (status == TERN_OK || has_frozen) {
        maintenance->phase = CHECKPOINT_DRAIN;
        maintenance->is_partial = status != TERN_OK;
        maintenance->frozen_seq = seq;
        maintenance->frozen_time_ms = time_ms;
        maintenance->frozen_position = position;
        maintenance->keyspace_index = 0;
        maintenance->group_steps = 0;
        atomic_store_explicit(&db->is_draining, true, memory_order_relaxed);
    }
    checkpoint_update_debt(db);
    return status;
}

/* Slices that wait for one publish: each holds memory of a drain until then. */
static uint32_t group_steps_max(const struct tern_db *db) {
    uint64_t steps = db->options.memory_bytes / MEMORY_PER_GROUPED_STEP;
    return steps < 1 ? 1 : steps > GROUP_STEPS_MAX ? GROUP_STEPS_MAX : (uint32_t)steps;
}

/* Slices are ready, and no more are to be waited for. */
static bool is_group_due(struct tern_db *db) {
    const struct maintenance *maintenance = &db->maintenance;
    return maintenance->group_steps >= group_steps_max(db) ||
           (maintenance->group_steps > 0 && maintenance->keyspace_index >= slot_count(db));
}

/* One publish for all slices that are ready; then those keyspaces are asked again. */
static tern_status publish_group(struct tern_db *db, tern_error *error) {
    struct maintenance *maintenance = &db->maintenance;
    tern_status status = checkpoint_publish(db, false, error);
    if (status == TERN_OK) {
        maintenance->keyspace_index = maintenance->group_first;
        maintenance->group_steps = 0;
    }
    return status;
}

/* A quantum of the keyspace whose turn it is; on to the next when it has nothing left, or a slice
 * is ready. */
static tern_status drain_some(struct tern_db *db, size_t quantum_bytes, bool *out_worked,
                              tern_error *error) {
    struct maintenance *maintenance = &db->maintenance;
    tern_keyspace *keyspace = slot_at(db, maintenance->keyspace_index);
    enum engine_drain_state state = ENGINE_DRAIN_IDLE;
    tern_status status = TERN_OK;
    if (keyspace != NULL && !keyspace->has_failed_drain) {
        tern_error failure = TERN_ERROR_INIT;
        status = keyspace->methods->drain_step(keyspace->engine, quantum_bytes, &state, &failure);
        if (status != TERN_OK && aside_take(db, keyspace, status, &failure)) {
            atomic_fetch_add_explicit(&db->counters.drain_failures, 1, memory_order_relaxed);
            state = ENGINE_DRAIN_IDLE;
            status = TERN_OK;
        } else if (status != TERN_OK) {
            error_copy(error, &failure);
            return status;
        }
    }
    if (state == ENGINE_DRAIN_SLICE) {
        atomic_fetch_add_explicit(&db->counters.slices, 1, memory_order_relaxed);
        if (maintenance->group_steps == 0) {
            maintenance->group_first = maintenance->keyspace_index;
        }
    }
    bool is_in_group = state == ENGINE_DRAIN_SLICE || maintenance->group_steps > 0;
    maintenance->group_steps += is_in_group && state != ENGINE_DRAIN_IDLE ? 1 : 0;
    maintenance->keyspace_index += state != ENGINE_DRAIN_MORE ? 1 : 0;
    *out_worked = state != ENGINE_DRAIN_IDLE;
    return TERN_OK;
}

/* Everything is drained and published. */
static tern_status end_checkpoint(struct tern_db *db, bool *out_more, tern_error *error) {
    struct maintenance *maintenance = &db->maintenance;
    tern_status status = checkpoint_publish(db, !maintenance->is_partial, error);
    checkpoint_update_debt(db);
    if (status != TERN_OK) {
        *out_more = true;
        return status;
    }
    maintenance->phase = CHECKPOINT_IDLE;
    atomic_store_explicit(&db->is_draining, false, memory_order_relaxed);
    if (maintenance->is_partial) {
        *out_more = true;
        return TERN_OK;
    }
    aside_settle(db);
    maintenance->drained_seq = maintenance->frozen_seq;
    maintenance->used_after_checkpoint = budget_used(&db->budget, BUDGET_OVERLAY);
    atomic_store_explicit(&db->checkpoint_done, maintenance->frozen_seq, memory_order_release);
    atomic_fetch_add_explicit(&db->counters.checkpoints, 1, memory_order_relaxed);
    space_look_again(db);
    return TERN_OK;
}

tern_status checkpoint_step(struct tern_db *db, bool helps, bool *out_more, tern_error *error) {
    size_t quantum_bytes = helps ? HELP_QUANTUM_BYTES : DRAIN_QUANTUM_BYTES;
    struct maintenance *maintenance = &db->maintenance;
    *out_more = false;
    if (maintenance->phase == CHECKPOINT_IDLE) {
        return TERN_OK;
    }
    bool has_worked = false;
    tern_status status = TERN_OK;
    while (status == TERN_OK && !has_worked && !is_group_due(db) &&
           maintenance->keyspace_index < slot_count(db)) {
        status = drain_some(db, quantum_bytes, &has_worked, error);
    }
    if (status == TERN_OK && !helps && is_group_due(db)) {
        status = publish_group(db, error);
        has_worked = true;
    } else if (status != TERN_OK && !helps && maintenance->group_steps > 0) {
        (void)publish_group(db, NULL); /* what others have ready does not wait for this one */
    }
    checkpoint_update_debt(db);
    if (status != TERN_OK) {
        atomic_fetch_add_explicit(&db->counters.drain_failures, 1, memory_order_relaxed);
    }
    if (status != TERN_OK || has_worked || helps) {
        *out_more = true;
        return status;
    }
    return end_checkpoint(db, out_more, error);
}

/* ---- publishing ---- */

/* What a manifest is made of, taken at one moment. */
struct manifest_draft {
    struct manifest manifest;
    tern_keyspace **keyspaces; /* live ones */
    struct manifest_keyspace *entries;
    size_t *state_offsets;
    struct buffer states;
    log_position log_end;
};

static void draft_release(struct tern_db *db, struct manifest_draft *draft) {
    memory_release(db->allocator, draft->keyspaces);
    memory_release(db->allocator, draft->entries);
    memory_release(db->allocator, draft->state_offsets);
    buffer_release(&draft->states);
}

/* The catalog and the end of the log, as of one seq. */
static tern_status draft_begin(struct tern_db *db, struct manifest_draft *draft,
                               tern_error *error) {
    *draft = (struct manifest_draft){0};
    buffer_init(&draft->states, db->allocator);
    tern_status status = TERN_OK;
    commit_applier_lock(&db->manager);
    size_t capacity = (size_t)db->slot_count + 1;
    draft->keyspaces = memory_allocate(db->allocator, capacity * sizeof(draft->keyspaces[0]));
    draft->entries = memory_allocate_zeroed(db->allocator, capacity * sizeof(draft->entries[0]));
    draft->state_offsets =
        memory_allocate(db->allocator, capacity * sizeof(draft->state_offsets[0]));
    if (draft->keyspaces == NULL || draft->entries == NULL || draft->state_offsets == NULL) {
        status = ERROR_NO_MEMORY(error, "the manifest");
    } else {
        size_t count = 0;
        db->maintenance.drafted_generation = db->maintenance.manifest_generation + 1;
        for (uint32_t i = 0; i < db->slot_count; i++) {
            if (db->slots[i] != NULL) {
                draft->keyspaces[count++] = db->slots[i];
            }
        }
        draft->manifest = (struct manifest){
            .view_generation = db->view_generation + 1,
            .catalog_seq = db->catalog_seq,
            .last_seq = db->manager.next_seq - 1,
            .time_ms = atomic_load_explicit(&db->manager.visible_time_ms, memory_order_relaxed),
            .next_partition = atomic_load_explicit(&db->next_partition, memory_order_relaxed),
            .has_expiring = atomic_load_explicit(&db->manager.has_expiring, memory_order_relaxed),
            .incarnation = db->environment.incarnation,
            .keyspace_count = count};
        draft->log_end = log_end_position(db->manager.log);
    }
    commit_applier_unlock(&db->manager);
    return status;
}

static tern_status draft_states(struct manifest_draft *draft, tern_error *error) {
    for (size_t i = 0; i < draft->manifest.keyspace_count; i++) {
        const tern_keyspace *keyspace = draft->keyspaces[i];
        struct engine_drained drained;
        draft->state_offsets[i] = draft->states.size;
        tern_status status =
            keyspace->methods->state(keyspace->engine, &draft->states, &drained, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    for (size_t i = 0; i < draft->manifest.keyspace_count; i++) {
        const tern_keyspace *keyspace = draft->keyspaces[i];
        size_t end = i + 1 < draft->manifest.keyspace_count ? draft->state_offsets[i + 1]
                                                            : draft->states.size;
        draft->entries[i] = (struct manifest_keyspace){
            .id = keyspace->partition,
            .keyspace_id = keyspace->id,
            .shown_seq = atomic_load_explicit(&keyspace->shown_seq, memory_order_relaxed),
            .created_seq = atomic_load_explicit(&keyspace->created_seq, memory_order_relaxed),
            .options = keyspace->options,
            .hash_seed = keyspace->engine->hasher.seed,
            .name = tern_slice_str(keyspace->name),
            .state = tern_slice_of(draft->states.data + draft->state_offsets[i],
                                   end - draft->state_offsets[i])};
    }
    draft->manifest.keyspaces = draft->entries;
    return TERN_OK;
}

static tern_status refuse_after_failure(struct tern_db *db, tern_error *error) {
    error_copy(error, &db->maintenance.failure);
    return TERN_POISONED;
}

/* K3. */
static void poison_checkpoints(struct maintenance *maintenance, const tern_error *failure) {
    maintenance->has_failed = true;
    maintenance->failure = *failure;
    maintenance->failure.status = TERN_POISONED;
}

/* Switches the root; K3 on failure. */
static tern_status write_manifest(struct tern_db *db, struct manifest_draft *draft,
                                  tern_error *error) {
    struct maintenance *maintenance = &db->maintenance;
    draft->manifest.generation = maintenance->manifest_generation + 1;
    tern_error failure = TERN_ERROR_INIT;
    tern_status status = manifest_write(db->manifest, &draft->manifest, &failure);
    if (status == TERN_OK) {
        maintenance->manifest_generation++;
        maintenance->previous_log_start = maintenance->written_log_start;
        maintenance->written_log_start = draft->manifest.log_start;
        maintenance->log_start = draft->manifest.log_start;
        atomic_fetch_add_explicit(&db->counters.manifests, 1, memory_order_relaxed);
        return TERN_OK;
    }
    error_copy(error, &failure);
    if (status != TERN_DISK_FULL && status != TERN_NO_MEMORY) { /* else nothing was synced */
        poison_checkpoints(maintenance, &failure);
    }
    return status;
}

/* A drain may meet what it cannot read where it ends. */
static bool leaves_out(struct tern_db *db, tern_keyspace *keyspace, tern_status status,
                       const tern_error *failure) {
    bool is_left =
        db->maintenance.phase != CHECKPOINT_IDLE && aside_take(db, keyspace, status, failure);
    if (is_left) {
        atomic_fetch_add_explicit(&db->counters.drain_failures, 1, memory_order_relaxed);
    }
    return is_left;
}

static tern_status seal_all(struct tern_db *db, bool *out_changed, tern_error *error) {
    *out_changed = false;
    for (uint32_t i = 0; i < slot_count(db); i++) {
        tern_keyspace *keyspace = slot_at(db, i);
        bool changed = false;
        if (keyspace == NULL) {
            continue;
        }
        tern_error failure = TERN_ERROR_INIT;
        tern_status status = keyspace->methods->seal(keyspace->engine, &changed, &failure);
        if (status != TERN_OK && !leaves_out(db, keyspace, status, &failure)) {
            error_copy(error, &failure);
            return status;
        }
        keyspace->is_sealed = keyspace->is_sealed || changed;
        *out_changed = *out_changed || keyspace->is_sealed;
    }
    return TERN_OK;
}

static tern_status sync_sealed(struct tern_db *db, struct manifest_draft *draft,
                               tern_error *error) {
    tern_error failure = TERN_ERROR_INIT;
    tern_status status = TERN_OK;
    bool in_doubt = false;
    for (size_t i = 0; status == TERN_OK && i < draft->manifest.keyspace_count; i++) {
        const tern_keyspace *keyspace = draft->keyspaces[i];
        if (keyspace->is_sealed) {
            status = keyspace->methods->sync(keyspace->engine, &in_doubt, &failure);
        }
    }
    if (status != TERN_OK) {
        error_copy(error, &failure);
        if (in_doubt) {
            poison_checkpoints(&db->maintenance, &failure);
        }
    }
    return status;
}

/* The manifest is durable: readers get the new roots. */
static tern_status show_sealed(struct tern_db *db, tern_error *error) {
    struct maintenance *maintenance = &db->maintenance;
    commit_applier_lock(&db->manager);
    tern_status status = views_prepare(db, db->slot_count, error);
    bool has_published = false;
    for (uint32_t i = 0; status == TERN_OK && i < db->slot_count; i++) {
        tern_keyspace *keyspace = db->slots[i];
        if (keyspace == NULL || !keyspace->is_sealed) {
            continue;
        }
        status = keyspace->methods->publish(keyspace->engine, db->view_generation + 1, error);
        if (status == TERN_OK) {
            keyspace->is_sealed = false;
            has_published = true;
        }
    }
    if (has_published) {
        views_refresh(db);
    }
    maintenance->durable_generations[1] = maintenance->durable_generations[0];
    maintenance->durable_generations[0] = db->view_generation;
    commit_applier_unlock(&db->manager);
    return status;
}

void checkpoint_release_log(struct tern_db *db) {
    const struct maintenance *maintenance = &db->maintenance;
    log_position position = maintenance->log_start < maintenance->previous_log_start
                                ? maintenance->log_start
                                : maintenance->previous_log_start;
    uint64_t after_ns = 0;
    if (log_release(db->manager.log, position, NULL) != TERN_OK &&
        !log_is_poisoned(db->manager.log)) {
        atomic_fetch_add_explicit(&db->counters.log_release_failures, 1, memory_order_relaxed);
        after_ns = database_now_ns(db) + RELEASE_RETRY_NS;
    }
    atomic_store_explicit(&db->release_after_ns, after_ns, memory_order_relaxed);
}

void checkpoint_release_log_soon(struct tern_db *db) {
    atomic_store_explicit(&db->release_after_ns, 1, memory_order_relaxed);
}

tern_status checkpoint_publish(struct tern_db *db, bool is_last, tern_error *error) {
    struct maintenance *maintenance = &db->maintenance;
    struct manifest_draft draft;
    bool has_sealed = false;
    if (maintenance->has_failed) {
        return refuse_after_failure(db, error);
    }
    tern_status status = seal_all(db, &has_sealed, error);
    if (status != TERN_OK || (!has_sealed && !is_last)) {
        return status;
    }
    status = draft_begin(db, &draft, error);
    if (status == TERN_OK) {
        status = log_sync(db->manager.log, draft.log_end, error); /* K1 */
    }
    if (status == TERN_OK) {
        status = sync_sealed(db, &draft, error);
    }
    if (status == TERN_OK) {
        status = draft_states(&draft, error);
    }
    if (status == TERN_OK) {
        draft.manifest.log_start = maintenance->log_start;
        if (is_last) {
            log_position needed =
                large_retention_oldest(&db->manager.retention, maintenance->frozen_seq);
            draft.manifest.log_start =
                needed < maintenance->frozen_position ? needed : maintenance->frozen_position;
            log_position kept = aside_kept_from(db);
            draft.manifest.log_start =
                kept < draft.manifest.log_start ? kept : draft.manifest.log_start;
        }
        status = write_manifest(db, &draft, error);
    }
    draft_release(db, &draft);
    if (status == TERN_OK) {
        status = show_sealed(db, error);
    }
    if (status == TERN_OK) {
        if (is_last) {
            large_retention_settle(&db->manager.retention, maintenance->frozen_seq);
            prewarm_save_soon(db);
        }
        checkpoint_release_log(db);
        (void)checkpoint_release_blocks(db);
        checkpoint_collect_dropped(db);
    }
    return status;
}

bool checkpoint_has_sealed(struct tern_db *db) {
    for (uint32_t i = 0; i < slot_count(db); i++) {
        const tern_keyspace *keyspace = slot_at(db, i);
        if (keyspace != NULL && keyspace->is_sealed) {
            return true;
        }
    }
    return false;
}

tern_status checkpoint_rewrite_manifest(struct tern_db *db, tern_error *error) {
    struct manifest_draft draft;
    if (db->maintenance.has_failed) {
        return refuse_after_failure(db, error);
    }
    if (checkpoint_has_sealed(db)) {
        /* Engines tell of their sealed roots, and those may not have been synced. */
        return checkpoint_publish(db, false, error);
    }
    tern_status status = draft_begin(db, &draft, error);
    if (status == TERN_OK) {
        status = log_sync(db->manager.log, draft.log_end, error);
    }
    if (status == TERN_OK) {
        status = draft_states(&draft, error);
    }
    if (status == TERN_OK) {
        draft.manifest.log_start = db->maintenance.log_start;
        status = write_manifest(db, &draft, error);
    }
    draft_release(db, &draft);
    return status;
}

/* Dropped, and its engine still open; a view without it has been made. */
static bool is_on_its_way_out(const tern_keyspace *keyspace) {
    return atomic_load_explicit(&keyspace->state, memory_order_relaxed) == KEYSPACE_DROPPED &&
           keyspace->engine != NULL && keyspace->gone_view_generation != 0;
}

static bool is_in_manifests(const struct tern_db *db, const tern_keyspace *keyspace) {
    return keyspace->gone_manifest_generation + MANIFEST_SLOTS >
           db->maintenance.manifest_generation;
}

/* A dropped keyspace is still in one of the manifests, so its files have to stay. */
static bool names_dropped(struct tern_db *db) {
    bool found = false;
    if (atomic_load_explicit(&db->dropped_keyspaces, memory_order_relaxed) == 0) {
        return false;
    }
    mutex_lock(&db->catalog_mutex);
    for (const tern_keyspace *keyspace = db->keyspaces; keyspace != NULL && !found;
         keyspace = keyspace->next) {
        found = is_on_its_way_out(keyspace) && is_in_manifests(db, keyspace);
    }
    mutex_unlock(&db->catalog_mutex);
    return found;
}

tern_status checkpoint_settle(struct tern_db *db, tern_error *error) {
    struct maintenance *maintenance = &db->maintenance;
    bool is_settled = maintenance->previous_log_start == maintenance->written_log_start &&
                      maintenance->durable_generations[1] == maintenance->durable_generations[0];
    if (maintenance->phase != CHECKPOINT_IDLE || maintenance->has_failed ||
        checkpoint_has_sealed(db)) {
        return TERN_OK;
    }
    bool has_dropped = names_dropped(db);
    tern_status status = TERN_OK;
    if (has_dropped) {
        status = space_settle(db, error);
    } else if (!is_settled) {
        status = checkpoint_rewrite_manifest(db, error);
        if (status == TERN_OK) {
            /* No root has changed since the last publish. */
            maintenance->durable_generations[1] = maintenance->durable_generations[0];
            (void)checkpoint_release_blocks(db);
        }
    }
    if (status == TERN_OK && (has_dropped || !is_settled)) {
        checkpoint_release_log(db);
    }
    if (status == TERN_OK) {
        checkpoint_collect_dropped(db); /* the last reader may have gone meanwhile */
    }
    return status;
}

/* ---- letting go ---- */

static int compare_u64(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* Live view generations with those of both manifests, ascending; NULL when out of memory. */
static uint64_t *live_generations(struct tern_db *db, size_t *out_count) {
    size_t capacity = LIVE_GENERATIONS_MIN;
    for (;;) {
        uint64_t *live =
            memory_allocate(db->allocator, (capacity + MANIFEST_SLOTS) * sizeof(live[0]));
        if (live == NULL) {
            return NULL;
        }
        size_t count = txn_manager_live_generations(&db->manager, live, capacity);
        if (count <= capacity) {
            for (size_t i = 0; i < MANIFEST_SLOTS; i++) {
                live[count++] = db->maintenance.durable_generations[i];
            }
            qsort(live, count, sizeof(live[0]), compare_u64);
            *out_count = count;
            return live;
        }
        memory_release(db->allocator, live);
        capacity = count * 2;
    }
}

/* For engines that learn of snapshots with what is applied: nothing may be for a long time. */
static void note_horizon(struct tern_db *db) {
    bool has_any = false;
    for (uint32_t i = 0; i < slot_count(db) && !has_any; i++) {
        const tern_keyspace *keyspace = slot_at(db, i);
        has_any = keyspace != NULL && keyspace->methods->note_horizon != NULL;
    }
    if (!has_any) {
        return;
    }
    struct engine_horizon horizon;
    commit_applier_lock(&db->manager);
    snapshot_registry_horizon(db->manager.snapshots,
                              atomic_load_explicit(&db->manager.visible_seq, memory_order_relaxed),
                              &horizon);
    for (uint32_t i = 0; i < db->slot_count; i++) {
        const tern_keyspace *keyspace = db->slots[i];
        if (keyspace != NULL && keyspace->methods->note_horizon != NULL) {
            keyspace->methods->note_horizon(keyspace->engine, &horizon);
        }
    }
    commit_applier_unlock(&db->manager);
}

bool checkpoint_release_blocks(struct tern_db *db) {
    size_t count = 0;
    bool has_more = false;
    note_horizon(db);
    (void)epoch_reclaim(db->manager.epoch);
    uint64_t *live = live_generations(db, &count);
    if (live == NULL) {
        return false; /* next time */
    }
    for (uint32_t i = 0; i < slot_count(db); i++) {
        tern_keyspace *keyspace = slot_at(db, i);
        if (keyspace != NULL && keyspace->methods->release(keyspace->engine, live, count)) {
            has_more = true;
        }
    }
    memory_release(db->allocator, live);
    return has_more;
}

uint64_t checkpoint_oldest_view(struct tern_db *db) {
    uint64_t oldest = UINT64_MAX;
    mutex_lock(&db->manager.views_mutex);
    for (const struct database_view *view = db->manager.live_views; view != NULL;
         view = view->next_live) {
        oldest = view->generation < oldest ? view->generation : oldest;
    }
    mutex_unlock(&db->manager.views_mutex);
    return oldest;
}

/* Does a live view show it, or something else in its slot, which is another's from then on? */
static bool is_in_views(struct tern_db *db, const tern_keyspace *keyspace) {
    bool found = false;
    mutex_lock(&db->manager.views_mutex);
    for (const struct database_view *view = db->manager.live_views; view != NULL && !found;
         view = view->next_live) {
        found = view_part(view, keyspace) != NULL;
        /* A conversion has put it into another slot: old views show it in that. */
        for (uint32_t i = 0; i < view->slot_count && !found; i++) {
            found = view->parts[i] != NULL && view->parts[i]->engine == keyspace->engine;
        }
    }
    mutex_unlock(&db->manager.views_mutex);
    return found;
}

static tern_keyspace *next_dropped(struct tern_db *db) {
    tern_keyspace *found = NULL;
    mutex_lock(&db->catalog_mutex);
    for (tern_keyspace *keyspace = db->keyspaces; keyspace != NULL && found == NULL;
         keyspace = keyspace->next) {
        bool is_gone = is_on_its_way_out(keyspace) && !keyspace->is_held &&
                       !is_in_manifests(db, keyspace) && !is_in_views(db, keyspace);
        found = is_gone ? keyspace : NULL;
    }
    mutex_unlock(&db->catalog_mutex);
    return found;
}

/* Whatever was held may have been let go. */
static void forget_held(struct tern_db *db) {
    if (atomic_exchange_explicit(&db->held_keyspaces, 0, memory_order_relaxed) > 0) {
        mutex_lock(&db->catalog_mutex);
        for (tern_keyspace *keyspace = db->keyspaces; keyspace != NULL; keyspace = keyspace->next) {
            keyspace->is_held = false;
        }
        mutex_unlock(&db->catalog_mutex);
    }
}

/*
 * An engine is closed when no live view shows it and both manifests are past it. Its own views have
 * gone through the epoch then, for they were released by database views that are gone; all but
 * those that pinned values hold. Nobody waits for these: it is looked at again.
 */
void checkpoint_collect_dropped(struct tern_db *db) {
    forget_held(db);
    while (atomic_load_explicit(&db->dropped_keyspaces, memory_order_relaxed) > 0) {
        (void)epoch_reclaim(db->manager.epoch);
        tern_keyspace *keyspace = next_dropped(db);
        if (keyspace == NULL) {
            return;
        }
        epoch_drain(db->manager.epoch);
        if (keyspace->methods->is_held(keyspace->engine)) {
            keyspace->is_held = true;
            atomic_fetch_add_explicit(&db->held_keyspaces, 1, memory_order_relaxed);
            continue;
        }
        keyspace->methods->close(catalog_take_engine(db, keyspace));
        /* What cannot be removed now is removed at the next open. */
        (void)keyspace->methods->destroy(&db->environment, keyspace->partition, NULL);
    }
}
