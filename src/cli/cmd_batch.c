/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch: a list of writes. A line is split and parsed like one of the REPL and run by the same
 * functions, which join the transaction of the session; a JSON line is turned into such words
 * first.
 */
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/json_reader.h"
#include "cli/run.h"
#include <stdlib.h>

struct batch {
    struct session *session;
    const struct invocation *invocation;
    struct input input;
    struct words words;
    struct buffer line; /* words of a JSON line, quoted */
    uint64_t operations, transactions, skipped, seq;
    uint64_t pending; /* operations of the transaction that is open */
    uint64_t line_no; /* where the operation began */
};

/* Fields of a JSON operation. */
struct json_operation {
    struct buffer op, keyspace, kind, key, value, ttl;
    bool has_key, has_value;
};

static bool is_operation(enum command_id id) {
    return id == COMMAND_PUT || id == COMMAND_DELETE || id == COMMAND_MERGE ||
           id == COMMAND_KEYSPACE_CREATE || id == COMMAND_KEYSPACE_DROP;
}

static tern_status begin_transaction(struct batch *batch) {
    struct session *session = batch->session;
    if (session->txn != NULL) {
        return TERN_OK;
    }
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    options.durability = session->settings.durability;
    return tern_txn_begin(session->db, &options, &session->txn, &session->error);
}

static void end_transaction(struct batch *batch) {
    tern_txn_free(batch->session->txn);
    batch->session->txn = NULL;
    batch->pending = 0;
    session_forget_keyspaces(batch->session);
}

static tern_status commit_transaction(struct batch *batch) {
    struct session *session = batch->session;
    if (session->txn == NULL || batch->pending == 0) {
        end_transaction(batch);
        return TERN_OK;
    }
    tern_status status = tern_txn_commit(session->txn);
    if (status == TERN_OK) {
        batch->seq = tern_txn_seq(session->txn);
        batch->transactions++;
    } else {
        session_fail_txn(session, status, session->txn);
    }
    end_transaction(batch);
    return status;
}

static void inherit_option(const struct invocation *from, struct invocation *to,
                           enum option_id id) {
    if (from->options[id].is_given && !to->options[id].is_given) {
        to->options[id] = from->options[id];
    }
}

static tern_status create_missing(struct batch *batch, const struct invocation *line) {
    struct session *session = batch->session;
    tern_keyspace *keyspace = NULL;
    bool names_one = line->command->id == COMMAND_PUT || line->command->id == COMMAND_DELETE ||
                     line->command->id == COMMAND_MERGE;
    if (!names_one || !invocation_has(batch->invocation, OPTION_CREATE)) {
        return TERN_OK;
    }
    tern_status status = session_keyspace(session, line->arguments[0], &keyspace);
    return status == TERN_NOT_FOUND
               ? session_create_keyspace(session, line->arguments[0], NULL, &keyspace)
               : status;
}

static tern_status run_operation(struct batch *batch) {
    struct session *session = batch->session;
    struct invocation line;
    tern_status status = invocation_parse(batch->words.list, batch->words.count, INVOCATION_IN_LINE,
                                          &line, &session->error);
    if (status == TERN_OK && (line.command == NULL || !is_operation(line.command->id) ||
                              invocation_has(&line, OPTION_HELP))) {
        status = session_fail(session, TERN_INVALID,
                              "a batch takes put, delete, merge, keyspace create, keyspace drop");
    }
    if (status == TERN_OK) {
        status = create_missing(batch, &line);
    }
    if (status == TERN_OK) {
        inherit_option(batch->invocation, &line, OPTION_KEY_FORMAT);
        inherit_option(batch->invocation, &line, OPTION_VALUE_FORMAT);
        switch (line.command->id) {
        case COMMAND_PUT:
            status = run_put(session, &line);
            break;
        case COMMAND_DELETE:
            status = run_delete(session, &line);
            break;
        case COMMAND_MERGE:
            status = run_merge(session, &line);
            break;
        case COMMAND_KEYSPACE_CREATE:
            status = run_keyspace_create(session, &line);
            break;
        default:
            status = run_keyspace_drop(session, &line);
            break;
        }
    }
    invocation_release(&line);
    return status;
}

/* ---- JSON lines ---- */

static bool decode_field(const char *name, const char *base, const struct json_value *value,
                         struct buffer *bytes, bool *out_is_match, const char **out_problem) {
    size_t size = strlen(base);
    enum bytes_format format = BYTES_RAW;
    *out_is_match = strncmp(name, base, size) == 0 &&
                    (name[size] == '\0' ||
                     (name[size] == '_' && bytes_format_from_name(name + size + 1, &format)));
    if (!*out_is_match) {
        return true;
    }
    struct buffer text = {0};
    if (value->kind == JSON_STRING) {
        json_value_decode(value, &text);
    } else {
        buffer_append_slice(&text, value->raw);
    }
    buffer_clear(bytes);
    bool is_valid = bytes_decode(format, buffer_slice(&text), bytes, out_problem);
    buffer_release(&text);
    return is_valid;
}

static const char *take_field(struct json_operation *operation, const char *name,
                              const struct json_value *value) {
    struct {
        const char *name;
        struct buffer *bytes;
        bool *has;
    } fields[] = {
        {"op", &operation->op, NULL},
        {"keyspace", &operation->keyspace, NULL},
        {"kind", &operation->kind, NULL},
        {"ttl_ms", &operation->ttl, NULL},
        {"key", &operation->key, &operation->has_key},
        {"value", &operation->value, &operation->has_value},
        {"operand", &operation->value, &operation->has_value},
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const char *problem = NULL;
        bool is_match = false;
        if (!decode_field(name, fields[i].name, value, fields[i].bytes, &is_match, &problem)) {
            return problem;
        }
        if (is_match) {
            if (fields[i].has != NULL) {
                *fields[i].has = true;
            }
            return NULL;
        }
    }
    return "unknown field; known are op, keyspace, key, value, operand, kind, ttl_ms";
}

static void append_word(struct batch *batch, struct buffer *bytes) {
    buffer_append_char(&batch->line, ' ');
    buffer_append_char(&batch->line, '"');
    bytes_encode(BYTES_ESCAPED, buffer_slice(bytes), &batch->line);
    buffer_append_char(&batch->line, '"');
}

/* The same operation as words. Formats are raw: the bytes have been decoded. */
static const char *write_words(struct batch *batch, struct json_operation *operation) {
    const char *op = buffer_text(&operation->op);
    bool is_keyspace = strncmp(op, "keyspace ", 9) == 0;
    buffer_clear(&batch->line);
    buffer_append_text(&batch->line, op);
    append_word(batch, &operation->keyspace);
    if (is_keyspace) {
        return NULL;
    }
    if (!operation->has_key) {
        return "the field \"key\" is missing";
    }
    append_word(batch, &operation->key);
    bool is_merge = strcmp(op, "merge") == 0;
    if (is_merge) {
        append_word(batch, &operation->kind);
    }
    if (strcmp(op, "delete") != 0) {
        if (!operation->has_value) {
            return "the field \"value\" is missing";
        }
        append_word(batch, &operation->value);
        bool is_add = is_merge && strcmp(buffer_text(&operation->kind), "add") == 0;
        bool is_binary = is_add && operation->value.size == 8;
        buffer_append_text(&batch->line, is_add && !is_binary ? " --value-format integer"
                                                              : " --value-format raw");
    }
    if (operation->ttl.size > 0) {
        buffer_print(&batch->line, " --ttl %.20sms", buffer_text(&operation->ttl));
    }
    buffer_append_text(&batch->line, " --key-format raw");
    return NULL;
}

static const char *parse_json(struct batch *batch, tern_slice line) {
    struct json_operation operation = {0};
    struct json_reader reader;
    struct buffer name = {0};
    struct json_value value;
    const char *problem = NULL;
    enum json_field_result result = JSON_FIELD_INVALID;
    if (json_reader_open(&reader, line)) {
        while (problem == NULL &&
               (result = json_reader_field(&reader, &name, &value)) == JSON_FIELD) {
            problem = take_field(&operation, buffer_text(&name), &value);
        }
    }
    if (problem == NULL) {
        problem = result == JSON_FIELD_INVALID ? reader.problem : write_words(batch, &operation);
    }
    buffer_release(&name);
    buffer_release(&operation.op);
    buffer_release(&operation.keyspace);
    buffer_release(&operation.kind);
    buffer_release(&operation.key);
    buffer_release(&operation.value);
    buffer_release(&operation.ttl);
    return problem;
}

/* ---- lines ---- */

static tern_status fail_line(struct batch *batch, const char *problem) {
    return session_fail(batch->session, TERN_INVALID, "%s", problem);
}

/* Splits the next operation into words; a quote may reach over several lines. */
static tern_status read_operation(struct batch *batch, bool *out_is_end) {
    struct session *session = batch->session;
    struct buffer text = {0};
    tern_slice line = {0};
    const char *problem = NULL;
    tern_status status = TERN_OK;
    *out_is_end = false;
    batch->words.count = 0;
    batch->line_no = batch->input.line_no + 1;
    for (;;) {
        enum input_result result = input_line(&batch->input, &line);
        if (result == INPUT_END) {
            *out_is_end = text.size == 0;
            status = text.size == 0 ? TERN_OK : fail_line(batch, problem);
            break;
        }
        if (result != INPUT_OK) {
            *out_is_end = true;
            status = result == INPUT_FAILED
                         ? fail_file(&session->error, batch->input.system_errno, batch->input.name,
                                     "reading the batch failed")
                         : session_fail(session, TERN_TOO_LARGE, "a line is longer than 256 MiB");
            break;
        }
        bool is_json = text.size == 0 && line.size > 0 && *(const char *)line.data == '{';
        if (is_json) {
            problem = parse_json(batch, line);
            if (problem != NULL) {
                status = fail_line(batch, problem);
                break;
            }
            line = buffer_slice(&batch->line);
        }
        if (text.size > 0) {
            buffer_append_char(&text, '\n');
        }
        buffer_append_slice(&text, line);
        enum words_result split = words_split(&batch->words, buffer_slice(&text), &problem);
        if (split == WORDS_OPEN && text.size > 0 && text.data[text.size - 1] == '\\') {
            text.size--; /* a backslash at the end only joins the lines */
        }
        if (split != WORDS_OPEN) {
            status = split == WORDS_INVALID ? fail_line(batch, problem) : TERN_OK;
            break;
        }
    }
    buffer_release(&text);
    return status;
}

/* Puts the line before the message of the error. */
static void locate_error(struct batch *batch) {
    tern_error located = batch->session->error;
    struct buffer message = {0};
    buffer_print(&message, "line %llu: %s", (unsigned long long)batch->line_no,
                 batch->session->error.message);
    snprintf(located.message, sizeof(located.message), "%s", buffer_text(&message));
    buffer_release(&message);
    batch->session->error = located;
}

static bool may_skip(tern_status status) {
    return status == TERN_INVALID || status == TERN_NOT_FOUND || status == TERN_EXISTS ||
           status == TERN_TOO_LARGE;
}

/* One operation within a savepoint, so that a bad one leaves nothing. */
static tern_status step(struct batch *batch, bool *out_is_end) {
    struct session *session = batch->session;
    bool skips = invocation_number(batch->invocation, OPTION_ON_ERROR, 0) == 1;
    uint64_t every = invocation_number(batch->invocation, OPTION_EVERY, UINT64_MAX);
    session->error = (tern_error)TERN_ERROR_INIT;
    tern_status status = read_operation(batch, out_is_end);
    bool is_broken = status != TERN_OK && *out_is_end;
    if (status == TERN_OK && batch->words.count == 0) {
        return TERN_OK;
    }
    if (status == TERN_OK) {
        status = begin_transaction(batch);
        if (status != TERN_OK) {
            return status;
        }
        uint32_t savepoint = 0;
        status = work_check(&(struct work){.session = session, .txn = session->txn},
                            tern_txn_savepoint(session->txn, &savepoint));
        if (status == TERN_OK) {
            status = run_operation(batch);
        }
        if (status != TERN_OK && skips && may_skip(status) &&
            tern_txn_rollback_to(session->txn, savepoint) != TERN_OK) {
            is_broken = true;
        }
    }
    if (status == TERN_OK) {
        batch->operations++;
        batch->pending++;
        return batch->pending >= every ? commit_transaction(batch) : TERN_OK;
    }
    locate_error(batch);
    if (!skips || is_broken || !may_skip(status)) {
        return status;
    }
    batch->skipped++;
    session_note(session, "skipped: %s", session->error.message);
    return TERN_OK;
}

static void report(const struct batch *batch, double seconds) {
    struct session *session = batch->session;
    if (session->settings.is_json) {
        struct json_writer json = session_json(session);
        json_begin_object(&json, NULL);
        json_unsigned(&json, "operations", batch->operations);
        json_unsigned(&json, "transactions", batch->transactions);
        json_unsigned(&json, "skipped", batch->skipped);
        if (batch->seq > 0) {
            json_unsigned(&json, "seq", batch->seq);
        }
        json_end_object(&json);
        json_end_line(&json);
        return;
    }
    session_note(session, "%llu operations in %llu transaction%s, %.2f s%s",
                 (unsigned long long)batch->operations, (unsigned long long)batch->transactions,
                 batch->transactions == 1 ? "" : "s", seconds,
                 batch->skipped > 0 ? "; some lines were skipped" : "");
}

tern_status run_batch(struct session *session, const struct invocation *invocation) {
    if (session->txn != NULL) {
        return session_fail(session, TERN_INVALID,
                            "a transaction is open; commit or rollback before a batch");
    }
    struct batch batch = {.session = session, .invocation = invocation};
    struct progress progress;
    const char *path = invocation->argument_count > 0 ? invocation->arguments[0].data : "-";
    tern_status status = input_open(&batch.input, path, &session->error);
    if (status != TERN_OK) {
        return status;
    }
    input_skip_mark(&batch.input);
    progress_open(&progress, session->err, session_shows_progress(session), "operations");
    session->is_batch = true;
    bool is_end = false;
    while (status == TERN_OK && !is_end) {
        status = interrupt_is_pending() ? session_fail(session, TERN_CANCELLED, "cancelled")
                                        : step(&batch, &is_end);
        progress_update(&progress, "batch", batch.operations, batch.input.consumed_bytes,
                        batch.input.total_bytes);
    }
    progress_close(&progress);
    if (status == TERN_OK) {
        status = commit_transaction(&batch);
    }
    end_transaction(&batch);
    session->is_batch = false;
    if (status == TERN_OK) {
        report(&batch, progress_seconds(&progress));
    } else if (batch.transactions > 0) {
        session_note(session, "%llu transactions were committed before",
                     (unsigned long long)batch.transactions);
    }
    input_close(&batch.input);
    words_release(&batch.words);
    buffer_release(&batch.line);
    return status;
}
