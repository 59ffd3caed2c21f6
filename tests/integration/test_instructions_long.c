/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: only=release
 * ctest: timeout=900
 *
 * Instructions of the hot paths, counted by callgrind, against those recorded in
 * tests/integration/instructions.txt: more than 3 % over is a failure, more than 3 % under is a
 * reason to record anew (`make instructions`, which sets TERN_RECORD=1). Everything is fixed: keys
 * and seeds, one thread, virtual time, no background work while counting.
 *
 * The program counts by starting itself under valgrind, once for each path; callgrind collects
 * within `measured` alone. Counts depend on compiler and processor: it is skipped where valgrind or
 * AVX2 is missing, and the recorded compiler is another one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tern/cursor.h>
#include <unistd.h>

#include "support/cmocka_test.h"
#include "support/power_cut_file_system.h"
#include "support/seeded_random.h"
#include "support/step_executor.h"
#include "support/temporary_directory.h"

#define RECORDS           20480u
#define VALUE_BYTES       100u
#define KEY_BYTES         16u
#define BATCH             512u
#define MULTI             64u
#define TOLERANCE_PERCENT 3.0
#define SKIPPED           77

struct bed {
    struct power_cut_file_system *disk;
    struct virtual_clock clock;
    struct step_executor *executor;
    struct seeded_random_source *salts;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_txn *txn;
    tern_cursor *cursor;
    uint8_t (*keys)[KEY_BYTES]; /* of the operations to come */
    uint8_t value[VALUE_BYTES];
};

struct path {
    const char *name;
    uint64_t operations;
    bool misses;
    void (*prepare)(struct bed *bed);
    void (*run)(struct bed *bed, uint64_t operations);
};

static void must(tern_status status, const char *what) {
    if (status != TERN_OK) {
        (void)fprintf(stderr, "%s: %s\n", what, tern_status_name(status));
        exit(3);
    }
}

/* Neighbours in number are apart in order. */
static void key_of(uint64_t number, uint8_t key[KEY_BYTES]) {
    char text[KEY_BYTES + 1];
    (void)snprintf(text, sizeof(text), "%016llx",
                   (unsigned long long)(number * 0x9e3779b97f4a7c15u));
    memcpy(key, text, KEY_BYTES);
}

static tern_slice key_at(const struct bed *bed, uint64_t i) {
    return tern_slice_of(bed->keys[i], KEY_BYTES);
}

static tern_slice value_of(const struct bed *bed) {
    return tern_slice_of(bed->value, sizeof(bed->value));
}

/* ---- the paths ---- */

static void run_gets(struct bed *bed, uint64_t operations) {
    uint8_t value[VALUE_BYTES];
    size_t size;
    for (uint64_t i = 0; i < operations; i++) {
        tern_status status =
            tern_get(bed->keyspace, key_at(bed, i), value, sizeof(value), &size, NULL);
        must(status == TERN_NOT_FOUND ? TERN_OK : status, "get");
    }
}

static void prepare_scan(struct bed *bed) {
    must(tern_txn_begin(bed->db, NULL, &bed->txn, NULL), "begin");
    must(tern_cursor_open(bed->txn, bed->keyspace, NULL, &bed->cursor), "cursor");
    must(tern_cursor_next(bed->cursor), "next");
}

static void run_scan(struct bed *bed, uint64_t operations) {
    for (uint64_t i = 0; i < operations; i++) {
        tern_slice value;
        must(tern_cursor_next(bed->cursor), "next");
        must(tern_cursor_value(bed->cursor, &value), "value");
    }
}

static void run_scan_batches(struct bed *bed, uint64_t operations) {
    tern_entry entries[MULTI];
    for (uint64_t i = 0; i < operations;) {
        size_t count = 0;
        must(tern_cursor_next_batch(bed->cursor, entries, MULTI, &count), "next batch");
        i += count;
    }
}

static void prepare_renewed(struct bed *bed) {
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    options.read_only = true;
    must(tern_txn_begin(bed->db, &options, &bed->txn, NULL), "begin");
    must(tern_cursor_open(bed->txn, bed->keyspace, NULL, &bed->cursor), "cursor");
}

/* Ten entries from a key on, as of now. */
static void run_renewed(struct bed *bed, uint64_t operations) {
    tern_entry entries[10];
    size_t count = 0;
    for (uint64_t i = 0; i < operations; i++) {
        must(tern_txn_renew(bed->txn), "renew");
        tern_status status =
            tern_cursor_seek_batch(bed->cursor, key_at(bed, i), entries, 10, &count);
        must(status == TERN_NOT_FOUND ? TERN_OK : status, "seek batch");
    }
}

static void put_all(struct bed *bed, uint64_t operations, tern_durability durability) {
    tern_write_options options = {.size = sizeof(options), .durability = durability};
    for (uint64_t i = 0; i < operations; i++) {
        must(tern_put(bed->keyspace, key_at(bed, i), value_of(bed), &options, NULL), "put");
    }
}

static void run_puts(struct bed *bed, uint64_t operations) {
    put_all(bed, operations, TERN_DURABILITY_INTERVAL);
}

static void run_puts_none(struct bed *bed, uint64_t operations) {
    put_all(bed, operations, TERN_DURABILITY_NONE);
}

static void run_batches(struct bed *bed, uint64_t operations) {
    for (uint64_t i = 0; i < operations;) {
        tern_txn *txn;
        must(tern_txn_begin(bed->db, NULL, &txn, NULL), "begin");
        for (uint64_t end = i + BATCH; i < end; i++) {
            must(tern_txn_put(txn, bed->keyspace, key_at(bed, i), value_of(bed), NULL), "put");
        }
        must(tern_txn_commit(txn), "commit");
        tern_txn_free(txn);
    }
}

static void run_multi_gets(struct bed *bed, uint64_t operations) {
    static uint8_t values[MULTI][VALUE_BYTES];
    tern_get_request requests[MULTI];
    for (uint64_t i = 0; i < operations; i += MULTI) {
        for (uint64_t j = 0; j < MULTI; j++) {
            requests[j] = (tern_get_request){
                .key = key_at(bed, i + j), .buffer = values[j], .capacity = VALUE_BYTES};
        }
        must(tern_multi_get(bed->keyspace, requests, MULTI, NULL), "multi_get");
    }
}

static const struct path paths[] = {
    {"get_hit", 4096, false, NULL, run_gets},
    {"get_miss", 4096, true, NULL, run_gets},
    {"multi_get", 4096, false, NULL, run_multi_gets},
    {"scan_step", 16000, false, prepare_scan, run_scan},
    {"scan_batch", 16000, false, prepare_scan, run_scan_batches},
    {"scan_10_renewed", 4096, false, prepare_renewed, run_renewed},
    {"put", 4096, false, NULL, run_puts},
    {"put_durability_none", 4096, false, NULL, run_puts_none},
    {"put_in_batch", 4096, false, NULL, run_batches},
};
#define PATHS (sizeof(paths) / sizeof(paths[0]))

/* ---- what is counted ---- */

__attribute__((noinline, noclone)) static void measured(const struct path *path, struct bed *bed) {
    path->run(bed, path->operations);
    __asm__ volatile("" ::: "memory"); /* so that it is a call, and this function stays */
}

static void open_bed(struct bed *bed) {
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    bed->disk = power_cut_create(1);
    virtual_clock_init(&bed->clock);
    bed->executor = step_executor_create(1, &bed->clock);
    bed->salts = seeded_random_source_create(1);
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)64 << 20;
    options.segment_bytes = (uint64_t)16 << 20;
    options.conflict_slots = 4096;
    options.file_system = power_cut_interface(bed->disk);
    options.clock = virtual_clock_interface(&bed->clock);
    options.executor = step_executor_interface(bed->executor);
    options.random = seeded_random_source_interface(bed->salts);
    must(tern_open("/db", &options, &bed->db, NULL), "open");
    must(tern_keyspace_create(bed->db, "k", NULL, &bed->keyspace, NULL), "create");
    memset(bed->value, 'v', sizeof(bed->value));
}

/* All in the base and in the cache, but for a few that lie in the overlay. */
static void fill(struct bed *bed) {
    bed->keys = calloc(RECORDS, sizeof(bed->keys[0]));
    for (uint64_t i = 0; i < RECORDS; i++) {
        key_of(i, bed->keys[i]);
    }
    run_batches(bed, RECORDS);
    must(tern_checkpoint(bed->db, NULL), "checkpoint");
    run_gets(bed, RECORDS);
    run_puts(bed, RECORDS / 100);
}

static int count_path(const char *name) {
    struct bed bed = {0};
    struct seeded_random random;
    const struct path *path = NULL;
    for (size_t i = 0; i < PATHS; i++) {
        path = strcmp(paths[i].name, name) == 0 ? &paths[i] : path;
    }
    if (path == NULL) {
        return 3;
    }
    open_bed(&bed);
    fill(&bed);
    seeded_random_init(&random, 7);
    for (uint64_t i = 0; i < RECORDS; i++) {
        key_of(seeded_random_below(&random, RECORDS) + (path->misses ? RECORDS : 0), bed.keys[i]);
    }
    if (path->prepare == NULL) {
        path->run(&bed, MULTI * 8); /* once, not measured */
    }
    if (path->prepare != NULL) {
        path->prepare(&bed);
    }
    measured(path, &bed);
    tern_cursor_close(bed.cursor);
    tern_txn_free(bed.txn);
    must(tern_close(bed.db, NULL), "close");
    free(bed.keys);
    seeded_random_source_destroy(bed.salts);
    step_executor_destroy(bed.executor);
    power_cut_destroy(bed.disk);
    return 0;
}

/* ---- counting and comparing ---- */

static double count(const struct path *path, const char *directory) {
    char command[1024];
    char line[512];
    char program[512];
    unsigned long long total = 0;
    ssize_t size = readlink("/proc/self/exe", program, sizeof(program) - 1);
    assert_true(size > 0);
    program[size] = '\0';
    (void)snprintf(command, sizeof(command),
                   "valgrind --tool=callgrind --callgrind-out-file=%s/%s --collect-atstart=no "
                   "--toggle-collect=measured %s count %s >%s/log 2>&1",
                   directory, path->name, program, path->name, directory);
    assert_int_equal(system(command), 0);
    (void)snprintf(line, sizeof(line), "%s/%s", directory, path->name);
    FILE *file = fopen(line, "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "summary: %llu", &total) == 1 ||
            sscanf(line, "totals: %llu", &total) == 1) {
            break;
        }
    }
    (void)fclose(file);
    assert_true(total > 0);
    return (double)total / (double)path->operations;
}

static FILE *open_baseline(const char *mode) {
    char name[512];
    const char *source = getenv("TERN_SOURCE_DIR");
    (void)snprintf(name, sizeof(name), "%s/tests/integration/instructions.txt",
                   source != NULL ? source : ".");
    return fopen(name, mode);
}

/* 0 when it was not recorded. */
static double recorded(const char *wanted, bool *out_same_compiler) {
    char line[256];
    double found = 0;
    FILE *file = open_baseline("r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        char name[64];
        double value;
        if (strncmp(line, "# compiler: ", 12) == 0) {
            line[strcspn(line, "\n")] = '\0';
            *out_same_compiler = strcmp(line + 12, __VERSION__) == 0;
        } else if (line[0] != '#' && sscanf(line, "%63s %lf", name, &value) == 2 &&
                   strcmp(name, wanted) == 0) {
            found = value;
        }
    }
    (void)fclose(file);
    return found;
}

static void record(const double *counts) {
    FILE *file = open_baseline("w");
    assert_non_null(file);
    (void)fprintf(
        file,
        "# Instructions per operation on the hot paths, x86-64 with AVX2, release build.\n"
        "# Written by `make instructions`; compared by the test "
        "integration.instructions_long.\n"
        "# compiler: %s\n",
        __VERSION__);
    for (size_t i = 0; i < PATHS; i++) {
        (void)fprintf(file, "%-20s %9.1f\n", paths[i].name, counts[i]);
    }
    (void)fclose(file);
}

static void hot_paths_take_as_many_instructions_as_recorded(void **state) {
    (void)state;
    double counts[PATHS];
    bool is_recording = getenv("TERN_RECORD") != NULL;
    bool is_same_compiler = true;
    unsigned worse = 0;
    char *directory = temporary_directory_create();
    for (size_t i = 0; i < PATHS; i++) {
        counts[i] = count(&paths[i], directory);
        double before = is_recording ? counts[i] : recorded(paths[i].name, &is_same_compiler);
        double percent = before > 0 ? 100.0 * (counts[i] / before - 1.0) : 0.0;
        bool is_worse = before <= 0 || percent > TOLERANCE_PERCENT;
        worse += is_worse ? 1 : 0;
        print_message("%-20s %9.1f instructions, recorded %9.1f, %+6.2f %%%s\n", paths[i].name,
                      counts[i], before, percent,
                      is_worse                       ? "  <- more than allowed"
                      : percent < -TOLERANCE_PERCENT ? "  <- better: record anew"
                                                     : "");
    }
    temporary_directory_remove(directory);
    if (is_recording) {
        record(counts);
    } else if (!is_same_compiler) {
        print_message("recorded with another compiler than %s: not compared\n", __VERSION__);
        skip();
    } else {
        assert_int_equal(worse, 0);
    }
}

int main(int argument_count, char **arguments) {
    if (argument_count == 3 && strcmp(arguments[1], "count") == 0) {
        return count_path(arguments[2]);
    }
#if defined(__x86_64__)
    bool can_count = __builtin_cpu_supports("avx2") != 0;
#else
    bool can_count = false;
#endif
    if (!can_count || system("valgrind --version >/dev/null 2>&1") != 0) {
        print_message("needs valgrind and AVX2\n");
        return SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hot_paths_take_as_many_instructions_as_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
