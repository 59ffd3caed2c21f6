/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a phase:
 *
 *   open | read everything and check it | warm up | -- measured: run, checkpoint, wait, sync -- |
 *   close | open again | read everything and check it | close
 *
 * The first check is also what fills the caches. Empty stores skip it; workloads that write
 * nothing skip the second one. A load that is only preparation is checked by who comes next.
 * What keeps nothing is loaded after each open, and not opened again.
 */
#include "phases.h"

#include "control_group.h"
#include "measure.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Single reads of a check; fewer of large values. */
#define SAMPLES       500U
#define SAMPLES_ALONE 5000U /* where nothing else is read */
#define SAMPLE_BYTES  ((uint64_t)64 << 20)

struct phase_context {
    const struct phase *phase;
    struct outcome *outcome;
    struct driver_options driver_options;
    struct bench_store *store;
    struct bench_error error;
    uint64_t versions[KEYSPACE_COUNT]; /* sums before the run, for txn_mixed */
};

/* Syncs the log every INTERVAL_MS for drivers that have no such mode of their own. */
struct interval_syncer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool running;
    bool stopping;
    const struct driver *driver;
    struct bench_store *store;
    struct bench_error error;
};

static void *interval_main(void *context) {
    struct interval_syncer *syncer = context;
    pthread_mutex_lock(&syncer->lock);
    while (!syncer->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += INTERVAL_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&syncer->wake, &syncer->lock, &until);
        if (!syncer->stopping)
            syncer->driver->sync_log(syncer->store, &syncer->error);
    }
    pthread_mutex_unlock(&syncer->lock);
    return NULL;
}

static void interval_start(struct interval_syncer *syncer, struct phase_context *context) {
    *syncer = (struct interval_syncer){.driver = context->phase->driver, .store = context->store};
    if (context->driver_options.durability != DURABILITY_INTERVAL ||
        (syncer->driver->abilities & DRIVER_NATIVE_INTERVAL) != 0 ||
        syncer->driver->sync_log == NULL)
        return;
    pthread_mutex_init(&syncer->lock, NULL);
    pthread_cond_init(&syncer->wake, NULL);
    syncer->running = pthread_create(&syncer->thread, NULL, interval_main, syncer) == 0;
}

static void interval_stop(struct interval_syncer *syncer) {
    if (!syncer->running)
        return;
    pthread_mutex_lock(&syncer->lock);
    syncer->stopping = true;
    pthread_cond_signal(&syncer->wake);
    pthread_mutex_unlock(&syncer->lock);
    pthread_join(syncer->thread, NULL);
    pthread_cond_destroy(&syncer->wake);
    pthread_mutex_destroy(&syncer->lock);
}

static bool fails(struct phase_context *context, const char *stage, const char *text) {
    context->outcome->ok = false;
    snprintf(context->outcome->error, sizeof(context->outcome->error), "%s: %s", stage,
             text[0] != '\0' ? text : "failed");
    return false;
}

static bool open_store(struct phase_context *context) {
    const struct driver *driver = context->phase->driver;
    if (driver->open(&context->driver_options, &context->error, &context->store) == BENCH_OK)
        return true;
    context->store = NULL;
    return fails(context, "open", context->error.text);
}

static bool close_store(struct phase_context *context) {
    if (context->store == NULL)
        return true;
    struct bench_store *store = context->store;
    context->store = NULL;
    if (context->phase->driver->close(store, &context->error) == BENCH_OK)
        return true;
    return fails(context, "close", context->error.text);
}

/* Reads a whole keyspace, checks each entry, their order and their number. */
static bool check_keyspace(struct phase_context *context, struct bench_session *session,
                           enum keyspace keyspace, uint64_t expected, uint64_t *out_versions) {
    const struct phase *phase = context->phase;
    struct scan_sink sink = {.records = phase->records,
                             .ordered = (phase->driver->abilities & DRIVER_ORDERED) != 0};
    if (phase->driver->scan(session, keyspace, NULL, UINT64_MAX, &sink) != BENCH_OK)
        return fails(context, "verify", context->error.text);
    char text[200];
    if (sink.wrong > 0) {
        snprintf(text, sizeof(text), "%llu of %llu entries are wrong or out of order",
                 (unsigned long long)sink.wrong, (unsigned long long)sink.entries);
        return fails(context, "verify", text);
    }
    if (sink.entries != expected) {
        snprintf(text, sizeof(text), "%llu entries where %llu were written",
                 (unsigned long long)sink.entries, (unsigned long long)expected);
        return fails(context, "verify", text);
    }
    *out_versions = sink.version_sum;
    return true;
}

static bool check_note(struct phase_context *context, struct bench_session *session,
                       const struct write_note *note, uint8_t *key, uint8_t *value) {
    const struct phase *phase = context->phase;
    const struct record_space *records = phase->records;
    record_key_write(records, note->position, key);
    enum bench_result result = phase->driver->get(session, KEYSPACE_MAIN, key, value);
    if (result == BENCH_FAILED)
        return fails(context, "verify", context->error.text);
    bool deleted = note->version >= VERSION_LIMIT;
    if ((result == BENCH_NOT_FOUND) != deleted)
        return fails(context, "verify",
                     deleted ? "a deleted record is still there" : "a written record is missing");
    if (deleted)
        return true;
    if (!record_value_is_right(records, note->position, value, records->value_bytes))
        return fails(context, "verify", "a value is not what was written");
    uint64_t version = record_value_version(records, note->position, value);
    /* Another thread may have written later; this one may have too, but never earlier. */
    if (version >> 40 == note->version >> 40 && version < note->version)
        return fails(context, "verify", "a write was lost: an older version is there");
    return true;
}

/* Some random records must be there, and their neighbours that never were must not. */
static bool check_samples(struct phase_context *context, struct bench_session *session,
                          uint8_t *key, uint8_t *value) {
    const struct phase *phase = context->phase;
    const struct record_space *records = phase->records;
    struct rng rng;
    rng_seed(&rng, phase->options->seed, 0x5a17);
    uint64_t most = SAMPLE_BYTES / records->value_bytes;
    uint64_t wanted = phase->options->check == CHECK_ALL ? SAMPLES : SAMPLES_ALONE;
    for (uint64_t i = 0; i < wanted && i <= most; i++) {
        uint64_t rank = rng_below(&rng, records->count);
        const uint64_t positions[] = {record_position(records, rank),
                                      record_missing_position(records, rank)};
        for (int missing = 0; missing < 2; missing++) {
            record_key_write(records, positions[missing], key);
            enum bench_result result = phase->driver->get(session, KEYSPACE_MAIN, key, value);
            if (result == BENCH_FAILED)
                return fails(context, "verify", context->error.text);
            if ((result == BENCH_NOT_FOUND) != (missing == 1))
                return fails(context, "verify",
                             missing == 1 ? "a key that was never written is found"
                                          : "a record is missing");
            if (missing == 0 &&
                !record_value_is_right(records, positions[0], value, records->value_bytes))
                return fails(context, "verify", "a value is not what was written");
        }
    }
    return true;
}

struct expectation {
    uint64_t main_entries;
    uint64_t second_entries;
    bool has_second;
    bool has_all_base;
    unsigned note_count;
    const struct write_note *notes;
};

static bool check_store(struct phase_context *context, const struct expectation *expectation,
                        uint64_t *out_versions) {
    const struct phase *phase = context->phase;
    struct bench_session *session = NULL;
    uint8_t *key = malloc(phase->records->key_bytes);
    uint8_t *value = malloc(phase->records->value_bytes);
    bool good = false;
    if (key == NULL || value == NULL) {
        fails(context, "verify", "out of memory");
        goto done;
    }
    if (phase->driver->session_open(context->store, &context->error, &session) != BENCH_OK) {
        fails(context, "verify", context->error.text);
        goto done;
    }
    /* The sums that transactions are checked with are of everything. */
    if (phase->options->check == CHECK_ALL || expectation->has_second)
        good = check_keyspace(context, session, KEYSPACE_MAIN, expectation->main_entries,
                              &out_versions[KEYSPACE_MAIN]);
    else
        good = true;
    if (good && expectation->has_second)
        good = check_keyspace(context, session, KEYSPACE_SECOND, expectation->second_entries,
                              &out_versions[KEYSPACE_SECOND]);
    if (good && expectation->has_all_base)
        good = check_samples(context, session, key, value);
    for (unsigned i = 0; good && i < expectation->note_count; i++)
        good = check_note(context, session, &expectation->notes[i], key, value);
done:
    if (session != NULL)
        phase->driver->session_close(session);
    free(key);
    free(value);
    return good;
}

static uint64_t second_count(const struct phase *phase) {
    return (phase->records->count + SECOND_SHARE - 1) / SECOND_SHARE;
}

static void prepare_run(const struct phase_context *context, const struct workload *workload,
                        struct run *out_run) {
    const struct phase *phase = context->phase;
    memset(out_run, 0, sizeof(*out_run));
    out_run->options = phase->options;
    out_run->workload = workload;
    out_run->driver = phase->driver;
    out_run->records = phase->records;
    out_run->zipf = phase->zipf;
    out_run->clock = phase->clock;
    out_run->store = context->store;
    out_run->threads = context->driver_options.threads;
    out_run->seconds = phase->options->seconds;
    out_run->first_insert = phase->state.next_insert;
}

static bool warm_up(struct phase_context *context) {
    const struct phase *phase = context->phase;
    if (phase->options->warmup_seconds <= 0.0)
        return true;
    struct run run;
    struct run_result result = {0};
    prepare_run(context, &workload_warm_up, &run);
    run.seconds = phase->options->warmup_seconds;
    run_workload(&run, &result);
    return !result.failed || fails(context, "warm up", result.error);
}

static bool settle(struct phase_context *context) {
    const struct phase *phase = context->phase;
    const struct driver *driver = phase->driver;
    uint64_t start_ns = clock_monotonic_ns();
    enum bench_result result = BENCH_OK;
    if (driver->checkpoint != NULL)
        result = driver->checkpoint(context->store, &context->error);
    if (result == BENCH_OK && driver->wait_idle != NULL)
        result = driver->wait_idle(context->store, &context->error);
    if (result != BENCH_OK)
        return fails(context, "checkpoint", context->error.text);
    if (!sync_file_system(phase->directory))
        return fails(context, "checkpoint", "syncfs failed");
    context->outcome->settle_seconds = (double)(clock_monotonic_ns() - start_ns) * 1e-9;
    return true;
}

/* All zero where the driver tells nothing. */
static bool read_counters(struct phase_context *context, struct engine_counters *out_counters) {
    const struct driver *driver = context->phase->driver;
    memset(out_counters, 0, sizeof(*out_counters));
    context->outcome->has_engine_counters = driver->counters != NULL;
    if (driver->counters == NULL ||
        driver->counters(context->store, &context->error, out_counters) == BENCH_OK)
        return true;
    return fails(context, "counters", context->error.text);
}

static void count_from(const struct engine_counters *before, struct engine_counters *counters) {
    counters->reads -= before->reads;
    counters->read_bytes -= before->read_bytes;
    counters->written_bytes -= before->written_bytes;
    counters->compactions -= before->compactions;
    counters->pauses -= before->pauses;
    counters->pause_ns -= before->pause_ns;
}

static void count_io(const struct io_counters *before, const struct io_counters *after,
                     struct outcome *outcome) {
    outcome->written_process_bytes = after->process_written_bytes - before->process_written_bytes;
    outcome->fetched_process_bytes = after->process_read_bytes - before->process_read_bytes;
    outcome->written_is_device = after->has_device && before->has_device;
    outcome->written_bytes = outcome->written_process_bytes;
    outcome->fetched_bytes = outcome->fetched_process_bytes;
    if (outcome->written_is_device) {
        outcome->written_bytes = after->device_written_bytes - before->device_written_bytes;
        outcome->fetched_bytes = after->device_read_bytes - before->device_read_bytes;
    }
}

/* In the main keyspace. */
static uint64_t main_entries_after(const struct phase *phase, const struct run_result *run) {
    uint64_t entries = phase->records->count + phase->state.inserted + run->inserts;
    return phase->workload->effect == EFFECT_SPOILED ? entries - run->operations : entries;
}

static uint64_t entries_after(const struct phase *phase, const struct run_result *run) {
    bool has_second = phase->workload->need == NEEDS_BOTH || phase->state.second_loaded;
    return main_entries_after(phase, run) + (has_second ? second_count(phase) : 0);
}

static bool run_measured(struct phase_context *context) {
    const struct phase *phase = context->phase;
    struct outcome *outcome = context->outcome;
    struct io_counters before;
    struct io_counters after;
    struct engine_counters engine_before;
    struct memory_use memory;
    struct interval_syncer syncer;
    struct run run;
    prepare_run(context, phase->workload, &run);
    sync_file_system(phase->directory);
    if (!read_counters(context, &engine_before))
        return false;
    measure_io(phase->directory, &before);
    interval_start(&syncer, context);
    run_workload(&run, &outcome->run);
    interval_stop(&syncer);
    if (outcome->run.failed)
        return fails(context, phase->workload->name, outcome->run.error);
    if (syncer.error.text[0] != '\0')
        return fails(context, "interval sync", syncer.error.text);
    if (!settle(context))
        return false;
    measure_io(phase->directory, &after);
    measure_memory(&memory);
    if (!read_counters(context, &outcome->engine))
        return false;
    count_from(&engine_before, &outcome->engine);
    count_io(&before, &after, outcome);
    outcome->live_entries = entries_after(phase, &outcome->run);
    outcome->peak_rss_bytes = memory.peak_rss_bytes;
    outcome->anonymous_bytes = memory.anonymous_bytes;
    outcome->mapped_bytes = memory.mapped_bytes;
    outcome->disk_bytes = directory_bytes(phase->directory);
    return true;
}

static bool check_lost_updates(struct phase_context *context, const uint64_t *after) {
    for (int i = 0; i < KEYSPACE_COUNT; i++) {
        if (after[i] - context->versions[i] != context->outcome->run.operations)
            return fails(context, "verify", "a committed update was lost or applied twice");
    }
    return true;
}

static bool check_after(struct phase_context *context) {
    const struct phase *phase = context->phase;
    const struct run_result *run = &context->outcome->run;
    bool is_transaction = phase->workload->need == NEEDS_BOTH;
    struct expectation expectation = {
        .main_entries = main_entries_after(phase, run),
        .second_entries = second_count(phase),
        .has_second = is_transaction,
        .has_all_base = phase->workload->effect != EFFECT_SPOILED,
        .note_count = run->note_count,
        .notes = run->notes,
    };
    if (!keeps_nothing(phase->driver) && (!close_store(context) || !open_store(context)))
        return false;
    uint64_t versions[KEYSPACE_COUNT] = {0};
    if (!check_store(context, &expectation, versions))
        return false;
    return !is_transaction || check_lost_updates(context, versions);
}

/* What another process has loaded is not there: the data set is loaded here and now. */
static bool load_in_place(struct phase_context *context) {
    const struct workload *const loads[] = {&workload_prepare, &workload_prepare_second};
    size_t count = context->phase->workload->need == NEEDS_BOTH ? 2 : 1;
    for (size_t i = 0; i < count; i++) {
        struct run run;
        struct run_result result = {0};
        prepare_run(context, loads[i], &run);
        run.threads = 1;
        run_workload(&run, &result);
        if (result.failed)
            return fails(context, "load", result.error);
    }
    return true;
}

static bool is_preparation(const struct phase *phase) {
    return phase->workload == &workload_prepare || phase->workload == &workload_prepare_second;
}

static bool run_phase(struct phase_context *context) {
    const struct phase *phase = context->phase;
    const struct expectation before = {
        .main_entries = phase->records->count + phase->state.inserted,
        .second_entries = second_count(phase),
        .has_second = phase->workload->need == NEEDS_BOTH,
        .has_all_base = true,
    };
    if (!open_store(context))
        return false;
    if (!is_preparation(phase) && phase->workload->need != NEEDS_EMPTY) {
        if (keeps_nothing(phase->driver) && !load_in_place(context))
            return false;
        if (!check_store(context, &before, context->versions) || !warm_up(context))
            return false;
    }
    if (!run_measured(context))
        return false;
    if (!is_preparation(phase) && phase->workload->effect != EFFECT_NONE) {
        if (!check_after(context))
            return false;
    }
    context->outcome->verified = !is_preparation(phase);
    return close_store(context);
}

static void set_driver_options(struct phase_context *context) {
    const struct phase *phase = context->phase;
    const struct compare_options *options = phase->options;
    struct driver_options *driver_options = &context->driver_options;
    driver_options->directory = phase->directory;
    driver_options->memory_bytes = options->memory_bytes;
    driver_options->durability = phase->workload->durable ? DURABILITY_FULL : options->durability;
    if (is_preparation(phase))
        driver_options->durability = DURABILITY_NONE;
    driver_options->compression = phase->driver->compression(options->compression);
    driver_options->filter_bits = (unsigned)options->filter_bits;
    driver_options->threads = is_preparation(phase) ? 1 : (unsigned)options->threads;
    driver_options->record_count = options->records;
    driver_options->key_bytes = (size_t)options->key_bytes;
    driver_options->value_bytes = (size_t)options->value_bytes;
    driver_options->ascending_load =
        phase->workload->effect == EFFECT_SORTED && options->threads == 1;
    driver_options->transactional = phase->workload->need == NEEDS_BOTH;
    context->outcome->compression = driver_options->compression;
    context->outcome->durability = driver_options->durability;
}

static void child_main(const struct phase *phase, struct outcome *outcome) {
    struct phase_context context = {.phase = phase, .outcome = outcome};
    set_driver_options(&context);
    outcome->run.notes = calloc(LAST_WRITES * THREADS_MAX, sizeof(*outcome->run.notes));
    outcome->run.timeline = &outcome->timeline;
    outcome->ok = true;
    if (phase->options->memory_limit_bytes > 0) {
        /* Pages are charged to who read them first: the load must not have paid for this run. */
        drop_cached_pages(phase->directory);
        if (!control_group_enter(phase->options->memory_limit_bytes, context.error.text,
                                 sizeof(context.error.text))) {
            fails(&context, "memory limit", context.error.text);
            return;
        }
    }
    if (!run_phase(&context)) {
        context.error.text[0] = '\0';
        char kept[sizeof(outcome->error)];
        memcpy(kept, outcome->error, sizeof(kept));
        close_store(&context);
        memcpy(outcome->error, kept, sizeof(kept));
    }
}

static bool wait_for_child(pid_t child, struct outcome *outcome) {
    int status = 0;
    /* Only the signals that end a run interrupt the wait. */
    while (waitpid(child, &status, 0) < 0)
        kill(child, SIGKILL);
    if (WIFSIGNALED(status)) {
        outcome->ok = false;
        snprintf(outcome->error, sizeof(outcome->error), "killed by signal %d (%s)",
                 WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else if (WEXITSTATUS(status) != 0 && outcome->error[0] == '\0') {
        outcome->ok = false;
        snprintf(outcome->error, sizeof(outcome->error), "its process exited with status %d",
                 WEXITSTATUS(status));
    }
    return outcome->ok;
}

bool phase_run_forked(const struct phase *phase, struct outcome *out_outcome) {
    struct outcome *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return false;
    memset(shared, 0, sizeof(*shared));
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        child_main(phase, shared);
        _exit(0);
    }
    if (child > 0) {
        wait_for_child(child, shared);
        control_group_remove(child);
    } else {
        snprintf(shared->error, sizeof(shared->error), "cannot fork");
    }
    *out_outcome = *shared;
    out_outcome->run.notes = NULL;
    out_outcome->run.timeline = NULL;
    munmap(shared, sizeof(*shared));
    return out_outcome->ok;
}
