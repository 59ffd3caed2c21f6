/* SPDX-License-Identifier: Apache-2.0 */
/* bench: a few seconds of loading, reading, scanning and durable writing in a database of its own,
 * which is removed afterwards. One thread; each operation is timed by itself. */
#include "cli/interrupt.h"
#include "cli/latencies.h"
#include "cli/quantity.h"
#include "cli/run.h"
#include "cli/terminal.h"
#include "cli/text_table.h"
#include <errno.h>
#include <ftw.h>
#include <stdlib.h>

enum { KEY_BYTES = 16, LOAD_BATCH = 1000, SCAN_ENTRIES = 100, FTW_DESCRIPTORS = 8 };

struct bench {
    struct session *session;
    tern_db *db;
    tern_keyspace *keyspace;
    uint64_t records, duration_ns;
    char *value;
    size_t value_bytes;
    uint64_t random;
    struct latencies latencies;
    struct text_table table;
    struct json_writer json;
};

/* splitmix64: every number once, in an order that looks random. */
static uint64_t scramble(uint64_t number) {
    number += UINT64_C(0x9e3779b97f4a7c15);
    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
    return number ^ number >> 31;
}

static tern_slice make_key(uint64_t record, char key[KEY_BYTES + 1]) {
    snprintf(key, KEY_BYTES + 1, "%016llx", (unsigned long long)scramble(record));
    return tern_slice_of(key, KEY_BYTES);
}

static tern_slice make_value(struct bench *bench, uint64_t record) {
    uint64_t seed = scramble(record ^ UINT64_C(0x7465726e));
    size_t size = bench->value_bytes < sizeof(seed) ? bench->value_bytes : sizeof(seed);
    memcpy(bench->value, &seed, size);
    return tern_slice_of(bench->value, bench->value_bytes);
}

static uint64_t next_record(struct bench *bench) {
    bench->random++;
    return scramble(bench->random) % bench->records;
}

static void report(struct bench *bench, const char *name, uint64_t ops, uint64_t duration_ns) {
    struct latencies *latencies = &bench->latencies;
    double seconds = (double)duration_ns / 1e9;
    double rate = seconds > 0 ? (double)ops / seconds : 0;
    uint64_t points_ns[] = {latencies_percentile_ns(latencies, 50),
                            latencies_percentile_ns(latencies, 95),
                            latencies_percentile_ns(latencies, 99), latencies->max_ns};
    if (bench->session->settings.is_json) {
        static const char *const names[] = {"p50_us", "p95_us", "p99_us", "max_us"};
        json_begin_object(&bench->json, NULL);
        json_text(&bench->json, "name", name);
        json_unsigned(&bench->json, "ops", ops);
        json_real(&bench->json, "seconds", seconds);
        json_real(&bench->json, "ops_per_s", rate);
        for (size_t i = 0; i < 4; i++) {
            json_real(&bench->json, names[i], (double)points_ns[i] / 1e3);
        }
        json_end_object(&bench->json);
    } else {
        struct buffer text = {0};
        text_table_cell(&bench->table, name);
        quantity_print_count(ops, &text);
        text_table_cell(&bench->table, buffer_text(&text));
        buffer_clear(&text);
        quantity_print_count((uint64_t)rate, &text);
        text_table_cell(&bench->table, buffer_text(&text));
        for (size_t i = 0; i < 4; i++) {
            buffer_clear(&text);
            quantity_print_duration_ns(points_ns[i], &text);
            text_table_cell(&bench->table, buffer_text(&text));
        }
        buffer_release(&text);
    }
    latencies_clear(latencies);
}

/* Loads all records in random order, LOAD_BATCH a transaction. A latency is that of a batch. */
static tern_status load(struct bench *bench) {
    tern_txn *txn = NULL;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    struct progress progress;
    options.durability = TERN_DURABILITY_INTERVAL;
    tern_error *error = &bench->session->error;
    tern_status status = tern_txn_begin(bench->db, &options, &txn, error);
    if (status != TERN_OK) {
        return status;
    }
    progress_open(&progress, bench->session->err, session_shows_progress(bench->session),
                  "records");
    uint64_t begin_ns = terminal_now_ns();
    for (uint64_t record = 0; status == TERN_OK && record < bench->records;) {
        char key[KEY_BYTES + 1];
        uint64_t batch_ns = terminal_now_ns();
        for (int i = 0; status == TERN_OK && i < LOAD_BATCH && record < bench->records; i++) {
            status = tern_txn_put(txn, bench->keyspace, make_key(record, key),
                                  make_value(bench, record), NULL);
            record++;
        }
        status = status == TERN_OK ? tern_txn_commit(txn) : status;
        status = status == TERN_OK ? tern_txn_restart(txn) : status;
        latencies_add(&bench->latencies, terminal_now_ns() - batch_ns);
        progress_update(&progress, "load", record, record, bench->records);
        if (status != TERN_OK) {
            session_fail_txn(bench->session, status, txn);
        } else if (interrupt_is_pending()) {
            status = session_fail(bench->session, TERN_CANCELLED, "cancelled");
        }
    }
    uint64_t duration_ns = terminal_now_ns() - begin_ns;
    progress_close(&progress);
    tern_txn_free(txn);
    if (status == TERN_OK) {
        report(bench, "load (batch of 1000)", bench->records, duration_ns);
    }
    return status;
}

typedef tern_status (*bench_step)(struct bench *bench);

static tern_status read_one(struct bench *bench) {
    char key[KEY_BYTES + 1];
    char buffer[4096];
    size_t size = 0;
    uint64_t record = next_record(bench);
    tern_status status = tern_get(bench->keyspace, make_key(record, key), buffer, sizeof(buffer),
                                  &size, &bench->session->error);
    bool is_larger = status == TERN_BUFFER_TOO_SMALL && size == bench->value_bytes;
    if ((status == TERN_OK || is_larger) && size == bench->value_bytes) {
        return TERN_OK;
    }
    return status != TERN_OK && status != TERN_NOT_FOUND
               ? status
               : session_fail(bench->session, TERN_CORRUPTION,
                              "a record that was loaded is not "
                              "there as it was");
}

static tern_status scan_some(struct bench *bench) {
    char key[KEY_BYTES + 1];
    tern_entry entries[SCAN_ENTRIES];
    tern_txn *txn = NULL;
    tern_cursor *cursor = NULL;
    tern_txn_options txn_options = TERN_TXN_OPTIONS_INIT;
    tern_cursor_options options = TERN_CURSOR_OPTIONS_INIT;
    tern_slice begin = make_key(next_record(bench), key);
    txn_options.read_only = true;
    options.begin = &begin;
    tern_status status = tern_txn_begin(bench->db, &txn_options, &txn, &bench->session->error);
    if (status != TERN_OK) {
        return status;
    }
    status = tern_cursor_open(txn, bench->keyspace, &options, &cursor);
    for (size_t left = SCAN_ENTRIES; status == TERN_OK && left > 0;) {
        size_t count = 0;
        status = tern_cursor_next_batch(cursor, entries, left, &count);
        left -= status == TERN_OK ? count : 0;
    }
    if (status != TERN_OK && status != TERN_NOT_FOUND) {
        session_fail_txn(bench->session, status, txn);
    }
    tern_cursor_close(cursor);
    tern_txn_free(txn);
    return status == TERN_NOT_FOUND ? TERN_OK : status;
}

static tern_status write_with(struct bench *bench, tern_durability durability) {
    char key[KEY_BYTES + 1];
    uint64_t record = next_record(bench);
    tern_write_options options = {.size = sizeof(options), .durability = durability};
    return tern_put(bench->keyspace, make_key(record, key), make_value(bench, record), &options,
                    &bench->session->error);
}

static tern_status write_fast(struct bench *bench) {
    return write_with(bench, TERN_DURABILITY_INTERVAL);
}

static tern_status write_durably(struct bench *bench) {
    return write_with(bench, TERN_DURABILITY_FULL);
}

static tern_status measure(struct bench *bench, const char *name, bench_step step) {
    uint64_t begin_ns = terminal_now_ns();
    uint64_t now_ns = begin_ns;
    uint64_t ops = 0;
    while (now_ns - begin_ns < bench->duration_ns) {
        tern_status status = step(bench);
        if (status != TERN_OK) {
            return status;
        }
        if (interrupt_is_pending()) {
            return session_fail(bench->session, TERN_CANCELLED, "cancelled");
        }
        uint64_t after_ns = terminal_now_ns();
        latencies_add(&bench->latencies, after_ns - now_ns);
        now_ns = after_ns;
        ops++;
    }
    report(bench, name, ops, now_ns - begin_ns);
    return TERN_OK;
}

static tern_status measure_all(struct bench *bench) {
    static const struct {
        const char *name;
        bench_step step;
    } steps[] = {
        {"read at random", read_one},
        {"scan of 100", scan_some},
        {"write at random", write_fast},
        {"durable write", write_durably},
    };
    tern_status status = load(bench);
    for (size_t i = 0; status == TERN_OK && i < sizeof(steps) / sizeof(steps[0]); i++) {
        status = measure(bench, steps[i].name, steps[i].step);
    }
    return status;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static tern_status open_and_measure(struct bench *bench, const char *directory) {
    struct session *session = bench->session;
    tern_db_options options = session->options;
    options.create_if_missing = true;
    options.read_only = false;
    tern_status status = tern_open(directory, &options, &bench->db, &session->error);
    if (status != TERN_OK) {
        return status;
    }
    status = tern_keyspace_create(bench->db, "bench", NULL, &bench->keyspace, &session->error);
    if (status == TERN_OK) {
        status = measure_all(bench);
    }
    tern_error error = TERN_ERROR_INIT;
    tern_status closed = tern_close(bench->db, &error);
    if (status == TERN_OK && closed != TERN_OK) {
        session->error = error;
        status = closed;
    }
    return status;
}

static void print_results(struct bench *bench, tern_status status) {
    struct session *session = bench->session;
    if (session->settings.is_json) {
        json_end_array(&bench->json);
        json_end_object(&bench->json);
        json_end_line(&bench->json);
    } else if (status == TERN_OK) {
        struct buffer text = {0};
        quantity_print_count(bench->records, &text);
        buffer_append_text(&text, " records, keys of 16 bytes, values of ");
        quantity_print_bytes(bench->value_bytes, &text);
        fprintf(session->out, "%s, one thread\n", buffer_text(&text));
        buffer_release(&text);
        text_table_print(&bench->table, session->out, terminal_width_columns(session->out),
                         session->has_color);
    }
}

tern_status run_bench(struct session *session, const struct invocation *invocation) {
    static const char *const names[] = {"work", ">operations", ">a second", ">p50",
                                        ">p95", ">p99",        ">max"};
    const char *temporary = getenv("TMPDIR");
    struct bench bench = {.session = session, .json = session_json(session)};
    bench.records = invocation_number(invocation, OPTION_RECORDS, 200000);
    bench.duration_ns = invocation_number(invocation, OPTION_SECONDS, 2) * UINT64_C(1000000000);
    bench.value_bytes = (size_t)invocation_number(invocation, OPTION_VALUE_BYTES, 100);
    if (bench.records == 0 || bench.value_bytes > 1 << 20 ||
        invocation_number(invocation, OPTION_SECONDS, 2) > 86400) {
        return session_fail(session, TERN_INVALID,
                            "bench: --records from 1, --value-bytes up to 1 "
                            "MiB, --seconds up to 86400");
    }
    struct buffer directory = {0};
    buffer_print(&directory, "%s/tern-bench-XXXXXX",
                 invocation_text(invocation, OPTION_BENCH_DIRECTORY,
                                 temporary != NULL && temporary[0] != '\0' ? temporary : "/tmp"));
    interrupt_hold_signals();
    if (mkdtemp(directory.data) == NULL) {
        int code = errno;
        interrupt_let_signals_go();
        fail_file(&session->error, code, buffer_text(&directory), "cannot make a directory");
        buffer_release(&directory);
        return session->error.status;
    }
    bench.value = memory_allocate(bench.value_bytes);
    memset(bench.value, 'v', bench.value_bytes);
    text_table_open(&bench.table, names, sizeof(names) / sizeof(names[0]));
    if (session->settings.is_json) {
        json_begin_object(&bench.json, NULL);
        json_unsigned(&bench.json, "records", bench.records);
        json_unsigned(&bench.json, "value_bytes", bench.value_bytes);
        json_begin_array(&bench.json, "results");
    }
    tern_status status = open_and_measure(&bench, buffer_text(&directory));
    print_results(&bench, status);
    text_table_release(&bench.table);
    free(bench.value);
    nftw(buffer_text(&directory), remove_entry, FTW_DESCRIPTORS, FTW_DEPTH | FTW_PHYS);
    interrupt_let_signals_go();
    buffer_release(&directory);
    return status;
}
