/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json_reader.h"

#include "cli/utf8.h"
#include <stdint.h>

static bool refuse(struct json_reader *reader, const char *problem) {
    if (reader->problem == NULL) {
        reader->problem = problem;
    }
    return false;
}

static size_t left(const struct json_reader *reader) {
    return (size_t)(reader->end - reader->at);
}

static void skip_blanks(struct json_reader *reader) {
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' ||
                                        *reader->at == '\n' || *reader->at == '\r')) {
        reader->at++;
    }
}

static bool take(struct json_reader *reader, char byte) {
    skip_blanks(reader);
    if (reader->at < reader->end && *reader->at == byte) {
        reader->at++;
        return true;
    }
    return false;
}

/* Four hexadecimal digits, or UINT32_MAX. */
static uint32_t hex_unit(const char *digits, size_t size) {
    uint32_t unit = 0;
    for (size_t i = 0; i < 4; i++) {
        if (i >= size) {
            return UINT32_MAX;
        }
        char digit = digits[i];
        uint32_t value = digit >= '0' && digit <= '9'   ? (uint32_t)(digit - '0')
                         : digit >= 'a' && digit <= 'f' ? (uint32_t)(digit - 'a' + 10)
                         : digit >= 'A' && digit <= 'F' ? (uint32_t)(digit - 'A' + 10)
                                                        : UINT32_MAX;
        if (value == UINT32_MAX) {
            return UINT32_MAX;
        }
        unit = unit << 4 | value;
    }
    return unit;
}

/* One character, possibly two units, of \u escapes; `at` stands on the first backslash. Returns how
 * many bytes it takes, or 0 for a lone surrogate or a bad digit. */
static size_t unicode_escape(const char *at, size_t size, uint32_t *out_code) {
    uint32_t code = size > 2 ? hex_unit(at + 2, size - 2) : UINT32_MAX;
    if (code == UINT32_MAX || (code >= 0xdc00 && code <= 0xdfff)) {
        return 0;
    }
    if (code < 0xd800 || code > 0xdbff) {
        *out_code = code;
        return 6;
    }
    if (size < 12 || at[6] != '\\' || at[7] != 'u') {
        return 0;
    }
    uint32_t low = hex_unit(at + 8, size - 8);
    if (low < 0xdc00 || low > 0xdfff) {
        return 0;
    }
    *out_code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    return 12;
}

static bool skip_string(struct json_reader *reader) {
    reader->at++;
    while (reader->at < reader->end) {
        unsigned char byte = (unsigned char)*reader->at;
        uint32_t code = 0;
        if (byte == '"') {
            reader->at++;
            return true;
        }
        if (byte < 0x20) {
            return refuse(reader, "a control character stands in a string; it must be escaped");
        }
        size_t length = 0;
        if (byte != '\\') {
            length = utf8_decode(reader->at, left(reader), NULL);
        } else if (left(reader) >= 2 && memchr("\"\\/bfnrt", reader->at[1], 8) != NULL) {
            length = 2;
        } else if (left(reader) >= 2 && reader->at[1] == 'u') {
            length = unicode_escape(reader->at, left(reader), &code);
        }
        if (length == 0) {
            return refuse(reader, byte == '\\' ? "a string has a bad escape"
                                               : "a string is not valid UTF-8");
        }
        reader->at += length;
    }
    return refuse(reader, "a string is not closed");
}

static size_t skip_digits(struct json_reader *reader) {
    const char *begin = reader->at;
    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') {
        reader->at++;
    }
    return (size_t)(reader->at - begin);
}

static bool skip_number(struct json_reader *reader) {
    if (*reader->at == '-') {
        reader->at++;
    }
    const char *begin = reader->at;
    size_t digits = skip_digits(reader);
    bool is_valid = digits > 0 && (digits == 1 || *begin != '0');
    if (is_valid && reader->at < reader->end && *reader->at == '.') {
        reader->at++;
        is_valid = skip_digits(reader) > 0;
    }
    if (is_valid && reader->at < reader->end && (*reader->at == 'e' || *reader->at == 'E')) {
        reader->at++;
        if (reader->at < reader->end && (*reader->at == '+' || *reader->at == '-')) {
            reader->at++;
        }
        is_valid = skip_digits(reader) > 0;
    }
    return is_valid || refuse(reader, "a number is malformed");
}

static bool skip_literal(struct json_reader *reader, const char *literal) {
    size_t size = strlen(literal);
    if (left(reader) < size || memcmp(reader->at, literal, size) != 0) {
        return refuse(reader, "a value is expected");
    }
    reader->at += size;
    return true;
}

static bool skip_scalar(struct json_reader *reader, enum json_kind *out_kind) {
    char byte = *reader->at;
    if (byte == '"') {
        *out_kind = JSON_STRING;
        return skip_string(reader);
    }
    if (byte == '-' || (byte >= '0' && byte <= '9')) {
        *out_kind = JSON_NUMBER;
        return skip_number(reader);
    }
    *out_kind = byte == 't' ? JSON_TRUE : byte == 'f' ? JSON_FALSE : JSON_NULL;
    return skip_literal(reader, byte == 't' ? "true" : byte == 'f' ? "false" : "null");
}

static bool skip_name(struct json_reader *reader) {
    skip_blanks(reader);
    if (reader->at == reader->end || *reader->at != '"') {
        return refuse(reader, "a field name in quotes is expected");
    }
    return skip_string(reader) && (take(reader, ':') || refuse(reader, "a colon is expected"));
}

/* Skips a value without recursion: `brackets` remembers what is open. */
static bool skip_value(struct json_reader *reader, enum json_kind *out_kind) {
    char brackets[JSON_READER_DEPTH_MAX];
    size_t depth = 0;
    enum json_kind kind = JSON_NULL;
    for (;;) {
        skip_blanks(reader);
        if (reader->at == reader->end) {
            return refuse(reader, "the text ends within a value");
        }
        bool opens = *reader->at == '{' || *reader->at == '[';
        if (opens) {
            if (depth == JSON_READER_DEPTH_MAX) {
                return refuse(reader, "values are nested too deeply");
            }
            kind = *reader->at == '{' ? JSON_OBJECT : JSON_ARRAY;
            brackets[depth++] = *reader->at++ == '{' ? '}' : ']';
            if (!take(reader, brackets[depth - 1])) {
                if (brackets[depth - 1] == '}' && !skip_name(reader)) {
                    return false;
                }
                continue;
            }
            depth--;
        } else if (!skip_scalar(reader, &kind)) {
            return false;
        }
        /* A value has ended: so may what holds it. */
        while (depth > 0 && take(reader, brackets[depth - 1])) {
            kind = brackets[--depth] == '}' ? JSON_OBJECT : JSON_ARRAY;
        }
        if (depth == 0) {
            *out_kind = kind;
            return true;
        }
        if (!take(reader, ',')) {
            return refuse(reader, "a comma or a closing bracket is expected");
        }
        if (brackets[depth - 1] == '}' && !skip_name(reader)) {
            return false;
        }
    }
}

bool json_reader_open(struct json_reader *reader, tern_slice text) {
    const char *data = text.size > 0 ? text.data : "";
    *reader = (struct json_reader){data, data, data + text.size, NULL, true};
    return take(reader, '{') || refuse(reader, "an object { … } is expected");
}

enum json_field_result json_reader_field(struct json_reader *reader, struct buffer *name,
                                         struct json_value *out_value) {
    if (take(reader, '}')) {
        skip_blanks(reader);
        if (reader->at != reader->end) {
            refuse(reader, "something follows behind the object");
            return JSON_FIELD_INVALID;
        }
        return JSON_FIELD_END;
    }
    if (!reader->is_first && !take(reader, ',')) {
        refuse(reader, "a comma or a closing bracket is expected");
        return JSON_FIELD_INVALID;
    }
    reader->is_first = false;
    skip_blanks(reader);
    struct json_value name_value = {JSON_STRING, {reader->at, 0}};
    if (!skip_name(reader)) {
        return JSON_FIELD_INVALID;
    }
    name_value.raw.size = (size_t)(reader->at - (const char *)name_value.raw.data);
    buffer_clear(name);
    json_value_decode(&name_value, name);
    skip_blanks(reader);
    const char *begin = reader->at;
    enum json_kind kind = JSON_NULL;
    if (!skip_value(reader, &kind)) {
        return JSON_FIELD_INVALID;
    }
    out_value->kind = kind;
    out_value->raw = tern_slice_of(begin, (size_t)(reader->at - begin));
    return JSON_FIELD;
}

void json_value_decode(const struct json_value *value, struct buffer *bytes) {
    static const char letters[] = "bfnrt";
    static const char meanings[] = "\b\f\n\r\t";
    const char *at = (const char *)value->raw.data + 1;
    const char *end = (const char *)value->raw.data + value->raw.size;
    while (at < end && *at != '"') {
        const char *plain = at;
        while (at < end && *at != '"' && *at != '\\') {
            at++;
        }
        buffer_append(bytes, plain, (size_t)(at - plain));
        if (end - at < 2 || *at != '\\') {
            continue;
        }
        uint32_t code = 0;
        const char *letter = memchr(letters, at[1], sizeof(letters) - 1);
        if (at[1] == 'u') {
            char encoded[4];
            size_t length = unicode_escape(at, (size_t)(end - at), &code);
            buffer_append(bytes, encoded, utf8_encode(code, encoded));
            at += length > 0 ? length : 2;
        } else {
            buffer_append_char(bytes, letter != NULL ? meanings[letter - letters] : at[1]);
            at += 2;
        }
    }
}
