/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/utf8.h"

size_t utf8_decode(const char *data, size_t size, uint32_t *out_code) {
    const unsigned char *bytes = (const unsigned char *)data;
    if (size == 0) {
        return 0;
    }
    uint32_t code = bytes[0];
    size_t length = 1;
    uint32_t smallest = 0;
    if (code >= 0x80) {
        if (code >= 0xc2 && code <= 0xdf) {
            length = 2, code &= 0x1f, smallest = 0x80;
        } else if (code >= 0xe0 && code <= 0xef) {
            length = 3, code &= 0x0f, smallest = 0x800;
        } else if (code >= 0xf0 && code <= 0xf4) {
            length = 4, code &= 0x07, smallest = 0x10000;
        } else {
            return 0;
        }
    }
    if (length > size) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (bytes[i] & 0x3fU);
    }
    if (code < smallest || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    if (out_code != NULL) {
        *out_code = code;
    }
    return length;
}

size_t utf8_encode(uint32_t code, char out_bytes[4]) {
    if (code < 0x80) {
        out_bytes[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out_bytes[0] = (char)(0xc0 | code >> 6);
        out_bytes[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out_bytes[0] = (char)(0xe0 | code >> 12);
        out_bytes[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out_bytes[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out_bytes[0] = (char)(0xf0 | code >> 18);
    out_bytes[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out_bytes[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out_bytes[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

bool utf8_is_valid(tern_slice text) {
    const char *data = text.data;
    for (size_t i = 0; i < text.size;) {
        size_t length = utf8_decode(data + i, text.size - i, NULL);
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}

static bool code_is_printable(uint32_t code) {
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) {
        return false;
    }
    bool separates_lines = code == 0x2028 || code == 0x2029;
    bool turns_direction = code == 0x200e || code == 0x200f || code == 0x061c ||
                           (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
    bool is_noncharacter = (code & 0xfffe) == 0xfffe || (code >= 0xfdd0 && code <= 0xfdef);
    return !separates_lines && !turns_direction && !is_noncharacter && code != 0xfeff;
}

bool utf8_is_printable(tern_slice text) {
    const char *data = text.data;
    for (size_t i = 0; i < text.size;) {
        uint32_t code = 0;
        size_t length = utf8_decode(data + i, text.size - i, &code);
        if (length == 0 || !code_is_printable(code)) {
            return false;
        }
        i += length;
    }
    return true;
}

static size_t code_width(uint32_t code) {
    if (code < 0x20 || (code >= 0x300 && code <= 0x36f) || (code >= 0x200b && code <= 0x200f) ||
        (code >= 0xfe00 && code <= 0xfe0f) || (code >= 0x20d0 && code <= 0x20ff)) {
        return 0;
    }
    bool is_wide = (code >= 0x1100 && code <= 0x115f) || (code >= 0x2e80 && code <= 0x303e) ||
                   (code >= 0x3041 && code <= 0xa4cf) || (code >= 0xac00 && code <= 0xd7a3) ||
                   (code >= 0xf900 && code <= 0xfaff) || (code >= 0xfe30 && code <= 0xfe6f) ||
                   (code >= 0xff00 && code <= 0xff60) || (code >= 0xffe0 && code <= 0xffe6) ||
                   (code >= 0x1f300 && code <= 0x1f64f) || (code >= 0x1f900 && code <= 0x1f9ff) ||
                   (code >= 0x20000 && code <= 0x3fffd);
    return is_wide ? 2 : 1;
}

size_t utf8_width_columns(tern_slice text) {
    const char *data = text.data;
    size_t columns = 0;
    for (size_t i = 0; i < text.size;) {
        uint32_t code = 0;
        size_t length = utf8_decode(data + i, text.size - i, &code);
        if (length == 0) {
            length = 1;
            columns++;
        } else {
            columns += code_width(code);
        }
        i += length;
    }
    return columns;
}
