/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Long readers against the memory budget: one policy refuses writes, the other ends the oldest
 * snapshots; and a writer is never refused for what its own snapshot holds. The policies are asked
 * where overlays cannot be moved to files: here because the file system has no descriptors.
 */
#include <stdlib.h>

#include "api_fixture.h"
#include "support/fault_file_system.h"

#define READERS     64
#define VALUE_BYTES 1000u

static tern_status write_some(struct api_fixture *fixture, unsigned first, unsigned count) {
    char value[VALUE_BYTES];
    tern_error error = TERN_ERROR_INIT;
    tern_status status = TERN_OK;
    for (unsigned i = 0; status == TERN_OK && i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%06u", first + i);
        memset(value, (int)((first + i) % 251), sizeof(value));
        status = tern_put(fixture->keyspace, tern_slice_str(key),
                          tern_slice_of(value, sizeof(value)), NULL, &error);
    }
    assert_true(status == TERN_OK || error.message[0] != '\0');
    return status;
}

static struct fault_file_system *open_with(struct api_fixture *fixture, tern_space_policy policy) {
    struct fault_file_system *files = fault_file_system_create(tern_file_system_default());
    api_fixture_init_closed(fixture, false);
    fixture->options.file_system = fault_file_system_interface(files);
    fixture->options.memory_bytes = (uint64_t)8 << 20;
    fixture->options.overlay_bytes = (uint64_t)512 << 10;
    fixture->options.space_policy = policy;
    api_fixture_open(fixture);
    assert_int_equal(write_some(fixture, 0, 100), TERN_OK);
    return files;
}

/* Readers of every age, each of which holds other overlays; stops when writing fails. */
static tern_status crowd(struct api_fixture *fixture, tern_txn *readers[READERS],
                         unsigned *out_count) {
    tern_status status = TERN_OK;
    unsigned count = 0;
    while (status == TERN_OK && count < READERS) {
        readers[count++] = api_begin_reading(fixture);
        status = write_some(fixture, 100 + count * 100, 100);
    }
    *out_count = count;
    return status;
}

static void writes_are_refused_while_old_snapshots_hold_the_budget(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_txn *readers[READERS];
    unsigned count;
    struct fault_file_system *files = open_with(&fixture, TERN_SPACE_REFUSE_WRITES);
    tern_status status = crowd(&fixture, readers, &count);
    assert_int_equal(status, TERN_NO_MEMORY);
    assert_true(api_stat(fixture.db, "refused_writes") > 0);
    assert_true(api_stat(fixture.db, "memory_overlay_bytes") <= (uint64_t)1 << 20);
    for (unsigned i = 0; i < count; i++) {
        uint64_t found;
        assert_ok(tern_txn_count(readers[i], fixture.keyspace, NULL, NULL, &found),
                  *tern_txn_error(readers[i]));
        assert_int_equal(found, 100 + 100 * i);
        tern_txn_free(readers[i]);
    }
    assert_int_equal(write_some(&fixture, 50000, 300), TERN_OK);
    api_fixture_release(&fixture);
    fault_file_system_destroy(files);
}

static void the_oldest_snapshots_end_where_the_policy_says_so(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_txn *readers[READERS];
    unsigned count;
    unsigned ended = 0;
    struct fault_file_system *files = open_with(&fixture, TERN_SPACE_END_SNAPSHOTS);
    assert_int_equal(crowd(&fixture, readers, &count), TERN_OK);
    assert_int_equal(count, READERS);
    for (unsigned i = 0; i < count; i++) {
        uint64_t found = 0;
        tern_status status = tern_txn_count(readers[i], fixture.keyspace, NULL, NULL, &found);
        if (status == TERN_OK) {
            assert_int_equal(found, 100 + 100 * i);
        } else {
            assert_int_equal(status, TERN_SNAPSHOT_TOO_OLD);
            assert_int_equal(tern_txn_error(readers[i])->status, TERN_SNAPSHOT_TOO_OLD);
            assert_int_equal(ended, i); /* the oldest first */
            ended++;
        }
        tern_txn_free(readers[i]);
    }
    assert_in_range(ended, 1, count - 1);
    assert_true(api_stat(fixture.db, "snapshots_ended") >= ended);
    assert_int_equal(write_some(&fixture, 50000, 300), TERN_OK);
    api_fixture_release(&fixture);
    fault_file_system_destroy(files);
}

static void a_cursor_of_an_ended_snapshot_says_so_until_it_is_renewed(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_txn *readers[READERS];
    tern_cursor *cursor;
    unsigned count;
    struct fault_file_system *files = open_with(&fixture, TERN_SPACE_END_SNAPSHOTS);
    tern_txn *txn = api_begin_reading(&fixture);
    assert_ok(tern_cursor_open(txn, fixture.keyspace, NULL, &cursor), *tern_txn_error(txn));
    assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
    assert_int_equal(crowd(&fixture, readers, &count), TERN_OK);
    assert_true(api_stat(fixture.db, "snapshots_ended") > 0);
    assert_int_equal(tern_cursor_next(cursor), TERN_SNAPSHOT_TOO_OLD);
    assert_int_equal(tern_cursor_error(cursor)->status, TERN_SNAPSHOT_TOO_OLD);
    assert_ok(tern_txn_renew(txn), *tern_txn_error(txn));
    assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
    tern_cursor_close(cursor);
    tern_txn_free(txn);
    for (unsigned i = 0; i < count; i++) {
        tern_txn_free(readers[i]);
    }
    api_fixture_release(&fixture);
    fault_file_system_destroy(files);
}

struct crowding {
    struct api_fixture *fixture;
    bool has_begun;
};

/* In the middle of a clone: its snapshot is ended, and what it was to copy goes. */
static bool crowd_and_delete(void *context, const char *what, uint64_t done, uint64_t total) {
    struct crowding *crowding = context;
    tern_txn *readers[READERS];
    tern_error error = TERN_ERROR_INIT;
    unsigned count;
    (void)what;
    (void)done;
    (void)total;
    if (crowding->has_begun) {
        return true;
    }
    crowding->has_begun = true;
    assert_int_equal(crowd(crowding->fixture, readers, &count), TERN_OK);
    for (unsigned i = 0; i < count; i++) {
        tern_txn_free(readers[i]);
    }
    for (unsigned i = 0; i < 100; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%06u", i);
        assert_ok(tern_delete(crowding->fixture->keyspace, tern_slice_str(key), NULL, &error),
                  error);
    }
    assert_ok(tern_checkpoint(crowding->fixture->db, &error), error);
    return true;
}

static void a_clone_whose_snapshot_was_ended_says_so(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    char path[512];
    struct fault_file_system *files = open_with(&fixture, TERN_SPACE_END_SNAPSHOTS);
    struct crowding crowding = {.fixture = &fixture};
    options.engine = TERN_ENGINE_HASH;
    assert_ok(tern_keyspace_create(fixture.db, "hashed", &options, &fixture.keyspace, &error),
              error);
    assert_int_equal(write_some(&fixture, 0, 100), TERN_OK);
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    (void)snprintf(path, sizeof(path), "%s/clone", fixture.path);
    tern_status status = tern_clone(fixture.db, path, crowd_and_delete, &crowding, &error);
    assert_true(api_stat(fixture.db, "snapshots_ended") > 0);
    assert_int_equal(status, TERN_SNAPSHOT_TOO_OLD);
    assert_int_equal(error.status, TERN_SNAPSHOT_TOO_OLD);
    api_fixture_release(&fixture);
    fault_file_system_destroy(files);
}

static void a_writer_is_not_refused_for_its_own_snapshot(void **state) {
    (void)state;
    struct api_fixture fixture;
    char value[VALUE_BYTES] = {7};
    struct fault_file_system *files = open_with(&fixture, TERN_SPACE_REFUSE_WRITES);
    for (unsigned round = 0; round < 30; round++) {
        tern_txn *txn = api_begin(&fixture);
        for (unsigned i = 0; i < 200; i++) {
            char key[16];
            (void)snprintf(key, sizeof(key), "%06u", i);
            assert_ok(tern_txn_put(txn, fixture.keyspace, tern_slice_str(key),
                                   tern_slice_of(value, sizeof(value)), NULL),
                      *tern_txn_error(txn));
        }
        api_commit(txn);
    }
    api_fixture_release(&fixture);
    fault_file_system_destroy(files);
}

/* The empty overlays of many keyspaces alone are more than the budget. */
static void many_keyspaces_share_a_small_budget(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_keyspace *keyspaces[300];
    tern_error error = TERN_ERROR_INIT;
    struct fault_file_system *files = open_with(&fixture, TERN_SPACE_REFUSE_WRITES);
    for (unsigned i = 0; i < 300; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "k%03u", i);
        assert_ok(tern_keyspace_create(fixture.db, name, NULL, &keyspaces[i], &error), error);
        api_put(keyspaces[i], "a", name);
    }
    uint64_t before = api_stat(fixture.db, "checkpoints");
    for (unsigned i = 0; i < 300; i++) {
        api_put(keyspaces[i], "b", "2");
    }
    /* Not one for each write. */
    assert_true(api_stat(fixture.db, "checkpoints") - before < 30);
    api_fixture_reopen(&fixture);
    for (unsigned i = 0; i < 300; i++) {
        char name[16];
        tern_keyspace *keyspace;
        (void)snprintf(name, sizeof(name), "k%03u", i);
        assert_ok(tern_keyspace_open(fixture.db, name, &keyspace, &error), error);
        api_assert_value(keyspace, "a", name);
        api_assert_value(keyspace, "b", "2");
    }
    api_fixture_release(&fixture);
    fault_file_system_destroy(files);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_are_refused_while_old_snapshots_hold_the_budget),
        cmocka_unit_test(the_oldest_snapshots_end_where_the_policy_says_so),
        cmocka_unit_test(a_cursor_of_an_ended_snapshot_says_so_until_it_is_renewed),
        cmocka_unit_test(a_clone_whose_snapshot_was_ended_says_so),
        cmocka_unit_test(a_writer_is_not_refused_for_its_own_snapshot),
        cmocka_unit_test(many_keyspaces_share_a_small_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
