/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading much at once: many records a transaction, durability `none` while loading (a crash of the
 * machine means loading again), one checkpoint at the end that makes all of it durable. Large
 * values are written and read in chunks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tern/tern.h>

#define RECORDS         100000
#define RECORDS_PER_TXN 1000
#define CHUNK_BYTES     65536
#define CHUNKS          64

static void check(tern_status status, const tern_error *error) {
    if (status != TERN_OK) {
        char line[1024];
        (void)tern_error_format(error, line, sizeof(line));
        (void)fprintf(stderr, "%s\n", line);
        exit(1);
    }
}

static void load_records(tern_db *db, tern_keyspace *users) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    options.durability = TERN_DURABILITY_NONE;
    /* Nobody else writes here, so there is nothing to check for conflicts. */
    options.isolation = TERN_ISOLATION_READ_COMMITTED;
    check(tern_txn_begin(db, &options, &txn, &error), &error);
    for (int i = 0; i < RECORDS; i++) {
        char key[32];
        char value[64];
        (void)snprintf(key, sizeof(key), "user:%08d", i);
        (void)snprintf(value, sizeof(value), "{\"id\": %d, \"name\": \"user %d\"}", i, i);
        check(tern_txn_put(txn, users, tern_slice_str(key), tern_slice_str(value), NULL),
              tern_txn_error(txn));
        if ((i + 1) % RECORDS_PER_TXN == 0) {
            check(tern_txn_commit(txn), tern_txn_error(txn));
            check(tern_txn_restart(txn), tern_txn_error(txn));
        }
    }
    tern_txn_free(txn);
}

/* 4 MiB through a window of 64 KiB. */
static void load_large(tern_db *db, tern_keyspace *files) {
    static char chunk[CHUNK_BYTES];
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    tern_value_writer *writer;
    check(tern_txn_begin(db, NULL, &txn, &error), &error);
    check(tern_txn_put_begin(txn, files, tern_slice_str("film"), NULL, &writer),
          tern_txn_error(txn));
    for (int i = 0; i < CHUNKS; i++) {
        memset(chunk, 'a' + i % 26, sizeof(chunk));
        check(tern_value_writer_append(writer, tern_slice_of(chunk, sizeof(chunk))),
              tern_txn_error(txn));
    }
    check(tern_value_writer_finish(writer), tern_txn_error(txn));
    check(tern_txn_commit(txn), tern_txn_error(txn));
    tern_txn_free(txn);
}

static uint64_t read_large(tern_db *db, tern_keyspace *files) {
    static char chunk[CHUNK_BYTES];
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    uint64_t offset = 0;
    uint64_t whole;
    size_t size = 1;
    options.read_only = true;
    check(tern_txn_begin(db, &options, &txn, &error), &error);
    while (size > 0) {
        check(tern_txn_read(txn, files, tern_slice_str("film"), offset, chunk, sizeof(chunk), &size,
                            &whole),
              tern_txn_error(txn));
        offset += size;
    }
    tern_txn_free(txn);
    return offset;
}

static uint64_t stat_of(tern_db *db, const char *name) {
    uint64_t value = 0;
    if (tern_stat_get(db, name, &value) != TERN_OK) {
        (void)fprintf(stderr, "no statistic %s\n", name);
        exit(1);
    }
    return value;
}

int main(void) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_keyspace_options compressed = TERN_KEYSPACE_OPTIONS_INIT;
    tern_db *db;
    tern_keyspace *users;
    tern_keyspace *files;
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)64 << 20;
    compressed.compression = TERN_COMPRESSION_LZ4;
    check(tern_open("load.tern", &options, &db, &error), &error);
    if (tern_keyspace_open(db, "users", &users, &error) != TERN_OK) {
        check(tern_keyspace_create(db, "users", &compressed, &users, &error), &error);
    }
    if (tern_keyspace_open(db, "files", &files, &error) != TERN_OK) {
        check(tern_keyspace_create(db, "files", NULL, &files, &error), &error);
    }

    load_records(db, users);
    load_large(db, files);
    check(tern_checkpoint(db, &error), &error);
    printf("%d records in %llu commits, %llu bytes of log\n", RECORDS,
           (unsigned long long)stat_of(db, "commits"),
           (unsigned long long)stat_of(db, "log_appended_bytes"));
    printf("large value: %llu bytes read back\n", (unsigned long long)read_large(db, files));
    check(tern_close(db, &error), &error);
    return 0;
}
