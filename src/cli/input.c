/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/input.h"

#include "cli/fail.h"
#include "cli/interrupt.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_BYTES = 256 * 1024, POLL_MS = 250 };

tern_status input_open(struct input *input, const char *path, tern_error *error) {
    *input = (struct input){.name = path, .descriptor = -1};
    if (strcmp(path, "-") == 0) {
        input->name = "standard input";
        input->descriptor = STDIN_FILENO;
    } else {
        input->descriptor = open(path, O_RDONLY | O_CLOEXEC);
        input->owns_descriptor = true;
    }
    struct stat status = {0};
    if (input->descriptor < 0 || fstat(input->descriptor, &status) != 0) {
        int code = errno;
        input_close(input);
        return fail_file(error, code, path, "cannot open the file to read");
    }
    if (S_ISDIR(status.st_mode)) {
        input_close(input);
        return fail_file(error, EISDIR, path, "cannot read a directory");
    }
    if (S_ISREG(status.st_mode) && status.st_size > 0) {
        off_t offset = lseek(input->descriptor, 0, SEEK_CUR);
        input->total_bytes = (uint64_t)(status.st_size - (offset > 0 ? offset : 0));
    }
    return TERN_OK;
}

void input_open_memory(struct input *input, tern_slice text) {
    *input = (struct input){.name = "memory", .descriptor = -1, .has_ended = true};
    input->chunk = memory_text(text.data, text.size);
    input->end = text.size;
    input->capacity = text.size;
    input->total_bytes = text.size;
}

/* Reads are restarted after a signal, so it is not they that wait. False: Ctrl-C came first. */
static bool wait_for_bytes(struct input *input) {
    struct pollfd descriptor = {.fd = input->descriptor, .events = POLLIN};
    while (!interrupt_is_pending()) {
        int ready = poll(&descriptor, 1, POLL_MS);
        if (ready > 0 || (ready < 0 && errno != EINTR)) {
            return true;
        }
    }
    input->system_errno = EINTR;
    return false;
}

/* Reads more behind what is unread. False at the end or on a failure. */
static bool fill(struct input *input) {
    if (input->has_ended || input->system_errno != 0) {
        return false;
    }
    if (input->begin > 0 && input->begin == input->end) {
        input->begin = input->end = 0;
    }
    if (input->capacity - input->end < CHUNK_BYTES / 2) {
        if (input->begin > 0) {
            memmove(input->chunk, input->chunk + input->begin, input->end - input->begin);
        }
        input->end -= input->begin;
        input->begin = 0;
        if (input->capacity - input->end < CHUNK_BYTES / 2) {
            input->capacity = input->capacity > 0 ? input->capacity * 2 : CHUNK_BYTES;
            input->chunk = memory_resize(input->chunk, input->capacity);
        }
    }
    while (wait_for_bytes(input)) {
        ssize_t size =
            read(input->descriptor, input->chunk + input->end, input->capacity - input->end);
        if (size > 0) {
            input->end += (size_t)size;
            return true;
        }
        if (size == 0) {
            input->has_ended = true;
            return false;
        }
        if (errno != EINTR) {
            input->system_errno = errno;
            return false;
        }
    }
    return false;
}

static const char *consume(struct input *input, size_t size) {
    const char *bytes = input->chunk + input->begin;
    input->begin += size;
    input->consumed_bytes += size;
    return bytes;
}

void input_skip_mark(struct input *input) {
    static const char mark[] = "\xef\xbb\xbf";
    size_t size = sizeof(mark) - 1;
    for (;;) {
        size_t unread = input->end - input->begin;
        size_t seen = unread < size ? unread : size;
        if (seen > 0 && memcmp(input->chunk + input->begin, mark, seen) != 0) {
            return;
        }
        if (seen == size) {
            (void)consume(input, size);
            return;
        }
        if (!fill(input)) {
            return;
        }
    }
}

enum input_result input_line(struct input *input, tern_slice *out_line) {
    size_t searched = 0;
    for (;;) {
        size_t unread = input->end - input->begin;
        const char *from = input->chunk + input->begin;
        const char *newline =
            unread > searched ? memchr(from + searched, '\n', unread - searched) : NULL;
        if (newline != NULL) {
            size_t size = (size_t)(newline - from);
            *out_line = tern_slice_of(consume(input, size + 1), size);
            input->line_no++;
            return INPUT_OK;
        }
        searched = unread;
        if (unread > INPUT_LINE_BYTES_MAX) {
            return INPUT_TOO_LONG;
        }
        if (!fill(input)) {
            break;
        }
    }
    if (input->system_errno != 0) {
        return INPUT_FAILED;
    }
    size_t rest = input->end - input->begin;
    if (rest == 0) {
        return INPUT_END;
    }
    *out_line = tern_slice_of(consume(input, rest), rest);
    input->line_no++;
    return INPUT_OK;
}

enum input_result input_bytes(struct input *input, size_t size, const char **out_bytes) {
    if (size > INPUT_LINE_BYTES_MAX) {
        return INPUT_TOO_LONG;
    }
    while (input->end - input->begin < size) {
        if (!fill(input)) {
            if (input->system_errno != 0) {
                return INPUT_FAILED;
            }
            return input->end == input->begin ? INPUT_END : INPUT_TOO_LONG;
        }
    }
    *out_bytes = size > 0 ? consume(input, size) : "";
    return INPUT_OK;
}

bool input_peek(struct input *input, char *out_byte) {
    if (input->end == input->begin && !fill(input)) {
        return false;
    }
    *out_byte = input->chunk[input->begin];
    return true;
}

enum input_result input_copy(struct input *input, char *bytes, size_t capacity, size_t *out_size) {
    if (input->end == input->begin && !fill(input) && input->system_errno != 0) {
        return INPUT_FAILED;
    }
    size_t size = input->end - input->begin;
    size = size < capacity ? size : capacity;
    if (size > 0) {
        memcpy(bytes, consume(input, size), size);
    }
    *out_size = size;
    return INPUT_OK;
}

void input_close(struct input *input) {
    if (input->owns_descriptor && input->descriptor >= 0) {
        close(input->descriptor);
    }
    free(input->chunk);
    *input = (struct input){.descriptor = -1};
}
