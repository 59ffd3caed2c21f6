/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How bytes are written for people, in and out.
 *
 *   text     in: the bytes as given. Out: the bytes as they are when they are printable UTF-8 and
 * do not begin with a double quote, otherwise the escaped form within double quotes; so what is
 * printed says without doubt which bytes were meant raw      the bytes as they are, in and out
 *   escaped  backslash escapes: \\ \" \' \0 \a \b \e \f \n \r \t \v \xNN \uNNNN; out: everything
 *            that is not printable is escaped
 *   hex      two digits a byte
 *   base64   RFC 4648 with padding
 *   integer  a decimal number, kept as 8 bytes little-endian, as `merge add` counts
 */
#ifndef TERN_CLI_BYTES_FORMAT_H
#define TERN_CLI_BYTES_FORMAT_H

#include "cli/buffer.h"
#include <stdbool.h>

enum bytes_format {
    BYTES_TEXT,
    BYTES_RAW,
    BYTES_ESCAPED,
    BYTES_HEX,
    BYTES_BASE64,
    BYTES_INTEGER,
};

/* Choices for the option table. */
#define BYTES_FORMAT_CHOICES "text|raw|escaped|hex|base64|integer"

bool bytes_format_from_name(const char *name, enum bytes_format *out_format);
/* Appends the bytes that `text` means. On failure returns false with a static sentence in
 * `out_problem`; what was appended until then stays. */
bool bytes_decode(enum bytes_format format, tern_slice text, struct buffer *bytes,
                  const char **out_problem);
/* Appends `bytes` written in `format`. Integers of another length than 8 bytes are written as
 * text. */
void bytes_encode(enum bytes_format format, tern_slice bytes, struct buffer *text);
/* Appends one escape sequence; `sequence` stands behind the backslash. Returns its length, or 0
 * with `out_problem`. */
size_t escape_decode(const char *sequence, size_t size, struct buffer *bytes,
                     const char **out_problem);

#endif
