/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A conversion under way; see convert.c for how it goes, and docs/design/0008-convert.md for why.
 */
#ifndef TERN_DB_CONVERT_INTERNAL_H
#define TERN_DB_CONVERT_INTERNAL_H

#include "db/database_internal.h"
#include "db/large_copy.h"
#include "txn/change_capture.h"

/* Keys that changed, in a file without a name: a queue. Opened when memory does not do. */
struct convert_backlog {
    tern_file *file;
    uint64_t begin, end; /* not taken yet */
};

struct conversion {
    struct tern_db *db;
    tern_keyspace *keyspace;
    tern_keyspace_options options; /* to be */
    const struct engine_methods *methods;
    uint64_t hash_seed; /* of the new partition */
    size_t key_bytes_max;
    bool checks_keys;     /* the source takes longer ones */
    bool is_captured;     /* the capture is the keyspace's */
    bool has_maintenance; /* cannot wait for room, which others make */
    bool holds_writers;   /* no time for progress: what it did would be held back, too */
    struct change_capture capture;
    struct convert_backlog backlog;
    partition_id partition; /* what is built; 0: nothing yet */
    struct buffer state;    /* of its base */
    tern_keyspace *target;  /* its hidden handle, once there is one */
    uint8_t *chunk;         /* LARGE_COPY_BYTES */
    uint64_t done, total;   /* records */
    tern_progress_function progress;
    void *progress_context;
    tern_error *error;
};

/* TERN_CANCELLED when the caller has had enough. */
TERN_MUST_CHECK tern_status convert_report(struct conversion *conversion);
TERN_MUST_CHECK tern_status convert_say_too_long(struct conversion *conversion, size_t key_bytes);

/* ---- convert_build.c ---- */
/* Copies the keyspace as of now into the files of a new partition: `partition` and `state`. Nobody
 * else knows of it. */
TERN_MUST_CHECK tern_status convert_build(struct conversion *conversion);
/* Removes the files of a partition that is not open. */
void convert_remove_files(struct conversion *conversion);

/* ---- convert_catch_up.c ---- */
/* Moves what was captured to the backlog when it is much. Any time without the applier role. */
TERN_MUST_CHECK tern_status convert_relieve(struct conversion *conversion);
/* More than `bytes` of keys are left to copy, or what could not be copied in the roles held. */
bool convert_is_behind(const struct conversion *conversion, uint64_t bytes);
/* One round: copies what had changed when it began, *out_bytes of keys. In the maintenance role it
 * leaves to another round what would need much room. */
TERN_MUST_CHECK tern_status convert_catch_up(struct conversion *conversion, uint64_t *out_bytes);
/* Applier role: copies what has changed since; *out_done false: it is too much for now. */
TERN_MUST_CHECK tern_status convert_finish(struct conversion *conversion, bool *out_done);
void convert_backlog_close(struct convert_backlog *backlog);

#endif
