/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keyspaces need besides checkpoints, while none is wanted: their engines' work in the
 * background (compaction), and giving free space back (space.c).
 *
 * What fails fails for its keyspace alone: the others go on, and it is tried again after a delay
 * that doubles with each failure in a row, up to a minute. A merge that fails at the end of its
 * inputs, again and again, would else read and write all of them without end, and fill the disk
 * each time. Only a piece of work that was published counts as a success: quanta before it do not.
 *
 * What has failed because the disk was full is tried again as soon as it has a quarter more room
 * than then; when that is not enough either, a quarter more than that.
 *
 * Keyspaces take turns, a quantum each, and in one turn out of eight files that can shrink go
 * first: whoever has work all the time keeps nobody else from his.
 *
 * Compaction keeps to compaction_bytes_per_second by what it has written: each byte moves the time
 * on up to which the limit is used up, and while that is ahead of the clock nothing is compacted.
 * What makes writers pay (level 0 is too long) is worked on all the same, or the limit would stop
 * them; it counts, so that what follows waits for longer.
 *
 * All of it belongs to the maintenance role.
 */
#include "db/database_internal.h"

#define NS_PER_MS          1000000ull
#define CARE_QUANTUM_BYTES ((size_t)1 << 20)
#define HELP_QUANTUM_BYTES ((size_t)128 << 10) /* a writer's: about a millisecond */
#define DELAY_MIN_NS       (100 * NS_PER_MS)
#define DELAY_MAX_NS       (60000 * NS_PER_MS)
#define ROOM_BYTES_MIN     ((uint64_t)1 << 20) /* more than before, to be worth another try */
#define TURNS_TO_SPACE     8u
/* What the limit on compaction has not used of the last moments may be used at once: turns of
 * maintenance are not more frequent than DELAY_MIN_NS. */
#define PACE_BURST_NS (200 * NS_PER_MS)

/* ---- when it is tried again ---- */

bool care_is_due(const struct tern_db *db, const struct keyspace_care *care) {
    return care->after_ns == 0 || database_now_ns(db) >= care->after_ns;
}

static uint64_t free_bytes(const struct tern_db *db) {
    const tern_file_system *system = db->options.file_system;
    uint64_t bytes = 0;
    return system->free_space(system->context, db->path, &bytes, NULL) == TERN_OK ? bytes : 0;
}

void care_failed(struct tern_db *db, struct keyspace_care *care, tern_status status) {
    care->wanted_bytes = 0;
    if (status == TERN_DISK_FULL) {
        uint64_t bytes = free_bytes(db);
        care->wanted_bytes = bytes + bytes / 4 + ROOM_BYTES_MIN;
    }
    uint64_t delay = care->delay_ns * 2;
    delay = delay < DELAY_MIN_NS ? DELAY_MIN_NS : delay;
    care->delay_ns = delay > DELAY_MAX_NS ? DELAY_MAX_NS : delay;
    care->after_ns = database_now_ns(db) + care->delay_ns;
}

void care_succeeded(struct keyspace_care *care) {
    *care = (struct keyspace_care){0};
}

/* ---- the limit on compaction ---- */

bool care_is_paced(const struct tern_db *db, uint64_t *out_delay_ns) {
    uint64_t now = database_now_ns(db);
    if (db->options.compaction_bytes_per_second == 0 || db->maintenance.pace_ns <= now) {
        return false;
    }
    *out_delay_ns = db->maintenance.pace_ns - now;
    return true;
}

void care_note_written(struct tern_db *db) {
    struct maintenance *maintenance = &db->maintenance;
    uint64_t limit = db->options.compaction_bytes_per_second;
    uint64_t total = atomic_load_explicit(&db->counters.compacted_bytes, memory_order_relaxed);
    uint64_t written = total - maintenance->paced_bytes;
    maintenance->paced_bytes = total;
    if (limit == 0 || written == 0) {
        return;
    }
    uint64_t now = database_now_ns(db);
    uint64_t least = now > PACE_BURST_NS ? now - PACE_BURST_NS : 0;
    uint64_t from = maintenance->pace_ns > least ? maintenance->pace_ns : least;
    if (from > now) {
        atomic_fetch_add_explicit(&db->counters.compaction_unpaced_bytes, written,
                                  memory_order_relaxed);
    }
    maintenance->pace_ns = from + (uint64_t)((double)written / (double)limit * 1e9);
    if (maintenance->pace_ns > now) {
        atomic_fetch_add_explicit(&db->counters.compaction_pauses, 1, memory_order_relaxed);
    }
}

/* ---- room on the disk ---- */

static void note_wanted(uint64_t *wanted, const struct keyspace_care *care) {
    if (care->wanted_bytes != 0 && (*wanted == 0 || care->wanted_bytes < *wanted)) {
        *wanted = care->wanted_bytes;
    }
}

void care_watch_space(struct tern_db *db) {
    uint64_t wanted = atomic_load_explicit(&db->space_wanted, memory_order_relaxed);
    if (wanted != 0 && free_bytes(db) >= wanted) {
        atomic_store_explicit(&db->space_wanted, 0, memory_order_relaxed);
        atomic_store_explicit(&db->space_has_come, true, memory_order_release);
        maintenance_wake(db);
    }
}

static void try_again(struct keyspace_care *care, uint64_t free) {
    if (care->wanted_bytes != 0 && care->wanted_bytes <= free) {
        care->after_ns = 1;
        care->wanted_bytes = 0;
    }
}

/* What has failed for want of room is due when there is some. */
static void notice_space(struct tern_db *db) {
    if (!atomic_exchange_explicit(&db->space_has_come, false, memory_order_acquire)) {
        return;
    }
    uint64_t free = free_bytes(db);
    mutex_lock(&db->catalog_mutex);
    for (uint32_t i = 0; i < db->slot_count; i++) {
        tern_keyspace *keyspace = db->slots[i];
        if (keyspace != NULL) {
            try_again(&keyspace->engine_care, free);
            try_again(&keyspace->space_care, free);
        }
    }
    mutex_unlock(&db->catalog_mutex);
}

static uint64_t earlier(uint64_t found_ns, const struct keyspace_care *care) {
    return care->after_ns != 0 && care->after_ns < found_ns ? care->after_ns : found_ns;
}

bool care_is_waiting(struct tern_db *db, uint64_t *out_delay_ns) {
    uint64_t after = UINT64_MAX;
    uint64_t wanted = 0;
    mutex_lock(&db->catalog_mutex);
    for (uint32_t i = 0; i < db->slot_count; i++) {
        const tern_keyspace *keyspace = db->slots[i];
        if (keyspace != NULL) {
            after = earlier(earlier(after, &keyspace->engine_care), &keyspace->space_care);
            note_wanted(&wanted, &keyspace->engine_care);
            note_wanted(&wanted, &keyspace->space_care);
        }
    }
    mutex_unlock(&db->catalog_mutex);
    atomic_store_explicit(&db->space_wanted, wanted, memory_order_relaxed);
    uint64_t now = database_now_ns(db);
    uint64_t delay = 0;
    if (care_is_paced(db, &delay) && db->maintenance.has_put_off && now + delay < after) {
        after = now + delay;
    }
    if (after == UINT64_MAX) {
        return false;
    }
    *out_delay_ns = after > now + DELAY_MIN_NS ? after - now : DELAY_MIN_NS;
    return true;
}

/* ---- work of engines ---- */

/* One quantum for one keyspace; true: it had work, or went wrong with some. */
static tern_status maintain(struct tern_db *db, tern_keyspace *keyspace, bool helps,
                            bool *out_worked) {
    size_t quantum_bytes = helps ? HELP_QUANTUM_BYTES : CARE_QUANTUM_BYTES;
    enum engine_drain_state state = ENGINE_DRAIN_IDLE;
    uint64_t delay;
    if (care_is_paced(db, &delay) && keyspace->methods->drain_debt(keyspace->engine) == 0) {
        db->maintenance.has_put_off = true;
        *out_worked = false;
        return TERN_OK;
    }
    tern_status status =
        keyspace->methods->maintain_step(keyspace->engine, quantum_bytes, &state, NULL);
    care_note_written(db);
    if (status == TERN_OK && state == ENGINE_DRAIN_SLICE) {
        if (helps) { /* publishing waits for the device */
            maintenance_wake(db);
            *out_worked = true;
            return TERN_OK;
        }
        status = checkpoint_publish(db, false, NULL);
    }
    if (status != TERN_OK) {
        care_failed(db, &keyspace->engine_care, status);
        atomic_fetch_add_explicit(&db->counters.compaction_failures, 1, memory_order_relaxed);
    } else if (state != ENGINE_DRAIN_MORE) {
        care_succeeded(&keyspace->engine_care);
    }
    *out_worked = status == TERN_OK && state != ENGINE_DRAIN_IDLE;
    return status;
}

static uint32_t slot_count(struct tern_db *db) {
    mutex_lock(&db->catalog_mutex);
    uint32_t count = db->slot_count;
    mutex_unlock(&db->catalog_mutex);
    return count;
}

/* One quantum for the next keyspace that has work, behind the one that had it last. */
static void maintain_next(struct tern_db *db, bool helps, bool *out_more) {
    struct maintenance *maintenance = &db->maintenance;
    uint32_t count = slot_count(db);
    *out_more = false;
    maintenance->has_put_off = false;
    for (uint32_t i = 0; i < count && !*out_more; i++) {
        bool exists;
        uint32_t slot = maintenance->care_slot < count ? maintenance->care_slot : 0;
        tern_keyspace *keyspace = catalog_at(db, slot, &exists);
        maintenance->care_slot = slot + 1;
        if (keyspace == NULL || keyspace->methods->maintain_step == NULL ||
            !care_is_due(db, &keyspace->engine_care)) {
            continue;
        }
        tern_status status = maintain(db, keyspace, helps, out_more);
        if (status != TERN_OK || *out_more) {
            checkpoint_update_debt(db);
        }
    }
}

void care_step(struct tern_db *db, bool helps, bool *out_more) {
    notice_space(db);
    if (helps) { /* for what makes writers pay, and nothing else */
        maintain_next(db, true, out_more);
        return;
    }
    bool is_space_first = ++db->maintenance.care_turn % TURNS_TO_SPACE == 0;
    *out_more = false;
    if (is_space_first) {
        space_step(db, out_more);
    }
    if (!*out_more) {
        maintain_next(db, false, out_more);
    }
    if (!*out_more && !is_space_first) {
        space_step(db, out_more);
    }
}
