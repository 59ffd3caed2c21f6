/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 * ctest: more=release TERN_SOAK_SECONDS=1200 9000
 *
 * Mixed work for a long time on data of bounded size: memory and disk must stay flat, every value
 * read must be one that was written for its key, and verify must find nothing. Puts, batches over
 * all keyspaces, merges, deletes, range deletes and expiring keys by two threads; gets, scans and
 * snapshots held for seconds by a third; checkpoints, compaction and verify between.
 *
 * SOAK_SECONDS says how long (`make soak SOAK_SECONDS=300`); 6 seconds otherwise. Flatness is
 * judged from 60 seconds on, over what follows the first third.
 */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <tern/tern.h>
#include <time.h>
#include <unistd.h>

#include "support/cmocka_test.h"
#include "support/seeded_random.h"
#include "support/temporary_directory.h"

#define KEYSPACES       3u
#define KEYS            20000u
#define VALUE_BYTES_MAX 400u
#define MEMORY_BYTES    ((uint64_t)128 << 20)
#define SECONDS_DEFAULT 6u
#define JUDGED_SECONDS  60u
#define SAMPLES_MAX     20000u
#define WRITERS         2u

struct sample {
    double seconds;
    double rss_mib;
    double disk_mib;
};

struct soak {
    tern_db *db;
    tern_keyspace *keyspaces[KEYSPACES];
    char *directory;
    uint64_t seed;
    _Atomic bool is_over;
    _Atomic uint64_t operations;
    _Atomic uint64_t conflicts;
    _Atomic uint64_t refusals;
    _Atomic uint64_t failures;
    struct sample *samples;
    size_t sample_count;
};

struct worker {
    struct soak *soak;
    struct seeded_random random;
    pthread_t thread;
};

static double now_seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static unsigned seconds_wanted(void) {
    const char *text = getenv("SOAK_SECONDS");
    text = text != NULL && text[0] != '\0' ? text : getenv("TERN_SOAK_SECONDS");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : SECONDS_DEFAULT;
}

/*
 * A conflict is part of the game, and so is a write refused while old snapshots hold the budget.
 * Anything else is a failure, and ends the run.
 */
static void judge(struct soak *soak, const char *what, tern_status status,
                  const tern_error *error) {
    if (status == TERN_CONFLICT) {
        atomic_fetch_add(&soak->conflicts, 1);
    } else if (status == TERN_NO_MEMORY) {
        const struct timespec pause = {0, 2000000};
        atomic_fetch_add(&soak->refusals, 1);
        (void)nanosleep(&pause, NULL);
    } else if (status != TERN_OK && status != TERN_NOT_FOUND) {
        print_error("%s: %s (%s)\n", what, tern_status_name(status), error->message);
        atomic_fetch_add(&soak->failures, 1);
        atomic_store(&soak->is_over, true);
    }
}

/* ---- data: a value begins with its key's number, and every byte behind follows from it ---- */

static tern_slice key_of(uint32_t number, char key[24]) {
    (void)snprintf(key, 24, "key/%08u", number * 2654435761u % KEYS);
    return tern_slice_str(key);
}

static tern_slice value_of(struct seeded_random *random, tern_slice key, uint8_t *value) {
    size_t size = 16 + (size_t)seeded_random_below(random, VALUE_BYTES_MAX - 16);
    memcpy(value, key.data, 12);
    memset(value + 12, value[11], size - 12);
    return tern_slice_of(value, size);
}

static void check_value(struct soak *soak, tern_slice key, tern_slice value) {
    const uint8_t *bytes = value.data;
    bool is_right = value.size == 8 || /* a counter */
                    (value.size >= 16 && memcmp(bytes, key.data, 12) == 0 &&
                     bytes[value.size - 1] == bytes[11]);
    if (!is_right) {
        print_error("a value of %.*s is wrong\n", (int)key.size, (const char *)key.data);
        atomic_fetch_add(&soak->failures, 1);
        atomic_store(&soak->is_over, true);
    }
}

/* ---- writers ---- */

static tern_status change(struct worker *worker, tern_txn *txn) {
    struct seeded_random *random = &worker->random;
    tern_keyspace *keyspace = worker->soak->keyspaces[seeded_random_below(random, KEYSPACES)];
    uint8_t value[VALUE_BYTES_MAX];
    char text[24];
    char end_text[24];
    tern_slice key = key_of((uint32_t)seeded_random_below(random, KEYS), text);
    tern_write_options expiring = {.size = sizeof(expiring),
                                   .ttl_ms = 500 + seeded_random_below(random, 3000)};
    uint64_t what = seeded_random_below(random, 1000);
    uint8_t one[8] = {1};
    if (what < 700) {
        return tern_txn_put(txn, keyspace, key, value_of(random, key, value),
                            what < 100 ? &expiring : NULL);
    }
    if (what < 850) {
        return tern_txn_delete(txn, keyspace, key);
    }
    if (what < 995) {
        key.size = 11; /* counters are keys of their own */
        return tern_txn_merge(txn, keyspace, key, TERN_MERGE_ADD, tern_slice_of(one, sizeof(one)));
    }
    memcpy(end_text, text, sizeof(text));
    end_text[9] = (char)(end_text[9] + 1); /* a hundred-odd keys */
    tern_slice end = tern_slice_str(end_text);
    return tern_txn_delete_range(txn, keyspace, &key, &end);
}

static void *write_on(void *context) {
    struct worker *worker = context;
    struct soak *soak = worker->soak;
    tern_error error = TERN_ERROR_INIT;
    while (!atomic_load(&soak->is_over)) {
        tern_txn *txn;
        uint64_t changes =
            1 + seeded_random_below(&worker->random,
                                    seeded_random_chance(&worker->random, 1, 20) ? 300 : 4);
        tern_status status = tern_txn_begin(soak->db, NULL, &txn, &error);
        judge(soak, "begin", status, &error);
        if (status != TERN_OK) {
            break;
        }
        for (uint64_t i = 0; status == TERN_OK && i < changes; i++) {
            status = change(worker, txn);
        }
        if (status == TERN_OK) {
            status = tern_txn_commit(txn);
        }
        judge(soak, "a commit", status, tern_txn_error(txn));
        tern_txn_free(txn);
        atomic_fetch_add(&soak->operations, changes);
    }
    return NULL;
}

/* ---- the reader ---- */

static void scan(struct worker *worker, tern_txn *txn) {
    struct soak *soak = worker->soak;
    tern_keyspace *keyspace = soak->keyspaces[seeded_random_below(&worker->random, KEYSPACES)];
    tern_cursor *cursor;
    char text[24];
    tern_slice key = key_of((uint32_t)seeded_random_below(&worker->random, KEYS), text);
    tern_status status = tern_cursor_open(txn, keyspace, NULL, &cursor);
    judge(soak, "a cursor", status, tern_txn_error(txn));
    if (status != TERN_OK) {
        return;
    }
    status = tern_cursor_seek(cursor, key);
    for (unsigned i = 0; status == TERN_OK && i < 100; i++) {
        tern_slice value;
        status = tern_cursor_value(cursor, &value);
        if (status == TERN_OK) {
            check_value(soak, tern_cursor_key(cursor), value);
            status = tern_cursor_next(cursor);
        }
    }
    judge(soak, "a scan", status, tern_cursor_error(cursor));
    tern_cursor_close(cursor);
    atomic_fetch_add(&soak->operations, 100);
}

static void get(struct worker *worker, tern_txn *txn) {
    struct soak *soak = worker->soak;
    uint8_t value[VALUE_BYTES_MAX];
    char text[24];
    size_t size = 0;
    tern_slice key = key_of((uint32_t)seeded_random_below(&worker->random, KEYS), text);
    tern_status status =
        tern_txn_get(txn, soak->keyspaces[seeded_random_below(&worker->random, KEYSPACES)], key,
                     value, sizeof(value), &size);
    judge(soak, "a get", status, tern_txn_error(txn));
    if (status == TERN_OK) {
        check_value(soak, key, tern_slice_of(value, size));
    }
    atomic_fetch_add(&soak->operations, 1);
}

static void *read_on(void *context) {
    struct worker *worker = context;
    struct soak *soak = worker->soak;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.read_only = true;
    while (!atomic_load(&soak->is_over)) {
        tern_txn *txn;
        double end = now_seconds() + (double)seeded_random_below(&worker->random, 2000) / 1000.0;
        tern_status status = tern_txn_begin(soak->db, &options, &txn, &error);
        judge(soak, "a snapshot", status, &error);
        if (status != TERN_OK) {
            break;
        }
        while (!atomic_load(&soak->is_over) && now_seconds() < end) {
            for (unsigned i = 0; i < 200; i++) {
                get(worker, txn);
            }
            scan(worker, txn);
        }
        tern_txn_free(txn);
    }
    return NULL;
}

/* ---- looking on ---- */

static double rss_mib(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%*u %lu", &pages) != 1) {
            pages = 0;
        }
        (void)fclose(file);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1048576.0;
}

static double disk_mib(const char *directory) {
    double total = 0;
    DIR *listing = opendir(directory);
    for (struct dirent *entry; listing != NULL && (entry = readdir(listing)) != NULL;) {
        char path[4096];
        struct stat status;
        (void)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        if (stat(path, &status) == 0 && S_ISREG(status.st_mode)) {
            total += (double)status.st_blocks * 512.0 / 1048576.0;
        }
    }
    if (listing != NULL) {
        (void)closedir(listing);
    }
    return total;
}

static void take_sample(struct soak *soak, double begun) {
    if (soak->sample_count < SAMPLES_MAX) {
        soak->samples[soak->sample_count++] =
            (struct sample){now_seconds() - begun, rss_mib(), disk_mib(soak->directory)};
    }
}

static void verify(struct soak *soak) {
    tern_verify_report found = {0};
    tern_error error = TERN_ERROR_INIT;
    judge(soak, "verify", tern_verify(soak->db, NULL, NULL, NULL, NULL, &found, &error), &error);
    if (found.findings != 0) {
        print_error("verify has %llu findings\n", (unsigned long long)found.findings);
        atomic_fetch_add(&soak->failures, 1);
        atomic_store(&soak->is_over, true);
    }
}

/* Every second a sample, now and then care. */
static void look_on(struct soak *soak, unsigned seconds) {
    tern_error error = TERN_ERROR_INIT;
    double begun = now_seconds();
    unsigned told = seconds / 20 > 10 ? seconds / 20 : 10;
    for (unsigned i = 1; i <= seconds && !atomic_load(&soak->is_over); i++) {
        double rest = begun + i - now_seconds();
        if (rest > 0) {
            struct timespec pause = {(time_t)rest, (long)((rest - (double)(time_t)rest) * 1e9)};
            (void)nanosleep(&pause, NULL);
        }
        take_sample(soak, begun);
        if (i % 7 == 0) {
            judge(soak, "a checkpoint", tern_checkpoint(soak->db, &error), &error);
        }
        if (i % 60 == 0) {
            judge(soak, "compaction", tern_compact(soak->db, NULL, NULL, &error), &error);
        }
        if (i % 45 == 0) {
            verify(soak);
        }
        if (i % told == 0) {
            const struct sample *last = &soak->samples[soak->sample_count - 1];
            print_message("%6u of %u s: %6.1f MiB resident, %6.1f MiB on disk, %llu operations, "
                          "%llu conflicts, %llu refused\n",
                          i, seconds, last->rss_mib, last->disk_mib,
                          (unsigned long long)atomic_load(&soak->operations),
                          (unsigned long long)atomic_load(&soak->conflicts),
                          (unsigned long long)atomic_load(&soak->refusals));
        }
        /* Late by more than it should be: the machine has other things to do. */
        if (now_seconds() - begun > (double)i + 1) {
            i = (unsigned)(now_seconds() - begun);
        }
    }
}

/* By least squares: how much it grew from the first sample judged to the last. */
static double growth_of(const struct soak *soak, size_t from, size_t offset, double *out_mean) {
    double n = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (size_t i = from; i < soak->sample_count; i++) {
        double value;
        memcpy(&value, (const char *)&soak->samples[i] + offset, sizeof(value));
        double at = soak->samples[i].seconds;
        n += 1, x += at, y += value, xx += at * at, xy += at * value;
    }
    double spread = n * xx - x * x;
    double slope = spread > 0 ? (n * xy - x * y) / spread : 0;
    *out_mean = y / n;
    return slope * (soak->samples[soak->sample_count - 1].seconds - soak->samples[from].seconds);
}

static bool is_flat(const struct soak *soak, const char *what, size_t offset, double slack_mib) {
    double mean;
    double growth = growth_of(soak, soak->sample_count / 3, offset, &mean);
    double allowed = mean / 10 > slack_mib ? mean / 10 : slack_mib;
    bool is = growth <= allowed;
    print_message("%s: %.1f MiB on average, grew by %+.1f MiB (allowed %.1f): %s\n", what, mean,
                  growth, allowed, is ? "flat" : "NOT FLAT");
    return is;
}

static void open_all(struct soak *soak) {
    static const char *const names[KEYSPACES] = {"tree", "levels", "packed"};
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.create_if_missing = true;
    options.memory_bytes = MEMORY_BYTES;
    assert_ok(tern_open(soak->directory, &options, &soak->db, &error), error);
    for (unsigned i = 0; i < KEYSPACES; i++) {
        tern_keyspace_options keyspace = TERN_KEYSPACE_OPTIONS_INIT;
        keyspace.engine = i == 1 ? TERN_ENGINE_LSM : TERN_ENGINE_BTREE;
        keyspace.compression = i == 2 ? TERN_COMPRESSION_ZSTD : TERN_COMPRESSION_NONE;
        assert_ok(tern_keyspace_create(soak->db, names[i], &keyspace, &soak->keyspaces[i], &error),
                  error);
    }
}

static void memory_and_disk_stay_flat(void **state) {
    (void)state;
    struct soak soak = {.directory = temporary_directory_create(),
                        .seed = seeded_random_seed("soak"),
                        .samples = calloc(SAMPLES_MAX, sizeof(struct sample))};
    struct worker workers[WRITERS + 1];
    tern_error error = TERN_ERROR_INIT;
    unsigned seconds = seconds_wanted();
    assert_non_null(soak.samples);
    open_all(&soak);
    for (unsigned i = 0; i <= WRITERS; i++) {
        workers[i].soak = &soak;
        seeded_random_init(&workers[i].random, soak.seed + i);
        assert_int_equal(
            pthread_create(&workers[i].thread, NULL, i < WRITERS ? write_on : read_on, &workers[i]),
            0);
    }
    look_on(&soak, seconds);
    atomic_store(&soak.is_over, true);
    for (unsigned i = 0; i <= WRITERS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    }
    verify(&soak);
    assert_int_equal(atomic_load(&soak.failures), 0);
    assert_true(atomic_load(&soak.operations) > 0);
    if (seconds >= JUDGED_SECONDS) {
        bool flat = is_flat(&soak, "memory", offsetof(struct sample, rss_mib), 6.0);
        flat = is_flat(&soak, "disk", offsetof(struct sample, disk_mib), 12.0) && flat;
        assert_true(flat);
    }
    assert_ok(tern_close(soak.db, &error), error);
    free(soak.samples);
    temporary_directory_remove(soak.directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_and_disk_stay_flat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
