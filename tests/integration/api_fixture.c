/* SPDX-License-Identifier: Apache-2.0 */
#include "api_fixture.h"

void api_fixture_init_closed(struct api_fixture *fixture, bool is_stepped) {
    *fixture = (struct api_fixture){.options = TERN_DB_OPTIONS_INIT};
    fixture->path = temporary_directory_create();
    fixture->options.create_if_missing = true;
    fixture->options.memory_bytes = (uint64_t)16 << 20;
    fixture->options.overlay_bytes = (uint64_t)1 << 20;
    fixture->options.segment_bytes = (uint64_t)256 << 10;
    fixture->options.conflict_slots = 1 << 14;
    fixture->options.sync_interval_ms = 5;
    if (is_stepped) {
        virtual_clock_init(&fixture->clock);
        fixture->executor = step_executor_create(1, &fixture->clock);
        fixture->options.clock = virtual_clock_interface(&fixture->clock);
        fixture->options.executor = step_executor_interface(fixture->executor);
    }
}

void api_fixture_open(struct api_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_open(fixture->path, &fixture->options, &fixture->db, &error), error);
    tern_status status = tern_keyspace_open(fixture->db, "test", &fixture->keyspace, &error);
    if (status == TERN_NOT_FOUND && !fixture->options.read_only) {
        status = tern_keyspace_create(fixture->db, "test", NULL, &fixture->keyspace, &error);
    }
    assert_ok(status, error);
}

void api_fixture_init(struct api_fixture *fixture, bool is_stepped) {
    api_fixture_init_closed(fixture, is_stepped);
    api_fixture_open(fixture);
}

void api_fixture_close(struct api_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(fixture->db, &error), error);
    fixture->db = NULL;
}

void api_fixture_reopen(struct api_fixture *fixture) {
    api_fixture_close(fixture);
    api_fixture_open(fixture);
}

void api_fixture_release(struct api_fixture *fixture) {
    api_fixture_close(fixture);
    step_executor_destroy(fixture->executor);
    temporary_directory_remove(fixture->path);
}

void api_fixture_pass_ms(struct api_fixture *fixture, uint64_t duration_ms) {
    for (uint64_t i = 0; i < 10; i++) {
        virtual_clock_advance_ns(&fixture->clock, duration_ms * 100000u);
        (void)step_executor_run(fixture->executor, 1000);
    }
}

tern_txn *api_begin(struct api_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn = NULL;
    assert_ok(tern_txn_begin(fixture->db, NULL, &txn, &error), error);
    return txn;
}

tern_txn *api_begin_reading(struct api_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn = NULL;
    options.read_only = true;
    assert_ok(tern_txn_begin(fixture->db, &options, &txn, &error), error);
    return txn;
}

void api_commit(tern_txn *txn) {
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    tern_txn_free(txn);
}

void api_put(tern_keyspace *keyspace, const char *key, const char *value) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_str(value), NULL, &error), error);
}

void api_assert_value(tern_keyspace *keyspace, const char *key, const char *value) {
    tern_error error = TERN_ERROR_INIT;
    tern_value found = TERN_VALUE_INIT;
    assert_ok(tern_get_pinned(keyspace, tern_slice_str(key), &found, &error), error);
    assert_int_equal(found.bytes.size, strlen(value));
    assert_memory_equal(found.bytes.data, value, found.bytes.size);
    tern_value_release(&found);
}

void api_assert_missing(tern_keyspace *keyspace, const char *key) {
    tern_error error = TERN_ERROR_INIT;
    assert_int_equal(tern_get(keyspace, tern_slice_str(key), NULL, 0, NULL, &error),
                     TERN_NOT_FOUND);
}

void api_assert_txn_value(tern_txn *txn, tern_keyspace *keyspace, const char *key,
                          const char *value) {
    char found[256];
    size_t size = 0;
    tern_status status =
        tern_txn_get(txn, keyspace, tern_slice_str(key), found, sizeof(found), &size);
    if (value == NULL) {
        assert_int_equal(status, TERN_NOT_FOUND);
        return;
    }
    assert_ok(status, *tern_txn_error(txn));
    assert_int_equal(size, strlen(value));
    assert_memory_equal(found, value, size);
}

uint64_t api_stat(tern_db *db, const char *name) {
    uint64_t value = 0;
    assert_int_equal(tern_stat_get(db, name, &value), TERN_OK);
    return value;
}

static bool print_finding(void *context, const tern_finding *finding) {
    (void)context;
    print_error("verify: %s at %lld: %s: %s\n", finding->file, (long long)finding->offset,
                finding->invariant, finding->message);
    return true;
}

void api_assert_sound(tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report report;
    assert_ok(tern_verify(db, print_finding, NULL, NULL, NULL, &report, &error), error);
    assert_int_equal(report.findings, 0);
}
