/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables. The key is one column or several joined by key_separator. The value is one column as it
 * is; otherwise a JSON object from column names to texts, or a JSON array where columns have no
 * names.
 */
#include "cli/json_writer.h"
#include "cli/record_source.h"
#include "cli/utf8.h"

/* A column list that was given as an option, "a,b,c", as names. */
static void name_from_option(struct columns *columns, const char *names) {
    struct input input;
    input_open_memory(&input, tern_slice_str(names));
    struct csv_reader reader = {.input = &input, .delimiter = ','};
    if (csv_reader_next(&reader) == CSV_RECORD) {
        columns_name(columns, reader.fields, reader.field_count);
    }
    csv_reader_release(&reader);
    input_close(&input);
}

/* Reads the header and finds out which columns are meant. */
static bool find_columns(struct record_source *source, bool *out_is_empty) {
    const struct record_options *options = &source->options;
    struct columns *columns = &source->columns;
    *out_is_empty = false;
    if (options->column_names != NULL) {
        name_from_option(columns, options->column_names);
    }
    if (!options->has_no_header) {
        enum csv_result result = csv_reader_next(&source->csv);
        if (result == CSV_END) {
            *out_is_empty = true;
            return true;
        }
        if (result != CSV_RECORD) {
            buffer_print(&source->problem, "the header cannot be read: %s", source->csv.problem);
            return false;
        }
        if (columns->names == NULL) {
            columns_name(columns, source->csv.fields, source->csv.field_count);
        }
    }
    bool is_pair = columns->name_count == 2 && strcmp(columns->names[0], "key") == 0 &&
                   strcmp(columns->names[1], "value") == 0;
    const char *value_columns =
        options->value_columns == NULL && is_pair ? "value" : options->value_columns;
    columns->has_value = value_columns != NULL;
    source->has_columns = true;
    return columns_resolve(columns, options->key_columns != NULL ? options->key_columns : "1",
                           &columns->key, &source->problem) &&
           (value_columns == NULL ||
            columns_resolve(columns, value_columns, &columns->value, &source->problem));
}

static const char *build_key(struct record_source *source) {
    const struct record_options *options = &source->options;
    const struct column_list *list = &source->columns.key;
    const char *problem = NULL;
    buffer_append_text(&source->key, options->key_prefix != NULL ? options->key_prefix : "");
    for (size_t i = 0; i < list->count; i++) {
        if (list->list[i] >= source->csv.field_count) {
            return "the record has too few columns for the key";
        }
        if (i > 0) {
            buffer_append_text(&source->key, options->key_separator);
        }
        if (!bytes_decode(options->key_format, source->csv.fields[list->list[i]], &source->key,
                          &problem)) {
            return problem;
        }
    }
    return NULL;
}

/* Appends `column` as part of the JSON value. */
static const char *append_column(struct record_source *source, size_t column, bool is_first) {
    const struct columns *columns = &source->columns;
    tern_slice field = source->csv.fields[column];
    if (!utf8_is_valid(field)) {
        return "a column is not UTF-8, so it cannot become JSON; choose one column with "
               "--value-column";
    }
    if (!is_first) {
        buffer_append_char(&source->value, ',');
    }
    if (columns->names != NULL) {
        char number[24];
        int size = snprintf(number, sizeof(number), "%zu", column + 1);
        json_quote(column < columns->name_count ? tern_slice_str(columns->names[column])
                                                : tern_slice_of(number, (size_t)size),
                   &source->value);
        buffer_append_char(&source->value, ':');
    }
    json_quote(field, &source->value);
    return NULL;
}

static const char *build_json(struct record_source *source) {
    const struct columns *columns = &source->columns;
    size_t count = columns->has_value ? columns->value.count : source->csv.field_count;
    bool is_first = true;
    buffer_append_char(&source->value, columns->names != NULL ? '{' : '[');
    for (size_t i = 0; i < count; i++) {
        size_t column = columns->has_value ? columns->value.list[i] : i;
        if (!columns->has_value && columns_contain(&columns->key, column)) {
            continue;
        }
        if (column >= source->csv.field_count) {
            return "the record has too few columns for the value";
        }
        const char *problem = append_column(source, column, is_first);
        if (problem != NULL) {
            return problem;
        }
        is_first = false;
    }
    buffer_append_char(&source->value, columns->names != NULL ? '}' : ']');
    return NULL;
}

static const char *build_value(struct record_source *source) {
    const struct columns *columns = &source->columns;
    const char *problem = NULL;
    if (!columns->has_value || columns->value.count != 1) {
        return build_json(source);
    }
    size_t column = columns->value.list[0];
    if (column >= source->csv.field_count) {
        return "the record has too few columns for the value";
    }
    return bytes_decode(source->options.value_format, source->csv.fields[column], &source->value,
                        &problem)
               ? NULL
               : problem;
}

enum record_kind record_next_csv(struct record_source *source, struct record *out_record) {
    bool is_empty = false;
    if (!source->has_columns && !find_columns(source, &is_empty)) {
        out_record->line_no = source->csv.line_no > 0 ? source->csv.line_no : 1;
        out_record->problem = buffer_text(&source->problem);
        return RECORD_FAILED;
    }
    enum csv_result result = is_empty ? CSV_END : csv_reader_next(&source->csv);
    out_record->line_no = source->csv.line_no;
    out_record->problem = source->csv.problem;
    if (result == CSV_END) {
        return RECORD_END;
    }
    if (result == CSV_FAILED) {
        return record_input_failed(
            source, source->input->system_errno != 0 ? INPUT_FAILED : INPUT_TOO_LONG, out_record);
    }
    if (result == CSV_INVALID) {
        return RECORD_INVALID;
    }
    buffer_clear(&source->key);
    buffer_clear(&source->value);
    const char *problem = build_key(source);
    problem = problem != NULL ? problem : build_value(source);
    out_record->problem = problem;
    out_record->key = buffer_slice(&source->key);
    out_record->value = buffer_slice(&source->value);
    return problem == NULL ? RECORD_PAIR : RECORD_INVALID;
}
