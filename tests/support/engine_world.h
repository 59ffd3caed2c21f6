/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything an engine needs around it, with a judge: one partition on a file system that forgets
 * what was not synced, a log and two manifests kept by the test, snapshots, and an oracle that
 * holds what every moment must read. For contract, model and crash tests of any engine.
 *
 * Functions named check_… fail the test (abort with a message) when engine and oracle differ.
 */
#ifndef TERN_TESTS_ENGINE_WORLD_H
#define TERN_TESTS_ENGINE_WORLD_H

#include <stdbool.h>

#include "engine/engine.h"
#include "os/io_queue_pool.h"
#include "support/oracle.h"
#include "support/power_cut_file_system.h"
#include "support/seeded_random.h"

struct world_commit {
    seq_no seq;
    uint64_t time_ms;
    struct world_change *changes;
    size_t count;
};

/* A reader that stays. */
struct world_snapshot {
    struct engine_view *view;
    uint64_t generation;
    struct engine_moment moment;
    struct oracle oracle;
};

#define WORLD_SNAPSHOTS 6
#define WORLD_MANIFESTS 2

struct world_manifest {
    uint8_t *state;
    size_t size;
    uint64_t generation;
};

struct engine_world {
    const struct engine_methods *methods;
    const tern_allocator *allocator;
    struct power_cut_file_system *disk;
    struct epoch_domain *epoch;
    struct budget budget;
    struct cache *cache;
    struct io_queue *write_queue;
    struct io_queue_pool read_queues;
    struct engine_environment environment;
    struct engine_config config;
    struct engine *engine;
    struct engine_scratch scratch;
    struct oracle now;
    seq_no seq;
    uint64_t time_ms;
    uint64_t view_generation;
    struct engine_view *view; /* the database's current one */
    struct world_commit *log;
    size_t log_count;
    size_t log_capacity;
    struct world_snapshot snapshots[WORLD_SNAPSHOTS];
    size_t snapshot_count;
    struct world_manifest manifests[WORLD_MANIFESTS]; /* [0] is the newest */
    bool has_sealed;                                  /* sealed, and not published yet */
};

/* A new, empty partition; cache_bytes 0: no room for a page, almost. */
void world_create(struct engine_world *world, const struct engine_methods *methods,
                  const tern_keyspace_options *options, uint64_t cache_bytes, uint64_t seed,
                  const tern_allocator *allocator);
void world_destroy(struct engine_world *world);

/* Opens the engine from manifest `index` and replays the log. */
tern_status world_open(struct engine_world *world, size_t index, tern_error *error);
/* Cuts the power and opens what a machine would find then, as `seed` has it. */
tern_status world_cut_and_open(struct engine_world *world, size_t index, uint64_t seed,
                               tern_error *error);
/* Lets go of all snapshots and closes the engine. */
void world_close(struct engine_world *world);

/* Commits the changes (copied). TERN_NO_MEMORY, TERN_IO and so on: nothing has happened. */
tern_status world_commit(struct engine_world *world, const struct world_change *changes,
                         size_t count, tern_error *error);
tern_status world_put(struct engine_world *world, const char *key, const char *value);
tern_status world_delete(struct engine_world *world, const char *key);

tern_status world_freeze(struct engine_world *world, tern_error *error);
/* seal, sync, manifest, publish, release. */
tern_status world_publish(struct engine_world *world, tern_error *error);
/* One step of a drain; publishes at the end of a slice. */
tern_status world_drain_step(struct engine_world *world, size_t quantum, bool *out_idle,
                             tern_error *error);
/* Freezes and drains all. */
tern_status world_checkpoint(struct engine_world *world, tern_error *error);
/* Background work until there is none; nothing for engines without. */
tern_status world_maintain(struct engine_world *world, tern_error *error);
tern_status world_compact(struct engine_world *world, tern_error *error);
/* Tells the engine which generations are alive. */
void world_release(struct engine_world *world);

void world_snapshot_take(struct engine_world *world);
void world_snapshot_drop(struct engine_world *world, size_t index);

/* Fails the test, saying what, unless the status is OK. */
void world_must(tern_status status, const tern_error *error, const char *what);

/* Compares one key, all of it by cursor (both ways), and by multi-get. */
void world_check_key(struct engine_world *world, struct engine_view *view,
                     const struct engine_moment *moment, const struct oracle *oracle,
                     tern_slice key);
void world_check_all(struct engine_world *world, struct engine_view *view,
                     const struct engine_moment *moment, const struct oracle *oracle);
/* The current state: world_check_all of now. */
void world_check_now(struct engine_world *world);
void world_check_snapshots(struct engine_world *world);
/* The engine's own verify finds nothing. */
void world_verify(struct engine_world *world);
struct engine_moment world_moment(const struct engine_world *world);

#endif
