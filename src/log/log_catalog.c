/* SPDX-License-Identifier: Apache-2.0 */
/* What segment files there are; the first half of log_chain.h. */
#include <stdlib.h>

#include "base/error.h"
#include "log/log_chain.h"

void log_catalog_init(struct log_catalog *catalog, const struct log_options *options) {
    *catalog = (struct log_catalog){.options = options};
}

void log_catalog_release(struct log_catalog *catalog) {
    memory_release(catalog->options->allocator, catalog->entries);
    catalog->entries = NULL;
    catalog->count = catalog->capacity = 0;
}

struct listing {
    struct log_catalog *catalog;
    bool is_out_of_memory;
};

static bool note_name(void *context, const char *name) {
    struct listing *listing = context;
    struct log_catalog *catalog = listing->catalog;
    uint32_t id;
    if (!log_segment_name_parse(name, &id)) {
        return true;
    }
    if (catalog->count == catalog->capacity) {
        size_t capacity = catalog->capacity == 0 ? 16 : catalog->capacity * 2;
        struct log_catalog_entry *entries = memory_resize(
            catalog->options->allocator, catalog->entries, capacity * sizeof(*catalog->entries));
        if (entries == NULL) {
            listing->is_out_of_memory = true;
            return false;
        }
        catalog->entries = entries;
        catalog->capacity = capacity;
    }
    catalog->entries[catalog->count++] = (struct log_catalog_entry){.id = id};
    return true;
}

static int compare_ids(const void *left, const void *right) {
    uint32_t a = ((const struct log_catalog_entry *)left)->id;
    uint32_t b = ((const struct log_catalog_entry *)right)->id;
    return (a > b) - (a < b);
}

static tern_status read_entry(const struct log_options *options, struct log_catalog_entry *entry,
                              uint8_t *block, tern_error *error) {
    struct log_segment *segment = NULL;
    tern_status status = log_segment_open(options, entry->id, 0, TERN_OPEN_READ, &segment, error);
    if (status != TERN_OK) {
        return status;
    }
    size_t got = 0;
    status = segment->file->methods->size(segment->file, &entry->file_bytes, error);
    if (status == TERN_OK) {
        status = file_read(segment->file, 0, block, LOG_HEADER_BYTES, &got, error);
    }
    if (status == TERN_OK) {
        entry->state = log_header_decode(block, got, entry->id, &entry->header);
        if (entry->state == LOG_HEADER_VERSION) {
            char path[FILE_PATH_BYTES];
            status = log_segment_path(options, entry->id, path, error);
            if (status == TERN_OK) {
                status = ERROR_AT(error, TERN_VERSION, path, 8, 0,
                                  "log segment written by a newer release; open the database "
                                  "with that release");
            }
        }
    }
    log_segment_close(options, segment);
    return status;
}

tern_status log_catalog_read(struct log_catalog *catalog, tern_error *error) {
    const struct log_options *options = catalog->options;
    struct listing listing = {catalog, false};
    catalog->count = 0;
    tern_status status = options->file_system->list(options->file_system->context,
                                                    options->directory, note_name, &listing, error);
    if (status != TERN_OK) {
        return status;
    }
    uint8_t *block =
        listing.is_out_of_memory ? NULL : memory_allocate(options->allocator, LOG_HEADER_BYTES);
    if (block == NULL) {
        return ERROR_NO_MEMORY(error, "listing log segments");
    }
    if (catalog->count > 1) {
        qsort(catalog->entries, catalog->count, sizeof(*catalog->entries), compare_ids);
    }
    size_t kept = 0;
    for (size_t i = 0; i < catalog->count && status == TERN_OK; i++) {
        struct log_catalog_entry entry = catalog->entries[i];
        status = read_entry(options, &entry, block, error);
        if (status == TERN_NOT_FOUND) {
            /* Recycled between listing and opening: whoever scans a living log may see that. */
            status = TERN_OK;
            continue;
        }
        catalog->entries[kept++] = entry;
    }
    catalog->count = kept;
    memory_release(options->allocator, block);
    return status;
}

const struct log_catalog_entry *log_catalog_find(const struct log_catalog *catalog, uint32_t id) {
    for (size_t i = 0; i < catalog->count; i++) {
        if (catalog->entries[i].id == id) {
            return &catalog->entries[i];
        }
    }
    return NULL;
}

const struct log_catalog_entry *log_catalog_successor(const struct log_catalog *catalog,
                                                      uint32_t id) {
    for (size_t i = catalog->count; i > 0; i--) {
        const struct log_catalog_entry *entry = &catalog->entries[i - 1];
        if (entry->id <= id) {
            return NULL;
        }
        if (entry->state == LOG_HEADER_VALID &&
            log_position_segment(entry->header.previous_end) == id) {
            return entry;
        }
    }
    return NULL;
}

const struct log_catalog_entry *log_catalog_first(const struct log_catalog *catalog) {
    const struct log_catalog_entry *lowest = NULL;
    for (size_t i = catalog->count; i > 0; i--) {
        const struct log_catalog_entry *entry = &catalog->entries[i - 1];
        if (entry->state == LOG_HEADER_VALID && entry->header.previous_end == 0) {
            return entry;
        }
        if (entry->state == LOG_HEADER_VALID) {
            lowest = entry;
        }
    }
    return lowest;
}
