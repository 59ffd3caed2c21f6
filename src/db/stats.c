/* SPDX-License-Identifier: Apache-2.0 */
/* The metrics registry: stats.def makes names, units, texts and values. */
#include <tern/stats.h>

#include "base/error.h"
#include "db/database_internal.h"

static uint64_t count_keyspaces(struct tern_db *db) {
    uint64_t count = 0;
    mutex_lock(&db->catalog_mutex);
    for (uint32_t i = 0; i < db->slot_count; i++) {
        count += db->slots[i] != NULL && !keyspace_is_hidden(db->slots[i]);
    }
    mutex_unlock(&db->catalog_mutex);
    return count;
}

/* Of all keyspaces whose engines tell. */
static struct engine_space sum_space(struct tern_db *db) {
    struct engine_space sum = {0};
    mutex_lock(&db->catalog_mutex);
    for (uint32_t i = 0; i < db->slot_count; i++) {
        struct engine_space space = {0};
        if (db->slots[i] != NULL && db->slots[i]->methods->space != NULL) {
            db->slots[i]->methods->space(db->slots[i]->engine, &space);
        }
        sum.file_bytes += space.file_bytes;
        sum.free_bytes += space.free_bytes;
        sum.pending_bytes += space.pending_bytes;
    }
    mutex_unlock(&db->catalog_mutex);
    return sum;
}

tern_status tern_stats(tern_db *db, tern_stat_visitor visit, void *context, tern_error *error) {
    struct log_stats log;
    struct cache_stats cache;
    struct lock_manager_stats locks;
    size_t snapshot_count = 0;
    REQUIRE(error, db != NULL, "no database");
    REQUIRE(error, visit != NULL, "no visitor");
    log_get_stats(db->manager.log, &log);
    cache_get_stats(db->cache, &cache);
    lock_manager_get_stats(db->manager.locks, &locks);
    seq_no snapshot_oldest = snapshot_registry_oldest(db->manager.snapshots, &snapshot_count);
    if (snapshot_oldest == SEQ_MAX) {
        snapshot_oldest = atomic_load(&db->manager.visible_seq);
    }
    uint64_t keyspace_count = count_keyspaces(db);
    tern_io_queue_counts io = {0};
    tern_io_queue_counts reads = {0};
    io_queue_get_counts(db->write_queue, &io);
    io_queue_pool_get_counts(&db->read_queues, &reads);
    struct engine_space space = sum_space(db);
    const tern_stat stats[] = {
#define STAT(stat_name, stat_unit, stat_kind, stat_text, expression)                               \
    {#stat_name, (stat_unit), (stat_text), TERN_STAT_##stat_kind, (uint64_t)(expression)},
#include "db/stats.def"
#undef STAT
    };
    for (size_t i = 0; i < sizeof(stats) / sizeof(stats[0]); i++) {
        if (!visit(context, &stats[i])) {
            break;
        }
    }
    return TERN_OK;
}

struct stat_search {
    const char *name;
    uint64_t value;
    bool was_found;
};

static bool match(void *context, const tern_stat *stat) {
    struct stat_search *search = context;
    if (strcmp(stat->name, search->name) == 0) {
        search->value = stat->value;
        search->was_found = true;
    }
    return !search->was_found;
}

tern_status tern_stat_get(tern_db *db, const char *name, uint64_t *out_value) {
    struct stat_search search = {name, 0, false};
    REQUIRE(NULL, name != NULL && out_value != NULL, "no name or no out_value");
    tern_status status = tern_stats(db, match, &search, NULL);
    if (status == TERN_OK && !search.was_found) {
        return TERN_NOT_FOUND;
    }
    if (status == TERN_OK) {
        *out_value = search.value;
    }
    return status;
}

tern_status tern_keyspace_stats(tern_keyspace *keyspace, tern_stat_visitor visit, void *context,
                                tern_error *error) {
    REQUIRE(error, keyspace != NULL, "no keyspace");
    REQUIRE(error, visit != NULL, "no visitor");
    struct snapshot snapshot = {0};
    struct txn_manager *manager = keyspace->manager;
    tern_status status = snapshot_take(manager, &snapshot, error);
    if (status != TERN_OK) {
        return status;
    }
    struct engine_view *part = view_part(snapshot.view, keyspace);
    if (part == NULL) {
        status = ERROR_SET(error, TERN_NOT_FOUND, "keyspace '%s' has been dropped", keyspace->name);
    } else {
        const tern_stat aside = {
            "takes_no_writes", "code",
            "1: its file cannot take what was committed, see what a write is told", TERN_STAT_GAUGE,
            atomic_load_explicit(&keyspace->aside, memory_order_relaxed) != NULL};
        status =
            visit(context, &aside) ? part->methods->stats(part, visit, context, error) : TERN_OK;
    }
    snapshot_drop(manager, &snapshot);
    return status;
}
