/* SPDX-License-Identifier: Apache-2.0 */
/* Creating, finding, dropping and listing keyspaces, each call a transaction of its own. */
#include <stdlib.h>

#include "base/error.h"
#include "db/database_internal.h"

size_t tern_keyspace_key_bytes_max(const tern_keyspace *keyspace) {
    return keyspace->key_bytes_max;
}

const char *tern_keyspace_name(const tern_keyspace *keyspace) {
    return keyspace->name;
}

/* Callers built against an older release have room for fewer options. */
void tern_keyspace_get_options(const tern_keyspace *keyspace, tern_keyspace_options *out_options) {
    struct tern_db *db = database_of(keyspace);
    size_t size = out_options->size;
    bool is_older = size >= sizeof(size) && size < sizeof(*out_options);
    mutex_lock(&db->catalog_mutex);
    memcpy(out_options, &keyspace->options, is_older ? size : sizeof(*out_options));
    mutex_unlock(&db->catalog_mutex);
    out_options->size = is_older ? size : sizeof(*out_options);
}

/* A catalog change for a shell or a program is worth a sync. */
static tern_status commit_catalog_change(struct tern_db *db, tern_keyspace *keyspace, bool is_drop,
                                         tern_error *error) {
    struct catalog_change change = {.keyspace = keyspace, .is_drop = is_drop};
    struct commit_request request = {
        .catalog = &change, .catalog_count = 1, .durability = db->options.durability};
    tern_status status = commit_submit(&db->manager, &request);
    if (status != TERN_OK) {
        error_copy(error, &request.error);
    }
    return status;
}

static tern_status refuse_read_only(const struct tern_db *db, tern_error *error) {
    return db->options.read_only
               ? ERROR_SET(error, TERN_READ_ONLY, "the database is open read-only")
               : TERN_OK;
}

tern_status tern_keyspace_create(tern_db *db, const char *name,
                                 const tern_keyspace_options *options, tern_keyspace **out_keyspace,
                                 tern_error *error) {
    tern_keyspace *keyspace;
    REQUIRE(error, db != NULL, "no database");
    tern_status status = refuse_read_only(db, error);
    if (status != TERN_OK) {
        return status;
    }
    if (name != NULL && catalog_by_name(db, name) != NULL) {
        return ERROR_SET(error, TERN_EXISTS,
                         "keyspace '%s' exists already; open it, or choose another name", name);
    }
    status = tern_keyspace_check(name, options, error);
    if (status == TERN_OK) {
        status = database_keyspace_pending(db, name, options, &keyspace, error);
    }
    if (status == TERN_OK) {
        status = commit_catalog_change(db, keyspace, false, error);
        if (status != TERN_OK && status != TERN_UNKNOWN) {
            database_keyspace_forget(keyspace);
        }
    }
    if (status == TERN_OK && out_keyspace != NULL) {
        *out_keyspace = keyspace;
    }
    return status;
}

static tern_status no_such(const char *name, tern_error *error) {
    return ERROR_SET(error, TERN_NOT_FOUND,
                     "there is no keyspace '%s'; create it first, or list what there is", name);
}

tern_status tern_keyspace_open(tern_db *db, const char *name, tern_keyspace **out_keyspace,
                               tern_error *error) {
    REQUIRE(error, db != NULL, "no database");
    REQUIRE(error, name != NULL, "no name");
    REQUIRE(error, out_keyspace != NULL, "no out_keyspace");
    tern_status status = database_keyspace_find(db, name, out_keyspace);
    return status == TERN_OK ? status : no_such(name, error);
}

tern_status tern_keyspace_drop(tern_db *db, const char *name, tern_error *error) {
    tern_keyspace *keyspace;
    REQUIRE(error, db != NULL, "no database");
    REQUIRE(error, name != NULL, "no name");
    tern_status status = refuse_read_only(db, error);
    if (status == TERN_OK) {
        status = tern_keyspace_open(db, name, &keyspace, error);
    }
    return status == TERN_OK ? commit_catalog_change(db, keyspace, true, error) : status;
}

static int compare_names(const void *left, const void *right) {
    const tern_keyspace *const *a = left;
    const tern_keyspace *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

tern_status tern_keyspace_list(tern_db *db, tern_keyspace_visitor visit, void *context,
                               tern_error *error) {
    REQUIRE(error, db != NULL, "no database");
    REQUIRE(error, visit != NULL, "no visitor");
    mutex_lock(&db->catalog_mutex);
    size_t count = 0;
    tern_keyspace **live =
        memory_allocate(db->allocator, ((size_t)db->slot_count + 1) * sizeof(live[0]));
    for (uint32_t i = 0; live != NULL && i < db->slot_count; i++) {
        if (db->slots[i] != NULL && !keyspace_is_hidden(db->slots[i])) {
            live[count++] = db->slots[i];
        }
    }
    mutex_unlock(&db->catalog_mutex);
    if (live == NULL) {
        return ERROR_NO_MEMORY(error, "a list of keyspaces");
    }
    qsort(live, count, sizeof(live[0]), compare_names);
    for (size_t i = 0; i < count && visit(context, live[i]); i++) {
    }
    memory_release(db->allocator, live);
    return TERN_OK;
}
