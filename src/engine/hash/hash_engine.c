/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine table: opening and closing, freezing, roots. docs/design/0003-hash-engine.md tells how
 * the parts work together, docs/format/hash.md what lies on disk.
 *
 *   idle --drain_step--> records written and linked --seal--> root written --publish--> idle
 *
 * A sealed root stays until it is published, however often the manifest has to be tried.
 */
#include "engine/hash/hash_engine.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/hash/hash_engine_internal.h"
#include "os/file.h"

#define STATE_FORMAT         1u
#define STATE_BYTES          50u
#define KEY_BYTES_MAX_PART   5u
#define LOAD_PERCENT_DEFAULT 75u
#define LOAD_PERCENT_MIN     30u
#define LOAD_PERCENT_MAX     95u
/* An index begins with at most this part of the memory budget. */
#define INDEX_FIRST_PART 4u
#define TRIM_PER_RELEASE ((size_t)20000)

/* ---- state ---- */

/* u8 format, u8 has a root, u64 complete seq, u64 generation, u64 live records, u32 place, u32
 * units, u64 checksum of the root, u64 zero. */
tern_status hash_state_encode(const struct hash_state *state, struct buffer *out_state,
                              tern_error *error) {
    uint8_t bytes[STATE_BYTES] = {0};
    bytes[0] = STATE_FORMAT;
    bytes[1] = state->has_root ? 1 : 0;
    put_u64(bytes + 2, state->complete_seq);
    put_u64(bytes + 10, state->generation);
    put_u64(bytes + 18, state->records);
    put_u32(bytes + 26, state->root.place);
    put_u32(bytes + 30, state->root.units);
    put_u64(bytes + 34, state->root.checksum);
    return buffer_append(out_state, bytes, sizeof(bytes)) == TERN_OK
               ? TERN_OK
               : ERROR_NO_MEMORY(error, "the state of a partition");
}

tern_status hash_state_decode(tern_slice bytes, struct hash_state *out_state, tern_error *error) {
    struct hash_state state = {0};
    const uint8_t *source = bytes.data;
    if (bytes.size > 0 && source[0] != STATE_FORMAT) {
        return ERROR_SET(error, TERN_VERSION, "state of a hash partition in format %u",
                         (unsigned)source[0]);
    }
    if (bytes.size > 0) {
        if (bytes.size != STATE_BYTES || source[1] > 1) {
            return ERROR_SET(error, TERN_CORRUPTION,
                             "the state of a hash partition is malformed; repair the database");
        }
        state.has_root = source[1] == 1;
        state.complete_seq = get_u64(source + 2);
        state.generation = get_u64(source + 10);
        state.records = get_u64(source + 18);
        state.root =
            (struct hash_ref){get_u32(source + 26), get_u32(source + 30), get_u64(source + 34)};
    }
    *out_state = state;
    return TERN_OK;
}

static size_t hash_key_bytes_max(const tern_keyspace_options *options) {
    return (size_t)options->page_bytes * KEY_BYTES_MAX_PART / 8;
}

/* ---- opening and closing ---- */

/* Entries between two looks whether the index has become too large. */
#define INSERTS_PER_LOOK 1024u

static tern_status insert_record(void *context, uint64_t hash, hash_link link, tern_error *error) {
    struct hash_engine *engine = context;
    struct hash_index_stats stats;
    hash_index_get_stats(engine->index, &stats);
    if (stats.entries % INSERTS_PER_LOOK == INSERTS_PER_LOOK - 1) {
        tern_status status = hash_pour_all(engine, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    return hash_insert_record(engine, hash, link, error);
}

struct value_marking {
    struct hash_engine *engine;
    tern_error *error;
    tern_status status;
};

static tern_status mark_value(void *context, uint32_t place, uint32_t units) {
    struct value_marking *marking = context;
    marking->status = hash_file_mark_used(marking->engine->base.file, place, units, marking->error);
    return marking->status;
}

/* Takes the values that live records of a block refer to out of the free space. */
static tern_status mark_values(struct hash_engine *engine, uint32_t number, tern_error *error) {
    struct hash_base *base = &engine->base;
    const struct block_info *info = base_block(base, number);
    const struct hash_ref ref = {info->place, info->units, info->checksum};
    struct buffer payload;
    buffer_init(&payload, hash_allocator(engine));
    tern_status status = hash_file_read(base->file, &ref, &payload, error);
    for (uint32_t i = 0; status == TERN_OK && i < info->records; i++) {
        struct hash_record record;
        if (base_is_live(base, link_to_record(number, i)) &&
            record_decode(payload.data, payload.size, i, &record) &&
            record.record.kind == RECORD_LARGE) {
            struct value_marking marking = {engine, error, TERN_OK};
            status = hash_value_extents(base->file, hash_allocator(engine), record.record.value,
                                        mark_value, &marking, error);
        }
    }
    buffer_release(&payload);
    return status;
}

static tern_status mark_all_values(struct hash_engine *engine, tern_error *error) {
    const struct hash_base *base = &engine->base;
    tern_status status = TERN_OK;
    for (uint32_t i = 0; i < base->segment_count && status == TERN_OK; i++) {
        const struct hash_segment *segment = base->segments[i];
        for (uint32_t j = 0; segment != NULL && j < segment->block_count && status == TERN_OK;
             j++) {
            if (segment->blocks[j] != BLOCK_NONE &&
                (base_block(base, segment->blocks[j])->flags & BLOCK_HAS_LARGE) != 0) {
                status = mark_values(engine, segment->blocks[j], error);
            }
        }
    }
    return status;
}

static enum hash_layout layout_of(tern_hash_index index) {
    switch (index) {
    case TERN_HASH_INDEX_ROBIN_HOOD:
        return HASH_LAYOUT_ROBIN;
    case TERN_HASH_INDEX_TAG_GROUPS:
        return HASH_LAYOUT_GROUPS;
    case TERN_HASH_INDEX_BUCKETS:
    default:
        return HASH_LAYOUT_CHAINS;
    }
}

/* What is there needs its room; what is only expected gets it as far as memory goes. */
static uint64_t keys_to_expect(const struct hash_engine *engine, uint64_t records) {
    uint64_t expected = engine->config.options.expected_keys;
    const struct budget *budget = engine->environment->budget;
    uint64_t limit_bytes = budget != NULL ? budget->limit_bytes : 0;
    uint64_t possible = limit_bytes / INDEX_FIRST_PART / INDEX_BYTES_PER_KEY_MAX;
    expected = expected < possible ? expected : possible;
    /* More than that may have to go to the cold part. */
    records = limit_bytes == 0 || records < possible ? records : possible;
    return expected > records ? expected : records;
}

/* Options come from a file: outside of the bounds the index could not work. */
static uint32_t load_percent_of(const struct hash_engine *engine) {
    uint32_t given = engine->config.options.max_load_percent;
    if (given == 0) {
        return LOAD_PERCENT_DEFAULT;
    }
    given = given > LOAD_PERCENT_MIN ? given : LOAD_PERCENT_MIN;
    return given < LOAD_PERCENT_MAX ? given : LOAD_PERCENT_MAX;
}

static uint64_t draw_seed(const struct hash_engine *engine) {
    const tern_random *random = engine->environment->random;
    uint64_t seed;
    random = random != NULL ? random : tern_random_default();
    random->fill(random->context, &seed, sizeof(seed));
    return seed;
}

static tern_status load(struct hash_engine *engine, const struct hash_state *state,
                        tern_error *error) {
    const struct hash_index_options options = {
        .allocator = hash_allocator(engine),
        .epoch = engine->environment->epoch,
        .budget = engine->environment->budget,
        .layout = layout_of(engine->config.options.hash_index),
        .expected_keys = keys_to_expect(engine, state->records),
        .max_load_percent = load_percent_of(engine),
        .second_seed = draw_seed(engine),
    };
    tern_status status = hash_index_create(&options, &engine->index, error);
    if (status == TERN_OK && state->has_root) {
        status = base_load_root(&engine->base, &state->root, error);
        if (status == TERN_OK) {
            status = mark_all_values(engine, error);
        }
        /* Only now is it known what is free in the file. */
        hash_file_hold_free(engine->base.file, true);
        if (status == TERN_OK) {
            status = base_visit_records(&engine->base, insert_record, engine, error);
        }
        if (status == TERN_OK) {
            status = hash_pour_all(engine, error);
        }
        hash_file_hold_free(engine->base.file, false);
    }
    return status;
}

static void hash_close(struct engine *base) {
    struct hash_engine *engine = hash_of(base);
    if (engine == NULL) {
        return;
    }
    struct epoch_domain *epoch = engine->environment->epoch;
    if (engine->current != NULL) {
        while (atomic_load_explicit(&engine->view_count, memory_order_acquire) > 1) {
            epoch_drain(epoch);
        }
        ASSERT(atomic_load(&engine->current->head.references) == 1);
        hash_view_destroy(&engine->current->head);
    }
    hash_drain_release(engine);
    hash_free_stubs(engine);
    /* Pages, stubs and tables of this engine may still wait in limbo. */
    epoch_drain(epoch);
    hash_index_destroy(engine->index);
    hash_cold_release(&engine->cold);
    base_close(&engine->base);
    buffer_release(&engine->fold);
    memory_release(hash_allocator(engine), engine->live);
    mutex_destroy(&engine->lock);
    mutex_destroy(&engine->index_lock);
    memory_release(hash_allocator(engine), engine);
}

static tern_status open_view(struct hash_engine *engine, tern_error *error) {
    struct hash_memory *active = NULL;
    tern_status status = hash_memory_create(hash_allocator(engine), engine->environment->budget,
                                            engine->environment->overlay_pool, &active, error);
    if (status == TERN_OK) {
        status =
            hash_view_create(engine, &active, 1, engine->complete_seq, &engine->current, error);
    }
    hash_memory_release(active);
    return status;
}

static tern_status hash_open(const struct engine_environment *environment,
                             const struct engine_config *config, tern_slice state_bytes,
                             struct engine **out_engine, struct engine_drained *out_drained,
                             tern_error *error) {
    struct hash_state state;
    struct hash_engine *engine = memory_allocate_zeroed(environment->allocator, sizeof(*engine));
    if (engine == NULL) {
        return ERROR_NO_MEMORY(error, "a partition");
    }
    engine->head.methods = &hash_engine_methods;
    engine->head.id = config->id;
    engine->head.hasher = engine_config_hasher(config);
    engine->environment = environment;
    engine->config = *config;
    mutex_init(&engine->lock);
    mutex_init(&engine->index_lock);
    buffer_init(&engine->fold, environment->allocator);
    buffer_init(&engine->drain.payload, environment->allocator);
    engine_scratch_init(&engine->drain.scratch, environment->allocator);
    engine->drain.order =
        (struct version_order){.allocator = environment->allocator, .budget = environment->budget};
    tern_status status = hash_state_decode(state_bytes, &state, error);
    if (status == TERN_OK) {
        status = base_open(&engine->base, environment, config->id, &config->options,
                           &engine->head.hasher, error);
    }
    hash_cold_init(&engine->cold, &engine->base);
    if (status == TERN_OK) {
        engine->complete_seq = state.complete_seq;
        engine->sealed_complete_seq = state.complete_seq;
        engine->visible_seq = state.complete_seq;
        engine->base.generation = 0;
        status = load(engine, &state, error);
    }
    if (status == TERN_OK) {
        status = open_view(engine, error);
    }
    if (status != TERN_OK) {
        hash_close(&engine->head);
        return status;
    }
    out_drained->complete_seq = state.complete_seq;
    *out_engine = &engine->head;
    return TERN_OK;
}

static tern_status hash_destroy(const struct engine_environment *environment, partition_id id,
                                tern_error *error) {
    char name[32];
    char path[FILE_PATH_BYTES];
    hash_file_name(id, name);
    tern_status status = path_join(path, environment->directory, name, error);
    if (status == TERN_OK) {
        const tern_file_system *system = environment->file_system;
        status = system->exists(system->context, path, NULL);
        if (status == TERN_NOT_FOUND) {
            return TERN_OK;
        }
        status = system->remove(system->context, path, error);
    }
    return status;
}

/* ---- freezing ---- */

static tern_status hash_freeze(struct engine *base, seq_no seq, uint64_t time_ms, bool *out_changed,
                               tern_error *error) {
    struct hash_engine *engine = hash_of(base);
    const struct hash_view *old = engine->current;
    if (hash_memory_is_empty(old->memories[0])) {
        *out_changed = false;
        return TERN_OK;
    }
    if (old->count == VIEW_MEMORIES_MAX) {
        return ERROR_SET(error, TERN_NO_MEMORY,
                         "%u frozen segments wait to be drained already; let drains run",
                         old->count - 1);
    }
    struct hash_memory *memories[VIEW_MEMORIES_MAX];
    struct hash_view *view = NULL;
    tern_status status = hash_memory_create(hash_allocator(engine), engine->environment->budget,
                                            engine->environment->overlay_pool, &memories[0], error);
    if (status != TERN_OK) {
        return status;
    }
    for (uint32_t i = 0; i < old->count; i++) {
        memories[i + 1] = old->memories[i];
    }
    status = hash_view_create(engine, memories, old->count + 1, seq, &view, error);
    hash_memory_release(memories[0]);
    if (status != TERN_OK) {
        return status;
    }
    struct hash_memory *frozen = old->memories[0];
    frozen->frozen_seq = seq;
    frozen->frozen_time_ms = time_ms;
    mutex_lock(&engine->index_lock);
    engine->frozen_seq = seq;
    engine->frozen_time_ms = time_ms;
    mutex_unlock(&engine->index_lock);
    atomic_fetch_add_explicit(&engine->debt_bytes, atomic_load(&frozen->used),
                              memory_order_relaxed);
    hash_view_install(engine, view);
    *out_changed = true;
    return TERN_OK;
}

static void hash_overlay_usage(struct engine *base, uint64_t *out_bytes,
                               uint64_t *out_active_bytes) {
    struct hash_engine *engine = hash_of(base);
    struct hash_view *view = hash_view_current(engine);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        bytes += atomic_load_explicit(&view->memories[i]->bytes, memory_order_relaxed);
    }
    *out_active_bytes = atomic_load_explicit(&view->memories[0]->bytes, memory_order_relaxed);
    *out_bytes = bytes;
    engine_view_release(&view->head, engine->environment->epoch);
}

static uint64_t hash_drain_debt(struct engine *engine) {
    return atomic_load_explicit(&hash_of(engine)->debt_bytes, memory_order_relaxed);
}

/* ---- roots ---- */

static tern_status hash_seal(struct engine *base, bool *out_changed, tern_error *error) {
    struct hash_engine *engine = hash_of(base);
    if (engine->is_sealed) {
        *out_changed = true;
        return TERN_OK;
    }
    tern_status status = hash_flush(engine, error);
    if (status != TERN_OK) {
        hash_rewind(engine);
        return status;
    }
    if (!engine->base.is_dirty && !engine->has_finished) {
        *out_changed = false;
        return TERN_OK;
    }
    status = base_write_root(&engine->base, error);
    if (status != TERN_OK) {
        return status;
    }
    engine->sealed_complete_seq =
        engine->has_finished ? engine->drain.memory->frozen_seq : engine->complete_seq;
    engine->is_sealed = true;
    *out_changed = true;
    return TERN_OK;
}

static tern_status hash_sync(struct engine *base, bool *out_in_doubt, tern_error *error) {
    tern_status status = hash_file_sync(hash_of(base)->base.file, error);
    *out_in_doubt = status != TERN_OK;
    return status;
}

static tern_status hash_state(struct engine *base, struct buffer *out_state,
                              struct engine_drained *out_drained, tern_error *error) {
    const struct hash_engine *engine = hash_of(base);
    const struct hash_state state = {
        .has_root = engine->base.root.units > 0,
        .complete_seq = engine->is_sealed ? engine->sealed_complete_seq : engine->complete_seq,
        .generation = engine->base.generation,
        .records = atomic_load(&engine->base.live_records),
        .root = engine->base.root,
    };
    tern_status status = hash_state_encode(&state, out_state, error);
    if (status == TERN_OK) {
        out_drained->complete_seq = state.complete_seq;
    }
    return status;
}

static tern_status hash_publish(struct engine *base, uint64_t generation, tern_error *error) {
    struct hash_engine *engine = hash_of(base);
    if (!engine->is_sealed) {
        return TERN_OK;
    }
    const struct hash_view *old = engine->current;
    uint32_t count = old->count - (engine->has_finished ? 1 : 0);
    struct hash_view *view = NULL;
    tern_status status =
        hash_view_create(engine, old->memories, count, old->head.floor_seq, &view, error);
    if (status != TERN_OK) {
        return status;
    }
    view->generation = generation;
    base_published(&engine->base, generation);
    engine->complete_seq = engine->sealed_complete_seq;
    engine->is_sealed = false;
    if (engine->has_finished) {
        ASSERT(old->memories[count] == engine->drain.memory);
        hash_memory_release(engine->drain.memory);
        engine->drain.memory = NULL;
        engine->has_finished = false;
    }
    if (engine->drain.memory == NULL) {
        hash_drain_rest(engine);
    }
    hash_view_install(engine, view);
    return TERN_OK;
}

static void hash_note_horizon(struct engine *base, const struct engine_horizon *horizon) {
    struct hash_engine *engine = hash_of(base);
    mutex_lock(&engine->index_lock);
    hash_save_horizon(engine, horizon);
    mutex_unlock(&engine->index_lock);
}

static bool hash_release(struct engine *base, const uint64_t *live, size_t live_count) {
    struct hash_engine *engine = hash_of(base);
    bool has_more = false;
    if (!engine->is_sealed && engine->stubs != NULL) {
        hash_trim_stubs(engine, TRIM_PER_RELEASE);
        mutex_lock(&engine->index_lock);
        has_more = engine->trim_next != NULL;
        mutex_unlock(&engine->index_lock);
    }
    base_release(&engine->base, live, live_count);
    return has_more;
}

static tern_status hash_shrink(struct engine *base, uint64_t *out_freed_bytes, tern_error *error) {
    return hash_file_shrink(hash_of(base)->base.file, out_freed_bytes, error);
}

static struct engine_view *hash_current_view(struct engine *engine) {
    return &hash_view_current(hash_of(engine))->head;
}

/* ---- readers ---- */

static void hash_pin(struct engine_view *view, const struct engine_result *result) {
    (void)view;
    if (result->source == ENGINE_SOURCE_FRAME && result->frame != NULL) {
        cache_pin(result->frame);
    }
}

static void hash_unpin(struct engine_view *view, void *frame) {
    (void)view;
    if (frame != NULL) {
        cache_unpin(frame);
    }
}

static tern_status hash_estimate(struct engine_view *view,
                                 const struct engine_cursor_bounds *bounds, uint64_t *out_count,
                                 uint64_t *out_bytes, tern_error *error) {
    const struct hash_engine *engine = hash_of(view->engine);
    struct hash_index_stats stats;
    (void)bounds; /* without order a part cannot be told from the whole */
    (void)error;
    hash_index_get_stats(engine->index, &stats);
    uint64_t bytes = atomic_load_explicit(&engine->base.block_bytes, memory_order_relaxed);
    for (uint32_t i = 0; i < hash_view_of(view)->count; i++) {
        bytes += atomic_load_explicit(&hash_view_of(view)->memories[i]->used, memory_order_relaxed);
    }
    uint64_t doubled = atomic_load_explicit(&engine->doubled, memory_order_relaxed);
    uint64_t cold = atomic_load_explicit(&engine->cold.entries, memory_order_relaxed);
    uint64_t dead = atomic_load_explicit(&engine->cold.dead, memory_order_relaxed);
    uint64_t entries = stats.entries + (cold > dead ? cold - dead : 0);
    *out_count = entries > doubled ? entries - doubled : 0;
    *out_bytes = bytes;
    return TERN_OK;
}

/* No order, no ranges: any write since counts. */
static bool hash_changed_since(struct engine_view *view, const struct engine_cursor_bounds *bounds,
                               seq_no since) {
    const struct hash_engine *engine = hash_of(view->engine);
    (void)bounds;
    return atomic_load_explicit(&engine->last_write_seq, memory_order_acquire) > since;
}

/* ---- values stored apart ---- */

static tern_status hash_large_begin(struct engine *base, struct engine_large_writer **out_writer,
                                    tern_error *error) {
    struct hash_engine *engine = hash_of(base);
    return hash_value_begin(engine->base.file, engine->environment, engine->base.compression,
                            out_writer, error);
}

static tern_status free_units(void *context, uint32_t place, uint32_t units) {
    hash_file_free(context, place, units);
    return TERN_OK;
}

static void hash_large_discard(struct engine *base, tern_slice reference) {
    struct hash_engine *engine = hash_of(base);
    tern_status status = hash_value_extents(engine->base.file, hash_allocator(engine), reference,
                                            free_units, engine->base.file, NULL);
    (void)status; /* what cannot be given back now is free after the next open */
}

static tern_status hash_large_read(struct engine *base, tern_slice reference, uint64_t offset,
                                   void *buffer, size_t capacity, size_t *out_size,
                                   tern_error *error) {
    struct hash_engine *engine = hash_of(base);
    if (engine_is_logged(engine->environment, reference)) {
        return engine_logged_read(engine->environment, reference, offset, buffer, capacity,
                                  out_size, error);
    }
    return hash_value_read(engine->base.file, hash_allocator(engine), reference, offset, buffer,
                           capacity, out_size, error);
}

const struct engine_methods hash_engine_methods = {
    .name = "hash",
    .is_ordered = false,
    .open = hash_open,
    .close = hash_close,
    .destroy = hash_destroy,
    .key_bytes_max = hash_key_bytes_max,
    .prefetch = hash_prefetch,
    .prefetch_next = hash_prefetch_next,
    .reserve = hash_reserve,
    .apply = hash_apply,
    .replay = hash_replay,
    .lacks = hash_lacks,
    .freeze = hash_freeze,
    .overlay_usage = hash_overlay_usage,
    .drain_debt = hash_drain_debt,
    .drain_step = hash_drain_step,
    .seal = hash_seal,
    .sync = hash_sync,
    .state = hash_state,
    .publish = hash_publish,
    .release = hash_release,
    .note_horizon = hash_note_horizon,
    .compact_step = hash_compact_step,
    .shrink = hash_shrink,
    .current_view = hash_current_view,
    .view_destroy = hash_view_destroy,
    .is_held = hash_is_held,
    .get = hash_get,
    .multi_get = hash_multi_get,
    .pin = hash_pin,
    .unpin = hash_unpin,
    .cursor_open = hash_cursor_open,
    .cursor_close = hash_cursor_close,
    .cursor_renew = hash_cursor_renew,
    .cursor_seek = hash_cursor_seek,
    .cursor_first = hash_cursor_first,
    .cursor_next = hash_cursor_next,
    .cursor_previous = hash_cursor_previous,
    .cursor_entry = hash_cursor_entry,
    .cursor_next_batch = hash_cursor_next_batch,
    .estimate = hash_estimate,
    .changed_since = hash_changed_since,
    .large_begin = hash_large_begin,
    .large_append = hash_value_append,
    .large_finish = hash_value_finish,
    .large_abandon = hash_value_abandon,
    .large_discard = hash_large_discard,
    .large_read = hash_large_read,
    .verify = hash_verify,
    .salvage = hash_salvage,
    .export_base = hash_export_base,
    .ingest = hash_ingest,
    .stats = hash_stats,
};
