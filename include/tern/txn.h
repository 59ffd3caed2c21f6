/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file txn.h
 * Transactions over any number of keyspaces, and single operations that are transactions of their
 * own.
 *
 * A transaction belongs to one thread at a time. Detail of its last failure is in
 * tern_txn_error(). TERN_NOT_FOUND is an answer, not a failure: it records no detail and does not
 * end the transaction. After TERN_CONFLICT, TERN_DEADLOCK, TERN_SNAPSHOT_TOO_OLD, TERN_IO or
 * TERN_CORRUPTION in a write or commit the transaction can only be ended.
 */
#ifndef TERN_TXN_H
#define TERN_TXN_H

#include <tern/keyspace.h>
#include <tern/value.h>

TERN_BEGIN_DECLS

/** A transaction. */
typedef struct tern_txn tern_txn;

/** What a transaction may see of others. */
typedef enum tern_isolation {
    TERN_ISOLATION_DEFAULT = 0, /**< snapshot */
    TERN_ISOLATION_READ_COMMITTED = 1,
    TERN_ISOLATION_SNAPSHOT = 2,
    TERN_ISOLATION_SERIALIZABLE = 3
} tern_isolation;

/** Options of a transaction. Zero means default. */
typedef struct tern_txn_options {
    size_t size;                /**< sizeof(tern_txn_options), set by the initialiser */
    tern_isolation isolation;   /**< snapshot */
    bool read_only;             /**< a snapshot: never blocks, never conflicts */
    bool pessimistic;           /**< every write takes its key's exclusive lock when it is made;
                                   with read_only TERN_INVALID */
    tern_durability durability; /**< of the database */
    uint32_t lock_timeout_ms;   /**< of the database */
} tern_txn_options;

#ifdef __cplusplus
TERN_END_DECLS
static inline tern_txn_options tern_txn_options_init() {
    tern_txn_options options = tern_txn_options();
    options.size = sizeof(tern_txn_options);
    return options;
}
#define TERN_TXN_OPTIONS_INIT (tern_txn_options_init())
TERN_BEGIN_DECLS
#else
/** Defaults for tern_txn_options. */
#define TERN_TXN_OPTIONS_INIT ((tern_txn_options){.size = sizeof(tern_txn_options)})
#endif

/** Options of a single write. Zero means default. */
typedef struct tern_write_options {
    size_t size;                /**< sizeof(tern_write_options), set by the initialiser */
    tern_durability durability; /**< for single operations outside of transactions */
    uint64_t ttl_ms;            /**< of what is stored: the key expires this long after the commit;
                                   0 never. Deletes and merges do not look at it */
} tern_write_options;

#ifdef __cplusplus
TERN_END_DECLS
static inline tern_write_options tern_write_options_init() {
    tern_write_options options = tern_write_options();
    options.size = sizeof(tern_write_options);
    return options;
}
#define TERN_WRITE_OPTIONS_INIT (tern_write_options_init())
TERN_BEGIN_DECLS
#else
/** Defaults for tern_write_options. */
#define TERN_WRITE_OPTIONS_INIT ((tern_write_options){.size = sizeof(tern_write_options)})
#endif

/** Kinds of merge operation. All are total: they have a result for every stored value. */
typedef enum tern_merge_kind {
    TERN_MERGE_ADD = 1, /**< operand and value are 8-byte little-endian signed integers, wrapping;
                           a missing value, or one that is not 8 bytes long, counts as 0 */
    TERN_MERGE_APPEND =
        2,             /**< operand's bytes are appended to the value; missing counts as empty */
    TERN_MERGE_MAX = 3 /**< the greater, by unsigned byte order, of value and operand */
} tern_merge_kind;

/* ---- life of a transaction ---- */

/**
 * Begins a transaction and takes its snapshot.
 * @param options NULL for defaults.
 * @param out_txn ends with tern_txn_commit() + tern_txn_free(), or tern_txn_free() alone.
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_begin(tern_db *db, const tern_txn_options *options,
                                                    tern_txn **out_txn, tern_error *error);

/**
 * Commits. On TERN_OK everything is visible to all later snapshots and as durable as asked.
 * TERN_UNKNOWN: a sync failed, the outcome shows after the next open. On any other code nothing was
 * done: TERN_CONFLICT; TERN_LOCKED (another transaction holds a lock on a key that was written);
 * TERN_EXISTS, TERN_NOT_FOUND (a keyspace created or dropped meanwhile); TERN_SNAPSHOT_TOO_OLD;
 * TERN_TOO_LARGE; TERN_POISONED (a sync failed before: no more commits until the next open);
 * TERN_CLOSED (it had ended). The transaction has ended in any case, except on TERN_NO_MEMORY,
 * TERN_DISK_FULL: there it is unchanged and commit may be tried again.
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_commit(tern_txn *txn);

/** Told the outcome of an asynchronous commit. `error` is NULL on TERN_OK, and lives during the
 * call. Any code but TERN_OK has ended the transaction, also TERN_NO_MEMORY and TERN_DISK_FULL. */
typedef void (*tern_commit_callback)(void *context, tern_status status, const tern_error *error);

/**
 * Hands the transaction to the commit queue and returns. The caller gives up `txn`: it is freed
 * after the callback. Callbacks run in commit order, holding no lock, on the executor, or inside
 * tern_poll() once tern_poll_descriptor() has been called. TERN_OK means queued; on any other code
 * the transaction is still the caller's and the callback will not run.
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_commit_async(tern_txn *txn,
                                                           tern_commit_callback callback,
                                                           void *context);

/**
 * A descriptor that is readable while callbacks wait; from the first call on callbacks run only in
 * tern_poll(), and in tern_close(). Owned by the database. Any thread.
 */
TERN_API TERN_MUST_CHECK tern_status tern_poll_descriptor(tern_db *db, int *out_descriptor,
                                                          tern_error *error);

/** Runs waiting callbacks on this thread. Returns how many ran. One thread at a time. */
TERN_API size_t tern_poll(tern_db *db);

/** Undoes everything and ends the transaction; the handle still has to be freed. */
TERN_API void tern_txn_rollback(tern_txn *txn);

/** Frees; rolls back first when it has not ended. Accepts NULL. */
TERN_API void tern_txn_free(tern_txn *txn);

/**
 * Begins anew on the same handle with the same options and a new snapshot, after a commit or
 * rollback (which it does first when needed). Cheaper than free and begin.
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_restart(tern_txn *txn);

/**
 * Moves a read-only transaction to the newest snapshot and keeps its cursors: for programs that
 * read again and again, much cheaper than ending it and beginning another. All that was committed
 * before the call is seen afterwards; the former snapshot is let go, and with it the versions and
 * the space that it alone kept.
 *
 * - Its cursors stand nowhere; keys and values that they handed out are gone. Their bounds and
 *   options stay. From now on each sees what one opened now would see.
 * - Values that are pinned (tern_value) stay as they are.
 * - Where a checkpoint, a conversion, a creation or a drop has changed what there is to read since,
 *   a cursor opens anew inside, with its next move, which then fails as tern_cursor_open() would:
 *   TERN_NO_MEMORY (the next move tries again), or TERN_NOT_FOUND with detail when the keyspace has
 *   been dropped. After a conversion it has the order, or none, of the new engine.
 * - A snapshot that was ended (TERN_SNAPSHOT_TOO_OLD) is renewed like any other.
 *
 * Between two reads the transaction keeps its snapshot: end it instead of letting it wait long.
 * @return TERN_INVALID: it was not begun read-only; TERN_CLOSED: it has ended, use
 * tern_txn_restart(). Both leave all as it was. Nothing else can fail.
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_renew(tern_txn *txn);

/** Detail of the last failure; lives until the next call on the transaction. Never NULL. */
TERN_API const tern_error *tern_txn_error(const tern_txn *txn);

/** Sequence number of the snapshot, or of the commit after a successful commit. */
TERN_API uint64_t tern_txn_seq(const tern_txn *txn);

/** Sets a savepoint; they nest. @param out_savepoint its number, counted from 1. */
TERN_API TERN_MUST_CHECK tern_status tern_txn_savepoint(tern_txn *txn, uint32_t *out_savepoint);

/** Undoes all writes since the savepoint, which stays set; later ones are gone. Locks are kept. */
TERN_API TERN_MUST_CHECK tern_status tern_txn_rollback_to(tern_txn *txn, uint32_t savepoint);

/* ---- reads ---- */

/**
 * Reads a value into the caller's buffer. TERN_NOT_FOUND; TERN_BUFFER_TOO_SMALL copies what fits.
 * @param capacity   bytes at `buffer`.
 * @param out_size   whole size of the value in bytes, also with TERN_BUFFER_TOO_SMALL; may be NULL.
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_get(tern_txn *txn, tern_keyspace *keyspace,
                                                  tern_slice key, void *buffer, size_t capacity,
                                                  size_t *out_size);

/** Reads a value in place; see tern_value. Values stored apart are read whole into memory. */
TERN_API TERN_MUST_CHECK tern_status tern_txn_get_pinned(tern_txn *txn, tern_keyspace *keyspace,
                                                         tern_slice key, tern_value *out_value);

/**
 * Reads part of a value: up to `capacity` bytes from `offset` on. Memory use is bounded by a chunk,
 * whatever the value's size.
 * @param out_size       bytes copied; 0 at the end.
 * @param out_value_size whole size; may be NULL.
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_read(tern_txn *txn, tern_keyspace *keyspace,
                                                   tern_slice key, uint64_t offset, void *buffer,
                                                   size_t capacity, size_t *out_size,
                                                   uint64_t *out_value_size);

/** One request of a multi-get. */
typedef struct tern_get_request {
    tern_slice key;     /**< in */
    void *buffer;       /**< in: where the value goes */
    size_t capacity;    /**< in: bytes at `buffer` */
    size_t value_size;  /**< out: whole size of the value */
    tern_status status; /**< out: as tern_txn_get */
} tern_get_request;

/**
 * Answers many reads at once, hiding memory latency; far faster than one by one.
 * @return TERN_OK when every request has its own status; another code when the call as a whole
 * failed: then no status of a request counts.
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_multi_get(tern_txn *txn, tern_keyspace *keyspace,
                                                        tern_get_request *requests, size_t count);

/**
 * Number of live keys in [begin, end), exact, by scanning.
 * @param begin NULL for the first key; @param end NULL for past the last.
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_count(tern_txn *txn, tern_keyspace *keyspace,
                                                    const tern_slice *begin, const tern_slice *end,
                                                    uint64_t *out_count);

/**
 * Estimates number and bytes of keys in [begin, end). In a B+tree from fences, reading no leaf
 * pages: within 10 % on ranges of a thousand keys and more without pending writes. In an LSM
 * keyspace from its index blocks: as well as that where neighbouring records have similar sizes.
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_estimate(tern_txn *txn, tern_keyspace *keyspace,
                                                       const tern_slice *begin,
                                                       const tern_slice *end, uint64_t *out_count,
                                                       uint64_t *out_bytes);

/* ---- locks ---- */

/** Strength of an explicit lock. */
typedef enum tern_lock_mode { TERN_LOCK_SHARED = 1, TERN_LOCK_EXCLUSIVE = 2 } tern_lock_mode;

/**
 * Locks a key until the transaction ends. Errors: TERN_DEADLOCK (the youngest of the circle gets
 * it), TERN_TIMEOUT (the error names the holder), TERN_CONFLICT (snapshot and serializable: the
 * key has changed since the snapshot), TERN_READ_ONLY (read-only transactions take no locks).
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_lock(tern_txn *txn, tern_keyspace *keyspace,
                                                   tern_slice key, tern_lock_mode mode);

/** tern_txn_lock exclusive, then tern_txn_get. */
TERN_API TERN_MUST_CHECK tern_status tern_txn_get_for_update(tern_txn *txn, tern_keyspace *keyspace,
                                                             tern_slice key, void *buffer,
                                                             size_t capacity, size_t *out_size);

/* ---- writes ---- */

/** Stores a value. Errors: TERN_TOO_LARGE, TERN_INVALID (empty key), TERN_READ_ONLY, lock errors.
 * @param options NULL for defaults. */
TERN_API TERN_MUST_CHECK tern_status tern_txn_put(tern_txn *txn, tern_keyspace *keyspace,
                                                  tern_slice key, tern_slice value,
                                                  const tern_write_options *options);

/** Deletes a key; deleting a missing key is not an error and not noticed. */
TERN_API TERN_MUST_CHECK tern_status tern_txn_delete(tern_txn *txn, tern_keyspace *keyspace,
                                                     tern_slice key);

/** Deletes all keys in [begin, end); NULL bounds are open. Conflicts with overlapping writes; of a
 * hash keyspace, which has no order, with every write to it since the snapshot, and the drain that
 * carries it out reads all of the keyspace. */
TERN_API TERN_MUST_CHECK tern_status tern_txn_delete_range(tern_txn *txn, tern_keyspace *keyspace,
                                                           const tern_slice *begin,
                                                           const tern_slice *end);

/** Applies a merge operation lazily; two merges of a key do not conflict. */
TERN_API TERN_MUST_CHECK tern_status tern_txn_merge(tern_txn *txn, tern_keyspace *keyspace,
                                                    tern_slice key, tern_merge_kind kind,
                                                    tern_slice operand);

/** A value being written in chunks. */
typedef struct tern_value_writer tern_value_writer;

/**
 * Begins to store a value in chunks; memory use is bounded by a chunk, whatever the value's size.
 * The value appears in the transaction at tern_value_writer_finish().
 * @param out_writer ended by finish or abandon, before the transaction ends.
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_put_begin(tern_txn *txn, tern_keyspace *keyspace,
                                                        tern_slice key,
                                                        const tern_write_options *options,
                                                        tern_value_writer **out_writer);

/** Appends bytes to the value. After a failure, whose detail is in the transaction, it can only be
 * given up. */
TERN_API TERN_MUST_CHECK tern_status tern_value_writer_append(tern_value_writer *writer,
                                                              tern_slice chunk);

/** Completes the value; frees the writer whatever the status. */
TERN_API TERN_MUST_CHECK tern_status tern_value_writer_finish(tern_value_writer *writer);

/** Gives the value up; frees the writer. Accepts NULL. */
TERN_API void tern_value_writer_abandon(tern_value_writer *writer);

/* ---- single operations: each is a transaction of its own. Any thread ---- */

/** As tern_txn_get, of what is committed now. Takes no lock and allocates nothing. Any thread. */
TERN_API TERN_MUST_CHECK tern_status tern_get(tern_keyspace *keyspace, tern_slice key, void *buffer,
                                              size_t capacity, size_t *out_size, tern_error *error);

/** As tern_txn_get_pinned, of what is committed now. */
TERN_API TERN_MUST_CHECK tern_status tern_get_pinned(tern_keyspace *keyspace, tern_slice key,
                                                     tern_value *out_value, tern_error *error);

/** As tern_txn_multi_get, at one moment. */
TERN_API TERN_MUST_CHECK tern_status tern_multi_get(tern_keyspace *keyspace,
                                                    tern_get_request *requests, size_t count,
                                                    tern_error *error);

/** Stores and commits. @param options NULL for defaults. */
TERN_API TERN_MUST_CHECK tern_status tern_put(tern_keyspace *keyspace, tern_slice key,
                                              tern_slice value, const tern_write_options *options,
                                              tern_error *error);

/** Deletes and commits. @param options NULL for defaults. */
TERN_API TERN_MUST_CHECK tern_status tern_delete(tern_keyspace *keyspace, tern_slice key,
                                                 const tern_write_options *options,
                                                 tern_error *error);

/** Deletes the keys in [begin, end) and commits. */
TERN_API TERN_MUST_CHECK tern_status tern_delete_range(tern_keyspace *keyspace,
                                                       const tern_slice *begin,
                                                       const tern_slice *end,
                                                       const tern_write_options *options,
                                                       tern_error *error);

/** Merges and commits. */
TERN_API TERN_MUST_CHECK tern_status tern_merge(tern_keyspace *keyspace, tern_slice key,
                                                tern_merge_kind kind, tern_slice operand,
                                                const tern_write_options *options,
                                                tern_error *error);

/**
 * Stores `desired` when the current value equals `expected` (NULL: when the key is missing);
 * `desired` NULL deletes. TERN_CONFLICT otherwise, with the current value pinned in `out_current`
 * (empty with `data` NULL when missing). A value that has expired by the time of the commit is
 * missing, also when it was there a moment before; transactions judge expiry, as all they read, by
 * the time of their snapshot.
 * @param out_current may be NULL.
 */
TERN_API TERN_MUST_CHECK tern_status tern_compare_and_set(
    tern_keyspace *keyspace, tern_slice key, const tern_slice *expected, const tern_slice *desired,
    const tern_write_options *options, tern_value *out_current, tern_error *error);

TERN_END_DECLS

#endif
