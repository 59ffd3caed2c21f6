/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

void body_read_random(struct worker *worker) {
    const struct record_space *records = worker->records;
    while (worker_goes_on(worker))
        worker_read(worker, record_position(records, rng_below(&worker->rng, records->count)),
                    true);
}

void body_read_zipf(struct worker *worker) {
    const struct record_space *records = worker->records;
    while (worker_goes_on(worker)) {
        uint64_t item = worker_zipf_item(worker);
        worker_read(worker, record_position(records, record_permute(records, item)), true);
    }
}

void body_read_missing(struct worker *worker) {
    const struct record_space *records = worker->records;
    while (worker_goes_on(worker)) {
        uint64_t rank = rng_below(&worker->rng, records->count);
        worker_read(worker, record_missing_position(records, rank), false);
    }
}

static void check_multi_get(struct worker *worker, const struct multi_get *request) {
    const struct record_space *records = worker->records;
    for (size_t i = 0; i < request->count; i++) {
        const uint8_t *key = request->keys + i * records->key_bytes;
        const uint8_t *value = request->values + i * records->value_bytes;
        uint64_t position = record_key_position(records, key);
        if (!request->found[i] || record_value_version(records, position, value) >= VERSION_LIMIT)
            worker->wrong++;
    }
}

void body_multi_get(struct worker *worker) {
    const struct record_space *records = worker->records;
    struct multi_get request = {
        .count = (size_t)worker->run->options->multi,
        .keys = worker->keys,
        .key_pointers = worker->key_pointers,
        .values = worker->values,
        .found = worker->found,
    };
    while (worker_goes_on(worker)) {
        for (size_t i = 0; i < request.count; i++) {
            uint64_t rank = rng_below(&worker->rng, records->count);
            record_key_write(records, record_position(records, rank),
                             worker->keys + i * records->key_bytes);
        }
        uint64_t start = worker_timer_start(worker);
        enum bench_result result = worker->driver->multi_get(worker->session, &request);
        worker_timer_stop(worker, start);
        worker->operations += request.count;
        worker->read_bytes += request.count * (records->key_bytes + records->value_bytes);
        if (result != BENCH_OK)
            worker_fail(worker, "multi-get failed");
        else
            check_multi_get(worker, &request);
    }
}

/* Whole passes only: a pass that has begun is ended, however late. */
void body_scan_full(struct worker *worker) {
    do {
        struct scan_sink sink = {0};
        uint64_t start = worker_timer_start(worker);
        enum bench_result result =
            worker->driver->scan(worker->session, KEYSPACE_MAIN, NULL, UINT64_MAX, &sink);
        worker_timer_stop(worker, start);
        worker->operations += sink.entries;
        worker->read_bytes += sink.bytes;
        if (result != BENCH_OK)
            worker_fail(worker, "scan failed");
        else if (sink.entries < worker->records->count)
            worker_fail(worker, "a scan saw %llu of %llu records", (unsigned long long)sink.entries,
                        (unsigned long long)worker->records->count);
    } while (worker_goes_on(worker));
}

void body_scan_100(struct worker *worker) {
    while (worker_goes_on(worker))
        worker_scan(worker, rng_below(&worker->rng, worker->records->count), 100);
}
