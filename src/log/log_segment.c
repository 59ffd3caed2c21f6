/* SPDX-License-Identifier: Apache-2.0 */
#include "log/log_segment.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"

/* Large buffered writes leave large folios behind, whose sync later costs five times as much. */
#define PREWRITE_BYTES 4096u

tern_status log_segment_path(const struct log_options *options, uint32_t id,
                             char out_path[FILE_PATH_BYTES], tern_error *error) {
    char name[LOG_NAME_BYTES];
    log_segment_name(name, id);
    return path_join(out_path, options->directory, name, error);
}

tern_status log_segment_open(const struct log_options *options, uint32_t id, uint64_t bytes,
                             uint32_t flags, struct log_segment **out_segment, tern_error *error) {
    char path[FILE_PATH_BYTES];
    tern_status status = log_segment_path(options, id, path, error);
    if (status != TERN_OK) {
        return status;
    }
    struct log_segment *segment = memory_allocate_zeroed(options->allocator, sizeof(*segment));
    if (segment == NULL) {
        return ERROR_NO_MEMORY(error, "a log segment");
    }
    segment->id = id;
    segment->bytes = bytes;
    segment->prewritten = bytes;
    segment->can_map = (flags & TERN_OPEN_READ) == 0;
    status = options->file_system->open(options->file_system->context, path, flags, &segment->file,
                                        error);
    if (status != TERN_OK) {
        memory_release(options->allocator, segment);
        return status;
    }
    *out_segment = segment;
    return TERN_OK;
}

tern_status log_segment_create(const struct log_options *options, uint32_t id,
                               struct log_segment **out_segment, tern_error *error) {
    struct log_segment *segment = NULL;
    tern_status status = log_segment_open(options, id, options->segment_bytes,
                                          TERN_OPEN_CREATE | TERN_OPEN_TRUNCATE, &segment, error);
    if (status != TERN_OK) {
        return status;
    }
    segment->prewritten = 0;
    status = segment->file->methods->allocate(segment->file, 0, segment->bytes, error);
    if (status == TERN_UNSUPPORTED) {
        /* Then only writing everything once makes sure of the blocks. */
        status = log_segment_prewrite(options, segment, segment->bytes, error);
    }
    if (status != TERN_OK) {
        log_segment_drop(options, segment);
        return status;
    }
    *out_segment = segment;
    return TERN_OK;
}

tern_status log_segment_prewrite(const struct log_options *options, struct log_segment *segment,
                                 uint64_t bytes, tern_error *error) {
    uint8_t *zeros = memory_allocate_zeroed(options->allocator, PREWRITE_BYTES);
    if (zeros == NULL) {
        return ERROR_NO_MEMORY(error, "preparing a log segment");
    }
    uint64_t left = segment->bytes - segment->prewritten;
    uint64_t end = segment->prewritten + (bytes < left ? bytes : left);
    tern_status status = TERN_OK;
    for (uint64_t at = segment->prewritten; at < end && status == TERN_OK; at += PREWRITE_BYTES) {
        status = file_write(segment->file, at, zeros, PREWRITE_BYTES, error);
    }
    if (status == TERN_OK) {
        status = file_sync(segment->file, error);
    }
    if (status == TERN_OK) {
        segment->prewritten = end;
    }
    memory_release(options->allocator, zeros);
    return status;
}

tern_status log_segment_map(struct log_segment *segment, tern_error *error) {
    if (segment->memory != NULL || !segment->can_map) {
        return TERN_OK;
    }
    void *memory = NULL;
    tern_status status =
        segment->file->methods->map(segment->file, (size_t)segment->bytes, &memory, error);
    if (status == TERN_UNSUPPORTED) {
        segment->can_map = false;
        return TERN_OK;
    }
    if (status == TERN_OK) {
        segment->memory = memory;
    }
    return status;
}

void log_segment_unmap(struct log_segment *segment) {
    if (segment->memory != NULL) {
        segment->file->methods->unmap(segment->file, segment->memory, (size_t)segment->bytes);
        segment->memory = NULL;
    }
}

void log_segment_forget(struct log_segment *segment) {
    log_segment_unmap(segment);
    segment->file->methods->advise(segment->file, 0, segment->bytes, false);
}

tern_status log_segment_put(struct log_segment *segment, uint64_t offset, const void *bytes,
                            size_t size, tern_error *error) {
    ASSERT(offset + size <= segment->bytes);
    if (segment->memory != NULL) {
        memcpy(segment->memory + offset, bytes, size);
        return TERN_OK;
    }
    return file_write(segment->file, offset, bytes, size, error);
}

void log_segment_close(const struct log_options *options, struct log_segment *segment) {
    if (segment == NULL) {
        return;
    }
    log_segment_unmap(segment);
    /* What had to be durable was synced; closing has nothing to add. */
    (void)file_close(segment->file, NULL);
    memory_release(options->allocator, segment);
}

void log_segment_drop(const struct log_options *options, struct log_segment *segment) {
    char path[FILE_PATH_BYTES];
    tern_status status = log_segment_path(options, segment->id, path, NULL);
    log_segment_close(options, segment);
    if (status == TERN_OK) {
        status = options->file_system->remove(options->file_system->context, path, NULL);
        (void)status;
    }
}
