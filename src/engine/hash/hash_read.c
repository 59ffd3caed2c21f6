/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: an entry of the index, what it leads to, and on down the chain as far as the moment
 * asks.
 *
 * A reader takes no lock. Entries change in place from a version to its record; when a drain joins
 * the two entries of a key, it first changes the upper one and then, with `moves` odd, takes away
 * the lower one. So who went through the entries of a key while `moves` stood still has seen all
 * that were there when it began; else it may hold on to a lower one whose upper one has gone to a
 * place that it had passed already. A version that ends the search is the newest in any case.
 */
#include "base/compare.h"
#include "base/error.h"
#include "engine/hash/hash_glance.h"

#define BATCH      32u
#define CANDIDATES 8u

seq_no hash_view_range_seq(const struct hash_view *view, tern_slice key, seq_no seq) {
    seq_no newest = SEQ_NONE;
    for (uint32_t i = 0; i < view->count; i++) {
        if (atomic_load_explicit(&view->memories[i]->ranges, memory_order_acquire) != NULL) {
            seq_no found = hash_memory_range_seq(view->memories[i], key, seq);
            newest = found > newest ? found : newest;
        }
    }
    return newest;
}

static tern_status add_delete(struct resolution *resolution) {
    const struct record gone = {.kind = RECORD_DELETE};
    return resolution_add(resolution, &gone, ENGINE_SOURCE_SCRATCH, NULL);
}

static tern_status no_memory(tern_status status, tern_error *error) {
    return status == TERN_NO_MEMORY ? ERROR_NO_MEMORY(error, "reading a key") : status;
}

/* A record on disk of this key. */
static tern_status add_record(const struct hash_lookup *lookup, const struct hash_record *record,
                              struct cache_frame *frame, seq_no range_seq) {
    if (record->seq > lookup->seq) {
        /* The first since the key was deleted, perhaps: hash_lookup asks what has left no trace. */
        return record->is_first ? TERN_OK : TERN_CANCELLED;
    }
    if (record->seq < range_seq) {
        return add_delete(lookup->resolution);
    }
    return resolution_add(lookup->resolution, &record->record, ENGINE_SOURCE_FRAME, frame);
}

static tern_status add_disk(const struct hash_lookup *lookup, hash_link link, seq_no range_seq,
                            tern_error *error) {
    struct hash_record record;
    struct cache_frame *frame = NULL;
    tern_status status = base_read_record(&lookup->engine->base, link, &record, &frame, error);
    return status == TERN_OK ? add_record(lookup, &record, frame, range_seq) : status;
}

static tern_status add_version(const struct hash_version *version, struct resolution *resolution) {
    struct record record = {.kind = (enum record_kind)version->kind,
                            .merge_kind = version->merge_kind,
                            .expires_ms = version->expires_ms,
                            .value_size = version->value_size,
                            .value = version_value(version)};
    if (record.kind == RECORD_LARGE) {
        record.value_size = record.value.size == ENGINE_LARGE_REFERENCE_BYTES_MAX
                                ? engine_logged_size(record.value)
                                : hash_value_size(record.value);
    }
    return resolution_add(resolution, &record, ENGINE_SOURCE_OVERLAY, NULL);
}

tern_status hash_collect(const struct hash_lookup *lookup, hash_link link, seq_no range_seq,
                         bool *out_unknown, tern_error *error) {
    tern_status status = TERN_OK;
    *out_unknown = false;
    while (status == TERN_OK && !lookup->resolution->is_complete && link != LINK_NONE) {
        if (link == LINK_UNKNOWN) {
            *out_unknown = true;
            break;
        }
        if (link_is_disk(link)) {
            return add_disk(lookup, link, range_seq, error);
        }
        const struct hash_version *version = link_version(link);
        link = version_older(version);
        if (version->seq > lookup->seq) {
            seq_no cut = atomic_load_explicit(&version->cut, memory_order_acquire);
            if (lookup->seq >= cut && cut < version->seq) {
                return TERN_CANCELLED;
            }
        } else if (version->seq < range_seq) {
            status = add_delete(lookup->resolution);
        } else if ((version->flags & VERSION_STUB) != 0) {
            hash_link disk = __atomic_load_n(&version_stub(version)->disk, __ATOMIC_ACQUIRE);
            status = disk == LINK_NONE ? add_delete(lookup->resolution)
                                       : add_disk(lookup, disk, range_seq, error);
        } else {
            status = no_memory(add_version(version, lookup->resolution), error);
        }
    }
    return status;
}

void hash_fetch_around(struct hash_engine *engine, tern_slice key, uint64_t hash) {
    struct hash_probe probe;
    hash_link link;
    hash_probe_begin(&probe, engine->index, hash);
    do {
        while (hash_probe_next(&probe, &link) != NULL) {
            if (link_is_disk(link)) {
                base_fetch_around(&engine->base, link_block(link));
            }
        }
    } while (hash_probe_goes_on(&probe, engine->index, key));
    if (!engine->drain.reads_groups) {
        hash_cold_fetch_around(&engine->cold, hash);
    }
}

/* Of the entries in memory. */
static tern_status find_by_entries(struct hash_engine *engine, tern_slice key, uint64_t hash,
                                   hash_link *out_link, struct hash_record *out_record,
                                   struct cache_frame **out_frame, tern_error *error) {
    struct hash_probe probe;
    hash_link link;
    hash_link found = LINK_NONE;
    hash_probe_begin(&probe, engine->index, hash);
    do {
        while (hash_probe_next(&probe, &link) != NULL) {
            struct hash_record record;
            struct cache_frame *frame = NULL;
            if (!link_is_disk(link)) {
                continue;
            }
            tern_status status = base_read_record(&engine->base, link, &record, &frame, error);
            if (status != TERN_OK) {
                return status;
            }
            if (slice_equal(record.key, key) &&
                (found == LINK_NONE || record.seq > out_record->seq)) {
                found = link;
                *out_record = record;
                *out_frame = frame;
            }
        }
    } while (hash_probe_goes_on(&probe, engine->index, key));
    *out_link = found;
    return TERN_OK;
}

tern_status hash_find_on_disk(struct hash_engine *engine, tern_slice key, uint64_t hash,
                              hash_link *out_link, struct hash_record *out_record,
                              struct cache_frame **out_frame, tern_error *error) {
    hash_link found = LINK_NONE;
    tern_status status = find_by_entries(engine, key, hash, &found, out_record, out_frame, error);
    if (status == TERN_OK && found == LINK_NONE && hash_cold_has_any(&engine->cold)) {
        status = hash_cold_find(&engine->cold, key, hash, &found, out_record, out_frame, error);
    }
    if (status == TERN_OK) {
        *out_link = found;
    }
    return status;
}

tern_status hash_find_in_order(struct hash_engine *engine, tern_slice key, uint64_t hash,
                               hash_link *out_link, struct hash_record *out_record,
                               struct cache_frame **out_frame, tern_error *error) {
    struct hash_drain *drain = &engine->drain;
    hash_link found = LINK_NONE;
    if (drain->reads_ahead) {
        hash_fetch_around(engine, key, hash);
    }
    if (!drain->reads_groups) {
        return hash_find_on_disk(engine, key, hash, out_link, out_record, out_frame, error);
    }
    tern_status status = find_by_entries(engine, key, hash, &found, out_record, out_frame, error);
    if (status == TERN_OK && found == LINK_NONE && hash_cold_has_any(&engine->cold)) {
        status = hash_cold_find_next(&engine->cold, &drain->cold_reader, key, hash,
                                     drain->reads_ahead, &found, out_record, out_frame, error);
    }
    if (status == TERN_OK) {
        *out_link = found;
    }
    return status;
}

tern_status hash_has_first_entry(struct hash_engine *engine, tern_slice key, uint64_t hash,
                                 bool *out_has, tern_error *error) {
    for (;;) {
        struct hash_probe probe;
        hash_link link;
        bool has = false;
        uint64_t moves = hash_index_moves(engine->index);
        hash_probe_begin(&probe, engine->index, hash);
        while (!has && hash_probe_next(&probe, &link) != NULL) {
            if (link_is_version(link)) {
                has = slice_equal(version_key(link_version(link)), key);
                continue;
            }
            struct hash_record record;
            struct cache_frame *frame = NULL;
            tern_status status = base_read_record(&engine->base, link, &record, &frame, error);
            if (status != TERN_OK) {
                return status;
            }
            has = slice_equal(record.key, key);
        }
        if (!has && hash_cold_has_any(&engine->cold)) {
            struct hash_record record;
            struct cache_frame *frame = NULL;
            tern_status status =
                hash_cold_find(&engine->cold, key, hash, &link, &record, &frame, error);
            if (status != TERN_OK) {
                return status;
            }
            has = link != LINK_NONE;
        }
        atomic_thread_fence(memory_order_acquire);
        if (has || ((moves & 1) == 0 && hash_index_moves(engine->index) == moves)) {
            *out_has = has;
            return TERN_OK;
        }
        spin_pause();
    }
}

/* What the index has for a key. */
struct entries {
    const struct hash_version *head; /* in memory, or NULL */
    hash_link candidates[CANDIDATES];
    uint32_t count; /* of them; CANDIDATES + 1: there are more */
};

/* True: the head is all that is needed. */
static bool probe_once(const struct hash_lookup *lookup, struct entries *entries) {
    struct hash_probe probe;
    hash_link link;
    entries->head = NULL;
    entries->count = 0;
    hash_probe_begin(&probe, lookup->engine->index, lookup->hash);
    do {
        while (hash_probe_next(&probe, &link) != NULL) {
            if (link_is_version(link)) {
                const struct hash_version *version = link_version(link);
                if (version->hash == lookup->hash &&
                    slice_equal(version_key(version), lookup->key)) {
                    entries->head = version;
                    if (version->seq <= lookup->seq && version->kind != RECORD_MERGE) {
                        return true; /* what lies below does not matter */
                    }
                }
            } else if (entries->count < CANDIDATES) {
                entries->candidates[entries->count++] = link;
            } else {
                entries->count = CANDIDATES + 1; /* a version may come yet */
            }
        }
    } while (hash_probe_goes_on(&probe, lookup->engine->index, lookup->key));
    return false;
}

static void find_entries(const struct hash_lookup *lookup, struct entries *entries) {
    const struct hash_index *index = lookup->engine->index;
    for (;;) {
        uint64_t moves = hash_index_moves(index);
        if (probe_once(lookup, entries)) {
            return;
        }
        atomic_thread_fence(memory_order_acquire);
        if ((moves & 1) == 0 && hash_index_moves(index) == moves) {
            return;
        }
        spin_pause();
    }
}

/* One attempt. */
static tern_status look(const struct hash_lookup *lookup, seq_no range_seq, tern_error *error) {
    struct hash_engine *engine = lookup->engine;
    struct entries entries;
    find_entries(lookup, &entries);
    const struct hash_version *head = entries.head;
    const hash_link *candidates = entries.candidates;
    uint32_t count = entries.count;
    bool unknown = head == NULL;
    tern_status status = TERN_OK;
    if (head != NULL) {
        status = hash_collect(lookup, link_to_version(head), range_seq, &unknown, error);
    }
    if (status != TERN_OK || !unknown || lookup->resolution->is_complete) {
        return status;
    }
    /* Read in turn into the two, for copying one costs more than decoding it. */
    struct hash_record records[2];
    struct cache_frame *frames[2] = {NULL, NULL};
    uint32_t next = 0;
    bool has_best = false; /* in the other one */
    if (count > CANDIDATES) {
        hash_link found = LINK_NONE;
        uint64_t moves = hash_index_moves(engine->index);
        status = hash_find_on_disk(engine, lookup->key, lookup->hash, &found, &records[0],
                                   &frames[0], error);
        /* The newest may have gone from the second table to the first meanwhile (H5): then
         * hash_lookup begins again. */
        atomic_thread_fence(memory_order_acquire);
        has_best =
            found != LINK_NONE && (moves & 1) == 0 && hash_index_moves(engine->index) == moves;
        next = 1;
        count = 0;
    }
    for (uint32_t i = 0; i < count && status == TERN_OK; i++) {
        status =
            base_read_record(&engine->base, candidates[i], &records[next], &frames[next], error);
        if (status == TERN_OK && slice_equal(records[next].key, lookup->key) &&
            (!has_best || records[next].seq > records[1 - next].seq)) {
            has_best = true;
            next = 1 - next;
        }
    }
    if (status == TERN_OK && !has_best && hash_cold_has_any(&engine->cold)) {
        hash_link found = LINK_NONE;
        status = hash_cold_find(&engine->cold, lookup->key, lookup->hash, &found, &records[0],
                                &frames[0], error);
        has_best = found != LINK_NONE;
        next = 1;
    }
    if (status == TERN_OK && has_best) {
        status = add_record(lookup, &records[1 - next], frames[1 - next], range_seq);
    }
    return status;
}

tern_status hash_lookup(const struct hash_lookup *lookup, tern_error *error) {
    struct hash_engine *engine = lookup->engine;
    struct resolution_mark mark = resolution_mark(lookup->resolution);
    seq_no range_seq = hash_view_range_seq(lookup->view, lookup->key, lookup->seq);
    for (;;) {
        uint64_t moves = hash_index_moves(engine->index);
        tern_status status = look(lookup, range_seq, error);
        if (status != TERN_OK || lookup->resolution->is_complete) {
            return status;
        }
        atomic_thread_fence(memory_order_seq_cst);
        if ((moves & 1) != 0 || hash_index_moves(engine->index) != moves) {
            resolution_rewind(lookup->resolution, mark);
            spin_pause();
            continue;
        }
        if (lookup->seq < atomic_load_explicit(&engine->removed_seq, memory_order_acquire) &&
            !hash_is_registered(engine, lookup->seq)) {
            return TERN_CANCELLED;
        }
        return TERN_OK;
    }
}

tern_status hash_load_large(void *context, const struct record *large, struct buffer *out_value,
                            tern_error *error) {
    struct hash_engine *engine = context;
    if (engine_is_logged(engine->environment, large->value)) {
        return engine_logged_load(engine->environment, large->value, out_value, error);
    }
    return hash_value_load(engine->base.file, hash_allocator(engine), large->value, out_value,
                           error);
}

static tern_status get_slowly(struct engine_view *view, tern_slice key, uint64_t key_hash,
                              const struct engine_moment *moment, struct engine_scratch *scratch,
                              struct engine_result *out_result, tern_error *error) {
    struct hash_engine *engine = hash_of(view->engine);
    struct resolution resolution;
    const struct hash_lookup lookup = {engine,   hash_view_of(view), key,
                                       key_hash, moment->seq,        &resolution};
    resolution_init(&resolution, hash_allocator(engine));
    tern_status status = hash_lookup(&lookup, error);
    if (status != TERN_OK) {
        resolution_release(&resolution);
        return status;
    }
    return resolution_finish(&resolution, moment->time_ms, scratch, hash_load_large, engine,
                             out_result, error);
}

tern_status hash_get(struct engine_view *view, tern_slice key, uint64_t key_hash,
                     const struct engine_moment *moment, struct engine_scratch *scratch,
                     struct engine_result *out_result, tern_error *error) {
    const struct hash_wanted wanted = {hash_view_of(view), moment, key, key_hash};
    if (__builtin_expect(hash_glance(&wanted, out_result), 1)) {
        return TERN_OK;
    }
    return get_slowly(view, key, key_hash, moment, scratch, out_result, error);
}

/* Looks for all keys, and fetches ahead what the first fitting entry of each leads to. */
static void glance_ahead(const struct hash_engine *engine, const struct engine_get *gets,
                         size_t count, struct hash_glance *glances) {
    for (size_t i = 0; i < count; i++) {
        hash_index_prefetch(engine->index, gets[i].key_hash);
    }
    for (size_t i = 0; i < count; i++) {
        hash_glance_begin(&glances[i], engine, gets[i].key_hash);
        hash_link link = glances[i].count > 0 ? glances[i].links[0] : LINK_NONE;
        if (link_is_version(link)) {
            __builtin_prefetch(link_version(link));
            __builtin_prefetch((const char *)link_version(link) + 64);
            __builtin_prefetch((const char *)link_version(link) + 128);
        } else if (link_is_disk(link)) {
            base_prefetch(&engine->base, link, false);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (glances[i].count > 0 && link_is_disk(glances[i].links[0])) {
            base_prefetch(&engine->base, glances[i].links[0], true);
        }
    }
}

tern_status hash_multi_get(struct engine_view *view, struct engine_get *gets, size_t count,
                           const struct engine_moment *moment, struct engine_scratch *scratch,
                           void (*on_result)(void *context, size_t index), void *context,
                           tern_error *error) {
    const struct hash_engine *engine = hash_of(view->engine);
    for (size_t first = 0; first < count; first += BATCH) {
        size_t group = count - first < BATCH ? count - first : BATCH;
        struct hash_glance glances[BATCH];
        glance_ahead(engine, gets + first, group, glances);
        for (size_t i = first; i < first + group; i++) {
            struct engine_get *get = &gets[i];
            const struct hash_wanted wanted = {hash_view_of(view), moment, get->key, get->key_hash};
            bool is_answered = hash_glance_end(&glances[i - first], &wanted, &get->result);
            get->status = is_answered ? TERN_OK
                                      : get_slowly(view, get->key, get->key_hash, moment, scratch,
                                                   &get->result, error);
            on_result(context, i);
        }
    }
    return TERN_OK;
}
