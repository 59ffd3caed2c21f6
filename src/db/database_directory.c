/* SPDX-License-Identifier: Apache-2.0 */
#include "db/database_directory.h"

#include <string.h>

#include "base/error.h"
#include "db/database_internal.h"

/* "p-" and "log-" with 16 hexadecimal digits: files of partitions, segments of the log. */
static bool is_ours(const char *name) {
    size_t prefix = strncmp(name, "p-", 2) == 0 ? 2 : strncmp(name, "log-", 4) == 0 ? 4 : 0;
    return prefix > 0 && strspn(name + prefix, "0123456789abcdef") == 16 &&
           name[prefix + 16] == (prefix == 2 ? '.' : '\0');
}

static bool visit_ours(void *context, const char *name) {
    bool *is_used = context;
    *is_used = *is_used || is_ours(name);
    return !*is_used;
}

bool database_directory_is_used(const tern_file_system *file_system, const char *path) {
    bool is_used = false;
    tern_status status = file_system->list(file_system->context, path, visit_ours, &is_used, NULL);
    return status == TERN_OK && is_used;
}

tern_status database_directory_say_rootless(const char *path, tern_error *error) {
    return ERROR_AT(
        error, TERN_CORRUPTION, path, -1, 0,
        "manifest: here are files of a database, but not its root file " MANIFEST_FILE_NAME
        "; restore that file, or save what is readable with tern "
        "repair; if a clone or repair into this directory was cut short, remove it");
}

/* ---- copies ---- */

struct first_entry {
    char name[256];
    bool is_found;
};

static bool visit_first(void *context, const char *name) {
    struct first_entry *first = context;
    first->is_found = strlen(name) < sizeof(first->name);
    if (first->is_found) {
        memcpy(first->name, name, strlen(name) + 1);
    }
    return false;
}

static tern_status check_empty(const tern_file_system *file_system, const char *path,
                               tern_error *error) {
    struct first_entry first = {.is_found = false};
    tern_error found = TERN_ERROR_INIT;
    tern_status status = file_system->list(file_system->context, path, visit_first, &first, &found);
    if (status == TERN_NOT_FOUND) {
        return TERN_OK;
    }
    if (status == TERN_OK && first.is_found) {
        return ERROR_AT(error, TERN_EXISTS, path, -1, 0,
                        "the directory is not empty (it holds %.100s); choose a new or empty one",
                        first.name);
    }
    if (status != TERN_OK) {
        error_copy(error, &found);
    }
    return status;
}

/* All that is in it is of the copy, for it was empty. */
static void remove_files(const tern_file_system *file_system, const char *directory) {
    char path[FILE_PATH_BYTES];
    tern_status status = TERN_OK;
    while (status == TERN_OK) {
        struct first_entry first = {.is_found = false};
        status = file_system->list(file_system->context, directory, visit_first, &first, NULL);
        if (status != TERN_OK || !first.is_found) {
            return;
        }
        status = path_join(path, directory, first.name, NULL);
        if (status == TERN_OK) {
            status = file_system->remove(file_system->context, path, NULL);
        }
    }
}

tern_status database_copy_begin(const char *path, const tern_db_options *options, tern_db **out_db,
                                tern_error *error) {
    tern_db_options given = *options;
    const tern_file_system *file_system =
        given.file_system != NULL ? given.file_system : tern_file_system_default();
    given.create_if_missing = true;
    given.error_if_exists = true;
    given.read_only = false;
    given.archive = NULL;
    tern_status status = check_empty(file_system, path, error);
    if (status != TERN_OK) {
        return status;
    }
    status = database_open(path, &given, true, out_db, error);
    if (status != TERN_OK && status != TERN_LOCKED && status != TERN_EXISTS) {
        remove_files(file_system, path);
    }
    return status;
}

tern_status database_copy_end(tern_db *db, const char *path, const tern_file_system *file_system,
                              tern_status status, tern_error *error) {
    tern_status closed = tern_close(db, status == TERN_OK ? error : NULL);
    status = status == TERN_OK ? closed : status;
    if (status == TERN_OK) {
        status = manifest_publish(file_system, path, error);
    }
    if (status != TERN_OK) {
        remove_files(file_system, path);
    }
    return status;
}
