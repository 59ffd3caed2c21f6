/* SPDX-License-Identifier: Apache-2.0 */
/* A repair under way; see repair.c. */
#ifndef TERN_DB_REPAIR_INTERNAL_H
#define TERN_DB_REPAIR_INTERNAL_H

#include "db/creation_list.h"
#include "db/verify_internal.h"
#include "txn/commit_codec.h"

/* "recovered-" and a number */
#define REPAIR_NAME_BYTES 48

struct saved_keyspace {
    partition_id id;
    seq_no drained_seq;
    bool
        is_whole; /* its base was saved without a loss: of the log only what that lacks is wanted */
    struct engine *source; /* opened for reading values apart; may be NULL */
    const struct engine_methods *methods;
    tern_keyspace *target;
    bool is_pending; /* the target waits for the commit that creates it */
    bool is_unnamed; /* that commit is lost */
};

struct saved_value {
    struct saved_value *next;
    uint64_t token;
    uint64_t size;
    tern_keyspace *target;
    struct engine_large_writer *writer;
};

struct repair {
    struct directory_reader reader;
    struct verify_sink sink;
    struct tern_db *target;
    tern_keyspace *ages; /* key -> generation of its page, when there is no manifest */
    struct saved_keyspace *keyspaces;
    size_t keyspace_count;
    struct saved_keyspace *current;
    bool has_manifest;
    /* The commit being collected. */
    struct arena arena;
    struct engine_change *changes;
    size_t change_count;
    size_t bytes;
    uint8_t *chunk;
    struct saved_value *values;
    struct arena log_arena;
    struct commit_assembler assembler;
    seq_no last_seq;                /* of the commits met in the log */
    struct creation_list creations; /* of the log, for values that come before them */
    tern_repair_report report;
    tern_progress_function progress;
    void *progress_context;
    tern_error *error;
};

/* ---- repair_keyspaces.c ---- */

/* Where the changes of a partition go, or NULL. Until the next one is added. */
struct saved_keyspace *repair_keyspace(struct repair *repair, partition_id id);
/* Room for `count` more. */
TERN_MUST_CHECK tern_status repair_grow(struct repair *repair, size_t count);
/* What a partition is called whose name is lost. */
void repair_recovered_name(partition_id id, char name[REPAIR_NAME_BYTES]);
/* One that a commit in the log creates; pending until repair_commit_creation. */
TERN_MUST_CHECK tern_status repair_prepare_created(struct repair *repair,
                                                   const struct decoded_catalog_change *change,
                                                   struct saved_keyspace **out_keyspace);
/* One that no commit creates that can still be read; NULL where it must have been dropped. */
TERN_MUST_CHECK tern_status repair_prepare_unnamed(struct repair *repair, partition_id id,
                                                   struct saved_keyspace **out_keyspace);
TERN_MUST_CHECK tern_status repair_commit_creation(struct repair *repair,
                                                   struct saved_keyspace *keyspace);

#endif
