/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file keyspace.h
 * Named maps from byte-string keys to byte-string values, each stored by one engine.
 */
#ifndef TERN_KEYSPACE_H
#define TERN_KEYSPACE_H

#include <tern/db.h>
#include <tern/slice.h>

TERN_BEGIN_DECLS

struct tern_txn;

/**
 * A keyspace of an open database. Shared freely between threads; owned by the database and valid
 * until tern_close(). After the keyspace has been dropped every use gives TERN_NOT_FOUND.
 */
typedef struct tern_keyspace tern_keyspace;

/** How a keyspace is stored. */
typedef enum tern_engine_kind {
    TERN_ENGINE_DEFAULT = 0, /**< B+tree */
    TERN_ENGINE_BTREE = 1,   /**< copy-on-write page tree */
    TERN_ENGINE_HASH = 2, /**< one index in memory over records in memory and on disk: the fastest
                               point reads and writes, no order */
    TERN_ENGINE_LSM = 3   /**< sorted tables in levels, for loads that write much */
} tern_engine_kind;

/** How pages and blocks are compressed. */
typedef enum tern_compression {
    TERN_COMPRESSION_NONE = 0,
    TERN_COMPRESSION_LZ4 = 1,
    TERN_COMPRESSION_ZSTD = 2,
    TERN_COMPRESSION_SNAPPY = 3
} tern_compression;

/** How the LSM engine merges its sorted tables. */
typedef enum tern_compaction {
    TERN_COMPACTION_LEVELED = 0, /**< reads and space come first */
    TERN_COMPACTION_TIERED = 1,  /**< writes come first: each record is rewritten less often */
    TERN_COMPACTION_FIFO = 2     /**< for data that expires: what has goes in whole tables */
} tern_compaction;

/** How the index of the hash engine resolves collisions. */
typedef enum tern_hash_index {
    TERN_HASH_INDEX_BUCKETS = 0,    /**< buckets of one cache line, chained when they run over */
    TERN_HASH_INDEX_ROBIN_HOOD = 1, /**< open addressing with Robin Hood displacement */
    TERN_HASH_INDEX_TAG_GROUPS = 2  /**< groups of entries whose tags are compared at once (SIMD) */
} tern_hash_index;

/**
 * How the hash engine hashes keys, each with a random seed of the keyspace's own. Only of XXH3 the
 * seed keeps others from choosing keys that meet in the index: take one of the other two for keys
 * that nobody chooses with bad intent. Keys that do meet are found all the same, each by a second
 * look; tern_keyspace_convert() to another function takes them apart.
 */
typedef enum tern_hash_function {
    TERN_HASH_FUNCTION_XXH3 = 0,   /**< XXH3, 64 bits */
    TERN_HASH_FUNCTION_CRC32C = 1, /**< CRC-32C, by the processor's instruction; 32 bits */
    TERN_HASH_FUNCTION_FNV1A = 2   /**< FNV-1a, 64 bits; multi-get hashes many keys at once */
} tern_hash_function;

/** tern_keyspace_options::filter_bits: tables without filters. */
#define TERN_FILTER_OFF UINT32_MAX

/** Levels of the LSM engine. Drains write into level 0; the last holds most of the data. */
#define TERN_LSM_LEVELS 8

/** An entry of tern_keyspace_options::level_compression. */
#define TERN_LEVEL_COMPRESSION(compression) ((uint8_t)(1 + (compression)))

/**
 * Options of a keyspace, given at creation; tern_keyspace_convert() changes them. Zero means
 * default. What the chosen engine has no use for must be zero or its default, else TERN_INVALID
 * with the name of the option in the error; tern_keyspace_get_options() gives its default.
 */
typedef struct tern_keyspace_options {
    size_t size;                  /**< sizeof(tern_keyspace_options), set by the initialiser */
    tern_engine_kind engine;      /**< B+tree */
    tern_compression compression; /**< none */
    uint32_t page_bytes;          /**< size of a leaf or block, power of two, 4 KiB to 64 KiB;
                                       8 KiB */
    uint32_t fan_out;             /**< B+tree and LSM: most children of an inner node, 16 to 4096;
                                       256. LSM: a table has about fan_out^2 / 16 blocks, and more
                                       once there are some hundreds of them */
    uint32_t fill_percent;        /**< B+tree only: how full drained pages are left, 50 to 100;
                                       95 */
    tern_compaction compaction;   /**< LSM only: leveled */
    tern_hash_index hash_index;   /**< hash only: buckets */
    uint32_t max_load_percent;    /**< hash only: how full a page of the index gets before it is
                                       split, 30 to 95; 75 */
    uint64_t expected_keys; /**< hash only: the index begins with room for so many, as far as a
                                 quarter of the memory budget goes, at most 2^40; none */
    uint32_t filter_bits;   /**< LSM only: bits of the filters for each key, 1 to 64; 10; or
                                 TERN_FILTER_OFF */
    uint8_t level_compression[TERN_LSM_LEVELS]; /**< LSM only: TERN_LEVEL_COMPRESSION() of tables
                                 that are written into this level; 0: as `compression`, but lz4
                                 instead of zstd in the levels 0 and 1 */
    tern_hash_function hash_function;           /**< hash only: XXH3 */
} tern_keyspace_options;

#ifdef __cplusplus
TERN_END_DECLS
static inline tern_keyspace_options tern_keyspace_options_init() {
    tern_keyspace_options options = tern_keyspace_options();
    options.size = sizeof(tern_keyspace_options);
    return options;
}
#define TERN_KEYSPACE_OPTIONS_INIT (tern_keyspace_options_init())
TERN_BEGIN_DECLS
#else
/** Defaults for tern_keyspace_options. */
#define TERN_KEYSPACE_OPTIONS_INIT ((tern_keyspace_options){.size = sizeof(tern_keyspace_options)})
#endif

/** Longest keyspace name in bytes; names are 1 to 255 bytes of UTF-8 without control characters. */
#define TERN_KEYSPACE_NAME_BYTES 255
/** Longest value in bytes. */
#define TERN_VALUE_BYTES_MAX ((uint64_t)1 << 40)

/**
 * Longest key in bytes that this keyspace takes: five eighths of a page, that is 5,120 bytes with
 * the default page of 8 KiB. The shortest key has 1 byte.
 */
TERN_API size_t tern_keyspace_key_bytes_max(const tern_keyspace *keyspace);

/**
 * Creates a keyspace in a transaction of its own. Any thread.
 * Errors: TERN_EXISTS, TERN_INVALID (name or option), TERN_UNSUPPORTED (an engine that this release
 * does not know), and those of a commit.
 * @param options      NULL for defaults.
 * @param out_keyspace receives the handle (owned by the database); may be NULL.
 */
TERN_API TERN_MUST_CHECK tern_status tern_keyspace_create(tern_db *db, const char *name,
                                                          const tern_keyspace_options *options,
                                                          tern_keyspace **out_keyspace,
                                                          tern_error *error);

/**
 * Whether tern_keyspace_create() would take such a name and such options, whatever the database.
 * Any thread. Errors: TERN_INVALID and TERN_UNSUPPORTED, as there.
 * @param options NULL for defaults.
 */
TERN_API TERN_MUST_CHECK tern_status tern_keyspace_check(const char *name,
                                                         const tern_keyspace_options *options,
                                                         tern_error *error);

/** Finds a keyspace by name. TERN_NOT_FOUND when there is none. Any thread. */
TERN_API TERN_MUST_CHECK tern_status tern_keyspace_open(tern_db *db, const char *name,
                                                        tern_keyspace **out_keyspace,
                                                        tern_error *error);

/** Drops a keyspace in a transaction of its own. TERN_NOT_FOUND when there is none. Any thread. */
TERN_API TERN_MUST_CHECK tern_status tern_keyspace_drop(tern_db *db, const char *name,
                                                        tern_error *error);

/**
 * Creates a keyspace inside a transaction. The handle can be used by this transaction at once, by
 * others after the commit; after a rollback it gives TERN_NOT_FOUND.
 * Errors: TERN_EXISTS, TERN_INVALID; detail in the transaction.
 */
TERN_API TERN_MUST_CHECK tern_status tern_txn_keyspace_create(struct tern_txn *txn,
                                                              const char *name,
                                                              const tern_keyspace_options *options,
                                                              tern_keyspace **out_keyspace);

/** Drops a keyspace inside a transaction; conflicts with every write to it since its snapshot. */
TERN_API TERN_MUST_CHECK tern_status tern_txn_keyspace_drop(struct tern_txn *txn,
                                                            tern_keyspace *keyspace);

/** Name of a keyspace; lives as long as the handle. */
TERN_API const char *tern_keyspace_name(const tern_keyspace *keyspace);

/**
 * Options of a keyspace with defaults filled in. Any thread.
 * @param out_options initialised with #TERN_KEYSPACE_OPTIONS_INIT; no more than its `size` is
 * written.
 */
TERN_API void tern_keyspace_get_options(const tern_keyspace *keyspace,
                                        tern_keyspace_options *out_options);

/**
 * Converts a keyspace to another engine, or to other options of its engine, while it is read and
 * written. Returns when the keyspace is stored as `to` says, or as before when that failed.
 *
 * Another style of compaction alone is only noted (in the manifest), in some milliseconds, and what
 * is merged from then on is merged in that style. With anything else the
 * records are copied beside what there is, so the disk must have room for both, and for the
 * keys written meanwhile. Commits go on; when they outrun the copying they are held back by some
 * milliseconds each. At the end commits wait for some milliseconds while the new engine takes over
 * in one commit; whoever reads an older snapshot goes on with the old one, whose files go when
 * nobody needs them. Handles go on working. Open transactions commit into the new engine, except
 * for TERN_CONFLICT when one began before the end and stored a large value or has to validate a
 * range, and TERN_TOO_LARGE when its keys are longer than the new engine takes.
 *
 * A crash leaves the keyspace as it was or converted. What was copied of a conversion that did not
 * come to its end is removed at the next open.
 *
 * Any thread, for as long as it takes; other calls go on beside it, tern_close() must not.
 * Errors: TERN_INVALID and TERN_UNSUPPORTED (options), TERN_TOO_LARGE (a key longer than `to` lets
 * be), TERN_LOCKED (it is being converted already), TERN_NOT_FOUND (dropped), TERN_CANCELLED,
 * TERN_DISK_FULL, TERN_NO_MEMORY, TERN_SNAPSHOT_TOO_OLD (the space policy ended the snapshot that
 * is being copied), TERN_READ_ONLY, TERN_POISONED, and those of a commit. After TERN_UNKNOWN the
 * next open shows which.
 * A style that could not be noted may be in force after the next open all the same.
 * @param to       NULL for defaults; what it does not name is not kept from before. What the
 *                 keyspace has already: nothing is done.
 * @param progress told records copied and their estimated number, with the name of the keyspace;
 *                 returning false cancels. May be NULL. It may use the database.
 */
TERN_API TERN_MUST_CHECK tern_status tern_keyspace_convert(tern_keyspace *keyspace,
                                                           const tern_keyspace_options *to,
                                                           tern_progress_function progress,
                                                           void *progress_context,
                                                           tern_error *error);

/** Called once per keyspace, in order of name; return false to stop. May use the database. */
typedef bool (*tern_keyspace_visitor)(void *context, tern_keyspace *keyspace);

/** Visits the keyspaces that exist now. Any thread. */
TERN_API TERN_MUST_CHECK tern_status tern_keyspace_list(tern_db *db, tern_keyspace_visitor visit,
                                                        void *context, tern_error *error);

TERN_END_DECLS

#endif
