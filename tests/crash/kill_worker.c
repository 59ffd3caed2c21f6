/* SPDX-License-Identifier: Apache-2.0 */
#include "kill_worker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KEPT            400u
#define DELETE_EVERY    500u
#define VALUE_BYTES_MAX 700u
#define KEYSPACES       2

struct worker {
    tern_db *db;
    tern_keyspace *keyspaces[KEYSPACES];
    uint32_t thread;
    int descriptor;
    pthread_t handle;
};

static const char *const keyspace_names[KEYSPACES] = {"left", "right"};

void kill_options(tern_db_options *options) {
    options->create_if_missing = true;
    options->memory_bytes = (uint64_t)16 << 20;
    options->overlay_bytes = (uint64_t)384 << 10;
    options->segment_bytes = (uint64_t)256 << 10;
    options->sync_interval_ms = 10;
    options->buffered_io = true;
    options->direct_log_syncs = 1;
}

static tern_slice number_key(uint32_t thread, uint32_t number, char key[32]) {
    (void)snprintf(key, 32, "%u/%08u", thread, number);
    return tern_slice_str(key);
}

static tern_slice named_key(const char *name, uint32_t thread, char key[32]) {
    (void)snprintf(key, 32, "%s/%u", name, thread);
    return tern_slice_str(key);
}

static tern_slice value_of(uint32_t thread, uint32_t number, uint8_t value[VALUE_BYTES_MAX]) {
    uint32_t mixed = (number + 1) * 2654435761u ^ thread * 40503u;
    size_t size = 8 + mixed % (VALUE_BYTES_MAX - 8);
    memset(value, (int)(mixed >> 24), size);
    memcpy(value, &number, sizeof(number));
    return tern_slice_of(value, size);
}

static tern_status read_number(tern_txn *txn, tern_keyspace *keyspace, const char *name,
                               uint32_t thread, uint32_t *out_number) {
    char key[32];
    uint32_t number = 0;
    tern_status status =
        tern_txn_get(txn, keyspace, named_key(name, thread, key), &number, sizeof(number), NULL);
    if (status == TERN_OK || status == TERN_NOT_FOUND) {
        *out_number = status == TERN_OK ? number : 0;
        status = TERN_OK;
    }
    return status;
}

/* ---- working ---- */

static tern_status forget_old(struct worker *worker, tern_txn *txn, uint32_t number) {
    char begin_key[32];
    char end_key[32];
    char key[32];
    uint32_t floor = number - KEPT;
    tern_slice begin = number_key(worker->thread, 0, begin_key);
    tern_slice end = number_key(worker->thread, floor, end_key);
    tern_status status = TERN_OK;
    for (int i = 0; status == TERN_OK && i < KEYSPACES; i++) {
        status = tern_txn_delete_range(txn, worker->keyspaces[i], &begin, &end);
    }
    return status == TERN_OK
               ? tern_txn_put(txn, worker->keyspaces[0], named_key("floor", worker->thread, key),
                              tern_slice_of(&floor, sizeof(floor)), NULL)
               : status;
}

static tern_status write_number(struct worker *worker, tern_txn *txn, uint32_t number) {
    char key[32];
    uint8_t value[VALUE_BYTES_MAX];
    tern_slice bytes = value_of(worker->thread, number, value);
    tern_status status = TERN_OK;
    for (int i = 0; status == TERN_OK && i < KEYSPACES; i++) {
        status = tern_txn_put(txn, worker->keyspaces[i], number_key(worker->thread, number, key),
                              bytes, NULL);
    }
    if (status == TERN_OK) {
        status = tern_txn_put(txn, worker->keyspaces[0], named_key("head", worker->thread, key),
                              tern_slice_of(&number, sizeof(number)), NULL);
    }
    if (status == TERN_OK && number % DELETE_EVERY == 0) {
        status = forget_old(worker, txn, number);
    }
    return status == TERN_OK ? tern_txn_commit(txn) : status;
}

static tern_status commit_number(struct worker *worker, uint32_t number) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    /* Now and then all threads ask for full durability for a while: the log becomes direct, and
     * mapped again when they do not. */
    options.durability = number / 32 % 2 == 0
                             ? TERN_DURABILITY_FULL
                             : (tern_durability)(1 + (number + worker->thread) % 3);
    tern_status status = tern_txn_begin(worker->db, &options, &txn, &error);
    if (status == TERN_OK) {
        status = write_number(worker, txn, number);
        error = *tern_txn_error(txn);
        tern_txn_free(txn);
    }
    if (status != TERN_OK && status != TERN_CONFLICT) {
        (void)fprintf(stderr, "thread %u, commit %u: %s: %s\n", worker->thread, number,
                      tern_status_name(status), error.message);
    }
    return status;
}

static tern_status read_head(struct worker *worker, uint32_t *out_head) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    tern_status status = tern_txn_begin(worker->db, NULL, &txn, &error);
    if (status == TERN_OK) {
        status = read_number(txn, worker->keyspaces[0], "head", worker->thread, out_head);
        tern_txn_free(txn);
    }
    return status;
}

static void *work(void *context) {
    struct worker *worker = context;
    uint32_t number = 0;
    if (read_head(worker, &number) != TERN_OK) {
        return NULL;
    }
    for (;;) {
        number++;
        /* A false conflict of the compact table is no failure: try again. */
        tern_status status = commit_number(worker, number);
        if (status == TERN_CONFLICT) {
            number--;
            continue;
        }
        struct kill_acknowledgement told = {worker->thread, number};
        if (status != TERN_OK || write(worker->descriptor, &told, sizeof(told)) != sizeof(told)) {
            return NULL;
        }
    }
}

static tern_status open_keyspaces(tern_db *db, struct worker *worker, tern_error *error) {
    tern_status status = TERN_OK;
    for (int i = 0; status == TERN_OK && i < KEYSPACES; i++) {
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        options.compression = i == 0 ? TERN_COMPRESSION_NONE : TERN_COMPRESSION_LZ4;
        options.page_bytes = 4096;
        status = tern_keyspace_open(db, keyspace_names[i], &worker->keyspaces[i], error);
        if (status == TERN_NOT_FOUND) {
            status =
                tern_keyspace_create(db, keyspace_names[i], &options, &worker->keyspaces[i], error);
        }
    }
    return status;
}

int kill_worker_run(const char *directory, int descriptor) {
    struct worker workers[KILL_THREADS];
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    tern_db *db;
    kill_options(&options);
    tern_status status = tern_open(directory, &options, &db, &error);
    if (status == TERN_OK) {
        workers[0] = (struct worker){.db = db, .descriptor = descriptor};
        status = open_keyspaces(db, &workers[0], &error);
    }
    if (status != TERN_OK) {
        (void)fprintf(stderr, "worker: %s: %s\n", tern_status_name(status), error.message);
        return 3;
    }
    for (uint32_t i = 0; i < KILL_THREADS; i++) {
        workers[i] = workers[0];
        workers[i].thread = i;
        if (pthread_create(&workers[i].handle, NULL, work, &workers[i]) != 0) {
            return 3;
        }
    }
    for (uint32_t i = 0; i < KILL_THREADS; i++) {
        (void)pthread_join(workers[i].handle, NULL);
    }
    return 3;
}

/* ---- checking ---- */

static bool complain(uint32_t thread, const char *what, uint32_t number) {
    (void)fprintf(stderr, "thread %u: %s (%u)\n", thread, what, number);
    return false;
}

/* The keys of `thread` are those from `floor` to `head`, no less, no more. */
static bool check_run(tern_txn *txn, tern_keyspace *keyspace, uint32_t thread, uint32_t floor,
                      uint32_t head) {
    char begin_key[32];
    char end_key[32];
    tern_slice begin = number_key(thread, 0, begin_key);
    tern_slice end = number_key(thread, 99999999, end_key);
    tern_cursor_options options = TERN_CURSOR_OPTIONS_INIT;
    tern_cursor *cursor;
    options.begin = &begin;
    options.end = &end;
    if (tern_cursor_open(txn, keyspace, &options, &cursor) != TERN_OK) {
        return complain(thread, tern_txn_error(txn)->message, 0);
    }
    uint32_t expected = floor == 0 ? 1 : floor;
    bool is_right = true;
    tern_status status;
    while (is_right && (status = tern_cursor_next(cursor)) == TERN_OK) {
        char key[32];
        uint8_t value[VALUE_BYTES_MAX];
        tern_slice found_value;
        tern_slice found = tern_cursor_key(cursor);
        tern_slice wanted = number_key(thread, expected, key);
        tern_slice wanted_value = value_of(thread, expected, value);
        is_right = found.size == wanted.size && memcmp(found.data, wanted.data, found.size) == 0;
        is_right = is_right && tern_cursor_value(cursor, &found_value) == TERN_OK &&
                   found_value.size == wanted_value.size &&
                   memcmp(found_value.data, wanted_value.data, found_value.size) == 0;
        if (!is_right) {
            (void)complain(thread, "a wrong key or value where one was expected", expected);
        }
        expected++;
    }
    if (is_right && (status != TERN_NOT_FOUND || expected != head + 1)) {
        is_right = complain(thread, "the keys end before", expected);
    }
    tern_cursor_close(cursor);
    return is_right;
}

bool kill_check_thread(tern_db *db, uint32_t thread, uint32_t *out_head) {
    struct worker worker = {.db = db, .thread = thread};
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    uint32_t head = 0;
    uint32_t floor = 0;
    if (open_keyspaces(db, &worker, &error) != TERN_OK ||
        tern_txn_begin(db, NULL, &txn, &error) != TERN_OK) {
        return complain(thread, error.message, 0);
    }
    bool is_right = read_number(txn, worker.keyspaces[0], "head", thread, &head) == TERN_OK &&
                    read_number(txn, worker.keyspaces[0], "floor", thread, &floor) == TERN_OK;
    for (int i = 0; is_right && i < KEYSPACES; i++) {
        is_right = check_run(txn, worker.keyspaces[i], thread, floor, head);
    }
    tern_txn_free(txn);
    if (is_right) {
        *out_head = head;
    }
    return is_right;
}
