/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Converting a keyspace to another engine, or other options of its engine, while it is used.
 *
 *   capture    from now on every commit notes the keys of the keyspace that it touches
 *   build      the records of a snapshot go into a new partition that nobody knows of
 *   register   the partition gets a hidden handle, and both manifests name it
 *   catch up   keys noted meanwhile are copied, in rounds that get shorter
 *   switch     under the maintenance and the applier role: the last of them are copied, and one
 *              commit gives the keyspace the new partition; then the old one is dropped
 *
 * Invariants:
 *  V1 until the switch is committed the keyspace is its old partition, whatever happens: a hidden
 *     partition whose switch recovery does not find in the log is dropped, readable or not. A
 *     conversion that a crash ends is not resumed.
 *  V2 at the switch the new partition holds what the old one holds (C1 to C3 in
 *     convert_catch_up.c), and every manifest that recovery may choose names its base.
 *  V3 the switch is visible to a reader exactly when commits that follow it are: the view with the
 *     new partition is published in the applier role, after the seq of the switch and before any
 *     later one becomes visible. Older snapshots keep the old partition by their views.
 *  V4 what a transaction prepared for the old partition is either the keyspace's (keys: their
 *     hashes and locks do not change; an engine that hashes otherwise gets hashes of its own from
 *     whoever reads from it or applies to it) or is refused at commit with TERN_CONFLICT (values
 * stored apart, ranges to be validated; commit_validate.c). V5 no checkpoint is under way at the
 * switch: it walks the partitions by slot.
 */
#include <stdlib.h>

#include "base/error.h"
#include "db/convert_internal.h"
#include "txn/commit_queue.h"
#include "txn/point_read.h"

/* Keys noted in memory at most before writers are held back. */
#define CAPTURE_BYTES ((uint64_t)8 << 20)
/* A round as short as this is followed by the switch. */
#define SHORT_ROUND_BYTES ((uint64_t)32 << 10)
/* With writers held back: tries before they get on for a while, and rounds of a try. */
#define SWITCH_TRIES   8
#define CLOSING_ROUNDS 8

tern_status convert_report(struct conversion *conversion) {
    uint64_t total = conversion->total > conversion->done ? conversion->total : conversion->done;
    if (conversion->progress != NULL && !conversion->holds_writers &&
        !conversion->progress(conversion->progress_context, conversion->keyspace->name,
                              conversion->done, total)) {
        return ERROR_SET(conversion->error, TERN_CANCELLED,
                         "the conversion was cancelled; keyspace '%s' is as before",
                         conversion->keyspace->name);
    }
    return TERN_OK;
}

tern_status convert_say_too_long(struct conversion *conversion, size_t key_bytes) {
    return ERROR_SET(conversion->error, TERN_TOO_LARGE,
                     "keyspace '%s' has a key of %zu bytes, and would take 1 to %zu; convert it "
                     "with larger pages, or shorten the key",
                     conversion->keyspace->name, key_bytes, conversion->key_bytes_max);
}

/* ---- beginning ---- */

static tern_status check(struct tern_db *db, const tern_keyspace *keyspace, tern_error *error) {
    if (db->options.read_only) {
        return ERROR_SET(error, TERN_READ_ONLY, "the database is open read-only");
    }
    if (log_is_poisoned(db->manager.log)) {
        return ERROR_SET(error, TERN_POISONED,
                         "a sync failed earlier; close the database, check the device, open again");
    }
    return keyspace_check_absence(keyspace, error);
}

static bool are_equal(const tern_keyspace_options *left, const tern_keyspace_options *right) {
    return left->engine == right->engine && left->compression == right->compression &&
           left->page_bytes == right->page_bytes && left->fan_out == right->fan_out &&
           left->fill_percent == right->fill_percent && left->compaction == right->compaction &&
           left->hash_index == right->hash_index && left->hash_function == right->hash_function &&
           left->max_load_percent == right->max_load_percent &&
           left->expected_keys == right->expected_keys && left->filter_bits == right->filter_bits &&
           memcmp(left->level_compression, right->level_compression,
                  sizeof(left->level_compression)) == 0;
}

/* Nothing that is stored would be otherwise, only how it is merged from now on. */
static bool is_style_only(const tern_keyspace_options *from, const tern_keyspace_options *to) {
    tern_keyspace_options same = *from;
    same.compaction = to->compaction;
    return to->engine == TERN_ENGINE_LSM && are_equal(&same, to);
}

/* One conversion of a keyspace at a time. */
static tern_status claim(struct conversion *conversion, bool *out_needed, bool *out_copies) {
    tern_keyspace *keyspace = conversion->keyspace;
    mutex_lock(&conversion->db->catalog_mutex);
    if (keyspace->engine == NULL) { /* dropped since it was looked at, and gone */
        mutex_unlock(&conversion->db->catalog_mutex);
        return keyspace_check_absence(keyspace, conversion->error);
    }
    bool is_free = !keyspace->is_converting;
    keyspace->is_converting = true;
    *out_needed = !are_equal(&keyspace->options, &conversion->options);
    *out_copies = !is_style_only(&keyspace->options, &conversion->options);
    const struct key_hasher *hasher = &keyspace->engine->hasher;
    conversion->hash_seed = hasher->function == conversion->options.hash_function
                                ? hasher->seed
                                : catalog_draw_seed(conversion->db);
    conversion->checks_keys = keyspace->key_bytes_max > conversion->key_bytes_max;
    mutex_unlock(&conversion->db->catalog_mutex);
    return is_free ? TERN_OK
                   : ERROR_SET(conversion->error, TERN_LOCKED,
                               "keyspace '%s' is being converted already", keyspace->name);
}

static void unclaim(struct conversion *conversion) {
    mutex_lock(&conversion->db->catalog_mutex);
    conversion->keyspace->is_converting = false;
    mutex_unlock(&conversion->db->catalog_mutex);
}

static void begin_capture(struct conversion *conversion) {
    struct tern_db *db = conversion->db;
    commit_applier_lock(&db->manager);
    conversion->keyspace->capture = &conversion->capture;
    commit_applier_unlock(&db->manager);
    conversion->is_captured = true;
}

static void end_capture(struct conversion *conversion) {
    struct tern_db *db = conversion->db;
    if (conversion->is_captured) {
        commit_applier_lock(&db->manager);
        conversion->keyspace->capture = NULL;
        commit_applier_unlock(&db->manager);
        conversion->is_captured = false;
    }
}

/* ---- the maintenance role between checkpoints ---- */

/* One step towards it; *out_idle: no checkpoint is under way, and nothing is sealed. */
static tern_status step_to_idle(struct conversion *conversion, bool *out_idle) {
    struct tern_db *db = conversion->db;
    bool more;
    tern_status status = TERN_OK;
    if (db->maintenance.phase != CHECKPOINT_IDLE) {
        status = checkpoint_step(db, false, &more, conversion->error);
    }
    if (status == TERN_OK && db->maintenance.phase == CHECKPOINT_IDLE &&
        checkpoint_has_sealed(db)) {
        status = checkpoint_publish(db, false, conversion->error);
    }
    *out_idle =
        status == TERN_OK && db->maintenance.phase == CHECKPOINT_IDLE && !checkpoint_has_sealed(db);
    return status;
}

/* Takes the maintenance role between two checkpoints (V5). */
static tern_status lock_idle(struct conversion *conversion) {
    struct tern_db *db = conversion->db;
    for (;;) {
        bool is_idle = false;
        mutex_lock(&db->maintenance_mutex);
        tern_status status = step_to_idle(conversion, &is_idle);
        if (is_idle) {
            return TERN_OK;
        }
        mutex_unlock(&db->maintenance_mutex);
        if (status == TERN_OK) {
            maintenance_give_way(db);
            status = convert_report(conversion);
        }
        if (status != TERN_OK) {
            return status;
        }
    }
}

/* Both manifests say what is live now. Maintenance role. */
static tern_status write_manifests(struct tern_db *db, tern_error *error) {
    tern_status status = TERN_OK;
    for (unsigned i = 0; status == TERN_OK && i < MANIFEST_SLOTS; i++) {
        status = checkpoint_rewrite_manifest(db, error);
    }
    return status;
}

static void set_style(struct tern_db *db, tern_keyspace *keyspace, tern_compaction compaction) {
    mutex_lock(&db->catalog_mutex);
    keyspace->options.compaction = compaction;
    mutex_unlock(&db->catalog_mutex);
}

/* Only how tables are merged from now on: the catalog says so, and nothing is copied. */
static tern_status restyle(struct conversion *conversion) {
    struct tern_db *db = conversion->db;
    tern_keyspace *keyspace = conversion->keyspace;
    tern_status status = lock_idle(conversion);
    if (status != TERN_OK) {
        return status;
    }
    status = keyspace_check_absence(keyspace, conversion->error);
    if (status == TERN_OK) {
        tern_compaction before = keyspace->options.compaction;
        set_style(db, keyspace, conversion->options.compaction);
        status = write_manifests(db, conversion->error);
        if (status == TERN_OK) {
            keyspace->methods->restyle(keyspace->engine, &conversion->options);
            checkpoint_update_debt(db);
        } else {
            set_style(db, keyspace, before);
        }
    }
    mutex_unlock(&db->maintenance_mutex);
    maintenance_wake(db);
    return status;
}

/* What has been dropped goes, as far as no snapshot holds it. Failures leave it to later
 * checkpoints, or to the next open. */
static void clear_away(struct tern_db *db) {
    mutex_lock(&db->maintenance_mutex);
    if (db->maintenance.phase == CHECKPOINT_IDLE && !db->maintenance.has_failed &&
        write_manifests(db, NULL) == TERN_OK) {
        checkpoint_collect_dropped(db);
    }
    mutex_unlock(&db->maintenance_mutex);
}

/* ---- the hidden handle ---- */

static tern_status make_live(struct conversion *conversion) {
    struct tern_db *db = conversion->db;
    commit_applier_lock(&db->manager);
    tern_status status = views_prepare(db, db->slot_count + 1, conversion->error);
    if (status == TERN_OK) {
        status =
            catalog_make_live(db, conversion->target,
                              atomic_load(&conversion->keyspace->created_seq), conversion->error);
    }
    if (status == TERN_OK) {
        views_refresh(db);
    }
    commit_applier_unlock(&db->manager);
    return status;
}

static tern_status register_target(struct conversion *conversion) {
    struct engine_drained drained;
    struct tern_db *db = conversion->db;
    tern_status status = catalog_open_keyspace(
        db, conversion->partition, conversion->keyspace->id,
        tern_slice_str(conversion->keyspace->name), &conversion->options, conversion->hash_seed,
        buffer_slice(&conversion->state), &drained, &conversion->target, conversion->error);
    if (status != TERN_OK) {
        return status;
    }
    atomic_store_explicit(&conversion->target->shown_seq, SEQ_MAX, memory_order_relaxed);
    status = lock_idle(conversion);
    if (status != TERN_OK) {
        return status;
    }
    status = make_live(conversion);
    if (status == TERN_OK) {
        status = write_manifests(db, conversion->error); /* V2 */
    }
    mutex_unlock(&db->maintenance_mutex);
    return status;
}

/* A conversion that did not come to its end leaves nothing. */
static void give_up(struct conversion *conversion) {
    struct tern_db *db = conversion->db;
    tern_keyspace *target = conversion->target;
    if (target == NULL || atomic_load(&target->state) == KEYSPACE_PENDING) {
        if (target != NULL) {
            database_keyspace_forget(target);
        }
        if (conversion->partition != 0) {
            convert_remove_files(conversion);
        }
        return;
    }
    commit_applier_lock(&db->manager);
    catalog_mark_dropped(db, target, db->manager.next_seq - 1);
    if (views_prepare(db, db->slot_count, NULL) == TERN_OK) {
        views_refresh(db);
    }
    commit_applier_unlock(&db->manager);
    clear_away(db);
}

/* ---- the switch ---- */

/* Applier and maintenance role. */
static tern_status commit_switch(struct conversion *conversion) {
    struct tern_db *db = conversion->db;
    struct catalog_change change = {.keyspace = conversion->keyspace, .target = conversion->target};
    struct commit_request request = {
        .catalog = &change, .catalog_count = 1, .durability = db->options.durability};
    tern_status status = commit_submit_leading(&db->manager, &request);
    if (status != TERN_OK) {
        error_copy(conversion->error, &request.error);
    }
    return status;
}

/* Maintenance role, writers held back: rounds until what is left can be copied while they wait. */
static tern_status close_up(struct conversion *conversion) {
    uint64_t bytes = UINT64_MAX;
    tern_status status = TERN_OK;
    conversion->has_maintenance = true;
    for (int i = 0; status == TERN_OK && bytes > 0 && i < CLOSING_ROUNDS &&
                    !convert_is_behind(conversion, SHORT_ROUND_BYTES);
         i++) {
        status = convert_catch_up(conversion, &bytes);
    }
    conversion->has_maintenance = false;
    return status;
}

/* One try, while writers are held back. */
static tern_status try_to_switch(struct conversion *conversion, bool *out_done) {
    struct tern_db *db = conversion->db;
    bool is_equal = false;
    uint64_t bytes;
    *out_done = false;
    tern_status status = TERN_OK;
    if (convert_is_behind(conversion, SHORT_ROUND_BYTES)) {
        status = convert_catch_up(conversion, &bytes); /* while others can make room for it */
    }
    if (status == TERN_OK) {
        status = lock_idle(conversion);
    }
    if (status != TERN_OK) {
        return status;
    }
    status = close_up(conversion);
    if (status == TERN_OK) {
        commit_applier_lock(&db->manager);
        status = convert_finish(conversion, &is_equal);
        if (status == TERN_OK && is_equal) {
            status = commit_switch(conversion);
            *out_done = status == TERN_OK;
        }
        if (*out_done) {
            conversion->keyspace->capture = NULL;
            conversion->is_captured = false;
        }
        commit_applier_unlock(&db->manager);
    }
    mutex_unlock(&db->maintenance_mutex);
    return status;
}

static tern_status switch_over(struct conversion *conversion) {
    struct tern_db *db = conversion->db;
    tern_status status = TERN_OK;
    bool is_done = false;
    while (status == TERN_OK && !is_done) {
        conversion->holds_writers = true;
        atomic_fetch_add_explicit(&db->writers_held, 1, memory_order_release);
        for (int i = 0; status == TERN_OK && !is_done && i < SWITCH_TRIES; i++) {
            status = try_to_switch(conversion, &is_done);
        }
        atomic_fetch_sub_explicit(&db->writers_held, 1, memory_order_release);
        conversion->holds_writers = false;
        if (status == TERN_OK && !is_done) {
            status = convert_report(conversion);
        }
    }
    return status;
}

static tern_status run(struct conversion *conversion) {
    begin_capture(conversion);
    tern_status status = convert_build(conversion);
    if (status == TERN_OK) {
        status = register_target(conversion);
    }
    uint64_t bytes = UINT64_MAX;
    while (status == TERN_OK && bytes > SHORT_ROUND_BYTES) {
        status = convert_catch_up(conversion, &bytes);
        /* Writers may be as fast: each round has to be half as long as the one before. */
        uint64_t limit = bytes / 2 > SHORT_ROUND_BYTES / 2 ? bytes / 2 : SHORT_ROUND_BYTES / 2;
        atomic_store_explicit(&conversion->capture.limit_bytes,
                              limit < CAPTURE_BYTES ? limit : CAPTURE_BYTES, memory_order_relaxed);
        if (status == TERN_OK) {
            status = convert_report(conversion);
        }
    }
    return status == TERN_OK ? switch_over(conversion) : status;
}

static tern_status convert(struct conversion *conversion) {
    struct tern_db *db = conversion->db;
    conversion->chunk = memory_allocate(db->allocator, LARGE_COPY_BYTES);
    tern_status status =
        conversion->chunk != NULL ? TERN_OK : ERROR_NO_MEMORY(conversion->error, "a conversion");
    if (status == TERN_OK) {
        status = run(conversion);
    }
    end_capture(conversion);
    if (status == TERN_OK) {
        atomic_fetch_add_explicit(&db->counters.conversions, 1, memory_order_relaxed);
        clear_away(db);
        maintenance_wake(db);
    } else {
        atomic_fetch_add_explicit(&db->counters.conversions_failed, 1, memory_order_relaxed);
        if (status != TERN_UNKNOWN) { /* then the next open knows */
            give_up(conversion);
        }
    }
    convert_backlog_close(&conversion->backlog);
    memory_release(db->allocator, conversion->chunk);
    return status;
}

tern_status tern_keyspace_convert(tern_keyspace *keyspace, const tern_keyspace_options *to,
                                  tern_progress_function progress, void *progress_context,
                                  tern_error *error) {
    REQUIRE(error, keyspace != NULL, "no keyspace");
    struct tern_db *db = database_of(keyspace);
    struct conversion conversion = {.db = db,
                                    .keyspace = keyspace,
                                    .progress = progress,
                                    .progress_context = progress_context,
                                    .error = error};
    bool is_needed = false;
    bool copies = false;
    tern_status status = check(db, keyspace, error);
    if (status == TERN_OK) {
        status = catalog_check_request(to, &conversion.options, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    conversion.methods = engine_methods_of(conversion.options.engine);
    conversion.key_bytes_max = conversion.methods->key_bytes_max(&conversion.options);
    status = claim(&conversion, &is_needed, &copies);
    if (status != TERN_OK) {
        return status;
    }
    buffer_init(&conversion.state, db->allocator);
    change_capture_init(&conversion.capture, db->allocator, &db->budget, CAPTURE_BYTES,
                        &db->writers_held);
    if (is_needed) {
        status = copies ? convert(&conversion) : restyle(&conversion);
    }
    change_capture_release(&conversion.capture);
    buffer_release(&conversion.state);
    unclaim(&conversion);
    if (status == TERN_OK && is_needed && progress != NULL) {
        (void)progress(progress_context, keyspace->name, conversion.done, conversion.done);
    }
    return status;
}
