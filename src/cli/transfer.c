/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/transfer.h"

static bool ends_with(const char *text, const char *end) {
    size_t size = strlen(text);
    size_t end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

tern_status transfer_arguments(struct session *session, const struct invocation *invocation,
                               tern_slice *out_keyspace, const char **out_path) {
    bool has_all = invocation_has(invocation, OPTION_ALL);
    size_t path_at = has_all ? 0 : 1;
    const char *name = invocation->command->name;
    if (!has_all && invocation->argument_count == 0) {
        return session_fail(session, TERN_INVALID,
                            "%s: name a KEYSPACE, or use --all; see: tern "
                            "help %s",
                            name, name);
    }
    if (has_all && invocation->argument_count > 1) {
        return session_fail(session, TERN_INVALID,
                            "%s: with --all give only the FILE; records name their keyspace", name);
    }
    *out_keyspace = has_all ? (tern_slice){0} : invocation->arguments[0];
    *out_path = invocation->argument_count > path_at ? invocation->arguments[path_at].data : "-";
    return TERN_OK;
}

static enum record_format format_of(const struct invocation *invocation, const char *path) {
    enum record_format fallback = ends_with(path, ".csv") || ends_with(path, ".tsv") ? RECORD_CSV
                                  : ends_with(path, ".dump")                         ? RECORD_DUMP
                                                                                     : RECORD_JSONL;
    return (enum record_format)invocation_number(invocation, OPTION_FORMAT, fallback);
}

tern_status transfer_options(struct session *session, const struct invocation *invocation,
                             const char *path, struct record_options *out_options) {
    static const enum option_id csv_only[] = {
        OPTION_DELIMITER, OPTION_NO_HEADER,     OPTION_KEY_COLUMN, OPTION_VALUE_COLUMN,
        OPTION_COLUMNS,   OPTION_KEY_SEPARATOR, OPTION_COMMENT,    OPTION_NO_QUOTES};
    enum record_format format = format_of(invocation, path);
    for (size_t i = 0; i < sizeof(csv_only) / sizeof(csv_only[0]); i++) {
        if (format != RECORD_CSV && invocation_has(invocation, csv_only[i])) {
            return session_fail(session, TERN_INVALID,
                                "--%s is for CSV; say --format csv if the file is one",
                                option_by_id(invocation->command->options, csv_only[i])->name);
        }
    }
    if (format == RECORD_CSV && invocation_has(invocation, OPTION_ALL)) {
        return session_fail(session, TERN_INVALID,
                            "CSV has no place for keyspaces; --all works with jsonl and dump");
    }
    *out_options = (struct record_options){
        .format = format,
        .key_format = invocation_format(invocation, OPTION_KEY_FORMAT, BYTES_TEXT),
        .value_format = invocation_format(invocation, OPTION_VALUE_FORMAT, BYTES_TEXT),
        .has_all_keyspaces = invocation_has(invocation, OPTION_ALL),
        .delimiter = (char)invocation_number(invocation, OPTION_DELIMITER,
                                             ends_with(path, ".tsv") ? '\t' : ','),
        .comment = (char)invocation_number(invocation, OPTION_COMMENT, 0),
        .has_no_header = invocation_has(invocation, OPTION_NO_HEADER),
        .has_no_quotes = invocation_has(invocation, OPTION_NO_QUOTES),
        .key_columns = invocation_text(invocation, OPTION_KEY_COLUMN, NULL),
        .value_columns = invocation_text(invocation, OPTION_VALUE_COLUMN, NULL),
        .column_names = invocation_text(invocation, OPTION_COLUMNS, NULL),
        .key_separator = invocation_text(invocation, OPTION_KEY_SEPARATOR, "/"),
        .key_prefix = invocation_text(invocation, OPTION_KEY_PREFIX, NULL),
        .key_field = invocation_text(invocation, OPTION_KEY_FIELD, NULL),
        .value_field = invocation_text(invocation, OPTION_VALUE_FIELD, NULL),
    };
    return TERN_OK;
}
