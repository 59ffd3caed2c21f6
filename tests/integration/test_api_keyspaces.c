/* SPDX-License-Identifier: Apache-2.0 */
/* Keyspaces by name, statistics by name, and the archive of the log. */
#include <stdlib.h>

#include "api_fixture.h"

#define NAMES_BYTES 128

static void names_and_options_are_checked(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    char longest[TERN_KEYSPACE_NAME_BYTES + 2];
    api_fixture_init(&fixture, false);
    memset(longest, 'n', sizeof(longest));
    longest[TERN_KEYSPACE_NAME_BYTES + 1] = '\0';
    const char *const wrong[] = {NULL, "", "a\nb", "\x7f", "\xff\xfe", "\xc3", longest};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(tern_keyspace_create(fixture.db, wrong[i], NULL, &keyspace, &error),
                         TERN_INVALID);
    }
    longest[TERN_KEYSPACE_NAME_BYTES] = '\0';
    assert_ok(tern_keyspace_create(fixture.db, longest, NULL, &keyspace, &error), error);
    assert_ok(tern_keyspace_create(fixture.db, "V\xc3\xb6gel / *", NULL, &keyspace, &error), error);
    assert_string_equal(tern_keyspace_name(keyspace), "V\xc3\xb6gel / *");
    assert_int_equal(tern_keyspace_create(fixture.db, "test", NULL, NULL, &error), TERN_EXISTS);

    const tern_keyspace_options options[] = {
        {.size = sizeof(options[0]), .page_bytes = 5000},
        {.size = sizeof(options[0]), .page_bytes = 131072},
        {.size = sizeof(options[0]), .fan_out = 5},
        {.size = sizeof(options[0]), .fill_percent = 101},
        {.size = sizeof(options[0]), .compression = (tern_compression)8},
        {.size = sizeof(options[0]), .engine = (tern_engine_kind)8},
        {.size = 1},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        tern_status status = tern_keyspace_create(fixture.db, "o", &options[i], &keyspace, &error);
        assert_true(status == TERN_INVALID || status == TERN_UNSUPPORTED);
        assert_true(strlen(error.message) > 0);
    }
    assert_int_equal(tern_keyspace_open(fixture.db, "o", &keyspace, &error), TERN_NOT_FOUND);
    api_fixture_release(&fixture);
}

#define OPTIONS(...) ((tern_keyspace_options){.size = sizeof(tern_keyspace_options), __VA_ARGS__})

static void assert_refused(tern_status status, const tern_error *error, const char *option) {
    assert_int_equal(status, TERN_INVALID);
    assert_non_null(strstr(error->message, option));
    assert_non_null(strstr(error->message, "no use for it"));
}

/* By each of the calls that take options */
static void assert_useless(struct api_fixture *fixture, const tern_keyspace_options *options,
                           const char *option) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    assert_refused(tern_keyspace_check("u", options, &error), &error, option);
    assert_refused(tern_keyspace_create(fixture->db, "u", options, &keyspace, &error), &error,
                   option);
    assert_refused(tern_keyspace_convert(fixture->keyspace, options, NULL, NULL, &error), &error,
                   option);
    tern_txn *txn = api_begin(fixture);
    tern_status status = tern_txn_keyspace_create(txn, "u", options, &keyspace);
    assert_refused(status, tern_txn_error(txn), option);
    tern_txn_free(txn);
    assert_int_equal(tern_keyspace_open(fixture->db, "u", &keyspace, &error), TERN_NOT_FOUND);
}

static void an_option_that_the_engine_has_no_use_for_is_refused(void **state) {
    (void)state;
    const struct {
        const char *name;
        tern_keyspace_options options;
    } useless[] = {
        {"fan_out", OPTIONS(.engine = TERN_ENGINE_HASH, .fan_out = 64)},
        {"fan_out", OPTIONS(.engine = TERN_ENGINE_HASH, .fan_out = 1)},
        {"fill_percent", OPTIONS(.engine = TERN_ENGINE_HASH, .fill_percent = 70)},
        {"fill_percent", OPTIONS(.engine = TERN_ENGINE_LSM, .fill_percent = 70)},
        {"compaction", OPTIONS(.compaction = TERN_COMPACTION_TIERED)},
        {"compaction", OPTIONS(.engine = TERN_ENGINE_HASH, .compaction = TERN_COMPACTION_FIFO)},
        {"hash_index", OPTIONS(.hash_index = TERN_HASH_INDEX_ROBIN_HOOD)},
        {"max_load_percent", OPTIONS(.engine = TERN_ENGINE_BTREE, .max_load_percent = 60)},
        {"expected_keys", OPTIONS(.engine = TERN_ENGINE_LSM, .expected_keys = 1)},
        {"filter_bits", OPTIONS(.filter_bits = 12)},
        {"filter_bits", OPTIONS(.engine = TERN_ENGINE_HASH, .filter_bits = TERN_FILTER_OFF)},
        {"hash_function", OPTIONS(.hash_function = TERN_HASH_FUNCTION_FNV1A)},
        {"level_compression", OPTIONS(.level_compression = {[7] = 1})},
        {"level_compression", OPTIONS(.engine = TERN_ENGINE_HASH, .level_compression = {1})},
    };
    struct api_fixture fixture;
    api_fixture_init(&fixture, false);
    for (size_t i = 0; i < sizeof(useless) / sizeof(useless[0]); i++) {
        assert_useless(&fixture, &useless[i].options, useless[i].name);
    }
    api_fixture_release(&fixture);
}

/* Whatever engine they are of: so an engine can be changed and all else be kept. */
static void defaults_of_another_engine_are_taken(void **state) {
    (void)state;
    static const tern_engine_kind engines[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH,
                                               TERN_ENGINE_LSM};
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init(&fixture, false);
    for (size_t i = 0; i < 9; i++) {
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        tern_keyspace_options found = TERN_KEYSPACE_OPTIONS_INIT;
        tern_keyspace_get_options(fixture.keyspace, &options);
        options.engine = engines[(i + i / 3) % 3];
        assert_ok(tern_keyspace_convert(fixture.keyspace, &options, NULL, NULL, &error), error);
        tern_keyspace_get_options(fixture.keyspace, &found);
        assert_int_equal(found.engine, options.engine);
        assert_int_equal(found.fan_out, 256);
        assert_int_equal(found.fill_percent, 95);
    }
    api_fixture_release(&fixture);
}

static bool take_name(void *context, tern_keyspace *keyspace) {
    char *names = context;
    size_t used = strlen(names);
    (void)snprintf(names + used, NAMES_BYTES - used, "%s ", tern_keyspace_name(keyspace));
    return true;
}

static void options_and_names_outlive_the_process(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    char names[NAMES_BYTES] = "";
    api_fixture_init(&fixture, false);
    options.compression = TERN_COMPRESSION_ZSTD;
    options.page_bytes = 16384;
    options.fan_out = 32;
    options.fill_percent = 70;
    assert_ok(tern_keyspace_create(fixture.db, "zoo", &options, &keyspace, &error), error);
    assert_ok(tern_keyspace_create(fixture.db, "abc", NULL, &keyspace, &error), error);
    api_fixture_reopen(&fixture);
    assert_ok(tern_keyspace_list(fixture.db, take_name, names, &error), error);
    assert_string_equal(names, "abc test zoo ");
    assert_ok(tern_keyspace_open(fixture.db, "zoo", &keyspace, &error), error);
    tern_keyspace_options found = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace_get_options(keyspace, &found);
    assert_int_equal(found.compression, TERN_COMPRESSION_ZSTD);
    assert_int_equal(found.page_bytes, 16384);
    assert_int_equal(found.fan_out, 32);
    assert_int_equal(found.fill_percent, 70);
    tern_keyspace_get_options(fixture.keyspace, &found);
    assert_int_equal(found.engine, TERN_ENGINE_BTREE);
    assert_int_equal(found.page_bytes, 8192);
    api_fixture_release(&fixture);
}

static void a_dropped_keyspace_is_gone_and_its_name_is_free(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init(&fixture, false);
    for (int round = 0; round < 20; round++) {
        tern_keyspace *old = fixture.keyspace;
        api_assert_missing(old, "k");
        api_put(old, "k", "v");
        if (round % 3 == 0) {
            assert_ok(tern_checkpoint(fixture.db, &error), error);
        }
        assert_ok(tern_keyspace_drop(fixture.db, "test", &error), error);
        assert_int_equal(tern_keyspace_drop(fixture.db, "test", &error), TERN_NOT_FOUND);
        assert_int_equal(tern_get(old, tern_slice_str("k"), NULL, 0, NULL, &error), TERN_NOT_FOUND);
        assert_int_equal(tern_put(old, tern_slice_str("k"), tern_slice_str("v"), NULL, &error),
                         TERN_NOT_FOUND);
        assert_ok(tern_keyspace_create(fixture.db, "test", NULL, &fixture.keyspace, &error), error);
        if (round % 7 == 6) {
            api_fixture_reopen(&fixture);
        }
    }
    api_assert_sound(fixture.db);
    api_fixture_release(&fixture);
}

/* ---- statistics ---- */

/* Scripts and dashboards rely on these names. */
static const char *const stable_names[] = {"visible_seq",
                                           "commits",
                                           "commit_groups",
                                           "async_commits",
                                           "conflicts",
                                           "deadlocks",
                                           "lock_waits",
                                           "snapshots",
                                           "snapshots_ended",
                                           "memory_limit_bytes",
                                           "memory_overlay_bytes",
                                           "memory_cache_bytes",
                                           "cache_limit_bytes",
                                           "cache_misses",
                                           "cache_evictions",
                                           "log_appended_bytes",
                                           "log_syncs",
                                           "log_segments",
                                           "log_poisoned",
                                           "log_archived_segments",
                                           "checkpoints",
                                           "checkpoint_debt_bytes",
                                           "checkpoint_failures",
                                           "manifests_written",
                                           "throttle_waits",
                                           "throttle_ns",
                                           "refused_writes",
                                           "time_ticks",
                                           "recovered_changes",
                                           "recovery_ms",
                                           "keyspaces"};

struct seen {
    unsigned count;
    uint64_t counters;
};

static bool check_stat(void *context, const tern_stat *stat) {
    struct seen *seen = context;
    assert_true(strlen(stat->name) > 0 && strlen(stat->text) > 0 && strlen(stat->unit) > 0);
    assert_true(stat->kind == TERN_STAT_COUNTER || stat->kind == TERN_STAT_GAUGE);
    seen->count++;
    return true;
}

static bool stop_at_once(void *context, const tern_stat *stat) {
    (void)stat;
    ++*(unsigned *)context;
    return false;
}

static void statistics_have_stable_names(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    struct seen seen = {0, 0};
    unsigned visits = 0;
    uint64_t value;
    api_fixture_init(&fixture, false);
    uint64_t commits = api_stat(fixture.db, "commits");
    api_put(fixture.keyspace, "a", "1");
    assert_int_equal(api_stat(fixture.db, "commits"), commits + 1);
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    assert_true(api_stat(fixture.db, "checkpoints") > 0);
    for (size_t i = 0; i < sizeof(stable_names) / sizeof(stable_names[0]); i++) {
        (void)api_stat(fixture.db, stable_names[i]);
    }
    assert_int_equal(tern_stat_get(fixture.db, "no_such_number", &value), TERN_NOT_FOUND);
    assert_ok(tern_stats(fixture.db, check_stat, &seen, &error), error);
    assert_true(seen.count >= sizeof(stable_names) / sizeof(stable_names[0]));
    assert_ok(tern_keyspace_stats(fixture.keyspace, check_stat, &seen, &error), error);
    assert_ok(tern_stats(fixture.db, stop_at_once, &visits, &error), error);
    assert_int_equal(visits, 1);
    api_fixture_release(&fixture);
}

/* ---- archive ---- */

struct archive {
    uint64_t first_id;
    uint64_t last_id;
    uint64_t count;
    uint64_t gaps;
    uint64_t refusals;
};

static tern_status keep_segment(void *context, const char *path, uint64_t id) {
    struct archive *archive = context;
    FILE *file = fopen(path, "rb");
    if (archive->refusals > 0 || file == NULL) {
        archive->refusals -= archive->refusals > 0 ? 1 : 0;
        if (file != NULL) {
            (void)fclose(file);
        }
        return TERN_IO;
    }
    (void)fclose(file);
    if (archive->count > 0 && id != archive->last_id && id != archive->last_id + 1) {
        archive->gaps++;
    }
    archive->first_id = archive->count == 0 ? id : archive->first_id;
    archive->last_id = id;
    archive->count++;
    return TERN_OK;
}

static void every_finished_segment_reaches_the_archive(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct archive archive = {.refusals = 2};
    tern_error error = TERN_ERROR_INIT;
    char value[3000] = {1};
    api_fixture_init_closed(&fixture, true);
    fixture.options.segment_bytes = 65536;
    fixture.options.archive = keep_segment;
    fixture.options.archive_context = &archive;
    api_fixture_open(&fixture);
    for (unsigned i = 0; i < 1200; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%06u", i);
        assert_ok(tern_put(fixture.keyspace, tern_slice_str(key),
                           tern_slice_of(value, sizeof(value)), NULL, &error),
                  error);
        if (i % 100 == 99) {
            api_fixture_pass_ms(&fixture, 200);
        }
    }
    for (int i = 0; i < 3; i++) {
        api_put(fixture.keyspace, "more", "x");
        assert_ok(tern_checkpoint(fixture.db, &error), error);
        api_fixture_pass_ms(&fixture, 200);
    }
    assert_true(archive.count > 40);
    assert_int_equal(archive.gaps, 0);
    assert_int_equal(api_stat(fixture.db, "log_archived_segments"), archive.count);
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_options_are_checked),
        cmocka_unit_test(an_option_that_the_engine_has_no_use_for_is_refused),
        cmocka_unit_test(defaults_of_another_engine_are_taken),
        cmocka_unit_test(options_and_names_outlive_the_process),
        cmocka_unit_test(a_dropped_keyspace_is_gone_and_its_name_is_free),
        cmocka_unit_test(statistics_have_stable_names),
        cmocka_unit_test(every_finished_segment_reaches_the_archive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
