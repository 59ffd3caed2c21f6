/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache's contents over a restart: which pages were cached is written down beside the database,
 * and read back in the background after the next open. All of it is advice: nothing fails by it.
 */
#ifndef TERN_DB_PREWARM_H
#define TERN_DB_PREWARM_H

#include <stdatomic.h>
#include <tern/sys/executor.h>

#include "base/buffer.h"
#include "engine/engine.h"

struct tern_db;

struct prewarm {
    tern_task task;
    _Atomic bool save_wanted;
    _Atomic bool is_loaded; /* nothing is left to load */
    _Atomic uint64_t listed, loaded;
    /* The task's: the file's body, where in it, and how far with that keyspace. */
    struct buffer body;
    size_t offset;
    struct engine_warming warming;
    uint64_t evictions_before;
};

/* Begins to load what the file says, when the option asks for it. */
void prewarm_start(struct tern_db *db);
/* Takes the task back; what it holds goes afterwards. */
void prewarm_cancel(struct tern_db *db);
void prewarm_release(struct tern_db *db);
/* Writes the file from the task (unless the database is being closed), or now. No effect without
 * the option or in a read-only database. */
void prewarm_save_soon(struct tern_db *db);
void prewarm_save(struct tern_db *db);

/* The body of a file, or false: damaged. For the fuzzer and tests, too. */
bool prewarm_check(const uint8_t *bytes, size_t size);

#endif
