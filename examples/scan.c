/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading in order: a prefix forwards, the newest entries backwards, everything in batches, how
 * many keys a range has, counted and estimated, and the same place again and again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tern/tern.h>

#define CITIES 5
#define DAYS   365

static void check(tern_status status, const tern_error *error) {
    if (status != TERN_OK) {
        char line[1024];
        (void)tern_error_format(error, line, sizeof(line));
        (void)fprintf(stderr, "%s\n", line);
        exit(1);
    }
}

/* Keys sort as bytes: "city/day" keeps the days of a city together and in order. */
static void fill(tern_db *db, tern_keyspace *weather) {
    static const char *const cities[CITIES] = {"athens", "bergen", "cairo", "delhi", "oslo"};
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    check(tern_txn_begin(db, NULL, &txn, &error), &error);
    for (int city = 0; city < CITIES; city++) {
        for (int day = 1; day <= DAYS; day++) {
            char key[32];
            char value[32];
            (void)snprintf(key, sizeof(key), "%s/%03d", cities[city], day);
            (void)snprintf(value, sizeof(value), "%d degrees", (city * 7 + day * 3) % 40 - 5);
            check(tern_txn_put(txn, weather, tern_slice_str(key), tern_slice_str(value), NULL),
                  tern_txn_error(txn));
        }
    }
    check(tern_txn_commit(txn), tern_txn_error(txn));
    tern_txn_free(txn);
}

static void print_entry(tern_cursor *cursor) {
    tern_slice key = tern_cursor_key(cursor);
    tern_slice value;
    check(tern_cursor_value(cursor, &value), tern_cursor_error(cursor));
    printf("  %.*s: %.*s\n", (int)key.size, (const char *)key.data, (int)value.size,
           (const char *)value.data);
}

/* Bounds make a prefix scan: from "cairo/" to the byte string just after all that begin with it. */
static void first_days(tern_txn *txn, tern_keyspace *weather) {
    tern_slice begin = tern_slice_str("cairo/");
    tern_slice end = tern_slice_str("cairo0"); /* '0' follows '/' */
    tern_cursor_options options = TERN_CURSOR_OPTIONS_INIT;
    tern_cursor *cursor;
    options.begin = &begin;
    options.end = &end;
    check(tern_cursor_open(txn, weather, &options, &cursor), tern_txn_error(txn));
    printf("first days of cairo:\n");
    for (int i = 0; i < 3 && tern_cursor_next(cursor) == TERN_OK; i++) {
        print_entry(cursor);
    }
    printf("last days of cairo, newest first:\n");
    tern_status status = tern_cursor_seek_previous(cursor, end);
    for (int i = 0; i < 3 && status == TERN_OK; i++) {
        print_entry(cursor);
        status = tern_cursor_previous(cursor);
    }
    tern_cursor_close(cursor);
}

/* The fastest way over many: a batch at a time, without a copy. */
static void add_up(tern_txn *txn, tern_keyspace *weather) {
    tern_entry entries[128];
    tern_cursor *cursor;
    size_t count;
    long keys = 0;
    long degrees = 0;
    check(tern_cursor_open(txn, weather, NULL, &cursor), tern_txn_error(txn));
    while (tern_cursor_next_batch(cursor, entries, 128, &count) == TERN_OK) {
        for (size_t i = 0; i < count; i++) {
            char text[16] = "";
            size_t size = entries[i].value.size < 15 ? entries[i].value.size : 15;
            memcpy(text, entries[i].value.data, size);
            degrees += strtol(text, NULL, 10);
            keys++;
        }
    }
    tern_cursor_close(cursor);
    printf("%ld entries, %.1f degrees on average\n", keys, (double)degrees / (double)keys);
}

/* Who reads again and again keeps the transaction and the cursor, and renews them. */
static void watch(tern_txn *txn, tern_keyspace *weather) {
    static const char *const readings[] = {"20 degrees", "21 degrees", "19 degrees"};
    tern_error error = TERN_ERROR_INIT;
    tern_cursor *cursor;
    check(tern_cursor_open(txn, weather, NULL, &cursor), tern_txn_error(txn));
    for (int i = 0; i < 3; i++) {
        tern_entry newest;
        size_t count;
        check(tern_put(weather, tern_slice_str("rome/now"), tern_slice_str(readings[i]), NULL,
                       &error),
              &error);
        check(tern_txn_renew(txn), tern_txn_error(txn));
        check(tern_cursor_seek_batch(cursor, tern_slice_str("rome/"), &newest, 1, &count),
              tern_cursor_error(cursor));
        printf("rome now: %.*s\n", (int)newest.value.size, (const char *)newest.value.data);
    }
    tern_cursor_close(cursor);
}

int main(void) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_txn_options reading = TERN_TXN_OPTIONS_INIT;
    tern_db *db;
    tern_keyspace *weather;
    tern_txn *txn;
    uint64_t count;
    uint64_t estimated;
    uint64_t bytes;
    options.create_if_missing = true;
    check(tern_open("weather.tern", &options, &db, &error), &error);
    if (tern_keyspace_open(db, "weather", &weather, &error) != TERN_OK) {
        check(tern_keyspace_create(db, "weather", NULL, &weather, &error), &error);
    }
    fill(db, weather);
    check(tern_checkpoint(db, &error), &error); /* estimates are made from what is in pages */

    reading.read_only = true;
    check(tern_txn_begin(db, &reading, &txn, &error), &error);
    first_days(txn, weather);
    add_up(txn, weather);
    tern_slice begin = tern_slice_str("b");
    tern_slice end = tern_slice_str("e");
    check(tern_txn_count(txn, weather, &begin, &end, &count), tern_txn_error(txn));
    check(tern_txn_estimate(txn, weather, &begin, &end, &estimated, &bytes), tern_txn_error(txn));
    printf("from b to e: %llu keys counted, about %llu estimated\n", (unsigned long long)count,
           (unsigned long long)estimated);
    watch(txn, weather);
    tern_txn_free(txn);
    check(tern_close(db, &error), &error);
    return 0;
}
