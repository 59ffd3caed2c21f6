/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merge operations, compare-and-set and expiry: counters that threads raise without ever
 * conflicting, a lease that one of two gets, and a session that ends by itself.
 */
#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <tern/tern.h>
#include <time.h>

#define THREADS           4
#define VISITS_PER_THREAD 1000

static void check(tern_status status, const tern_error *error) {
    if (status != TERN_OK) {
        char line[1024];
        (void)tern_error_format(error, line, sizeof(line));
        (void)fprintf(stderr, "%s\n", line);
        exit(1);
    }
}

/* Numbers of TERN_MERGE_ADD are 8 bytes, least significant first. */
static tern_slice number(int64_t value, unsigned char bytes[8]) {
    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)((uint64_t)value >> (8 * i));
    }
    return tern_slice_of(bytes, 8);
}

static int64_t read_number(tern_keyspace *keyspace, const char *key) {
    unsigned char bytes[8];
    tern_error error = TERN_ERROR_INIT;
    uint64_t value = 0;
    check(tern_get(keyspace, tern_slice_str(key), bytes, sizeof(bytes), NULL, &error), &error);
    for (int i = 0; i < 8; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return (int64_t)value;
}

static void *visit(void *context) {
    tern_keyspace *counters = context;
    for (int i = 0; i < VISITS_PER_THREAD; i++) {
        unsigned char bytes[8];
        tern_error error = TERN_ERROR_INIT;
        check(tern_merge(counters, tern_slice_str("visits"), TERN_MERGE_ADD, number(1, bytes), NULL,
                         &error),
              &error);
    }
    return NULL;
}

static void count_visits(tern_keyspace *counters) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, visit, counters) != 0) {
            exit(1);
        }
    }
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    printf("visits: %lld\n", (long long)read_number(counters, "visits"));
}

/* Whoever finds the lease missing gets it; the other one learns who has it. */
static void take_lease(tern_keyspace *leases, const char *who) {
    tern_error error = TERN_ERROR_INIT;
    tern_value current = TERN_VALUE_INIT;
    tern_slice desired = tern_slice_str(who);
    tern_status status = tern_compare_and_set(leases, tern_slice_str("leader"), NULL, &desired,
                                              NULL, &current, &error);
    if (status == TERN_CONFLICT) {
        printf("%s: the lease is with %.*s\n", who, (int)current.bytes.size,
               (const char *)current.bytes.data);
        tern_value_release(&current);
        return;
    }
    check(status, &error);
    printf("%s: has the lease\n", who);
}

static void keep_session(tern_keyspace *sessions) {
    tern_error error = TERN_ERROR_INIT;
    tern_write_options options = TERN_WRITE_OPTIONS_INIT;
    const struct timespec pause = {0, 50000000};
    char value[32];
    options.ttl_ms = 200;
    check(tern_put(sessions, tern_slice_str("session/1"), tern_slice_str("ada"), &options, &error),
          &error);
    printf("session: there\n");
    /* Expiry follows the database's own time, which moves on while it is idle. */
    for (int i = 0; i < 200; i++) {
        if (tern_get(sessions, tern_slice_str("session/1"), value, sizeof(value), NULL, &error) ==
            TERN_NOT_FOUND) {
            printf("session: expired\n");
            return;
        }
        (void)nanosleep(&pause, NULL);
    }
    (void)fprintf(stderr, "the session did not expire\n");
    exit(1);
}

int main(void) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_db *db;
    tern_keyspace *keyspace;
    options.create_if_missing = true;
    check(tern_open("counters.tern", &options, &db, &error), &error);
    if (tern_keyspace_open(db, "state", &keyspace, &error) != TERN_OK) {
        check(tern_keyspace_create(db, "state", NULL, &keyspace, &error), &error);
    }
    count_visits(keyspace);
    take_lease(keyspace, "node-1");
    take_lease(keyspace, "node-2");
    keep_session(keyspace);
    check(tern_close(db, &error), &error);
    return 0;
}
