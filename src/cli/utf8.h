/* SPDX-License-Identifier: Apache-2.0 */
/* Just enough of UTF-8 to print bytes safely. Pure functions, any thread. */
#ifndef TERN_CLI_UTF8_H
#define TERN_CLI_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tern/slice.h>

/* Length of the valid sequence at `data` (shortest form, no surrogates, at most U+10FFFF), or 0.
 * `out_code` may be NULL. */
size_t utf8_decode(const char *data, size_t size, uint32_t *out_code);
/* Appends nothing; writes 1 to 4 bytes at `out_bytes` and returns how many. */
size_t utf8_encode(uint32_t code, char out_bytes[4]);
bool utf8_is_valid(tern_slice text);
/* Valid, and without control characters or ones that change the direction or order of a line. */
bool utf8_is_printable(tern_slice text);
/* Columns that valid text takes on a terminal; an approximation that knows wide East Asian ranges
 * and combining marks. */
size_t utf8_width_columns(tern_slice text);

#endif
