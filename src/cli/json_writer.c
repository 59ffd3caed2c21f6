/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json_writer.h"

#include "cli/utf8.h"
#include <inttypes.h>
#include <math.h>

void json_quote(tern_slice text, struct buffer *out) {
    const char *data = text.data;
    buffer_append_char(out, '"');
    for (size_t i = 0; i < text.size;) {
        unsigned char byte = (unsigned char)data[i];
        size_t length = utf8_decode(data + i, text.size - i, NULL);
        if (length == 0) {
            buffer_append_text(out, "\xef\xbf\xbd");
            i++;
            continue;
        }
        if (byte == '"' || byte == '\\') {
            buffer_append_char(out, '\\');
            buffer_append_char(out, (char)byte);
        } else if (byte == '\n') {
            buffer_append_text(out, "\\n");
        } else if (byte == '\t') {
            buffer_append_text(out, "\\t");
        } else if (byte == '\r') {
            buffer_append_text(out, "\\r");
        } else if (byte < 0x20 || byte == 0x7f) {
            buffer_print(out, "\\u%04x", byte);
        } else {
            buffer_append(out, data + i, length);
        }
        i += length;
    }
    buffer_append_char(out, '"');
}

static void write_quoted(struct json_writer *json, tern_slice text) {
    struct buffer quoted = {0};
    json_quote(text, &quoted);
    fwrite(quoted.data, 1, quoted.size, json->stream);
    buffer_release(&quoted);
}

/* Comma and name before a value. */
static void lead_in(struct json_writer *json, const char *name) {
    uint32_t bit = UINT32_C(1) << json->depth;
    if ((json->filled & bit) != 0) {
        putc(',', json->stream);
    }
    json->filled |= bit;
    if (name != NULL) {
        write_quoted(json, tern_slice_str(name));
        putc(':', json->stream);
    }
}

static void open_level(struct json_writer *json, const char *name, char bracket) {
    lead_in(json, name);
    putc(bracket, json->stream);
    if (json->depth < JSON_WRITER_DEPTH_MAX) {
        json->depth++;
    }
    json->filled &= ~(UINT32_C(1) << json->depth);
}

static void close_level(struct json_writer *json, char bracket) {
    if (json->depth > 0) {
        json->depth--;
    }
    putc(bracket, json->stream);
}

void json_begin_object(struct json_writer *json, const char *name) {
    open_level(json, name, '{');
}
void json_end_object(struct json_writer *json) {
    close_level(json, '}');
}
void json_begin_array(struct json_writer *json, const char *name) {
    open_level(json, name, '[');
}
void json_end_array(struct json_writer *json) {
    close_level(json, ']');
}

void json_string(struct json_writer *json, const char *name, tern_slice text) {
    lead_in(json, name);
    write_quoted(json, text);
}

void json_text(struct json_writer *json, const char *name, const char *text) {
    if (text == NULL) {
        json_null(json, name);
    } else {
        json_string(json, name, tern_slice_str(text));
    }
}

void json_unsigned(struct json_writer *json, const char *name, uint64_t number) {
    lead_in(json, name);
    fprintf(json->stream, "%" PRIu64, number);
}

void json_signed(struct json_writer *json, const char *name, int64_t number) {
    lead_in(json, name);
    fprintf(json->stream, "%" PRId64, number);
}

void json_real(struct json_writer *json, const char *name, double number) {
    if (!isfinite(number)) {
        json_null(json, name);
        return;
    }
    lead_in(json, name);
    fprintf(json->stream, "%.10g", number);
}

void json_boolean(struct json_writer *json, const char *name, bool is_true) {
    lead_in(json, name);
    fputs(is_true ? "true" : "false", json->stream);
}

void json_null(struct json_writer *json, const char *name) {
    lead_in(json, name);
    fputs("null", json->stream);
}

static void named_bytes(struct json_writer *json, const char *name, const char *suffix,
                        tern_slice bytes, enum bytes_format format) {
    struct buffer full_name = {0};
    struct buffer text = {0};
    buffer_print(&full_name, "%s%s", name, suffix);
    bytes_encode(format, bytes, &text);
    if (format == BYTES_INTEGER) {
        lead_in(json, buffer_text(&full_name));
        fwrite(text.data, 1, text.size, json->stream);
    } else {
        json_string(json, buffer_text(&full_name), buffer_slice(&text));
    }
    buffer_release(&full_name);
    buffer_release(&text);
}

void json_bytes(struct json_writer *json, const char *name, tern_slice bytes,
                enum bytes_format format) {
    if (format == BYTES_HEX) {
        named_bytes(json, name, "_hex", bytes, format);
    } else if (format == BYTES_ESCAPED) {
        named_bytes(json, name, "_escaped", bytes, format);
    } else if (format == BYTES_INTEGER && bytes.size == 8) {
        named_bytes(json, name, "_integer", bytes, format);
    } else if (format == BYTES_BASE64 || !utf8_is_valid(bytes)) {
        named_bytes(json, name, "_base64", bytes, BYTES_BASE64);
    } else {
        json_string(json, name, bytes);
    }
}

void json_end_line(struct json_writer *json) {
    putc('\n', json->stream);
    json->depth = 0;
    json->filled = 0;
}
