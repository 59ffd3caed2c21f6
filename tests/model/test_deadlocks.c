/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlocks are always broken: pessimistic transactions lock keys of two keyspaces in random order,
 * shared and exclusive, upgrade, and are tried again when they are chosen as victims. A lock is
 * waited for far longer than a run takes, so a deadlock that nobody sees shows as a time-out;
 * nothing may time out, every transaction commits in the end, and no increment is lost.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tern/tern.h>

#include "support/cmocka_test.h"
#include "support/seeded_random.h"
#include "support/temporary_directory.h"

#define THREADS         8u
#define TRANSACTIONS    150u
#define KEYS            6u
#define LOCK_TIMEOUT_MS 20000u

struct stress {
    char *path;
    tern_db *db;
    tern_keyspace *keyspaces[2];
    tern_isolation isolation;
    uint64_t seed;
    atomic_uint deadlocks;
    atomic_uint conflicts;
    atomic_uint failures;
    atomic_ullong increments[KEYS];
};

struct worker {
    struct stress *stress;
    struct seeded_random random;
};

static tern_slice name_key(uint32_t key, char buffer[16]) {
    int size = snprintf(buffer, 16, "key-%u", key);
    return tern_slice_of(buffer, (size_t)size);
}

static tern_status increment(struct stress *stress, tern_txn *txn, uint32_t key) {
    char buffer[16];
    uint64_t count = 0;
    size_t size = 0;
    tern_slice name = name_key(key, buffer);
    tern_keyspace *keyspace = stress->keyspaces[key % 2];
    tern_status status = tern_txn_get_for_update(txn, keyspace, name, &count, sizeof(count), &size);
    if (status == TERN_NOT_FOUND) {
        status = TERN_OK;
    }
    count++;
    return status == TERN_OK
               ? tern_txn_put(txn, keyspace, name, tern_slice_of(&count, sizeof(count)), NULL)
               : status;
}

/* Locks some keys in the order drawn; `out_incremented` says how often each was. */
static tern_status lock_and_increment(struct worker *worker, tern_txn *txn, const uint32_t *keys,
                                      size_t count, unsigned out_incremented[KEYS]) {
    struct stress *stress = worker->stress;
    char buffer[16];
    tern_status status = TERN_OK;
    for (size_t i = 0; status == TERN_OK && i < count; i++) {
        uint32_t key = keys[i];
        uint64_t how = seeded_random_below(&worker->random, 3);
        if (how != 0) {
            status = tern_txn_lock(txn, stress->keyspaces[key % 2], name_key(key, buffer),
                                   how == 1 ? TERN_LOCK_SHARED : TERN_LOCK_EXCLUSIVE);
            sched_yield();
        }
        /* A shared lock is upgraded half of the time, where two upgraders deadlock at once. */
        if (status == TERN_OK && (how != 1 || seeded_random_chance(&worker->random, 1, 2))) {
            status = increment(stress, txn, key);
            out_incremented[key]++;
        }
    }
    return status;
}

/* One transaction, tried until it commits. */
static void run_transaction(struct worker *worker) {
    struct stress *stress = worker->stress;
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    uint32_t keys[KEYS];
    size_t count = 2 + (size_t)seeded_random_below(&worker->random, KEYS - 2);
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t place = (uint32_t)seeded_random_below(&worker->random, i + 1);
        keys[i] = keys[place];
        keys[place] = i;
    }
    options.isolation = stress->isolation;
    options.pessimistic = true;
    tern_status status = tern_txn_begin(stress->db, &options, &txn, &error);
    if (status != TERN_OK) {
        atomic_fetch_add(&stress->failures, 1);
        return;
    }
    for (;;) {
        unsigned incremented[KEYS] = {0};
        status = lock_and_increment(worker, txn, keys, count, incremented);
        if (status == TERN_OK) {
            status = tern_txn_commit(txn);
        }
        if (status == TERN_OK) {
            for (uint32_t key = 0; key < KEYS; key++) {
                atomic_fetch_add(&stress->increments[key], incremented[key]);
            }
            break;
        }
        if (status == TERN_DEADLOCK) {
            atomic_fetch_add(&stress->deadlocks, 1);
        } else if (status == TERN_CONFLICT) {
            atomic_fetch_add(&stress->conflicts, 1);
        } else {
            (void)fprintf(stderr, "%s: %s\n", tern_status_name(status),
                          tern_txn_error(txn)->message);
            atomic_fetch_add(&stress->failures, 1);
            break;
        }
        if (tern_txn_restart(txn) != TERN_OK) {
            atomic_fetch_add(&stress->failures, 1);
            break;
        }
    }
    tern_txn_free(txn);
}

static void *worker_main(void *argument) {
    struct worker *worker = argument;
    for (unsigned i = 0; i < TRANSACTIONS && atomic_load(&worker->stress->failures) == 0; i++) {
        run_transaction(worker);
    }
    return NULL;
}

static void run_stress(struct stress *stress, tern_isolation isolation) {
    pthread_t threads[THREADS];
    struct worker workers[THREADS];
    stress->isolation = isolation;
    atomic_store(&stress->deadlocks, 0);
    atomic_store(&stress->conflicts, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.stress = stress};
        seeded_random_init(&workers[i].random, stress->seed++);
        assert_int_equal(pthread_create(&threads[i], NULL, worker_main, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    print_message("%u deadlocks broken, %u conflicts\n", atomic_load(&stress->deadlocks),
                  atomic_load(&stress->conflicts));
    assert_int_equal(atomic_load(&stress->failures), 0);
    /* Without any, nothing was tried. */
    assert_true(atomic_load(&stress->deadlocks) > 0);
    for (uint32_t key = 0; key < KEYS; key++) {
        tern_error error = TERN_ERROR_INIT;
        char buffer[16];
        uint64_t count = 0;
        assert_ok(tern_get(stress->keyspaces[key % 2], name_key(key, buffer), &count, sizeof(count),
                           NULL, &error),
                  error);
        assert_int_equal(count, atomic_load(&stress->increments[key]));
    }
}

static void read_committed_transactions_all_finish(void **state) {
    run_stress(*state, TERN_ISOLATION_READ_COMMITTED);
}

static void snapshot_transactions_all_finish(void **state) {
    run_stress(*state, TERN_ISOLATION_SNAPSHOT);
}

static void serializable_transactions_all_finish(void **state) {
    run_stress(*state, TERN_ISOLATION_SERIALIZABLE);
}

static int open_stress(void **state) {
    static struct stress stress;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)16 << 20;
    options.segment_bytes = (uint64_t)4 << 20;
    options.lock_timeout_ms = LOCK_TIMEOUT_MS;
    stress.path = temporary_directory_create();
    stress.seed = seeded_random_seed("model.deadlocks");
    assert_ok(tern_open(stress.path, &options, &stress.db, &error), error);
    assert_ok(tern_keyspace_create(stress.db, "left", NULL, &stress.keyspaces[0], &error), error);
    assert_ok(tern_keyspace_create(stress.db, "right", NULL, &stress.keyspaces[1], &error), error);
    *state = &stress;
    return 0;
}

static int close_stress(void **state) {
    struct stress *stress = *state;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(stress->db, &error), error);
    temporary_directory_remove(stress->path);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_committed_transactions_all_finish),
        cmocka_unit_test(snapshot_transactions_all_finish),
        cmocka_unit_test(serializable_transactions_all_finish),
    };
    return cmocka_run_group_tests(tests, open_stress, close_stress);
}
