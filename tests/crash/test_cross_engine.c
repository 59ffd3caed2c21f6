/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 *
 * One transaction over a hash, a B+tree and an LSM keyspace. The power is cut in every mutating
 * call of the file system, one run for each, while such transactions commit and checkpoints drain
 * the three engines beside them; what is found then must be one moment for all three, and nothing
 * acknowledged may be missing. A snapshot that is open all the while must show one moment, too.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/cmocka_test.h"
#include "support/step_machine.h"

#define ENGINES     3u
#define ROUNDS      26u
#define KEYS        9u
#define VALUE_BYTES 600u

static const tern_engine_kind kinds[ENGINES] = {TERN_ENGINE_HASH, TERN_ENGINE_BTREE,
                                                TERN_ENGINE_LSM};
static const char *const names[ENGINES] = {"hash", "btree", "lsm"};

struct store {
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspaces[ENGINES];
    uint32_t acknowledged; /* the last round that was */
};

static void complain(const struct store *store, uint64_t call, const char *what) {
    print_error("TERN_SEED=%llu, cut in call %llu: %s\n", (unsigned long long)store->machine.seed,
                (unsigned long long)call, what);
    fail();
}

static tern_status open_store(struct store *store, bool creates, tern_error *error) {
    tern_status status = step_machine_open(&store->machine, &store->db, error);
    for (unsigned i = 0; status == TERN_OK && i < ENGINES; i++) {
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        options.engine = kinds[i];
        options.page_bytes = 4096;
        status = creates ? tern_keyspace_create(store->db, names[i], &options, &store->keyspaces[i],
                                                error)
                         : tern_keyspace_open(store->db, names[i], &store->keyspaces[i], error);
    }
    return status;
}

static tern_slice key_of(uint32_t number, char key[16]) {
    return tern_slice_of(key, (size_t)snprintf(key, 16, "key-%02u", number % KEYS));
}

static tern_slice value_of(uint32_t round, uint32_t key, uint8_t value[VALUE_BYTES]) {
    size_t size = 8 + (round * 97 + key * 31) % (VALUE_BYTES - 8);
    memset(value, (int)(round + key), size);
    memcpy(value, &round, sizeof(round));
    return tern_slice_of(value, size);
}

/* Round r: three keys are written, one is deleted, a counter goes up, in each engine alike. */
static tern_status transact(struct store *store, uint32_t round, tern_durability durability) {
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn = NULL;
    tern_error error = TERN_ERROR_INIT;
    const int64_t one = 1;
    options.durability = durability;
    tern_status status = tern_txn_begin(store->db, &options, &txn, &error);
    for (unsigned i = 0; status == TERN_OK && i < ENGINES; i++) {
        char key[16];
        uint8_t value[VALUE_BYTES];
        for (uint32_t j = 0; status == TERN_OK && j < 3; j++) {
            uint32_t number = round * 2 + j * 3;
            status = tern_txn_put(txn, store->keyspaces[i], key_of(number, key),
                                  value_of(round, number % KEYS, value), NULL);
        }
        if (status == TERN_OK) {
            status = tern_txn_delete(txn, store->keyspaces[i], key_of(round * 2 + 1, key));
        }
        if (status == TERN_OK) {
            status = tern_txn_merge(txn, store->keyspaces[i], tern_slice_str("count"),
                                    TERN_MERGE_ADD, tern_slice_of(&one, sizeof(one)));
        }
    }
    status = status == TERN_OK ? tern_txn_commit(txn) : status;
    tern_txn_free(txn);
    return status;
}

/* The round whose outcome an engine shows, read by cursor, every byte checked; 0: none. */
static uint32_t round_shown(struct store *store, tern_txn *txn, unsigned engine, uint64_t call) {
    uint32_t versions[KEYS] = {0};
    bool present[KEYS] = {false};
    int64_t count = 0;
    tern_cursor *cursor = NULL;
    tern_status status = tern_cursor_open(txn, store->keyspaces[engine], NULL, &cursor);
    assert_int_equal(status, TERN_OK);
    while ((status = tern_cursor_next(cursor)) == TERN_OK) {
        tern_slice key = tern_cursor_key(cursor);
        tern_slice value;
        uint8_t expected[VALUE_BYTES];
        assert_int_equal(tern_cursor_value(cursor, &value), TERN_OK);
        if (key.size == 5) {
            memcpy(&count, value.data, sizeof(count));
            continue;
        }
        const uint8_t *digits = (const uint8_t *)key.data + 4;
        assert_int_equal(key.size, 6);
        unsigned number = (unsigned)(digits[0] - '0') * 10 + (unsigned)(digits[1] - '0');
        assert_true(number < KEYS);
        memcpy(&versions[number], value.data, sizeof(versions[number]));
        tern_slice wanted = value_of(versions[number], number, expected);
        if (present[number] || wanted.size != value.size ||
            memcmp(wanted.data, value.data, value.size) != 0) {
            complain(store, call, "a value that nobody wrote");
        }
        present[number] = true;
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    tern_cursor_close(cursor);
    /* What must be there after `count` rounds. */
    uint32_t wanted[KEYS] = {0};
    for (uint32_t round = 1; round <= (uint32_t)count; round++) {
        for (uint32_t j = 0; j < 3; j++) {
            wanted[(round * 2 + j * 3) % KEYS] = round;
        }
        wanted[(round * 2 + 1) % KEYS] = 0;
    }
    for (unsigned i = 0; i < KEYS; i++) {
        if (present[i] != (wanted[i] != 0) || versions[i] != wanted[i]) {
            char text[120];
            (void)snprintf(text, sizeof(text), "%s: key %u of round %u, but %lld rounds count",
                           names[engine], i, versions[i], (long long)count);
            complain(store, call, text);
        }
    }
    return (uint32_t)count;
}

/* All three engines show one round, which is returned. */
static uint32_t check_moment(struct store *store, tern_txn *txn, uint64_t call) {
    uint32_t first = round_shown(store, txn, 0, call);
    for (unsigned i = 1; i < ENGINES; i++) {
        if (round_shown(store, txn, i, call) != first) {
            complain(store, call, "the engines show different moments");
        }
    }
    return first;
}

static tern_txn *begin_reading(struct store *store) {
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn = NULL;
    tern_error error = TERN_ERROR_INIT;
    options.read_only = true;
    assert_ok(tern_txn_begin(store->db, &options, &txn, &error), error);
    return txn;
}

/* Commits, checkpoints, lets background work run; a snapshot from the middle goes on beside it. */
static void work(struct store *store, uint64_t call) {
    tern_txn *held = NULL;
    uint32_t held_round = 0;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        tern_durability durability =
            round % 3 == 0 ? TERN_DURABILITY_FULL : TERN_DURABILITY_INTERVAL;
        if (transact(store, round, durability) != TERN_OK) {
            break;
        }
        if (durability == TERN_DURABILITY_FULL) {
            store->acknowledged = round;
        }
        if (round == ROUNDS / 3) {
            held = begin_reading(store);
            held_round = round;
        }
        if (round % 5 == 0 && tern_checkpoint(store->db, NULL) == TERN_OK) {
            store->acknowledged = round;
        }
        step_machine_idle(&store->machine, 1);
    }
    if (held != NULL && !power_cut_is_off(store->machine.disk)) {
        assert_int_equal(check_moment(store, held, call), held_round);
    }
    tern_txn_free(held);
}

static bool print_finding(void *context, const tern_finding *finding) {
    complain(context, 0, finding->message);
    return true;
}

/* One run that is cut in mutating call `call` after the database was made; false: it ended first.
 */
static bool run(uint64_t seed, uint64_t call) {
    struct store store = {.acknowledged = 0};
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(&store.machine, seed);
    assert_ok(open_store(&store, true, &error), error);
    assert_ok(tern_sync(store.db, &error), error);
    power_cut_arm(store.machine.disk, power_cut_calls(store.machine.disk) + call);
    work(&store, call);
    (void)tern_close(store.db, NULL);
    bool is_cut = power_cut_is_off(store.machine.disk);
    step_machine_cut(&store.machine, POWER_CUT_KEEP_RANDOM, seed + call);
    error = (tern_error)TERN_ERROR_INIT;
    assert_ok(open_store(&store, false, &error), error);
    tern_txn *txn = begin_reading(&store);
    uint32_t found = check_moment(&store, txn, call);
    tern_txn_free(txn);
    if (found < store.acknowledged) {
        complain(&store, call, "an acknowledged transaction is missing");
    }
    tern_verify_report report;
    assert_ok(tern_verify(store.db, print_finding, &store, NULL, NULL, &report, &error), error);
    assert_ok(transact(&store, found + 1, TERN_DURABILITY_FULL), error);
    txn = begin_reading(&store);
    assert_int_equal(check_moment(&store, txn, call), found + 1);
    tern_txn_free(txn);
    assert_ok(tern_close(store.db, &error), error);
    step_machine_release(&store.machine);
    return is_cut;
}

static void a_transaction_over_three_engines_is_all_or_nothing_wherever_power_fails(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("crash.cross_engine");
    uint64_t call = 1;
    while (run(seed, call)) {
        call++;
    }
    print_message("cut in each of %llu calls\n", (unsigned long long)(call - 1));
    assert_true(call > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_over_three_engines_is_all_or_nothing_wherever_power_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
