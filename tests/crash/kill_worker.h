/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that works on a database until it is killed, and tells every acknowledged commit over a
 * pipe; and what a database must look like afterwards.
 *
 * Thread t commits numbers one after the other. Commit n of it puts the key "t/n" into both
 * keyspaces and n under "head/t"; from time to time it deletes its old keys in both and notes under
 * "floor/t" from where on they are there.
 */
#ifndef TERN_TESTS_KILL_WORKER_H
#define TERN_TESTS_KILL_WORKER_H

#include <stdint.h>
#include <tern/tern.h>

#define KILL_THREADS 4

/* Written to the pipe after the commit returned. */
struct kill_acknowledgement {
    uint32_t thread;
    uint32_t number;
};

/* Small budgets: freezes, drains and segment switches all the time. */
void kill_options(tern_db_options *options);

/* Works until it is killed; returns only on a failure, which it prints. */
int kill_worker_run(const char *directory, int descriptor);

/* What thread `thread` has committed; numbers count from 1, 0: nothing. False when a pair is torn,
 * a key is missing or one is there that should not be; says so on standard error. */
bool kill_check_thread(tern_db *db, uint32_t thread, uint32_t *out_head);

#endif
