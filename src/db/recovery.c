/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: opens the engines as the manifest describes them, replays the log over them, and leaves
 * the database as of the last commit that the log holds.
 *
 * The manifest's catalog is as of catalog_seq; later catalog changes come from the log. Engines
 * leave out what their bases hold already. Large values are put together again from their chunks;
 * those whose commit is not in the log are given up.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/error.h"
#include "db/conversion_search.h"
#include "db/creation_list.h"
#include "db/database_internal.h"
#include "log/log_format.h"
#include "txn/commit_codec.h"

/* So many syncs to a segment of the log, and writing it once ahead has paid for itself. */
#define PREWRITE_SYNCS 64

/* A large value whose chunks are being replayed. */
struct replayed_value {
    struct replayed_value *next;
    uint64_t token;
    uint64_t size;
    const struct engine *engine;          /* that holds it, */
    const struct engine_methods *methods; /* whatever becomes of the keyspace */
    struct engine_large_writer *writer;   /* NULL: there is no room for it; see `failure` */
    bool is_logged;                       /* it stays in the log, and is read there */
    tern_error failure;
};

struct replay {
    struct tern_db *db;
    const struct manifest *manifest;
    struct creation_list creations; /* of the log, for values that come before them */
    struct arena arena;
    struct commit_assembler assembler;
    struct replayed_value *values;
    seq_no last_seq;
    uint64_t last_time_ms;
    uint64_t last_token;
};

static tern_status place_error(const struct log_record *record, tern_status status,
                               tern_error *error) {
    if (error != NULL && error->offset < 0 && status == TERN_CORRUPTION) {
        char file[32];
        (void)snprintf(file, sizeof(file), "log segment %u",
                       log_position_segment(record->position));
        memcpy(error->file, file, sizeof(file));
        error->offset = log_position_offset(record->position);
    }
    return status;
}

/* ---- large values ---- */

static struct replayed_value **find_value(struct replay *replay, uint64_t token) {
    struct replayed_value **link = &replay->values;
    while (*link != NULL && (*link)->token != token) {
        link = &(*link)->next;
    }
    return link;
}

static void abandon_value(struct replay *replay, struct replayed_value **link) {
    struct replayed_value *value = *link;
    *link = value->next;
    if (value->writer != NULL) {
        value->methods->large_abandon(value->writer);
    }
    large_retention_forget(&replay->db->manager.retention, value->token);
    memory_release(replay->db->allocator, value);
}

static tern_status begin_value(struct replay *replay, uint64_t token, tern_keyspace *keyspace,
                               struct replayed_value **out_value, tern_error *error) {
    struct tern_db *db = replay->db;
    struct replayed_value *value = memory_allocate_zeroed(db->allocator, sizeof(*value));
    if (value == NULL) {
        return ERROR_NO_MEMORY(error, "a large value");
    }
    value->token = token;
    value->engine = keyspace->engine;
    value->methods = keyspace->methods;
    tern_status status = TERN_OK;
    if (db->options.read_only) {
        value->is_logged = true;
    } else {
        status = keyspace->methods->large_begin(keyspace->engine, &value->writer, &value->failure);
    }
    if (status == TERN_DISK_FULL) {
        status = TERN_OK;
    } else if (status != TERN_OK) {
        error_copy(error, &value->failure);
    }
    if (status == TERN_OK) {
        /* Its chunks may be moved by the recovery of the log; log_start is before them anyway. */
        status =
            large_retention_add(&db->manager.retention, token, replay->manifest->log_start, error);
    }
    value->next = replay->values;
    replay->values = value;
    if (status != TERN_OK) {
        abandon_value(replay, &replay->values);
        return status;
    }
    *out_value = value;
    return TERN_OK;
}

/*
 * The keyspace of a value whose chunks begin here. One that the same transaction creates is opened
 * ahead of its commit, and is pending until then. NULL: dropped since, or its transaction never
 * committed.
 */
static tern_status keyspace_of_value(struct replay *replay, partition_id id,
                                     tern_keyspace **out_keyspace, tern_error *error) {
    struct decoded_catalog_change change;
    struct engine_drained drained;
    *out_keyspace = catalog_by_id(replay->db, id);
    if (*out_keyspace != NULL) {
        return TERN_OK;
    }
    /* What a commit that is behind us created has been dropped since. */
    seq_no after = replay->last_seq > replay->manifest->catalog_seq ? replay->last_seq
                                                                    : replay->manifest->catalog_seq;
    tern_status status = creation_list_find(&replay->creations, id, after, &change, error);
    if (status == TERN_NOT_FOUND) {
        return TERN_OK;
    }
    return status != TERN_OK
               ? status
               : catalog_open_keyspace(replay->db, id, id, change.name, &change.options,
                                       change.hash_seed, tern_slice_of(NULL, 0), &drained,
                                       out_keyspace, error);
}

/*
 * Most likely it was for want of room that a value was never committed: then its chunks are still
 * in the log, and do not find room again. That is nobody's loss unless a commit follows.
 */
static tern_status append_chunk(struct replay *replay, struct replayed_value *value,
                                const struct log_record *record, tern_error *error) {
    size_t size = record->payload_size - COMMIT_CHUNK_HEADER_BYTES;
    if (value->is_logged) {
        tern_status status = logged_values_add(
            &replay->db->logged, value->token, value->size,
            record->position + LOG_RECORD_HEADER_BYTES + COMMIT_CHUNK_HEADER_BYTES,
            record->payload + COMMIT_CHUNK_HEADER_BYTES, size, error);
        value->size += status == TERN_OK ? size : 0;
        return status;
    }
    value->size += size;
    if (value->writer == NULL) {
        return TERN_OK;
    }
    tern_status status = value->methods->large_append(
        value->writer, record->payload + COMMIT_CHUNK_HEADER_BYTES, size, &value->failure);
    if (status == TERN_DISK_FULL) {
        value->methods->large_abandon(value->writer);
        value->writer = NULL;
        return TERN_OK;
    }
    if (status != TERN_OK) {
        error_copy(error, &value->failure);
    }
    return status;
}

static tern_status replay_chunk(struct replay *replay, const struct log_record *record,
                                tern_error *error) {
    if (record->payload_size < COMMIT_CHUNK_HEADER_BYTES) {
        return ERROR_SET(error, TERN_CORRUPTION, "commit-chunk: a chunk record is too short");
    }
    uint64_t token = get_u64(record->payload);
    partition_id id = get_u64(record->payload + 8);
    uint64_t offset = get_u64(record->payload + 16);
    tern_keyspace *keyspace = NULL;
    replay->last_token = token > replay->last_token ? token : replay->last_token;
    tern_status status = TERN_OK;
    if (offset == 0) {
        status = keyspace_of_value(replay, id, &keyspace, error);
    } else {
        keyspace = catalog_by_id(replay->db, id);
    }
    if (status != TERN_OK || keyspace == NULL) {
        return status;
    }
    struct replayed_value **link = find_value(replay, token);
    struct replayed_value *value = *link;
    if (value == NULL) {
        if (offset != 0) {
            return TERN_OK; /* its beginning is drained and released */
        }
        status = begin_value(replay, token, keyspace, &value, error);
    } else if (value->size != offset) {
        return ERROR_SET(error, TERN_CORRUPTION, "commit-chunk: chunks are not contiguous");
    }
    return status == TERN_OK ? append_chunk(replay, value, record, error) : status;
}

/* Turns the change's token into a reference; *out_skip: the base must hold it already. */
static tern_status resolve_large(struct replay *replay, const tern_keyspace *keyspace,
                                 struct engine_change *change, seq_no seq, bool *out_skip,
                                 tern_error *error) {
    struct replayed_value **link = find_value(replay, change->large_token);
    struct replayed_value *value = *link;
    *out_skip = value == NULL;
    if (value == NULL) {
        return TERN_OK;
    }
    if (value->size != change->record.value_size) {
        return ERROR_SET(error, TERN_CORRUPTION, "commit-chunk: a large value is incomplete");
    }
    if (value->writer == NULL && !value->is_logged) {
        error_copy(error, &value->failure);
        return value->failure.status;
    }
    if (value->engine != keyspace->engine) {
        return ERROR_SET(error, TERN_CORRUPTION, "commit-chunk: a value of another keyspace");
    }
    uint8_t *reference = arena_allocate(&replay->arena, ENGINE_LARGE_REFERENCE_BYTES_MAX);
    if (reference == NULL) {
        return ERROR_NO_MEMORY(error, "reading the log");
    }
    size_t size = ENGINE_LARGE_REFERENCE_BYTES_MAX;
    tern_status status = TERN_OK;
    if (value->is_logged) {
        engine_logged_reference(value->token, value->size, reference);
    } else {
        status = value->methods->large_finish(value->writer, reference, &size, error);
    }
    value->writer = NULL;
    if (status == TERN_OK) {
        change->record.value = tern_slice_of(reference, size);
        large_retention_commit(&replay->db->manager.retention, value->token, seq);
        *link = value->next;
        memory_release(replay->db->allocator, value);
    }
    return status;
}

/* ---- commits ---- */

/* `keyspace`: what has its id already, or NULL. */
static tern_status replay_create(struct replay *replay, const struct decoded_catalog_change *change,
                                 tern_keyspace *keyspace, seq_no seq, tern_error *error) {
    struct engine_drained drained;
    tern_status status = TERN_OK;
    if (keyspace == NULL) {
        status = catalog_open_keyspace(replay->db, change->id, change->id, change->name,
                                       &change->options, change->hash_seed, tern_slice_of(NULL, 0),
                                       &drained, &keyspace, error);
    }
    if (status == TERN_OK &&
        atomic_load_explicit(&keyspace->state, memory_order_relaxed) == KEYSPACE_PENDING) {
        status = catalog_make_live(replay->db, keyspace, seq, error);
    }
    if (change->id >= atomic_load(&replay->db->next_partition)) {
        atomic_store(&replay->db->next_partition, change->id + 1);
    }
    return status;
}

/* The base of the partition that the keyspace gets was made durable before the conversion was
 * logged: a manifest names it. */
static tern_status replay_convert(struct replay *replay,
                                  const struct decoded_catalog_change *change,
                                  tern_keyspace *keyspace, seq_no seq, tern_error *error) {
    tern_keyspace *target = catalog_by_id(replay->db, change->target);
    if (keyspace == NULL) {
        return TERN_OK; /* dropped since, as the manifest knows */
    }
    if (target == NULL || !keyspace_is_hidden(target) || keyspace_is_hidden(keyspace) ||
        target->id != keyspace->id) {
        return ERROR_SET(error, TERN_CORRUPTION,
                         "commit-convert: keyspace '%s' was converted, but the manifest does not "
                         "know partition %llu that holds it now",
                         keyspace->name, (unsigned long long)change->target);
    }
    catalog_convert(replay->db, keyspace, target, seq);
    return TERN_OK;
}

static tern_status replay_catalog(struct replay *replay, const struct decoded_commit *commit,
                                  tern_error *error) {
    tern_status status = TERN_OK;
    if (commit->seq <= replay->manifest->catalog_seq) {
        return TERN_OK;
    }
    for (size_t i = 0; status == TERN_OK && i < commit->catalog_count; i++) {
        const struct decoded_catalog_change *change = &commit->catalog[i];
        tern_keyspace *keyspace = catalog_by_id(replay->db, change->id);
        if (change->kind == CATALOG_CREATE) {
            status = replay_create(replay, change, keyspace, commit->seq, error);
        } else if (change->kind == CATALOG_CONVERT) {
            status = replay_convert(replay, change, keyspace, commit->seq, error);
        } else if (keyspace != NULL) {
            catalog_mark_dropped(replay->db, keyspace, commit->seq);
        }
        replay->db->catalog_seq = commit->seq;
    }
    return status;
}

static tern_status replay_part(struct replay *replay, struct decoded_part *part, seq_no seq,
                               tern_error *error) {
    tern_keyspace *keyspace = catalog_by_id(replay->db, part->id);
    if (keyspace == NULL) {
        return TERN_OK; /* dropped, by a later commit that the manifest knows */
    }
    size_t kept = 0;
    for (size_t i = 0; i < part->count; i++) {
        struct engine_change *change = &part->changes[i];
        bool skip = false;
        if ((int)change->record.kind != (int)CHANGE_DELETE_RANGE &&
            change->key.size > keyspace->key_bytes_max) {
            return ERROR_SET(error, TERN_CORRUPTION,
                             "commit-key: a key of %zu bytes for keyspace '%s', which takes 1 to "
                             "%zu",
                             change->key.size, keyspace->name, (size_t)keyspace->key_bytes_max);
        }
        if (change->record.kind == RECORD_LARGE) {
            tern_status status = resolve_large(replay, keyspace, change, seq, &skip, error);
            if (status != TERN_OK) {
                return status;
            }
        }
        if (change->record.expires_ms != 0 && change->record.kind != RECORD_MERGE) {
            atomic_store(&replay->db->manager.has_expiring, true);
        }
        if (!skip) {
            part->changes[kept++] = *change;
        }
    }
    part->count = kept;
    decoded_part_hash(part, &keyspace->engine->hasher);
    atomic_store_explicit(&keyspace->last_write_seq, seq, memory_order_relaxed);
    return keyspace->methods->replay(keyspace->engine, part->changes, kept, seq, error);
}

static tern_status replay_commit(struct replay *replay, const struct log_record *record,
                                 tern_error *error) {
    tern_slice encoding;
    struct decoded_commit commit;
    tern_status status = commit_assembler_commit(&replay->assembler, record->payload,
                                                 record->payload_size, &encoding, error);
    if (status == TERN_OK) {
        arena_reset(&replay->arena);
        status = commit_decode(encoding.data, encoding.size, &replay->arena, &commit, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    if (replay->last_seq != SEQ_NONE && commit.seq <= replay->last_seq) {
        return ERROR_SET(error, TERN_CORRUPTION,
                         "commit-order: seq %llu follows seq %llu in the log",
                         (unsigned long long)commit.seq, (unsigned long long)replay->last_seq);
    }
    status = replay_catalog(replay, &commit, error);
    for (size_t i = 0; status == TERN_OK && i < commit.part_count; i++) {
        status = replay_part(replay, &commit.parts[i], commit.seq, error);
    }
    if (status == TERN_OK) {
        replay->last_seq = commit.seq;
        replay->last_time_ms =
            commit.time_ms > replay->last_time_ms ? commit.time_ms : replay->last_time_ms;
        atomic_fetch_add_explicit(&replay->db->counters.recovered_records, commit.change_count,
                                  memory_order_relaxed);
        memory_share_use(replay->db, budget_used(&replay->db->budget, BUDGET_OVERLAY));
    }
    return status;
}

static tern_status replay_record(void *context, const struct log_record *record,
                                 tern_error *error) {
    struct replay *replay = context;
    tern_status status = TERN_OK;
    switch ((int)record->kind) {
    case LOG_RECORD_COMMIT:
    case LOG_RECORD_COPY:
        status = replay_commit(replay, record, error);
        break;
    case LOG_RECORD_PART:
        status =
            commit_assembler_part(&replay->assembler, record->payload, record->payload_size, error);
        break;
    case LOG_RECORD_CHUNK:
        status = replay_chunk(replay, record, error);
        break;
    case LOG_RECORD_TICK:
        if (record->payload_size == COMMIT_TICK_BYTES) {
            uint64_t time_ms = get_u64(record->payload);
            replay->last_time_ms = time_ms > replay->last_time_ms ? time_ms : replay->last_time_ms;
        }
        break;
    case LOG_RECORD_MARK:
        break;
    default:
        status = ERROR_SET(error, TERN_VERSION,
                           "the log holds a record of kind %d, which this release does not know; "
                           "use a newer release",
                           (int)record->kind);
    }
    return status == TERN_OK ? TERN_OK : place_error(record, status, error);
}

/*
 * A partition that a conversion was building goes at this open anyway, so one that cannot even be
 * opened is no reason to stay closed: unless the log says that the keyspace has become it.
 */
static bool is_given_up(struct tern_db *db, const struct manifest *manifest,
                        const struct log_options *options, const struct manifest_keyspace *entry,
                        tern_status status) {
    bool is_done = true;
    bool is_damage = status == TERN_CORRUPTION || status == TERN_NOT_FOUND || status == TERN_IO;
    if (!is_damage || entry->shown_seq != SEQ_MAX ||
        conversion_search(options, manifest->log_start, entry->id, &is_done, NULL) != TERN_OK ||
        is_done) {
        return false;
    }
    atomic_fetch_add_explicit(&db->counters.conversions_undone, 1, memory_order_relaxed);
    return true;
}

static tern_status open_keyspaces(struct tern_db *db, const struct manifest *manifest,
                                  const struct log_options *options, tern_error *error) {
    for (size_t i = 0; i < manifest->keyspace_count; i++) {
        const struct manifest_keyspace *entry = &manifest->keyspaces[i];
        struct engine_drained drained;
        tern_keyspace *keyspace;
        tern_error failure = TERN_ERROR_INIT;
        /* Commits state twice the id. */
        if (entry->id > UINT64_MAX / 2 || catalog_by_id(db, entry->id) != NULL) {
            return ERROR_SET(error, TERN_CORRUPTION,
                             "manifest-keyspace: partition %" PRIu64 " is there twice, or none",
                             (uint64_t)entry->id);
        }
        if (entry->id >= atomic_load(&db->next_partition)) {
            atomic_store(&db->next_partition, entry->id + 1);
        }
        tern_status status =
            catalog_open_keyspace(db, entry->id, entry->keyspace_id, entry->name, &entry->options,
                                  entry->hash_seed, entry->state, &drained, &keyspace, &failure);
        if (status == TERN_OK) {
            atomic_store_explicit(&keyspace->shown_seq, entry->shown_seq, memory_order_relaxed);
            status = catalog_make_live(db, keyspace, entry->created_seq, &failure);
        } else if (is_given_up(db, manifest, options, entry, status)) {
            status = TERN_OK;
        }
        if (status != TERN_OK) {
            error_copy(error, &failure);
            return status;
        }
    }
    return TERN_OK;
}

/* Conversions that a crash has ended: what they built is of no use, and goes like what is dropped.
 */
static void drop_unfinished_conversions(struct tern_db *db, seq_no seq) {
    for (uint32_t i = 0; i < db->slot_count; i++) {
        if (db->slots[i] != NULL && keyspace_is_hidden(db->slots[i])) {
            catalog_mark_dropped(db, db->slots[i], seq);
        }
    }
}

/* Nobody has hashed a key yet: from here on keyspaces hash as their engines do, converted or not.
 */
static void take_hashers(struct tern_db *db) {
    for (uint32_t i = 0; i < db->slot_count; i++) {
        if (db->slots[i] != NULL) {
            db->slots[i]->hasher = db->slots[i]->engine->hasher;
            db->slots[i]->engine->rehashes = false;
        }
    }
}

tern_status recovery_run(struct tern_db *db, const struct manifest *manifest, tern_error *error) {
    struct log_options options = {
        .directory = db->path,
        .allocator = db->allocator,
        .file_system = db->options.file_system,
        .random = db->options.random,
        .segment_bytes = db->options.segment_bytes,
        .reserve_segments = 1,
        .prewrite_syncs = db->options.durability == TERN_DURABILITY_FULL ? 0 : PREWRITE_SYNCS,
        .direct_syncs = db->options.direct_log_syncs,
        .plain_io = db->options.io_mode == TERN_IO_MODE_PLAIN,
        .archive = db->options.archive,
        .archive_context = db->options.archive_context};
    struct replay replay = {.db = db, .manifest = manifest, .last_time_ms = manifest->time_ms};
    struct log_recovery recovery;
    if (db->options.read_only) {
        logged_values_init(&db->logged, &options, &db->budget);
        db->environment.logged = &db->logged.values;
    }
    creation_list_init(&replay.creations, &options, manifest->log_start, false);
    arena_init(&replay.arena, db->allocator, 16384);
    commit_assembler_init(&replay.assembler, db->allocator);
    tern_status status = open_keyspaces(db, manifest, &options, error);
    if (status == TERN_OK) {
        status =
            log_open(&options, manifest->log_start, manifest->incarnation, db->options.read_only,
                     replay_record, &replay, &recovery, &db->manager.log, error);
    }
    if (status == TERN_OK && replay.last_seq < manifest->last_seq && replay.last_seq != SEQ_NONE) {
        status =
            ERROR_SET(error, TERN_CORRUPTION,
                      "commit-missing: the manifest knows of seq %llu, the log ends at %llu; "
                      "run 'tern verify', then 'tern repair' into a new directory",
                      (unsigned long long)manifest->last_seq, (unsigned long long)replay.last_seq);
    }
    while (replay.values != NULL) {
        abandon_value(&replay, &replay.values);
    }
    if (status == TERN_OK) {
        seq_no last = replay.last_seq > manifest->last_seq ? replay.last_seq : manifest->last_seq;
        db->environment.incarnation = recovery.incarnation;
        db->manager.next_seq = last + 1;
        atomic_store(&db->manager.visible_seq, last);
        atomic_store(&db->manager.visible_time_ms, replay.last_time_ms);
        atomic_store(&db->manager.next_large_token, replay.last_token + 1);
        conflict_table_set_horizon(db->manager.conflicts, last);
        drop_unfinished_conversions(db, last);
        take_hashers(db);
    }
    commit_assembler_release(&replay.assembler);
    creation_list_release(&replay.creations);
    arena_release(&replay.arena);
    return status;
}
