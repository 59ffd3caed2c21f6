/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system in memory whose power can be cut. It knows what a device would have kept:
 *
 * - A written 512-byte sector is durable after a sync of its file; until then it is kept or not at
 *   random, each sector for itself, so that a cut drops, reorders and tears writes. Of a sector
 *   written twice since the sync an older content may be the one that is kept.
 * - A durable write makes the sectors it writes durable and no others; a cut in it keeps each of
 *   them or not.
 * - A file's size is durable after its sync; until then the device knows it as of any moment since.
 * - A name created, removed, renamed or linked is durable after sync_directory; until then each
 *   such operation is kept or forgotten at random, whatever became of earlier and later ones. A
 *   rename is kept or forgotten as a whole.
 * - Mapped memory is the file's content itself: sectors stored to count as written.
 *
 * A cut happens at once (power_cut_now) or in the N-th mutating call (power_cut_arm): that call has
 * begun, its effects are as unsure as those of all that was not synced, and it fails; every later
 * call fails with TERN_IO, "power is off". Stores to mapped memory after the cut change nothing.
 * power_cut then makes the file system that the machine finds when it comes up again; from one cut,
 * any number of futures with different seeds.
 *
 * Mutating calls: write, write_durable, sync, truncate, allocate, remove, rename, link,
 * make_directory, sync_directory, lock, and open where it creates or truncates.
 *
 * Alignment of TERN_OPEN_DIRECT is 512 and is checked (TERN_INVALID). Misuse that a real file
 * system would punish with a signal is TERN_INVALID too: cutting a file short under a mapping; so
 * are growing one under a mapping of it, which this one cannot do, and a direct write to a file
 * that is mapped.
 *
 * Queues (open_queue) carry operations out in an order and at moments drawn from the seed, each as
 * the call of its kind; see seeded_queue.h.
 *
 * Paths: parents must exist; "." and "/" do.  Any thread.
 */
#ifndef TERN_TESTS_POWER_CUT_FILE_SYSTEM_H
#define TERN_TESTS_POWER_CUT_FILE_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>
#include <tern/sys/file_system.h>

#define POWER_CUT_SECTOR_BYTES 512u

struct power_cut_file_system;

/* Which of the unsynced effects survive a cut. */
enum power_cut_keep {
    POWER_CUT_KEEP_RANDOM = 0, /* any; how many on average is itself drawn from the seed */
    POWER_CUT_KEEP_NOTHING,    /* only what was synced */
    POWER_CUT_KEEP_EVERYTHING  /* as if only the process had ended */
};

struct power_cut_file_system *power_cut_create(uint64_t seed);
const tern_file_system *power_cut_interface(struct power_cut_file_system *file_system);
/* All files must have been closed. Accepts NULL. */
void power_cut_destroy(struct power_cut_file_system *file_system);

/* Mutating calls so far. */
uint64_t power_cut_calls(struct power_cut_file_system *file_system);
/* Cuts in the call after which power_cut_calls would be `call`; 0: not at all. */
void power_cut_arm(struct power_cut_file_system *file_system, uint64_t call);
void power_cut_now(struct power_cut_file_system *file_system);
bool power_cut_is_off(struct power_cut_file_system *file_system);

/* What is found after the cut; cuts now where that has not happened. The old one still stands. */
struct power_cut_file_system *power_cut(struct power_cut_file_system *file_system, uint64_t seed);
struct power_cut_file_system *power_cut_keeping(struct power_cut_file_system *file_system,
                                                enum power_cut_keep keep, uint64_t seed);

/*
 * Lets the `count`-th file sync or durable write from now (1: the next) fail once with TERN_IO and
 * drop the unsynced data as Linux does: pages count as clean and reads show them, but no later sync
 * writes them.
 */
void power_cut_fail_sync(struct power_cut_file_system *file_system, uint64_t count);

/* File syncs and durable writes so far, failed ones too. */
uint64_t power_cut_syncs(struct power_cut_file_system *file_system);

#endif
