/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YCSB's core workloads. Two deviations, both stated in the README: items are scattered over the
 * key space by a bijection where YCSB hashes (so no two items share a record), and in D each thread
 * reads the latest of its own inserts (so it never asks for one that is still under way).
 */
#include "run.h"

static uint64_t zipf_position(struct worker *worker) {
    uint64_t item = worker_zipf_item(worker);
    return record_position(worker->records, record_permute(worker->records, item));
}

static bool chance(struct worker *worker, unsigned percent) {
    return rng_below(&worker->rng, 100) < percent;
}

static void mix_reads_and_writes(struct worker *worker, unsigned read_percent) {
    while (worker_goes_on(worker)) {
        uint64_t position = zipf_position(worker);
        if (chance(worker, read_percent))
            worker_read(worker, position, true);
        else
            worker_write(worker, position);
    }
}

void body_ycsb_a(struct worker *worker) {
    mix_reads_and_writes(worker, 50);
}

void body_ycsb_b(struct worker *worker) {
    mix_reads_and_writes(worker, 95);
}

void body_ycsb_c(struct worker *worker) {
    body_read_zipf(worker);
}

/* Serials of the workers are interleaved, so that each knows its own without asking. */
static uint64_t insert_position(const struct worker *worker, uint64_t nth) {
    uint64_t serial = worker->run->first_insert + nth * worker->run->threads + worker->index;
    return record_insert_position(worker->records, serial);
}

static void insert(struct worker *worker) {
    worker_write(worker, insert_position(worker, worker->inserts));
    if (!worker->failed)
        worker->inserts++;
}

void body_ycsb_d(struct worker *worker) {
    const struct record_space *records = worker->records;
    while (worker_goes_on(worker)) {
        if (!chance(worker, 95)) {
            insert(worker);
            continue;
        }
        uint64_t age = worker_zipf_item(worker);
        uint64_t position = 0;
        if (age < worker->inserts) {
            position = insert_position(worker, worker->inserts - 1 - age);
        } else {
            uint64_t back = age - worker->inserts;
            position = record_position(records, record_permute(records, records->count - 1 - back));
        }
        worker_read(worker, position, true);
    }
}

void body_ycsb_e(struct worker *worker) {
    const struct record_space *records = worker->records;
    while (worker_goes_on(worker)) {
        if (!chance(worker, 95)) {
            insert(worker);
            continue;
        }
        uint64_t item = worker_zipf_item(worker);
        worker_scan(worker, record_permute(records, item), 1 + rng_below(&worker->rng, 100));
    }
}

/* A read-modify-write counts as one operation and is timed as one. */
static void read_modify_write(struct worker *worker, uint64_t position) {
    uint64_t start = worker_timer_start(worker);
    uint64_t mask = worker->sample_mask;
    worker->sample_mask = UINT64_MAX;
    worker_read(worker, position, true);
    if (!worker->failed)
        worker_write(worker, position);
    worker->sample_mask = mask;
    worker->operations--;
    worker_timer_stop(worker, start);
}

void body_ycsb_f(struct worker *worker) {
    while (worker_goes_on(worker)) {
        uint64_t position = zipf_position(worker);
        if (chance(worker, 50))
            worker_read(worker, position, true);
        else
            read_modify_write(worker, position);
    }
}
