/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slice_text.h"

#include <stdint.h>

#define ESCAPE_BYTES ((size_t)4) /* \xNN */
#define END_BYTES    sizeof("\"...")

const char *slice_text(tern_slice slice, char out_text[SLICE_TEXT_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = slice.data;
    size_t used = 0;
    size_t i = 0;
    out_text[used++] = '"';
    for (; i < slice.size && used + ESCAPE_BYTES + END_BYTES <= SLICE_TEXT_BYTES; i++) {
        uint8_t byte = bytes[i];
        if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\') {
            out_text[used++] = (char)byte;
            continue;
        }
        out_text[used++] = '\\';
        out_text[used++] = 'x';
        out_text[used++] = digits[byte >> 4];
        out_text[used++] = digits[byte & 15];
    }
    memcpy(out_text + used, i < slice.size ? "\"..." : "\"", i < slice.size ? END_BYTES : 2);
    return out_text;
}
