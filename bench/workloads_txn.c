/* SPDX-License-Identifier: Apache-2.0 */
/*
 * txn_mixed: one read and one read-modify-write in each of two keyspaces, as one transaction under
 * snapshot isolation, tried again until it commits. Each commit raises the version of exactly one
 * record in each keyspace by one, so the sum of all versions shows a lost update (see phases.c).
 */
#include "run.h"

static uint64_t choose_rank(struct worker *worker, int keyspace) {
    uint64_t count = worker->records->count;
    if (keyspace == KEYSPACE_MAIN)
        return rng_below(&worker->rng, count);
    return rng_below(&worker->rng, (count + SECOND_SHARE - 1) / SECOND_SHARE) * SECOND_SHARE;
}

static void choose_keys(struct worker *worker, struct transaction_work *work) {
    const struct record_space *records = worker->records;
    for (int i = 0; i < KEYSPACE_COUNT; i++) {
        uint8_t *read_key = worker->keys + (size_t)(2 * i) * records->key_bytes;
        uint8_t *update_key = worker->keys + (size_t)(2 * i + 1) * records->key_bytes;
        uint64_t read_rank = choose_rank(worker, i);
        uint64_t update_rank = choose_rank(worker, i);
        record_key_write(records, record_position(records, read_rank), read_key);
        record_key_write(records, record_position(records, update_rank), update_key);
        work->read_keys[i] = read_key;
        work->update_keys[i] = update_key;
    }
}

void body_txn_mixed(struct worker *worker) {
    const struct record_space *records = worker->records;
    struct transaction_work work = {.records = records, .new_value = worker->values};
    while (worker_goes_on(worker)) {
        choose_keys(worker, &work);
        uint64_t start = worker_timer_start(worker);
        enum bench_result result = BENCH_CONFLICT;
        while (result == BENCH_CONFLICT) {
            result = worker->driver->transact(worker->session, &work);
            worker->conflicts += result == BENCH_CONFLICT;
        }
        worker_timer_stop(worker, start);
        worker->operations++;
        worker->read_bytes += 4 * (records->key_bytes + records->value_bytes);
        worker->logical_bytes += 2 * (records->key_bytes + records->value_bytes);
        if (result != BENCH_OK)
            worker_fail(worker, "a transaction failed");
    }
    worker->wrong += work.wrong;
}
