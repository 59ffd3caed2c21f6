/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file sys/file_system.h
 * The file system given at open. Everything the database does to files passes through this table,
 * so that tests can cut the power, fail a call or count them.
 */
#ifndef TERN_SYS_FILE_SYSTEM_H
#define TERN_SYS_FILE_SYSTEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tern/error.h>

TERN_BEGIN_DECLS

/** Flags of tern_file_system::open. */
enum tern_open_flags {
    TERN_OPEN_READ = 1,      /**< reading only; without it reading and writing */
    TERN_OPEN_CREATE = 2,    /**< create when missing */
    TERN_OPEN_EXCLUSIVE = 4, /**< with CREATE: TERN_EXISTS when it is there */
    TERN_OPEN_TRUNCATE = 8,  /**< empty it */
    TERN_OPEN_DIRECT = 16,   /**< bypass the page cache; offsets, sizes and memory must be multiples
                                of tern_file::alignment. Falls back to buffered where refused. */
    TERN_OPEN_RING = 32 /**< `write_durable` may go through an io_uring of the file's own and be
                           waited for awake. A hint: never granted, never refused */
};

typedef struct tern_file tern_file;
typedef struct tern_file_system tern_file_system;

/** Functions of an open file. All offsets and sizes in bytes. Callable from any thread at once. */
typedef struct tern_file_methods {
    /** Reads up to `size` bytes; *out_size less than `size` only at the end of the file. */
    tern_status (*read)(tern_file *file, uint64_t offset, void *buffer, size_t size,
                        size_t *out_size, tern_error *error);
    /** Writes all `size` bytes or fails; on failure any part may have been written. */
    tern_status (*write)(tern_file *file, uint64_t offset, const void *buffer, size_t size,
                         tern_error *error);
    /** Makes data and size durable (fdatasync). After a failure nothing may be assumed. */
    tern_status (*sync)(tern_file *file, tern_error *error);
    /** Current size. */
    tern_status (*size)(tern_file *file, uint64_t *out_size, tern_error *error);
    /** Grows (zeros) or cuts the file. */
    tern_status (*truncate)(tern_file *file, uint64_t size, tern_error *error);
    /** Reserves blocks for [offset, offset + size) and grows the file to cover them. */
    tern_status (*allocate)(tern_file *file, uint64_t offset, uint64_t size, tern_error *error);
    /**
     * Maps [0, size) shared, readable, and writable when the file is; populated. TERN_UNSUPPORTED
     * where that cannot be had: callers then use read and write. `sync` covers mapped stores.
     */
    tern_status (*map)(tern_file *file, size_t size, void **out_memory, tern_error *error);
    /** Undoes map. */
    void (*unmap)(tern_file *file, void *memory, size_t size);
    /** Advises that [offset, offset+size) will be read soon, or is not needed (will_need false). */
    void (*advise)(tern_file *file, uint64_t offset, uint64_t size, bool will_need);
    /** The descriptor for io_uring and the like, or -1. */
    int (*descriptor)(tern_file *file);
    /** Closes; the pointer is gone whatever the status. */
    tern_status (*close)(tern_file *file, tern_error *error);
    /**
     * Maps [0, size) shared, for reading, reading nothing in; `size` may lie beyond the end of the
     * file: what it grows by becomes readable, and what lies beyond its end must not be touched.
     * Undone by `unmap`. TERN_UNSUPPORTED where it cannot be had; NULL means so too.
     */
    tern_status (*map_read)(tern_file *file, uint64_t size, void **out_memory, tern_error *error);
    /** Reads [offset, offset + size) of what map_read returned in, with errors reported. NULL where
     * map_read is. */
    tern_status (*populate)(tern_file *file, void *memory, uint64_t offset, size_t size,
                            tern_error *error);
    /**
     * As `write`, within the file's size; when it returns TERN_OK these bytes are durable, which
     * says nothing about any others. After a failure nothing may be assumed. NULL: `write`, then
     * `sync`.
     */
    tern_status (*write_durable)(tern_file *file, uint64_t offset, const void *buffer, size_t size,
                                 tern_error *error);
    /**
     * Does ahead what the first stores to [offset, offset + size) of what `map` returned would wait
     * for; the bytes stay what they are. A hint: whatever fails, the stores will meet. NULL where
     * there is no such thing.
     */
    void (*touch)(tern_file *file, void *memory, uint64_t offset, size_t size);
} tern_file_methods;

/** Head of every open file; implementations embed it first. */
struct tern_file {
    const tern_file_methods *methods;
    uint32_t alignment_bytes; /**< 1, or what TERN_OPEN_DIRECT needs */
    uint32_t flags;           /**< enum tern_open_flags as granted */
};

/** What an operation given to a queue does. */
typedef enum tern_io_kind {
    TERN_IO_READ = 1,  /**< as tern_file_methods::read */
    TERN_IO_WRITE = 2, /**< as tern_file_methods::write */
    TERN_IO_SYNC = 3   /**< as tern_file_methods::sync */
} tern_io_kind;

/**
 * An operation that is carried out while its submitter goes on. Submitter's until submitted and
 * after its completion; between, it, its file and its memory stay as they are (of a read the memory
 * is the queue's). A sync covers the writes that had completed when it was submitted.
 */
typedef struct tern_io {
    tern_io_kind kind;
    tern_file *file;
    uint64_t offset;      /**< not of a sync */
    void *buffer;         /**< read into, or written from (then it is not changed) */
    size_t size;          /**< bytes */
    tern_error *error;    /**< receives the detail of a failure; may be NULL */
    tern_status status;   /**< out */
    size_t done_bytes;    /**< out: of a read; less than `size` only at the end of the file */
    struct tern_io *next; /**< the queue's, then of the list that it returns */
    uint64_t reserved;    /**< the queue's */
} tern_io;

typedef struct tern_io_queue tern_io_queue;

/** What a queue has done since it was opened. */
typedef struct tern_io_queue_counts {
    uint64_t submitted; /**< operations */
    uint64_t completed; /**< operations */
    uint64_t batches;   /**< calls that handed operations to the system */
    uint64_t finished;  /**< operations that came back short or cancelled and were ended by calls */
} tern_io_queue_counts;

/** Functions of a queue. One thread at a time, which may be another each time. */
typedef struct tern_io_queue_methods {
    /** Takes the operation; it begins at the latest in the next flush or wait. Operations complete
     * in any order. */
    void (*submit)(tern_io_queue *queue, tern_io *io);
    /** Lets everything submitted begin. Does not wait for any of it. */
    void (*flush)(tern_io_queue *queue);
    /** Returns the operations that have completed since the last call, linked by `next`. Waits
     * until they are at least `least`, or all that there are. */
    tern_io *(*wait)(tern_io_queue *queue, size_t least);
    /** Adds to the counts. */
    void (*get_counts)(tern_io_queue *queue, tern_io_queue_counts *counts);
    /** Nothing may be under way. */
    void (*close)(tern_io_queue *queue);
} tern_io_queue_methods;

/** Head of every queue; implementations embed it first. */
struct tern_io_queue {
    const tern_io_queue_methods *methods;
};

/** Called once per directory entry; return false to stop. */
typedef bool (*tern_list_visitor)(void *context, const char *name);

/** A file system. Paths are as the caller of tern_open() gave them plus "/name". Any thread. */
struct tern_file_system {
    void *context;
    tern_status (*open)(void *context, const char *path, uint32_t flags, tern_file **out_file,
                        tern_error *error);
    tern_status (*remove)(void *context, const char *path, tern_error *error);
    /** Replaces atomically; durable only after sync_directory. */
    tern_status (*rename)(void *context, const char *from, const char *to, tern_error *error);
    /** Hard link `to` to the file `from`; TERN_UNSUPPORTED where it cannot. */
    tern_status (*link)(void *context, const char *from, const char *to, tern_error *error);
    /** TERN_EXISTS when it is there. */
    tern_status (*make_directory)(void *context, const char *path, tern_error *error);
    /** Makes names created, renamed and removed in the directory durable. */
    tern_status (*sync_directory)(void *context, const char *path, tern_error *error);
    /** Visits entry names (files and directories, no dots) in any order; TERN_NOT_FOUND if absent.
     */
    tern_status (*list)(void *context, const char *path, tern_list_visitor visit,
                        void *visit_context, tern_error *error);
    /** TERN_OK or TERN_NOT_FOUND. */
    tern_status (*exists)(void *context, const char *path, tern_error *error);
    /** Bytes free for the user on the file system of `path`. */
    tern_status (*free_space)(void *context, const char *path, uint64_t *out_bytes,
                              tern_error *error);
    /**
     * Takes an exclusive lock on `path` (created, holding a text that identifies this process) for
     * the life of *out_lock. TERN_LOCKED with the holder named in the error when it is taken. What
     * a holder that was killed has had written to files beside it is there when this returns.
     */
    tern_status (*lock)(void *context, const char *path, tern_file **out_lock, tern_error *error);
    /**
     * Opens a queue for about `depth` operations at once on files of this file system.
     * TERN_UNSUPPORTED, with the reason in the error, where there is none; NULL means so too. What
     * is then submitted is carried out by plain calls.
     */
    tern_status (*open_queue)(void *context, uint32_t depth, tern_io_queue **out_queue,
                              tern_error *error);
};

/** POSIX files. Static storage. */
TERN_API const tern_file_system *tern_file_system_default(void);

TERN_END_DECLS

#endif
