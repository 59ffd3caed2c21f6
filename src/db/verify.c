/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying: of an open database (through a snapshot, beside readers and writers), and of a
 * directory that nobody has open, without changing it, also when it cannot be opened.
 */
#include <stdio.h>

#include "base/error.h"
#include "db/database_internal.h"
#include "db/verify_internal.h"
#include "txn/commit_codec.h"

void verify_report_finding(struct verify_sink *sink, const char *file, int64_t offset,
                           const char *invariant, const char *message) {
    tern_finding finding = {file, offset, invariant, message};
    sink->count++;
    if (sink->on_finding != NULL && !sink->is_stopped) {
        sink->is_stopped = !sink->on_finding(sink->context, &finding);
    }
}

bool verify_sink_finding(void *context, const tern_finding *finding) {
    struct verify_sink *sink = context;
    verify_report_finding(sink, finding->file, finding->offset, finding->invariant,
                          finding->message);
    return !sink->is_stopped;
}

/* An error met on the way becomes a finding; the invariant is the word before the colon. */
void verify_report_error(struct verify_sink *sink, const tern_error *error, const char *invariant) {
    char name[64];
    const char *message = error->message;
    const char *colon = strstr(message, ": ");
    size_t size = colon != NULL ? (size_t)(colon - message) : 0;
    if (size > 0 && size < sizeof(name) && memchr(message, ' ', size) == NULL) {
        memcpy(name, message, size);
        name[size] = '\0';
        invariant = name;
        message = colon + 2;
    }
    const char *slash = strrchr(error->file, '/');
    verify_report_finding(sink, slash != NULL ? slash + 1 : error->file, error->offset, invariant,
                          message);
}

/* ---- the log ---- */

struct log_check {
    struct verify_sink *sink;
    struct arena arena;
    struct commit_assembler assembler;
    seq_no last_seq;
    uint64_t records;
};

static tern_status check_record(void *context, const struct log_record *record, tern_error *error) {
    struct log_check *check = context;
    tern_slice encoding;
    struct decoded_commit commit;
    tern_error found = TERN_ERROR_INIT;
    tern_status status = TERN_OK;
    (void)error;
    check->records++;
    if (record->kind == LOG_RECORD_PART) {
        status =
            commit_assembler_part(&check->assembler, record->payload, record->payload_size, &found);
    } else if (record->kind == LOG_RECORD_COMMIT || record->kind == LOG_RECORD_COPY) {
        arena_reset(&check->arena);
        status = commit_assembler_commit(&check->assembler, record->payload, record->payload_size,
                                         &encoding, &found);
        if (status == TERN_OK) {
            status = commit_decode(encoding.data, encoding.size, &check->arena, &commit, &found);
        }
        if (status == TERN_OK && commit.seq <= check->last_seq) {
            status = ERROR_SET(&found, TERN_CORRUPTION, "commit-order: seq %llu follows %llu",
                               (unsigned long long)commit.seq, (unsigned long long)check->last_seq);
        }
        if (status == TERN_OK) {
            check->last_seq = commit.seq;
        }
    }
    if (status == TERN_CORRUPTION) {
        char name[32];
        (void)snprintf(name, sizeof(name), "log segment %u",
                       log_position_segment(record->position));
        verify_report_finding(check->sink, name, log_position_offset(record->position),
                              "commit-record", found.message);
        status = TERN_OK;
    }
    return status;
}

static tern_status verify_log(const struct log_options *options, log_position start,
                              struct verify_sink *sink, tern_verify_report *report,
                              tern_error *error) {
    struct log_check check = {.sink = sink};
    struct log_recovery recovery;
    arena_init(&check.arena, options->allocator, 16384);
    commit_assembler_init(&check.assembler, options->allocator);
    tern_status status = log_scan(options, start, false, check_record, &check, verify_sink_finding,
                                  sink, &recovery, error);
    report->log_records += check.records;
    commit_assembler_release(&check.assembler);
    arena_release(&check.arena);
    return status;
}

/* Unable to go on is not a finding: only damage is. */
static bool is_damage(tern_status status) {
    return status == TERN_CORRUPTION || status == TERN_VERSION;
}

/* ---- an open database ---- */

struct keyspace_check {
    struct tern_db *db;
    struct snapshot *snapshot;
    struct verify_sink *sink;
    tern_progress_function progress;
    void *progress_context;
    tern_verify_report *report;
    tern_error *error;
    tern_status status;
};

static bool check_keyspace(void *context, tern_keyspace *keyspace) {
    struct keyspace_check *check = context;
    struct engine_view *part = view_part(check->snapshot->view, keyspace);
    tern_error error = TERN_ERROR_INIT;
    if (part == NULL) {
        return true;
    }
    tern_status status =
        part->methods->verify(part, verify_sink_finding, check->sink, check->progress,
                              check->progress_context, check->report, &error);
    if (is_damage(status)) {
        verify_report_error(check->sink, &error, "base");
        status = TERN_OK;
    }
    if (status != TERN_OK) {
        error_copy(check->error, &error);
        check->status = status;
    }
    return status == TERN_OK && !check->sink->is_stopped;
}

/*
 * The log from where replay would begin now. A reader that stands there keeps it from being
 * recycled; checkpoints go on meanwhile.
 */
static tern_status verify_open_log(tern_db *db, struct verify_sink *sink,
                                   tern_verify_report *report, tern_error *error) {
    struct log_options options = {.directory = db->path,
                                  .allocator = db->allocator,
                                  .file_system = db->options.file_system,
                                  .random = db->options.random,
                                  .segment_bytes = db->options.segment_bytes,
                                  .reserve_segments = 1};
    struct log_reader *reader = NULL;
    tern_status status = TERN_OK;
    mutex_lock(&db->maintenance_mutex);
    log_position start = db->maintenance.log_start;
    if (!db->options.read_only) {
        status = log_reader_open(db->manager.log, start, &reader, error);
    }
    mutex_unlock(&db->maintenance_mutex);
    if (status == TERN_OK) {
        status = verify_log(&options, start, sink, report, error);
    }
    if (reader != NULL) {
        log_reader_close(reader);
        checkpoint_release_log_soon(db);
    }
    return status;
}

tern_status tern_verify(tern_db *db, tern_finding_function on_finding, void *context,
                        tern_progress_function progress, void *progress_context,
                        tern_verify_report *out_report, tern_error *error) {
    struct verify_sink sink = {on_finding, context, 0, false};
    struct snapshot snapshot = {0};
    tern_verify_report report = {0};
    REQUIRE(error, db != NULL, "no database");
    REQUIRE(error, out_report != NULL, "no out_report");
    tern_status status = snapshot_take(&db->manager, &snapshot, error);
    if (status != TERN_OK) {
        return status;
    }
    struct keyspace_check check = {db,      &snapshot, &sink,  progress, progress_context,
                                   &report, error,     TERN_OK};
    status = tern_keyspace_list(db, check_keyspace, &check, error);
    if (status == TERN_OK) {
        status = check.status;
    }
    if (status == TERN_OK && !sink.is_stopped) {
        status = verify_open_log(db, &sink, &report, error);
    }
    snapshot_drop(&db->manager, &snapshot);
    report.findings = sink.count;
    if (status == TERN_OK) {
        *out_report = report;
    }
    return status;
}

/* ---- a directory ---- */

static tern_status verify_slots(struct directory_reader *reader, struct verify_sink *sink) {
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        tern_error error = TERN_ERROR_INIT;
        tern_status status = manifest_check_slot(reader->manifest_file, i, &error);
        if (is_damage(status)) {
            verify_report_error(sink, &error, "manifest");
        } else if (status != TERN_OK) {
            return status;
        }
    }
    return TERN_OK;
}

static tern_status verify_partition(struct directory_reader *reader,
                                    const struct manifest_keyspace *entry, struct verify_sink *sink,
                                    tern_progress_function progress, void *progress_context,
                                    tern_verify_report *report, tern_error *error) {
    struct engine_config config = {
        .id = entry->id, .hasher = key_hasher_make(entry->options.hash_function, entry->hash_seed)};
    struct engine_drained drained;
    struct engine *engine = NULL;
    tern_error found = TERN_ERROR_INIT;
    tern_status status = catalog_check_options(&entry->options, &config.options, &found);
    if (status != TERN_OK) {
        verify_report_error(sink, &found, "manifest-keyspace");
        return TERN_OK;
    }
    const struct engine_methods *methods = engine_methods_of(config.options.engine);
    status = methods->open(&reader->environment, &config, entry->state, &engine, &drained, &found);
    if (status == TERN_OK) {
        struct engine_view *view = methods->current_view(engine);
        status = methods->verify(view, verify_sink_finding, sink, progress, progress_context,
                                 report, &found);
        engine_view_release(view, reader->environment.epoch);
    }
    if (is_damage(status)) {
        verify_report_error(sink, &found, "base");
        status = TERN_OK;
    } else if (status != TERN_OK) {
        error_copy(error, &found);
    }
    if (engine != NULL) {
        directory_reader_quiesce(reader);
        methods->close(engine);
    }
    return status;
}

tern_status tern_verify_directory(const char *path, const tern_db_options *options,
                                  tern_finding_function on_finding, void *context,
                                  tern_progress_function progress, void *progress_context,
                                  tern_verify_report *out_report, tern_error *error) {
    struct verify_sink sink = {on_finding, context, 0, false};
    struct directory_reader reader;
    tern_verify_report report = {0};
    tern_error found = TERN_ERROR_INIT;
    REQUIRE(error, out_report != NULL, "no out_report");
    tern_status status = directory_reader_open(&reader, path, options, error);
    if (status != TERN_OK) {
        return status;
    }
    report.files = 1;
    status = directory_reader_manifest(&reader, &found);
    if (is_damage(status)) {
        verify_report_error(&sink, &found, "manifest");
        status = TERN_OK;
    } else if (status != TERN_OK) {
        error_copy(error, &found);
    } else {
        status = verify_slots(&reader, &sink);
        for (size_t i = 0;
             status == TERN_OK && !sink.is_stopped && i < reader.manifest.keyspace_count; i++) {
            status = verify_partition(&reader, &reader.manifest.keyspaces[i], &sink, progress,
                                      progress_context, &report, error);
        }
        if (status == TERN_OK && !sink.is_stopped) {
            status =
                verify_log(&reader.log_options, reader.manifest.log_start, &sink, &report, error);
        }
    }
    directory_reader_close(&reader);
    report.findings = sink.count;
    if (status == TERN_OK) {
        *out_report = report;
    }
    return status;
}
