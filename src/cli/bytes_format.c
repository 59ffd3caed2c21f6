/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/bytes_format.h"

#include "cli/utf8.h"
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const format_names[] = {
    [BYTES_TEXT] = "text", [BYTES_RAW] = "raw",       [BYTES_ESCAPED] = "escaped",
    [BYTES_HEX] = "hex",   [BYTES_BASE64] = "base64", [BYTES_INTEGER] = "integer",
};
static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/* Letters that stand behind a backslash, and what they mean. */
static const char escape_letters[] = "\\\"'0abefnrtv";
static const char escape_bytes[] = "\\\"'\0\a\b\033\f\n\r\t\v";

bool bytes_format_from_name(const char *name, enum bytes_format *out_format) {
    for (size_t i = 0; i < sizeof(format_names) / sizeof(format_names[0]); i++) {
        if (strcmp(name, format_names[i]) == 0) {
            *out_format = (enum bytes_format)i;
            return true;
        }
    }
    return false;
}

static int hex_value(char digit) {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    if (digit >= 'A' && digit <= 'F') {
        return digit - 'A' + 10;
    }
    return -1;
}

static bool hex_number(const char *digits, size_t count, uint32_t *out_number) {
    uint32_t number = 0;
    for (size_t i = 0; i < count; i++) {
        int value = hex_value(digits[i]);
        if (value < 0) {
            return false;
        }
        number = number << 4 | (uint32_t)value;
    }
    *out_number = number;
    return true;
}

size_t escape_decode(const char *sequence, size_t size, struct buffer *bytes,
                     const char **out_problem) {
    uint32_t number = 0;
    if (size == 0) {
        *out_problem = "a backslash ends the text; write \\\\ for a backslash";
        return 0;
    }
    const char *letter = memchr(escape_letters, sequence[0], sizeof(escape_letters) - 1);
    if (letter != NULL) {
        buffer_append_char(bytes, escape_bytes[letter - escape_letters]);
        return 1;
    }
    if (sequence[0] == 'x') {
        if (size < 3 || !hex_number(sequence + 1, 2, &number)) {
            *out_problem = "\\x needs two hexadecimal digits";
            return 0;
        }
        buffer_append_char(bytes, (char)number);
        return 3;
    }
    if (sequence[0] == 'u') {
        if (size < 5 || !hex_number(sequence + 1, 4, &number) ||
            (number >= 0xd800 && number <= 0xdfff)) {
            *out_problem = "\\u needs four hexadecimal digits of a character that is no surrogate";
            return 0;
        }
        char encoded[4];
        buffer_append(bytes, encoded, utf8_encode(number, encoded));
        return 5;
    }
    *out_problem = "unknown escape; known are \\\\ \\\" \\' \\0 \\a \\b \\e \\f \\n \\r \\t \\v "
                   "\\xNN \\uNNNN";
    return 0;
}

static bool decode_escaped(tern_slice text, struct buffer *bytes, const char **out_problem) {
    const char *data = text.data;
    for (size_t i = 0; i < text.size;) {
        if (data[i] != '\\') {
            buffer_append_char(bytes, data[i++]);
            continue;
        }
        size_t length = escape_decode(data + i + 1, text.size - i - 1, bytes, out_problem);
        if (length == 0) {
            return false;
        }
        i += 1 + length;
    }
    return true;
}

static bool decode_hex(tern_slice text, struct buffer *bytes, const char **out_problem) {
    const char *data = text.data;
    if (text.size % 2 != 0) {
        *out_problem = "hexadecimal text needs two digits a byte";
        return false;
    }
    for (size_t i = 0; i < text.size; i += 2) {
        uint32_t number = 0;
        if (!hex_number(data + i, 2, &number)) {
            *out_problem = "hexadecimal text has only the digits 0-9 and a-f";
            return false;
        }
        buffer_append_char(bytes, (char)number);
    }
    return true;
}

/* Value of the digits in a group of four with `padding` trailing '='; UINT32_MAX for a bad one. */
static uint32_t base64_group(const char *group, size_t padding) {
    uint32_t number = 0;
    for (size_t i = 0; i < 4; i++) {
        uint32_t value = 0;
        if (i < 4 - padding) {
            const char *digit = memchr(base64_digits, group[i], 64);
            if (digit == NULL) {
                return UINT32_MAX;
            }
            value = (uint32_t)(digit - base64_digits);
        }
        number = number << 6 | value;
    }
    /* Bits that no byte holds must be zero, so that a byte string has one spelling. */
    uint32_t unused = padding == 2 ? 0xffffU : padding == 1 ? 0xffU : 0;
    return (number & unused) == 0 ? number : UINT32_MAX;
}

static bool decode_base64(tern_slice text, struct buffer *bytes, const char **out_problem) {
    const char *data = text.data;
    *out_problem = "base64 text has groups of four digits A-Z a-z 0-9 + /, the last one padded "
                   "with =";
    if (text.size % 4 != 0) {
        return false;
    }
    for (size_t i = 0; i < text.size; i += 4) {
        size_t padding = 0;
        if (i + 4 == text.size && data[i + 3] == '=') {
            padding = data[i + 2] == '=' ? 2 : 1;
        }
        uint32_t number = base64_group(data + i, padding);
        if (number == UINT32_MAX) {
            return false;
        }
        char group[3] = {(char)(number >> 16), (char)(number >> 8), (char)number};
        buffer_append(bytes, group, 3 - padding);
    }
    return true;
}

static bool decode_integer(tern_slice text, struct buffer *bytes, const char **out_problem) {
    char digits[32];
    *out_problem = "an integer is a decimal number from -9223372036854775808 to "
                   "9223372036854775807";
    const char *data = text.data;
    if (text.size == 0 || text.size >= sizeof(digits)) {
        return false;
    }
    for (size_t i = data[0] == '-' || data[0] == '+' ? 1 : 0; i < text.size; i++) {
        if (data[i] < '0' || data[i] > '9') {
            return false;
        }
    }
    memcpy(digits, data, text.size);
    digits[text.size] = '\0';
    char *end = NULL;
    errno = 0;
    long long number = strtoll(digits, &end, 10);
    if (errno != 0 || *end != '\0' || end == digits) {
        return false;
    }
    for (unsigned shift = 0; shift < 64; shift += 8) {
        buffer_append_char(bytes, (char)((uint64_t)number >> shift));
    }
    return true;
}

bool bytes_decode(enum bytes_format format, tern_slice text, struct buffer *bytes,
                  const char **out_problem) {
    switch (format) {
    case BYTES_ESCAPED:
        return decode_escaped(text, bytes, out_problem);
    case BYTES_HEX:
        return decode_hex(text, bytes, out_problem);
    case BYTES_BASE64:
        return decode_base64(text, bytes, out_problem);
    case BYTES_INTEGER:
        return decode_integer(text, bytes, out_problem);
    case BYTES_TEXT:
    case BYTES_RAW:
        break;
    }
    buffer_append_slice(bytes, text);
    return true;
}

static void encode_escaped(tern_slice bytes, struct buffer *text) {
    const char *data = bytes.data;
    for (size_t i = 0; i < bytes.size;) {
        unsigned char byte = (unsigned char)data[i];
        size_t length = utf8_decode(data + i, bytes.size - i, NULL);
        bool is_quote = byte == '"' || byte == '\\';
        if (length > 0 && !is_quote && utf8_is_printable(tern_slice_of(data + i, length))) {
            buffer_append(text, data + i, length);
            i += length;
            continue;
        }
        /* \0 is left out: a digit behind it would be read with it elsewhere. */
        const char *letter =
            byte != 0 && byte != '\'' ? memchr(escape_bytes, byte, sizeof(escape_bytes) - 1) : NULL;
        buffer_append_char(text, '\\');
        if (letter != NULL) {
            buffer_append_char(text, escape_letters[letter - escape_bytes]);
        } else {
            buffer_append_char(text, 'x');
            buffer_append_char(text, hex_digits[byte >> 4]);
            buffer_append_char(text, hex_digits[byte & 15]);
        }
        i++;
    }
}

static void encode_hex(tern_slice bytes, struct buffer *text) {
    const unsigned char *data = bytes.data;
    char *place = buffer_reserve(text, bytes.size * 2);
    for (size_t i = 0; i < bytes.size; i++) {
        place[2 * i] = hex_digits[data[i] >> 4];
        place[2 * i + 1] = hex_digits[data[i] & 15];
    }
    text->size += bytes.size * 2;
    text->data[text->size] = '\0';
}

static void encode_base64(tern_slice bytes, struct buffer *text) {
    const unsigned char *data = bytes.data;
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t number = (uint32_t)data[i] << 16;
        number |= left > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        number |= left > 2 ? (uint32_t)data[i + 2] : 0;
        char group[4] = {base64_digits[number >> 18], base64_digits[number >> 12 & 63],
                         left > 1 ? base64_digits[number >> 6 & 63] : '=',
                         left > 2 ? base64_digits[number & 63] : '='};
        buffer_append(text, group, sizeof(group));
    }
}

static void encode_text(tern_slice bytes, struct buffer *text) {
    bool is_marked = bytes.size > 0 && ((const char *)bytes.data)[0] == '"';
    if (!is_marked && utf8_is_printable(bytes)) {
        buffer_append_slice(text, bytes);
        return;
    }
    buffer_append_char(text, '"');
    encode_escaped(bytes, text);
    buffer_append_char(text, '"');
}

static void encode_integer(tern_slice bytes, struct buffer *text) {
    const unsigned char *data = bytes.data;
    if (bytes.size != 8) {
        encode_text(bytes, text);
        return;
    }
    uint64_t number = 0;
    for (size_t i = 8; i > 0; i--) {
        number = number << 8 | data[i - 1];
    }
    buffer_print(text, "%" PRId64, (int64_t)number);
}

void bytes_encode(enum bytes_format format, tern_slice bytes, struct buffer *text) {
    switch (format) {
    case BYTES_TEXT:
        encode_text(bytes, text);
        break;
    case BYTES_RAW:
        buffer_append_slice(text, bytes);
        break;
    case BYTES_ESCAPED:
        encode_escaped(bytes, text);
        break;
    case BYTES_HEX:
        encode_hex(bytes, text);
        break;
    case BYTES_BASE64:
        encode_base64(bytes, text);
        break;
    case BYTES_INTEGER:
        encode_integer(bytes, text);
        break;
    }
}
