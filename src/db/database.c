/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a database. */
#include "db/database_internal.h"

#include <stdlib.h>

#include "base/error.h"
#include "db/database_directory.h"
#include "os/page_spill.h"
#include "txn/commit_queue.h"
#include "txn/txn.h"

#define MEMORY_BYTES_DEFAULT ((uint64_t)256 << 20)
#define MEMORY_BYTES_MIN     ((uint64_t)8 << 20)
/* Segments are mapped: a sixteenth of the budget each, within bounds. */
#define SEGMENT_BYTES_DEFAULT_MIN ((uint64_t)1 << 20)
#define SEGMENT_BYTES_DEFAULT_MAX ((uint64_t)32 << 20)
#define LARGE_VALUE_BYTES_DEFAULT ((uint64_t)128 << 10)
/* Overlays larger than this are drained at close, so that the next open has little to replay. So is
 * whatever names values stored apart: replay would copy them again, and recovery for reading alone
 * has nowhere to copy them to. */
#define CLOSE_DRAIN_BYTES ((uint64_t)1 << 20)
#define LOCK_FILE_NAME    "LOCK"
/* Writes of a drain that may be under way at once; more would only wait for the device. */
#define WRITE_QUEUE_DEPTH 16
/* Pages that a reader waits for at once. */
#define READ_QUEUE_DEPTH 32

#define READ_AHEAD_BYTES_MIN ((uint64_t)64 << 10)
#define READ_AHEAD_BYTES_MAX ((uint64_t)4 << 20)

struct txn_manager *database_manager(tern_db *db) {
    return &db->manager;
}

/* ---- options ---- */

static uint64_t or_default(uint64_t value, uint64_t fallback) {
    return value != 0 ? value : fallback;
}

static uint64_t default_segment_bytes(uint64_t memory_bytes) {
    uint64_t bytes = SEGMENT_BYTES_DEFAULT_MAX;
    while (bytes > SEGMENT_BYTES_DEFAULT_MIN && bytes > memory_bytes / 16) {
        bytes /= 2;
    }
    return bytes;
}

/* Options that exclude each other. */
static tern_status check_together(const tern_db_options *options, tern_error *error) {
    if (options->error_if_exists && (!options->create_if_missing || options->read_only)) {
        return ERROR_SET(
            error, TERN_INVALID,
            "error_if_exists %s, so that nothing can be opened; leave one of them away",
            options->read_only ? "with read_only" : "without create_if_missing");
    }
    if (options->numa_nodes != 0 && options->numa != TERN_NUMA_INTERLEAVE &&
        options->numa != TERN_NUMA_BIND) {
        return ERROR_SET(error, TERN_INVALID,
                         "numa_nodes is 0x%llx, but numa is neither interleave nor bind, which "
                         "would use them; set one, or leave numa_nodes 0",
                         (unsigned long long)options->numa_nodes);
    }
    return TERN_OK;
}

static tern_status check_limits(const tern_db_options *options, tern_error *error) {
    if (options->memory_bytes < MEMORY_BYTES_MIN) {
        return ERROR_SET(error, TERN_INVALID, "memory_bytes is %llu; it must be at least %llu",
                         (unsigned long long)options->memory_bytes,
                         (unsigned long long)MEMORY_BYTES_MIN);
    }
    if (options->overlay_bytes > options->memory_bytes / 2) {
        return ERROR_SET(error, TERN_INVALID,
                         "overlay_bytes is %llu; it must be at most half of memory_bytes (%llu)",
                         (unsigned long long)options->overlay_bytes,
                         (unsigned long long)options->memory_bytes);
    }
    if (options->segment_bytes < 65536 || options->segment_bytes > ((uint64_t)1 << 30) ||
        options->segment_bytes % 4096 != 0) {
        return ERROR_SET(error, TERN_INVALID,
                         "segment_bytes is %llu; it must be a multiple of 4096 from 65536 to 2^30",
                         (unsigned long long)options->segment_bytes);
    }
    if ((int)options->durability < 0 || options->durability > TERN_DURABILITY_NONE) {
        return ERROR_SET(error, TERN_INVALID, "durability is %d; it must be full, interval or none",
                         (int)options->durability);
    }
    if (cache_policy_name(options->cache_policy) == NULL) {
        return ERROR_SET(error, TERN_INVALID, "cache_policy is %d; there is no such policy",
                         (int)options->cache_policy);
    }
    if ((int)options->io_mode < 0 || options->io_mode > TERN_IO_MODE_RING) {
        return ERROR_SET(error, TERN_INVALID, "io_mode is %d; it must be default, plain or ring",
                         (int)options->io_mode);
    }
    if ((int)options->huge_pages < 0 || options->huge_pages > TERN_HUGE_PAGES_RESERVED) {
        return ERROR_SET(error, TERN_INVALID, "huge_pages is %d; there is no such kind",
                         (int)options->huge_pages);
    }
    if ((int)options->numa < 0 || options->numa > TERN_NUMA_BIND) {
        return ERROR_SET(error, TERN_INVALID, "numa is %d; there is no such placement",
                         (int)options->numa);
    }
    if ((int)options->page_source < 0 || options->page_source > TERN_PAGE_SOURCE_MAPPING) {
        return ERROR_SET(error, TERN_INVALID, "page_source is %d; it must be cache or mapping",
                         (int)options->page_source);
    }
    if (options->read_ahead_bytes != 0 && options->read_ahead_bytes != TERN_READ_AHEAD_OFF &&
        (options->read_ahead_bytes < READ_AHEAD_BYTES_MIN ||
         options->read_ahead_bytes > READ_AHEAD_BYTES_MAX)) {
        return ERROR_SET(error, TERN_INVALID,
                         "read_ahead_bytes is %llu; it must be 65536 to 4194304, 0 for the "
                         "default, or TERN_READ_AHEAD_OFF",
                         (unsigned long long)options->read_ahead_bytes);
    }
    if ((int)options->space_policy < 0 || options->space_policy > TERN_SPACE_END_SNAPSHOTS) {
        return ERROR_SET(error, TERN_INVALID, "space_policy is %d; there is no such policy",
                         (int)options->space_policy);
    }
    if (options->background_threads > 64) {
        return ERROR_SET(error, TERN_INVALID, "background_threads is %u; it must be at most 64",
                         options->background_threads);
    }
    return TERN_OK;
}

tern_status database_options_copy(const tern_db_options *given, tern_db_options *out_options,
                                  tern_error *error) {
    if (given == NULL) {
        return TERN_OK;
    }
    if (given->size < sizeof(size_t) || given->size > sizeof(*out_options)) {
        return ERROR_SET(error, TERN_INVALID,
                         "tern_db_options.size is %zu; initialise the struct with "
                         "TERN_DB_OPTIONS_INIT",
                         given->size);
    }
    memcpy(out_options, given, given->size);
    out_options->size = sizeof(*out_options);
    return TERN_OK;
}

static tern_status resolve_options(const tern_db_options *given, tern_db_options *out_options,
                                   tern_error *error) {
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_status status = database_options_copy(given, &options, error);
    if (status != TERN_OK) {
        return status;
    }
    if (options.durability == TERN_DURABILITY_DEFAULT) {
        options.durability = TERN_DURABILITY_INTERVAL;
    }
    options.sync_interval_ms = (uint32_t)or_default(options.sync_interval_ms, 100);
    options.memory_bytes = or_default(options.memory_bytes, MEMORY_BYTES_DEFAULT);
    options.overlay_bytes = or_default(options.overlay_bytes, options.memory_bytes / 10 * 3);
    options.segment_bytes =
        or_default(options.segment_bytes, default_segment_bytes(options.memory_bytes));
    options.transaction_bytes = or_default(options.transaction_bytes, options.memory_bytes / 4);
    options.large_value_bytes = or_default(options.large_value_bytes, LARGE_VALUE_BYTES_DEFAULT);
    if (options.large_value_bytes > options.segment_bytes / 8) {
        options.large_value_bytes = options.segment_bytes / 8;
    }
    options.conflict_slots = (uint32_t)or_default(options.conflict_slots, 1u << 20);
    /* The conflict table may not eat a small budget: 64 bytes for seven slots. */
    while (options.conflict_slots > 1024 &&
           (uint64_t)options.conflict_slots * 10 > options.memory_bytes / 16) {
        options.conflict_slots /= 2;
    }
    /* What is mapped is in the page cache: written directly it would be read from the device. */
    options.buffered_io = options.buffered_io || options.page_source == TERN_PAGE_SOURCE_MAPPING;
    options.lock_timeout_ms = (uint32_t)or_default(options.lock_timeout_ms, 1000);
    options.ttl_tick_ms = (uint32_t)or_default(options.ttl_tick_ms, 100);
    options.background_threads = (uint32_t)or_default(options.background_threads, 2);
    options.allocator = options.allocator != NULL ? options.allocator : tern_allocator_default();
    options.file_system =
        options.file_system != NULL ? options.file_system : tern_file_system_default();
    options.clock = options.clock != NULL ? options.clock : tern_clock_default();
    options.random = options.random != NULL ? options.random : tern_random_default();
    status = check_limits(&options, error);
    if (status == TERN_OK) {
        status = check_together(&options, error);
    }
    if (status == TERN_OK) {
        *out_options = options;
    }
    return status;
}

/* ---- parts ---- */

static tern_status start_executor(struct tern_db *db, tern_error *error) {
    if (db->options.executor != NULL) {
        return TERN_OK;
    }
    tern_status status =
        tern_thread_executor_start(db->options.background_threads, &db->own_executor, error);
    if (status == TERN_OK) {
        db->options.executor = tern_thread_executor_interface(db->own_executor);
    }
    return status;
}

static void init_manager(struct tern_db *db) {
    struct txn_manager *manager = &db->manager;
    manager->allocator = db->allocator;
    manager->clock = db->options.clock;
    manager->budget = &db->budget;
    manager->default_durability = db->options.durability;
    manager->lock_timeout_ms = db->options.lock_timeout_ms;
    manager->transaction_bytes_max = db->options.transaction_bytes;
    manager->large_value_bytes = db->options.large_value_bytes;
    manager->sync_interval_ms = db->options.sync_interval_ms;
    manager->read_only = db->options.read_only;
    manager->database = db;
    manager->next_seq = 1;
    atomic_store(&manager->next_txn_id, 1);
    atomic_store(&manager->next_large_token, 1);
    manager->callbacks = (struct txn_callbacks){.context = db,
                                                .catalog_prepare = catalog_prepare,
                                                .catalog_apply = catalog_apply,
                                                .catalog_published = catalog_published,
                                                .catalog_undo = catalog_undo,
                                                .throttle = maintenance_throttle};
    txn_spares_init(manager);
    mutex_init(&manager->views_mutex);
    large_retention_init(&manager->retention, db->allocator);
}

static tern_status open_queues(struct tern_db *db, tern_error *error) {
    bool is_plain = db->options.io_mode == TERN_IO_MODE_PLAIN || db->options.read_only;
    tern_status status = io_queue_create(db->options.file_system, db->allocator, WRITE_QUEUE_DEPTH,
                                         is_plain, &db->write_queue, error);
    if (status == TERN_OK && db->options.io_mode == TERN_IO_MODE_RING && !is_plain &&
        !io_queue_is_asynchronous(db->write_queue)) {
        error_copy(error, io_queue_obstacle(db->write_queue));
        status = TERN_UNSUPPORTED;
    }
    io_queue_pool_init(&db->read_queues, db->options.file_system, db->allocator, READ_QUEUE_DEPTH,
                       db->options.io_mode == TERN_IO_MODE_PLAIN);
    return status;
}

static tern_status create_parts(struct tern_db *db, tern_error *error) {
    struct txn_manager *manager = &db->manager;
    tern_status status = start_executor(db, error);
    manager->executor = db->options.executor;
    if (status == TERN_OK) {
        status = epoch_domain_create(db->allocator, &manager->epoch, error);
    }
    if (status == TERN_OK) {
        status = snapshot_registry_create(db->allocator, &manager->snapshots, error);
    }
    if (status == TERN_OK) {
        status = conflict_table_create(db->allocator, &db->budget, db->options.conflict_slots,
                                       &manager->conflicts, error);
    }
    if (status == TERN_OK) {
        const struct lock_manager_options options = {.allocator = db->allocator,
                                                     .clock = db->options.clock,
                                                     .budget = &db->budget,
                                                     .bytes_max = db->options.transaction_bytes};
        status = lock_manager_create(&options, &manager->locks, error);
    }
    if (status == TERN_OK) {
        status = commit_queue_create(manager, &manager->queue, error);
    }
    if (status == TERN_OK) {
        struct cache_options options = {.allocator = db->allocator,
                                        .epoch = manager->epoch,
                                        .budget = &db->budget,
                                        .limit_bytes = memory_cache_share(db),
                                        .placement = {.huge_pages = db->options.huge_pages,
                                                      .numa = db->options.numa,
                                                      .numa_nodes = db->options.numa_nodes,
                                                      .lock = db->options.lock_cache},
                                        .policy = db->options.cache_policy};
        status = cache_create(&options, &db->cache, error);
    }
    if (status == TERN_OK) {
        status = open_queues(db, error);
    }
    db->environment = (struct engine_environment){.allocator = db->allocator,
                                                  .file_system = db->options.file_system,
                                                  .clock = db->options.clock,
                                                  .random = db->options.random,
                                                  .directory = db->path,
                                                  .epoch = manager->epoch,
                                                  .budget = &db->budget,
                                                  .cache = db->cache,
                                                  .overlay_pool = &db->overlay_pool,
                                                  .write_queue = db->write_queue,
                                                  .read_queues = &db->read_queues,
                                                  .read_only = db->options.read_only,
                                                  .buffered_io = db->options.buffered_io,
                                                  .page_source = db->options.page_source,
                                                  .read_ahead_bytes = db->options.read_ahead_bytes,
                                                  .is_at_rest = &db->space_watch.is_at_rest,
                                                  .compacted_bytes = &db->counters.compacted_bytes};
    return status;
}

/* Everything that open made, in reverse; engines before what they use. */
static void destroy(struct tern_db *db) {
    struct txn_manager *manager = &db->manager;
    commit_queue_destroy(manager->queue);
    database_view_release(atomic_exchange(&manager->view, NULL));
    memory_release(db->allocator, db->spare_view);
    if (manager->epoch != NULL) {
        epoch_drain(manager->epoch);
        epoch_drain(manager->epoch);
    }
    catalog_release(db);
    logged_values_release(&db->logged);
    manifest_close(db->manifest);
    cache_destroy(db->cache);
    io_queue_destroy(db->write_queue);
    io_queue_pool_release(&db->read_queues);
    lock_manager_destroy(manager->locks);
    conflict_table_destroy(manager->conflicts);
    snapshot_registry_destroy(manager->snapshots);
    epoch_domain_destroy(manager->epoch);
    large_retention_release(&manager->retention);
    txn_spares_release(manager);
    mutex_destroy(&manager->views_mutex);
    mutex_destroy(&db->spill_mutex);
    mutex_destroy(&db->maintenance_mutex);
    page_pool_release(&db->overlay_pool);
    tern_thread_executor_stop(db->own_executor);
    (void)file_close(db->lock, NULL);
    memory_release(db->allocator, db->path);
    memory_release_aligned(db->allocator, db);
}

/* ---- the directory ---- */

/* A new directory is durable once its parent is synced. */
static tern_status make_directory(struct tern_db *db, tern_error *error) {
    char parent[FILE_PATH_BYTES];
    const tern_file_system *file_system = db->options.file_system;
    tern_status status = file_system->make_directory(file_system->context, db->path, error);
    if (status == TERN_EXISTS) {
        return TERN_OK;
    }
    if (status != TERN_OK) {
        return status;
    }
    size_t size = strlen(db->path);
    while (size > 1 && db->path[size - 1] == '/') {
        size--;
    }
    while (size > 0 && db->path[size - 1] != '/') {
        size--;
    }
    while (size > 1 && db->path[size - 1] == '/') {
        size--;
    }
    if (size >= sizeof(parent)) {
        return ERROR_SET(error, TERN_INVALID, "the path of the database is too long");
    }
    memcpy(parent, size > 0 ? db->path : ".", size > 0 ? size : 1);
    parent[size > 0 ? size : 1] = '\0';
    return file_system->sync_directory(file_system->context, parent, error);
}

static bool may_create(const struct tern_db *db) {
    return db->options.create_if_missing && !db->options.read_only;
}

/* There is no root file, and none is to be made. */
static tern_status say_missing(const struct tern_db *db, tern_error *error) {
    if (database_directory_is_used(db->options.file_system, db->path)) {
        return database_directory_say_rootless(db->path, error);
    }
    return ERROR_AT(error, TERN_NOT_FOUND, db->path, -1, 0, "there is no database here; %s",
                    db->options.create_if_missing ? "open it without read_only to make one"
                                                  : "set create_if_missing to make one");
}

static tern_status lock_directory(struct tern_db *db, tern_error *error) {
    char path[FILE_PATH_BYTES];
    const tern_file_system *file_system = db->options.file_system;
    tern_status status = may_create(db) ? make_directory(db, error) : TERN_OK;
    if (status == TERN_OK) {
        status = path_join(path, db->path, MANIFEST_FILE_NAME, error);
    }
    if (status == TERN_OK && !may_create(db)) {
        /* Not even a lock file is left behind where no database is. */
        status = file_system->exists(file_system->context, path, error);
        if (status == TERN_NOT_FOUND) {
            return say_missing(db, error);
        }
    }
    if (status == TERN_OK) {
        status = path_join(path, db->path, LOCK_FILE_NAME, error);
    }
    if (status == TERN_OK) {
        status = file_system->lock(file_system->context, path, &db->lock, error);
    }
    return status;
}

static tern_status create_root(struct tern_db *db, struct manifest *out_manifest,
                               tern_error *error) {
    const tern_file_system *file_system = db->options.file_system;
    if (!may_create(db)) {
        return say_missing(db, error);
    }
    /* The root file is durable before there are others: somebody has lost it, and a new database
     * would remove what is left of the old one. */
    if (database_directory_is_used(file_system, db->path)) {
        return database_directory_say_rootless(db->path, error);
    }
    *out_manifest = (struct manifest){.generation = 1, .view_generation = 1, .next_partition = 1};
    tern_status status =
        manifest_create(file_system, db->allocator, db->path, out_manifest, &db->manifest, error);
    return status == TERN_OK && !db->is_copy ? manifest_publish(file_system, db->path, error)
                                             : status;
}

static tern_status read_root(struct tern_db *db, struct arena *arena, struct manifest *out_manifest,
                             tern_error *error) {
    struct manifest other = {0};
    tern_status status =
        manifest_open(db->options.file_system, db->allocator, db->path, db->options.read_only,
                      arena, &db->manifest, out_manifest, &other, error);
    if (status == TERN_NOT_FOUND) {
        status = create_root(db, out_manifest, error);
    } else if (status == TERN_OK && db->options.error_if_exists) {
        status = ERROR_AT(error, TERN_EXISTS, db->path, -1, 0, "a database is here already");
    }
    if (status != TERN_OK) {
        return status;
    }
    uint64_t view_generation = out_manifest->view_generation > other.view_generation
                                   ? out_manifest->view_generation
                                   : other.view_generation;
    db->view_generation = view_generation + 1;
    db->catalog_seq = out_manifest->catalog_seq;
    atomic_store(&db->next_partition, or_default(out_manifest->next_partition, 1));
    atomic_store(&db->manager.has_expiring, out_manifest->has_expiring);
    db->maintenance.manifest_generation = out_manifest->generation;
    db->maintenance.drafted_generation = out_manifest->generation;
    db->maintenance.log_start = out_manifest->log_start;
    db->maintenance.written_log_start = out_manifest->log_start;
    db->maintenance.previous_log_start = out_manifest->log_start;
    return TERN_OK;
}

/* ---- files without a keyspace ---- */

struct orphan_search {
    struct tern_db *db;
    const struct manifest *manifest;
    partition_id found;
};

static bool is_named(const struct manifest *manifest, partition_id id) {
    for (size_t i = 0; i < manifest->keyspace_count; i++) {
        if (manifest->keyspaces[i].id == id) {
            return true;
        }
    }
    return false;
}

/* Files of partitions are called "p-<16 hex digits>.<engine>". */
static bool visit_orphan(void *context, const char *name) {
    struct orphan_search *search = context;
    char digits[17];
    if (strncmp(name, "p-", 2) != 0 || strlen(name) < 19 || name[18] != '.') {
        return true;
    }
    memcpy(digits, name + 2, 16);
    digits[16] = '\0';
    char *end;
    partition_id id = strtoull(digits, &end, 16);
    if (*end != '\0' || id == 0 || is_named(search->manifest, id) ||
        catalog_by_id(search->db, id) != NULL) {
        return true;
    }
    search->found = id;
    return false;
}

/* Whichever engine it was: each removes the files that are its own. */
static tern_status destroy_partition(struct tern_db *db, partition_id id) {
    static const tern_engine_kind kinds[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH, TERN_ENGINE_LSM};
    tern_status status = TERN_OK;
    for (size_t i = 0; status == TERN_OK && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        status = engine_methods_of(kinds[i])->destroy(&db->environment, id, NULL);
    }
    return status;
}

static void remove_temporary_file(struct tern_db *db, const char *name) {
    char path[FILE_PATH_BYTES];
    const tern_file_system *file_system = db->options.file_system;
    if (path_join(path, db->path, name, NULL) == TERN_OK &&
        file_system->exists(file_system->context, path, NULL) == TERN_OK) {
        tern_status status = file_system->remove(file_system->context, path, NULL);
        (void)status; /* whoever needs one of that name empties it */
    }
}

/* What a crash left of keyspaces that never were, or are no more. */
static void remove_orphans(struct tern_db *db, const struct manifest *manifest) {
    partition_id previous = 0;
    remove_temporary_file(db, SPILL_FILE_NAME);
    remove_temporary_file(db, CONVERT_FILE_NAME);
    for (int i = 0; i < 100000; i++) {
        struct orphan_search search = {db, manifest, 0};
        if (db->options.file_system->list(db->options.file_system->context, db->path, visit_orphan,
                                          &search, NULL) != TERN_OK ||
            search.found == 0 || search.found == previous ||
            destroy_partition(db, search.found) != TERN_OK) {
            return;
        }
        previous = search.found;
    }
}

/* ---- open ---- */

/* A log that held nothing new may begin where it ends, so that its segments can go. */
static void choose_log_start(struct tern_db *db) {
    struct maintenance *maintenance = &db->maintenance;
    if (maintenance->log_start == 0) {
        maintenance->log_start = log_start_position(db->manager.log);
    }
    if (!db->options.read_only && atomic_load(&db->counters.recovered_records) == 0 &&
        large_retention_is_empty(&db->manager.retention)) {
        maintenance->log_start = log_end_position(db->manager.log);
    }
}

static tern_status start(struct tern_db *db, tern_error *error) {
    struct arena arena;
    struct manifest manifest;
    arena_init(&arena, db->allocator, 4096);
    uint64_t begin = database_now_ns(db);
    tern_status status = read_root(db, &arena, &manifest, error);
    if (status == TERN_OK) {
        status = recovery_run(db, &manifest, error);
    }
    if (status == TERN_OK) {
        status = views_prepare(db, db->slot_count, error);
    }
    if (status == TERN_OK) {
        views_refresh(db);
        choose_log_start(db);
        db->maintenance.durable_generations[0] = db->view_generation;
        db->maintenance.durable_generations[1] = db->view_generation;
        if (!db->options.read_only) {
            status = checkpoint_rewrite_manifest(db, error);
        }
        if (status == TERN_OK && !db->options.read_only) {
            checkpoint_release_log(db);
        }
    }
    if (status == TERN_OK && !db->options.read_only) {
        remove_orphans(db, &manifest);
    }
    if (status == TERN_OK) {
        uint64_t spent = database_now_ns(db) - begin;
        atomic_store(&db->counters.recovery_ms, spent / 1000000);
        atomic_store(&db->checkpoint_done, 0);
        uint64_t now_ms = db->options.clock->wall_ms(db->options.clock->context);
        atomic_store(&db->manager.last_sync_ms, now_ms);
    }
    arena_release(&arena);
    return status;
}

/* What expired while nobody had the database open is gone from the first read on. */
static void catch_up_time(struct tern_db *db) {
    if (!atomic_load(&db->manager.has_expiring)) {
        return;
    }
    if (!db->options.read_only) {
        tern_status status = commit_tick(&db->manager, NULL);
        (void)status; /* the next tick or commit will do it */
        return;
    }
    uint64_t now_ms = db->options.clock->wall_ms(db->options.clock->context);
    if (now_ms > atomic_load(&db->manager.visible_time_ms)) {
        atomic_store(&db->manager.visible_time_ms, now_ms);
    }
}

static tern_status open_database(const char *path, const tern_db_options *options, bool is_copy,
                                 tern_db **out_db, tern_error *error) {
    tern_db_options resolved;
    tern_status status = resolve_options(options, &resolved, error);
    if (status != TERN_OK) {
        return status;
    }
    struct tern_db *db = memory_allocate_aligned(resolved.allocator, 64, sizeof(*db));
    if (db == NULL) {
        return ERROR_NO_MEMORY(error, "a database");
    }
    memset(db, 0, sizeof(*db));
    db->options = resolved;
    db->is_copy = is_copy;
    db->allocator = resolved.allocator;
    db->budget.limit_bytes = resolved.memory_bytes;
    mutex_init(&db->maintenance_mutex);
    mutex_init(&db->spill_mutex);
    page_pool_init(&db->overlay_pool, resolved.overlay_bytes);
    memory_share_init(db);
    catalog_init(db);
    init_manager(db);
    db->path = memory_copy_string(db->allocator, path, strlen(path));
    status = db->path != NULL ? TERN_OK : ERROR_NO_MEMORY(error, "a database");
    if (status == TERN_OK) {
        status = lock_directory(db, error);
    }
    if (status == TERN_OK) {
        status = create_parts(db, error);
    }
    if (status == TERN_OK) {
        status = start(db, error);
    }
    if (status != TERN_OK) {
        log_discard(db->manager.log);
        destroy(db);
        return status;
    }
    catch_up_time(db);
    maintenance_start(db);
    *out_db = db;
    return TERN_OK;
}

/* What could be got around on the way (a slot of the root file that was never written, say) has
 * left its detail too: only that of a failure is the caller's. */
tern_status database_open(const char *path, const tern_db_options *options, bool is_copy,
                          tern_db **out_db, tern_error *error) {
    tern_error found = TERN_ERROR_INIT;
    tern_status status = open_database(path, options, is_copy, out_db, &found);
    if (status != TERN_OK) {
        error_copy(error, &found);
    }
    return status;
}

tern_status tern_open(const char *path, const tern_db_options *options, tern_db **out_db,
                      tern_error *error) {
    REQUIRE(error, path != NULL && path[0] != '\0', "no path");
    REQUIRE(error, out_db != NULL, "no out_db");
    return database_open(path, options, false, out_db, error);
}

/* ---- close and sync ---- */

static tern_status settle(struct tern_db *db, tern_error *error) {
    if (db->options.read_only || log_is_poisoned(db->manager.log)) {
        return TERN_OK;
    }
    seq_no visible = atomic_load(&db->manager.visible_seq);
    if (budget_used(&db->budget, BUDGET_OVERLAY) < CLOSE_DRAIN_BYTES &&
        large_retention_is_empty(&db->manager.retention) &&
        db->maintenance.phase == CHECKPOINT_IDLE) {
        return TERN_OK;
    }
    /* A drain that fails loses nothing: the log has it. */
    tern_status drained = maintenance_drain_to(db, visible, NULL);
    (void)drained;
    (void)error;
    return TERN_OK;
}

tern_status tern_close(tern_db *db, tern_error *error) {
    if (db == NULL) {
        return TERN_OK;
    }
    commit_drain_async(&db->manager);
    hook_stop_all(db);
    maintenance_stop(db);
    tern_status status = settle(db, error);
    prewarm_save(db);
    maintenance_cancel(db); /* now nothing runs that could post again */
    tern_status closed = TERN_OK;
    if (db->options.read_only) {
        log_discard(db->manager.log);
    } else {
        closed = log_close(db->manager.log, error);
    }
    db->manager.log = NULL;
    destroy(db);
    return status == TERN_OK ? closed : status;
}

tern_status tern_sync(tern_db *db, tern_error *error) {
    REQUIRE(error, db != NULL, "no database");
    if (db->options.read_only) {
        return TERN_OK;
    }
    return log_sync(db->manager.log, log_end_position(db->manager.log), error);
}

tern_status tern_checkpoint(tern_db *db, tern_error *error) {
    REQUIRE(error, db != NULL, "no database");
    if (db->options.read_only) {
        return ERROR_SET(error, TERN_READ_ONLY, "the database is open read-only");
    }
    if (log_is_poisoned(db->manager.log)) {
        return ERROR_SET(error, TERN_POISONED,
                         "a sync failed earlier; close the database, check the device, open again");
    }
    tern_status status = maintenance_drain_to(db, atomic_load(&db->manager.visible_seq), error);
    if (status == TERN_OK) {
        space_give_back(db);
        status = aside_tell(db, error);
    }
    return status;
}
