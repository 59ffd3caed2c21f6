/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of one workload on one open store: threads, start barrier, stop signal, latencies.
 *
 * The main thread opens the store, every worker its own session before the barrier; counters and
 * histogram of a worker are read only after it has been joined.
 */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "clock.h"
#include "driver.h"
#include "histogram.h"
#include "options.h"
#include "timeline.h"
#include "zipf.h"

#include <stdalign.h>
#include <stdatomic.h>

/* Last writes of a worker, read back after the store has been opened again. */
#define LAST_WRITES 256U
/* A read alone takes less than a microsecond: one in 8 is timed, for every system alike. */
#define READ_SAMPLE_MASK 7U
/*
 * Zipfian items are drawn before the clock starts: one takes as long as a fast store takes to read
 * it. A worker that uses up its draws begins again at the first.
 */
#define ZIPF_DRAWS_MAX        (1U << 22)
#define ZIPF_DRAWS_PER_SECOND (1U << 20)
/* The second keyspace holds every tenth rank. */
#define SECOND_SHARE 10U

struct write_note {
    uint64_t position;
    uint64_t version; /* VERSION_LIMIT: deleted */
};

struct run;

/* Workers stand side by side in memory: each begins a cache line of its own, and the line the
   processor fetches along with it, for a count that one of them raises at every operation must
   not take away from its neighbour what that reads at every operation. */
enum { WORKER_ALIGNMENT_BYTES = 128 };

struct worker {
    alignas(WORKER_ALIGNMENT_BYTES) const struct run *run;
    const struct driver *driver;
    const struct record_space *records;
    struct bench_session *session;
    struct rng rng;
    unsigned index;
    uint64_t sample_mask;
    uint64_t started;    /* operations begun, for sampling */
    uint64_t operations; /* as ops_per_s counts them */
    uint64_t read_bytes;
    uint64_t logical_bytes;
    uint64_t inserts;
    uint64_t conflicts;
    uint64_t wrong;
    uint64_t write_count;
    uint64_t start_ticks;
    uint64_t end_ticks;
    bool failed;
    struct bench_error error;
    struct histogram *histogram; /* of ticks */
    struct timeline *timeline;   /* NULL: not asked for */
    struct write_note notes[LAST_WRITES];
    uint8_t *keys; /* KEY_ROOM keys and as many values */
    uint8_t *values;
    const uint8_t **key_pointers;
    bool *found;
    uint32_t *zipf_draws; /* NULL where the workload is not skewed */
    uint32_t zipf_draw_count;
    uint32_t zipf_next_draw;
};

struct workload;

struct run {
    const struct compare_options *options;
    const struct workload *workload;
    const struct driver *driver;
    const struct record_space *records;
    const struct zipf *zipf;
    const struct bench_clock *clock;
    struct bench_store *store;
    unsigned threads;
    double seconds;        /* for workloads bounded by time */
    uint64_t first_insert; /* serial of the first record that may be inserted */
    atomic_bool stop;
};

enum workload_need { NEEDS_EMPTY, NEEDS_LOADED, NEEDS_BOTH };
enum workload_effect {
    EFFECT_NONE,
    EFFECT_LOADED, /* all records are there now, in random order of arrival */
    EFFECT_SORTED, /* all records are there, but arrived in key order */
    EFFECT_OVERWRITTEN,
    EFFECT_GROWN,
    EFFECT_SPOILED,
};

struct workload {
    const char *name;
    const char *text;
    enum workload_need need;
    enum workload_effect effect;
    bool time_bounded;
    bool durable; /* forces DURABILITY_FULL */
    bool skewed;  /* takes zipfian items from worker_zipf_item */
    bool ordered; /* scans from a key on: left out where the driver has no order */
    uint64_t sample_mask;
    void (*body)(struct worker *worker);
};

struct run_result {
    bool failed;
    char error[512];
    double seconds;
    uint64_t operations;
    uint64_t read_bytes;
    uint64_t logical_bytes;
    uint64_t inserts;      /* of all workers */
    uint64_t inserts_span; /* serials used up: the most of any worker, times the workers */
    uint64_t conflicts;
    uint64_t samples;
    double p50_us;
    double p95_us;
    double p99_us;
    double p999_us;
    double max_us;
    unsigned note_count;
    struct write_note *notes;  /* room for LAST_WRITES a thread; may be NULL */
    struct timeline *timeline; /* filled when options->timeline_ms > 0; may be NULL */
};

/* Runs the workload to its end. `notes` and `timeline` must be set (or NULL) before. */
void run_workload(struct run *run, struct run_result *out_result);

static inline bool worker_goes_on(const struct worker *worker) {
    return !atomic_load_explicit(&worker->run->stop, memory_order_relaxed) && !worker->failed;
}

/* Where every call is timed, what one leaves behind is in the time of the next; one of many is
 * timed alone. */
static inline uint64_t worker_ticks(const struct worker *worker) {
    const struct bench_clock *clock = worker->run->clock;
    return worker->sample_mask == 0 ? clock_ticks(clock) : clock_ticks_alone(clock);
}

static inline uint64_t worker_timer_start(struct worker *worker) {
    if ((worker->started++ & worker->sample_mask) != 0)
        return 0;
    return worker_ticks(worker);
}

static inline void worker_timer_stop(struct worker *worker, uint64_t start) {
    if (start == 0)
        return;
    uint64_t end = worker_ticks(worker);
    histogram_add(worker->histogram, end - start);
    if (__builtin_expect(worker->timeline != NULL, 0))
        timeline_add(worker->timeline, end, end - start);
}

static inline void worker_note_write(struct worker *worker, uint64_t position, uint64_t version) {
    struct write_note *note = &worker->notes[worker->write_count++ % LAST_WRITES];
    note->position = position;
    note->version = version;
}

/* Versions are unique: the writer, then a counter. */
static inline uint64_t worker_next_version(const struct worker *worker) {
    return ((uint64_t)(worker->index + 1) << 40) | (worker->write_count + 1);
}

static inline uint64_t worker_zipf_item(struct worker *worker) {
    uint32_t draw = worker->zipf_next_draw;
    worker->zipf_next_draw = draw + 1 < worker->zipf_draw_count ? draw + 1 : 0;
    return worker->zipf_draws[draw];
}

/* The part of `count` things that falls to this worker. */
void worker_share(const struct worker *worker, uint64_t count, uint64_t *out_begin,
                  uint64_t *out_end);

/* Records a failure of the driver, or of what it returned. */
void worker_fail(struct worker *worker, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Operations shared by several workloads; each is timed and counts as one. */
void worker_read(struct worker *worker, uint64_t position, bool expected);
void worker_write(struct worker *worker, uint64_t position);
void worker_scan(struct worker *worker, uint64_t rank, uint64_t limit);

const struct workload *workload_find(const char *name);
const struct workload *workload_at(unsigned index); /* NULL past the end */

/* Not on the list: the untimed load of a data set, and its second keyspace. */
extern const struct workload workload_prepare;
extern const struct workload workload_prepare_second;
extern const struct workload workload_warm_up;

/* Bodies, by file. */
void body_load_sequential(struct worker *worker);
void body_load_random(struct worker *worker);
void body_load_batch(struct worker *worker);
void body_load_second(struct worker *worker);
void body_read_random(struct worker *worker);
void body_read_zipf(struct worker *worker);
void body_read_missing(struct worker *worker);
void body_multi_get(struct worker *worker);
void body_scan_full(struct worker *worker);
void body_scan_100(struct worker *worker);
void body_overwrite_random(struct worker *worker);
void body_delete_random(struct worker *worker);
void body_ycsb_a(struct worker *worker);
void body_ycsb_b(struct worker *worker);
void body_ycsb_c(struct worker *worker);
void body_ycsb_d(struct worker *worker);
void body_ycsb_e(struct worker *worker);
void body_ycsb_f(struct worker *worker);
void body_txn_mixed(struct worker *worker);

#endif
