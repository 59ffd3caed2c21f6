/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pouring: entries of records go from the index in memory to its cold part (hash_cold.h), group by
 * group in the order of the hashes. A group is read, entries of dead records are left out, those
 * that memory has of its range come in, and it is written anew.
 *
 * The new group is in the directory before the entries leave memory, both under the index lock:
 * whoever looks in memory first and then here does not miss what has moved between. Entries of
 * versions and stubs stay in memory, those of the second table and of closed buckets, too: of a key
 * that collides with very many others the entry in the first table stays (H5).
 *
 * Only the maintenance role brings entries of records into the index, so what stands in the range
 * when its entries leave memory is what was gathered, but for what has gone meanwhile.
 */
#include "base/assert.h"
#include "base/error.h"
#include "engine/hash/hash_engine_internal.h"

/* The part of the budget that the index has in memory: a quarter, or as much of a half as what is
 * known of blocks, and other partitions, leave of it, and at least an eighth. With more the cache
 * has too little to go through the records of many drains side by side. */
#define SHARE_PART     4u
#define SHARE_PART_ALL 2u
#define SHARE_PART_MIN 8u
/* It is poured before pages would be split; versions come while it is. */
#define FILL_PERCENT     75u
#define HOT_ENTRIES_MIN  16u
#define GROUP_ENTRIES    8192u
#define GROUP_MOST       24000u
#define GROUPS_MOST      32u
#define DEAD_MIN         4096u
#define KEPT_NUMBERS_MIN 4096u

_Static_assert(sizeof(struct cold_entry) == sizeof(struct hashed_item), "sorted as such");

/* Entries that the index may have in memory. */
static uint64_t entries_most(const struct hash_engine *engine) {
    const struct budget *budget = engine->environment->budget;
    struct hash_index_stats stats;
    if (budget == NULL || budget->limit_bytes == 0 || engine->environment->read_only) {
        return UINT64_MAX;
    }
    hash_index_get_stats(engine->index, &stats);
    uint64_t used = budget_used(budget, BUDGET_INDEX);
    uint64_t others = used > stats.bytes ? used - stats.bytes : 0;
    uint64_t share = budget->limit_bytes / SHARE_PART_ALL;
    uint64_t most_bytes = budget->limit_bytes / SHARE_PART;
    uint64_t least = budget->limit_bytes / SHARE_PART_MIN;
    share = share > others + least ? share - others : least;
    share = share < most_bytes ? share : most_bytes;
    uint64_t page_bytes = hash_index_page_bytes(engine->index);
    uint64_t page_limit = hash_index_page_limit(engine->index);
    uint64_t most = share * page_limit / page_bytes;
    if (share >= 2 * page_bytes) {
        /* Pages are split at about the same time: there is a power of two of them. */
        uint32_t log = 63 - (uint32_t)__builtin_clzll(share / page_bytes);
        most = page_limit << log;
    }
    most = most * FILL_PERCENT / 100;
    return most > HOT_ENTRIES_MIN ? most : HOT_ENTRIES_MIN;
}

bool hash_wants_pour(const struct hash_engine *engine) {
    const struct hash_cold *cold = &engine->cold;
    const struct hash_pour *pour = &engine->pour;
    struct hash_index_stats stats;
    if (pour->is_on) {
        return true;
    }
    hash_index_get_stats(engine->index, &stats);
    uint64_t most = entries_most(engine);
    uint64_t rest = atomic_load_explicit(&pour->entries, memory_order_relaxed);
    if (stats.entries >= most && stats.entries - stats.second_entries >= rest + most / 2) {
        return true;
    }
    uint64_t entries = atomic_load_explicit(&cold->entries, memory_order_relaxed);
    uint64_t dead = atomic_load_explicit(&cold->dead, memory_order_relaxed);
    size_t kept = engine->base.kept_count;
    return hash_cold_has_any(cold) && (dead > entries / 2 + DEAD_MIN ||
                                       kept > engine->base.block_limit / 4 + KEPT_NUMBERS_MIN);
}

static tern_status begin(struct hash_engine *engine, tern_error *error) {
    struct hash_pour *pour = &engine->pour;
    struct hash_index_stats stats;
    tern_status status = base_keep_numbers(&engine->base, error);
    if (status == TERN_OK && !hash_cold_has_any(&engine->cold)) {
        uint32_t depth = 0;
        hash_index_get_stats(engine->index, &stats);
        while (depth < COLD_DEPTH_MAX && stats.entries >> depth > GROUP_ENTRIES) {
            depth++;
        }
        mutex_lock(&engine->index_lock);
        status = hash_cold_deepen(&engine->cold, depth, error);
        mutex_unlock(&engine->index_lock);
    }
    if (status == TERN_OK) {
        pour->is_on = true;
        pour->next = 0;
        pour->kept = engine->base.kept_count;
        pour->dead = atomic_load(&engine->cold.dead);
    }
    return status;
}

static void end(struct hash_engine *engine) {
    struct hash_pour *pour = &engine->pour;
    struct hash_index_stats stats;
    pour->is_on = false;
    mutex_lock(&engine->index_lock);
    hash_cold_drop_empty(&engine->cold);
    mutex_unlock(&engine->index_lock);
    base_give_kept(&engine->base, pour->kept, hash_cold_has_any(&engine->cold));
    atomic_fetch_sub(&engine->cold.dead, pour->dead);
    atomic_fetch_add(&engine->cold.rounds, 1);
    hash_index_get_stats(engine->index, &stats);
    atomic_store(&pour->entries, stats.entries - stats.second_entries);
}

/* ---- one group ---- */

struct group_pour {
    struct hash_engine *engine;
    uint64_t first, last;
    struct buffer entries; /* struct cold_entry */
    bool has_failed;
    struct cold_group *groups[GROUPS_MOST];
    size_t group_count;
};

static void gather(void *context, hash_link link, uint64_t hash, uint32_t known) {
    struct group_pour *pour = context;
    if (!link_is_disk(link) || hash < pour->first || hash > pour->last || pour->has_failed) {
        return;
    }
    ASSERT(known > COLD_DEPTH_MAX);
    const struct cold_entry entry = {cold_field_of(hash, known), link};
    pour->has_failed = buffer_append(&pour->entries, &entry, sizeof(entry)) != TERN_OK;
}

static struct cold_entry *entries_of(const struct group_pour *pour) {
    return (struct cold_entry *)(void *)pour->entries.data;
}

static size_t count_of(const struct group_pour *pour) {
    return pour->entries.size / sizeof(struct cold_entry);
}

/* In order, each once, live ones only. */
static void put_in_order(struct group_pour *pour) {
    struct cold_entry *entries = entries_of(pour);
    size_t count = count_of(pour);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (base_holds_live(&pour->engine->base, entries[i].link)) {
            entries[kept++] = entries[i];
        }
    }
    hashed_items_sort((struct hashed_item *)(void *)entries, kept);
    pour->entries.size = kept * sizeof(struct cold_entry);
}

/* As one group, or as several when it has become too large. */
static tern_status write_range(struct group_pour *pour, uint64_t first, uint8_t depth,
                               const struct cold_entry *entries, size_t count, tern_error *error) {
    if (count == 0) {
        return TERN_OK;
    }
    if (count > GROUP_MOST && depth < COLD_DEPTH_MAX && pour->group_count + 2 < GROUPS_MOST) {
        uint64_t middle = first | (uint64_t)1 << (63 - depth);
        size_t at = hash_cold_first_not_below(entries, count, middle);
        tern_status status = write_range(pour, first, (uint8_t)(depth + 1), entries, at, error);
        return status == TERN_OK ? write_range(pour, middle, (uint8_t)(depth + 1), entries + at,
                                               count - at, error)
                                 : status;
    }
    struct cold_group *group = NULL;
    tern_status status =
        hash_cold_write_group(&pour->engine->cold, first, depth, entries, count, &group, error);
    if (status == TERN_OK) {
        pour->groups[pour->group_count++] = group;
    }
    return status;
}

static bool is_poured(void *context, hash_link link, uint64_t hash, uint32_t known) {
    const struct group_pour *pour = context;
    const struct cold_entry *entries = entries_of(pour);
    size_t count = count_of(pour);
    if (!link_is_disk(link)) {
        return false;
    }
    uint64_t field = cold_field_of(hash, known);
    for (size_t i = hash_cold_first_not_below(entries, count, field);
         i < count && entries[i].field == field; i++) {
        if (entries[i].link == link) {
            return true;
        }
    }
    return false;
}

/* Puts the new groups in the place of the old one, and takes what they hold out of memory. */
static tern_status change_over(struct group_pour *pour, uint8_t depth, tern_error *error) {
    struct hash_engine *engine = pour->engine;
    uint32_t deepest = depth;
    for (size_t i = 0; i < pour->group_count; i++) {
        deepest = pour->groups[i]->depth > deepest ? pour->groups[i]->depth : deepest;
    }
    mutex_lock(&engine->index_lock);
    uint64_t pages = hash_index_pages_for(engine->index, engine->promised_inserts) +
                     hash_index_pages_in(engine->index, pour->first, pour->last);
    tern_status status = hash_index_reserve_pages(engine->index, pages, error);
    if (status == TERN_OK) {
        status = hash_cold_deepen(&engine->cold, deepest, error);
    }
    if (status == TERN_OK) {
        hash_cold_reader_reset(&engine->drain.cold_reader);
        hash_cold_replace(&engine->cold, pour->first, depth, pour->groups, pour->group_count);
        hash_index_remove_range(engine->index, pour->first, pour->last, is_poured, pour);
    }
    mutex_unlock(&engine->index_lock);
    return status;
}

/* What the group has, from its pages, or, when those cannot be read, from the lists of hashes. */
static tern_status read_entries(struct group_pour *pour, struct cold_group *group,
                                bool *out_is_mended, tern_error *error) {
    struct hash_cold *cold = &pour->engine->cold;
    size_t before = pour->entries.size;
    tern_error failure = TERN_ERROR_INIT;
    tern_status status = TERN_OK;
    if (!atomic_load(&group->is_damaged)) {
        status = hash_cold_read_group(cold, group, &pour->entries, &failure);
    }
    if (!atomic_load(&group->is_damaged)) {
        error_copy(error, &failure);
        return status;
    }
    pour->entries.size = before;
    *out_is_mended = true;
    return hash_mend_gather(pour->engine, pour->first, pour->last, &pour->entries, error);
}

tern_status hash_pour_group(struct hash_engine *engine, uint64_t first, uint64_t *out_last,
                            size_t *out_bytes, tern_error *error) {
    uint8_t depth = 0;
    bool is_mended = false;
    struct cold_group *group = hash_cold_group_at(&engine->cold, first, &depth);
    struct group_pour pour = {.engine = engine, .first = first};
    pour.last = depth == 0 ? UINT64_MAX : first | UINT64_MAX >> depth;
    buffer_init(&pour.entries, hash_allocator(engine));
    mutex_lock(&engine->index_lock);
    hash_index_visit_range(engine->index, pour.first, pour.last, false, gather, &pour);
    mutex_unlock(&engine->index_lock);
    tern_status status = pour.has_failed ? ERROR_NO_MEMORY(error, "an index") : TERN_OK;
    if (status == TERN_OK && group != NULL) {
        status = read_entries(&pour, group, &is_mended, error);
    }
    if (status == TERN_OK && (group != NULL || count_of(&pour) > 0)) {
        put_in_order(&pour);
        status = write_range(&pour, pour.first, depth, entries_of(&pour), count_of(&pour), error);
        status = status == TERN_OK ? change_over(&pour, depth, error) : status;
    }
    for (size_t i = 0; status != TERN_OK && i < pour.group_count; i++) {
        hash_cold_discard_group(pour.groups[i]);
    }
    if (status == TERN_OK && is_mended) {
        atomic_fetch_add(&engine->cold.mended, 1);
    }
    *out_bytes = count_of(&pour) * sizeof(struct cold_entry) + HASH_UNIT_BYTES;
    *out_last = pour.last;
    buffer_release(&pour.entries);
    return status;
}

tern_status hash_pour_step(struct hash_engine *engine, size_t quantum_bytes, tern_error *error) {
    tern_status status = TERN_OK;
    size_t done = 0;
    if (!engine->pour.is_on) {
        status = begin(engine, error);
    }
    while (status == TERN_OK && engine->pour.is_on && done < quantum_bytes) {
        size_t bytes = 0;
        uint64_t last = 0;
        status = hash_pour_group(engine, engine->pour.next, &last, &bytes, error);
        done += bytes;
        if (status == TERN_OK) {
            engine->pour.next = last + 1;
            if (last == UINT64_MAX) {
                end(engine);
            }
        }
        /* Pages and groups that have been replaced: their room is needed for the next ones. */
        (void)epoch_reclaim(engine->environment->epoch);
    }
    return status;
}

tern_status hash_pour_all(struct hash_engine *engine, tern_error *error) {
    tern_status status = TERN_OK;
    while (status == TERN_OK && hash_wants_pour(engine)) {
        status = hash_pour_step(engine, SIZE_MAX, error);
    }
    return status;
}
