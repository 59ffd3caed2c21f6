/* SPDX-License-Identifier: Apache-2.0 */
#include "integration/txn_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SNAPSHOT       TERN_ISOLATION_SNAPSHOT
#define SERIALIZABLE   TERN_ISOLATION_SERIALIZABLE
#define READ_COMMITTED TERN_ISOLATION_READ_COMMITTED

static tern_slice text(const char *string) {
    return tern_slice_str(string);
}

/* ---- conflicts ---- */

static void add(struct txn_fixture *fixture, tern_txn *txn, const char *key, int64_t number) {
    assert_ok(tern_txn_merge(txn, fixture->keyspace, text(key), TERN_MERGE_ADD,
                             tern_slice_of(&number, 8)),
              *tern_txn_error(txn));
}

static int64_t number_now(struct txn_fixture *fixture, const char *key) {
    tern_error error = TERN_ERROR_INIT;
    int64_t number = 0;
    size_t size;
    assert_ok(tern_get(fixture->keyspace, text(key), &number, 8, &size, &error), error);
    assert_int_equal(size, 8);
    return number;
}

static void merges_of_a_key_do_not_conflict(void **state) {
    struct txn_fixture *fixture = *state;
    tern_txn *t1 = begin(fixture, SNAPSHOT, false);
    tern_txn *t2 = begin(fixture, SNAPSHOT, false);
    add(fixture, t1, "n", 5);
    add(fixture, t2, "n", 7);
    add(fixture, t2, "n", 1);
    assert_int_equal(commit(t1), TERN_OK);
    assert_int_equal(commit(t2), TERN_OK);
    assert_int_equal(number_now(fixture, "n"), 13);
}

static void a_merge_conflicts_with_a_plain_write(void **state) {
    struct txn_fixture *fixture = *state;
    tern_txn *t1 = begin(fixture, SNAPSHOT, false);
    tern_txn *t2 = begin(fixture, SNAPSHOT, false);
    put_now(fixture, "n", "12345678");
    add(fixture, t1, "n", 5);
    assert_int_equal(commit(t1), TERN_CONFLICT);
    int64_t one = 1;
    assert_int_equal(tern_merge(fixture->keyspace, text("n"), TERN_MERGE_ADD,
                                tern_slice_of(&one, 8), NULL, NULL),
                     TERN_OK);
    put(fixture, t2, "n", "x");
    assert_int_equal(commit(t2), TERN_CONFLICT);
}

static void range_deletes_conflict_with_writes_both_ways(void **state) {
    struct txn_fixture *fixture = *state;
    tern_slice from = text("c");
    tern_slice to = text("m");
    put_now(fixture, "d", "1");
    tern_txn *t1 = begin(fixture, SNAPSHOT, false);
    tern_txn *t2 = begin(fixture, SNAPSHOT, false);
    tern_txn *t3 = begin(fixture, SNAPSHOT, false);
    tern_txn *outside = begin(fixture, SNAPSHOT, false);
    put_now(fixture, "k", "new");
    assert_ok(tern_txn_delete_range(t1, fixture->keyspace, &from, &to), *tern_txn_error(t1));
    assert_int_equal(commit(t1), TERN_CONFLICT);
    expect_now(fixture, "d", "1");
    put(fixture, t3, "d", "2");
    put(fixture, outside, "z", "2");
    tern_txn_free(t2);
    t2 = begin(fixture, SNAPSHOT, false);
    assert_ok(tern_txn_delete_range(t2, fixture->keyspace, &from, &to), *tern_txn_error(t2));
    assert_int_equal(commit(t2), TERN_OK);
    assert_int_equal(commit(t3), TERN_CONFLICT);
    assert_int_equal(commit(outside), TERN_OK);
    expect_now(fixture, "d", "-");
    expect_now(fixture, "k", "-");
    expect_now(fixture, "z", "2");
}

/* Reads "c" to "g" by one kind of call, writes elsewhere; is the commit refused after `changed`? */
static tern_status commit_after_reading_range(struct txn_fixture *fixture, int how,
                                              const char *changed) {
    tern_cursor *cursor;
    tern_entry entries[4];
    size_t count;
    tern_txn *txn = begin(fixture, SERIALIZABLE, false);
    assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
    if (how == 0) {
        assert_ok(tern_cursor_seek(cursor, text("c")), *tern_cursor_error(cursor));
        assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
        assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
    } else if (how == 1) {
        assert_ok(tern_cursor_seek(cursor, text("c")), *tern_cursor_error(cursor));
        assert_ok(tern_cursor_next_batch(cursor, entries, 2, &count), *tern_cursor_error(cursor));
        assert_int_equal(count, 2);
    } else {
        assert_ok(tern_cursor_seek_previous(cursor, text("g")), *tern_cursor_error(cursor));
        assert_ok(tern_cursor_previous(cursor), *tern_cursor_error(cursor));
        assert_ok(tern_cursor_previous(cursor), *tern_cursor_error(cursor));
    }
    tern_cursor_close(cursor);
    put_now(fixture, changed, "changed");
    put(fixture, txn, "z", "1");
    return commit(txn);
}

static void a_range_is_validated_as_far_as_the_cursor_went(void **state) {
    struct txn_fixture *fixture = *state;
    for (char letter = 'a'; letter <= 'k'; letter += 2) {
        put_now(fixture, (char[]){letter, 0}, "x");
    }
    for (int how = 0; how < 3; how++) {
        assert_int_equal(commit_after_reading_range(fixture, how, "a"), TERN_OK);
        assert_int_equal(commit_after_reading_range(fixture, how, "i"), TERN_OK);
        assert_int_equal(commit_after_reading_range(fixture, how, "c"), TERN_CONFLICT);
        assert_int_equal(commit_after_reading_range(fixture, how, "e"), TERN_CONFLICT);
        assert_int_equal(commit_after_reading_range(fixture, how, "g"), TERN_CONFLICT);
        const char *between = (const char *[]){"d1", "d2", "d3"}[how];
        assert_int_equal(commit_after_reading_range(fixture, how, between), TERN_CONFLICT);
        tern_error error = TERN_ERROR_INIT;
        assert_ok(tern_delete(fixture->keyspace, text(between), NULL, &error), error);
    }
}

/* Once drained, what was written since a snapshot cannot be told from what was there before. */
static void a_checkpoint_is_no_conflict_where_nothing_was_written(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *other = NULL;
    tern_slice from = tern_slice_str("b");
    assert_ok(tern_keyspace_create(fixture->db, "other", NULL, &other, &error), error);
    for (unsigned round = 0; round < 2; round++) {
        assert_ok(tern_put(fixture->keyspace, tern_slice_str("a"), from, NULL, &error), error);
        tern_txn *txn = begin(fixture, SNAPSHOT, false);
        tern_keyspace *written = round == 0 ? other : fixture->keyspace;
        assert_ok(tern_put(written, tern_slice_str("c"), tern_slice_str("1"), NULL, &error), error);
        assert_ok(tern_checkpoint(fixture->db, &error), error);
        assert_ok(tern_txn_delete_range(txn, fixture->keyspace, &from, NULL), *tern_txn_error(txn));
        assert_int_equal(commit(txn), round == 0 ? TERN_OK : TERN_CONFLICT);
    }
}

static void a_failed_transaction_can_only_be_ended(void **state) {
    struct txn_fixture *fixture = *state;
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    put(fixture, txn, "k", "1");
    put_now(fixture, "k", "2");
    assert_int_equal(tern_txn_commit(txn), TERN_CONFLICT);
    assert_int_equal(tern_txn_put(txn, fixture->keyspace, text("k"), text("3"), NULL), TERN_CLOSED);
    assert_int_equal(tern_txn_commit(txn), TERN_CLOSED);
    assert_ok(tern_txn_restart(txn), *tern_txn_error(txn));
    put(fixture, txn, "k", "3");
    assert_int_equal(commit(txn), TERN_OK);
    expect_now(fixture, "k", "3");
}

static void read_only_transactions_refuse_writes(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    options.read_only = true;
    assert_ok(tern_txn_begin(fixture->db, &options, &txn, &error), error);
    assert_int_equal(tern_txn_put(txn, fixture->keyspace, text("k"), text("1"), NULL),
                     TERN_READ_ONLY);
    assert_int_equal(tern_txn_lock(txn, fixture->keyspace, text("k"), TERN_LOCK_SHARED),
                     TERN_READ_ONLY);
    put_now(fixture, "k", "1");
    expect(fixture, txn, "k", "-");
    assert_int_equal(commit(txn), TERN_OK);
}

/* ---- own writes ---- */

static void a_transaction_reads_its_own_writes(void **state) {
    struct txn_fixture *fixture = *state;
    tern_slice from = text("b");
    put_now(fixture, "a", "1");
    put_now(fixture, "b", "2");
    put_now(fixture, "c", "3");
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    put(fixture, txn, "a", "one");
    put(fixture, txn, "d", "four");
    assert_ok(tern_txn_delete_range(txn, fixture->keyspace, &from, NULL), *tern_txn_error(txn));
    put(fixture, txn, "c", "three");
    assert_ok(tern_txn_merge(txn, fixture->keyspace, text("c"), TERN_MERGE_APPEND, text("!")),
              *tern_txn_error(txn));
    assert_ok(tern_txn_merge(txn, fixture->keyspace, text("b"), TERN_MERGE_APPEND, text("?")),
              *tern_txn_error(txn));
    expect(fixture, txn, "a", "one");
    expect(fixture, txn, "b", "?");
    expect(fixture, txn, "c", "three!");
    expect(fixture, txn, "d", "-");
    expect_now(fixture, "b", "2");
    assert_int_equal(commit(txn), TERN_OK);
    expect_now(fixture, "a", "one");
    expect_now(fixture, "b", "?");
    expect_now(fixture, "c", "three!");
    expect_now(fixture, "d", "-");
}

static void a_merge_is_seen_over_what_is_stored(void **state) {
    struct txn_fixture *fixture = *state;
    put_now(fixture, "a", "x");
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    assert_ok(tern_txn_merge(txn, fixture->keyspace, text("a"), TERN_MERGE_APPEND, text("y")),
              *tern_txn_error(txn));
    assert_ok(tern_txn_merge(txn, fixture->keyspace, text("a"), TERN_MERGE_MAX, text("w")),
              *tern_txn_error(txn));
    assert_ok(tern_txn_merge(txn, fixture->keyspace, text("a"), TERN_MERGE_APPEND, text("z")),
              *tern_txn_error(txn));
    expect(fixture, txn, "a", "xyz");
    tern_value value = TERN_VALUE_INIT;
    assert_ok(tern_txn_get_pinned(txn, fixture->keyspace, text("a"), &value), *tern_txn_error(txn));
    assert_memory_equal(value.bytes.data, "xyz", 3);
    assert_int_equal(commit(txn), TERN_OK);
    tern_value_release(&value);
    expect_now(fixture, "a", "xyz");
}

static void savepoints_undo_what_came_after(void **state) {
    struct txn_fixture *fixture = *state;
    uint32_t first;
    uint32_t second;
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    put(fixture, txn, "a", "1");
    assert_ok(tern_txn_savepoint(txn, &first), *tern_txn_error(txn));
    put(fixture, txn, "a", "2");
    put(fixture, txn, "b", "2");
    assert_ok(tern_txn_savepoint(txn, &second), *tern_txn_error(txn));
    put(fixture, txn, "a", "3");
    assert_ok(tern_txn_rollback_to(txn, second), *tern_txn_error(txn));
    expect(fixture, txn, "a", "2");
    assert_ok(tern_txn_rollback_to(txn, first), *tern_txn_error(txn));
    expect(fixture, txn, "a", "1");
    expect(fixture, txn, "b", "-");
    assert_int_equal(tern_txn_rollback_to(txn, second), TERN_INVALID);
    put(fixture, txn, "c", "4");
    assert_int_equal(commit(txn), TERN_OK);
    expect_now(fixture, "a", "1");
    expect_now(fixture, "b", "-");
    expect_now(fixture, "c", "4");
}

static void expect_entry(tern_cursor *cursor, tern_status moved, const char *key,
                         const char *value) {
    tern_slice got;
    assert_ok(moved, *tern_cursor_error(cursor));
    got = tern_cursor_key(cursor);
    assert_int_equal(got.size, strlen(key));
    assert_memory_equal(got.data, key, got.size);
    assert_ok(tern_cursor_value(cursor, &got), *tern_cursor_error(cursor));
    assert_int_equal(got.size, strlen(value));
    assert_memory_equal(got.data, value, got.size);
}

static void a_cursor_sees_own_writes_both_ways(void **state) {
    struct txn_fixture *fixture = *state;
    tern_cursor *cursor;
    tern_slice from = text("e");
    tern_slice to = text("g");
    for (char letter = 'a'; letter <= 'i'; letter += 2) {
        put_now(fixture, (char[]){letter, 0}, (char[]){letter, '0', 0});
    }
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
    expect_entry(cursor, tern_cursor_next(cursor), "a", "a0");
    put(fixture, txn, "b", "b1");
    assert_ok(tern_txn_delete_range(txn, fixture->keyspace, &from, &to), *tern_txn_error(txn));
    put(fixture, txn, "f", "f1");
    assert_ok(tern_txn_merge(txn, fixture->keyspace, text("g"), TERN_MERGE_APPEND, text("+")),
              *tern_txn_error(txn));
    assert_ok(tern_txn_delete(txn, fixture->keyspace, text("i")), *tern_txn_error(txn));
    expect_entry(cursor, tern_cursor_next(cursor), "b", "b1");
    expect_entry(cursor, tern_cursor_next(cursor), "c", "c0");
    expect_entry(cursor, tern_cursor_next(cursor), "f", "f1");
    expect_entry(cursor, tern_cursor_previous(cursor), "c", "c0");
    expect_entry(cursor, tern_cursor_next(cursor), "f", "f1");
    expect_entry(cursor, tern_cursor_next(cursor), "g", "g0+");
    assert_int_equal(tern_cursor_next(cursor), TERN_NOT_FOUND);
    expect_entry(cursor, tern_cursor_previous(cursor), "g", "g0+");
    expect_entry(cursor, tern_cursor_previous(cursor), "f", "f1");
    expect_entry(cursor, tern_cursor_previous(cursor), "c", "c0");
    expect_entry(cursor, tern_cursor_seek(cursor, text("d")), "f", "f1");
    expect_entry(cursor, tern_cursor_seek_previous(cursor, text("e")), "c", "c0");
    expect_entry(cursor, tern_cursor_previous(cursor), "b", "b1");
    expect_entry(cursor, tern_cursor_previous(cursor), "a", "a0");
    assert_int_equal(tern_cursor_previous(cursor), TERN_NOT_FOUND);
    tern_entry entries[10];
    size_t count;
    assert_ok(tern_cursor_next_batch(cursor, entries, 10, &count), *tern_cursor_error(cursor));
    assert_int_equal(count, 5);
    assert_memory_equal(entries[3].value.data, "f1", 2);
    assert_int_equal(tern_cursor_next_batch(cursor, entries, 10, &count), TERN_NOT_FOUND);
    tern_cursor_close(cursor);
    uint64_t total;
    assert_ok(tern_txn_count(txn, fixture->keyspace, NULL, NULL, &total), *tern_txn_error(txn));
    assert_int_equal(total, 5);
    tern_txn_free(txn);
}

static void one_long_value_does_not_make_later_batches_short(void **state) {
    struct txn_fixture *fixture = *state;
    size_t size = (size_t)5 << 20;
    tern_entry entries[20];
    tern_cursor *cursor;
    size_t count;
    char key[16];
    void *bytes = calloc(1, size);
    assert_non_null(bytes);
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    assert_ok(tern_txn_put(txn, fixture->keyspace, text("a"), tern_slice_of(bytes, size), NULL),
              *tern_txn_error(txn));
    for (int i = 0; i < 20; i++) {
        (void)snprintf(key, sizeof(key), "b%02d", i);
        put(fixture, txn, key, "v");
    }
    assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
    assert_ok(tern_cursor_next_batch(cursor, entries, 20, &count), *tern_cursor_error(cursor));
    assert_int_equal(count, 1);
    assert_int_equal(entries[0].value.size, size);
    assert_ok(tern_cursor_next_batch(cursor, entries, 20, &count), *tern_cursor_error(cursor));
    assert_int_equal(count, 20);
    tern_cursor_close(cursor);
    tern_txn_free(txn);
    free(bytes);
}

static void a_cursor_outlives_its_transaction_harmlessly(void **state) {
    struct txn_fixture *fixture = *state;
    tern_cursor *cursor;
    put_now(fixture, "a", "1");
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
    assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
    tern_txn_free(txn);
    assert_int_equal(tern_cursor_next(cursor), TERN_CLOSED);
    tern_cursor_close(cursor);
}

static void multi_get_answers_from_writes_and_store(void **state) {
    struct txn_fixture *fixture = *state;
    char buffers[100][8];
    char keys[100][16];
    tern_get_request requests[100];
    for (int i = 0; i < 100; i += 2) {
        (void)snprintf(keys[0], sizeof(keys[0]), "%03d", i);
        put_now(fixture, keys[0], "stored");
    }
    tern_txn *txn = begin(fixture, SERIALIZABLE, false);
    put(fixture, txn, "001", "own");
    assert_ok(tern_txn_delete(txn, fixture->keyspace, text("002")), *tern_txn_error(txn));
    for (int i = 0; i < 100; i++) {
        (void)snprintf(keys[i], sizeof(keys[i]), "%03d", i);
        requests[i] = (tern_get_request){
            .key = text(keys[i]), .buffer = buffers[i], .capacity = i == 4 ? 3 : 8};
    }
    assert_ok(tern_txn_multi_get(txn, fixture->keyspace, requests, 100), *tern_txn_error(txn));
    assert_int_equal(requests[0].status, TERN_OK);
    assert_int_equal(requests[1].value_size, 3);
    assert_memory_equal(buffers[1], "own", 3);
    assert_int_equal(requests[2].status, TERN_NOT_FOUND);
    assert_int_equal(requests[3].status, TERN_NOT_FOUND);
    assert_int_equal(requests[4].status, TERN_BUFFER_TOO_SMALL);
    assert_int_equal(requests[4].value_size, 6);
    assert_memory_equal(buffers[98], "stored", 6);
    tern_txn_free(txn);
    assert_int_equal(tern_multi_get(fixture->keyspace, requests, 100, NULL), TERN_OK);
    assert_int_equal(requests[1].status, TERN_NOT_FOUND);
    assert_int_equal(requests[2].status, TERN_OK);
}

/* ---- keyspaces ---- */

static void keyspaces_come_and_go_with_their_transaction(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *created;
    tern_keyspace *found;
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    assert_ok(tern_txn_keyspace_create(txn, "new", NULL, &created), *tern_txn_error(txn));
    assert_int_equal(tern_txn_keyspace_create(txn, "new", NULL, &found), TERN_EXISTS);
    assert_ok(tern_txn_put(txn, created, text("k"), text("v"), NULL), *tern_txn_error(txn));
    char buffer[8];
    size_t size;
    assert_ok(tern_txn_get(txn, created, text("k"), buffer, 8, &size), *tern_txn_error(txn));
    assert_int_equal(tern_txn_get(txn, created, text("l"), buffer, 8, &size), TERN_NOT_FOUND);
    assert_int_equal(tern_get(created, text("k"), buffer, 8, &size, &error), TERN_NOT_FOUND);
    assert_int_equal(commit(txn), TERN_OK);
    assert_ok(tern_get(created, text("k"), buffer, 8, &size, &error), error);

    txn = begin(fixture, SNAPSHOT, false);
    assert_ok(tern_txn_keyspace_create(txn, "other", NULL, &found), *tern_txn_error(txn));
    assert_ok(tern_txn_keyspace_drop(txn, created), *tern_txn_error(txn));
    assert_int_equal(tern_txn_get(txn, created, text("k"), buffer, 8, &size), TERN_NOT_FOUND);
    tern_txn_free(txn);
    assert_int_equal(tern_keyspace_open(fixture->db, "other", &found, &error), TERN_NOT_FOUND);
    assert_ok(tern_get(created, text("k"), buffer, 8, &size, &error), error);

    tern_txn *reader = begin(fixture, SNAPSHOT, false);
    txn = begin(fixture, SNAPSHOT, false);
    assert_ok(tern_txn_keyspace_drop(txn, created), *tern_txn_error(txn));
    assert_int_equal(commit(txn), TERN_OK);
    assert_int_equal(tern_get(created, text("k"), buffer, 8, &size, &error), TERN_NOT_FOUND);
    assert_int_equal(tern_put(created, text("k"), text("v"), NULL, &error), TERN_NOT_FOUND);
    /* Its snapshot is from before. */
    assert_ok(tern_txn_get(reader, created, text("k"), buffer, 8, &size), *tern_txn_error(reader));
    tern_txn_free(reader);
}

static void a_savepoint_undoes_the_creation_of_a_keyspace(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *created;
    uint32_t savepoint;
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    assert_ok(tern_txn_savepoint(txn, &savepoint), *tern_txn_error(txn));
    assert_ok(tern_txn_keyspace_create(txn, "new", NULL, &created), *tern_txn_error(txn));
    assert_ok(tern_txn_put(txn, created, text("k"), text("v"), NULL), *tern_txn_error(txn));
    assert_ok(tern_txn_rollback_to(txn, savepoint), *tern_txn_error(txn));
    assert_int_equal(tern_txn_put(txn, created, text("k"), text("v"), NULL), TERN_NOT_FOUND);
    put(fixture, txn, "a", "1");
    assert_int_equal(commit(txn), TERN_OK);
    assert_int_equal(tern_keyspace_open(fixture->db, "new", &created, &error), TERN_NOT_FOUND);
}

/* ---- compare and set ---- */

static void compare_and_set_answers_with_the_current_value(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_slice one = text("one");
    tern_slice two = text("two");
    tern_value current = TERN_VALUE_INIT;
    assert_ok(tern_compare_and_set(fixture->keyspace, text("k"), NULL, &one, NULL, NULL, &error),
              error);
    assert_int_equal(
        tern_compare_and_set(fixture->keyspace, text("k"), NULL, &two, NULL, &current, &error),
        TERN_CONFLICT);
    assert_int_equal(current.bytes.size, 3);
    assert_memory_equal(current.bytes.data, "one", 3);
    tern_value_release(&current);
    assert_ok(tern_compare_and_set(fixture->keyspace, text("k"), &one, &two, NULL, NULL, &error),
              error);
    expect_now(fixture, "k", "two");
    assert_ok(tern_compare_and_set(fixture->keyspace, text("k"), &two, NULL, NULL, NULL, &error),
              error);
    expect_now(fixture, "k", "-");
    assert_int_equal(
        tern_compare_and_set(fixture->keyspace, text("k"), &two, &one, NULL, &current, &error),
        TERN_CONFLICT);
    assert_null(current.bytes.data);
}

#define INCREMENTS 500

static void *run_increments(void *argument) {
    struct txn_fixture *fixture = argument;
    uint64_t value = 0;
    tern_slice expected = tern_slice_of(&value, 8);
    for (int i = 0; i < INCREMENTS;) {
        uint64_t wanted = value + 1;
        tern_slice desired = tern_slice_of(&wanted, 8);
        tern_value current = TERN_VALUE_INIT;
        tern_status status = tern_compare_and_set(fixture->keyspace, text("counter"), &expected,
                                                  &desired, NULL, &current, NULL);
        if (status == TERN_OK) {
            value = wanted;
            i++;
        } else if (status == TERN_CONFLICT && current.bytes.size == 8) {
            memcpy(&value, current.bytes.data, 8);
            tern_value_release(&current);
        } else {
            return argument;
        }
    }
    return NULL;
}

static void racing_compare_and_sets_lose_nothing(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    pthread_t threads[4];
    uint64_t zero = 0;
    assert_ok(tern_put(fixture->keyspace, text("counter"), tern_slice_of(&zero, 8), NULL, &error),
              error);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_increments, fixture), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(number_now(fixture, "counter"), 4 * INCREMENTS);
}

/* ---- asynchronous commits ---- */

struct order {
    _Atomic int next;
    _Atomic int wrong;
};

struct told {
    struct order *order;
    int number;
    tern_status status;
};

static void on_committed(void *context, tern_status status, const tern_error *error) {
    struct told *told = context;
    (void)error;
    told->status = status;
    /* One at a time; after the last line the test may be gone. */
    struct order *order = told->order;
    if (atomic_load(&order->next) != told->number) {
        atomic_fetch_add(&order->wrong, 1);
    }
    atomic_fetch_add(&order->next, 1);
}

static void callbacks_come_in_commit_order_from_poll(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    struct order order = {0, 0};
    struct told told[50];
    int descriptor;
    assert_ok(tern_poll_descriptor(fixture->db, &descriptor, &error), error);
    tern_txn *loser = begin(fixture, SNAPSHOT, false);
    put(fixture, loser, "k", "lost");
    for (int i = 0; i < 50; i++) {
        tern_txn *txn = i == 49 ? loser : begin(fixture, READ_COMMITTED, false);
        told[i] = (struct told){&order, i, TERN_CANCELLED};
        if (i < 49) {
            put(fixture, txn, "k", (char[]){(char)('A' + i), 0});
        }
        assert_ok(tern_txn_commit_async(txn, on_committed, &told[i]), *tern_txn_error(txn));
    }
    assert_int_equal(atomic_load(&order.next), 0);
    while (atomic_load(&order.next) < 50) {
        (void)tern_poll(fixture->db);
    }
    assert_int_equal(atomic_load(&order.wrong), 0);
    assert_int_equal(told[0].status, TERN_OK);
    assert_int_equal(told[49].status, TERN_CONFLICT);
    expect_now(fixture, "k", (char[]){'A' + 48, 0});
}

static void callbacks_run_on_the_executor_otherwise(void **state) {
    struct txn_fixture *fixture = *state;
    struct order order = {0, 0};
    struct told told = {&order, 0, TERN_CANCELLED};
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    put(fixture, txn, "k", "1");
    assert_ok(tern_txn_commit_async(txn, on_committed, &told), *tern_txn_error(txn));
    while (atomic_load(&order.next) == 0) {
        sched_yield();
    }
    assert_int_equal(told.status, TERN_OK);
    expect_now(fixture, "k", "1");
}

/* ---- large values ---- */

#define LARGE_BYTES ((size_t)3 << 20)

static uint8_t byte_at(size_t offset) {
    return (uint8_t)(offset * 31 + offset / 4096);
}

static void write_large(struct txn_fixture *fixture, tern_txn *txn, const char *key) {
    tern_value_writer *writer;
    static uint8_t chunk[100000];
    assert_ok(tern_txn_put_begin(txn, fixture->keyspace, text(key), NULL, &writer),
              *tern_txn_error(txn));
    for (size_t offset = 0; offset < LARGE_BYTES; offset += sizeof(chunk)) {
        size_t size = LARGE_BYTES - offset < sizeof(chunk) ? LARGE_BYTES - offset : sizeof(chunk);
        for (size_t i = 0; i < size; i++) {
            chunk[i] = byte_at(offset + i);
        }
        assert_ok(tern_value_writer_append(writer, tern_slice_of(chunk, size)),
                  *tern_txn_error(txn));
    }
    assert_ok(tern_value_writer_finish(writer), *tern_txn_error(txn));
}

static void expect_large(struct txn_fixture *fixture, tern_txn *txn, const char *key) {
    static uint8_t chunk[77777];
    size_t offset = 0;
    size_t size;
    uint64_t whole = 0;
    do {
        assert_ok(tern_txn_read(txn, fixture->keyspace, text(key), offset, chunk, sizeof(chunk),
                                &size, &whole),
                  *tern_txn_error(txn));
        for (size_t i = 0; i < size; i++) {
            if (chunk[i] != byte_at(offset + i)) {
                print_error("byte %zu differs\n", offset + i);
            }
            assert_true(chunk[i] == byte_at(offset + i));
        }
        offset += size;
    } while (size > 0);
    assert_int_equal(offset, LARGE_BYTES);
    assert_int_equal(whole, LARGE_BYTES);
}

static void large_values_are_written_and_read_in_chunks(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_value value = TERN_VALUE_INIT;
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    write_large(fixture, txn, "large");
    put(fixture, txn, "small", "1");
    expect_large(fixture, txn, "large");
    assert_int_equal(commit(txn), TERN_OK);
    for (int round = 0; round < 2; round++) {
        txn = begin(fixture, SNAPSHOT, false);
        expect_large(fixture, txn, "large");
        tern_cursor *cursor;
        tern_entry entries[4];
        size_t count;
        assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
        assert_ok(tern_cursor_next_batch(cursor, entries, 4, &count), *tern_cursor_error(cursor));
        assert_int_equal(entries[0].value.size, LARGE_BYTES);
        assert_true(((const uint8_t *)entries[0].value.data)[LARGE_BYTES - 1] ==
                    byte_at(LARGE_BYTES - 1));
        tern_cursor_close(cursor);
        tern_txn_free(txn);
        assert_ok(tern_get_pinned(fixture->keyspace, text("large"), &value, &error), error);
        assert_int_equal(value.bytes.size, LARGE_BYTES);
        tern_value_release(&value);
        assert_ok(tern_checkpoint(fixture->db, &error), error);
    }
}

static void large_values_that_are_given_up_leave_nothing(void **state) {
    struct txn_fixture *fixture = *state;
    uint32_t savepoint;
    tern_value_writer *writer;
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    assert_ok(tern_txn_savepoint(txn, &savepoint), *tern_txn_error(txn));
    write_large(fixture, txn, "a");
    assert_ok(tern_txn_rollback_to(txn, savepoint), *tern_txn_error(txn));
    expect(fixture, txn, "a", "-");
    write_large(fixture, txn, "b");
    put(fixture, txn, "b", "small");
    assert_ok(tern_txn_put_begin(txn, fixture->keyspace, text("c"), NULL, &writer),
              *tern_txn_error(txn));
    assert_ok(tern_value_writer_append(writer, text("abc")), *tern_txn_error(txn));
    tern_value_writer_abandon(writer);
    assert_ok(tern_txn_put_begin(txn, fixture->keyspace, text("d"), NULL, &writer),
              *tern_txn_error(txn));
    assert_ok(tern_value_writer_append(writer, text("abc")), *tern_txn_error(txn));
    assert_ok(tern_value_writer_finish(writer), *tern_txn_error(txn));
    assert_int_equal(commit(txn), TERN_OK);
    expect_now(fixture, "b", "small");
    expect_now(fixture, "c", "-");
    expect_now(fixture, "d", "abc");
    txn = begin(fixture, SNAPSHOT, false);
    write_large(fixture, txn, "e");
    tern_txn_free(txn);
    expect_now(fixture, "e", "-");
}

/* ---- expiry and pins ---- */

static void keys_expire(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_write_options options = {.size = sizeof(options), .ttl_ms = 1};
    char buffer[8];
    size_t size;
    assert_ok(tern_put(fixture->keyspace, text("k"), text("v"), &options, &error), error);
    options.ttl_ms = 1000000;
    assert_ok(tern_put(fixture->keyspace, text("l"), text("v"), &options, &error), error);
    for (int i = 0;
         i < 100000 && tern_get(fixture->keyspace, text("k"), buffer, 8, &size, &error) == TERN_OK;
         i++) {
        put_now(fixture, "m", "time moves on with commits");
    }
    expect_now(fixture, "k", "-");
    expect_now(fixture, "l", "v");
}

static void pinned_values_outlive_changes(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_value first = TERN_VALUE_INIT;
    tern_value second = TERN_VALUE_INIT;
    put_now(fixture, "k", "before");
    assert_ok(tern_get_pinned(fixture->keyspace, text("k"), &first, &error), error);
    assert_ok(tern_checkpoint(fixture->db, &error), error);
    tern_txn *txn = begin(fixture, SNAPSHOT, false);
    assert_ok(tern_txn_get_pinned(txn, fixture->keyspace, text("k"), &second),
              *tern_txn_error(txn));
    tern_txn_free(txn);
    for (int i = 0; i < 1000; i++) {
        put_now(fixture, "k", "after!");
    }
    assert_ok(tern_checkpoint(fixture->db, &error), error);
    assert_memory_equal(first.bytes.data, "before", 6);
    assert_memory_equal(second.bytes.data, "before", 6);
    tern_value_release(&first);
    tern_value_release(&second);
    tern_value_release(&second);
}

static void arguments_are_checked(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    char long_key[70000];
    memset(long_key, 'k', sizeof(long_key));
    tern_slice too_long = tern_slice_of(long_key, sizeof(long_key));
    char buffer[8];
    size_t size;
    assert_int_equal(tern_put(fixture->keyspace, text(""), text("v"), NULL, &error), TERN_INVALID);
    assert_int_equal(tern_put(fixture->keyspace, too_long, text("v"), NULL, &error),
                     TERN_TOO_LARGE);
    assert_int_equal(tern_put(NULL, text("k"), text("v"), NULL, &error), TERN_INVALID);
    assert_ok(tern_put(fixture->keyspace, text("empty"), tern_slice_of(NULL, 0), NULL, &error),
              error);
    assert_ok(tern_get(fixture->keyspace, text("empty"), buffer, 8, &size, &error), error);
    assert_int_equal(size, 0);
    assert_ok(tern_delete_range(fixture->keyspace, NULL, NULL, NULL, &error), error);
    expect_now(fixture, "empty", "-");
    assert_int_equal(tern_get(fixture->keyspace, too_long, buffer, 8, &size, &error),
                     TERN_NOT_FOUND);
    tern_write_options options = {0};
    assert_int_equal(tern_put(fixture->keyspace, text("k"), text("v"), &options, &error),
                     TERN_INVALID);
    assert_int_equal(
        tern_merge(fixture->keyspace, text("k"), (tern_merge_kind)9, text("v"), NULL, &error),
        TERN_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, txn_fixture_set_up, txn_fixture_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(merges_of_a_key_do_not_conflict),
        TEST(a_merge_conflicts_with_a_plain_write),
        TEST(range_deletes_conflict_with_writes_both_ways),
        TEST(a_range_is_validated_as_far_as_the_cursor_went),
        TEST(a_checkpoint_is_no_conflict_where_nothing_was_written),
        TEST(a_failed_transaction_can_only_be_ended),
        TEST(read_only_transactions_refuse_writes),
        TEST(a_transaction_reads_its_own_writes),
        TEST(a_merge_is_seen_over_what_is_stored),
        TEST(savepoints_undo_what_came_after),
        TEST(a_cursor_sees_own_writes_both_ways),
        TEST(one_long_value_does_not_make_later_batches_short),
        TEST(a_cursor_outlives_its_transaction_harmlessly),
        TEST(multi_get_answers_from_writes_and_store),
        TEST(keyspaces_come_and_go_with_their_transaction),
        TEST(a_savepoint_undoes_the_creation_of_a_keyspace),
        TEST(compare_and_set_answers_with_the_current_value),
        TEST(racing_compare_and_sets_lose_nothing),
        TEST(callbacks_come_in_commit_order_from_poll),
        TEST(callbacks_run_on_the_executor_otherwise),
        TEST(large_values_are_written_and_read_in_chunks),
        TEST(large_values_that_are_given_up_leave_nothing),
        TEST(keys_expire),
        TEST(pinned_values_outlive_changes),
        TEST(arguments_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
