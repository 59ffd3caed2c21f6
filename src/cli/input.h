/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a file, standard input or memory by lines or by exact sizes, with bounded memory. */
#ifndef TERN_CLI_INPUT_H
#define TERN_CLI_INPUT_H

#include "cli/buffer.h"
#include <stdbool.h>
#include <stdint.h>
#include <tern/error.h>

/* Longest line, CSV record, or block of a dump. */
#define INPUT_LINE_BYTES_MAX ((size_t)256 << 20)

struct input {
    const char *name; /* for messages */
    int descriptor;   /* -1: memory only */
    bool owns_descriptor;
    bool has_ended;
    int system_errno; /* of a failed read, EINTR when Ctrl-C ended it, or 0 */
    char *chunk;
    size_t begin; /* unread bytes are [begin, end) of the chunk */
    size_t end;
    size_t capacity;
    uint64_t line_no; /* of the line read last, from 1 */
    uint64_t consumed_bytes;
    uint64_t total_bytes; /* 0 when unknown */
};

enum input_result { INPUT_OK, INPUT_END, INPUT_TOO_LONG, INPUT_FAILED };

/* Opens `path`, "-" for standard input. `path` must outlive the input. */
tern_status input_open(struct input *input, const char *path, tern_error *error);
/* Reads from a copy of `text`. */
void input_open_memory(struct input *input, tern_slice text);
/* Leaves out the mark that some programs put before UTF-8, where it stands next. */
void input_skip_mark(struct input *input);
/* A line without its newline; the last one may lack it. Lives until the next call. INPUT_TOO_LONG
 * leaves the input unusable. */
enum input_result input_line(struct input *input, tern_slice *out_line);
/* Exactly `size` bytes; INPUT_END when nothing is left, INPUT_TOO_LONG when less is left. */
enum input_result input_bytes(struct input *input, size_t size, const char **out_bytes);
/* True when a byte can be looked at without consuming it. */
bool input_peek(struct input *input, char *out_byte);
/* Bytes that are there, up to `capacity`, to be copied; 0 at the end. */
enum input_result input_copy(struct input *input, char *bytes, size_t capacity, size_t *out_size);
void input_close(struct input *input);

#endif
