/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every engine promises (engine/engine.h). A new engine is put into ENGINES; nothing here
 * knows more of it than its table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tern/txn.h>

#include "base/compare.h"
#include "os/file.h"
#include "support/cmocka_test.h"
#include "support/engine_world.h"
#include "support/fault_allocator.h"

struct kind {
    tern_engine_kind engine;
    tern_hash_function hash_function;
};
static const struct kind ENGINES[] = {{TERN_ENGINE_BTREE, TERN_HASH_FUNCTION_XXH3},
                                      {TERN_ENGINE_HASH, TERN_HASH_FUNCTION_XXH3},
                                      {TERN_ENGINE_HASH, TERN_HASH_FUNCTION_CRC32C},
                                      {TERN_ENGINE_HASH, TERN_HASH_FUNCTION_FNV1A},
                                      {TERN_ENGINE_LSM, TERN_HASH_FUNCTION_XXH3}};

static void begin_with(void **state, struct engine_world *world, const tern_allocator *allocator) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.page_bytes = 4096;
    options.fan_out = 16;
    options.fill_percent = 95;
    const struct kind *kind = *state;
    options.hash_function = kind->hash_function;
    world_create(world, engine_methods_of(kind->engine), &options, (uint64_t)4 << 20, 1, allocator);
    assert_ok(world_open(world, 0, &error), error);
}

static void begin(void **state, struct engine_world *world) {
    begin_with(state, world, tern_allocator_default());
}

static void change(struct engine_world *world, enum record_kind kind, const char *key,
                   tern_slice value, uint32_t merge_kind, uint64_t expires_ms) {
    tern_error error = TERN_ERROR_INIT;
    const struct world_change one = {.kind = kind,
                                     .key = tern_slice_str(key),
                                     .value = value,
                                     .merge_kind = merge_kind,
                                     .expires_ms = expires_ms,
                                     .range_has_end = true};
    assert_ok(world_commit(world, &one, 1, &error), error);
}

static void put(struct engine_world *world, const char *key, const char *value) {
    change(world, RECORD_PUT, key, tern_slice_str(value), 0, 0);
}

static void put_many(struct engine_world *world, unsigned count, unsigned stride) {
    char key[32];
    char value[128];
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(key, sizeof(key), "key-%06u", i * stride % (count * 4));
        (void)snprintf(value, sizeof(value), "value %u %0*u", i, (int)(i % 90) + 1, i);
        put(world, key, value);
    }
}

static void checkpoint(struct engine_world *world) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(world_checkpoint(world, &error), error);
    world_verify(world);
}

static uint64_t stat_of(struct engine_world *world, const char *name);

struct stat_search {
    const char *name;
    uint64_t value;
    bool is_found;
};

static bool look_at_stat(void *context, const tern_stat *stat) {
    struct stat_search *search = context;
    if (strcmp(stat->name, search->name) == 0) {
        search->value = stat->value;
        search->is_found = true;
    }
    return true;
}

static uint64_t stat_of(struct engine_world *world, const char *name) {
    struct stat_search search = {name, 0, false};
    tern_error error = TERN_ERROR_INIT;
    assert_ok(world->methods->stats(world->view, look_at_stat, &search, &error), error);
    assert_true(search.is_found);
    return search.value;
}

static void an_empty_partition_has_nothing(void **state) {
    struct engine_world world;
    begin(state, &world);
    const struct engine_moment moment = world_moment(&world);
    world_check_key(&world, world.view, &moment, &world.now, tern_slice_str("a"));
    world_check_now(&world);
    checkpoint(&world);
    world_check_now(&world);
    world_destroy(&world);
}

static void a_drain_changes_nothing_that_readers_see(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    bool idle = false;
    begin(state, &world);
    put_many(&world, 500, 7);
    world_check_now(&world);
    assert_ok(world_freeze(&world, &error), error);
    world_check_now(&world);
    put_many(&world, 100, 13);
    while (!idle) {
        assert_ok(world_drain_step(&world, 8000, &idle, &error), error);
        assert_ok(world_publish(&world, &error), error);
        world_check_now(&world);
    }
    world_verify(&world);
    world_destroy(&world);
}

static void a_snapshot_reads_what_it_saw(void **state) {
    struct engine_world world;
    begin(state, &world);
    put_many(&world, 200, 3);
    world_snapshot_take(&world);
    put_many(&world, 200, 3);
    checkpoint(&world);
    world_snapshot_take(&world);
    change(&world, CHANGE_DELETE_RANGE, "key-000100", tern_slice_str("key-000400"), 0, 0);
    checkpoint(&world);
    world_check_snapshots(&world);
    world_check_now(&world);
    world_destroy(&world);
}

/* Snapshots that read the same view at moments between which everything happens; each is renewed to
 * each other one. */
static void a_renewed_cursor_sees_what_one_opened_then_sees(void **state) {
    struct engine_world world;
    begin(state, &world);
    put_many(&world, 300, 7);
    change(&world, RECORD_PUT, "key-000040", tern_slice_str("s"), 0, world.time_ms + 5000);
    checkpoint(&world);
    change(&world, RECORD_MERGE, "key-000040", tern_slice_str("+"), TERN_MERGE_APPEND, 0);
    change(&world, RECORD_MERGE, "key-000041", tern_slice_str("+"), TERN_MERGE_APPEND, 0);
    checkpoint(&world);
    for (unsigned round = 0; round < 2; round++) {
        world_snapshot_take(&world);
        put_many(&world, 30, 31);
        world_snapshot_take(&world);
        change(&world, RECORD_DELETE, "key-000042", tern_slice_str(""), 0, 0);
        change(&world, RECORD_MERGE, "key-000049", tern_slice_str("+"), TERN_MERGE_APPEND, 0);
        world.time_ms += 10000;
        put(&world, "key-000050x", "new");
        world_snapshot_take(&world);
        change(&world, CHANGE_DELETE_RANGE, "key-000100", tern_slice_str("key-000400"), 0, 0);
        world_check_snapshots(&world);
        checkpoint(&world);
        world_check_snapshots(&world);
    }
    world_destroy(&world);
}

static void operands_count_once_drained_or_not(void **state) {
    struct engine_world world;
    int64_t three = 3;
    begin(state, &world);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < 40; i++) {
            change(&world, RECORD_MERGE, "sum", tern_slice_of(&three, 8), TERN_MERGE_ADD, 0);
            change(&world, RECORD_MERGE, "list", tern_slice_str("x"), TERN_MERGE_APPEND, 0);
        }
        world_check_now(&world);
        checkpoint(&world);
        world_check_now(&world);
    }
    world_close(&world);
    tern_error error = TERN_ERROR_INIT;
    assert_ok(world_open(&world, 0, &error), error);
    world_check_now(&world);
    world_destroy(&world);
}

static void what_has_expired_is_gone_and_its_room_comes_back(void **state) {
    struct engine_world world;
    begin(state, &world);
    change(&world, RECORD_PUT, "soon", tern_slice_str("v"), 0, world.time_ms + 20);
    change(&world, RECORD_PUT, "late", tern_slice_str("v"), 0, world.time_ms + 1000000);
    world_check_now(&world);
    checkpoint(&world);
    world_check_now(&world);
    world.time_ms += 100;
    world_check_now(&world);
    put(&world, "other", "v");
    put(&world, "soonest", "v");
    checkpoint(&world);
    world_check_now(&world);
    world_destroy(&world);
}

static void replay_restores_what_no_checkpoint_holds(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    bool idle = false;
    begin(state, &world);
    put_many(&world, 300, 5);
    checkpoint(&world);
    put_many(&world, 300, 11);
    change(&world, CHANGE_DELETE_RANGE, "key-000200", tern_slice_str("key-000300"), 0, 0);
    put(&world, "key-000250", "again");
    assert_ok(world_freeze(&world, &error), error);
    assert_ok(world_drain_step(&world, 2000, &idle, &error), error);
    assert_ok(world_publish(&world, &error), error);
    put(&world, "key-000001", "newest");
    for (size_t manifest = 0; manifest < WORLD_MANIFESTS; manifest++) {
        world_close(&world);
        assert_ok(world_open(&world, manifest, &error), error);
        world_check_now(&world);
        world_verify(&world);
    }
    world_destroy(&world);
}

static void a_cursor_keeps_to_its_bounds(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    begin(state, &world);
    if (!world.methods->is_ordered) {
        world_destroy(&world);
        return;
    }
    put_many(&world, 200, 1);
    checkpoint(&world);
    put_many(&world, 50, 3);
    const struct engine_moment moment = world_moment(&world);
    const struct engine_cursor_bounds bounds = {true, true, tern_slice_str("key-000050"),
                                                tern_slice_str("key-000060")};
    struct engine_cursor *cursor = NULL;
    struct engine_entry entry;
    assert_ok(world.methods->cursor_open(world.view, &moment, &bounds, false, &cursor, &error),
              error);
    unsigned count = 0;
    tern_status status = world.methods->cursor_first(cursor, false, &error);
    for (; status == TERN_OK; status = world.methods->cursor_next(cursor, &error)) {
        world.methods->cursor_entry(cursor, &entry);
        assert_true(slice_compare(entry.key, bounds.begin) >= 0);
        assert_true(slice_compare(entry.key, bounds.end) < 0);
        count++;
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    assert_int_equal(count, 10);
    assert_ok(world.methods->cursor_seek(cursor, tern_slice_str("key-000054x"), true, &error),
              error);
    world.methods->cursor_entry(cursor, &entry);
    assert_true(slice_equal(entry.key, tern_slice_str("key-000054")));
    assert_ok(world.methods->cursor_seek(cursor, tern_slice_str("key-000054x"), false, &error),
              error);
    world.methods->cursor_entry(cursor, &entry);
    assert_true(slice_equal(entry.key, tern_slice_str("key-000055")));
    assert_int_equal(world.methods->cursor_seek(cursor, tern_slice_str("z"), false, &error),
                     TERN_NOT_FOUND);
    world.methods->cursor_close(cursor);
    world_destroy(&world);
}

static void a_cursor_that_does_not_open_holds_no_view(void **state) {
    struct engine_world world;
    struct engine_cursor *cursor = NULL;
    struct fault_allocator *allocator = fault_allocator_create();
    begin_with(state, &world, fault_allocator_interface(allocator));
    put_many(&world, 20, 1);
    const struct engine_moment moment = world_moment(&world);
    const bool has_bounds = world.methods->is_ordered;
    const struct engine_cursor_bounds bounds = {
        has_bounds, has_bounds, tern_slice_str("key-000003"), tern_slice_str("key-000015")};
    const uint64_t references = atomic_load(&world.view->references);
    uint64_t blocks = fault_allocator_live_blocks(allocator);
    tern_status status = TERN_NO_MEMORY;
    for (uint64_t nth = 1; status != TERN_OK; nth++) {
        tern_error error = TERN_ERROR_INIT;
        fault_allocator_fail(allocator, nth, false);
        status = world.methods->cursor_open(world.view, &moment, &bounds, false, &cursor, &error);
        fault_allocator_fail(allocator, 0, false);
        if (status != TERN_OK) {
            assert_int_equal(status, TERN_NO_MEMORY);
            assert_null(cursor);
            assert_int_equal(atomic_load(&world.view->references), references);
            assert_int_equal(fault_allocator_live_blocks(allocator), blocks);
        }
    }
    world.methods->cursor_close(cursor);
    assert_int_equal(atomic_load(&world.view->references), references);
    world_destroy(&world);
    fault_allocator_destroy(allocator);
}

static void a_large_value_is_read_in_parts(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    size_t size = 3000000;
    uint8_t *value = malloc(size);
    assert_non_null(value);
    for (size_t i = 0; i < size; i++) {
        value[i] = (uint8_t)(i * 31 + i / 977);
    }
    begin(state, &world);
    change(&world, RECORD_LARGE, "large", tern_slice_of(value, size), 0, 0);
    world_check_now(&world);
    checkpoint(&world);
    world_check_now(&world);
    change(&world, RECORD_LARGE, "large", tern_slice_of(value, 10), 0, 0);
    change(&world, RECORD_LARGE, "large", tern_slice_of(value, size / 2), 0, 0);
    checkpoint(&world);
    world_close(&world);
    assert_ok(world_open(&world, 0, &error), error);
    world_check_now(&world);
    world_verify(&world);
    free(value);
    world_destroy(&world);
}

/* Lets everything that waits become free: both manifests get past it. */
static void settle(struct engine_world *world) {
    for (unsigned i = 0; i < 3; i++) {
        put(world, "settle", i % 2 == 0 ? "a" : "b");
        checkpoint(world);
    }
}

static void space_that_is_given_up_comes_back(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    static uint8_t value[400000];
    struct engine_large_writer *writer = NULL;
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    size_t size = 0;
    begin(state, &world);
    put_many(&world, 600, 3);
    checkpoint(&world);
    world_snapshot_take(&world);
    for (unsigned i = 0; i < 4; i++) {
        put_many(&world, 600, 3 + i);
        change(&world, RECORD_LARGE, "large", tern_slice_of(value, sizeof(value)), 0, 0);
        checkpoint(&world);
    }
    change(&world, RECORD_LARGE, "large", tern_slice_of(value, 300000), 0, 0);
    change(&world, CHANGE_DELETE_RANGE, "key-000100", tern_slice_str("lb"), 0, 0);
    assert_ok(world.methods->large_begin(world.engine, &writer, &error), error);
    assert_ok(world.methods->large_append(writer, value, sizeof(value), &error), error);
    assert_ok(world.methods->large_finish(writer, reference, &size, &error), error);
    world.methods->large_discard(world.engine, tern_slice_of(reference, size));
    assert_ok(world.methods->large_begin(world.engine, &writer, &error), error);
    assert_ok(world.methods->large_append(writer, value, sizeof(value), &error), error);
    world.methods->large_abandon(writer);
    world_snapshot_drop(&world, 0);
    settle(&world);
    world_release(&world);
    uint64_t used = stat_of(&world, "file_bytes") - stat_of(&world, "free_bytes") -
                    stat_of(&world, "pending_bytes");
    world_close(&world);
    assert_ok(world_open(&world, 0, &error), error);
    /* Derived anew, with nothing pending: what is in use must be the same. */
    assert_int_equal(stat_of(&world, "file_bytes") - stat_of(&world, "free_bytes"), used);
    world_destroy(&world);
}

static void a_long_reader_costs_at_most_one_copy_more(void **state) {
    struct engine_world world;
    begin(state, &world);
    put_many(&world, 1500, 1);
    settle(&world);
    uint64_t once = stat_of(&world, "file_bytes") - stat_of(&world, "free_bytes");
    world_snapshot_take(&world);
    for (unsigned i = 0; i < 20; i++) {
        put_many(&world, 1500, 1);
        checkpoint(&world);
    }
    uint64_t used = stat_of(&world, "file_bytes") - stat_of(&world, "free_bytes");
    /* The reader's copy, today's, and what the two manifests keep. */
    assert_true(used <= 4 * once);
    world_check_snapshots(&world);
    world_destroy(&world);
}

static void deletes_and_compaction_shrink_the_file(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    uint64_t freed = 0;
    begin(state, &world);
    put_many(&world, 3000, 1);
    change(&world, RECORD_LARGE, "zlarge", tern_slice_of(world.log[0].changes[0].key.data, 9), 0,
           0);
    settle(&world);
    uint64_t before = stat_of(&world, "file_bytes");
    for (unsigned i = 0; i < 3000; i++) {
        char key[32];
        if (i % 20 != 0) {
            (void)snprintf(key, sizeof(key), "key-%06u", i);
            assert_int_equal(world_delete(&world, key), TERN_OK);
        }
    }
    settle(&world);
    assert_ok(world_compact(&world, &error), error);
    settle(&world);
    assert_ok(world_compact(&world, &error), error);
    settle(&world);
    world_release(&world);
    assert_ok(world.methods->shrink(world.engine, &freed, &error), error);
    world_verify(&world);
    world_check_now(&world);
    assert_true(stat_of(&world, "file_bytes") < before / 2);
    world_destroy(&world);
}

static void changes_of_a_range_are_noticed(void **state) {
    struct engine_world world;
    begin(state, &world);
    put_many(&world, 50, 1);
    checkpoint(&world);
    seq_no since = world.seq;
    const struct engine_cursor_bounds bounds = {true, true, tern_slice_str("key-000010"),
                                                tern_slice_str("key-000020")};
    assert_false(world.methods->changed_since(world.view, &bounds, since));
    put(&world, "key-000030", "v");
    /* Without order any write may have been one to the range. */
    assert_int_equal(world.methods->changed_since(world.view, &bounds, since),
                     !world.methods->is_ordered);
    put(&world, "key-000015", "v");
    assert_true(world.methods->changed_since(world.view, &bounds, since));
    assert_false(world.methods->changed_since(world.view, &bounds, world.seq));
    checkpoint(&world);
    assert_true(world.methods->changed_since(world.view, &bounds, since));
    world_destroy(&world);
}

static void estimates_are_near(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    const struct engine_cursor_bounds bounds = {0};
    begin(state, &world);
    for (unsigned round = 0; round < 3; round++) {
        uint64_t count = 0;
        uint64_t bytes = 0;
        put_many(&world, 1000 + round * 300, 1);
        assert_ok(world.methods->estimate(world.view, &bounds, &count, &bytes, &error), error);
        assert_true(count >= world.now.count * 9 / 10 && count <= world.now.count * 11 / 10);
        assert_true(bytes > 0);
        checkpoint(&world);
        assert_ok(world.methods->estimate(world.view, &bounds, &count, &bytes, &error), error);
        assert_true(count >= world.now.count * 9 / 10 && count <= world.now.count * 11 / 10);
    }
    world_destroy(&world);
}

struct feed {
    const struct oracle *oracle;
    size_t next;
};

static tern_status feed_next(void *context, tern_slice *out_key, struct record *out_record) {
    struct feed *feed = context;
    if (feed->next == feed->oracle->count) {
        return TERN_NOT_FOUND;
    }
    const struct oracle_entry *entry = &feed->oracle->entries[feed->next++];
    *out_key = tern_slice_of(entry->key, entry->key_size);
    *out_record = (struct record){.kind = RECORD_PUT,
                                  .expires_ms = entry->expires_ms,
                                  .value = tern_slice_of(entry->value, entry->value_size)};
    return TERN_OK;
}

static void sorted_records_can_be_loaded_at_once(void **state) {
    struct engine_world world;
    struct engine_world loaded;
    tern_error error = TERN_ERROR_INIT;
    begin(state, &world);
    put_many(&world, 2000, 1);
    begin(state, &loaded);
    struct feed feed = {&world.now, 0};
    assert_ok(loaded.methods->ingest(loaded.engine, feed_next, &feed, &error), error);
    assert_ok(world_publish(&loaded, &error), error);
    world_verify(&loaded);
    const struct engine_moment moment = world_moment(&world);
    world_check_all(&loaded, loaded.view, &moment, &world.now);
    feed.next = 0;
    assert_int_equal(loaded.methods->ingest(loaded.engine, feed_next, &feed, &error), TERN_INVALID);
    world_destroy(&loaded);
    world_destroy(&world);
}

static void an_exported_base_opens_elsewhere(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    struct buffer exported;
    static uint8_t value[700000];
    buffer_init(&exported, tern_allocator_default());
    begin(state, &world);
    const tern_file_system *system = power_cut_interface(world.disk);
    put_many(&world, 1200, 1);
    change(&world, RECORD_LARGE, "large", tern_slice_of(value, sizeof(value)), 0, 0);
    checkpoint(&world);
    assert_ok(system->make_directory(system->context, "/copy", &error), error);
    assert_ok(world.methods->export_base(world.view, "/copy", &exported, &error), error);
    struct engine_environment environment = world.environment;
    struct engine_drained drained;
    struct engine *copy = NULL;
    environment.directory = "/copy";
    assert_ok(world.methods->open(&environment, &world.config, buffer_slice(&exported), &copy,
                                  &drained, &error),
              error);
    assert_int_equal(drained.complete_seq, world.seq);
    struct engine *original = world.engine;
    struct engine_view *view = world.methods->current_view(copy);
    const struct engine_moment moment = world_moment(&world);
    world.engine = copy; /* values stored apart are read through it */
    world_check_all(&world, view, &moment, &world.now);
    world.engine = original;
    engine_view_release(view, world.epoch);
    world.methods->close(copy);
    buffer_release(&exported);
    world_destroy(&world);
}

struct saved {
    struct engine_world *world;
    size_t count;
};

static tern_status save_record(void *context, tern_slice key, const struct record *record,
                               uint64_t generation) {
    struct saved *saved = context;
    (void)generation;
    const struct oracle_entry *entry = oracle_find(&saved->world->now, key, 0);
    assert_non_null(entry);
    assert_true(slice_equal(record->value, tern_slice_of(entry->value, entry->value_size)));
    saved->count++;
    return TERN_OK;
}

static bool count_finding(void *context, const tern_finding *finding) {
    (void)finding;
    ++*(unsigned *)context;
    return true;
}

static void salvage_finds_every_record_with_and_without_a_state(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    begin(state, &world);
    put_many(&world, 900, 1);
    checkpoint(&world);
    for (unsigned i = 0; i < 2; i++) {
        struct saved saved = {&world, 0};
        uint64_t lost = 99;
        unsigned findings = 0;
        tern_slice manifest =
            tern_slice_of(world.manifests[0].state, i == 0 ? world.manifests[0].size : 0);
        assert_ok(world.methods->salvage(&world.environment, &world.config, manifest, save_record,
                                         &saved, count_finding, &findings, &lost, &error),
                  error);
        assert_int_equal(saved.count, world.now.count);
        assert_int_equal(lost, 0);
        assert_int_equal(findings, i);
    }
    world_destroy(&world);
}

static void a_destroyed_partition_leaves_no_file(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    begin(state, &world);
    put_many(&world, 50, 1);
    checkpoint(&world);
    world_close(&world);
    assert_ok(world.methods->destroy(&world.environment, world.config.id, &error), error);
    assert_ok(world.methods->destroy(&world.environment, world.config.id, &error), error);
    free(world.manifests[0].state);
    world.manifests[0] = (struct world_manifest){0};
    assert_ok(world_open(&world, 0, &error), error); /* all of it from the log */
    world_check_now(&world);
    world_destroy(&world);
}

/* Cuts a file down to the beginning of its header, checksum included. */
static bool cut_short(void *context, const char *name) {
    struct engine_world *world = context;
    const tern_file_system *system = world->environment.file_system;
    tern_error error = TERN_ERROR_INIT;
    tern_file *file = NULL;
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s", world->environment.directory, name);
    assert_ok(system->open(system->context, path, 0, &file, &error), error);
    assert_ok(file->methods->truncate(file, 512, &error), error);
    assert_ok(file_sync(file, &error), error);
    assert_ok(file_close(file, &error), error);
    return true;
}

/* As a full disk may leave them: nothing that is written then lies where the header belongs. */
static void files_that_were_cut_short_are_written_anew(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    begin(state, &world);
    put_many(&world, 50, 1);
    checkpoint(&world);
    world_close(&world);
    const tern_file_system *system = world.environment.file_system;
    assert_ok(system->list(system->context, world.environment.directory, cut_short, &world, &error),
              error);
    /* From a manifest that knows of nothing in them. */
    free(world.manifests[0].state);
    world.manifests[0] = (struct world_manifest){0};
    assert_ok(world_open(&world, 0, &error), error);
    checkpoint(&world);
    assert_ok(world_cut_and_open(&world, 0, 1, &error), error);
    world_verify(&world);
    world_check_now(&world);
    world_destroy(&world);
}

int main(void) {
    int failed = 0;
    for (size_t i = 0; i < sizeof(ENGINES) / sizeof(ENGINES[0]); i++) {
        void *methods = (void *)(uintptr_t)&ENGINES[i];
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(an_empty_partition_has_nothing, methods),
            cmocka_unit_test_prestate(a_drain_changes_nothing_that_readers_see, methods),
            cmocka_unit_test_prestate(a_snapshot_reads_what_it_saw, methods),
            cmocka_unit_test_prestate(a_renewed_cursor_sees_what_one_opened_then_sees, methods),
            cmocka_unit_test_prestate(operands_count_once_drained_or_not, methods),
            cmocka_unit_test_prestate(what_has_expired_is_gone_and_its_room_comes_back, methods),
            cmocka_unit_test_prestate(replay_restores_what_no_checkpoint_holds, methods),
            cmocka_unit_test_prestate(a_cursor_keeps_to_its_bounds, methods),
            cmocka_unit_test_prestate(a_cursor_that_does_not_open_holds_no_view, methods),
            cmocka_unit_test_prestate(a_large_value_is_read_in_parts, methods),
            cmocka_unit_test_prestate(space_that_is_given_up_comes_back, methods),
            cmocka_unit_test_prestate(a_long_reader_costs_at_most_one_copy_more, methods),
            cmocka_unit_test_prestate(deletes_and_compaction_shrink_the_file, methods),
            cmocka_unit_test_prestate(changes_of_a_range_are_noticed, methods),
            cmocka_unit_test_prestate(estimates_are_near, methods),
            cmocka_unit_test_prestate(sorted_records_can_be_loaded_at_once, methods),
            cmocka_unit_test_prestate(an_exported_base_opens_elsewhere, methods),
            cmocka_unit_test_prestate(salvage_finds_every_record_with_and_without_a_state, methods),
            cmocka_unit_test_prestate(a_destroyed_partition_leaves_no_file, methods),
            cmocka_unit_test_prestate(files_that_were_cut_short_are_written_anew, methods),
        };
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
