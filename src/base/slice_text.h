/* SPDX-License-Identifier: Apache-2.0 */
/* Keys in messages. */
#ifndef TERN_BASE_SLICE_TEXT_H
#define TERN_BASE_SLICE_TEXT_H

#include <tern/slice.h>

/* Capacity of the text in bytes, with its terminating zero. */
#define SLICE_TEXT_BYTES 96

/* The bytes within double quotes; what is not printable ASCII, and quotes and backslashes, as \xNN.
 * What does not fit ends in "... behind the quote. Returns out_text. */
const char *slice_text(tern_slice slice, char out_text[SLICE_TEXT_BYTES]);

#endif
