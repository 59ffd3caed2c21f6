/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON Lines. Without key_field a line is {"key":…,"value":…}, where both may also be given as
 * key_hex, key_base64, key_escaped, key_integer and so on; a value that is not a string stands for
 * its JSON text. With key_field the line is any object, and stored whole (or its value_field).
 */
#include "cli/json_reader.h"
#include "cli/record_source.h"

/* What a line has given so far. */
struct line_state {
    struct record_source *source;
    bool has_key, has_value, has_keyspace;
    const char *problem;
};

static bool append_value(enum bytes_format format, const struct json_value *value,
                         struct record_source *source, struct buffer *bytes,
                         const char **out_problem) {
    if (value->kind != JSON_STRING) {
        return bytes_decode(format, value->raw, bytes, out_problem);
    }
    if (format == BYTES_TEXT || format == BYTES_RAW) {
        json_value_decode(value, bytes);
        return true;
    }
    buffer_clear(&source->scratch);
    json_value_decode(value, &source->scratch);
    return bytes_decode(format, buffer_slice(&source->scratch), bytes, out_problem);
}

/* Whether `name` is `base` or `base`_FORMAT; then the format. */
static bool field_format(const char *name, const char *base, enum bytes_format plain,
                         enum bytes_format *out_format) {
    size_t size = strlen(base);
    if (strncmp(name, base, size) != 0) {
        return false;
    }
    if (name[size] == '\0') {
        *out_format = plain;
        return true;
    }
    return name[size] == '_' && bytes_format_from_name(name + size + 1, out_format);
}

static bool take_bytes(struct line_state *state, bool *has, enum bytes_format format,
                       const struct json_value *value, struct buffer *bytes) {
    if (*has) {
        state->problem = "the key or value is given twice";
        return false;
    }
    *has = true;
    return append_value(format, value, state->source, bytes, &state->problem);
}

static bool take_field(struct line_state *state, const char *name, const struct json_value *value) {
    struct record_source *source = state->source;
    const struct record_options *options = &source->options;
    enum bytes_format format = BYTES_TEXT;
    if (options->has_all_keyspaces && strcmp(name, "keyspace") == 0) {
        return take_bytes(state, &state->has_keyspace, BYTES_TEXT, value, &source->keyspace);
    }
    if (options->key_field != NULL) {
        bool is_value = options->value_field != NULL && strcmp(name, options->value_field) == 0;
        if (is_value &&
            !take_bytes(state, &state->has_value, options->value_format, value, &source->value)) {
            return false;
        }
        return strcmp(name, options->key_field) != 0 ||
               take_bytes(state, &state->has_key, options->key_format, value, &source->key);
    }
    if (field_format(name, "key", options->key_format, &format)) {
        return take_bytes(state, &state->has_key, format, value, &source->key);
    }
    if (field_format(name, "value", options->value_format, &format)) {
        return take_bytes(state, &state->has_value, format, value, &source->value);
    }
    return true;
}

static bool parse_line(struct line_state *state, tern_slice line) {
    struct json_reader reader;
    struct buffer name = {0};
    struct json_value value;
    enum json_field_result result = JSON_FIELD_INVALID;
    if (json_reader_open(&reader, line)) {
        while ((result = json_reader_field(&reader, &name, &value)) == JSON_FIELD) {
            if (!take_field(state, buffer_text(&name), &value)) {
                break;
            }
        }
    }
    buffer_release(&name);
    if (result == JSON_FIELD_INVALID) {
        state->problem = reader.problem;
    }
    return result == JSON_FIELD_END;
}

static const char *missing_field(const struct line_state *state, tern_slice line) {
    const struct record_options *options = &state->source->options;
    if (!state->has_key) {
        return options->key_field != NULL ? "the field that --key-field names is missing"
                                          : "the field \"key\" is missing";
    }
    if (options->has_all_keyspaces && !state->has_keyspace) {
        return "the field \"keyspace\" is missing";
    }
    if (!state->has_value && options->key_field != NULL && options->value_field == NULL) {
        buffer_append_slice(&state->source->value, line);
        return NULL;
    }
    return state->has_value ? NULL : "the value is missing";
}

static tern_slice without_blanks(tern_slice line) {
    const char *data = line.data;
    while (line.size > 0 && memchr(" \t\r", data[line.size - 1], 3) != NULL) {
        line.size--;
    }
    return line;
}

enum record_kind record_next_jsonl(struct record_source *source, struct record *out_record) {
    tern_slice line = {0};
    do {
        enum input_result result = input_line(source->input, &line);
        if (result == INPUT_END) {
            return RECORD_END;
        }
        if (result != INPUT_OK) {
            return record_input_failed(source, result, out_record);
        }
        line = without_blanks(line);
    } while (line.size == 0);
    buffer_clear(&source->keyspace);
    buffer_clear(&source->key);
    buffer_clear(&source->value);
    buffer_append_text(&source->key,
                       source->options.key_prefix != NULL ? source->options.key_prefix : "");
    struct line_state state = {.source = source};
    out_record->line_no = source->input->line_no;
    out_record->problem = parse_line(&state, line) ? missing_field(&state, line) : state.problem;
    if (out_record->problem != NULL) {
        return RECORD_INVALID;
    }
    out_record->keyspace = buffer_slice(&source->keyspace);
    out_record->key = buffer_slice(&source->key);
    out_record->value = buffer_slice(&source->value);
    return RECORD_PAIR;
}
