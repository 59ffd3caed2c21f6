/* SPDX-License-Identifier: Apache-2.0 */
#include "support/engine_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "cache/cache.h"
#include "support/check.h"

#define WORLD_DIRECTORY "/world"

/* ---- life ---- */

void world_must(tern_status status, const tern_error *error, const char *what) {
    if (status != TERN_OK) {
        fprintf(stderr, "%s: %s: %s (%s at %lld)\n", what, tern_status_name(status), error->message,
                error->file, (long long)error->offset);
        CHECK(false);
    }
}

void world_create(struct engine_world *world, const struct engine_methods *methods,
                  const tern_keyspace_options *options, uint64_t cache_bytes, uint64_t seed,
                  const tern_allocator *allocator) {
    tern_error error = TERN_ERROR_INIT;
    *world = (struct engine_world){0};
    world->methods = methods;
    world->allocator = allocator;
    world->disk = power_cut_create(seed);
    const tern_file_system *system = power_cut_interface(world->disk);
    world_must(system->make_directory(system->context, WORLD_DIRECTORY, &error), &error,
               "directory");
    world_must(system->sync_directory(system->context, "/", &error), &error, "directory");
    world_must(epoch_domain_create(tern_allocator_default(), &world->epoch, &error), &error,
               "epoch");
    world->budget.limit_bytes = (uint64_t)256 << 20;
    const struct cache_options cache_options = {
        .allocator = tern_allocator_default(),
        .epoch = world->epoch,
        .budget = &world->budget,
        .limit_bytes = cache_bytes < ((uint64_t)1 << 20) ? (uint64_t)1 << 20 : cache_bytes};
    world_must(cache_create(&cache_options, &world->cache, &error), &error, "cache");
    world_must(
        io_queue_create(system, tern_allocator_default(), 8, false, &world->write_queue, &error),
        &error, "queue");
    io_queue_pool_init(&world->read_queues, system, tern_allocator_default(), 8, false);
    world->environment = (struct engine_environment){
        .allocator = allocator,
        .file_system = system,
        .clock = tern_clock_default(),
        .directory = WORLD_DIRECTORY,
        .epoch = world->epoch,
        .budget = &world->budget,
        .cache = world->cache,
        .write_queue = world->write_queue,
        .read_queues = &world->read_queues,
        .incarnation = 1,
    };
    world->config.id = 7;
    world->config.hasher = key_hasher_make(options->hash_function, world->config.id);
    world->config.options = *options;
    world->time_ms = 1000;
    world->view_generation = 1;
    engine_scratch_init(&world->scratch, tern_allocator_default());
}

void world_destroy(struct engine_world *world) {
    if (world->engine != NULL) {
        world_close(world);
    }
    engine_scratch_release(&world->scratch);
    cache_destroy(world->cache);
    io_queue_destroy(world->write_queue);
    io_queue_pool_release(&world->read_queues);
    epoch_domain_destroy(world->epoch);
    power_cut_destroy(world->disk);
    oracle_release(&world->now);
    for (size_t i = 0; i < world->log_count; i++) {
        for (size_t j = 0; j < world->log[i].count; j++) {
            free((void *)(uintptr_t)world->log[i].changes[j].key.data);
            free((void *)(uintptr_t)world->log[i].changes[j].value.data);
        }
        free(world->log[i].changes);
    }
    free(world->log);
    for (size_t i = 0; i < WORLD_MANIFESTS; i++) {
        free(world->manifests[i].state);
    }
}

/* The database shows what the engine has now. */
static void refresh_view(struct engine_world *world) {
    struct engine_view *old = world->view;
    world->view = world->methods->current_view(world->engine);
    world->view_generation++;
    engine_view_release(old, world->epoch);
}

static tern_status write_large(struct engine_world *world, tern_slice value, uint8_t *reference,
                               size_t *out_size, tern_error *error) {
    struct engine_large_writer *writer = NULL;
    tern_status status = world->methods->large_begin(world->engine, &writer, error);
    if (status != TERN_OK) {
        return status;
    }
    for (size_t done = 0; done < value.size;) {
        size_t part = value.size - done < 100000 ? value.size - done : 100000;
        status =
            world->methods->large_append(writer, (const uint8_t *)value.data + done, part, error);
        if (status != TERN_OK) {
            world->methods->large_abandon(writer);
            return status;
        }
        done += part;
    }
    return world->methods->large_finish(writer, reference, out_size, error);
}

/* Engine changes of a commit; values stored apart are written. Free *out_changes and its values. */
static tern_status make_changes(struct engine_world *world, const struct world_commit *commit,
                                struct engine_change **out_changes, size_t *out_bytes,
                                tern_error *error) {
    struct engine_change *changes = check_allocate((commit->count + 1) * sizeof(changes[0]));
    size_t bytes = 0;
    tern_status status = TERN_OK;
    size_t made = 0;
    for (; made < commit->count && status == TERN_OK; made++) {
        const struct world_change *change = &commit->changes[made];
        struct engine_change *target = &changes[made];
        target->key = change->key;
        target->record = (struct record){
            .kind = change->kind,
            .merge_kind = change->merge_kind,
            .expires_ms = change->kind == RECORD_MERGE ? commit->time_ms : change->expires_ms,
            .value = change->value};
        target->range_has_end = change->range_has_end;
        if (change->kind != CHANGE_DELETE_RANGE) {
            target->key_hash = key_hasher_hash(&world->config.hasher, change->key);
        }
        if (change->kind == RECORD_LARGE) {
            uint8_t *reference = check_allocate(ENGINE_LARGE_REFERENCE_BYTES_MAX);
            size_t size = 0;
            status = write_large(world, change->value, reference, &size, error);
            target->record.value = tern_slice_of(reference, size);
            target->record.value_size = change->value.size;
        }
        bytes += target->key.size + target->record.value.size;
    }
    *out_changes = changes;
    *out_bytes = bytes;
    if (status != TERN_OK) {
        /* The last one made is the one that failed. */
        for (size_t i = 0; i < made; i++) {
            if (commit->changes[i].kind == RECORD_LARGE) {
                if (i + 1 < made) {
                    world->methods->large_discard(world->engine, changes[i].record.value);
                }
                free((void *)(uintptr_t)changes[i].record.value.data);
            }
        }
        free(changes);
    }
    return status;
}

static void free_changes(const struct world_commit *commit, struct engine_change *changes) {
    for (size_t i = 0; i < commit->count; i++) {
        if (commit->changes[i].kind == RECORD_LARGE) {
            free((void *)(uintptr_t)changes[i].record.value.data);
        }
    }
    free(changes);
}

static tern_status replay_log(struct engine_world *world, tern_error *error) {
    tern_status status = TERN_OK;
    for (size_t i = 0; status == TERN_OK && i < world->log_count; i++) {
        struct engine_change *changes = NULL;
        size_t bytes = 0;
        status = make_changes(world, &world->log[i], &changes, &bytes, error);
        if (status == TERN_OK) {
            status = world->methods->replay(world->engine, changes, world->log[i].count,
                                            world->log[i].seq, error);
            free_changes(&world->log[i], changes);
        }
    }
    return status;
}

tern_status world_open(struct engine_world *world, size_t index, tern_error *error) {
    const struct world_manifest *manifest = &world->manifests[index];
    struct engine_drained drained;
    world->environment.incarnation++;
    tern_status status = world->methods->open(&world->environment, &world->config,
                                              tern_slice_of(manifest->state, manifest->size),
                                              &world->engine, &drained, error);
    if (status != TERN_OK) {
        return status;
    }
    world->has_sealed = false;
    /* Only the chosen one counts from now on. */
    for (size_t i = 0; i < WORLD_MANIFESTS; i++) {
        if (i != index) {
            struct world_manifest *other = &world->manifests[i];
            free(other->state);
            other->state = check_allocate(manifest->size + 1);
            if (manifest->size > 0) {
                memcpy(other->state, manifest->state, manifest->size);
            }
            other->size = manifest->size;
        }
    }
    status = replay_log(world, error);
    if (status != TERN_OK) {
        world->methods->close(world->engine);
        world->engine = NULL;
        return status;
    }
    refresh_view(world);
    for (size_t i = 0; i < WORLD_MANIFESTS; i++) {
        world->manifests[i].generation = world->view_generation;
    }
    return TERN_OK;
}

void world_close(struct engine_world *world) {
    while (world->snapshot_count > 0) {
        world_snapshot_drop(world, world->snapshot_count - 1);
    }
    engine_view_release(world->view, world->epoch);
    world->view = NULL;
    world->methods->close(world->engine);
    world->engine = NULL;
}

tern_status world_cut_and_open(struct engine_world *world, size_t index, uint64_t seed,
                               tern_error *error) {
    power_cut_now(world->disk);
    world_close(world);
    struct power_cut_file_system *found = power_cut(world->disk, seed);
    power_cut_destroy(world->disk);
    world->disk = found;
    world->environment.file_system = power_cut_interface(found);
    world->read_queues.file_system = power_cut_interface(found);
    return world_open(world, index, error);
}

/* ---- commits ---- */

static struct world_change copy_change(const struct world_change *change) {
    struct world_change copy = *change;
    copy.key =
        tern_slice_of(check_copy_bytes(change->key.data, change->key.size), change->key.size);
    copy.value =
        tern_slice_of(check_copy_bytes(change->value.data, change->value.size), change->value.size);
    return copy;
}

static int compare_seq(const void *left, const void *right) {
    seq_no a = *(const seq_no *)left;
    seq_no b = *(const seq_no *)right;
    return (a > b) - (a < b);
}

tern_status world_commit(struct engine_world *world, const struct world_change *changes,
                         size_t count, tern_error *error) {
    world->time_ms += 3;
    struct world_commit commit = {world->seq + 1, world->time_ms,
                                  (struct world_change *)(uintptr_t)changes, count};
    struct engine_change *engine_changes = NULL;
    size_t bytes = 0;
    tern_status status = make_changes(world, &commit, &engine_changes, &bytes, error);
    if (status != TERN_OK) {
        return status;
    }
    status = world->methods->reserve(world->engine, count, bytes, error);
    if (status != TERN_OK) {
        for (size_t i = 0; i < count; i++) {
            if (changes[i].kind == RECORD_LARGE) {
                world->methods->large_discard(world->engine, engine_changes[i].record.value);
            }
        }
        free_changes(&commit, engine_changes);
        return status;
    }
    seq_no live[WORLD_SNAPSHOTS];
    for (size_t i = 0; i < world->snapshot_count; i++) {
        live[i] = world->snapshots[i].moment.seq;
    }
    qsort(live, world->snapshot_count, sizeof(live[0]), compare_seq);
    const struct engine_horizon horizon = {live, world->snapshot_count, world->seq};
    world->methods->apply(world->engine, engine_changes, count, commit.seq, &horizon);
    free_changes(&commit, engine_changes);
    world->seq = commit.seq;
    if (world->log_count == world->log_capacity) {
        world->log_capacity = world->log_capacity * 2 + 64;
        world->log = check_resize(world->log, world->log_capacity * sizeof(world->log[0]));
    }
    commit.changes = check_allocate((count + 1) * sizeof(commit.changes[0]));
    for (size_t i = 0; i < count; i++) {
        commit.changes[i] = copy_change(&changes[i]);
        oracle_apply(&world->now, &changes[i], commit.time_ms);
    }
    world->log[world->log_count++] = commit;
    return TERN_OK;
}

tern_status world_put(struct engine_world *world, const char *key, const char *value) {
    const struct world_change change = {
        .kind = RECORD_PUT, .key = tern_slice_str(key), .value = tern_slice_str(value)};
    return world_commit(world, &change, 1, NULL);
}

tern_status world_delete(struct engine_world *world, const char *key) {
    const struct world_change change = {.kind = RECORD_DELETE, .key = tern_slice_str(key)};
    return world_commit(world, &change, 1, NULL);
}

/* ---- maintenance ---- */

tern_status world_freeze(struct engine_world *world, tern_error *error) {
    bool changed = false;
    tern_status status =
        world->methods->freeze(world->engine, world->seq, world->time_ms, &changed, error);
    if (status == TERN_OK && changed) {
        refresh_view(world);
    }
    return status;
}

void world_release(struct engine_world *world) {
    uint64_t live[WORLD_SNAPSHOTS + WORLD_MANIFESTS + 1];
    size_t count = 0;
    for (size_t i = 0; i < world->snapshot_count; i++) {
        live[count++] = world->snapshots[i].generation;
    }
    for (size_t i = 0; i < WORLD_MANIFESTS; i++) {
        live[count++] = world->manifests[i].generation;
    }
    live[count++] = world->view_generation;
    qsort(live, count, sizeof(live[0]), compare_seq);
    (void)epoch_reclaim(world->epoch);
    while (world->methods->release(world->engine, live, count)) {
    }
}

tern_status world_publish(struct engine_world *world, tern_error *error) {
    bool changed = false;
    tern_status status = world->methods->seal(world->engine, &changed, error);
    if (status != TERN_OK || (!changed && !world->has_sealed)) {
        return status;
    }
    world->has_sealed = true;
    bool in_doubt = false;
    status = world->methods->sync(world->engine, &in_doubt, error);
    if (status != TERN_OK) {
        return status;
    }
    struct buffer state;
    struct engine_drained drained;
    buffer_init(&state, tern_allocator_default());
    status = world->methods->state(world->engine, &state, &drained, error);
    if (status != TERN_OK) {
        buffer_release(&state);
        return status;
    }
    /* The manifest is durable from here on. */
    free(world->manifests[1].state);
    world->manifests[1] = world->manifests[0];
    world->manifests[0] = (struct world_manifest){check_allocate(state.size + 1), state.size,
                                                  world->view_generation + 1};
    memcpy(world->manifests[0].state, state.data, state.size);
    buffer_release(&state);
    status = world->methods->publish(world->engine, world->view_generation + 1, error);
    if (status != TERN_OK) {
        return status;
    }
    world->has_sealed = false;
    refresh_view(world);
    world_release(world);
    return TERN_OK;
}

tern_status world_drain_step(struct engine_world *world, size_t quantum, bool *out_idle,
                             tern_error *error) {
    enum engine_drain_state state = ENGINE_DRAIN_IDLE;
    tern_status status = world->methods->drain_step(world->engine, quantum, &state, error);
    if (status == TERN_OK && state == ENGINE_DRAIN_SLICE) {
        status = world_publish(world, error);
    }
    if (status == TERN_OK) {
        *out_idle = state == ENGINE_DRAIN_IDLE;
    }
    return status;
}

static tern_status drain_all(struct engine_world *world, tern_error *error) {
    tern_status status = TERN_OK;
    bool idle = false;
    while (status == TERN_OK && !idle) {
        status = world_drain_step(world, 1 << 20, &idle, error);
    }
    return status;
}

tern_status world_checkpoint(struct engine_world *world, tern_error *error) {
    /* As many may be frozen as can be: freezing one more would be refused. */
    tern_status status = drain_all(world, error);
    if (status == TERN_OK) {
        status = world_freeze(world, error);
    }
    if (status == TERN_OK) {
        status = drain_all(world, error);
    }
    return status == TERN_OK ? world_maintain(world, error) : status;
}

/* Steps of compact_step or maintain_step until it is idle. */
static tern_status run_steps(struct engine_world *world,
                             tern_status (*step)(struct engine *engine, size_t quantum_bytes,
                                                 enum engine_drain_state *out_state,
                                                 tern_error *error),
                             tern_error *error) {
    enum engine_drain_state state = ENGINE_DRAIN_MORE;
    tern_status status = TERN_OK;
    while (status == TERN_OK && state != ENGINE_DRAIN_IDLE) {
        status = step(world->engine, 256 * 1024, &state, error);
        if (status == TERN_OK && state == ENGINE_DRAIN_SLICE) {
            status = world_publish(world, error);
        }
    }
    return status;
}

tern_status world_maintain(struct engine_world *world, tern_error *error) {
    return world->methods->maintain_step != NULL
               ? run_steps(world, world->methods->maintain_step, error)
               : TERN_OK;
}

tern_status world_compact(struct engine_world *world, tern_error *error) {
    return run_steps(world, world->methods->compact_step, error);
}

/* ---- snapshots ---- */

struct engine_moment world_moment(const struct engine_world *world) {
    return (struct engine_moment){world->seq, world->time_ms};
}

void world_snapshot_take(struct engine_world *world) {
    if (world->snapshot_count == WORLD_SNAPSHOTS) {
        return;
    }
    struct world_snapshot *snapshot = &world->snapshots[world->snapshot_count++];
    engine_view_retain(world->view);
    snapshot->view = world->view;
    snapshot->generation = world->view_generation;
    snapshot->moment = world_moment(world);
    oracle_copy(&world->now, &snapshot->oracle);
}

void world_snapshot_drop(struct engine_world *world, size_t index) {
    struct world_snapshot *snapshot = &world->snapshots[index];
    engine_view_release(snapshot->view, world->epoch);
    oracle_release(&snapshot->oracle);
    world->snapshots[index] = world->snapshots[--world->snapshot_count];
}
