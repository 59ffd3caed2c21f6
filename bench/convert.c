/* SPDX-License-Identifier: Apache-2.0 */
/*
 * convert: how fast keyspaces are converted from each engine to each other one while somebody
 * writes to them, and how long that somebody has to wait.
 *
 * One keyspace goes round: btree, hash, lsm, btree, lsm, hash, btree, so that each pair comes once.
 * Each conversion is made twice, the whole way round: beside a writer that puts single records at a
 * steady rate, and beside one that never waits. How the same writer does without a conversion is
 * measured before each. Afterwards every record must be the one that was written last.
 *
 * The steady writer has a time at which each write is due, every millisecond some of them. A write
 * begins when it is due, or when the thread has woken for it; where the one before took longer than
 * that, the waiting counts for those behind it, too. So a pause is in the percentiles with the
 * weight of all the writes that it delayed.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tern/tern.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "histogram.h"
#include "json.h"
#include "measure.h"
#include "records.h"

#define EXIT_USAGE    2
#define KEY_BYTES     ((size_t)16)
#define TICK_NS       UINT64_C(1000000)
#define LOAD_BATCH    1000u
#define VALUE_MAX     ((size_t)1 << 20)
#define PATH_BYTES    4096
#define KEYSPACE_NAME "converted"

struct settings {
    const char *directory; /* where the database is made and removed again */
    uint64_t records;
    uint64_t value_bytes;
    uint64_t memory_bytes;
    uint64_t rate; /* writes a second of the steady writer */
    double seconds;
    bool is_json;
};

static const tern_engine_kind way_round[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH, TERN_ENGINE_LSM,
                                             TERN_ENGINE_BTREE, TERN_ENGINE_LSM,  TERN_ENGINE_HASH,
                                             TERN_ENGINE_BTREE};
#define CONVERSIONS (sizeof(way_round) / sizeof(way_round[0]) - 1)

struct bench {
    const struct settings *settings;
    struct record_space space;
    tern_db *db;
    tern_keyspace *keyspace;
    uint32_t *versions; /* of each record, by rank */
    uint8_t *value;     /* of whoever is at work: loader, writer, checker */
    struct rng rng;
};

static const char *engine_name(tern_engine_kind engine) {
    return engine == TERN_ENGINE_HASH ? "hash" : engine == TERN_ENGINE_LSM ? "lsm" : "btree";
}

static bool fail(const char *what, const tern_error *error) {
    char text[TERN_ERROR_MESSAGE_BYTES + TERN_ERROR_FILE_BYTES + 128];
    tern_error_format(error, text, sizeof(text));
    fprintf(stderr, "convert: %s: %s\n", what, text);
    return false;
}

/* ---- the writer ---- */

struct writer {
    struct bench *bench;
    pthread_t thread;
    uint64_t rate; /* 0: as fast as it goes */
    atomic_bool ends;
    atomic_bool has_begun; /* a write has ended */
    bool has_failed;
    tern_error error;
    uint64_t writes;
    double seconds;
    struct histogram latencies; /* ns */
};

static bool write_one(struct writer *writer) {
    struct bench *bench = writer->bench;
    uint8_t key[KEY_BYTES];
    uint64_t rank = rng_below(&bench->rng, bench->space.count);
    uint64_t position = record_position(&bench->space, rank);
    record_key_write(&bench->space, position, key);
    record_value_write(&bench->space, position, bench->versions[rank] + 1u, bench->value);
    tern_status status =
        tern_put(bench->keyspace, tern_slice_of(key, KEY_BYTES),
                 tern_slice_of(bench->value, bench->space.value_bytes), NULL, &writer->error);
    writer->has_failed = status != TERN_OK;
    if (status == TERN_OK) {
        bench->versions[rank]++;
        writer->writes++;
    }
    atomic_store_explicit(&writer->has_begun, true, memory_order_release);
    return status == TERN_OK;
}

/* Until `due`; false: that is past already. */
static bool sleep_until(uint64_t due) {
    const struct timespec time = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
    if (clock_monotonic_ns() >= due) {
        return false;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) == EINTR) {
    }
    return true;
}

static void write_steadily(struct writer *writer) {
    uint64_t begin = clock_monotonic_ns();
    uint64_t written = 0;
    bool is_good = true;
    for (uint64_t tick = 1; is_good && !atomic_load(&writer->ends); tick++) {
        uint64_t due = begin + tick * TICK_NS;
        uint64_t start = sleep_until(due) ? clock_monotonic_ns() : due;
        for (; is_good && written < tick * writer->rate / 1000; written++) {
            is_good = write_one(writer);
            uint64_t end = clock_monotonic_ns();
            histogram_add(&writer->latencies, end - start);
            /* The next one of this tick may begin now, unless all of them are late. */
            start = end < due + TICK_NS ? end : start;
        }
    }
    writer->seconds = (double)(clock_monotonic_ns() - begin) * 1e-9;
}

static void write_on(struct writer *writer) {
    uint64_t begin = clock_monotonic_ns();
    uint64_t last = begin;
    while (!atomic_load_explicit(&writer->ends, memory_order_relaxed) && write_one(writer)) {
        uint64_t now = clock_monotonic_ns();
        histogram_add(&writer->latencies, now - last);
        last = now;
    }
    writer->seconds = (double)(last - begin) * 1e-9;
}

static void *run_writer(void *argument) {
    struct writer *writer = argument;
    if (writer->rate > 0) {
        write_steadily(writer);
    } else {
        write_on(writer);
    }
    return NULL;
}

static struct writer *writer_start(struct bench *bench, uint64_t rate) {
    struct writer *writer = calloc(1, sizeof(*writer));
    if (writer == NULL) {
        fprintf(stderr, "convert: no memory\n");
        return NULL;
    }
    writer->bench = bench;
    writer->rate = rate;
    writer->error = (tern_error)TERN_ERROR_INIT;
    int failed = pthread_create(&writer->thread, NULL, run_writer, writer);
    if (failed != 0) {
        fprintf(stderr, "convert: no thread: %s\n", strerror(failed));
        free(writer);
        return NULL;
    }
    return writer;
}

static bool writer_stop(struct writer *writer) {
    atomic_store(&writer->ends, true);
    pthread_join(writer->thread, NULL);
    return writer->has_failed ? fail("a write", &writer->error) : true;
}

/* ---- one conversion ---- */

struct conversion {
    tern_engine_kind from, to;
    bool is_steady;
    uint64_t records; /* copied */
    double seconds;
    struct writer *alone, *beside; /* the writer before, and during the conversion */
};

static bool take_progress(void *context, const char *phase, uint64_t done, uint64_t total) {
    struct conversion *conversion = context;
    (void)phase;
    (void)total;
    conversion->records = done;
    return true;
}

static bool measure_alone(struct bench *bench, struct conversion *conversion) {
    const struct settings *settings = bench->settings;
    conversion->alone = writer_start(bench, conversion->is_steady ? settings->rate : 0);
    if (conversion->alone == NULL) {
        return false;
    }
    (void)sleep_until(clock_monotonic_ns() + (uint64_t)(settings->seconds * 1e9));
    return writer_stop(conversion->alone);
}

static bool convert(struct bench *bench, struct conversion *conversion) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.engine = conversion->to;
    if (tern_checkpoint(bench->db, &error) != TERN_OK) {
        return fail("a checkpoint", &error);
    }
    conversion->beside = writer_start(bench, conversion->is_steady ? bench->settings->rate : 0);
    if (conversion->beside == NULL) {
        return false;
    }
    while (!atomic_load_explicit(&conversion->beside->has_begun, memory_order_acquire)) {
        (void)sleep_until(clock_monotonic_ns() + TICK_NS / 10);
    }
    uint64_t begin = clock_monotonic_ns();
    tern_status status =
        tern_keyspace_convert(bench->keyspace, &options, take_progress, conversion, &error);
    conversion->seconds = (double)(clock_monotonic_ns() - begin) * 1e-9;
    bool is_good = writer_stop(conversion->beside);
    return status != TERN_OK ? fail("a conversion", &error) : is_good;
}

/* Every record is the one that was written last. */
static bool check(struct bench *bench) {
    const struct record_space *space = &bench->space;
    tern_error error = TERN_ERROR_INIT;
    for (uint64_t rank = 0; rank < space->count; rank++) {
        uint8_t key[KEY_BYTES];
        size_t size = 0;
        uint64_t position = record_position(space, rank);
        record_key_write(space, position, key);
        tern_status status = tern_get(bench->keyspace, tern_slice_of(key, KEY_BYTES), bench->value,
                                      space->value_bytes, &size, &error);
        if (status != TERN_OK) {
            return fail("a record that was converted", &error);
        }
        if (!record_value_is_right(space, position, bench->value, size) ||
            record_value_version(space, position, bench->value) != bench->versions[rank]) {
            fprintf(stderr, "convert: record %llu is not what was written last\n",
                    (unsigned long long)rank);
            return false;
        }
    }
    return true;
}

/* ---- printing ---- */

static double quantile_us(const struct writer *writer, double fraction) {
    return histogram_quantile(&writer->latencies, fraction) * 1e-3;
}

static double max_us(const struct writer *writer) {
    return (double)writer->latencies.max * 1e-3;
}

static double rate_of(const struct writer *writer) {
    return writer->seconds > 0 ? (double)writer->writes / writer->seconds : 0;
}

static void print_json(const struct bench *bench, const struct conversion *conversion) {
    char text[64];
    struct json_line line;
    const struct settings *settings = bench->settings;
    json_begin(&line, stdout);
    (void)snprintf(text, sizeof(text), "tern-%s", engine_name(conversion->from));
    json_text(&line, "system", text);
    json_text(&line, "version", tern_version());
    (void)snprintf(text, sizeof(text), "to_%s_%s", engine_name(conversion->to),
                   conversion->is_steady ? "steady" : "ceaseless");
    json_text(&line, "workload", text);
    json_text(&line, "from", engine_name(conversion->from));
    json_text(&line, "to", engine_name(conversion->to));
    json_integer(&line, "records", settings->records);
    json_integer(&line, "key_bytes", KEY_BYTES);
    json_integer(&line, "value_bytes", settings->value_bytes);
    json_integer(&line, "memory_bytes", settings->memory_bytes);
    json_integer(&line, "raw_bytes", settings->records * (KEY_BYTES + settings->value_bytes));
    json_integer(&line, "operations", conversion->records);
    json_real(&line, "seconds", conversion->seconds, 6);
    json_real(&line, "ops_per_s", (double)conversion->records / conversion->seconds, 1);
    json_integer(&line, "writer_rate", conversion->is_steady ? settings->rate : 0);
    json_real(&line, "writer_ops_per_s", rate_of(conversion->beside), 1);
    json_real(&line, "p50_us", quantile_us(conversion->beside, 0.5), 2);
    json_real(&line, "p95_us", quantile_us(conversion->beside, 0.95), 2);
    json_real(&line, "p99_us", quantile_us(conversion->beside, 0.99), 2);
    json_real(&line, "p999_us", quantile_us(conversion->beside, 0.999), 2);
    json_real(&line, "max_us", max_us(conversion->beside), 2);
    json_real(&line, "alone_ops_per_s", rate_of(conversion->alone), 1);
    json_real(&line, "alone_p50_us", quantile_us(conversion->alone, 0.5), 2);
    json_real(&line, "alone_p999_us", quantile_us(conversion->alone, 0.999), 2);
    json_real(&line, "alone_max_us", max_us(conversion->alone), 2);
    json_boolean(&line, "verified", true);
    json_integer(&line, "errors", 0);
    json_end(&line);
}

static void print_head(void) {
    printf("%-5s    %-5s %-9s %11s %8s | %10s %9s %9s %10s | %10s %10s\n", "from", "to", "writer",
           "records/s", "s", "writes/s", "p50 us", "p99.9", "longest", "alone", "p99.9");
}

static void print_row(const struct conversion *conversion) {
    printf("%-5s -> %-5s %-9s %11.0f %8.2f | %10.0f %9.1f %9.1f %10.1f | %10.0f %10.1f\n",
           engine_name(conversion->from), engine_name(conversion->to),
           conversion->is_steady ? "steady" : "ceaseless",
           (double)conversion->records / conversion->seconds, conversion->seconds,
           rate_of(conversion->beside), quantile_us(conversion->beside, 0.5),
           quantile_us(conversion->beside, 0.999), max_us(conversion->beside),
           rate_of(conversion->alone), quantile_us(conversion->alone, 0.999));
    (void)fflush(stdout);
}

/* ---- the whole ---- */

static bool load(struct bench *bench) {
    const struct record_space *space = &bench->space;
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn = NULL;
    for (uint64_t rank = 0; rank < space->count; rank++) {
        uint8_t key[KEY_BYTES];
        uint64_t position = record_position(space, rank);
        record_key_write(space, position, key);
        record_value_write(space, position, 0, bench->value);
        tern_status status = txn == NULL ? tern_txn_begin(bench->db, NULL, &txn, &error) : TERN_OK;
        if (status != TERN_OK) {
            return fail("loading", &error);
        }
        status = tern_txn_put(txn, bench->keyspace, tern_slice_of(key, KEY_BYTES),
                              tern_slice_of(bench->value, space->value_bytes), NULL);
        bool is_full = (rank + 1) % LOAD_BATCH == 0 || rank + 1 == space->count;
        status = status == TERN_OK && is_full ? tern_txn_commit(txn) : status;
        if (status != TERN_OK) {
            (void)fail("loading", tern_txn_error(txn));
            tern_txn_free(txn);
            return false;
        }
        if (is_full) {
            tern_txn_free(txn);
            txn = NULL;
        }
    }
    return true;
}

static bool run_conversion(struct bench *bench, struct conversion *conversion) {
    bool is_good = measure_alone(bench, conversion) && convert(bench, conversion) && check(bench);
    if (is_good && bench->settings->is_json) {
        print_json(bench, conversion);
    } else if (is_good) {
        print_row(conversion);
    }
    free(conversion->alone);
    free(conversion->beside);
    return is_good;
}

static bool run_all(struct bench *bench) {
    bool is_good = load(bench);
    if (is_good && !bench->settings->is_json) {
        print_head();
    }
    for (size_t i = 0; is_good && i < 2 * CONVERSIONS; i++) {
        struct conversion conversion = {.from = way_round[i % CONVERSIONS],
                                        .to = way_round[i % CONVERSIONS + 1],
                                        .is_steady = i < CONVERSIONS};
        is_good = run_conversion(bench, &conversion);
    }
    return is_good;
}

/* The database in `path`, which is empty; false: told on standard error. */
static bool run(const struct settings *settings, const char *path) {
    struct bench bench = {.settings = settings};
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.create_if_missing = true;
    options.memory_bytes = settings->memory_bytes;
    options.durability = TERN_DURABILITY_NONE;
    records_init(&bench.space, settings->records, 1, KEY_BYTES, (size_t)settings->value_bytes, 1,
                 KEY_BINARY);
    rng_seed(&bench.rng, 1, 0);
    bench.versions = calloc((size_t)settings->records, sizeof(bench.versions[0]));
    bench.value = malloc((size_t)settings->value_bytes + 8);
    bool is_good = bench.versions != NULL && bench.value != NULL;
    if (!is_good) {
        fprintf(stderr, "convert: no memory\n");
    } else if (tern_open(path, &options, &bench.db, &error) != TERN_OK ||
               tern_keyspace_create(bench.db, KEYSPACE_NAME, NULL, &bench.keyspace, &error) !=
                   TERN_OK) {
        is_good = fail("opening", &error);
    } else {
        is_good = run_all(&bench);
    }
    if (tern_close(bench.db, &error) != TERN_OK) {
        is_good = fail("closing", &error);
    }
    free(bench.value);
    free(bench.versions);
    return is_good;
}

/* ---- the command line ---- */

static const char *const help =
    "convert: conversions of a keyspace from each engine to each other one, beside a writer\n"
    "\n"
    "  --dir DIR          where a directory for the database is made and removed; . is the "
    "default\n"
    "  --records N        in the keyspace; 1000000\n"
    "  --value-bytes N    of each, 8 to 1048576; 100\n"
    "  --memory-bytes N   budget of the database; 1073741824\n"
    "  --rate N           writes a second of the steady writer; 20000\n"
    "  --seconds N        how long the writer is measured before each conversion; 1\n"
    "  --json             one object a line\n"
    "  --help             this\n";

static bool read_number(const char *name, const char *text, double least, double most,
                        double *out_number) {
    char *end = NULL;
    double number = strtod(text, &end);
    if (end == text || *end != '\0' || !(number >= least && number <= most)) {
        fprintf(stderr, "convert: %s %s: not a number from %.15g to %.15g\n", name, text, least,
                most);
        return false;
    }
    *out_number = number;
    return true;
}

static bool read_count(const char *name, const char *text, double least, double most,
                       uint64_t *out_count) {
    double number = 0;
    if (!read_number(name, text, least, most, &number)) {
        return false;
    }
    *out_count = (uint64_t)number;
    return true;
}

static bool read_settings(int argc, char **argv, struct settings *out_settings, bool *out_is_help) {
    static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                            {"records", required_argument, NULL, 'r'},
                                            {"value-bytes", required_argument, NULL, 'v'},
                                            {"memory-bytes", required_argument, NULL, 'm'},
                                            {"rate", required_argument, NULL, 'w'},
                                            {"seconds", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    struct settings settings = {".", 1000000, 100, (uint64_t)1 << 30, 20000, 1, false};
    bool is_good = true;
    int option;
    while (is_good && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'd':
            settings.directory = optarg;
            break;
        case 'r':
            is_good = read_count("--records", optarg, 1, 1e9, &settings.records);
            break;
        case 'v':
            is_good = read_count("--value-bytes", optarg, 8, VALUE_MAX, &settings.value_bytes);
            break;
        case 'm':
            is_good = read_count("--memory-bytes", optarg, 8388608, 1e15, &settings.memory_bytes);
            break;
        case 'w':
            is_good = read_count("--rate", optarg, 1, 1e7, &settings.rate);
            break;
        case 's':
            is_good = read_number("--seconds", optarg, 0.001, 3600, &settings.seconds);
            break;
        case 'j':
            settings.is_json = true;
            break;
        case 'h':
            *out_is_help = true;
            break;
        default:
            is_good = false; /* getopt has told */
        }
    }
    if (is_good && optind < argc) {
        fprintf(stderr, "convert: %s: not an option; see --help\n", argv[optind]);
        is_good = false;
    }
    *out_settings = settings;
    return is_good;
}

int main(int argc, char **argv) {
    struct settings settings;
    bool is_help = false;
    char path[PATH_BYTES];
    if (!read_settings(argc, argv, &settings, &is_help)) {
        return EXIT_USAGE;
    }
    if (is_help) {
        (void)fputs(help, stdout);
        return EXIT_SUCCESS;
    }
    int length = snprintf(path, sizeof(path), "%s/convert-XXXXXX", settings.directory);
    if (length < 0 || (size_t)length >= sizeof(path)) {
        fprintf(stderr, "convert: --dir: the path is too long\n");
        return EXIT_USAGE;
    }
    if (mkdtemp(path) == NULL) {
        fprintf(stderr, "convert: %s: %s\n", path, strerror(errno));
        return EXIT_FAILURE;
    }
    bool is_good = run(&settings, path);
    if (!remove_directory_tree(path)) {
        fprintf(stderr, "convert: %s cannot be removed\n", path);
        is_good = false;
    }
    return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}
