/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

void body_overwrite_random(struct worker *worker) {
    const struct record_space *records = worker->records;
    while (worker_goes_on(worker))
        worker_write(worker, record_position(records, rng_below(&worker->rng, records->count)));
}

/* The first half of the order in which the records were loaded. */
void body_delete_random(struct worker *worker) {
    const struct record_space *records = worker->records;
    uint64_t begin = 0;
    uint64_t end = 0;
    worker_share(worker, records->count / 2, &begin, &end);
    for (uint64_t i = begin; i < end && !worker->failed; i++) {
        uint64_t position = record_position(records, record_permute(records, i));
        record_key_write(records, position, worker->keys);
        uint64_t start = worker_timer_start(worker);
        enum bench_result result =
            worker->driver->remove(worker->session, KEYSPACE_MAIN, worker->keys);
        worker_timer_stop(worker, start);
        worker->operations++;
        worker->logical_bytes += records->key_bytes;
        worker_note_write(worker, position, VERSION_LIMIT);
        if (result == BENCH_FAILED)
            worker_fail(worker, "delete failed");
        else if (result != BENCH_OK)
            worker->wrong++;
    }
}
