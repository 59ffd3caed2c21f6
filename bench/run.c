/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define STOP_POLL_NS 5000000

struct run_threads {
    struct run *run;
    struct worker *workers;
    pthread_barrier_t start;
    atomic_uint running;
};

struct thread_argument {
    struct run_threads *threads;
    struct worker *worker;
};

void worker_share(const struct worker *worker, uint64_t count, uint64_t *out_begin,
                  uint64_t *out_end) {
    uint64_t threads = worker->run->threads;
    *out_begin = count / threads * worker->index;
    *out_end = worker->index + 1 == threads ? count : count / threads * (worker->index + 1);
}

void worker_fail(struct worker *worker, const char *format, ...) {
    worker->failed = true;
    if (worker->error.text[0] != '\0')
        return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(worker->error.text, sizeof(worker->error.text), format, arguments);
    va_end(arguments);
}

static size_t room_of(const struct compare_options *options) {
    size_t most = options->batch > options->multi ? options->batch : options->multi;
    return most > 2 * KEYSPACE_COUNT ? most : 2 * KEYSPACE_COUNT;
}

static bool worker_allocate(struct worker *worker, bool wants_timeline) {
    const struct record_space *records = worker->records;
    size_t room = room_of(worker->run->options);
    worker->keys = malloc(room * records->key_bytes);
    worker->values = malloc(room * records->value_bytes);
    worker->key_pointers = malloc(room * sizeof(*worker->key_pointers));
    worker->found = calloc(room, sizeof(*worker->found));
    worker->histogram = calloc(1, sizeof(*worker->histogram));
    if (worker->keys == NULL || worker->values == NULL || worker->key_pointers == NULL ||
        worker->found == NULL || worker->histogram == NULL)
        return false;
    if (wants_timeline) {
        worker->timeline = malloc(sizeof(*worker->timeline));
        if (worker->timeline == NULL)
            return false;
    }
    if (worker->run->workload->skewed) {
        double draws = worker->run->seconds * ZIPF_DRAWS_PER_SECOND + 1.0;
        worker->zipf_draw_count = draws < ZIPF_DRAWS_MAX ? (uint32_t)draws : ZIPF_DRAWS_MAX;
        worker->zipf_draws = malloc(worker->zipf_draw_count * sizeof(*worker->zipf_draws));
        if (worker->zipf_draws == NULL)
            return false;
    }
    /* Touched now, so that no page fault is charged to the first operations. */
    memset(worker->keys, 0, room * records->key_bytes);
    memset(worker->values, 0, room * records->value_bytes);
    for (size_t i = 0; i < room; i++)
        worker->key_pointers[i] = worker->keys + i * records->key_bytes;
    return true;
}

static void worker_release(struct worker *worker) {
    free(worker->keys);
    free(worker->values);
    free(worker->key_pointers);
    free(worker->found);
    free(worker->histogram);
    free(worker->timeline);
    free(worker->zipf_draws);
}

static uint64_t slot_ticks(const struct run *run) {
    return (uint64_t)((double)run->options->timeline_ms * 1e6 / run->clock->ns_per_tick);
}

static void *worker_main(void *context) {
    struct thread_argument *argument = context;
    struct run_threads *threads = argument->threads;
    struct worker *worker = argument->worker;
    struct run *run = threads->run;
    for (uint32_t i = 0; i < worker->zipf_draw_count; i++)
        worker->zipf_draws[i] = (uint32_t)zipf_next(run->zipf, &worker->rng);
    if (worker->driver->session_open(run->store, &worker->error, &worker->session) != BENCH_OK)
        worker_fail(worker, "cannot open a session");
    pthread_barrier_wait(&threads->start);
    if (worker->timeline != NULL)
        timeline_init(worker->timeline, clock_ticks(run->clock), slot_ticks(run));
    worker->start_ticks = clock_ticks(run->clock);
    if (!worker->failed)
        run->workload->body(worker);
    worker->end_ticks = clock_ticks(run->clock);
    atomic_fetch_sub(&threads->running, 1);
    if (worker->session != NULL)
        worker->driver->session_close(worker->session);
    return NULL;
}

static void wait_and_stop(struct run_threads *threads) {
    struct run *run = threads->run;
    if (!run->workload->time_bounded)
        return;
    uint64_t end_ns = clock_monotonic_ns() + (uint64_t)(run->seconds * 1e9);
    while (atomic_load(&threads->running) > 0) {
        uint64_t now_ns = clock_monotonic_ns();
        if (now_ns >= end_ns)
            break;
        uint64_t left_ns = end_ns - now_ns;
        struct timespec pause = {0, left_ns < STOP_POLL_NS ? (long)left_ns : STOP_POLL_NS};
        nanosleep(&pause, NULL);
    }
    atomic_store(&run->stop, true);
}

static void set_percentiles(const struct bench_clock *clock, const struct histogram *histogram,
                            struct run_result *result) {
    double us = clock->ns_per_tick / 1000.0;
    result->samples = histogram->total;
    result->p50_us = histogram_quantile(histogram, 0.5) * us;
    result->p95_us = histogram_quantile(histogram, 0.95) * us;
    result->p99_us = histogram_quantile(histogram, 0.99) * us;
    result->p999_us = histogram_quantile(histogram, 0.999) * us;
    result->max_us = (double)histogram->max * us;
}

static void collect(struct run_threads *threads, struct run_result *result) {
    struct run *run = threads->run;
    uint64_t first = UINT64_MAX;
    uint64_t last = 0;
    uint64_t most_inserts = 0;
    for (unsigned i = 0; i < run->threads; i++) {
        struct worker *worker = &threads->workers[i];
        first = worker->start_ticks < first ? worker->start_ticks : first;
        last = worker->end_ticks > last ? worker->end_ticks : last;
        most_inserts = worker->inserts > most_inserts ? worker->inserts : most_inserts;
        result->operations += worker->operations;
        result->read_bytes += worker->read_bytes;
        result->logical_bytes += worker->logical_bytes;
        result->inserts += worker->inserts;
        result->conflicts += worker->conflicts;
        if (worker->wrong > 0)
            worker_fail(worker, "%llu wrong answers", (unsigned long long)worker->wrong);
        if (worker->failed && !result->failed) {
            result->failed = true;
            snprintf(result->error, sizeof(result->error), "%s", worker->error.text);
        }
        uint64_t notes = worker->write_count < LAST_WRITES ? worker->write_count : LAST_WRITES;
        for (uint64_t n = 0; result->notes != NULL && n < notes; n++)
            result->notes[result->note_count++] = worker->notes[n];
        if (i > 0)
            histogram_merge(threads->workers[0].histogram, worker->histogram);
        if (i == 0 && worker->timeline != NULL)
            *result->timeline = *worker->timeline;
        else if (worker->timeline != NULL)
            timeline_merge(result->timeline, worker->timeline);
    }
    result->inserts_span = most_inserts * run->threads;
    result->seconds = clock_seconds(run->clock, last - first);
    set_percentiles(run->clock, threads->workers[0].histogram, result);
}

static bool prepare_workers(struct run_threads *threads, bool wants_timeline) {
    struct run *run = threads->run;
    size_t bytes = run->threads * sizeof(*threads->workers);
    threads->workers = aligned_alloc(WORKER_ALIGNMENT_BYTES, bytes);
    if (threads->workers == NULL)
        return false;
    memset(threads->workers, 0, bytes);
    for (unsigned i = 0; i < run->threads; i++) {
        struct worker *worker = &threads->workers[i];
        worker->run = run;
        worker->driver = run->driver;
        worker->records = run->records;
        worker->index = i;
        worker->sample_mask = run->workload->sample_mask;
        /* A warm-up that asked for the same keys would leave those in a small cache that come
         * first. */
        uint64_t stream = i + 1 + (run->workload == &workload_warm_up ? THREADS_MAX : 0);
        rng_seed(&worker->rng, run->options->seed, stream);
        if (!worker_allocate(worker, wants_timeline))
            return false;
    }
    return true;
}

static void start_and_join(struct run_threads *threads) {
    struct run *run = threads->run;
    pthread_t ids[THREADS_MAX];
    struct thread_argument arguments[THREADS_MAX];
    pthread_barrier_init(&threads->start, NULL, run->threads + 1);
    atomic_init(&threads->running, run->threads);
    atomic_store(&run->stop, false);
    for (unsigned i = 0; i < run->threads; i++) {
        arguments[i] = (struct thread_argument){threads, &threads->workers[i]};
        if (pthread_create(&ids[i], NULL, worker_main, &arguments[i]) != 0) {
            /* Others already wait at the barrier for one who will never come. */
            perror("compare: pthread_create");
            exit(1);
        }
    }
    pthread_barrier_wait(&threads->start);
    wait_and_stop(threads);
    for (unsigned i = 0; i < run->threads; i++)
        pthread_join(ids[i], NULL);
    pthread_barrier_destroy(&threads->start);
}

void run_workload(struct run *run, struct run_result *out_result) {
    struct run_threads threads = {.run = run};
    struct run_result result = {.notes = out_result->notes, .timeline = out_result->timeline};
    bool wants_timeline = result.timeline != NULL && run->options->timeline_ms > 0;
    if (prepare_workers(&threads, wants_timeline)) {
        start_and_join(&threads);
        collect(&threads, &result);
    } else {
        result.failed = true;
        snprintf(result.error, sizeof(result.error), "out of memory");
    }
    for (unsigned i = 0; threads.workers != NULL && i < run->threads; i++)
        worker_release(&threads.workers[i]);
    free(threads.workers);
    *out_result = result;
}
