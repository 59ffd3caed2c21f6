/* SPDX-License-Identifier: Apache-2.0 */
#include "log/log_window.h"

#include "base/error.h"

#define WINDOW_BYTES ((size_t)256 << 10)

void log_window_init(struct log_window *window, const tern_allocator *allocator) {
    *window = (struct log_window){.allocator = allocator};
}

void log_window_release(struct log_window *window) {
    memory_release(window->allocator, window->buffer);
    window->buffer = NULL;
    window->capacity = window->size = 0;
}

void log_window_attach(struct log_window *window, tern_file *file,
                       const struct log_segment_header *header, uint64_t limit) {
    window->file = file;
    window->id = header->id;
    window->seed = log_salt_seed(header->salt);
    window->limit = limit;
    window->payload_bytes_max = log_segment_payload_max(header->segment_bytes);
    log_window_forget(window);
}

void log_window_forget(struct log_window *window) {
    window->offset = 0;
    window->size = 0;
}

static tern_status grow(struct log_window *window, size_t capacity, tern_error *error) {
    uint8_t *buffer = memory_resize(window->allocator, window->buffer, capacity);
    if (buffer == NULL) {
        return ERROR_NO_MEMORY(error, "reading the log");
    }
    window->buffer = buffer;
    window->capacity = capacity;
    return TERN_OK;
}

/* Makes [offset, offset + size) readable as far as the file goes; *out_size says how far. */
static tern_status fill(struct log_window *window, uint64_t offset, size_t size,
                        const uint8_t **out_bytes, size_t *out_size, tern_error *error) {
    if (offset < window->offset || offset + size > window->offset + window->size) {
        uint64_t left = offset < window->limit ? window->limit - offset : 0;
        size_t wanted = size > WINDOW_BYTES ? size : WINDOW_BYTES;
        wanted = wanted < left ? wanted : (size_t)left;
        if (wanted > window->capacity) {
            tern_status status = grow(window, wanted, error);
            if (status != TERN_OK) {
                return status;
            }
        }
        size_t got = 0;
        window->size = 0;
        if (wanted > 0) {
            tern_status status =
                file_read(window->file, offset, window->buffer, wanted, &got, error);
            if (status != TERN_OK) {
                return status;
            }
        }
        window->offset = offset;
        window->size = got;
    }
    size_t skip = (size_t)(offset - window->offset);
    size_t available = window->size - skip;
    *out_bytes = window->buffer + skip;
    *out_size = available < size ? available : size;
    return TERN_OK;
}

tern_status log_window_look(struct log_window *window, uint64_t offset, enum log_found *out_found,
                            struct log_record_header *out_header, const uint8_t **out_record,
                            tern_error *error) {
    const uint8_t *bytes;
    size_t size;
    *out_found = LOG_FOUND_NOTHING;
    if (offset + LOG_RECORD_HEADER_BYTES > window->limit) {
        return TERN_OK;
    }
    tern_status status = fill(window, offset, LOG_RECORD_HEADER_BYTES, &bytes, &size, error);
    if (status != TERN_OK || size < LOG_RECORD_HEADER_BYTES) {
        return status;
    }
    log_position position = (log_position)window->id << 32 | offset;
    struct log_record_header header;
    if (!log_record_header_decode(bytes, window->seed, position, window->limit, &header) ||
        header.payload_bytes > window->payload_bytes_max) {
        return TERN_OK;
    }
    size_t whole = (size_t)log_record_bytes(header.payload_bytes);
    status = fill(window, offset, whole, &bytes, &size, error);
    if (status != TERN_OK) {
        return status;
    }
    bool is_whole = size == whole && log_record_is_whole(&header, window->seed, position, bytes);
    *out_found = is_whole ? LOG_FOUND_RECORD : LOG_FOUND_TORN;
    *out_header = header;
    *out_record = bytes;
    return TERN_OK;
}
