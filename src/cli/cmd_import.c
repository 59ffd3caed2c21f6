/* SPDX-License-Identifier: Apache-2.0 */
/*
 * import: records from a file into keyspaces, in transactions of --batch records or BATCH_BYTES,
 * whichever comes first. A record that is skipped leaves nothing behind, since it is judged before
 * it is written.
 */
#include "cli/interrupt.h"
#include "cli/quantity.h"
#include "cli/run.h"
#include "cli/transfer.h"
#include <errno.h>
#include <stdlib.h>

enum { BATCH_BYTES = 4 * 1024 * 1024, BATCH_RECORDS = 1000 };

struct import {
    struct session *session;
    const struct invocation *invocation;
    struct input input;
    struct record_options options;
    struct record_source *source;
    tern_keyspace *keyspace; /* of the records that follow; NULL: not known yet */
    struct buffer keyspace_name;
    tern_value_writer *writer; /* of the large value being written */
    uint64_t writer_left;
    bool skips_value; /* its key was refused */
    tern_txn *txn;
    uint64_t pending_records, pending_bytes;
    uint64_t records, skipped, transactions, large_done;
    tern_write_options write_options;
    struct progress progress;
};

static tern_status fail_in_txn(struct import *import, tern_status status) {
    return session_fail_txn(import->session, status, import->txn);
}

static tern_status begin(struct import *import) {
    if (import->txn != NULL) {
        return TERN_OK;
    }
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    options.durability = import->session->settings.durability;
    return tern_txn_begin(import->session->db, &options, &import->txn, &import->session->error);
}

static tern_status commit(struct import *import) {
    if (import->txn == NULL || import->pending_records == 0) {
        return TERN_OK;
    }
    tern_status status = tern_txn_commit(import->txn);
    if (status == TERN_OK) {
        import->records += import->pending_records;
        import->transactions++;
        import->pending_records = 0;
        import->pending_bytes = 0;
        status = tern_txn_restart(import->txn);
    }
    return status == TERN_OK ? status : fail_in_txn(import, status);
}

/* Makes `name` the keyspace of what follows, and creates it when it is missing. */
static tern_status select_keyspace(struct import *import, tern_slice name,
                                   const tern_keyspace_options *options) {
    tern_slice now = buffer_slice(&import->keyspace_name);
    bool is_same = import->keyspace != NULL && now.size == name.size &&
                   memcmp(now.data, name.data, name.size) == 0;
    if (is_same) {
        return TERN_OK;
    }
    /* It is created by a transaction of its own; ours goes on with a snapshot that knows it. */
    tern_status status = commit(import);
    if (status != TERN_OK) {
        return status;
    }
    tern_txn_free(import->txn);
    import->txn = NULL;
    buffer_clear(&import->keyspace_name);
    buffer_append_slice(&import->keyspace_name, name);
    status = session_keyspace(import->session, name, &import->keyspace);
    if (status == TERN_NOT_FOUND) {
        status = session_create_keyspace(import->session, name, options, &import->keyspace);
    }
    return status;
}

static tern_status fail_record(struct import *import, const struct record *record,
                               const char *problem) {
    tern_status status = import->options.format == RECORD_DUMP ? TERN_CORRUPTION : TERN_INVALID;
    tern_error *error = &import->session->error;
    if (import->input.system_errno == EINTR) {
        return fail(error, TERN_CANCELLED, "cancelled; what was committed stays");
    }
    if (import->input.system_errno != 0) {
        return fail_file(error, import->input.system_errno, import->input.name, "reading failed");
    }
    fail_file(error, 0, import->input.name, "");
    error->status = status;
    if (record->line_no > 0) {
        snprintf(error->message, sizeof(error->message), "line %llu: %s",
                 (unsigned long long)record->line_no, problem);
    } else {
        error->offset = (int64_t)record->offset;
        snprintf(error->message, sizeof(error->message), "%s", problem);
    }
    return status;
}

/* A bad record: counted and named, or the end. */
static tern_status refuse_record(struct import *import, const struct record *record,
                                 const char *problem) {
    tern_status status = fail_record(import, record, problem);
    if (invocation_number(import->invocation, OPTION_ON_ERROR, 0) == 0) {
        return status;
    }
    import->skipped++;
    progress_close(&import->progress);
    session_note(import->session, "skipped %s", import->session->error.message);
    return TERN_OK;
}

/* What is wrong with a key, or NULL. */
static const char *key_problem(const struct import *import, tern_slice key) {
    return key.size == 0 ? "the key is empty"
           : key.size > tern_keyspace_key_bytes_max(import->keyspace)
               ? "the key is longer than the keyspace takes"
               : NULL;
}

/* A transaction may not be larger than a quarter of the memory budget; half of that is well within,
 * whatever records cost besides their bytes. */
static uint64_t batch_bytes(const struct import *import) {
    uint64_t memory_bytes = import->session->options.memory_bytes;
    return memory_bytes > 0 && memory_bytes / 8 < BATCH_BYTES ? memory_bytes / 8 : BATCH_BYTES;
}

static tern_status put_pair(struct import *import, const struct record *record) {
    const char *problem = key_problem(import, record->key);
    if (problem != NULL) {
        return refuse_record(import, record, problem);
    }
    tern_status status = begin(import);
    if (status != TERN_OK) {
        return status;
    }
    status = tern_txn_put(import->txn, import->keyspace, record->key, record->value,
                          &import->write_options);
    if (status != TERN_OK) {
        return fail_in_txn(import, status);
    }
    import->pending_records++;
    import->pending_bytes += record->key.size + record->value.size;
    uint64_t batch = invocation_number(import->invocation, OPTION_BATCH, BATCH_RECORDS);
    bool is_full = import->pending_records >= batch || import->pending_bytes >= batch_bytes(import);
    return is_full ? commit(import) : TERN_OK;
}

static tern_status finish_large(struct import *import) {
    tern_value_writer *writer = import->writer;
    import->writer = NULL;
    tern_status status = tern_value_writer_finish(writer);
    if (status != TERN_OK) {
        return fail_in_txn(import, status);
    }
    import->pending_records++;
    return commit(import);
}

static tern_status begin_large(struct import *import, const struct record *record) {
    const char *problem = key_problem(import, record->key);
    if (problem != NULL) {
        import->skips_value = true;
        return refuse_record(import, record, problem);
    }
    import->skips_value = false;
    tern_status status = begin(import);
    if (status != TERN_OK) {
        return status;
    }
    status = tern_txn_put_begin(import->txn, import->keyspace, record->key, &import->write_options,
                                &import->writer);
    if (status != TERN_OK) {
        return fail_in_txn(import, status);
    }
    import->writer_left = record->value_size;
    return import->writer_left == 0 ? finish_large(import) : TERN_OK;
}

static tern_status append_chunk(struct import *import, const struct record *record) {
    if (import->skips_value) {
        return TERN_OK;
    }
    tern_status status = tern_value_writer_append(import->writer, record->value);
    if (status != TERN_OK) {
        return fail_in_txn(import, status);
    }
    import->writer_left -= record->value.size;
    return import->writer_left == 0 ? finish_large(import) : TERN_OK;
}

static tern_status take_record(struct import *import, enum record_kind kind,
                               const struct record *record) {
    tern_status status = TERN_OK;
    switch (kind) {
    case RECORD_PAIR:
        if (import->options.has_all_keyspaces && record->keyspace.size > 0) {
            status = select_keyspace(import, record->keyspace, NULL);
        }
        return status == TERN_OK ? put_pair(import, record) : status;
    case RECORD_KEYSPACE:
        /* Without --all what the dump holds goes where the command line says. */
        return import->options.has_all_keyspaces
                   ? select_keyspace(import, record->keyspace, record->options)
                   : TERN_OK;
    case RECORD_LARGE:
        return begin_large(import, record);
    case RECORD_CHUNK:
        return append_chunk(import, record);
    case RECORD_INVALID:
        return refuse_record(import, record, record->problem);
    case RECORD_FAILED:
        return fail_record(import, record, record->problem);
    case RECORD_END:
        break;
    }
    return TERN_OK;
}

static tern_status import_all(struct import *import) {
    struct record record;
    for (;;) {
        enum record_kind kind = record_source_next(import->source, &record);
        if (kind == RECORD_END) {
            return commit(import);
        }
        tern_status status = take_record(import, kind, &record);
        if (status != TERN_OK) {
            return status;
        }
        progress_update(&import->progress, "import", import->records + import->pending_records,
                        import->input.consumed_bytes, import->input.total_bytes);
        if (interrupt_is_pending()) {
            return session_fail(import->session, TERN_CANCELLED,
                                "cancelled; what was committed stays");
        }
    }
}

static void report(const struct import *import, tern_status status) {
    struct session *session = import->session;
    double seconds = progress_seconds(&import->progress);
    if (session->settings.is_json) {
        struct json_writer json = session_json(session);
        json_begin_object(&json, NULL);
        json_unsigned(&json, "records", import->records);
        json_unsigned(&json, "skipped", import->skipped);
        json_unsigned(&json, "transactions", import->transactions);
        json_unsigned(&json, "input_bytes", import->input.consumed_bytes);
        json_real(&json, "seconds", seconds);
        json_end_object(&json);
        json_end_line(&json);
        return;
    }
    struct buffer text = {0};
    quantity_print_count(import->records, &text);
    buffer_print(&text, " records in %.2f s (", seconds);
    quantity_print_count((uint64_t)((double)import->records / (seconds > 0 ? seconds : 1)), &text);
    buffer_append_text(&text, "/s)");
    if (import->skipped > 0) {
        buffer_append_text(&text, ", ");
        quantity_print_count(import->skipped, &text);
        buffer_append_text(&text, " skipped");
    }
    if (status == TERN_OK || import->records > 0) {
        session_note(session, "%s%s",
                     status == TERN_OK ? "imported " : "committed before: ", buffer_text(&text));
    }
    buffer_release(&text);
}

tern_status run_import(struct session *session, const struct invocation *invocation) {
    struct import import = {
        .session = session, .invocation = invocation, .input = {.descriptor = -1}};
    tern_slice keyspace = {0};
    const char *path = NULL;
    if (session->txn != NULL) {
        return session_fail(session, TERN_INVALID,
                            "a transaction is open; commit or rollback before an import");
    }
    tern_status status = transfer_arguments(session, invocation, &keyspace, &path);
    if (status == TERN_OK) {
        status = transfer_options(session, invocation, path, &import.options);
    }
    if (status == TERN_OK) {
        status = input_open(&import.input, path, &session->error);
    }
    if (status == TERN_OK && keyspace.size > 0) {
        status = select_keyspace(&import, keyspace, NULL);
    }
    if (status != TERN_OK) {
        goto done;
    }
    import.write_options = (tern_write_options){.size = sizeof(tern_write_options)};
    import.write_options.ttl_ms = invocation_number(invocation, OPTION_TTL, 0);
    import.source = record_source_open(&import.input, &import.options);
    progress_open(&import.progress, session->err, session_shows_progress(session), "records");
    status = import_all(&import);
    progress_close(&import.progress);
    report(&import, status);
done:
    tern_value_writer_abandon(import.writer);
    tern_txn_free(import.txn);
    record_source_close(import.source);
    buffer_release(&import.keyspace_name);
    input_close(&import.input);
    return status;
}
