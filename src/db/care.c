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
 * Keyspaces take turns, a quantum each, and in one turn out of eight files that can shrink go
 * first: whoever has work all the time keeps nobody else from his.
 *
 * All of it belongs to the maintenance role.
 */
#include "db/database_internal.h"

#define NS_PER_MS          1000000ull
#define CARE_QUANTUM_BYTES ((size_t)1 << 20)
#define DELAY_MIN_NS       (100 * NS_PER_MS)
#define DELAY_MAX_NS       (60000 * NS_PER_MS)
#define TURNS_TO_SPACE     8u

static uint64_t now_ns(const struct tern_db *db) {
    return db->options.clock->monotonic_ns(db->options.clock->context);
}

/* ---- when it is tried again ---- */

bool care_is_due(const struct tern_db *db, const struct keyspace_care *care) {
    return care->after_ns == 0 || now_ns(db) >= care->after_ns;
}

void care_failed(const struct tern_db *db, struct keyspace_care *care) {
    uint64_t delay = care->delay_ns * 2;
    delay = delay < DELAY_MIN_NS ? DELAY_MIN_NS : delay;
    care->delay_ns = delay > DELAY_MAX_NS ? DELAY_MAX_NS : delay;
    care->after_ns = now_ns(db) + care->delay_ns;
}

void care_succeeded(struct keyspace_care *care) {
    *care = (struct keyspace_care){0};
}

static uint64_t earlier(uint64_t found_ns, const struct keyspace_care *care) {
    return care->after_ns != 0 && care->after_ns < found_ns ? care->after_ns : found_ns;
}

bool care_is_waiting(struct tern_db *db, uint64_t *out_delay_ns) {
    uint64_t after = UINT64_MAX;
    mutex_lock(&db->catalog_mutex);
    for (uint32_t i = 0; i < db->slot_count; i++) {
        const tern_keyspace *keyspace = db->slots[i];
        if (keyspace != NULL) {
            after = earlier(earlier(after, &keyspace->engine_care), &keyspace->space_care);
        }
    }
    mutex_unlock(&db->catalog_mutex);
    if (after == UINT64_MAX) {
        return false;
    }
    uint64_t now = now_ns(db);
    *out_delay_ns = after > now + DELAY_MIN_NS ? after - now : DELAY_MIN_NS;
    return true;
}

/* ---- work of engines ---- */

/* One quantum for one keyspace; true: it had work, or went wrong with some. */
static tern_status maintain(struct tern_db *db, tern_keyspace *keyspace, bool *out_worked) {
    enum engine_drain_state state = ENGINE_DRAIN_IDLE;
    tern_status status =
        keyspace->methods->maintain_step(keyspace->engine, CARE_QUANTUM_BYTES, &state, NULL);
    if (status == TERN_OK && state == ENGINE_DRAIN_SLICE) {
        status = checkpoint_publish(db, false, NULL);
    }
    if (status != TERN_OK) {
        care_failed(db, &keyspace->engine_care);
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
static void maintain_next(struct tern_db *db, bool *out_more) {
    struct maintenance *maintenance = &db->maintenance;
    uint32_t count = slot_count(db);
    *out_more = false;
    for (uint32_t i = 0; i < count && !*out_more; i++) {
        bool exists;
        uint32_t slot = maintenance->care_slot < count ? maintenance->care_slot : 0;
        tern_keyspace *keyspace = catalog_at(db, slot, &exists);
        maintenance->care_slot = slot + 1;
        if (keyspace == NULL || keyspace->methods->maintain_step == NULL ||
            !care_is_due(db, &keyspace->engine_care)) {
            continue;
        }
        tern_status status = maintain(db, keyspace, out_more);
        if (status != TERN_OK || *out_more) {
            checkpoint_update_debt(db);
        }
    }
}

void care_step(struct tern_db *db, bool *out_more) {
    bool is_space_first = ++db->maintenance.care_turn % TURNS_TO_SPACE == 0;
    *out_more = false;
    if (is_space_first) {
        space_step(db, out_more);
    }
    if (!*out_more) {
        maintain_next(db, out_more);
    }
    if (!*out_more && !is_space_first) {
        space_step(db, out_more);
    }
}
