/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/session.h"

#include "cli/terminal.h"
#include "cli/utf8.h"
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>

static bool wants_color(FILE *stream, const struct invocation *invocation) {
    uint64_t when = invocation_number(invocation, OPTION_COLOR, 0);
    const char *no_color = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    bool is_plain = (no_color != NULL && no_color[0] != '\0') ||
                    (terminal != NULL && strcmp(terminal, "dumb") == 0);
    return when == 1 || (when == 0 && !is_plain && terminal_is(stream));
}

void session_open(struct session *session, FILE *out, FILE *err) {
    *session = (struct session){.out = out, .err = err, .error = TERN_ERROR_INIT};
    session->settings.durability = TERN_DURABILITY_FULL;
    const char *directory = getenv("TERN_DIR");
    session->directory = directory != NULL && directory[0] != '\0' ? directory : NULL;
}

void settings_apply(struct settings *settings, const struct invocation *invocation) {
    static const tern_durability levels[] = {TERN_DURABILITY_FULL, TERN_DURABILITY_INTERVAL,
                                             TERN_DURABILITY_NONE};
    settings->is_json = settings->is_json || invocation_has(invocation, OPTION_JSON);
    settings->is_quiet = settings->is_quiet || invocation_has(invocation, OPTION_QUIET);
    settings->has_timing = settings->has_timing || invocation_has(invocation, OPTION_TIMING);
    settings->has_progress = settings->has_progress || invocation_has(invocation, OPTION_PROGRESS);
    if (invocation_has(invocation, OPTION_DURABILITY)) {
        settings->durability = levels[invocation_number(invocation, OPTION_DURABILITY, 0)];
    }
}

/*
 * Most commands write little and come one by one: they need no log of 16 MiB segments, three of
 * which take disk and memory. A large value passes through in chunks, and `put` and `get` of one
 * stay below 64 MiB in all.
 */
static uint64_t segment_bytes(uint64_t memory_bytes) {
    const uint64_t small = (uint64_t)4 << 20;
    return memory_bytes == 0 || memory_bytes >= 16 * small ? small : 0;
}

void session_configure(struct session *session, const struct invocation *invocation) {
    settings_apply(&session->settings, invocation);
    session->is_read_only = invocation_has(invocation, OPTION_READ_ONLY);
    session->options = TERN_DB_OPTIONS_INIT;
    session->options.read_only = session->is_read_only;
    session->options.memory_bytes = invocation_number(invocation, OPTION_MEMORY, 0);
    session->options.segment_bytes = segment_bytes(session->options.memory_bytes);
    session->options.cache_policy =
        (tern_cache_policy)invocation_number(invocation, OPTION_CACHE_POLICY, 0);
    session->options.huge_pages =
        (tern_huge_pages)invocation_number(invocation, OPTION_HUGE_PAGES, 0);
    session->options.numa = (tern_numa_placement)invocation_number(invocation, OPTION_NUMA, 0);
    session->options.lock_cache = invocation_has(invocation, OPTION_LOCK_CACHE);
    session->options.buffered_io = invocation_has(invocation, OPTION_BUFFERED);
    session->options.page_source =
        (tern_page_source)invocation_number(invocation, OPTION_PAGE_SOURCE, 0);
    session->options.read_ahead_bytes = invocation_number(invocation, OPTION_READ_AHEAD, 0);
    if (invocation_has(invocation, OPTION_READ_AHEAD) && session->options.read_ahead_bytes == 0) {
        session->options.read_ahead_bytes = TERN_READ_AHEAD_OFF;
    }
    session->options.compaction_bytes_per_second =
        invocation_number(invocation, OPTION_COMPACTION_RATE, 0);
    session->directory = invocation_text(invocation, OPTION_DIRECTORY, session->directory);
    session->has_color = wants_color(session->out, invocation);
    session->has_error_color = wants_color(session->err, invocation);
}

static tern_status explain_missing_database(struct session *session) {
    struct stat status = {0};
    bool is_there = stat(session->directory, &status) == 0;
    if (is_there && !S_ISDIR(status.st_mode)) {
        return session_fail(session, TERN_INVALID,
                            "%s is not a directory; -d takes the directory of a database",
                            session->directory);
    }
    return session_fail(session, TERN_NOT_FOUND,
                        "there is no database in %s; to create one: tern -d %s keyspace create "
                        "NAME",
                        session->directory, session->directory);
}

tern_status session_open_database(struct session *session, enum command_use use) {
    if (session->db != NULL) {
        return TERN_OK;
    }
    if (session->directory == NULL) {
        return session_fail(session, TERN_INVALID,
                            "say which database: tern -d DIR …, or set TERN_DIR");
    }
    tern_db_options options = session->options;
    options.create_if_missing = use == USES_OR_MAKES && !session->is_read_only;
    tern_db *db = NULL;
    tern_status status = tern_open(session->directory, &options, &db, &session->error);
    if (status == TERN_OK) {
        session->db = db;
    } else if (status == TERN_NOT_FOUND && !options.create_if_missing) {
        status = explain_missing_database(session);
    }
    return status;
}

tern_status session_close_database(struct session *session) {
    tern_txn_free(session->txn);
    session->txn = NULL;
    session_forget_keyspaces(session);
    tern_db *db = session->db;
    session->db = NULL;
    tern_error error = TERN_ERROR_INIT;
    tern_status status = tern_close(db, &error);
    if (status != TERN_OK) {
        session->error = error;
    }
    return status;
}

void session_close(struct session *session) {
    session_forget_keyspaces(session);
}

tern_status session_fail(struct session *session, tern_status status, const char *format, ...) {
    session->error = (tern_error)TERN_ERROR_INIT;
    session->error.status = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(session->error.message, sizeof(session->error.message), format, arguments);
    va_end(arguments);
    return status;
}

tern_status session_fail_txn(struct session *session, tern_status status, const tern_txn *txn) {
    session->error = *tern_txn_error(txn);
    session->error.status = status;
    return status;
}

static void report_json(const struct session *session, tern_status status, const char *message) {
    const tern_error *error = &session->error;
    struct json_writer json = {.stream = session->err};
    json_begin_object(&json, NULL);
    json_begin_object(&json, "error");
    json_text(&json, "status", tern_status_name(status));
    json_signed(&json, "code", status);
    json_signed(&json, "exit", tern_status_exit(status));
    json_text(&json, "message", message);
    json_text(&json, "file", error->file[0] != '\0' ? error->file : NULL);
    if (error->offset >= 0) {
        json_signed(&json, "offset", error->offset);
    } else {
        json_null(&json, "offset");
    }
    json_end_object(&json);
    json_end_object(&json);
    json_end_line(&json);
}

void session_report(struct session *session, tern_status status) {
    if (session->is_error_told || status == TERN_OK ||
        (status == TERN_NOT_FOUND && session->settings.is_quiet)) {
        return;
    }
    fflush(session->out);
    tern_error *error = &session->error;
    if (error->status != status) {
        *error = (tern_error)TERN_ERROR_INIT;
    }
    error->status = status;
    if (error->message[0] == '\0') {
        snprintf(error->message, sizeof(error->message), "%s", tern_status_text(status));
    }
    if (session->settings.is_json) {
        report_json(session, status, error->message);
        return;
    }
    char line[TERN_ERROR_MESSAGE_BYTES + TERN_ERROR_FILE_BYTES + 128];
    tern_error_format(error, line, sizeof(line));
    struct buffer printable = {0};
    tern_slice text = tern_slice_str(line);
    bytes_encode(utf8_is_printable(text) ? BYTES_RAW : BYTES_ESCAPED, text, &printable);
    const char *color = session->has_error_color ? "\033[1;31m" : "";
    const char *end = session->has_error_color ? "\033[0m" : "";
    fprintf(session->err, "%stern:%s %s\n", color, end, buffer_text(&printable));
    buffer_release(&printable);
}

void session_note(const struct session *session, const char *format, ...) {
    if (session->settings.is_quiet || session->settings.is_json) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vfprintf(session->err, format, arguments);
    va_end(arguments);
    putc('\n', session->err);
}

bool session_shows_progress(const struct session *session) {
    return !session->settings.is_quiet &&
           (session->settings.has_progress ||
            (terminal_is(session->err) && !session->settings.is_json));
}

struct json_writer session_json(const struct session *session) {
    return (struct json_writer){.stream = session->out};
}

enum bytes_format invocation_format(const struct invocation *invocation, enum option_id id,
                                    enum bytes_format fallback) {
    /* The choices of the table are in the order of the enumeration. */
    return (enum bytes_format)invocation_number(invocation, id, fallback);
}

tern_status session_decode(struct session *session, const struct invocation *invocation,
                           enum option_id format_option, enum bytes_format fallback,
                           tern_slice text, const char *what, struct buffer *bytes) {
    const char *problem = NULL;
    if (!bytes_decode(invocation_format(invocation, format_option, fallback), text, bytes,
                      &problem)) {
        return session_fail(session, TERN_INVALID, "%s: %s", what, problem);
    }
    return TERN_OK;
}
