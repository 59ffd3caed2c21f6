/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of src/db share: the open database.
 *
 * Locks, in the order in which they are taken:
 *   maintenance_mutex  the maintenance role (engine.h): drains, manifests, compaction, shrinking
 *   spill_mutex        what old views have in temporary files
 *   the applier role   (in the commit queue)
 *   catalog_mutex      names and the list of keyspaces
 * The manifest file and everything in `maintenance` belong to the maintenance role.
 */
#ifndef TERN_DB_DATABASE_INTERNAL_H
#define TERN_DB_DATABASE_INTERNAL_H

#include <tern/sys/executor.h>

#include "cache/cache.h"
#include "db/aside.h"
#include "db/catalog_index.h"
#include "db/database.h"
#include "db/logged_values.h"
#include "db/manifest.h"
#include "db/prewarm.h"
#include "os/file.h"
#include "os/io_queue_pool.h"
#include "os/page_pool.h"
#include "txn/commit.h"

/* What a conversion cannot keep in memory; nameless while it is open. */
#define CONVERT_FILE_NAME "convert.tmp"

/* Where a checkpoint stands. */
enum checkpoint_phase { CHECKPOINT_IDLE, CHECKPOINT_DRAIN };

struct maintenance {
    enum checkpoint_phase phase;
    seq_no frozen_seq; /* of the checkpoint under way */
    uint64_t frozen_time_ms;
    bool is_partial;                 /* not everything could be frozen */
    log_position frozen_position;    /* end of the log at the freeze */
    size_t keyspace_index;           /* which keyspace is being drained */
    size_t group_first;              /* the first one with a slice that waits to be published */
    uint32_t group_steps;            /* steps of work since there is one; 0: there is none */
    seq_no drained_seq;              /* of the last whole checkpoint */
    uint64_t used_after_checkpoint;  /* overlay bytes that the last one left, or less */
    log_position log_start;          /* where replay has to begin */
    log_position written_log_start;  /* as the last manifest says */
    log_position previous_log_start; /* as the one before says */
    uint64_t durable_generations[MANIFEST_SLOTS]; /* view generations of the two manifests */
    uint64_t manifest_generation;
    uint64_t drafted_generation; /* of the newest list of keyspaces; applier role */
    seq_no manifest_catalog_seq;
    uint32_t care_slot;   /* which keyspace is asked next for work of its engine */
    uint32_t care_turn;   /* how often there was a turn for such work */
    uint32_t space_index; /* which keyspace is being looked at or shrunk */
    bool space_is_looking;
    bool space_is_left;      /* the look has passed a file that is to be tried again later */
    bool space_is_asked;     /* by a caller, who waits */
    uint64_t pace_ns;        /* compaction has written what its limit lets it up to this time */
    uint64_t paced_bytes;    /* of compacted_bytes, how many that counts */
    bool has_put_off;        /* some compaction waits for that time */
    uint64_t spill_after_ns; /* spilling failed: not to be tried again before */
    bool has_failed;         /* a manifest sync failed: no more manifests */
    tern_error failure;
};

/* When space is to be given back: what the watching task saw last, and what it wants. */
struct space_watch {
    seq_no visible_seq;
    uint64_t since_ns;
    uint64_t oldest_view;
    _Atomic bool is_quiet;   /* nothing has been committed for a moment */
    _Atomic bool is_at_rest; /* nor for many seconds */
    _Atomic bool is_due;     /* the files are to be looked at */
};

struct database_counters {
    _Atomic uint64_t checkpoints, slices, manifests, drain_failures, throttle_waits;
    _Atomic uint64_t throttle_ns, throttle_ns_max, helped_steps, refused_writes, spill_failures,
        shrunk_bytes, shrink_failures, compaction_failures;
    _Atomic uint64_t log_release_failures;
    _Atomic uint64_t recovered_records, recovery_ms, ended_snapshots, ticks, interval_syncs;
    _Atomic uint64_t conversions, conversions_failed, conversions_undone, converted_records;
    _Atomic uint64_t compacted_bytes, compaction_pauses, compaction_unpaced_bytes;
};

struct tern_db {
    struct txn_manager manager;
    const tern_allocator *allocator;
    tern_db_options options; /* defaults filled in */
    char *path;
    tern_file *lock;
    bool is_copy; /* in the making: its root file gets its name when it is complete */
    struct budget budget;
    struct cache *cache;
    struct page_pool overlay_pool;
    /* Of the overlays' share: what they needed most of late, and what they keep while the cache is
     * lent the rest (memory_share.c). */
    _Atomic uint64_t overlay_most, overlay_kept;
    uint64_t overlay_faded_ns;        /* until when the former has faded; memory task */
    struct io_queue *write_queue;     /* of drains */
    struct io_queue_pool read_queues; /* of readers that have several pages to wait for */
    struct engine_environment environment;
    struct logged_values logged; /* of a read-only one */
    tern_thread_executor *own_executor;

    /* Catalog. */
    struct mutex catalog_mutex;
    tern_keyspace *keyspaces;      /* all handles, newest first, */
    tern_keyspace *gone_keyspaces; /* but for those that have no engine any more */
    struct catalog_index partitions;
    tern_keyspace **slots; /* by slot; NULL once gone */
    uint32_t slot_count;
    uint32_t slot_capacity; /* of free_slots, too */
    uint32_t *free_slots;   /* below slot_count, and to be given again */
    uint32_t free_slot_count;
    _Atomic uint64_t next_partition;
    seq_no catalog_seq; /* of the last catalog change; applier */

    /* Maintenance. */
    struct mutex maintenance_mutex;
    struct maintenance maintenance;
    struct mutex spill_mutex; /* spilling, and letting go of what readers brought back */
    uint64_t faults_seen;     /* at the last of the latter; under spill_mutex */
    struct manifest_file *manifest;
    uint64_t view_generation;         /* of the newest view; applier */
    struct database_view *spare_view; /* so that publishing a view cannot fail; applier */
    uint32_t spare_slots;
    _Atomic seq_no checkpoint_wanted; /* drain everything up to here */
    _Atomic seq_no checkpoint_done;   /* drained up to here, durable */
    _Atomic uint64_t drain_debt;      /* bytes of frozen overlays not merged yet */
    _Atomic uint32_t aside_count;     /* keyspaces whose drain fails: see aside.h */
    _Atomic uint64_t aside_bytes;     /* in their overlays */
    _Atomic bool is_closing;
    _Atomic bool is_draining;
    _Atomic uint32_t writers_held;    /* conversions that want commits to wait a moment */
    _Atomic uint32_t waiting_writers; /* who pay, or would if they got the maintenance role */
    _Atomic uint64_t live_keyspaces;  /* each has overlays, however small */
    _Atomic uint64_t overlay_excused; /* overlay bytes that writers are not made to wait for */
    tern_task maintenance_task;
    tern_task prepare_task;
    tern_task sync_task;
    tern_task tick_task;
    tern_task memory_task;
    tern_task page_task; /* brings in memory for overlays */
    struct prewarm prewarm;
    struct space_watch space_watch;
    log_position last_marked;           /* sync task's */
    _Atomic uint64_t seen_stage;        /* of the log, when log segments were last prepared */
    bool wanted_spare;                  /* the log did, when the sync task looked last; its own */
    _Atomic uint64_t release_after_ns;  /* something of the log could not be let go: to be tried
                                           again then; 0: nothing */
    _Atomic uint64_t space_wanted;      /* free bytes that some care waits for; 0: none does */
    _Atomic bool space_has_come;        /* they are there */
    _Atomic uint32_t dropped_keyspaces; /* whose engines are still open */
    _Atomic uint32_t held_keyspaces;    /* of these, whose views somebody holds */

    struct tern_commit_hook *hooks; /* under catalog_mutex */
    struct database_counters counters;
};

static inline uint64_t database_now_ns(const struct tern_db *db) {
    return db->options.clock->monotonic_ns(db->options.clock->context);
}

/* ---- database.c ---- */
/* Takes over what a caller has given, who may have been built against an older release; NULL
 * changes nothing. TERN_INVALID: not initialised, or from a newer release. */
TERN_MUST_CHECK tern_status database_options_copy(const tern_db_options *given,
                                                  tern_db_options *out_options, tern_error *error);
/* tern_open; `is_copy`: see database_directory.h. */
TERN_MUST_CHECK tern_status database_open(const char *path, const tern_db_options *options,
                                          bool is_copy, tern_db **out_db, tern_error *error);

/* ---- catalog_options.c ---- */
/* Fills in defaults, also for what the engine has no use for. NULL: defaults. TERN_INVALID,
 * TERN_UNSUPPORTED. */
TERN_MUST_CHECK tern_status catalog_check_options(const tern_keyspace_options *options,
                                                  tern_keyspace_options *out_resolved,
                                                  tern_error *error);
/* The same for what a caller asks for: TERN_INVALID also for what the engine has no use for. */
TERN_MUST_CHECK tern_status catalog_check_request(const tern_keyspace_options *options,
                                                  tern_keyspace_options *out_resolved,
                                                  tern_error *error);

/* ---- catalog.c ---- */
void catalog_init(struct tern_db *db);
void catalog_release(struct tern_db *db);
/* A handle of partition `id`, whose engine is opened from `state`. State PENDING, no slot.
 * `keyspace_id` is the same unless a conversion has made the partition. `hash_seed`: of its keys.
 */
TERN_MUST_CHECK tern_status catalog_open_keyspace(struct tern_db *db, partition_id id,
                                                  partition_id keyspace_id, tern_slice name,
                                                  const tern_keyspace_options *options,
                                                  uint64_t hash_seed, tern_slice state,
                                                  struct engine_drained *out_drained,
                                                  tern_keyspace **out_keyspace, tern_error *error);
/* A seed for key hashes. */
uint64_t catalog_draw_seed(const struct tern_db *db);
/* Gives a handle a slot and makes it live. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status catalog_make_live(struct tern_db *db, tern_keyspace *keyspace,
                                              seq_no created_seq, tern_error *error);
/* Another name for one that is pending, and whose name nobody has asked for. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status catalog_rename_pending(struct tern_db *db, tern_keyspace *keyspace,
                                                   const char *name, tern_error *error);
tern_keyspace *catalog_by_id(struct tern_db *db, partition_id id);
tern_keyspace *catalog_by_name(struct tern_db *db, const char *name);
/* The keyspace of a slot, NULL once it is gone; *out_exists: there are that many slots. */
tern_keyspace *catalog_at(struct tern_db *db, uint32_t slot, bool *out_exists);
/* The engine of a dropped keyspace that is in no live view, to be closed; its slot is another's
 * from then on. Maintenance role. */
struct engine *catalog_take_engine(struct tern_db *db, tern_keyspace *keyspace);
/* Marks it dropped and queues its engine for closing. */
void catalog_mark_dropped(struct tern_db *db, tern_keyspace *keyspace, seq_no seq);
/* The keyspace gets the partition of the hidden handle `target`, which is dropped with the old one.
 * Applier and maintenance role held, or at recovery. */
void catalog_convert(struct tern_db *db, tern_keyspace *keyspace, tern_keyspace *target,
                     seq_no seq);
/* The txn_callbacks of the same names. */
tern_status catalog_prepare(void *context, struct catalog_change *changes, size_t count,
                            tern_error *error);
void catalog_apply(void *context, struct catalog_change *changes, size_t count, seq_no seq);
void catalog_published(void *context, struct catalog_change *changes, size_t count);
void catalog_undo(void *context, struct catalog_change *changes, size_t count);

/* ---- views.c: applier role ---- */
/* Makes sure that views_refresh can publish a view of `slot_count` slots. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status views_prepare(struct tern_db *db, uint32_t slot_count,
                                          tern_error *error);
/* Publishes a view of what is current in every live keyspace, as generation view_generation + 1.
 * Cannot fail after views_prepare. */
void views_refresh(struct tern_db *db);

/* ---- recovery.c ---- */
TERN_MUST_CHECK tern_status recovery_run(struct tern_db *db, const struct manifest *manifest,
                                         tern_error *error);

/* ---- checkpoint.c: maintenance role held ---- */
/* Freezes all overlays with something in them and begins to drain. */
TERN_MUST_CHECK tern_status checkpoint_begin(struct tern_db *db, tern_error *error);
/* One quantum of draining; *out_more false: the checkpoint is complete (or none was under way).
 * `helps`: a small one for a writer who has other things to do, and no publishing, which waits for
 * the device. */
TERN_MUST_CHECK tern_status checkpoint_step(struct tern_db *db, bool helps, bool *out_more,
                                            tern_error *error);
/* Sums up what engines have still to do. */
void checkpoint_update_debt(struct tern_db *db);
/* Seals what engines have ready, makes it durable, switches the manifest, publishes. `is_last`: all
 * of the checkpoint is drained, so the log may begin at its freeze; then a manifest is written also
 * when no engine has anything new. */
TERN_MUST_CHECK tern_status checkpoint_publish(struct tern_db *db, bool is_last, tern_error *error);
/* An engine has a root that is sealed and not published: a publish failed half-way. */
bool checkpoint_has_sealed(struct tern_db *db);
/* Writes a manifest of what is published now, so that both slots say the same. What is sealed is
 * published on the way. TERN_POISONED after a failed sync of a manifest or a base. */
TERN_MUST_CHECK tern_status checkpoint_rewrite_manifest(struct tern_db *db, tern_error *error);
/* Releases the log below what both manifests need. What cannot be let go now, because the archive
 * does not take it, say, is tried again in a while, and nothing else waits for it. */
void checkpoint_release_log(struct tern_db *db);
/* Somebody else who kept some of the log does so no more: lets it go in the background. Any thread.
 */
void checkpoint_release_log_soon(struct tern_db *db);
/* After a checkpoint, when nothing follows at once: lets both manifests name the newest roots, so
 * that the log and the blocks that only the older one needed can go. */
TERN_MUST_CHECK tern_status checkpoint_settle(struct tern_db *db, tern_error *error);
/* Closes engines of dropped keyspaces that nobody reads, removes files no manifest names. */
void checkpoint_collect_dropped(struct tern_db *db);
/* Generation of the oldest view that is live. Any thread. */
uint64_t checkpoint_oldest_view(struct tern_db *db);
/* Lets engines reuse blocks that no live view needs; true: there is more to do. */
bool checkpoint_release_blocks(struct tern_db *db);

/* ---- maintenance.c ---- */
void maintenance_start(struct tern_db *db);
void maintenance_stop(struct tern_db *db);
/* Takes all tasks back. Also once more before the database goes, after the last work of closing. */
void maintenance_cancel(struct tern_db *db);
/* Asks for background work. */
void maintenance_wake(struct tern_db *db);
/*
 * First things first, for whoever holds the maintenance role for longer work of another kind: one
 * step of the checkpoint that is under way or wanted, or of what else makes room for writers.
 */
TERN_MUST_CHECK tern_status maintenance_first(struct tern_db *db, tern_error *error);
/* Waits so long, or a turn of maintenance if that is shorter. Holds no role. */
void maintenance_pause(uint64_t ns);
/* Between two turns with the role, which is not held: writers who wait for it get it. */
void maintenance_give_way(struct tern_db *db);
/* Runs steps (or waits for those who do) until everything committed up to `seq` is in bases. */
TERN_MUST_CHECK tern_status maintenance_drain_to(struct tern_db *db, seq_no seq, tern_error *error);
/* txn_callbacks.throttle. */
tern_status maintenance_throttle(void *context, uint64_t bytes, tern_error *error);
/* The same for who must not be held back by conversions, being one. */
TERN_MUST_CHECK tern_status maintenance_make_room(struct tern_db *db, uint64_t bytes,
                                                  tern_error *error);

/* ---- old_views.c: maintenance role held ---- */
/* Bytes of overlays that only older views than the current one hold. */
uint64_t old_views_held(struct tern_db *db);
/* Moves about `quantum_bytes` of them to temporary files; *out_bytes: how much memory that gave
 * back. What stands in the way (no descriptors, a full disk) is tried again a while later. */
void old_views_spill(struct tern_db *db, size_t quantum_bytes, uint64_t *out_bytes);
bool old_views_have_spilled(const struct tern_db *db);
/* Lets go of what readers have brought back into memory of spilled overlays. Any thread. */
void old_views_forget(struct tern_db *db);

/* ---- care.c: maintenance role held ---- */
/* One quantum of what can wait while a checkpoint is wanted; *out_more false: nothing is to be done
 * now. What fails is tried again later. `helps`: as of checkpoint_step; what engines have ready
 * then is published by the maintenance task. */
void care_step(struct tern_db *db, bool helps, bool *out_more);
/* Compaction has written more than compaction_bytes_per_second lets it by now: *out_delay_ns until
 * it may go on. */
bool care_is_paced(const struct tern_db *db, uint64_t *out_delay_ns);
/* Notes what compaction has written; after each of its steps. */
void care_note_written(struct tern_db *db);
/* Something has failed, or keeps to a limit, and is to be tried again in that time. */
bool care_is_waiting(struct tern_db *db, uint64_t *out_delay_ns);
/* Whether it may be tried (again). */
bool care_is_due(const struct tern_db *db, const struct keyspace_care *care);
void care_failed(struct tern_db *db, struct keyspace_care *care, tern_status status);
/* Any thread: looks whether the disk has room again for what has failed for want of it. */
void care_watch_space(struct tern_db *db);
void care_succeeded(struct keyspace_care *care);

/* ---- space.c ---- */
/* Notes what goes on, and wakes maintenance when files are to be looked at. One task. */
void space_watch(struct tern_db *db);
/* Drains have changed files. */
void space_look_again(struct tern_db *db);
/* One quantum of giving space back, while no checkpoint is under way; *out_more false: there is
 * nothing to do now. What fails is left for later. Maintenance role. */
void space_step(struct tern_db *db, bool *out_more);
/* Both manifests get past what has been superseded, so that its blocks are free. Maintenance role.
 */
TERN_MUST_CHECK tern_status space_settle(struct tern_db *db, tern_error *error);
/* Gives back what is worth it, for a caller who waits; for about two seconds. What fails is left to
 * the background. */
void space_give_back(struct tern_db *db);

/* ---- memory_share.c ---- */
/* Before memory_cache_share: nothing has been needed so far. */
void memory_share_init(struct tern_db *db);
/* What the other users of memory leave to the cache. */
uint64_t memory_cache_share(const struct tern_db *db);
/* Gives the cache that, when it is much more or less than it has. One thread at a time. */
void memory_share_again(struct tern_db *db);
/* Overlays want more than they have kept of their share: they get all of it, at once. */
void memory_take_back(struct tern_db *db);
/* The overlays will use so much: the cache gives back what they lack. Any thread. */
static inline void memory_share_use(struct tern_db *db, uint64_t overlay_bytes) {
    uint64_t kept = atomic_load_explicit(&db->overlay_kept, memory_order_relaxed);
    if (__builtin_expect(overlay_bytes > kept, 0) && kept < db->options.overlay_bytes) {
        memory_take_back(db);
    }
}

/* ---- hook.c ---- */
/* Ends all hooks at close. */
void hook_stop_all(struct tern_db *db);
/* Wakes hooks after commits became durable. */
void hook_wake_all(struct tern_db *db);

#endif
