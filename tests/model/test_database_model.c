/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 *
 * Random work on a database beside its model, without crashes but with many reopenings. After every
 * few steps everything is compared by every way to read: cursors both ways (forward only where
 * there is no order), seeks, point gets,
 * multi-get, counts, estimates, batches; snapshots held open over checkpoints, compaction and drops
 * must show what they showed; clones must equal. TERN_STEPS says how many steps (default 4000).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/compare.h"
#include "support/check.h"
#include "support/cmocka_test.h"
#include "support/random_workload.h"
#include "support/step_machine.h"

#define STEPS_DEFAULT   4000
#define RUNS            4
#define HELD_MAX        4
#define MULTI           48
#define VALUE_BYTES_MAX 100000u

/* A snapshot held open, and the state that it must go on showing. */
struct held {
    tern_txn *txn;
    struct model_state state;
    tern_keyspace *handles[MODEL_KEYSPACES];
};

/* A transaction that is renewed whenever it is looked at, with cursors that it keeps. */
struct renewed {
    tern_txn *txn; /* NULL: none */
    tern_keyspace *handles[MODEL_KEYSPACES];
    tern_cursor *cursors[MODEL_KEYSPACES]; /* NULL: none yet, on handles[i] */
};

struct model_test {
    struct step_machine machine;
    struct random_workload work;
    tern_db *db;
    struct held held[HELD_MAX];
    size_t held_count;
    struct renewed renewed;
    uint8_t *buffer;
    uint64_t step;
    uint64_t clones;
    uint64_t comparisons;
};

static void complain(const struct model_test *test, const char *what, tern_slice key) {
    print_error("TERN_SEED=%llu, step %llu: %s, key '%.*s'\n",
                (unsigned long long)test->machine.seed, (unsigned long long)test->step, what,
                (int)(key.size < 50 ? key.size : 50),
                key.data != NULL ? (const char *)key.data : "");
    fail();
}

#define NO_KEY tern_slice_of(NULL, 0)

static void ok(const struct model_test *test, tern_status status, const tern_error *error) {
    if (status != TERN_OK) {
        complain(test, error->message, NO_KEY);
    }
}

static const struct model_state *now(const struct model_test *test) {
    return &test->work.history.states[test->work.history.count - 1];
}

/* ---- entries that count: short-lived ones may be there or not ---- */

static const struct model_entry *find(const struct model_keyspace *keyspace, tern_slice key) {
    struct model_state state = {.keyspaces = {*keyspace}};
    return model_find(&state, 0, key);
}

static bool entry_is_right(const struct model_entry *entry, tern_slice key, tern_slice value) {
    return entry != NULL && slice_equal(entry->key, key) && slice_equal(entry->value, value);
}

/* Between two keys that a cursor showed nothing may be missing but short-lived entries. */
static void check_gap(const struct model_test *test, const struct model_keyspace *keyspace,
                      size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        if (!keyspace->entries[i].is_short_lived) {
            complain(test, "missing", keyspace->entries[i].key);
        }
    }
}

static size_t index_of(const struct model_keyspace *keyspace, const struct model_entry *entry) {
    return (size_t)(entry - keyspace->entries);
}

/* The entry of the model for what a reader showed. */
static const struct model_entry *shown(const struct model_test *test,
                                       const struct model_keyspace *keyspace, tern_slice key,
                                       tern_slice value) {
    const struct model_entry *entry = find(keyspace, key);
    if (entry == NULL) {
        complain(test, "unexpected", key);
    } else if (!entry_is_right(entry, key, value)) {
        complain(test, "wrong value", key);
    }
    return entry;
}

static const struct model_entry *shown_by(const struct model_test *test, tern_cursor *cursor,
                                          const struct model_keyspace *keyspace) {
    tern_slice value;
    ok(test, tern_cursor_value(cursor, &value), tern_cursor_error(cursor));
    return shown(test, keyspace, tern_cursor_key(cursor), value);
}

/* ---- ways to read ---- */

static void check_backward(struct model_test *test, tern_cursor *cursor,
                           const struct model_keyspace *keyspace) {
    size_t position = keyspace->count;
    tern_status status;
    while ((status = tern_cursor_previous(cursor)) == TERN_OK) {
        size_t index = index_of(keyspace, shown_by(test, cursor, keyspace));
        if (index >= position) {
            complain(test, "backwards out of order", tern_cursor_key(cursor));
        }
        check_gap(test, keyspace, index + 1, position);
        position = index;
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    check_gap(test, keyspace, 0, position);
}

static uint64_t check_batches(struct model_test *test, tern_cursor *cursor,
                              const struct model_keyspace *keyspace) {
    tern_entry entries[37];
    size_t position = 0;
    size_t count;
    uint64_t total = 0;
    tern_status status;
    while ((status = tern_cursor_next_batch(cursor, entries, 37, &count)) == TERN_OK) {
        assert_in_range(count, 1, 37);
        for (size_t i = 0; i < count; i++) {
            size_t index =
                index_of(keyspace, shown(test, keyspace, entries[i].key, entries[i].value));
            if (index < position) {
                complain(test, "batch out of order", entries[i].key);
            }
            check_gap(test, keyspace, position, index);
            position = index + 1;
        }
        total += count;
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    check_gap(test, keyspace, position, keyspace->count);
    return total;
}

/* Without order: each once, in batches and one by one. */
static uint64_t check_unordered(struct model_test *test, tern_cursor *cursor,
                                const struct model_keyspace *keyspace) {
    tern_entry entries[37];
    bool *seen = check_allocate(2 * (keyspace->count + 1) * sizeof(seen[0]));
    bool *seen_singly = seen + keyspace->count + 1;
    size_t count;
    uint64_t total = 0;
    tern_status status;
    memset(seen, 0, 2 * (keyspace->count + 1) * sizeof(seen[0]));
    while ((status = tern_cursor_next_batch(cursor, entries, 37, &count)) == TERN_OK) {
        assert_in_range(count, 1, 37);
        for (size_t i = 0; i < count; i++) {
            size_t index =
                index_of(keyspace, shown(test, keyspace, entries[i].key, entries[i].value));
            if (seen[index]) {
                complain(test, "batches show twice", entries[i].key);
            }
            seen[index] = true;
        }
        total += count;
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    while ((status = tern_cursor_next(cursor)) == TERN_OK) {
        size_t index = index_of(keyspace, shown_by(test, cursor, keyspace));
        if (seen_singly[index]) {
            complain(test, "the cursor shows twice", tern_cursor_key(cursor));
        }
        seen_singly[index] = true;
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    for (size_t i = 0; i < keyspace->count; i++) {
        if (seen[i] != seen_singly[i] || (!seen[i] && !keyspace->entries[i].is_short_lived)) {
            complain(test, "missing", keyspace->entries[i].key);
        }
    }
    assert_int_equal(tern_cursor_previous(cursor), TERN_UNSUPPORTED);
    assert_int_equal(tern_cursor_seek(cursor, tern_slice_str("a")), TERN_UNSUPPORTED);
    assert_int_equal(tern_cursor_seek_previous(cursor, tern_slice_str("a")), TERN_UNSUPPORTED);
    assert_int_equal(tern_cursor_seek_batch(cursor, tern_slice_str("a"), entries, 37, &count),
                     TERN_UNSUPPORTED);
    free(seen);
    return total;
}

/* A batch that begins at a key. */
static void check_sought_batch(struct model_test *test, tern_cursor *cursor,
                               const struct model_keyspace *keyspace) {
    uint8_t bytes[MODEL_KEY_BYTES_MAX];
    tern_entry entries[9];
    tern_slice key = model_random_key(&test->work.random, bytes);
    size_t capacity = (size_t)(1 + seeded_random_below(&test->work.random, 9));
    size_t count = 0;
    size_t position = 0;
    while (position < keyspace->count && slice_compare(keyspace->entries[position].key, key) < 0) {
        position++;
    }
    tern_status status = tern_cursor_seek_batch(cursor, key, entries, capacity, &count);
    if (status == TERN_NOT_FOUND) {
        check_gap(test, keyspace, position, keyspace->count);
        return;
    }
    ok(test, status, tern_cursor_error(cursor));
    assert_in_range(count, 1, capacity);
    for (size_t i = 0; i < count; i++) {
        size_t index = index_of(keyspace, shown(test, keyspace, entries[i].key, entries[i].value));
        if (index < position) {
            complain(test, "sought batch out of order", entries[i].key);
        }
        check_gap(test, keyspace, position, index);
        position = index + 1;
    }
    assert_true(slice_equal(tern_cursor_key(cursor), entries[count - 1].key));
}

/* Where a seek must land, and what lies one step on either side. */
static void check_seeks(struct model_test *test, tern_cursor *cursor,
                        const struct model_keyspace *keyspace) {
    for (int i = 0; i < 12; i++) {
        uint8_t bytes[MODEL_KEY_BYTES_MAX];
        tern_slice key = model_random_key(&test->work.random, bytes);
        bool is_backward = seeded_random_below(&test->work.random, 2) == 0;
        size_t from = 0;
        while (from < keyspace->count && slice_compare(keyspace->entries[from].key, key) < 0) {
            from++;
        }
        bool is_there = from < keyspace->count && slice_equal(keyspace->entries[from].key, key);
        tern_status status =
            is_backward ? tern_cursor_seek_previous(cursor, key) : tern_cursor_seek(cursor, key);
        if (status == TERN_NOT_FOUND) {
            check_gap(test, keyspace, is_backward ? 0 : from,
                      is_backward ? from + (is_there ? 1 : 0) : keyspace->count);
            assert_int_equal(tern_cursor_key(cursor).size, 0);
            continue;
        }
        ok(test, status, tern_cursor_error(cursor));
        size_t index = index_of(keyspace, shown_by(test, cursor, keyspace));
        if (is_backward) {
            check_gap(test, keyspace, index + 1, from + (is_there ? 1 : 0));
        } else {
            check_gap(test, keyspace, from, index);
        }
        /* One on, one back: the same place. */
        status = is_backward ? tern_cursor_previous(cursor) : tern_cursor_next(cursor);
        if (status == TERN_OK) {
            ok(test, is_backward ? tern_cursor_next(cursor) : tern_cursor_previous(cursor),
               tern_cursor_error(cursor));
            assert_true(slice_equal(tern_cursor_key(cursor), keyspace->entries[index].key));
        }
        check_sought_batch(test, cursor, keyspace);
    }
}

static void check_point(struct model_test *test, tern_txn *txn, tern_keyspace *handle,
                        const struct model_keyspace *keyspace, tern_slice key) {
    size_t size = 0;
    const struct model_entry *entry = find(keyspace, key);
    tern_status status = tern_txn_get(txn, handle, key, test->buffer, VALUE_BYTES_MAX, &size);
    if (status == TERN_NOT_FOUND) {
        if (entry != NULL && !entry->is_short_lived) {
            complain(test, "get misses", key);
        }
        return;
    }
    ok(test, status, tern_txn_error(txn));
    (void)shown(test, keyspace, key, tern_slice_of(test->buffer, size));
}

static void check_multi_get(struct model_test *test, tern_txn *txn, tern_keyspace *handle,
                            const struct model_keyspace *keyspace) {
    static uint8_t keys[MULTI][MODEL_KEY_BYTES_MAX];
    static uint8_t values[MULTI][512];
    tern_get_request requests[MULTI];
    for (size_t i = 0; i < MULTI; i++) {
        requests[i] = (tern_get_request){.key = model_random_key(&test->work.random, keys[i]),
                                         .buffer = values[i],
                                         .capacity = sizeof(values[i])};
    }
    ok(test, tern_txn_multi_get(txn, handle, requests, MULTI), tern_txn_error(txn));
    for (size_t i = 0; i < MULTI; i++) {
        const struct model_entry *entry = find(keyspace, requests[i].key);
        if (requests[i].status == TERN_NOT_FOUND) {
            if (entry != NULL && !entry->is_short_lived) {
                complain(test, "multi-get misses", requests[i].key);
            }
        } else if (requests[i].status == TERN_BUFFER_TOO_SMALL) {
            assert_true(entry != NULL && entry->value.size == requests[i].value_size);
            assert_memory_equal(values[i], entry->value.data, sizeof(values[i]));
        } else {
            assert_int_equal(requests[i].status, TERN_OK);
            (void)shown(test, keyspace, requests[i].key,
                        tern_slice_of(values[i], requests[i].value_size));
        }
    }
}

static void check_counts(struct model_test *test, tern_txn *txn, tern_keyspace *handle,
                         uint64_t total) {
    uint8_t bytes[MODEL_KEY_BYTES_MAX];
    tern_slice key = model_random_key(&test->work.random, bytes);
    uint64_t below = 0;
    uint64_t above = 0;
    uint64_t estimated = 0;
    uint64_t estimated_bytes = 0;
    ok(test, tern_txn_count(txn, handle, NULL, &key, &below), tern_txn_error(txn));
    ok(test, tern_txn_count(txn, handle, &key, NULL, &above), tern_txn_error(txn));
    assert_int_equal(below + above, total);
    ok(test, tern_txn_estimate(txn, handle, NULL, NULL, &estimated, &estimated_bytes),
       tern_txn_error(txn));
    /* Pending writes count by themselves, so this is a bound of sanity only. */
    assert_true(estimated <= 20 * total + 5000);
}

static void check_keyspace(struct model_test *test, tern_txn *txn, tern_keyspace *handle,
                           const struct model_keyspace *keyspace) {
    tern_cursor *cursor;
    for (int i = 0; i < 20; i++) {
        uint8_t bytes[MODEL_KEY_BYTES_MAX];
        check_point(test, txn, handle, keyspace, model_random_key(&test->work.random, bytes));
    }
    check_multi_get(test, txn, handle, keyspace);
    ok(test, tern_cursor_open(txn, handle, NULL, &cursor), tern_txn_error(txn));
    /* The snapshot may be older than a conversion: it shows the engine of its time. */
    bool is_unordered = tern_cursor_seek_previous(cursor, tern_slice_str("a")) == TERN_UNSUPPORTED;
    tern_cursor_close(cursor);
    ok(test, tern_cursor_open(txn, handle, NULL, &cursor), tern_txn_error(txn));
    uint64_t total = 0;
    if (is_unordered) {
        total = check_unordered(test, cursor, keyspace);
    } else {
        total = check_batches(test, cursor, keyspace);
        check_backward(test, cursor, keyspace);
        check_seeks(test, cursor, keyspace);
    }
    tern_cursor_close(cursor);
    check_counts(test, txn, handle, total);
}

static void open_handles(struct model_test *test, tern_db *db, const struct model_state *state,
                         tern_keyspace *handles[MODEL_KEYSPACES]) {
    for (unsigned i = 0; i < MODEL_KEYSPACES; i++) {
        char name[16];
        tern_error error = TERN_ERROR_INIT;
        handles[i] = NULL;
        tern_status status =
            tern_keyspace_open(db, model_keyspace_name(i, name), &handles[i], &error);
        if (status != (state->keyspaces[i].exists ? TERN_OK : TERN_NOT_FOUND)) {
            complain(test, "a keyspace is there or not, wrongly", tern_slice_str(name));
        }
    }
}

/* A keyspace dropped since the snapshot was taken may be gone for it, too; as a whole. */
static bool is_gone(struct model_test *test, tern_txn *txn, tern_keyspace *handle) {
    uint64_t count;
    tern_status status = tern_txn_count(txn, handle, NULL, NULL, &count);
    if (status != TERN_NOT_FOUND) {
        ok(test, status, tern_txn_error(txn));
        return false;
    }
    tern_keyspace *current = NULL;
    if (tern_keyspace_open(test->db, tern_keyspace_name(handle), &current, NULL) == TERN_OK &&
        current == handle) {
        complain(test, "a live keyspace is not found", NO_KEY);
    }
    return true;
}

static void check_state(struct model_test *test, tern_txn *txn,
                        tern_keyspace *const handles[MODEL_KEYSPACES],
                        const struct model_state *state) {
    for (unsigned i = 0; i < MODEL_KEYSPACES; i++) {
        if (state->keyspaces[i].exists && !is_gone(test, txn, handles[i])) {
            check_keyspace(test, txn, handles[i], &state->keyspaces[i]);
        }
    }
    test->comparisons++;
}

static tern_txn *begin(struct model_test *test, tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn = NULL;
    options.read_only = true;
    ok(test, tern_txn_begin(db, &options, &txn, &error), &error);
    return txn;
}

/* What a database shows now. */
static void compare(struct model_test *test, tern_db *db) {
    tern_keyspace *handles[MODEL_KEYSPACES];
    tern_txn *txn = begin(test, db);
    open_handles(test, db, now(test), handles);
    check_state(test, txn, handles, now(test));
    tern_txn_free(txn);
}

/* ---- snapshots held open ---- */

static void hold(struct model_test *test) {
    if (test->held_count < HELD_MAX) {
        struct held *held = &test->held[test->held_count++];
        held->txn = begin(test, test->db);
        held->state = *now(test);
        open_handles(test, test->db, &held->state, held->handles);
    }
}

static void check_held(struct model_test *test, size_t index) {
    struct held *held = &test->held[index];
    check_state(test, held->txn, held->handles, &held->state);
}

static void let_go(struct model_test *test, size_t index) {
    check_held(test, index);
    tern_txn_free(test->held[index].txn);
    test->held[index] = test->held[--test->held_count];
}

/* ---- a reader that is renewed ---- */

static void end_renewed(struct model_test *test) {
    struct renewed *renewed = &test->renewed;
    for (unsigned i = 0; i < MODEL_KEYSPACES; i++) {
        tern_cursor_close(renewed->cursors[i]);
    }
    tern_txn_free(renewed->txn);
    *renewed = (struct renewed){0};
}

/* A cursor stays for as long as the keyspace does; that of one that was dropped shows nothing. */
static tern_cursor *cursor_on(struct model_test *test, unsigned i, tern_keyspace *handle) {
    struct renewed *renewed = &test->renewed;
    if (renewed->cursors[i] != NULL && renewed->handles[i] != handle) {
        assert_int_equal(tern_cursor_next(renewed->cursors[i]), TERN_NOT_FOUND);
        tern_cursor_close(renewed->cursors[i]);
        renewed->cursors[i] = NULL;
    }
    if (renewed->cursors[i] == NULL && handle != NULL) {
        ok(test, tern_cursor_open(renewed->txn, handle, NULL, &renewed->cursors[i]),
           tern_txn_error(renewed->txn));
    }
    renewed->handles[i] = handle;
    return renewed->cursors[i];
}

static void check_renewed(struct model_test *test) {
    struct renewed *renewed = &test->renewed;
    const struct model_state *state = now(test);
    tern_keyspace *handles[MODEL_KEYSPACES];
    if (renewed->txn == NULL) {
        renewed->txn = begin(test, test->db);
    }
    ok(test, tern_txn_renew(renewed->txn), tern_txn_error(renewed->txn));
    open_handles(test, test->db, state, handles);
    for (unsigned i = 0; i < MODEL_KEYSPACES; i++) {
        const struct model_keyspace *keyspace = &state->keyspaces[i];
        tern_cursor *cursor = cursor_on(test, i, handles[i]);
        uint64_t total = 0;
        if (cursor == NULL) {
            continue;
        }
        if (tern_cursor_seek_previous(cursor, tern_slice_str("a")) == TERN_UNSUPPORTED) {
            total = check_unordered(test, cursor, keyspace);
        } else {
            ok(test, tern_txn_renew(renewed->txn), tern_txn_error(renewed->txn));
            total = check_batches(test, cursor, keyspace);
            check_seeks(test, cursor, keyspace);
        }
        check_counts(test, renewed->txn, handles[i], total);
    }
    test->comparisons++;
}

/* ---- the run ---- */

static bool print_finding(void *context, const tern_finding *finding) {
    complain(context, finding->message, tern_slice_str(finding->file));
    return true;
}

static void verify(struct model_test *test) {
    tern_verify_report report;
    tern_error error = TERN_ERROR_INIT;
    ok(test, tern_verify(test->db, print_finding, test, NULL, NULL, &report, &error), &error);
    assert_int_equal(report.findings, 0);
}

static void clone(struct model_test *test) {
    char path[32];
    tern_db *copy;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = step_machine_options(&test->machine);
    (void)snprintf(path, sizeof(path), "/clone%llu", (unsigned long long)test->clones++);
    ok(test, tern_clone(test->db, path, NULL, NULL, &error), &error);
    assert_int_equal(tern_clone(test->db, path, NULL, NULL, &error), TERN_EXISTS);
    options.create_if_missing = false;
    ok(test, tern_open(path, &options, &copy, &error), &error);
    compare(test, copy);
    ok(test, tern_close(copy, &error), &error);
}

static void reopen(struct model_test *test) {
    tern_error error = TERN_ERROR_INIT;
    while (test->held_count > 0) {
        let_go(test, test->held_count - 1);
    }
    end_renewed(test);
    if (test->db != NULL) {
        ok(test, tern_close(test->db, &error), &error);
    }
    ok(test, step_machine_open(&test->machine, &test->db, &error), &error);
    compare(test, test->db);
}

static void look(struct model_test *test) {
    uint64_t kind = seeded_random_below(&test->work.random, 400);
    if (kind < 40) {
        compare(test, test->db);
    } else if (kind < 60) {
        hold(test);
    } else if (kind < 80 && test->held_count > 0) {
        check_held(test, (size_t)seeded_random_below(&test->work.random, test->held_count));
    } else if (kind < 92 && test->held_count > 0) {
        let_go(test, (size_t)seeded_random_below(&test->work.random, test->held_count));
    } else if (kind < 95) {
        verify(test);
    } else if (kind == 95) {
        clone(test);
    } else if (kind < 98) {
        reopen(test);
    } else if (kind < 120) {
        check_renewed(test);
    } else if (kind == 120) {
        end_renewed(test);
    }
}

/* Held snapshots may keep overlays in memory until a write is refused, with everything as before.
 */
static void work(struct model_test *test) {
    if (random_workload_step(&test->work, test->db)) {
        return;
    }
    bool is_refused = test->work.error.status == TERN_NO_MEMORY &&
                      (test->held_count > 0 || test->renewed.txn != NULL);
    if (!is_refused) {
        complain(test, test->work.error.message, NO_KEY);
    }
    if (test->work.is_uncertain) {
        test->work.history.count--;
        model_history_rollback(&test->work.history);
        test->work.is_uncertain = false;
    }
    while (test->held_count > 0) {
        let_go(test, test->held_count - 1);
    }
    end_renewed(test);
}

static void the_database_equals_its_model_whichever_way_it_is_read(void **state) {
    (void)state;
    const char *wanted = getenv("TERN_STEPS");
    uint64_t steps = wanted != NULL ? strtoull(wanted, NULL, 10) : STEPS_DEFAULT;
    uint64_t seed = seeded_random_seed("database_model");
    for (uint64_t run = 0; run < RUNS; run++) {
        struct model_test test = {.buffer = check_allocate(VALUE_BYTES_MAX)};
        step_machine_init(&test.machine, seed + run);
        random_workload_init(&test.work, seed + run);
        test.work.executor = test.machine.executor;
        test.work.clock = &test.machine.clock;
        test.work.allows_compact = true;
        test.work.allows_convert = true;
        reopen(&test);
        for (; test.step < steps / RUNS; test.step++) {
            work(&test);
            look(&test);
        }
        clone(&test);
        verify(&test);
        reopen(&test);
        end_renewed(&test);
        print_message("seed %llu: %llu comparisons, %llu clones, %llu conversions\n",
                      (unsigned long long)(seed + run), (unsigned long long)test.comparisons,
                      (unsigned long long)test.clones, (unsigned long long)test.work.conversions);
        assert_int_equal(tern_close(test.db, NULL), TERN_OK);
        random_workload_release(&test.work);
        step_machine_release(&test.machine);
        free(test.buffer);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_database_equals_its_model_whichever_way_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
