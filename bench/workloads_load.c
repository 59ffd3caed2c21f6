/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <stdlib.h>

void body_load_sequential(struct worker *worker) {
    uint64_t begin = 0;
    uint64_t end = 0;
    worker_share(worker, worker->records->count, &begin, &end);
    for (uint64_t rank = begin; rank < end && !worker->failed; rank++)
        worker_write(worker, record_position(worker->records, rank));
}

void body_load_random(struct worker *worker) {
    uint64_t begin = 0;
    uint64_t end = 0;
    worker_share(worker, worker->records->count, &begin, &end);
    for (uint64_t i = begin; i < end && !worker->failed; i++)
        worker_write(worker, record_position(worker->records, record_permute(worker->records, i)));
}

static void write_batch(struct worker *worker, enum keyspace keyspace, const uint64_t *positions,
                        size_t count) {
    const struct record_space *records = worker->records;
    for (size_t i = 0; i < count; i++) {
        uint64_t version = worker_next_version(worker);
        record_key_write(records, positions[i], worker->keys + i * records->key_bytes);
        record_value_write(records, positions[i], version,
                           worker->values + i * records->value_bytes);
        worker_note_write(worker, positions[i], version);
    }
    uint64_t start = worker_timer_start(worker);
    enum bench_result result =
        worker->driver->put_batch(worker->session, keyspace, worker->keys, worker->values, count);
    worker_timer_stop(worker, start);
    worker->operations += count;
    worker->logical_bytes += count * (records->key_bytes + records->value_bytes);
    if (result != BENCH_OK)
        worker_fail(worker, "a batch failed");
}

/* All records whose rank is a multiple of `share`, in random order. */
static void load_batches(struct worker *worker, enum keyspace keyspace, uint64_t share) {
    uint64_t begin = 0;
    uint64_t end = 0;
    size_t batch = (size_t)worker->run->options->batch;
    size_t pending = 0;
    uint64_t *positions = malloc(batch * sizeof(*positions));
    if (positions == NULL) {
        worker_fail(worker, "out of memory");
        return;
    }
    worker_share(worker, worker->records->count, &begin, &end);
    for (uint64_t i = begin; i < end && !worker->failed; i++) {
        uint64_t rank = record_permute(worker->records, i);
        if (rank % share != 0)
            continue;
        positions[pending++] = record_position(worker->records, rank);
        if (pending == batch) {
            write_batch(worker, keyspace, positions, pending);
            pending = 0;
        }
    }
    if (pending > 0 && !worker->failed)
        write_batch(worker, keyspace, positions, pending);
    free(positions);
}

void body_load_batch(struct worker *worker) {
    load_batches(worker, KEYSPACE_MAIN, 1);
}

void body_load_second(struct worker *worker) {
    load_batches(worker, KEYSPACE_SECOND, SECOND_SHARE);
}
