/* SPDX-License-Identifier: Apache-2.0 */
#include "os/page_spill.h"

#include "base/error.h"
#include "os/file.h"
#include "os/pages.h"

/* What a file system keeps of one write in one piece, one read of a byte brings back. */
#define PIECE_BYTES ((size_t)64 << 10)

void page_spill_init(struct page_spill *spill, const tern_allocator *allocator) {
    *spill = (struct page_spill){.allocator = allocator};
}

void page_spill_release(struct page_spill *spill) {
    page_spill_close(spill);
    memory_release(spill->allocator, spill->ranges);
    page_spill_init(spill, spill->allocator);
}

static int descriptor_of(tern_file *file) {
    return file->methods->descriptor != NULL ? file->methods->descriptor(file) : -1;
}

tern_status page_spill_open(const tern_file_system *file_system, const char *directory,
                            struct page_spill *spill, tern_error *error) {
    char path[FILE_PATH_BYTES];
    tern_file *file = NULL;
    tern_status status = path_join(path, directory, SPILL_FILE_NAME, error);
    if (status == TERN_OK) {
        status = file_system->open(file_system->context, path,
                                   TERN_OPEN_CREATE | TERN_OPEN_TRUNCATE, &file, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    status = file_system->remove(file_system->context, path, error);
    if (status == TERN_OK && descriptor_of(file) < 0) {
        status = ERROR_AT(error, TERN_UNSUPPORTED, path, -1, 0,
                          "this file system has no descriptors to map memory from");
    }
    if (status != TERN_OK) {
        (void)file_close(file, NULL);
        return status;
    }
    spill->file = file;
    spill->size_bytes = 0;
    return TERN_OK;
}

void page_spill_close(struct page_spill *spill) {
    (void)file_close(spill->file, NULL);
    spill->file = NULL;
    spill->size_bytes = 0;
}

void page_spill_forget(const struct page_spill *spill) {
    for (size_t i = 0; i < spill->range_count; i++) {
        pages_forget(spill->ranges[i].memory, spill->ranges[i].size_bytes);
    }
}

static tern_status make_room(struct page_spill *spill, tern_error *error) {
    if (spill->range_count < spill->range_capacity) {
        return TERN_OK;
    }
    size_t capacity = spill->range_capacity == 0 ? 16 : spill->range_capacity * 2;
    void *ranges =
        memory_resize(spill->allocator, spill->ranges, capacity * sizeof(spill->ranges[0]));
    if (ranges == NULL) {
        return ERROR_NO_MEMORY(error, "moving memory to a file");
    }
    spill->ranges = ranges;
    spill->range_capacity = capacity;
    return TERN_OK;
}

tern_status page_spill_put(struct page_spill *spill, void *memory, size_t size_bytes,
                           tern_error *error) {
    tern_status status = make_room(spill, error);
    /* In full, before: a mapped page that has no block would be a signal, not an error. */
    for (size_t done = 0; status == TERN_OK && done < size_bytes; done += PIECE_BYTES) {
        size_t left = size_bytes - done;
        status = file_write(spill->file, spill->size_bytes + done, (const uint8_t *)memory + done,
                            left < PIECE_BYTES ? left : PIECE_BYTES, error);
    }
    if (status == TERN_OK) {
        status =
            pages_replace(memory, size_bytes, descriptor_of(spill->file), spill->size_bytes, error);
    }
    if (status == TERN_OK) {
        spill->size_bytes += size_bytes;
        spill->ranges[spill->range_count++] = (struct spilled_range){memory, size_bytes};
    }
    return status;
}
