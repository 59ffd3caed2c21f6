/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file db.h
 * Opening, closing and looking after a database: a directory that one process opens at a time.
 */
#ifndef TERN_DB_H
#define TERN_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tern/error.h>

TERN_BEGIN_DECLS

struct tern_allocator;
struct tern_clock;
struct tern_random;
struct tern_executor;
struct tern_file_system;

/** A database. Shared freely between threads. */
typedef struct tern_db tern_db;

/** When a commit is acknowledged. Order is kept in all: a later commit never survives an earlier.
 */
typedef enum tern_durability {
    TERN_DURABILITY_DEFAULT = 0,  /**< of the database; for the database itself: interval */
    TERN_DURABILITY_FULL = 1,     /**< on stable storage */
    TERN_DURABILITY_INTERVAL = 2, /**< survives a process crash; power loss takes at most the last
                                     tern_db_options::sync_interval_ms */
    TERN_DURABILITY_NONE = 3      /**< survives a process crash; power loss takes what the system
                                     had not written yet */
} tern_durability;

/**
 * Who yields when pinned snapshots and a budget cannot both be kept. What old snapshots hold in
 * memory is moved to temporary files first; so this is asked where the file system has no
 * descriptors to map, where the disk is full, or where snapshots are very many.
 */
typedef enum tern_space_policy {
    TERN_SPACE_REFUSE_WRITES = 0, /**< writes fail with TERN_NO_MEMORY or TERN_DISK_FULL */
    TERN_SPACE_END_SNAPSHOTS = 1  /**< the oldest snapshots end with TERN_SNAPSHOT_TOO_OLD */
} tern_space_policy;

/** Which pages the cache lets go when it is full; see docs/cache.md. A hit costs the same in all.
 */
typedef enum tern_cache_policy {
    TERN_CACHE_POLICY_DEFAULT = 0,   /**< CLOCK-Pro */
    TERN_CACHE_POLICY_CLOCK = 1,     /**< second chance: cheapest, no memory of its own */
    TERN_CACHE_POLICY_ARC = 2,       /**< adapts between recency and frequency, as CAR does */
    TERN_CACHE_POLICY_CLOCK_PRO = 3, /**< by reuse distance; withstands scans and loops */
    TERN_CACHE_POLICY_TINYLFU = 4,   /**< W-TinyLFU: admits by frequency; withstands scans */
    TERN_CACHE_POLICY_SLRU = 5,      /**< segmented LRU */
    TERN_CACHE_POLICY_LRU = 6        /**< least recently used, approximately */
} tern_cache_policy;

/** How data files are read and written beside other work; see the statistics io_*. */
typedef enum tern_io_mode {
    TERN_IO_MODE_DEFAULT = 0, /**< through an io_uring where the system lets the process have one,
                                 else plain */
    TERN_IO_MODE_PLAIN = 1,   /**< by plain calls that wait */
    TERN_IO_MODE_RING = 2     /**< through an io_uring; opening fails with TERN_UNSUPPORTED where
                                 that cannot be had */
} tern_io_mode;

/** Size of the pages of memory behind the cache's frames; see docs/cache.md. */
typedef enum tern_huge_pages {
    TERN_HUGE_PAGES_DEFAULT = 0,     /**< transparent */
    TERN_HUGE_PAGES_OFF = 1,         /**< pages of the usual size */
    TERN_HUGE_PAGES_TRANSPARENT = 2, /**< asked for by advice; the system may give small ones */
    TERN_HUGE_PAGES_RESERVED = 3 /**< of the pool that vm.nr_hugepages reserves; transparent ones
                                    where that has no more */
} tern_huge_pages;

/** NUMA nodes that the memory of the cache's frames comes from. */
typedef enum tern_numa_placement {
    TERN_NUMA_DEFAULT = 0,    /**< as the process has it */
    TERN_NUMA_LOCAL = 1,      /**< the node of the thread that first uses a page of memory */
    TERN_NUMA_INTERLEAVE = 2, /**< page by page around tern_db_options::numa_nodes */
    TERN_NUMA_BIND = 3        /**< only tern_db_options::numa_nodes */
} tern_numa_placement;

/** Where reads take the pages of a B+tree from; see docs/cache.md. */
typedef enum tern_page_source {
    TERN_PAGE_SOURCE_DEFAULT = 0, /**< the cache */
    TERN_PAGE_SOURCE_CACHE = 1,   /**< frames within memory_bytes, checked at each read from disk */
    TERN_PAGE_SOURCE_MAPPING = 2 /**< a read-only mapping of the file: the system decides what is in
                                    memory, outside of memory_bytes. Pages are checked the first
                                    time; when the device fails later, or somebody cuts the file,
                                    the process gets SIGBUS. Implies buffered_io. Keyspaces with
                                    compression and other engines keep to the cache */
} tern_page_source;

/** tern_db_options::read_ahead_bytes: no read-ahead. */
#define TERN_READ_AHEAD_OFF UINT64_MAX

/** tern_db_options::direct_log_syncs: the log is written through the page cache. */
#define TERN_DIRECT_LOG_OFF UINT32_MAX

/**
 * Called with the path of each finished log segment before it is recycled, by background work: on
 * the executor, or by a writer that helps; one call at a time. Copy the file: afterwards it is
 * written over under another name, so a link to it would keep nothing. TERN_OK lets it go; any
 * other code keeps it, to be asked again later. After a crash a segment may come again. It must not
 * call into the database.
 */
typedef tern_status (*tern_archive_function)(void *context, const char *segment_path,
                                             uint64_t segment_id);

/** How to open. Zero in a field means its default. Initialise with #TERN_DB_OPTIONS_INIT. Options
 * that exclude each other give TERN_INVALID. */
typedef struct tern_db_options {
    size_t size;                /**< sizeof(tern_db_options), set by the initialiser */
    bool create_if_missing;     /**< create the directory and an empty database; read_only opens
                                   what there is all the same, and makes none */
    bool error_if_exists;       /**< with create_if_missing: TERN_EXISTS when there is one */
    bool read_only;             /**< refuse writes; recovery happens in memory only. Works where
                                   the directory cannot be written. Nobody else may have it open
                                   all the same */
    tern_durability durability; /**< default of commits; interval */
    uint32_t sync_interval_ms;  /**< for interval durability; 100 */
    uint64_t memory_bytes;      /**< one budget for overlays, cache, filters, pins; 256 MiB, at
                                   least 8 MiB. Kept to within 15 %; pages of temporary files
                                   that old snapshots are reading come on top, a few MiB for each
                                   thread that reads: clean, and the system's to take back */
    uint64_t overlay_bytes; /**< share of memory_bytes for overlays, at most half; 30 %. What they
                               do not need the cache is lent */
    uint64_t segment_bytes; /**< size of a log segment, 64 KiB to 1 GiB, a multiple of 4 KiB; a
                               sixteenth of memory_bytes, 1 to 32 MiB */
    uint64_t transaction_bytes;  /**< largest write set of a transaction, and the most that the key
                                    locks of all transactions take; memory_bytes / 4 */
    uint64_t large_value_bytes;  /**< values above this are streamed apart from overlays; 128 KiB.
                                    Above an eighth of a segment it counts as that */
    uint32_t conflict_slots;     /**< commits remembered for validation, rounded up to a power of
                                    two, and fewer where they would take more than a sixteenth of
                                    memory_bytes; 2^20 */
    uint32_t lock_timeout_ms;    /**< wait for a lock at most this long; 1000 */
    uint32_t ttl_tick_ms;        /**< how often time moves on in an idle database with expiring
                                    keys; 100 */
    uint32_t background_threads; /**< of the default executor, at most 64; 2. Ignored with
                                    `executor` */
    bool buffered_io;            /**< use the page cache for data files; default direct I/O */
    tern_space_policy space_policy;             /**< default refuse writes */
    const struct tern_allocator *allocator;     /**< default malloc */
    const struct tern_file_system *file_system; /**< default POSIX */
    const struct tern_clock *clock;             /**< default the system's */
    const struct tern_random *random;           /**< default getrandom */
    const struct tern_executor *executor;       /**< default own threads */
    tern_archive_function archive;              /**< default none */
    void *archive_context;                      /**< first argument of `archive` */
    tern_cache_policy cache_policy;             /**< which pages the cache lets go; CLOCK-Pro */
    bool prewarm; /**< remember at checkpoint and close which pages are cached, and load them in
                     the background after open; default not */
    tern_io_mode io_mode; /**< how data files are read and written beside other work; read-only,
                             where a ring cannot be had reads are plain in any mode */
    tern_huge_pages huge_pages; /**< of the cache; transparent */
    tern_numa_placement numa;   /**< of the cache; as the process has it */
    uint64_t numa_nodes; /**< bit i: node i, for interleave and bind alone; 0: all that the process
                            may use */
    bool lock_cache;     /**< keep the cache's frames from being swapped out (mlock), as far as
                            RLIMIT_MEMLOCK allows; default not. None of these four makes open fail
                            when the system refuses: tern_stats() says what is in force */
    tern_page_source page_source; /**< of B+tree leaves; the cache */
    uint64_t read_ahead_bytes;    /**< most that a cursor reads ahead at once when it goes through
                                     pages in order or in even steps, 64 KiB to 4 MiB; 0: 256 KiB;
                                     or TERN_READ_AHEAD_OFF */
    uint32_t direct_log_syncs;    /**< so many groups of commits in a row that ask for full
                                     durability, and the log is written past the page cache, where
                                     the file system can, until others come; 64, or
                                     TERN_DIRECT_LOG_OFF */
    uint64_t compaction_bytes_per_second; /**< most that compaction of LSM keyspaces writes, on
                                     average over some tenths of a second, also on request; what
                                     writers would else have to wait for may be more; 0: no limit */
} tern_db_options;

#ifdef __cplusplus
TERN_END_DECLS
static inline tern_db_options tern_db_options_init() {
    tern_db_options options = tern_db_options();
    options.size = sizeof(tern_db_options);
    return options;
}
#define TERN_DB_OPTIONS_INIT (tern_db_options_init())
TERN_BEGIN_DECLS
#else
/** Defaults for tern_db_options. */
#define TERN_DB_OPTIONS_INIT ((tern_db_options){.size = sizeof(tern_db_options)})
#endif

/**
 * Opens the database in directory `path`, recovering what a crash left.
 * Errors: TERN_NOT_FOUND (no database, and none is to be made), TERN_EXISTS (error_if_exists),
 * TERN_LOCKED (open elsewhere; the error names the process), TERN_CORRUPTION (also: files of a
 * database whose root file is missing), TERN_VERSION, TERN_IO, TERN_INVALID (an option),
 * TERN_UNSUPPORTED (io_mode; read_only, where a crash left values stored apart in the log alone),
 * TERN_DISK_FULL, TERN_NO_MEMORY, TERN_READ_ONLY (the file system).
 * @param options NULL for defaults.
 * @param out_db  receives the handle; close with tern_close().
 */
TERN_API TERN_MUST_CHECK tern_status tern_open(const char *path, const tern_db_options *options,
                                               tern_db **out_db, tern_error *error);

/**
 * Ends a database. All transactions, cursors and pinned values of it must have been released;
 * asynchronous commits are waited for and their callbacks run; commit hooks end, and their handles
 * and those of keyspaces become invalid. Makes everything committed durable first; the status says
 * whether that worked. Accepts NULL. Call once, while no other call is running.
 */
TERN_API tern_status tern_close(tern_db *db, tern_error *error);

/** Makes everything committed so far durable, whatever its durability was. Any thread. */
TERN_API TERN_MUST_CHECK tern_status tern_sync(tern_db *db, tern_error *error);

/**
 * Drains all overlays into bases, lets the log go, and gives free space of files back to the file
 * system for up to about two seconds (the rest follows in the background). Returns when what was
 * committed before the call is in bases. Other threads read and write meanwhile. Any thread.
 * TERN_CORRUPTION, TERN_IO and the like when the file of a keyspace cannot take what was committed:
 * it is named, and takes no writes until that works; the log keeps its commits, all other keyspaces
 * have been drained.
 */
TERN_API TERN_MUST_CHECK tern_status tern_checkpoint(tern_db *db, tern_error *error);

/** Progress of long work: `done` of `total` units (total 0 when unknown). Return false to cancel.
 */
typedef bool (*tern_progress_function)(void *context, const char *phase, uint64_t done,
                                       uint64_t total);

/**
 * Rewrites bases without slack, moves their tails down and shrinks the files. Online. Any thread.
 * @param progress told keyspaces done and their number, with the name of the one at work; may be
 *                 NULL. Returning false gives TERN_CANCELLED: what is done stays.
 */
TERN_API TERN_MUST_CHECK tern_status tern_compact(tern_db *db, tern_progress_function progress,
                                                  void *progress_context, tern_error *error);

/**
 * Writes a consistent copy of the database, as of one moment, to the new directory `target_path`.
 * Online. What is cut short by a crash is no database: nothing opens it. After a failure, or when
 * progress returned false, the target is an empty directory.
 * Errors: TERN_EXISTS when the target is there and not empty, TERN_SNAPSHOT_TOO_OLD when the space
 * policy has ended the clone's snapshot, TERN_CANCELLED, and those of tern_open(). Any thread.
 * @param progress told records copied and their estimated number, with the name of the keyspace;
 *                 may be NULL.
 */
TERN_API TERN_MUST_CHECK tern_status tern_clone(tern_db *db, const char *target_path,
                                                tern_progress_function progress,
                                                void *progress_context, tern_error *error);

/** One thing that verify found wrong. Strings live during the call. */
typedef struct tern_finding {
    const char *file;      /**< file name within the database directory */
    int64_t offset;        /**< byte offset, or -1 */
    const char *invariant; /**< name of the broken invariant, as in docs/format */
    const char *message;   /**< what is wrong */
} tern_finding;

/** Called once per finding; return false to stop. */
typedef bool (*tern_finding_function)(void *context, const tern_finding *finding);

/** What verify looked at. */
typedef struct tern_verify_report {
    uint64_t files, pages, records, log_records, bytes, findings;
} tern_verify_report;

/**
 * Checks every checksum, order, fence and free-space interval of the bases and the chain of the log
 * of an open database. Returns TERN_OK when it could look at everything, also with findings; see
 * `out_report->findings`. Online. Any thread.
 * @param on_finding may be NULL, as may `progress`.
 */
TERN_API TERN_MUST_CHECK tern_status tern_verify(tern_db *db, tern_finding_function on_finding,
                                                 void *context, tern_progress_function progress,
                                                 void *progress_context,
                                                 tern_verify_report *out_report, tern_error *error);

/**
 * The same for the directory of a database that is not open anywhere, without opening it: works
 * when tern_open() refuses. Changes nothing but the name in the lock file.
 * @param options allocator, file system, clock and the like; NULL for defaults.
 */
TERN_API TERN_MUST_CHECK tern_status tern_verify_directory(
    const char *path, const tern_db_options *options, tern_finding_function on_finding,
    void *context, tern_progress_function progress, void *progress_context,
    tern_verify_report *out_report, tern_error *error);

/** What repair could do. */
typedef struct tern_repair_report {
    uint64_t keyspaces;    /**< keyspaces found */
    uint64_t records;      /**< records saved */
    uint64_t lost_pages;   /**< pages that could not be read */
    uint64_t lost_records; /**< records known to be lost (lower bound) */
    uint64_t log_records;  /**< log records replayed */
} tern_repair_report;

/**
 * Saves everything readable of the (closed) database in `path` into a new database `target_path`;
 * each loss is told to `on_finding`. The source is not changed. Where the root file is damaged or
 * missing, keyspaces get the names "recovered-N". The target is treated as by tern_clone().
 * @param options of the new database, and for reading the old one; NULL for defaults.
 */
TERN_API TERN_MUST_CHECK tern_status tern_repair(const char *path, const char *target_path,
                                                 const tern_db_options *options,
                                                 tern_finding_function on_finding, void *context,
                                                 tern_progress_function progress,
                                                 void *progress_context,
                                                 tern_repair_report *out_report, tern_error *error);

/** Release of the library, "1.2.3"; static storage. */
TERN_API const char *tern_version(void);

TERN_END_DECLS

#endif
