/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/csv.h"

#include <stdlib.h>

enum state { FIELD_BEGINS, IN_PLAIN, IN_QUOTED, QUOTE_IN_QUOTED };

static bool end_field(struct csv_reader *reader) {
    if (reader->field_count == CSV_FIELDS_MAX) {
        reader->problem = "the record has more than 4096 fields";
        return false;
    }
    if (reader->field_count == reader->capacity) {
        reader->capacity = reader->capacity > 0 ? reader->capacity * 2 : 16;
        reader->ends = memory_resize(reader->ends, reader->capacity * sizeof(reader->ends[0]));
        reader->fields =
            memory_resize(reader->fields, reader->capacity * sizeof(reader->fields[0]));
    }
    reader->ends[reader->field_count++] = reader->bytes.size;
    return true;
}

/* Takes one byte in; false with a problem when the record is bad. */
static bool step(struct csv_reader *reader, enum state *state, char byte) {
    bool is_quote = byte == '"' && !reader->has_no_quotes;
    if (*state == IN_QUOTED) {
        if (is_quote) {
            *state = QUOTE_IN_QUOTED;
        } else {
            buffer_append_char(&reader->bytes, byte);
        }
        return true;
    }
    if (byte == reader->delimiter) {
        *state = FIELD_BEGINS;
        return end_field(reader);
    }
    if (*state == QUOTE_IN_QUOTED) {
        if (!is_quote) {
            reader->problem = "something follows behind a closing quote";
            return false;
        }
        *state = IN_QUOTED;
        buffer_append_char(&reader->bytes, '"');
        return true;
    }
    if (is_quote) {
        if (*state == IN_PLAIN) {
            reader->problem = "a double quote stands within a field that is not quoted";
            return false;
        }
        *state = IN_QUOTED;
        return true;
    }
    *state = IN_PLAIN;
    buffer_append_char(&reader->bytes, byte);
    return true;
}

/* The bytes moved while they grew; only now do the fields know where they are. */
static void place_fields(struct csv_reader *reader) {
    size_t begin = 0;
    for (size_t i = 0; i < reader->field_count; i++) {
        const char *bytes = buffer_text(&reader->bytes);
        reader->fields[i] = tern_slice_of(bytes + begin, reader->ends[i] - begin);
        begin = reader->ends[i];
    }
}

static enum csv_result line_result(struct csv_reader *reader, enum input_result result) {
    if (result == INPUT_END) {
        return CSV_END;
    }
    reader->problem = "a line is longer than 256 MiB";
    return CSV_FAILED;
}

/* Reads lines until one has content; leaves out empty ones and comments. */
static enum csv_result first_line(struct csv_reader *reader, tern_slice *out_line) {
    for (;;) {
        enum input_result result = input_line(reader->input, out_line);
        if (result != INPUT_OK) {
            return line_result(reader, result);
        }
        const char *data = out_line->data;
        bool is_empty = out_line->size == 0 || (out_line->size == 1 && data[0] == '\r');
        if (!is_empty && (reader->comment == '\0' || data[0] != reader->comment)) {
            return CSV_RECORD;
        }
    }
}

/* Takes in a line; `*out_is_open` tells that a quoted field goes on in the next one. */
static bool take_line(struct csv_reader *reader, enum state *state, tern_slice line,
                      bool *out_is_open) {
    const char *data = line.data;
    for (size_t i = 0; i < line.size; i++) {
        bool ends_line = i + 1 == line.size && data[i] == '\r' && *state != IN_QUOTED;
        if (!ends_line && !step(reader, state, data[i])) {
            return false;
        }
    }
    *out_is_open = *state == IN_QUOTED;
    return true;
}

enum csv_result csv_reader_next(struct csv_reader *reader) {
    tern_slice line = {0};
    enum csv_result result = first_line(reader, &line);
    if (result != CSV_RECORD) {
        return result;
    }
    buffer_clear(&reader->bytes);
    reader->field_count = 0;
    reader->line_no = reader->input->line_no;
    enum state state = FIELD_BEGINS;
    bool is_open = false;
    for (;;) {
        if (!take_line(reader, &state, line, &is_open)) {
            return CSV_INVALID;
        }
        if (!is_open) {
            break;
        }
        buffer_append_char(&reader->bytes, '\n');
        enum input_result more = input_line(reader->input, &line);
        if (more == INPUT_END || reader->bytes.size > INPUT_LINE_BYTES_MAX) {
            reader->problem = "a double quote is not closed";
            return CSV_INVALID;
        }
        if (more != INPUT_OK) {
            return line_result(reader, more);
        }
    }
    if (!end_field(reader)) {
        return CSV_INVALID;
    }
    place_fields(reader);
    return CSV_RECORD;
}

void csv_reader_release(struct csv_reader *reader) {
    free(reader->fields);
    free(reader->ends);
    buffer_release(&reader->bytes);
    reader->fields = NULL;
    reader->ends = NULL;
}

void csv_write_field(tern_slice field, char delimiter, struct buffer *text) {
    const char *data = field.data;
    bool needs_quotes = field.size == 0;
    for (size_t i = 0; !needs_quotes && i < field.size; i++) {
        needs_quotes = data[i] == delimiter || data[i] == '"' || data[i] == '\n' ||
                       data[i] == '\r' || (i == 0 && (data[i] == '#' || data[i] == ' '));
    }
    if (!needs_quotes) {
        buffer_append_slice(text, field);
        return;
    }
    buffer_append_char(text, '"');
    for (size_t i = 0; i < field.size; i++) {
        if (data[i] == '"') {
            buffer_append_char(text, '"');
        }
        buffer_append_char(text, data[i]);
    }
    buffer_append_char(text, '"');
}
