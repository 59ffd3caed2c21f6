/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the records of one segment file through a buffer that slides and grows as needed. */
#ifndef TERN_LOG_WINDOW_H
#define TERN_LOG_WINDOW_H

#include "log/log_format.h"
#include "log/log_segment.h"

/* Borrowed file; owned buffer: log_window_release. One thread at a time. */
struct log_window {
    const tern_allocator *allocator;
    tern_file *file;
    uint8_t *buffer;
    size_t capacity;
    uint64_t offset;            /* of buffer[0] in the file */
    size_t size;                /* valid bytes */
    uint64_t limit;             /* bytes of the file at or beyond this are not read */
    uint64_t payload_bytes_max; /* no writer of such a segment exceeds it */
    uint32_t id;
    uint32_t seed;
};

/* What lies at an offset. */
enum log_found {
    LOG_FOUND_NOTHING, /* no record that can be recognised */
    LOG_FOUND_TORN,    /* a record's header with the chain value expected, its body is bad */
    LOG_FOUND_RECORD   /* a whole record; its chain is for the caller to compare */
};

void log_window_init(struct log_window *window, const tern_allocator *allocator);
void log_window_release(struct log_window *window);

/* Points the window at a segment; keeps the buffer. */
void log_window_attach(struct log_window *window, tern_file *file,
                       const struct log_segment_header *header, uint64_t limit);

/* Forgets what was read, because the file may have changed. */
void log_window_forget(struct log_window *window);

/*
 * Looks for a whole record at `offset`. *out_record points to its first byte, valid until the next
 * call; the header is set for LOG_FOUND_RECORD and LOG_FOUND_TORN. TERN_IO, TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status log_window_look(struct log_window *window, uint64_t offset,
                                            enum log_found *out_found,
                                            struct log_record_header *out_header,
                                            const uint8_t **out_record, tern_error *error);

#endif
