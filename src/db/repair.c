/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repair: saves everything readable of a damaged directory into a new database.
 *
 * First the bases: every record that a page still yields. Then the log in order over them: what it
 * holds is newer than any base. Where the base was saved without a loss, what it holds already is
 * left out, as at recovery. Where it was not, the log's last word on a key counts; merge operands
 * that the base held (by its drained seq) are left out, so a key that is lost in the base may come
 * back as it was before them. When no manifest is whole, keyspaces are named
 * after their files ("recovered-<id>"), every page that checks out counts, and of two versions of a
 * key the one from the younger page wins.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/slice_text.h"
#include "db/conversion_search.h"
#include "db/database_directory.h"
#include "db/repair_internal.h"

#define CHANGES_PER_COMMIT 256
#define BYTES_PER_COMMIT   ((size_t)1 << 20)
#define COPY_BYTES         ((size_t)256 << 10)
#define AGES_NAME          ".repair"

/* ---- writing to the target ---- */

static tern_status flush(struct repair *repair, struct saved_keyspace *keyspace) {
    if (repair->change_count == 0) {
        return TERN_OK;
    }
    struct commit_part part = {keyspace->target, repair->changes, repair->change_count};
    struct commit_request request = {.parts = &part,
                                     .part_count = 1,
                                     .change_count = repair->change_count,
                                     .bytes = repair->bytes,
                                     .durability = TERN_DURABILITY_NONE};
    tern_status status = maintenance_throttle(repair->target, repair->bytes, repair->error);
    if (status == TERN_OK) {
        status = commit_submit(&repair->target->manager, &request);
        if (status != TERN_OK) {
            error_copy(repair->error, &request.error);
        }
    }
    repair->change_count = 0;
    repair->bytes = 0;
    arena_reset(&repair->arena);
    return status;
}

static tern_status add_change(struct repair *repair, struct saved_keyspace *keyspace,
                              const struct engine_change *change) {
    struct engine_change *copy = &repair->changes[repair->change_count];
    *copy = *change;
    copy->key = arena_copy(&repair->arena, change->key);
    copy->record.value = arena_copy(&repair->arena, change->record.value);
    if ((copy->key.data == NULL && change->key.size > 0) ||
        (copy->record.value.data == NULL && change->record.value.size > 0)) {
        return ERROR_NO_MEMORY(repair->error, "repair");
    }
    copy->key_hash = (int)change->record.kind != (int)CHANGE_DELETE_RANGE
                         ? keyspace_key_hash(keyspace->target, change->key)
                         : 0;
    repair->change_count++;
    repair->bytes += change->key.size + change->record.value.size;
    if (change->record.expires_ms != 0 && change->record.kind != RECORD_MERGE) {
        atomic_store(&repair->target->manager.has_expiring, true);
    }
    bool is_full = repair->change_count == CHANGES_PER_COMMIT || repair->bytes >= BYTES_PER_COMMIT;
    return is_full ? flush(repair, keyspace) : TERN_OK;
}

/* ---- bases ---- */

static void lose_record(struct repair *repair, const char *invariant, const char *message) {
    repair->report.lost_records++;
    verify_report_finding(&repair->sink, "", -1, invariant, message);
}

static void lose_value(struct repair *repair, tern_slice key, const struct record *record,
                       const tern_error *damage) {
    char text[SLICE_TEXT_BYTES];
    tern_error error = *damage;
    (void)snprintf(error.message, sizeof(error.message),
                   "the value of %" PRIu64 " bytes of key %s in keyspace '%.64s' is lost: %.120s",
                   record->value_size, slice_text(key, text), repair->current->target->name,
                   damage->message);
    repair->report.lost_records++;
    verify_report_error(&repair->sink, &error, "value");
}

/* Copies a value stored apart; TERN_CORRUPTION, with what is wrong in `damage`, when it cannot be
 * read. */
static tern_status copy_value(struct repair *repair, const struct record *record,
                              uint8_t *out_reference, size_t *out_size, tern_error *damage) {
    struct saved_keyspace *keyspace = repair->current;
    const struct engine_methods *methods = keyspace->target->methods;
    struct engine_large_writer *writer;
    uint64_t offset = 0;
    if (keyspace->source == NULL) {
        return ERROR_SET(damage, TERN_CORRUPTION, "its file cannot be opened");
    }
    tern_status status = methods->large_begin(keyspace->target->engine, &writer, repair->error);
    if (status != TERN_OK) {
        return status;
    }
    while (status == TERN_OK && offset < record->value_size) {
        size_t size = 0;
        status = keyspace->methods->large_read(keyspace->source, record->value, offset,
                                               repair->chunk, COPY_BYTES, &size, damage);
        if (status == TERN_OK && size == 0) {
            status = ERROR_SET(damage, TERN_CORRUPTION, "it ends early");
        }
        if (status == TERN_OK) {
            status = methods->large_append(writer, repair->chunk, size, repair->error);
            offset += size;
        }
    }
    if (status != TERN_OK) {
        methods->large_abandon(writer);
        return status;
    }
    return methods->large_finish(writer, out_reference, out_size, repair->error);
}

/* Without a manifest: is this page's version of the key older than one already saved? */
static tern_status is_older(struct repair *repair, tern_slice key, uint64_t generation,
                            bool *out_older) {
    uint8_t age[8];
    size_t size = 0;
    *out_older = false;
    tern_status status = tern_get(repair->ages, key, age, sizeof(age), &size, repair->error);
    if (status == TERN_OK && size == sizeof(age) && get_u64(age) > generation) {
        *out_older = true;
        return TERN_OK;
    }
    if (status != TERN_OK && status != TERN_NOT_FOUND) {
        return status;
    }
    put_u64(age, generation);
    return tern_put(repair->ages, key, tern_slice_of(age, sizeof(age)), NULL, repair->error);
}

static tern_status save_record(void *context, tern_slice key, const struct record *record,
                               uint64_t generation) {
    struct repair *repair = context;
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    struct engine_change change = {.key = key, .record = *record};
    if (!repair->has_manifest) {
        bool older;
        tern_status status = is_older(repair, key, generation, &older);
        if (status != TERN_OK || older) {
            return status;
        }
    }
    if (record->kind == RECORD_LARGE) {
        size_t size = 0;
        tern_error damage = TERN_ERROR_INIT;
        tern_status status = copy_value(repair, record, reference, &size, &damage);
        if (status == TERN_CORRUPTION) {
            lose_value(repair, key, record, &damage);
            return TERN_OK;
        }
        if (status != TERN_OK) {
            return status;
        }
        change.record.value = tern_slice_of(reference, size);
    }
    repair->report.records++;
    if (repair->progress != NULL && repair->report.records % 4096 == 0 &&
        !repair->progress(repair->progress_context, repair->current->target->name,
                          repair->report.records, 0)) {
        return ERROR_SET(repair->error, TERN_CANCELLED, "the repair was cancelled");
    }
    return add_change(repair, repair->current, &change);
}

/* Opens the source's engine if it can be; it serves only to read values stored apart. */
static void open_source(struct repair *repair, struct saved_keyspace *keyspace,
                        const struct engine_config *config, tern_slice state) {
    struct engine_drained drained = {0};
    tern_error error = TERN_ERROR_INIT;
    if (keyspace->methods->open(&repair->reader.environment, config, state, &keyspace->source,
                                &drained, &error) != TERN_OK) {
        keyspace->source = NULL;
        verify_report_error(&repair->sink, &error, "base");
        return;
    }
    keyspace->drained_seq = drained.complete_seq;
}

static tern_status save_keyspace(struct repair *repair, struct saved_keyspace *keyspace,
                                 const struct manifest_keyspace *entry) {
    struct engine_config config = {
        .id = entry->id, .hasher = key_hasher_make(entry->options.hash_function, entry->hash_seed)};
    char name[TERN_KEYSPACE_NAME_BYTES + 1];
    uint64_t lost_pages = 0;
    uint64_t lost_records = repair->report.lost_records;
    tern_status status = catalog_check_options(&entry->options, &config.options, repair->error);
    if (status != TERN_OK) {
        return status;
    }
    memcpy(name, entry->name.data, entry->name.size);
    name[entry->name.size] = '\0';
    keyspace->id = entry->id;
    keyspace->methods = engine_methods_of(config.options.engine);
    status = tern_keyspace_create(repair->target, name, &config.options, &keyspace->target,
                                  repair->error);
    if (status != TERN_OK) {
        return status;
    }
    repair->report.keyspaces++;
    open_source(repair, keyspace, &config, entry->state);
    repair->current = keyspace;
    status = keyspace->methods->salvage(&repair->reader.environment, &config, entry->state,
                                        save_record, repair, verify_sink_finding, &repair->sink,
                                        &lost_pages, repair->error);
    repair->report.lost_pages += lost_pages;
    keyspace->is_whole =
        keyspace->source != NULL && lost_pages == 0 && repair->report.lost_records == lost_records;
    return status == TERN_OK ? flush(repair, keyspace) : status;
}

/* ---- the log ---- */

static struct saved_value **find_value(struct repair *repair, uint64_t token) {
    struct saved_value **link = &repair->values;
    while (*link != NULL && (*link)->token != token) {
        link = &(*link)->next;
    }
    return link;
}

static void drop_value(struct repair *repair, struct saved_value **link) {
    struct saved_value *value = *link;
    *link = value->next;
    if (value->writer != NULL) {
        value->target->methods->large_abandon(value->writer);
    }
    memory_release(repair->reader.options.allocator, value);
}

/* Before the keyspace goes that they were for. */
static void drop_values_of(struct repair *repair, const tern_keyspace *target) {
    for (struct saved_value **link = &repair->values; *link != NULL;) {
        if ((*link)->target == target) {
            drop_value(repair, link);
        } else {
            link = &(*link)->next;
        }
    }
}

/* Their commits never came. */
static void forget_pending(struct repair *repair) {
    for (size_t i = 0; i < repair->keyspace_count; i++) {
        struct saved_keyspace *keyspace = &repair->keyspaces[i];
        if (keyspace->target != NULL && keyspace->is_pending) {
            drop_values_of(repair, keyspace->target);
            database_keyspace_forget(keyspace->target);
            keyspace->target = NULL;
        }
    }
}

/* One that is pending waits for a creation that is lost. */
static tern_status drop_saved(struct repair *repair, struct saved_keyspace *keyspace) {
    tern_keyspace *target = keyspace->target;
    keyspace->target = NULL;
    drop_values_of(repair, target);
    if (keyspace->is_pending) {
        database_keyspace_forget(target);
        return TERN_OK;
    }
    return tern_keyspace_drop(repair->target, target->name, repair->error);
}

static tern_status save_catalog(struct repair *repair, const struct decoded_commit *commit) {
    tern_status status = TERN_OK;
    bool is_known = repair->has_manifest && commit->seq <= repair->reader.manifest.catalog_seq;
    for (size_t i = 0; !is_known && status == TERN_OK && i < commit->catalog_count; i++) {
        const struct decoded_catalog_change *change = &commit->catalog[i];
        struct saved_keyspace *keyspace = repair_keyspace(repair, change->id);
        if (change->kind == CATALOG_DROP && keyspace != NULL) {
            status = drop_saved(repair, keyspace);
        } else if (change->kind == CATALOG_CREATE) {
            if (keyspace == NULL) {
                status = repair_prepare_created(repair, change, &keyspace);
            }
            if (status == TERN_OK && keyspace->is_pending) {
                status = repair_commit_creation(repair, keyspace);
            }
        }
    }
    return status;
}

/* As replay does: a keyspace that the value's own transaction creates is opened ahead of it. */
static tern_status keyspace_of_value(struct repair *repair, partition_id id,
                                     struct saved_keyspace **out_keyspace) {
    struct decoded_catalog_change change;
    *out_keyspace = repair_keyspace(repair, id);
    if (*out_keyspace != NULL) {
        return TERN_OK;
    }
    const struct manifest *manifest = repair->has_manifest ? &repair->reader.manifest : NULL;
    seq_no after = manifest != NULL && manifest->catalog_seq > repair->last_seq
                       ? manifest->catalog_seq
                       : repair->last_seq;
    tern_status status = creation_list_find(&repair->creations, id, after, &change, repair->error);
    if (status == TERN_OK) {
        status = repair_prepare_created(repair, &change, out_keyspace);
    } else if (status == TERN_NOT_FOUND) {
        status = repair_prepare_unnamed(repair, id, out_keyspace);
    }
    return status;
}

static tern_status save_chunk(struct repair *repair, const struct log_record *record) {
    if (record->payload_size < COMMIT_CHUNK_HEADER_BYTES) {
        return TERN_OK;
    }
    uint64_t token = get_u64(record->payload);
    uint64_t offset = get_u64(record->payload + 16);
    struct saved_keyspace *keyspace = NULL;
    struct saved_value **link = find_value(repair, token);
    if (*link != NULL && offset == 0) {
        drop_value(repair, link); /* given up; tokens may begin anew after a recovery */
        link = find_value(repair, token);
    }
    struct saved_value *value = *link;
    if (value == NULL && offset != 0) {
        return TERN_OK;
    }
    tern_status status = keyspace_of_value(repair, get_u64(record->payload + 8), &keyspace);
    if (status != TERN_OK || keyspace == NULL) {
        return status;
    }
    if (value == NULL) {
        value = memory_allocate_zeroed(repair->reader.options.allocator, sizeof(*value));
        if (value == NULL) {
            return ERROR_NO_MEMORY(repair->error, "repair");
        }
        *value = (struct saved_value){repair->values, token, 0, keyspace->target, NULL};
        repair->values = value;
        status = keyspace->target->methods->large_begin(keyspace->target->engine, &value->writer,
                                                        repair->error);
    }
    if (status == TERN_OK && value->size == offset && value->writer != NULL) {
        size_t size = record->payload_size - COMMIT_CHUNK_HEADER_BYTES;
        status = keyspace->target->methods->large_append(
            value->writer, record->payload + COMMIT_CHUNK_HEADER_BYTES, size, repair->error);
        value->size += size;
    }
    return status;
}

static tern_status save_large(struct repair *repair, struct saved_keyspace *keyspace,
                              struct engine_change *change) {
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    struct saved_value **link = find_value(repair, change->large_token);
    struct saved_value *value = *link;
    size_t size = 0;
    if (value == NULL || value->size != change->record.value_size ||
        value->target != keyspace->target) {
        /* Either the base has it, or its chunks are lost. */
        if (value != NULL) {
            lose_record(repair, "value", "a large value in the log is incomplete");
            drop_value(repair, link);
        }
        return TERN_OK;
    }
    tern_status status =
        keyspace->target->methods->large_finish(value->writer, reference, &size, repair->error);
    value->writer = NULL;
    drop_value(repair, link);
    if (status == TERN_OK) {
        change->record.value = tern_slice_of(reference, size);
        status = add_change(repair, keyspace, change);
    }
    return status;
}

/* Where the changes of a part go; NULL: nowhere. */
static tern_status keyspace_of_part(struct repair *repair, const struct decoded_part *part,
                                    bool is_copy, struct saved_keyspace **out_keyspace) {
    struct saved_keyspace *keyspace = repair_keyspace(repair, part->id);
    tern_status status = TERN_OK;
    if (keyspace == NULL && !is_copy) {
        status = repair_prepare_unnamed(repair, part->id, &keyspace);
    }
    if (status == TERN_OK && keyspace != NULL && keyspace->is_pending && keyspace->is_unnamed) {
        status = repair_commit_creation(repair, keyspace);
    }
    *out_keyspace = keyspace != NULL && !keyspace->is_pending ? keyspace : NULL;
    return status;
}

static tern_status save_part(struct repair *repair, struct decoded_part *part, bool is_copy,
                             seq_no seq) {
    struct saved_keyspace *keyspace = NULL;
    tern_status status = keyspace_of_part(repair, part, is_copy, &keyspace);
    if (status != TERN_OK || keyspace == NULL) {
        return status;
    }
    if (keyspace->is_whole) {
        decoded_part_hash(part, &keyspace->source->hasher);
    }
    for (size_t i = 0; status == TERN_OK && i < part->count; i++) {
        struct engine_change *change = &part->changes[i];
        if ((int)change->record.kind != (int)CHANGE_DELETE_RANGE &&
            change->key.size > keyspace->target->key_bytes_max) {
            lose_record(repair, "commit-key", "a key in the log is too long for its keyspace");
            continue;
        }
        bool is_lacking = change->record.kind != RECORD_MERGE || seq > keyspace->drained_seq;
        if (keyspace->is_whole) {
            status =
                keyspace->methods->lacks(keyspace->source, change, seq, &is_lacking, repair->error);
        }
        if (status != TERN_OK || !is_lacking) {
            continue; /* a value apart that was put together is given up at the end */
        }
        status = change->record.kind == RECORD_LARGE ? save_large(repair, keyspace, change)
                                                     : add_change(repair, keyspace, change);
    }
    return status == TERN_OK ? flush(repair, keyspace) : status;
}

static tern_status save_log_record(void *context, const struct log_record *record,
                                   tern_error *error) {
    struct repair *repair = context;
    tern_slice encoding;
    struct decoded_commit commit;
    tern_error found = TERN_ERROR_INIT;
    (void)error;
    if (record->kind == LOG_RECORD_CHUNK) {
        return save_chunk(repair, record);
    }
    tern_status status = TERN_OK;
    if (record->kind == LOG_RECORD_PART) {
        status = commit_assembler_part(&repair->assembler, record->payload, record->payload_size,
                                       &found);
    } else if (record->kind == LOG_RECORD_COMMIT || record->kind == LOG_RECORD_COPY) {
        arena_reset(&repair->log_arena);
        status = commit_assembler_commit(&repair->assembler, record->payload, record->payload_size,
                                         &encoding, &found);
        if (status == TERN_OK) {
            status =
                commit_decode(encoding.data, encoding.size, &repair->log_arena, &commit, &found);
        }
        if (status == TERN_OK) {
            repair->report.log_records++;
            status = save_catalog(repair, &commit);
            repair->last_seq = commit.seq > repair->last_seq ? commit.seq : repair->last_seq;
            for (size_t i = 0; status == TERN_OK && i < commit.part_count; i++) {
                status = save_part(repair, &commit.parts[i], record->kind == LOG_RECORD_COPY,
                                   commit.seq);
            }
            return status;
        }
    }
    if (status == TERN_CORRUPTION) {
        repair->report.lost_records++;
        verify_report_error(&repair->sink, &found, "commit-record");
        status = TERN_OK;
    }
    return status;
}

/* ---- without a manifest ---- */

struct found_files {
    struct repair *repair;
    tern_status status;
};

static tern_engine_kind kind_of_file(const char *name) {
    const char *suffix = strrchr(name, '.');
    return strcmp(suffix, ".btree") == 0  ? TERN_ENGINE_BTREE
           : strcmp(suffix, ".hash") == 0 ? TERN_ENGINE_HASH
                                          : TERN_ENGINE_LSM;
}

static tern_engine_kind kind_of_methods(const struct engine_methods *methods) {
    return methods == engine_methods_of(TERN_ENGINE_LSM)    ? TERN_ENGINE_LSM
           : methods == engine_methods_of(TERN_ENGINE_HASH) ? TERN_ENGINE_HASH
                                                            : TERN_ENGINE_BTREE;
}

static bool visit_file(void *context, const char *name) {
    struct found_files *found = context;
    struct repair *repair = found->repair;
    char *end;
    if (strncmp(name, "p-", 2) != 0 || strlen(name) < 19 || name[18] != '.') {
        return true;
    }
    partition_id id = strtoull(name + 2, &end, 16);
    if (end != name + 18 || id == 0) {
        return true;
    }
    for (size_t i = 0; i < repair->keyspace_count; i++) {
        if (repair->keyspaces[i].id == id) {
            return true; /* another of its files */
        }
    }
    found->status = repair_grow(repair, 1);
    if (found->status == TERN_OK) {
        struct saved_keyspace *keyspace = &repair->keyspaces[repair->keyspace_count++];
        keyspace->id = id;
        keyspace->methods = engine_methods_of(kind_of_file(name));
    }
    return found->status == TERN_OK;
}

static tern_status save_found_files(struct repair *repair) {
    struct found_files found = {repair, TERN_OK};
    const tern_file_system *file_system = repair->reader.options.file_system;
    tern_status status =
        tern_keyspace_create(repair->target, AGES_NAME, NULL, &repair->ages, repair->error);
    if (status == TERN_OK) {
        status = file_system->list(file_system->context, repair->reader.path, visit_file, &found,
                                   repair->error);
    }
    status = status == TERN_OK ? found.status : status;
    for (size_t i = 0; status == TERN_OK && i < repair->keyspace_count; i++) {
        char name[REPAIR_NAME_BYTES];
        repair_recovered_name(repair->keyspaces[i].id, name);
        struct manifest_keyspace entry = {.id = repair->keyspaces[i].id,
                                          .options = TERN_KEYSPACE_OPTIONS_INIT,
                                          .name = tern_slice_str(name)};
        entry.options.engine = kind_of_methods(repair->keyspaces[i].methods);
        entry.options.page_bytes = 65536; /* whatever the pages were, they fit */
        status = save_keyspace(repair, &repair->keyspaces[i], &entry);
        if (status == TERN_OK) {
            status = tern_delete_range(repair->ages, NULL, NULL, NULL, repair->error);
        }
    }
    if (status == TERN_OK) {
        status = tern_keyspace_drop(repair->target, AGES_NAME, repair->error);
    }
    return status;
}

/*
 * Of a keyspace that is being converted a manifest names both partitions. It is the old one until
 * the log says otherwise; what it is not is left out, with what the log has for it.
 */
static tern_status is_left_out(struct repair *repair, const struct manifest_keyspace *entry,
                               bool *out_left_out) {
    const struct manifest *manifest = &repair->reader.manifest;
    *out_left_out = false;
    for (size_t i = 0; i < manifest->keyspace_count; i++) {
        const struct manifest_keyspace *hidden = &manifest->keyspaces[i];
        bool is_done = false;
        if (hidden->shown_seq != SEQ_MAX || hidden->keyspace_id != entry->keyspace_id) {
            continue;
        }
        tern_status status = conversion_search(&repair->reader.log_options, manifest->log_start,
                                               hidden->id, &is_done, repair->error);
        if (status != TERN_OK) {
            return status;
        }
        /* There may be several that were given up, and one that is done. */
        *out_left_out = *out_left_out || (hidden == entry) != is_done;
    }
    return TERN_OK;
}

static tern_status save_bases(struct repair *repair) {
    tern_error found = TERN_ERROR_INIT;
    tern_status status = directory_reader_manifest(&repair->reader, &found);
    repair->has_manifest = status == TERN_OK;
    if (status == TERN_CORRUPTION) {
        verify_report_error(&repair->sink, &found, "manifest");
        return save_found_files(repair);
    }
    if (status != TERN_OK) {
        error_copy(repair->error, &found);
        return status;
    }
    status = repair_grow(repair, repair->reader.manifest.keyspace_count);
    for (size_t i = 0; status == TERN_OK && i < repair->reader.manifest.keyspace_count; i++) {
        const struct manifest_keyspace *entry = &repair->reader.manifest.keyspaces[i];
        bool is_out = false;
        repair->keyspace_count++;
        status = is_left_out(repair, entry, &is_out);
        if (status == TERN_OK && !is_out) {
            status = save_keyspace(repair, &repair->keyspaces[i], entry);
        }
    }
    return status;
}

/* A record that was durable and cannot be read was a commit, or part of one. */
static bool take_log_finding(void *context, const tern_finding *finding) {
    struct repair *repair = context;
    if (strcmp(finding->invariant, "log.record") == 0) {
        repair->report.lost_records++;
    }
    return verify_sink_finding(&repair->sink, finding);
}

static tern_status save_log(struct repair *repair) {
    struct log_recovery recovery;
    log_position start = repair->has_manifest ? repair->reader.manifest.log_start : 0;
    creation_list_init(&repair->creations, &repair->reader.log_options, start, true);
    tern_status status = log_scan(&repair->reader.log_options, start, true, save_log_record, repair,
                                  take_log_finding, repair, &recovery, repair->error);
    creation_list_release(&repair->creations);
    return status;
}

static tern_status prepare(struct repair *repair, const char *target_path) {
    tern_db_options options = repair->reader.options;
    tern_status status = database_copy_begin(target_path, &options, &repair->target, repair->error);
    if (status == TERN_OK) {
        const tern_allocator *allocator = repair->reader.options.allocator;
        repair->changes =
            memory_allocate(allocator, CHANGES_PER_COMMIT * sizeof(repair->changes[0]));
        repair->chunk = memory_allocate(allocator, COPY_BYTES);
        if (repair->changes == NULL || repair->chunk == NULL) {
            status = ERROR_NO_MEMORY(repair->error, "repair");
        }
    }
    return status;
}

static void finish(struct repair *repair) {
    const tern_allocator *allocator = repair->reader.options.allocator;
    while (repair->values != NULL) {
        drop_value(repair, &repair->values);
    }
    for (size_t i = 0; i < repair->keyspace_count; i++) {
        if (repair->keyspaces[i].source != NULL) {
            directory_reader_quiesce(&repair->reader);
            repair->keyspaces[i].methods->close(repair->keyspaces[i].source);
        }
    }
    memory_release(allocator, repair->keyspaces);
    memory_release(allocator, repair->changes);
    memory_release(allocator, repair->chunk);
    arena_release(&repair->arena);
    arena_release(&repair->log_arena);
    commit_assembler_release(&repair->assembler);
    directory_reader_close(&repair->reader);
}

tern_status tern_repair(const char *path, const char *target_path, const tern_db_options *options,
                        tern_finding_function on_finding, void *context,
                        tern_progress_function progress, void *progress_context,
                        tern_repair_report *out_report, tern_error *error) {
    struct repair repair = {.sink = {on_finding, context, 0, false},
                            .progress = progress,
                            .progress_context = progress_context,
                            .error = error};
    REQUIRE(error, target_path != NULL && target_path[0] != '\0', "no target_path");
    REQUIRE(error, out_report != NULL, "no out_report");
    tern_status status = directory_reader_open(&repair.reader, path, options, error);
    if (status != TERN_OK) {
        return status;
    }
    const tern_allocator *allocator = repair.reader.options.allocator;
    arena_init(&repair.arena, allocator, 65536);
    arena_init(&repair.log_arena, allocator, 65536);
    commit_assembler_init(&repair.assembler, allocator);
    status = prepare(&repair, target_path);
    if (status == TERN_OK) {
        status = save_bases(&repair);
    }
    if (status == TERN_OK) {
        status = save_log(&repair);
    }
    while (repair.values != NULL) {
        drop_value(&repair, &repair.values);
    }
    forget_pending(&repair);
    if (status == TERN_OK) {
        status = tern_checkpoint(repair.target, error);
    }
    if (repair.target != NULL) {
        status = database_copy_end(repair.target, target_path, repair.reader.options.file_system,
                                   status, error);
    }
    finish(&repair);
    if (status == TERN_OK) {
        *out_report = repair.report;
    }
    return status;
}
