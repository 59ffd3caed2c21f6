/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wraps any file system: counts calls by kind, fails those that it is told to, and can be as full
 * as a test wants. Operations given to its queues are carried out by the same calls, in an order
 * that is the same every time (seeded_queue.h). Any thread.
 */
#ifndef TERN_TESTS_FAULT_FILE_SYSTEM_H
#define TERN_TESTS_FAULT_FILE_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>
#include <tern/sys/file_system.h>

/* Kinds of call, as bits. */
enum fault_kind {
    FAULT_OPEN = 1 << 0,
    FAULT_READ = 1 << 1,
    FAULT_WRITE = 1 << 2,
    FAULT_SYNC = 1 << 3,
    FAULT_SIZE = 1 << 4,
    FAULT_TRUNCATE = 1 << 5,
    FAULT_ALLOCATE = 1 << 6,
    FAULT_MAP = 1 << 7,
    FAULT_CLOSE = 1 << 8,
    FAULT_REMOVE = 1 << 9,
    FAULT_RENAME = 1 << 10,
    FAULT_LINK = 1 << 11,
    FAULT_MAKE_DIRECTORY = 1 << 12,
    FAULT_SYNC_DIRECTORY = 1 << 13,
    FAULT_LIST = 1 << 14,
    FAULT_EXISTS = 1 << 15,
    FAULT_FREE_SPACE = 1 << 16,
    FAULT_LOCK = 1 << 17
};
#define FAULT_KINDS 18
#define FAULT_ANY   ((1u << FAULT_KINDS) - 1)
/* What changes the device. */
#define FAULT_CHANGES                                                                              \
    (FAULT_OPEN | FAULT_WRITE | FAULT_SYNC | FAULT_TRUNCATE | FAULT_ALLOCATE | FAULT_REMOVE |      \
     FAULT_RENAME | FAULT_LINK | FAULT_MAKE_DIRECTORY | FAULT_SYNC_DIRECTORY)

struct fault_plan {
    uint32_t kinds;     /* which calls count and fail */
    uint64_t nth;       /* which of them, from the arming on; 1 is the next */
    bool sticky;        /* all after it, too */
    bool short_write;   /* a failing write writes its first half before */
    tern_status status; /* TERN_OK: TERN_IO */
    int system_errno;   /* 0: what fits the status (EIO, ENOSPC) */
};

struct fault_file_system;

struct fault_file_system *fault_file_system_create(const tern_file_system *inner);
const tern_file_system *fault_file_system_interface(struct fault_file_system *file_system);
/* All files must have been closed. Accepts NULL. */
void fault_file_system_destroy(struct fault_file_system *file_system);

void fault_file_system_arm(struct fault_file_system *file_system, const struct fault_plan *plan);
void fault_file_system_disarm(struct fault_file_system *file_system);

/* Calls so far of all kinds in the mask. */
uint64_t fault_file_system_calls(struct fault_file_system *file_system, uint32_t kinds);
/* Calls made to fail so far; those for want of space included. */
uint64_t fault_file_system_failures(struct fault_file_system *file_system);

/*
 * How many bytes the files may have in all; 0 is no limit. Counts the sizes that files grow to
 * through this wrapper (those that were there before count as nothing; of linked files the first
 * name removed frees the bytes). A write past it writes what fits and is TERN_DISK_FULL.
 */
void fault_file_system_set_capacity(struct fault_file_system *file_system, uint64_t bytes);
uint64_t fault_file_system_used(struct fault_file_system *file_system);

#endif
