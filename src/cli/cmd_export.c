/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export: records of one moment into a file. Keys come from a cursor in batches, their values from
 * a multi-get into slots; values that do not fit their slot are read apart, and large ones go to
 * the dump a chunk at a time, so that memory stays bounded whatever the values' sizes.
 */
#include "cli/interrupt.h"
#include "cli/quantity.h"
#include "cli/run.h"
#include "cli/transfer.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH_KEYS = 256, SLOT_BYTES = 8 * 1024 };
/* JSON Lines and CSV hold a value in memory while they write it. */
#define WHOLE_VALUE_BYTES_MAX ((uint64_t)256 << 20)

struct export {
    struct session *session;
    struct work work;
    struct record_options options;
    struct record_sink *sink;
    struct key_range range;
    FILE *stream;
    tern_keyspace *keyspace;
    tern_cursor *cursor;
    char *slots;
    struct buffer whole;
    uint64_t records, keyspaces, total;
    struct progress progress;
};

static tern_status fail_read(struct export *export, tern_status status) {
    return session_fail_txn(export->session, status, export->work.txn);
}

static tern_status stream_large(struct export *export, tern_slice key, uint64_t value_size) {
    record_sink_large(export->sink, key, value_size);
    char *chunk = buffer_reserve(&export->whole, DUMP_CHUNK_BYTES);
    for (uint64_t offset = 0; offset < value_size;) {
        size_t size = 0;
        tern_status status = tern_txn_read(export->work.txn, export->keyspace, key, offset, chunk,
                                           DUMP_CHUNK_BYTES, &size, NULL);
        if (status != TERN_OK) {
            return fail_read(export, status);
        }
        if (size == 0 || size > value_size - offset) {
            return session_fail(export->session, TERN_CORRUPTION,
                                "a value has another size than was told");
        }
        record_sink_chunk(export->sink, tern_slice_of(chunk, size));
        offset += size;
        if (interrupt_is_pending()) {
            return session_fail(export->session, TERN_CANCELLED, "cancelled");
        }
    }
    return TERN_OK;
}

static tern_status write_apart(struct export *export, tern_slice key, uint64_t value_size) {
    if (value_size > TRANSFER_LARGE_BYTES && record_sink_takes_chunks(export->sink)) {
        return stream_large(export, key, value_size);
    }
    if (value_size > WHOLE_VALUE_BYTES_MAX) {
        return session_fail(export->session, TERN_TOO_LARGE,
                            "a value is larger than 256 MiB; export it with --format dump");
    }
    buffer_clear(&export->whole);
    char *bytes = buffer_reserve(&export->whole, (size_t)value_size);
    size_t size = 0;
    tern_status status =
        tern_txn_get(export->work.txn, export->keyspace, key, bytes, (size_t)value_size, &size);
    if (status != TERN_OK) {
        return fail_read(export, status);
    }
    record_sink_pair(export->sink, key, tern_slice_of(bytes, size));
    return TERN_OK;
}

static tern_status write_batch(struct export *export, const tern_entry *entries, size_t count) {
    tern_get_request requests[BATCH_KEYS];
    for (size_t i = 0; i < count; i++) {
        requests[i] = (tern_get_request){.key = entries[i].key,
                                         .buffer = export->slots + i * SLOT_BYTES,
                                         .capacity = SLOT_BYTES};
    }
    tern_status status = tern_txn_multi_get(export->work.txn, export->keyspace, requests, count);
    for (size_t i = 0; status == TERN_OK && i < count; i++) {
        if (requests[i].status == TERN_OK) {
            record_sink_pair(export->sink, requests[i].key,
                             tern_slice_of(requests[i].buffer, requests[i].value_size));
        } else if (requests[i].status == TERN_BUFFER_TOO_SMALL) {
            status = write_apart(export, requests[i].key, requests[i].value_size);
            if (status != TERN_OK) {
                return status;
            }
        } else {
            status = requests[i].status;
        }
    }
    export->records += count;
    return status == TERN_OK ? TERN_OK : fail_read(export, status);
}

static tern_status write_entries(struct export *export) {
    tern_entry entries[BATCH_KEYS];
    for (;;) {
        size_t count = 0;
        tern_status status = tern_cursor_next_batch(export->cursor, entries, BATCH_KEYS, &count);
        if (status == TERN_NOT_FOUND) {
            return TERN_OK;
        }
        if (status != TERN_OK) {
            export->session->error = *tern_cursor_error(export->cursor);
            return status;
        }
        status = write_batch(export, entries, count);
        if (status != TERN_OK) {
            return status;
        }
        if (ferror(export->stream) != 0) {
            return fail_file(&export->session->error, errno, "output", "writing failed");
        }
        if (interrupt_is_pending()) {
            return session_fail(export->session, TERN_CANCELLED, "cancelled");
        }
        progress_update(&export->progress, "export", export->records, export->records,
                        export->total);
    }
}

static tern_status export_keyspace(struct export *export, tern_keyspace *keyspace) {
    tern_cursor_options options = TERN_CURSOR_OPTIONS_INIT;
    tern_keyspace_options keyspace_options = TERN_KEYSPACE_OPTIONS_INIT;
    uint64_t count = 0;
    uint64_t bytes = 0;
    options.begin = key_range_begin(&export->range);
    options.end = key_range_end(&export->range);
    options.keys_only = true;
    export->keyspace = keyspace;
    tern_keyspace_get_options(keyspace, &keyspace_options);
    /* For the time left; it may be wrong, or fail, without harm. */
    if (tern_txn_estimate(export->work.txn, keyspace, options.begin, options.end, &count, &bytes) ==
        TERN_OK) {
        export->total += count;
    }
    record_sink_keyspace(export->sink, tern_keyspace_name(keyspace), &keyspace_options);
    tern_status status = tern_cursor_open(export->work.txn, keyspace, &options, &export->cursor);
    if (status != TERN_OK) {
        return fail_read(export, status);
    }
    status = write_entries(export);
    tern_cursor_close(export->cursor);
    export->cursor = NULL;
    export->keyspaces++;
    return status;
}

struct keyspace_list {
    tern_keyspace **list;
    size_t count;
};

static bool visit_keyspace(void *context, tern_keyspace *keyspace) {
    struct keyspace_list *keyspaces = context;
    keyspaces->list =
        memory_resize(keyspaces->list, (keyspaces->count + 1) * sizeof(keyspaces->list[0]));
    keyspaces->list[keyspaces->count++] = keyspace;
    return true;
}

static tern_status export_all(struct export *export) {
    struct keyspace_list keyspaces = {0};
    tern_status status = tern_keyspace_list(export->session->db, visit_keyspace, &keyspaces,
                                            &export->session->error);
    for (size_t i = 0; status == TERN_OK && i < keyspaces.count; i++) {
        status = export_keyspace(export, keyspaces.list[i]);
    }
    free(keyspaces.list);
    return status;
}

static void report(const struct export *export, bool is_to_output) {
    struct session *session = export->session;
    double seconds = progress_seconds(&export->progress);
    if (session->settings.is_json) {
        struct json_writer json = {.stream = is_to_output ? session->err : session->out};
        json_begin_object(&json, NULL);
        json_unsigned(&json, "records", export->records);
        json_unsigned(&json, "keyspaces", export->keyspaces);
        json_real(&json, "seconds", seconds);
        json_end_object(&json);
        json_end_line(&json);
        return;
    }
    struct buffer text = {0};
    quantity_print_count(export->records, &text);
    buffer_print(&text, " records in %.2f s (", seconds);
    quantity_print_count((uint64_t)((double)export->records / (seconds > 0 ? seconds : 1)), &text);
    session_note(session, "exported %s/s)", buffer_text(&text));
    buffer_release(&text);
}

/* Writes everything to the stream that is open. */
static tern_status write_stream(struct export *export, tern_slice keyspace_name) {
    struct session *session = export->session;
    tern_keyspace *keyspace = NULL;
    tern_status status = TERN_OK;
    export->sink = record_sink_open(export->stream, &export->options);
    export->slots = memory_allocate((size_t)BATCH_KEYS * SLOT_BYTES);
    progress_open(&export->progress, session->err, session_shows_progress(session), "records");
    if (keyspace_name.size > 0) {
        status = session_keyspace(session, keyspace_name, &keyspace);
        status = status == TERN_OK ? export_keyspace(export, keyspace) : status;
    } else {
        status = export_all(export);
    }
    if (status == TERN_OK) {
        record_sink_finish(export->sink);
    }
    progress_close(&export->progress);
    record_sink_close(export->sink);
    free(export->slots);
    buffer_release(&export->whole);
    return status;
}

/* Into what is no regular file (a pipe, a device) one can only write. */
static tern_status write_special(struct export *export, tern_slice keyspace_name,
                                 const char *path) {
    export->stream = fopen(path, "wbe");
    if (export->stream == NULL) {
        return fail_file(&export->session->error, errno, path, "cannot open the file to write");
    }
    tern_status status = write_stream(export, keyspace_name);
    bool is_written = ferror(export->stream) == 0;
    is_written = fclose(export->stream) == 0 && is_written;
    if (status == TERN_OK && !is_written) {
        status = fail_file(&export->session->error, errno, path, "writing the export failed");
    }
    return status;
}

/* A file appears under its name only when it is complete and on stable storage. */
static tern_status write_file(struct export *export, tern_slice keyspace_name, const char *path) {
    struct session *session = export->session;
    struct buffer part = {0};
    struct stat file = {0};
    if (stat(path, &file) == 0 && !S_ISREG(file.st_mode) && !S_ISDIR(file.st_mode)) {
        return write_special(export, keyspace_name, path);
    }
    buffer_print(&part, "%s.part", path);
    const char *part_path = buffer_text(&part);
    export->stream = fopen(part_path, "wbe");
    if (export->stream == NULL) {
        int code = errno;
        buffer_release(&part);
        return fail_file(&session->error, code, path, "cannot open the file to write");
    }
    tern_status status = write_stream(export, keyspace_name);
    bool is_written = fflush(export->stream) == 0 && ferror(export->stream) == 0 &&
                      fsync(fileno(export->stream)) == 0;
    int code = errno;
    is_written = fclose(export->stream) == 0 && is_written;
    if (status == TERN_OK && (!is_written || rename(part_path, path) != 0)) {
        status = fail_file(&session->error, is_written ? errno : code, path,
                           "writing the export failed");
    }
    if (status != TERN_OK) {
        unlink(part_path);
    }
    buffer_release(&part);
    return status;
}

tern_status run_export(struct session *session, const struct invocation *invocation) {
    struct export export = {.session = session};
    tern_slice keyspace = {0};
    const char *path = NULL;
    tern_status status = transfer_arguments(session, invocation, &keyspace, &path);
    if (status == TERN_OK) {
        status = transfer_options(session, invocation, path, &export.options);
    }
    if (status == TERN_OK) {
        status = key_range_open(session, invocation, &export.range);
    }
    if (status == TERN_OK) {
        status = work_begin(session, true, &export.work);
    }
    if (status == TERN_OK) {
        bool is_to_output = strcmp(path, "-") == 0;
        export.stream = session->out;
        status =
            is_to_output ? write_stream(&export, keyspace) : write_file(&export, keyspace, path);
        status = work_end(&export.work, status);
        if (status == TERN_OK) {
            report(&export, is_to_output);
        }
    }
    key_range_release(&export.range);
    return status;
}
