/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random transactions beside a model: an array with one place per key, copied whole at savepoints
 * and commits. After each step some read of the transaction (point, multi-get, cursor either way,
 * batch, count) is compared; older snapshots must go on seeing what they saw.
 */
#include "support/cmocka_test.h"

#include <stdio.h>
#include <string.h>
#include <tern/tern.h>

#include "support/seeded_random.h"
#include "support/temporary_directory.h"

#define KEYS           50
#define VALUE_BYTES    256
#define ROUNDS         250
#define SAVEPOINTS_MAX 8
#define READERS        3

struct place {
    bool present;
    size_t size;
    uint8_t bytes[VALUE_BYTES];
};

struct store {
    struct place places[KEYS];
};

struct run {
    tern_db *db;
    tern_keyspace *keyspace;
    struct seeded_random random;
    struct store committed;
    struct store current; /* as the transaction sees it */
    struct store savepoints[SAVEPOINTS_MAX];
    uint32_t savepoint_count;
    tern_txn *readers[READERS];
    struct store reader_stores[READERS];
};

static size_t below(struct run *run, size_t bound) {
    return (size_t)seeded_random_below(&run->random, bound);
}

static tern_slice key_of(size_t number, char buffer[32]) {
    (void)snprintf(buffer, 32, "key-%04zu", number);
    return tern_slice_str(buffer);
}

/* ---- changes ---- */

static tern_slice random_value(struct run *run, uint8_t *buffer, size_t most) {
    size_t size = below(run, most + 1);
    seeded_random_fill(&run->random, buffer, size);
    return tern_slice_of(buffer, size);
}

static void set(struct place *place, const void *bytes, size_t size) {
    place->present = true;
    place->size = size;
    memcpy(place->bytes, bytes, size);
}

static void merge_place(struct place *place, tern_merge_kind kind, tern_slice operand) {
    uint8_t joined[VALUE_BYTES];
    if (kind == TERN_MERGE_ADD) {
        uint64_t number = 0;
        uint64_t added = 0;
        if (place->present && place->size == 8) {
            memcpy(&number, place->bytes, 8);
        }
        if (operand.size == 8) {
            memcpy(&added, operand.data, 8);
        }
        number += added;
        set(place, &number, 8);
    } else if (kind == TERN_MERGE_APPEND) {
        size_t size = place->present ? place->size : 0;
        memcpy(joined, place->bytes, size);
        if (operand.size > 0) {
            memcpy(joined + size, operand.data, operand.size);
        }
        set(place, joined, size + operand.size);
    } else {
        size_t common = operand.size < place->size ? operand.size : place->size;
        int order = place->present ? memcmp(place->bytes, operand.data, common) : -1;
        if (place->present && order == 0) {
            order = place->size > operand.size ? 1 : -1;
        }
        if (order < 0) {
            set(place, operand.data, operand.size);
        }
    }
}

static void change_range(struct run *run, tern_txn *txn) {
    char begin_bytes[32];
    char end_bytes[32];
    size_t from = below(run, KEYS);
    size_t to = from + below(run, KEYS / 4);
    bool has_begin = seeded_random_chance(&run->random, 7, 8);
    bool has_end = seeded_random_chance(&run->random, 7, 8);
    tern_slice begin_key = key_of(from, begin_bytes);
    tern_slice end_key = key_of(to, end_bytes);
    assert_ok(tern_txn_delete_range(txn, run->keyspace, has_begin ? &begin_key : NULL,
                                    has_end ? &end_key : NULL),
              *tern_txn_error(txn));
    for (size_t i = has_begin ? from : 0; i < (has_end ? to : KEYS) && i < KEYS; i++) {
        run->current.places[i].present = false;
    }
}

static void change(struct run *run, tern_txn *txn) {
    char key_bytes[32];
    uint8_t value_bytes[VALUE_BYTES];
    size_t number = below(run, KEYS);
    tern_slice key = key_of(number, key_bytes);
    struct place *place = &run->current.places[number];
    size_t dice = below(run, 40);
    if (dice < 14) {
        tern_slice value = random_value(run, value_bytes, 100);
        assert_ok(tern_txn_put(txn, run->keyspace, key, value, NULL), *tern_txn_error(txn));
        set(place, value_bytes, value.size);
    } else if (dice < 22) {
        assert_ok(tern_txn_delete(txn, run->keyspace, key), *tern_txn_error(txn));
        place->present = false;
    } else if (dice < 38) {
        tern_merge_kind kind = (tern_merge_kind)(1 + below(run, 3));
        tern_slice operand = random_value(run, value_bytes, 12);
        if (kind == TERN_MERGE_ADD) {
            seeded_random_fill(&run->random, value_bytes, 8);
            operand = tern_slice_of(value_bytes, 8);
        }
        if (place->present && place->size + operand.size > VALUE_BYTES) {
            return;
        }
        assert_ok(tern_txn_merge(txn, run->keyspace, key, kind, operand), *tern_txn_error(txn));
        merge_place(place, kind, operand);
    } else {
        change_range(run, txn);
    }
}

static void use_savepoint(struct run *run, tern_txn *txn) {
    uint32_t number;
    if (run->savepoint_count < SAVEPOINTS_MAX && seeded_random_chance(&run->random, 1, 2)) {
        assert_ok(tern_txn_savepoint(txn, &number), *tern_txn_error(txn));
        assert_int_equal(number, run->savepoint_count + 1);
        run->savepoints[run->savepoint_count++] = run->current;
    } else if (run->savepoint_count > 0) {
        number = 1 + (uint32_t)below(run, run->savepoint_count);
        assert_ok(tern_txn_rollback_to(txn, number), *tern_txn_error(txn));
        run->current = run->savepoints[number - 1];
        run->savepoint_count = number;
    }
}

/* ---- comparisons ---- */

static void expect_held(const struct place *place, tern_slice value) {
    assert_int_equal(value.size, place->size);
    if (value.size > 0) {
        assert_memory_equal(value.data, place->bytes, value.size);
    }
}

static void compare_points(struct run *run, tern_txn *txn, const struct store *store) {
    static char keys[KEYS][32];
    static uint8_t buffers[KEYS][VALUE_BYTES];
    tern_get_request requests[KEYS];
    for (size_t i = 0; i < KEYS; i++) {
        requests[i] = (tern_get_request){
            .key = key_of(i, keys[i]), .buffer = buffers[i], .capacity = VALUE_BYTES};
    }
    assert_ok(tern_txn_multi_get(txn, run->keyspace, requests, KEYS), *tern_txn_error(txn));
    for (size_t i = 0; i < KEYS; i++) {
        uint8_t buffer[VALUE_BYTES];
        size_t size = 0;
        const struct place *place = &store->places[i];
        tern_status wanted = place->present ? TERN_OK : TERN_NOT_FOUND;
        assert_int_equal(
            tern_txn_get(txn, run->keyspace, requests[i].key, buffer, VALUE_BYTES, &size), wanted);
        assert_int_equal(requests[i].status, wanted);
        if (place->present) {
            expect_held(place, tern_slice_of(buffer, size));
            expect_held(place, tern_slice_of(buffers[i], requests[i].value_size));
        }
    }
}

/* The next present place at or after (backward: at or before) `from`, within [low, high); -1. */
static int next_present(const struct store *store, int from, bool backward, int low, int high) {
    for (int i = from; i >= low && i < high; i += backward ? -1 : 1) {
        if (i < KEYS && store->places[i].present) {
            return i;
        }
    }
    return -1;
}

static void expect_entry(tern_cursor *cursor, tern_status status, const struct store *store,
                         int wanted) {
    char key_bytes[32];
    if (wanted < 0) {
        assert_int_equal(status, TERN_NOT_FOUND);
        assert_int_equal(tern_cursor_key(cursor).size, 0);
        return;
    }
    assert_ok(status, *tern_cursor_error(cursor));
    tern_slice key = key_of((size_t)wanted, key_bytes);
    tern_slice got = tern_cursor_key(cursor);
    assert_int_equal(got.size, key.size);
    assert_memory_equal(got.data, key.data, key.size);
    assert_ok(tern_cursor_value(cursor, &got), *tern_cursor_error(cursor));
    expect_held(&store->places[wanted], got);
}

/* A batch from where the cursor stands, or from a key. */
static int batch_step(struct run *run, tern_cursor *cursor, const struct store *store, int at,
                      int low, int high) {
    tern_entry entries[16];
    size_t capacity = 1 + below(run, 16);
    size_t count = 0;
    int from = at < 0 ? low : at + 1;
    tern_status status;
    if (seeded_random_chance(&run->random, 1, 2)) {
        status = tern_cursor_next_batch(cursor, entries, capacity, &count);
    } else {
        char key_bytes[32];
        from = (int)below(run, KEYS);
        status = tern_cursor_seek_batch(cursor, key_of((size_t)from, key_bytes), entries, capacity,
                                        &count);
        from = from < low ? low : from;
    }
    int next = next_present(store, from, false, low, high);
    if (next < 0) {
        assert_int_equal(status, TERN_NOT_FOUND);
        return -1;
    }
    assert_ok(status, *tern_cursor_error(cursor));
    assert_true(count >= 1 && count <= capacity);
    for (size_t i = 0; i < count; i++) {
        char key_bytes[32];
        tern_slice key = key_of((size_t)next, key_bytes);
        assert_int_equal(entries[i].key.size, key.size);
        assert_memory_equal(entries[i].key.data, key.data, key.size);
        expect_held(&store->places[next], entries[i].value);
        at = next;
        next = next_present(store, at + 1, false, low, high);
    }
    return at;
}

/* Walks about; `txn` may be written to between steps when `writes`. */
static void walk(struct run *run, tern_txn *txn, const struct store *store, bool writes) {
    char begin_bytes[32];
    char end_bytes[32];
    tern_cursor *cursor;
    tern_cursor_options options = TERN_CURSOR_OPTIONS_INIT;
    int low = (int)below(run, KEYS / 2);
    int high = low + 1 + (int)below(run, (size_t)(KEYS - low));
    tern_slice begin_key = key_of((size_t)low, begin_bytes);
    tern_slice end_key = key_of((size_t)high, end_bytes);
    if (seeded_random_chance(&run->random, 1, 2)) {
        options.begin = &begin_key;
    } else {
        low = 0;
    }
    if (seeded_random_chance(&run->random, 1, 2)) {
        options.end = &end_key;
    } else {
        high = KEYS;
    }
    assert_ok(tern_cursor_open(txn, run->keyspace, &options, &cursor), *tern_txn_error(txn));
    int at = -1;
    size_t steps = 3 + below(run, 25);
    for (size_t i = 0; i < steps; i++) {
        size_t dice = below(run, 12);
        bool backward = dice % 2 == 0;
        if (writes && seeded_random_chance(&run->random, 1, 3)) {
            change(run, txn);
        }
        if (dice < 8) {
            int from = at < 0 ? (backward ? high - 1 : low) : at + (backward ? -1 : 1);
            at = next_present(store, from, backward, low, high);
            expect_entry(cursor, backward ? tern_cursor_previous(cursor) : tern_cursor_next(cursor),
                         store, at);
        } else if (dice < 10) {
            char key_bytes[32];
            int target = (int)below(run, KEYS);
            int from =
                backward ? (target >= high ? high - 1 : target) : (target < low ? low : target);
            at = next_present(store, from, backward, low, high);
            tern_slice key = key_of((size_t)target, key_bytes);
            expect_entry(cursor,
                         backward ? tern_cursor_seek_previous(cursor, key)
                                  : tern_cursor_seek(cursor, key),
                         store, at);
        } else {
            at = batch_step(run, cursor, store, at, low, high);
        }
    }
    tern_cursor_close(cursor);
}

static void compare_count(struct run *run, tern_txn *txn, const struct store *store) {
    uint64_t wanted = 0;
    uint64_t count;
    for (size_t i = 0; i < KEYS; i++) {
        wanted += store->places[i].present;
    }
    assert_ok(tern_txn_count(txn, run->keyspace, NULL, NULL, &count), *tern_txn_error(txn));
    assert_int_equal(count, wanted);
}

static void compare(struct run *run, tern_txn *txn, const struct store *store) {
    switch (below(run, 4)) {
    case 0:
        compare_points(run, txn, store);
        break;
    case 1:
        compare_count(run, txn, store);
        break;
    default:
        walk(run, txn, store, false);
        break;
    }
}

/* ---- the run ---- */

static void replace_reader(struct run *run) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    size_t number = below(run, READERS);
    options.read_only = true;
    tern_txn **reader = &run->readers[number];
    if (*reader != NULL) {
        compare_points(run, *reader, &run->reader_stores[number]);
    }
    if (*reader != NULL && seeded_random_chance(&run->random, 1, 2)) {
        assert_ok(tern_txn_renew(*reader), *tern_txn_error(*reader));
    } else {
        tern_txn_free(*reader);
        assert_ok(tern_txn_begin(run->db, &options, reader, &error), error);
    }
    run->reader_stores[number] = run->committed;
}

static void one_transaction(struct run *run) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    options.isolation = (tern_isolation)(1 + below(run, 3));
    options.pessimistic = seeded_random_chance(&run->random, 1, 4);
    assert_ok(tern_txn_begin(run->db, &options, &txn, &error), error);
    run->current = run->committed;
    run->savepoint_count = 0;
    size_t steps = below(run, 20);
    for (size_t i = 0; i < steps; i++) {
        change(run, txn);
        if (seeded_random_chance(&run->random, 1, 5)) {
            use_savepoint(run, txn);
        }
        if (seeded_random_chance(&run->random, 1, 4)) {
            compare(run, txn, &run->current);
        }
        if (seeded_random_chance(&run->random, 1, 8)) {
            walk(run, txn, &run->current, true);
        }
    }
    if (seeded_random_chance(&run->random, 3, 4)) {
        assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
        run->committed = run->current;
    }
    tern_txn_free(txn);
}

static void transactions_agree_with_the_model(void **state) {
    (void)state;
    static struct run run;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    char *path = temporary_directory_create();
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)32 << 20;
    options.segment_bytes = (uint64_t)1 << 20;
    options.conflict_slots = 1 << 14;
    seeded_random_init(&run.random, seeded_random_seed("model transactions"));
    assert_ok(tern_open(path, &options, &run.db, &error), error);
    assert_ok(tern_keyspace_create(run.db, "model", NULL, &run.keyspace, &error), error);
    for (int round = 0; round < ROUNDS; round++) {
        one_transaction(&run);
        if (seeded_random_chance(&run.random, 1, 4)) {
            replace_reader(&run);
        }
        if (seeded_random_chance(&run.random, 1, 12)) {
            assert_ok(tern_checkpoint(run.db, &error), error);
        }
    }
    for (size_t i = 0; i < READERS; i++) {
        if (run.readers[i] != NULL) {
            compare(&run, run.readers[i], &run.reader_stores[i]);
            tern_txn_free(run.readers[i]);
        }
    }
    assert_ok(tern_close(run.db, &error), error);
    temporary_directory_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transactions_agree_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
