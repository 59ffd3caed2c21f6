/* SPDX-License-Identifier: Apache-2.0 */
/* The list of workloads, and the operations that several of them consist of. */
#include "run.h"

static const struct workload workloads[] = {
    {"load_sequential", "single puts in key order into an empty store", NEEDS_EMPTY, EFFECT_SORTED,
     false, false, false, false, 0, body_load_sequential},
    {"load_random", "single puts in random order into an empty store", NEEDS_EMPTY, EFFECT_LOADED,
     false, false, false, false, 0, body_load_random},
    {"load_batch", "batches of --batch puts in random order into an empty store", NEEDS_EMPTY,
     EFFECT_LOADED, false, false, false, false, 0, body_load_batch},
    {"read_random", "single gets, uniform", NEEDS_LOADED, EFFECT_NONE, true, false, false, false,
     READ_SAMPLE_MASK, body_read_random},
    {"read_zipf", "single gets, scrambled zipfian 0.99", NEEDS_LOADED, EFFECT_NONE, true, false,
     true, false, READ_SAMPLE_MASK, body_read_zipf},
    {"read_missing", "single gets of keys that do not exist, between keys that do", NEEDS_LOADED,
     EFFECT_NONE, true, false, false, false, READ_SAMPLE_MASK, body_read_missing},
    {"multi_get", "--multi uniform keys a call", NEEDS_LOADED, EFFECT_NONE, true, false, false,
     false, 0, body_multi_get},
    {"scan_full", "all entries in order, again and again", NEEDS_LOADED, EFFECT_NONE, true, false,
     false, false, 0, body_scan_full},
    {"scan_100", "100 entries from a uniform key on", NEEDS_LOADED, EFFECT_NONE, true, false, false,
     true, 0, body_scan_100},
    {"overwrite_random", "single puts of existing keys, uniform", NEEDS_LOADED, EFFECT_OVERWRITTEN,
     true, false, false, false, 0, body_overwrite_random},
    {"write_durable", "the same, each on stable storage before the next", NEEDS_LOADED,
     EFFECT_OVERWRITTEN, true, true, false, false, 0, body_overwrite_random},
    {"delete_random", "single deletes of one half of the records, in random order", NEEDS_LOADED,
     EFFECT_SPOILED, false, false, false, false, 0, body_delete_random},
    {"ycsb_a", "50 % get, 50 % put, zipfian", NEEDS_LOADED, EFFECT_OVERWRITTEN, true, false, true,
     false, 0, body_ycsb_a},
    {"ycsb_b", "95 % get, 5 % put, zipfian", NEEDS_LOADED, EFFECT_OVERWRITTEN, true, false, true,
     false, 0, body_ycsb_b},
    {"ycsb_c", "get, zipfian", NEEDS_LOADED, EFFECT_NONE, true, false, true, false,
     READ_SAMPLE_MASK, body_ycsb_c},
    {"ycsb_d", "95 % get of the latest, 5 % insert", NEEDS_LOADED, EFFECT_GROWN, true, false, true,
     false, 0, body_ycsb_d},
    {"ycsb_e", "95 % scan of 1 to 100 from a zipfian key, 5 % insert", NEEDS_LOADED, EFFECT_GROWN,
     true, false, true, true, 0, body_ycsb_e},
    {"ycsb_f", "50 % get, 50 % get and put, zipfian", NEEDS_LOADED, EFFECT_OVERWRITTEN, true, false,
     true, false, 0, body_ycsb_f},
    {"txn_mixed", "transactions of two reads and two read-modify-writes over two keyspaces",
     NEEDS_BOTH, EFFECT_OVERWRITTEN, true, false, false, false, 0, body_txn_mixed},
};

const struct workload workload_prepare = {
    "prepare", "", NEEDS_EMPTY, EFFECT_LOADED, false, false, false, false, 0, body_load_batch};
const struct workload workload_prepare_second = {
    "prepare_second", "", NEEDS_BOTH, EFFECT_NONE, false, false, false, false, 0, body_load_second};
const struct workload workload_warm_up = {
    "warm_up", "",    NEEDS_LOADED, EFFECT_NONE,      true,
    false,     false, false,        READ_SAMPLE_MASK, body_read_random};

const struct workload *workload_find(const char *name) {
    for (unsigned i = 0; workload_at(i) != NULL; i++) {
        if (strcmp(workload_at(i)->name, name) == 0)
            return workload_at(i);
    }
    return NULL;
}

const struct workload *workload_at(unsigned index) {
    return index < sizeof(workloads) / sizeof(workloads[0]) ? &workloads[index] : NULL;
}

void worker_read(struct worker *worker, uint64_t position, bool expected) {
    const struct record_space *records = worker->records;
    record_key_write(records, position, worker->keys);
    uint64_t start = worker_timer_start(worker);
    enum bench_result result =
        worker->driver->get(worker->session, KEYSPACE_MAIN, worker->keys, worker->values);
    worker_timer_stop(worker, start);
    worker->operations++;
    if (result == BENCH_FAILED)
        worker_fail(worker, "get failed");
    else if ((result == BENCH_OK) != expected)
        worker->wrong++;
    if (result != BENCH_OK)
        return;
    worker->read_bytes += records->key_bytes + records->value_bytes;
    if (record_value_version(records, position, worker->values) >= VERSION_LIMIT)
        worker->wrong++;
}

void worker_write(struct worker *worker, uint64_t position) {
    const struct record_space *records = worker->records;
    uint64_t version = worker_next_version(worker);
    record_key_write(records, position, worker->keys);
    record_value_write(records, position, version, worker->values);
    uint64_t start = worker_timer_start(worker);
    enum bench_result result =
        worker->driver->put(worker->session, KEYSPACE_MAIN, worker->keys, worker->values);
    worker_timer_stop(worker, start);
    worker->operations++;
    worker->logical_bytes += records->key_bytes + records->value_bytes;
    worker_note_write(worker, position, version);
    if (result != BENCH_OK)
        worker_fail(worker, "put failed");
}

void worker_scan(struct worker *worker, uint64_t rank, uint64_t limit) {
    const struct record_space *records = worker->records;
    struct scan_sink sink = {0};
    record_key_write(records, record_position(records, rank), worker->keys);
    uint64_t start = worker_timer_start(worker);
    enum bench_result result =
        worker->driver->scan(worker->session, KEYSPACE_MAIN, worker->keys, limit, &sink);
    worker_timer_stop(worker, start);
    worker->operations++;
    worker->read_bytes += sink.bytes;
    uint64_t left = records->count - rank;
    if (result != BENCH_OK)
        worker_fail(worker, "scan failed");
    else if (sink.entries < (left < limit ? left : limit) || sink.entries > limit)
        worker->wrong++;
}
