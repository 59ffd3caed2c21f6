/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building the base of the partition that a keyspace is converted to.
 *
 *   source at a snapshot -> [sorter] -> ingest -> seal -> sync -> state
 *
 * The engine that builds is nobody else's: it has no role to ask for, no log, and no place in
 * views; checkpoints go on beside it. When the base is durable it is closed, and opened again from
 * its state as any partition is. A crash leaves files that no manifest names.
 *
 * Ordered engines are loaded in order. A source that keeps none is sorted first: by an LSM
 * partition, as private as the other, which takes the records as values and gives them back in
 * order.
 */
#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"
#include "db/convert_internal.h"
#include "txn/point_read.h"

#define REPORT_EVERY  1024u
#define DRAIN_QUANTUM ((size_t)1 << 20)
#define SORT_CHANGES  256u
#define SORT_BYTES    ((size_t)256 << 10) /* of one apply */
#define SORT_OVERLAY  ((uint64_t)4 << 20) /* drained when it has grown to this */

/* An engine of one's own. */
struct private_engine {
    struct engine_environment environment;
    struct engine_config config;
    const struct engine_methods *methods;
    struct engine *engine;
    uint64_t generation;
};

/*
 * Records of the source, in its order. They need not be of one snapshot: what changes while it is
 * read is captured. So one that can be sought in is read from a new snapshot every few records, and
 * keeps no old versions alive; only one without order is read from one snapshot.
 */
struct source {
    struct conversion *conversion;
    struct snapshot snapshot;
    struct engine_view *part;
    struct engine_cursor *cursor; /* NULL: to be opened */
    struct buffer last_key;       /* where to go on */
    struct engine *target;        /* gets copies of values apart */
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
};

/* Sorts them. A value in it: u8 kind, u64 expires_ms, u64 value size, bytes. */
#define SORTED_HEADER_BYTES 17u
struct sorter {
    struct source *source;
    struct budget budget; /* its overlay is no business of writers */
    struct private_engine lsm;
    struct engine_view *view;
    struct engine_cursor *cursor;
    struct arena arena;
    struct engine_change changes[SORT_CHANGES];
    size_t count, bytes;
    struct buffer value;
    uint64_t overlay_bytes;
    seq_no seq;
};

static tern_status open_private(struct conversion *conversion, const tern_keyspace_options *options,
                                partition_id id, struct budget *budget,
                                struct private_engine *out) {
    struct engine_drained drained;
    *out = (struct private_engine){
        .environment = conversion->db->environment,
        .config = {.id = id,
                   .hasher = key_hasher_make(options->hash_function, conversion->hash_seed),
                   .options = *options},
        .methods = engine_methods_of(options->engine)};
    out->environment.write_queue = NULL; /* drains have it */
    out->environment.overlay_pool = NULL;
    out->environment.compacted_bytes = NULL; /* who asked for a conversion waits for it */
    if (budget != NULL) {
        out->environment.budget = budget;
    }
    return out->methods->open(&out->environment, &out->config, tern_slice_of(NULL, 0), &out->engine,
                              &drained, conversion->error);
}

static void close_private(struct conversion *conversion, struct private_engine *own) {
    if (own->engine != NULL) {
        epoch_drain(conversion->db->manager.epoch);
        own->methods->close(own->engine);
        own->engine = NULL;
    }
}

/* ---- the source ---- */

static void rest(struct source *source) {
    if (source->cursor != NULL) {
        source->part->methods->cursor_close(source->cursor);
        source->cursor = NULL;
    }
    snapshot_drop(&source->conversion->db->manager, &source->snapshot);
}

/* A snapshot and a cursor that stands nowhere, or on the last record given. */
static tern_status go_on(struct source *source) {
    struct conversion *conversion = source->conversion;
    const struct engine_cursor_bounds bounds = {.has_begin = source->last_key.size > 0,
                                                .begin = buffer_slice(&source->last_key)};
    tern_status status =
        snapshot_take(&conversion->db->manager, &source->snapshot, conversion->error);
    if (status != TERN_OK) {
        return status;
    }
    source->part = view_part(source->snapshot.view, conversion->keyspace);
    if (source->part == NULL) {
        return ERROR_SET(conversion->error, TERN_NOT_FOUND,
                         "keyspace '%s' was dropped while it was converted",
                         conversion->keyspace->name);
    }
    return source->part->methods->cursor_open(source->part, &source->snapshot.moment, &bounds,
                                              false, &source->cursor, conversion->error);
}

/* Now and then: what was noted goes to the backlog, the caller is told. */
static tern_status pause(struct source *source) {
    struct conversion *conversion = source->conversion;
    bool is_ordered = source->part->methods->is_ordered;
    if (is_ordered) {
        rest(source);
    }
    tern_status status = convert_relieve(conversion);
    if (status == TERN_OK) {
        status = convert_report(conversion);
    }
    return status == TERN_OK && is_ordered ? go_on(source) : status;
}

static tern_status next_entry(struct source *source, struct engine_entry *out_entry) {
    struct conversion *conversion = source->conversion;
    tern_status status = source->part->methods->cursor_next(source->cursor, conversion->error);
    if (status == TERN_CANCELLED) {
        return snapshot_say_too_old(&source->snapshot.moment, conversion->error);
    }
    if (status == TERN_OK) {
        source->part->methods->cursor_entry(source->cursor, out_entry);
    }
    return status;
}

static tern_status next_of_source(struct source *source, struct engine_entry *out_entry) {
    struct conversion *conversion = source->conversion;
    bool pauses = conversion->done % REPORT_EVERY == 0;
    tern_status status = pauses ? pause(source) : TERN_OK;
    if (status == TERN_OK) {
        status = next_entry(source, out_entry);
    }
    /* The last one again, where it is still there. */
    if (status == TERN_OK && pauses && source->last_key.size > 0 &&
        slice_equal(out_entry->key, buffer_slice(&source->last_key))) {
        status = next_entry(source, out_entry);
    }
    if (status != TERN_OK) {
        return status;
    }
    conversion->done++;
    atomic_fetch_add_explicit(&conversion->db->counters.converted_records, 1, memory_order_relaxed);
    if (conversion->done % REPORT_EVERY == 0 && source->part->methods->is_ordered) {
        source->last_key.size = 0;
        if (buffer_append(&source->last_key, out_entry->key.data, out_entry->key.size) != TERN_OK) {
            return ERROR_NO_MEMORY(conversion->error, "a conversion");
        }
    }
    return conversion->checks_keys && out_entry->key.size > conversion->key_bytes_max
               ? convert_say_too_long(conversion, out_entry->key.size)
               : TERN_OK;
}

static tern_status copy_if_apart(struct source *source, struct record *record) {
    return record->kind == RECORD_LARGE
               ? large_copy(source->part->engine, source->target, record, source->conversion->chunk,
                            source->reference, source->conversion->error)
               : TERN_OK;
}

/* For ingest. */
static tern_status next_record(void *context, tern_slice *out_key, struct record *out_record) {
    struct source *source = context;
    struct engine_entry entry;
    tern_status status = next_of_source(source, &entry);
    if (status == TERN_OK) {
        status = copy_if_apart(source, &entry.record);
    }
    if (status == TERN_OK) {
        *out_key = entry.key;
        *out_record = entry.record;
    }
    return status;
}

/* ---- sorting ---- */

/* What is sealed becomes the view. */
static tern_status show(struct sorter *sorter) {
    tern_error *error = sorter->source->conversion->error;
    struct private_engine *lsm = &sorter->lsm;
    bool changed = false;
    bool in_doubt;
    tern_status status = lsm->methods->seal(lsm->engine, &changed, error);
    if (status != TERN_OK || !changed) {
        return status;
    }
    status = lsm->methods->sync(lsm->engine, &in_doubt, error);
    if (status == TERN_OK) {
        status = lsm->methods->publish(lsm->engine, ++lsm->generation, error);
    }
    if (status == TERN_OK) {
        (void)epoch_reclaim(sorter->source->conversion->db->manager.epoch);
        lsm->methods->release(lsm->engine, &lsm->generation, 1);
    }
    return status;
}

static tern_status run_steps(struct sorter *sorter,
                             tern_status (*step)(struct engine *engine, size_t quantum_bytes,
                                                 enum engine_drain_state *out_state,
                                                 tern_error *error)) {
    enum engine_drain_state state = ENGINE_DRAIN_MORE;
    tern_status status = TERN_OK;
    while (status == TERN_OK && state != ENGINE_DRAIN_IDLE) {
        status = step(sorter->lsm.engine, DRAIN_QUANTUM, &state, sorter->source->conversion->error);
        if (status == TERN_OK && state != ENGINE_DRAIN_MORE) {
            status = show(sorter);
        }
        if (status == TERN_OK) {
            status = convert_relieve(sorter->source->conversion);
        }
    }
    return status;
}

static tern_status drain(struct sorter *sorter) {
    struct private_engine *lsm = &sorter->lsm;
    bool changed;
    tern_status status = lsm->methods->freeze(lsm->engine, sorter->seq, 0, &changed,
                                              sorter->source->conversion->error);
    if (status == TERN_OK) {
        status = run_steps(sorter, lsm->methods->drain_step);
    }
    if (status == TERN_OK && lsm->methods->maintain_step != NULL) {
        status = run_steps(sorter, lsm->methods->maintain_step);
    }
    sorter->overlay_bytes = 0;
    return status;
}

static tern_status apply(struct sorter *sorter) {
    struct private_engine *lsm = &sorter->lsm;
    if (sorter->count == 0) {
        return TERN_OK;
    }
    tern_status status = lsm->methods->reserve(lsm->engine, sorter->count, sorter->bytes,
                                               sorter->source->conversion->error);
    if (status != TERN_OK) {
        return status;
    }
    sorter->seq++;
    const struct engine_horizon horizon = {NULL, 0, sorter->seq};
    lsm->methods->apply(lsm->engine, sorter->changes, sorter->count, sorter->seq, &horizon);
    sorter->overlay_bytes += sorter->bytes;
    sorter->count = 0;
    sorter->bytes = 0;
    arena_reset(&sorter->arena);
    return sorter->overlay_bytes >= SORT_OVERLAY ? drain(sorter) : TERN_OK;
}

static tern_status sort_record(struct sorter *sorter, const struct engine_entry *entry) {
    const struct record *record = &entry->record;
    size_t size = SORTED_HEADER_BYTES + record->value.size;
    tern_slice key = arena_copy(&sorter->arena, entry->key);
    uint8_t *value = arena_allocate(&sorter->arena, size);
    if (key.data == NULL || value == NULL) {
        return ERROR_NO_MEMORY(sorter->source->conversion->error, "sorting records");
    }
    value[0] = (uint8_t)record->kind;
    put_u64(value + 1, record->expires_ms);
    put_u64(value + 9, record->value_size);
    copy_bytes(value + SORTED_HEADER_BYTES, record->value.data, record->value.size);
    sorter->changes[sorter->count++] =
        (struct engine_change){.key = key,
                               .key_hash = key_hasher_hash(&sorter->lsm.config.hasher, key),
                               .record = {.kind = RECORD_PUT, .value = tern_slice_of(value, size)}};
    sorter->bytes += key.size + size;
    bool is_full = sorter->count == SORT_CHANGES || sorter->bytes >= SORT_BYTES;
    return is_full ? apply(sorter) : TERN_OK;
}

static tern_status sort_all(struct sorter *sorter) {
    struct engine_entry entry;
    tern_status status = TERN_OK;
    while (status == TERN_OK) {
        status = next_of_source(sorter->source, &entry);
        if (status == TERN_OK) {
            status = sort_record(sorter, &entry);
        }
    }
    if (status == TERN_NOT_FOUND) {
        status = apply(sorter);
        if (status == TERN_OK) {
            status = drain(sorter);
        }
    }
    return status;
}

/* For ingest. */
static tern_status next_sorted(void *context, tern_slice *out_key, struct record *out_record) {
    struct sorter *sorter = context;
    struct conversion *conversion = sorter->source->conversion;
    struct engine_entry entry;
    tern_status status = convert_relieve(conversion);
    if (status == TERN_OK) {
        status = sorter->lsm.methods->cursor_next(sorter->cursor, conversion->error);
    }
    if (status != TERN_OK) {
        return status;
    }
    sorter->lsm.methods->cursor_entry(sorter->cursor, &entry);
    tern_slice bytes = entry.record.value;
    if (entry.record.kind == RECORD_LARGE) { /* the sorter keeps long ones apart */
        status = value_load(sorter->lsm.engine, &entry.record, &sorter->value, conversion->error);
        if (status != TERN_OK) {
            return status;
        }
        bytes = buffer_slice(&sorter->value);
    }
    if (bytes.size < SORTED_HEADER_BYTES) {
        return ERROR_SET(conversion->error, TERN_CORRUPTION, "a sorted record is too short");
    }
    const uint8_t *value = bytes.data;
    struct record record = {
        .kind = (enum record_kind)value[0],
        .expires_ms = get_u64(value + 1),
        .value_size = get_u64(value + 9),
        .value = tern_slice_of(value + SORTED_HEADER_BYTES, bytes.size - SORTED_HEADER_BYTES)};
    status = copy_if_apart(sorter->source, &record);
    *out_key = entry.key;
    *out_record = record;
    return status;
}

static tern_status open_sorter(struct sorter *sorter) {
    struct conversion *conversion = sorter->source->conversion;
    struct tern_db *db = conversion->db;
    tern_keyspace_options wanted = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace_options options;
    wanted.engine = TERN_ENGINE_LSM;
    wanted.page_bytes = 65536; /* for keys of any source */
    tern_status status = catalog_check_options(&wanted, &options, conversion->error);
    partition_id id = atomic_fetch_add_explicit(&db->next_partition, 1, memory_order_relaxed);
    return status == TERN_OK ? open_private(conversion, &options, id, &sorter->budget, &sorter->lsm)
                             : status;
}

static void close_sorter(struct sorter *sorter) {
    struct conversion *conversion = sorter->source->conversion;
    if (sorter->cursor != NULL) {
        sorter->lsm.methods->cursor_close(sorter->cursor);
    }
    engine_view_release(sorter->view, conversion->db->manager.epoch);
    bool was_open = sorter->lsm.engine != NULL;
    close_private(conversion, &sorter->lsm);
    if (was_open) {
        /* What cannot be removed now is removed at the next open. */
        tern_status status =
            sorter->lsm.methods->destroy(&conversion->db->environment, sorter->lsm.config.id, NULL);
        (void)status;
    }
    buffer_release(&sorter->value);
    arena_release(&sorter->arena);
}

static tern_status load_sorted(struct source *source, struct private_engine *target) {
    struct conversion *conversion = source->conversion;
    const tern_allocator *allocator = conversion->db->allocator;
    const struct engine_cursor_bounds everything = {0};
    struct sorter *sorter = memory_allocate_zeroed(allocator, sizeof(*sorter));
    if (sorter == NULL) {
        return ERROR_NO_MEMORY(conversion->error, "sorting records");
    }
    sorter->source = source;
    sorter->budget.limit_bytes = conversion->db->budget.limit_bytes;
    arena_init(&sorter->arena, allocator, 65536);
    buffer_init(&sorter->value, allocator);
    tern_status status = open_sorter(sorter);
    if (status == TERN_OK) {
        status = sort_all(sorter);
    }
    if (status == TERN_OK) {
        const struct engine_moment moment = {sorter->seq, 0};
        sorter->view = sorter->lsm.methods->current_view(sorter->lsm.engine);
        status = sorter->lsm.methods->cursor_open(sorter->view, &moment, &everything, false,
                                                  &sorter->cursor, conversion->error);
    }
    if (status == TERN_OK) {
        status = target->methods->ingest(target->engine, next_sorted, sorter, conversion->error);
    }
    close_sorter(sorter);
    memory_release(allocator, sorter);
    return status;
}

/* ---- building ---- */

static tern_status load(struct source *source, struct private_engine *target) {
    struct conversion *conversion = source->conversion;
    const struct engine_cursor_bounds everything = {0};
    uint64_t bytes = 0;
    source->target = target->engine;
    tern_status status = source->part->methods->estimate(
        source->part, &everything, &conversion->total, &bytes, conversion->error);
    if (status != TERN_OK) {
        return status;
    }
    bool must_sort = target->methods->is_ordered && !source->part->methods->is_ordered;
    return must_sort
               ? load_sorted(source, target)
               : target->methods->ingest(target->engine, next_record, source, conversion->error);
}

/* Makes what was loaded durable and says where it is. */
static tern_status complete(struct conversion *conversion, struct private_engine *target) {
    struct engine_drained drained;
    bool changed;
    bool in_doubt;
    tern_status status = target->methods->seal(target->engine, &changed, conversion->error);
    if (status == TERN_OK) {
        status = target->methods->sync(target->engine, &in_doubt, conversion->error);
    }
    return status == TERN_OK ? target->methods->state(target->engine, &conversion->state, &drained,
                                                      conversion->error)
                             : status;
}

tern_status convert_build(struct conversion *conversion) {
    struct tern_db *db = conversion->db;
    struct source source = {.conversion = conversion};
    struct private_engine target = {0};
    buffer_init(&source.last_key, db->allocator);
    tern_status status = go_on(&source);
    if (status == TERN_OK) {
        conversion->partition =
            atomic_fetch_add_explicit(&db->next_partition, 1, memory_order_relaxed);
        status =
            open_private(conversion, &conversion->options, conversion->partition, NULL, &target);
    }
    if (status == TERN_OK) {
        status = load(&source, &target);
    }
    rest(&source);
    buffer_release(&source.last_key);
    if (status == TERN_OK) {
        status = complete(conversion, &target);
    }
    close_private(conversion, &target);
    return status;
}

void convert_remove_files(struct conversion *conversion) {
    /* What cannot be removed now is removed at the next open. */
    tern_status status =
        conversion->methods->destroy(&conversion->db->environment, conversion->partition, NULL);
    (void)status;
}
