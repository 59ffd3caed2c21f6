/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyspaces that a repair writes to: those of the manifest, those whose creation is in the log,
 * and those of which nobody knows the name any more.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"
#include "db/repair_internal.h"

/* Tried for a keyspace whose own is not free. */
#define NAMES_MAX 100u

struct saved_keyspace *repair_keyspace(struct repair *repair, partition_id id) {
    for (size_t i = 0; i < repair->keyspace_count; i++) {
        if (repair->keyspaces[i].id == id && repair->keyspaces[i].target != NULL) {
            return &repair->keyspaces[i];
        }
    }
    return NULL;
}

tern_status repair_grow(struct repair *repair, size_t count) {
    struct saved_keyspace *grown =
        memory_resize(repair->reader.options.allocator, repair->keyspaces,
                      (repair->keyspace_count + count + 1) * sizeof(grown[0]));
    if (grown == NULL) {
        return ERROR_NO_MEMORY(repair->error, "repair");
    }
    memset(grown + repair->keyspace_count, 0, (count + 1) * sizeof(grown[0]));
    repair->keyspaces = grown;
    return TERN_OK;
}

/* Until commit_creation; its name may still be another's. */
static tern_status prepare_keyspace(struct repair *repair, partition_id id, const char *name,
                                    const tern_keyspace_options *options,
                                    struct saved_keyspace **out_keyspace) {
    tern_keyspace *target;
    tern_status status = repair_grow(repair, 1);
    if (status == TERN_OK) {
        status = database_keyspace_pending(repair->target, name, options, &target, repair->error);
    }
    if (status == TERN_OK) {
        struct saved_keyspace *keyspace = &repair->keyspaces[repair->keyspace_count++];
        *keyspace = (struct saved_keyspace){.id = id, .target = target, .is_pending = true};
        *out_keyspace = keyspace;
    }
    return status;
}

tern_status repair_prepare_created(struct repair *repair,
                                   const struct decoded_catalog_change *change,
                                   struct saved_keyspace **out_keyspace) {
    char name[TERN_KEYSPACE_NAME_BYTES + 1];
    memcpy(name, change->name.data, change->name.size);
    name[change->name.size] = '\0';
    return prepare_keyspace(repair, change->id, name, &change->options, out_keyspace);
}

void repair_recovered_name(partition_id id, char name[REPAIR_NAME_BYTES]) {
    (void)snprintf(name, REPAIR_NAME_BYTES, "recovered-%" PRIu64, id);
}

/*
 * A partition that nothing in the log creates and that no manifest can have known: the commit that
 * created it is lost, and what was written to it is not. (What a manifest could know and does not
 * was dropped.)
 */
tern_status repair_prepare_unnamed(struct repair *repair, partition_id id,
                                   struct saved_keyspace **out_keyspace) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    char name[REPAIR_NAME_BYTES];
    *out_keyspace = NULL;
    if (repair->has_manifest && id < repair->reader.manifest.next_partition) {
        return TERN_OK;
    }
    options.page_bytes = 65536; /* for keys of whatever it was */
    repair_recovered_name(id, name);
    tern_status status = prepare_keyspace(repair, id, name, &options, out_keyspace);
    if (status == TERN_OK) {
        (*out_keyspace)->is_unnamed = true;
    }
    return status;
}

static tern_status try_creation(struct repair *repair, struct saved_keyspace *keyspace) {
    struct catalog_change change = {.keyspace = keyspace->target};
    struct commit_request request = {
        .catalog = &change, .catalog_count = 1, .durability = TERN_DURABILITY_NONE};
    tern_status status = commit_submit(&repair->target->manager, &request);
    if (status != TERN_OK) {
        error_copy(repair->error, &request.error);
    }
    return status;
}

tern_status repair_commit_creation(struct repair *repair, struct saved_keyspace *keyspace) {
    tern_status status = try_creation(repair, keyspace);
    for (unsigned i = 1; status == TERN_EXISTS && i < NAMES_MAX; i++) {
        /* The drop of the one that had the name is lost; or an earlier repair has given it away. */
        char name[REPAIR_NAME_BYTES];
        repair_recovered_name(keyspace->id, name);
        if (i > 1) {
            (void)snprintf(name + strlen(name), sizeof(name) - strlen(name), "-%u", i);
        }
        status = catalog_rename_pending(repair->target, keyspace->target, name, repair->error);
        status = status == TERN_OK ? try_creation(repair, keyspace) : status;
    }
    if (status == TERN_OK) {
        keyspace->is_pending = false;
        repair->report.keyspaces++;
    }
    return status;
}
