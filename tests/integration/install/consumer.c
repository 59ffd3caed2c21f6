/* SPDX-License-Identifier: Apache-2.0 */
/* A program outside the project, built only from what `make install` left behind. */
#include <stdio.h>
#include <string.h>
#include <tern/tern.h>

static int report(const char *what, const tern_error *error) {
    fprintf(stderr, "%s: %s: %s\n", what, tern_status_name(error->status), error->message);
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        return 2;
    }
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.create_if_missing = true;
    tern_db *db = NULL;
    if (tern_open(argv[1], &options, &db, &error) != TERN_OK) {
        return report("open", &error);
    }
    tern_keyspace *birds = NULL;
    if (tern_keyspace_create(db, "birds", NULL, &birds, &error) != TERN_OK) {
        return report("create", &error);
    }
    tern_slice key = tern_slice_str("arctic");
    if (tern_put(birds, key, tern_slice_str("sterna paradisaea"), NULL, &error) != TERN_OK) {
        return report("put", &error);
    }
    char value[64];
    size_t size = 0;
    if (tern_get(birds, key, value, sizeof(value), &size, &error) != TERN_OK) {
        return report("get", &error);
    }
    if (tern_close(db, &error) != TERN_OK) {
        return report("close", &error);
    }
    printf("%.*s\n", (int)size, value);
    return 0;
}
