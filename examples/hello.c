/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shortest whole program: open a database, store a value, read it back.
 *
 *   cc hello.c $(pkg-config --cflags --libs tern) && ./a.out
 */
#include <stdio.h>
#include <stdlib.h>
#include <tern/tern.h>

/* What any failure looks like: one line that says what happened, to what, and what to do. */
static void check(tern_status status, const tern_error *error) {
    if (status != TERN_OK) {
        char line[1024];
        (void)tern_error_format(error, line, sizeof(line));
        (void)fprintf(stderr, "%s\n", line);
        exit(1);
    }
}

int main(void) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_db *db;
    tern_keyspace *greetings;
    char value[64];
    size_t size;

    options.create_if_missing = true;
    check(tern_open("hello.tern", &options, &db, &error), &error);
    if (tern_keyspace_open(db, "greetings", &greetings, &error) != TERN_OK) {
        check(tern_keyspace_create(db, "greetings", NULL, &greetings, &error), &error);
    }

    check(tern_put(greetings, tern_slice_str("en"), tern_slice_str("hello, world"), NULL, &error),
          &error);
    check(tern_get(greetings, tern_slice_str("en"), value, sizeof(value), &size, &error), &error);
    printf("en: %.*s\n", (int)size, value);

    /* A missing key is an answer, not a failure. */
    if (tern_get(greetings, tern_slice_str("fr"), value, sizeof(value), &size, &error) ==
        TERN_NOT_FOUND) {
        printf("fr: not there\n");
    }
    check(tern_close(db, &error), &error);
    return 0;
}
