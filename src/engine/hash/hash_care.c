/* SPDX-License-Identifier: Apache-2.0 */
/* Verify, export, bulk load and the numbers of a partition. */
#include <stdio.h>

#include "base/bytes.h"
#include "base/error.h"
#include "engine/hash/hash_engine.h"
#include "engine/hash/hash_engine_internal.h"
#include "os/file.h"
#include "simd/hash.h"

/* ---- verify ---- */

struct verifying {
    struct hash_engine *engine;
    tern_finding_function on_finding;
    void *context;
    tern_verify_report *report;
    bool has_stopped;
    char name[32];
};

static void tell(struct verifying *verifying, int64_t offset, const char *invariant,
                 const char *message) {
    const tern_finding finding = {verifying->name, offset, invariant, message};
    verifying->report->findings++;
    if (verifying->on_finding != NULL && !verifying->has_stopped) {
        verifying->has_stopped = !verifying->on_finding(verifying->context, &finding);
    }
}

/* The live records of a block as verify must find them; a copy, since drains go on. */
struct block_copy {
    struct hash_ref ref;
    uint32_t number;
    uint32_t records;
    uint32_t raw_bytes;
    uint64_t born;
    bool is_meta; /* not a block of records */
};                /* a bit a record follows, in whole u64 */

static size_t live_bytes(const struct block_copy *block) {
    return ((size_t)block->records + 63) / 64 * 8;
}

static bool is_live(const uint8_t *live, uint32_t record) {
    return (get_u64(live + record / 64 * 8) >> (record % 64) & 1) != 0;
}

/* Is it still the block that was listed, and the record alive in it? Inside an epoch. */
static bool is_there(struct hash_base *base, const struct block_copy *block, hash_link link) {
    mutex_lock(&base->lock);
    const struct block_info *info = base_block(base, block->number);
    bool is_same = info->place == block->ref.place && info->checksum == block->ref.checksum &&
                   info->born == block->born && base_holds_live(base, link);
    mutex_unlock(&base->lock);
    return is_same;
}

/* Is the record still what the base holds of the key, and yet the index does not lead to it? */
static tern_status is_lost(struct hash_engine *engine, const struct block_copy *block,
                           uint32_t slot, tern_slice key, bool *out_is, tern_error *error) {
    struct hash_base *base = &engine->base;
    hash_link link = link_to_record(block->number, slot);
    uint64_t hash = hash_of_key(engine, key);
    tern_status status = TERN_OK;
    bool is_found = true;
    struct epoch_slot *epoch = epoch_enter(engine->environment->epoch);
    for (;;) {
        uint64_t moves = hash_index_moves(engine->index);
        /* Records are linked, and die, under the lock of the index. */
        mutex_lock(&engine->index_lock);
        is_found = !is_there(base, block, link) || hash_leads_to(engine, key, hash, link);
        mutex_unlock(&engine->index_lock);
        if (is_found || !hash_cold_has_any(&engine->cold)) {
            break;
        }
        status = hash_cold_has(&engine->cold, hash, link, &is_found, error);
        /* What moves between two looks is in either place, or dead. */
        bool is_still = (moves & 1) == 0 && hash_index_moves(engine->index) == moves;
        if (status != TERN_OK || is_found || is_still) {
            is_found = is_found || !is_there(base, block, link);
            break;
        }
    }
    epoch_exit(epoch);
    *out_is = !is_found;
    return status;
}

static tern_status verify_block(struct verifying *verifying, const struct block_copy *block,
                                const uint8_t *live, struct buffer *payload, tern_error *error) {
    struct hash_engine *engine = verifying->engine;
    int64_t offset = (int64_t)block->ref.place * HASH_UNIT_BYTES;
    tern_error failure = TERN_ERROR_INIT;
    tern_status status = hash_file_read(engine->base.file, &block->ref, payload, &failure);
    verifying->report->pages++;
    verifying->report->bytes += (uint64_t)block->ref.units * HASH_UNIT_BYTES;
    if (status == TERN_CORRUPTION) {
        tell(verifying, offset, "checksum", failure.message);
        return TERN_OK;
    }
    if (status != TERN_OK) {
        error_copy(error, &failure);
        return status;
    }
    if (block->is_meta) {
        return TERN_OK;
    }
    if (payload->size != block->raw_bytes ||
        payload_count(payload->data, payload->size) != block->records) {
        tell(verifying, offset, "H-block", "a block differs from its directory");
        return TERN_OK;
    }
    for (uint32_t i = 0; i < block->records; i++) {
        struct hash_record record;
        if (!record_decode(payload->data, payload->size, i, &record)) {
            tell(verifying, offset, "H-record", "a record is malformed");
            continue;
        }
        if (!is_live(live, i)) {
            continue;
        }
        verifying->report->records++;
        bool is_missing = false;
        status = is_lost(engine, block, i, record.key, &is_missing, &failure);
        if (status == TERN_CORRUPTION) {
            tell(verifying, failure.offset, "H-cold", failure.message);
            status = TERN_OK;
        } else if (status != TERN_OK) {
            error_copy(error, &failure);
            return status;
        } else if (is_missing) {
            tell(verifying, offset, "H-hashes",
                 "a record cannot be found by its key: the list of hashes of its segment is wrong");
        }
        if (record.record.kind == RECORD_LARGE) {
            uint8_t byte;
            for (uint64_t at = 0; at < record.record.value_size; at += (uint64_t)256 << 10) {
                size_t got = 0;
                status = hash_value_read(engine->base.file, hash_allocator(engine),
                                         record.record.value, at, &byte, 1, &got, &failure);
                if (status == TERN_CORRUPTION) {
                    tell(verifying, failure.offset, "checksum", failure.message);
                    break;
                }
                if (status != TERN_OK) {
                    error_copy(error, &failure);
                    return status;
                }
            }
        }
    }
    return TERN_OK;
}

static tern_status list_meta(struct buffer *out_blocks, const struct hash_ref *ref) {
    const struct block_copy copy = {.ref = *ref, .is_meta = true};
    return ref->units > 0 ? buffer_append(out_blocks, &copy, sizeof(copy)) : TERN_OK;
}

static tern_status list_records(struct buffer *out_blocks, const struct hash_segment *segment,
                                uint32_t number, const struct block_info *info) {
    const struct block_copy copy = {.ref = {info->place, info->units, info->checksum},
                                    .number = number,
                                    .records = info->records,
                                    .raw_bytes = info->raw_bytes,
                                    .born = info->born};
    size_t bytes = live_bytes(&copy);
    tern_status status = buffer_append(out_blocks, &copy, sizeof(copy));
    if (status == TERN_OK) {
        status = buffer_reserve(out_blocks, bytes);
    }
    if (status != TERN_OK) {
        return status;
    }
    uint8_t *live = out_blocks->data + out_blocks->size;
    memset(live, 0, bytes);
    for (uint32_t i = 0; i < info->records; i++) {
        uint32_t at = info->first_record + i;
        live[i / 8] |= (uint8_t)((segment->live[at / 64] >> (at % 64) & 1) << (i % 8));
    }
    out_blocks->size += bytes;
    return TERN_OK;
}

/* What lives now in a segment. With a view only what it keeps from being given back, and
 * directories, too. Under the lock of the base. */
static tern_status list_segment(const struct hash_base *base, const struct hash_segment *segment,
                                const struct hash_view *view, struct buffer *out_blocks) {
    uint64_t newest = view != NULL ? view->generation : UINT64_MAX;
    tern_status status = TERN_OK;
    if (view != NULL && segment->is_closed && segment->born <= newest) {
        status = list_meta(out_blocks, &segment->directory);
        status = status == TERN_OK ? list_meta(out_blocks, &segment->hashes) : status;
        if (status == TERN_OK && segment->bitmap_born <= newest) {
            status = list_meta(out_blocks, &segment->bitmap);
        }
    }
    for (uint32_t j = 0; j < segment->block_count && status == TERN_OK; j++) {
        if (segment->blocks[j] == BLOCK_NONE) {
            continue;
        }
        const struct block_info *info = base_block(base, segment->blocks[j]);
        if (info->born <= newest) {
            status = list_records(out_blocks, segment, segment->blocks[j], info);
        }
    }
    return status;
}

/* What lives in `count` segments from *at on, as of one moment; *at: the next one, *out_all: how
 * many there are. */
static tern_status list_blocks(struct hash_engine *engine, const struct hash_view *view,
                               uint32_t *at, uint32_t count, uint32_t *out_all,
                               struct buffer *out_blocks) {
    struct hash_base *base = &engine->base;
    tern_status status = TERN_OK;
    struct epoch_slot *slot = epoch_enter(engine->environment->epoch);
    mutex_lock(&base->lock);
    for (; *at < base->segment_count && count > 0 && status == TERN_OK; count--, ++*at) {
        if (base->segments[*at] != NULL) {
            status = list_segment(base, base->segments[*at], view, out_blocks);
        }
    }
    *out_all = base->segment_count;
    mutex_unlock(&base->lock);
    epoch_exit(slot);
    return status;
}

/* Checks what is listed. */
static tern_status verify_listed(struct verifying *verifying, const struct buffer *blocks,
                                 struct buffer *payload, tern_error *error) {
    tern_status status = TERN_OK;
    for (size_t at = 0; status == TERN_OK && at < blocks->size && !verifying->has_stopped;) {
        struct block_copy block;
        memcpy(&block, blocks->data + at, sizeof(block));
        at += sizeof(block);
        status = verify_block(verifying, &block, blocks->data + at, payload, error);
        at += live_bytes(&block);
    }
    return status;
}

tern_status hash_verify(struct engine_view *view, tern_finding_function on_finding, void *context,
                        tern_progress_function progress, void *progress_context,
                        tern_verify_report *report, tern_error *error) {
    struct hash_engine *engine = hash_of(view->engine);
    struct verifying verifying = {engine, on_finding, context, report, false, ""};
    struct buffer blocks;
    struct buffer payload;
    buffer_init(&blocks, hash_allocator(engine));
    buffer_init(&payload, hash_allocator(engine));
    hash_file_name(engine->head.id, verifying.name);
    report->files++;
    if (engine->base.root.units > 0 && !hash_file_has_valid_header(engine->base.file)) {
        tell(&verifying, 0, "H-header", "the header of the file is damaged");
    }
    mutex_lock(&engine->index_lock);
    const char *broken = hash_index_check(engine->index);
    mutex_unlock(&engine->index_lock);
    if (broken != NULL) {
        tell(&verifying, -1, "H-index", broken);
    }
    tern_status status = TERN_OK;
    uint32_t at = 0;
    uint32_t all = 1;
    /* A segment at a time: what comes to places that have been looked at is newer than the view. */
    while (status == TERN_OK && at < all && !verifying.has_stopped) {
        blocks.size = 0;
        if (list_blocks(engine, hash_view_of(view), &at, 1, &all, &blocks) != TERN_OK) {
            status = ERROR_NO_MEMORY(error, "verifying");
        }
        if (status == TERN_OK && progress != NULL &&
            !progress(progress_context, "hash segments", at, all)) {
            status = ERROR_SET(error, TERN_CANCELLED, "verification was stopped");
        }
        if (status == TERN_OK) {
            status = verify_listed(&verifying, &blocks, &payload, error);
        }
    }
    buffer_release(&blocks);
    buffer_release(&payload);
    return status;
}

/* ---- copying ---- */

/* Adds a record to a base that is being filled. */
static tern_status copy_record(struct hash_engine *engine, struct hash_base *target,
                               struct hash_output *output, const struct hash_record *source,
                               tern_error *error) {
    struct record record = source->record;
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    uint32_t block;
    uint32_t slot;
    tern_status status = TERN_OK;
    if (record.kind == RECORD_LARGE) {
        struct engine_large_writer *writer = NULL;
        size_t size = 0;
        size_t capacity = (size_t)256 << 10;
        uint8_t *chunk = memory_allocate(hash_allocator(engine), capacity);
        if (chunk == NULL) {
            return ERROR_NO_MEMORY(error, "copying a value");
        }
        status = hash_value_begin(target->file, target->environment, target->compression, &writer,
                                  error);
        for (uint64_t at = 0; status == TERN_OK && at < record.value_size;) {
            size_t got = 0;
            status = hash_value_read(engine->base.file, hash_allocator(engine), record.value, at,
                                     chunk, capacity, &got, error);
            if (status == TERN_OK) {
                status = hash_value_append(writer, chunk, got, error);
                at += got;
            }
        }
        memory_release(hash_allocator(engine), chunk);
        if (status != TERN_OK) {
            hash_value_abandon(writer);
            return status;
        }
        status = hash_value_finish(writer, reference, &size, error);
        record.value = tern_slice_of(reference, size);
    }
    if (status == TERN_OK) {
        status = hash_output_add(output, source->key, &record, hash_of_key(engine, source->key),
                                 source->seq, source->is_first, &block, &slot, error);
    }
    if (status == TERN_OK && output_bytes(output) >= ((size_t)1 << 20)) {
        status = output_flush(output, error);
    }
    return status;
}

static tern_status copy_all(struct hash_engine *engine, struct hash_base *target,
                            struct hash_output *output, tern_error *error) {
    const struct hash_base *base = &engine->base;
    struct buffer blocks;
    struct buffer payload;
    buffer_init(&blocks, hash_allocator(engine));
    buffer_init(&payload, hash_allocator(engine));
    uint32_t at_segment = 0;
    uint32_t all = 0;
    tern_status status = list_blocks(engine, NULL, &at_segment, UINT32_MAX, &all, &blocks);
    if (status != TERN_OK) {
        status = ERROR_NO_MEMORY(error, "copying a partition");
    }
    for (size_t at = 0; status == TERN_OK && at < blocks.size;) {
        struct block_copy block;
        memcpy(&block, blocks.data + at, sizeof(block));
        const uint8_t *live = blocks.data + at + sizeof(block);
        at += sizeof(block) + live_bytes(&block);
        status = hash_file_read(base->file, &block.ref, &payload, error);
        for (uint32_t k = 0; status == TERN_OK && k < block.records; k++) {
            struct hash_record record;
            if (is_live(live, k)) {
                status = record_decode(payload.data, payload.size, k, &record)
                             ? copy_record(engine, target, output, &record, error)
                             : base_corrupt(base, block.ref.place, "a record is malformed", error);
            }
        }
    }
    buffer_release(&blocks);
    buffer_release(&payload);
    return status;
}

tern_status hash_export_base(struct engine_view *view, const char *target_directory,
                             struct buffer *out_state, tern_error *error) {
    struct hash_engine *engine = hash_of(view->engine);
    struct engine_environment environment = *engine->environment;
    struct hash_base target = {0};
    struct hash_output *output = NULL;
    environment.directory = target_directory;
    tern_status status = base_open(&target, &environment, engine->head.id, &engine->config.options,
                                   &engine->head.hasher, error);
    if (status != TERN_OK) {
        return status;
    }
    status = output_create(&target, &output, error);
    if (status == TERN_OK) {
        status = copy_all(engine, &target, output, error);
    }
    if (status == TERN_OK) {
        status = output_flush(output, error);
    }
    if (status == TERN_OK) {
        status = base_write_root(&target, error);
    }
    if (status == TERN_OK) {
        status = hash_file_sync(target.file, error);
    }
    if (status == TERN_OK) {
        const struct hash_state state = {.has_root = target.root.units > 0,
                                         .complete_seq = engine->complete_seq,
                                         .records = atomic_load(&target.live_records),
                                         .root = target.root};
        status = hash_state_encode(&state, out_state, error);
    }
    output_destroy(output);
    base_close(&target);
    return status;
}

/* Writes what was gathered and puts it into the index. */
static tern_status hash_ingest_flush(struct hash_engine *engine, tern_error *error) {
    struct hash_drain *drain = &engine->drain;
    tern_status status = output_flush(drain->output, error);
    mutex_lock(&engine->index_lock);
    for (size_t i = 0; status == TERN_OK && i < drain->move_count; i++) {
        const struct hash_move *move = &drain->moves[i];
        status = hash_insert_record(
            engine, move->hash,
            link_to_record(output_block(drain->output, move->block), move->slot), error);
    }
    mutex_unlock(&engine->index_lock);
    drain->move_count = 0;
    return status;
}

tern_status hash_ingest(struct engine *base,
                        tern_status (*next)(void *context, tern_slice *out_key,
                                            struct record *out_record),
                        void *context, tern_error *error) {
    struct hash_engine *engine = hash_of(base);
    struct hash_drain *drain = &engine->drain;
    struct hash_index_stats stats;
    hash_index_get_stats(engine->index, &stats);
    if (stats.entries > 0 || engine->current->count > 1 || engine->is_sealed) {
        return ERROR_SET(error, TERN_INVALID, "only an empty partition can be loaded in bulk");
    }
    tern_status status = hash_need_output(engine, error);
    while (status == TERN_OK) {
        tern_slice key;
        struct record record;
        status = next(context, &key, &record);
        if (status != TERN_OK) {
            break;
        }
        struct hash_move *move = hash_add_move(engine);
        if (move == NULL) {
            status = ERROR_NO_MEMORY(error, "loading");
            break;
        }
        move->hash = hash_of_key(engine, key);
        status = hash_output_add(drain->output, key, &record, move->hash, 1, true, &move->block,
                                 &move->slot, error);
        bool is_full = output_bytes(drain->output) >= ((size_t)1 << 20);
        if (status == TERN_OK && is_full) {
            status = hash_ingest_flush(engine, error);
            status = status == TERN_OK ? hash_pour_all(engine, error) : status;
        }
    }
    if (status == TERN_NOT_FOUND) {
        status = hash_ingest_flush(engine, error);
    }
    if (status != TERN_OK) {
        hash_abandon_moves(engine);
    }
    return status;
}

/* ---- numbers ---- */

struct numbers {
    tern_stat_visitor visit;
    void *context;
    bool has_stopped;
};

static void number(struct numbers *numbers, const char *name, const char *unit, const char *text,
                   tern_stat_kind kind, uint64_t value) {
    if (!numbers->has_stopped) {
        const tern_stat stat = {name, unit, text, kind, value};
        numbers->has_stopped = !numbers->visit(numbers->context, &stat);
    }
}

tern_status hash_stats(struct engine_view *view, tern_stat_visitor visit, void *context,
                       tern_error *error) {
    struct hash_engine *engine = hash_of(view->engine);
    struct numbers numbers = {visit, context, false};
    struct hash_file_stats file;
    struct hash_index_stats index;
    (void)error;
    hash_file_get_stats(engine->base.file, &file);
    hash_index_get_stats(engine->index, &index);
    number(&numbers, "base_keys", "count", "live records on disk", TERN_STAT_GAUGE,
           atomic_load(&engine->base.live_records));
    number(&numbers, "base_bytes", "bytes", "bytes of blocks with live records", TERN_STAT_GAUGE,
           atomic_load(&engine->base.block_bytes));
    number(&numbers, "file_bytes", "bytes", "size of the file", TERN_STAT_GAUGE, file.file_bytes);
    number(&numbers, "free_bytes", "bytes", "free space in the file", TERN_STAT_GAUGE,
           file.free_bytes);
    number(&numbers, "pending_bytes", "bytes", "space that readers still hold", TERN_STAT_GAUGE,
           file.pending_bytes);
    number(&numbers, "free_extents", "count", "intervals of free space", TERN_STAT_GAUGE,
           file.free_extents);
    number(&numbers, "written_bytes", "bytes", "written to the file", TERN_STAT_COUNTER,
           file.written_bytes);
    number(&numbers, "read_bytes", "bytes", "read from the file", TERN_STAT_COUNTER,
           file.read_bytes);
    number(&numbers, "reads", "count", "reads of the file", TERN_STAT_COUNTER, file.reads);
    number(&numbers, "index_entries", "count", "entries of the index", TERN_STAT_GAUGE,
           index.entries);
    number(&numbers, "index_second_entries", "count",
           "entries of the index whose keys collide with too many others", TERN_STAT_GAUGE,
           index.second_entries);
    number(&numbers, "index_bytes", "bytes", "memory of the index", TERN_STAT_GAUGE, index.bytes);
    number(&numbers, "index_pages", "count", "pages of the index", TERN_STAT_GAUGE, index.pages);
    number(&numbers, "index_splits", "count", "pages split since the open", TERN_STAT_COUNTER,
           index.splits);
    number(&numbers, "map_bytes", "bytes", "memory of what is known of blocks and segments",
           TERN_STAT_GAUGE, atomic_load(&engine->base.map_bytes));
    number(&numbers, "cold_entries", "count", "entries of the index that are on disk",
           TERN_STAT_GAUGE, atomic_load(&engine->cold.entries));
    number(&numbers, "cold_pages", "count", "pages of 4 KiB that those take", TERN_STAT_GAUGE,
           atomic_load(&engine->cold.pages));
    number(&numbers, "cold_bytes", "bytes", "memory of what is known of those pages",
           TERN_STAT_GAUGE, atomic_load(&engine->cold.memory_bytes));
    number(&numbers, "cold_lookups", "count", "keys that were looked for on disk",
           TERN_STAT_COUNTER, atomic_load(&engine->cold.lookups));
    number(&numbers, "cold_page_reads", "count", "pages of the index that were looked at",
           TERN_STAT_COUNTER, atomic_load(&engine->cold.page_reads));
    number(&numbers, "cold_page_misses", "count", "of those, read from disk", TERN_STAT_COUNTER,
           atomic_load(&engine->cold.page_misses));
    number(&numbers, "cold_mended", "count", "groups of the index on disk made anew for damage",
           TERN_STAT_COUNTER, atomic_load(&engine->cold.mended));
    number(&numbers, "cold_rounds", "count", "times that the index on disk was written anew",
           TERN_STAT_COUNTER, atomic_load(&engine->cold.rounds));
    number(&numbers, "stubs", "count", "keys whose older versions a snapshot may need",
           TERN_STAT_GAUGE, atomic_load(&engine->stub_count));
    number(&numbers, "stub_bytes", "bytes", "memory of those", TERN_STAT_GAUGE,
           atomic_load(&engine->stub_bytes));
    return TERN_OK;
}
