/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file hook.h
 * Observing every committed batch, in commit order, once it is durable, without slowing commits:
 * change feeds, replicas, archives and derived indexes hang on it.
 */
#ifndef TERN_HOOK_H
#define TERN_HOOK_H

#include <tern/keyspace.h>

TERN_BEGIN_DECLS

/** Kinds of change in a committed batch. */
typedef enum tern_change_kind {
    TERN_CHANGE_PUT = 1,
    TERN_CHANGE_DELETE = 2,
    TERN_CHANGE_DELETE_RANGE =
        3,                 /**< key is begin, value is end; open_bounds says which are open */
    TERN_CHANGE_MERGE = 4, /**< merge_kind says which; value is the operand */
    TERN_CHANGE_KEYSPACE_CREATE = 5, /**< key is the name */
    TERN_CHANGE_KEYSPACE_DROP = 6    /**< keyspace_id says which; there is no key */
} tern_change_kind;

/** One change. Bytes live during the call. */
typedef struct tern_change {
    tern_change_kind kind;
    uint32_t merge_kind;  /**< tern_merge_kind, or 0 */
    uint64_t keyspace_id; /**< never reused */
    uint64_t expires_ms;  /**< wall time at which a put expires, or 0 */
    uint32_t open_bounds; /**< of a range: 1 begin is open, 2 end is open */
    tern_slice key;
    tern_slice value;    /**< for a value stored apart: empty, see value_size */
    uint64_t value_size; /**< whole size of the value in bytes */
} tern_change;

/** A committed batch. Lives during the call. */
typedef struct tern_batch {
    uint64_t seq;     /**< position in this database's total order */
    uint64_t time_ms; /**< the monotone wall time that the commit logged */
    const tern_change *changes;
    size_t change_count;
} tern_batch;

/** Told each batch. Return TERN_OK to go on; any other code makes it be told again later. */
typedef tern_status (*tern_commit_hook_function)(void *context, const tern_batch *batch);

/** A registered hook. */
typedef struct tern_commit_hook tern_commit_hook;

/**
 * Begins to observe, on the executor, with the first batch after `after_seq` that the log still
 * holds; 0 means from the oldest held on, UINT64_MAX from now on. While registered it keeps the log
 * from being recycled past what it was told. TERN_SNAPSHOT_TOO_OLD when `after_seq` is older than
 * what the log holds. Any thread.
 */
TERN_API TERN_MUST_CHECK tern_status tern_commit_hook_add(tern_db *db, uint64_t after_seq,
                                                          tern_commit_hook_function function,
                                                          void *context,
                                                          tern_commit_hook **out_hook,
                                                          tern_error *error);

/** Waits for a running call, then ends the observation. Accepts NULL. Not from inside the hook, and
 * not after tern_close(), which ends what is left. */
TERN_API void tern_commit_hook_remove(tern_commit_hook *hook);

TERN_END_DECLS

#endif
