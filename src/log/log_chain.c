/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk along the chain, and what its end means.
 *
 *   segment 7                     segment 8                 segment 9
 *   header | r r r r SEAL         header | r r r r x . .    header | r r r
 *          chain ------------------^      M     E           previous_end = M in segment 8
 *
 * Invariants:
 * 1. A segment is left where its successor's header says, whatever bytes follow there. The
 *    successor is the valid segment of the highest id that names it: recovery takes ids above all
 *    others and writes its first header last, so an unfinished recovery leaves no successor.
 * 2. A durable mark is true for ever: everything before it in the chain of its writer had been
 *    synced. So marks found anywhere behind the end prove loss when they are above it, and prove
 *    nothing otherwise.
 * 3. A record counts as found behind the end when it validates standing alone; what is left from
 *    an older life of the file has another salt and never does.
 */
#include "log/log_chain.h"

#include "base/assert.h"
#include "base/error.h"

static log_position position_of(uint32_t id, uint64_t offset) {
    return (log_position)id << 32 | offset;
}

static tern_status corrupt(struct log_walk *walk, const char *invariant, uint32_t id,
                           uint64_t offset, tern_error *error, const char *what) {
    char path[FILE_PATH_BYTES];
    walk->broken = invariant;
    tern_status status = log_segment_path(walk->options, id, path, error);
    if (status != TERN_OK) {
        return status;
    }
    return ERROR_AT(error, TERN_CORRUPTION, path, offset, 0,
                    "%s; run `tern verify` for the extent, `tern repair` to save what is readable",
                    what);
}

static uint64_t usable_bytes(const struct log_catalog_entry *entry) {
    return entry->file_bytes < entry->header.segment_bytes ? entry->file_bytes
                                                           : entry->header.segment_bytes;
}

static tern_status attach(struct log_walk *walk, const struct log_catalog_entry *entry,
                          tern_error *error) {
    char path[FILE_PATH_BYTES];
    tern_status status = log_segment_path(walk->options, entry->id, path, error);
    if (status != TERN_OK) {
        return status;
    }
    tern_file *file = NULL;
    const tern_file_system *file_system = walk->options->file_system;
    status = file_system->open(file_system->context, path, TERN_OPEN_READ, &file, error);
    if (status != TERN_OK) {
        return status;
    }
    (void)file_close(walk->file, NULL);
    walk->file = file;
    walk->entry = entry;
    walk->successor = log_catalog_successor(walk->catalog, entry->id);
    log_window_attach(&walk->window, file, &entry->header, usable_bytes(entry));
    return TERN_OK;
}

tern_status log_walk_enter(struct log_walk *walk, const struct log_catalog_entry *entry,
                           tern_error *error) {
    tern_status status = attach(walk, entry, error);
    if (status != TERN_OK) {
        return status;
    }
    walk->position = position_of(entry->id, LOG_HEADER_BYTES);
    walk->chain = entry->header.checksum;
    walk->chain_is_known = true;
    if (entry->header.durable > walk->durable) {
        walk->durable = entry->header.durable;
    }
    return TERN_OK;
}

tern_status log_walk_begin(struct log_walk *walk, const struct log_catalog *catalog,
                           log_position start, tern_error *error) {
    *walk = (struct log_walk){.options = catalog->options, .catalog = catalog};
    log_window_init(&walk->window, catalog->options->allocator);
    const struct log_catalog_entry *entry =
        start == 0 ? log_catalog_first(catalog)
                   : log_catalog_find(catalog, log_position_segment(start));
    ASSERT(entry != NULL && entry->state == LOG_HEADER_VALID);
    tern_status status = log_walk_enter(walk, entry, error);
    uint64_t offset = log_position_offset(start);
    if (status == TERN_OK && start != 0 &&
        (offset < LOG_HEADER_BYTES || offset > walk->window.limit ||
         offset % LOG_RECORD_ALIGNMENT != 0)) {
        status = corrupt(walk, "log.start", entry->id, offset, error,
                         "replay should begin at a place that this log segment does not have");
    }
    if (status == TERN_OK && start > walk->position) {
        /* Whoever names a start has the promise that everything before it is durable. */
        walk->position = start;
        walk->chain_is_known = false;
    }
    if (status == TERN_OK && start > walk->durable) {
        walk->durable = start;
    }
    return status;
}

void log_walk_end(struct log_walk *walk) {
    (void)file_close(walk->file, NULL);
    walk->file = NULL;
    log_window_release(&walk->window);
}

static void check_watch(struct log_walk *walk) {
    if (walk->watch != 0 && walk->position == walk->watch) {
        walk->watch_was_met = true;
        walk->watch_chain = walk->chain;
        walk->watch_chain_is_known = walk->chain_is_known;
    }
}

/* Goes on in the successor when the chain leaves the segment here. */
static tern_status follow_chain(struct log_walk *walk, bool *out_moved, tern_error *error) {
    const struct log_catalog_entry *next = walk->successor;
    *out_moved = false;
    if (next == NULL || walk->position < next->header.previous_end) {
        return TERN_OK;
    }
    if (walk->position > next->header.previous_end) {
        return corrupt(walk, "log.start", next->id, 0, error,
                       "the log was continued from a place before the one asked for");
    }
    if (walk->chain_is_known && next->header.previous_chain_is_known &&
        walk->chain != next->header.previous_chain) {
        return corrupt(walk, "log.chain", next->id, 0, error,
                       "log segment does not continue the chain of the one before");
    }
    *out_moved = true;
    return log_walk_enter(walk, next, error);
}

static void pass_record(struct log_walk *walk, const struct log_record_header *header,
                        log_position end) {
    walk->last_is_mark = header->kind == LOG_RECORD_MARK && header->durable == walk->position;
    walk->last_begin = walk->position;
    walk->last_chain = header->chain;
    if (header->incarnation > walk->incarnation_max) {
        walk->incarnation_max = header->incarnation;
    }
    walk->chain = header->checksum;
    walk->chain_is_known = true;
    if (header->durable > walk->durable) {
        walk->durable = header->durable;
    }
    walk->position = end;
}

/* Does what lies at the walk's position continue the chain, within what the successor leaves? */
static bool is_next(const struct log_walk *walk, enum log_found found,
                    const struct log_record_header *header) {
    if (found != LOG_FOUND_RECORD || (walk->chain_is_known && header->chain != walk->chain)) {
        return false;
    }
    log_position end = walk->position + log_record_bytes(header->payload_bytes);
    return walk->successor == NULL || end <= walk->successor->header.previous_end;
}

tern_status log_walk_next(struct log_walk *walk, struct log_record *out_record, bool *out_found,
                          tern_error *error) {
    for (;;) {
        bool moved;
        check_watch(walk);
        tern_status status = follow_chain(walk, &moved, error);
        if (status != TERN_OK) {
            return status;
        }
        if (moved) {
            continue;
        }
        enum log_found found;
        struct log_record_header header;
        const uint8_t *bytes;
        uint64_t offset = log_position_offset(walk->position);
        status = log_window_look(&walk->window, offset, &found, &header, &bytes, error);
        if (status != TERN_OK) {
            return status;
        }
        if (!is_next(walk, found, &header)) {
            *out_found = false;
            return TERN_OK;
        }
        log_position position = walk->position;
        log_position end = position + log_record_bytes(header.payload_bytes);
        pass_record(walk, &header, end);
        if (header.kind == LOG_RECORD_SEAL) {
            continue;
        }
        walk->records++;
        *out_record = (struct log_record){
            .kind = (enum log_record_kind)header.kind,
            .position = position,
            .end = end,
            .incarnation = header.incarnation,
            .payload = bytes + LOG_RECORD_HEADER_BYTES,
            .payload_size = header.payload_bytes,
        };
        *out_found = true;
        return TERN_OK;
    }
}

/* What the search behind the end has come upon. */
struct evidence {
    log_position durable; /* highest mark */
    uint32_t segment;     /* where it was found */
    uint64_t offset;
    uint64_t recognised_bytes;
};

static void take_evidence(struct evidence *evidence, log_position durable, uint32_t segment,
                          uint64_t offset) {
    if (durable > evidence->durable) {
        evidence->durable = durable;
        evidence->segment = segment;
        evidence->offset = offset;
    }
}

static tern_status search_segment(struct log_window *window, uint64_t offset,
                                  struct evidence *evidence, tern_error *error) {
    while (offset + LOG_RECORD_HEADER_BYTES <= window->limit) {
        enum log_found found;
        struct log_record_header header;
        const uint8_t *bytes;
        tern_status status = log_window_look(window, offset, &found, &header, &bytes, error);
        if (status != TERN_OK) {
            return status;
        }
        uint64_t size = LOG_RECORD_ALIGNMENT;
        if (found == LOG_FOUND_RECORD) {
            take_evidence(evidence, header.durable, window->id, offset);
            size = log_record_bytes(header.payload_bytes);
            evidence->recognised_bytes += size;
        }
        offset += size;
    }
    return TERN_OK;
}

static tern_status search_later_segments(struct log_walk *walk, struct evidence *evidence,
                                         tern_error *error) {
    const struct log_catalog *catalog = walk->catalog;
    uint32_t last_id = walk->entry->id;
    for (size_t i = 0; i < catalog->count; i++) {
        const struct log_catalog_entry *entry = &catalog->entries[i];
        if (entry->id <= last_id) {
            continue;
        }
        if (entry->state == LOG_HEADER_DAMAGED) {
            return corrupt(walk, "log.header", entry->id, 0, error,
                           "both copies of the header of a log segment are damaged");
        }
        if (entry->state != LOG_HEADER_VALID) {
            continue;
        }
        take_evidence(evidence, entry->header.durable, entry->id, 0);
        tern_status status = attach(walk, entry, error);
        if (status == TERN_OK) {
            status = search_segment(&walk->window, LOG_HEADER_BYTES, evidence, error);
        }
        if (status != TERN_OK) {
            return status;
        }
    }
    return TERN_OK;
}

/* When the log is alive the bad record may have been finished since it was read. */
static tern_status look_again(struct log_walk *walk, bool *out_is_whole, tern_error *error) {
    enum log_found found;
    struct log_record_header header;
    const uint8_t *bytes;
    log_window_forget(&walk->window);
    tern_status status = log_window_look(&walk->window, log_position_offset(walk->position), &found,
                                         &header, &bytes, error);
    if (status == TERN_OK) {
        *out_is_whole = is_next(walk, found, &header);
    }
    return status;
}

static tern_status lost(struct log_walk *walk, const struct evidence *evidence, tern_error *error) {
    char path[FILE_PATH_BYTES];
    walk->broken = "log.record";
    tern_status status = log_segment_path(walk->options, walk->entry->id, path, error);
    if (status != TERN_OK) {
        return status;
    }
    return ERROR_AT(error, TERN_CORRUPTION, path, log_position_offset(walk->position), 0,
                    "log record is damaged that was durable: log-%016x at offset %llu says that "
                    "the log is durable to segment %u offset %u; run `tern verify` for the extent, "
                    "`tern repair` to save what is readable",
                    (unsigned)evidence->segment, (unsigned long long)evidence->offset,
                    (unsigned)log_position_segment(evidence->durable),
                    (unsigned)log_position_offset(evidence->durable));
}

tern_status log_walk_judge(struct log_walk *walk, uint64_t *out_discarded_bytes,
                           tern_error *error) {
    const struct log_catalog_entry *entry = walk->entry;
    struct evidence evidence = {0};
    enum log_found found;
    struct log_record_header header;
    const uint8_t *bytes;
    uint64_t torn_bytes = 0;
    uint64_t offset = log_position_offset(walk->position);
    tern_status status = log_window_look(&walk->window, offset, &found, &header, &bytes, error);
    if (status != TERN_OK) {
        return status;
    }
    if (found == LOG_FOUND_TORN) {
        torn_bytes = log_record_bytes(header.payload_bytes);
    }
    take_evidence(&evidence, walk->durable, entry->id, offset);
    status = search_segment(&walk->window, offset, &evidence, error);
    if (status == TERN_OK) {
        status = search_later_segments(walk, &evidence, error);
    }
    if (walk->entry != entry) {
        tern_status back = attach(walk, entry, status == TERN_OK ? error : NULL);
        status = status == TERN_OK ? back : status;
    }
    if (status == TERN_OK && evidence.durable > walk->position) {
        bool is_whole = false;
        status = look_again(walk, &is_whole, error);
        walk->has_grown = is_whole;
        if (status == TERN_OK && !is_whole) {
            status = lost(walk, &evidence, error);
        }
    }
    if (status == TERN_OK) {
        uint64_t recognised = evidence.recognised_bytes;
        *out_discarded_bytes = recognised > torn_bytes ? recognised : torn_bytes;
    }
    return status;
}

tern_status log_walk_salvage(struct log_walk *walk, uint64_t offset, bool *out_found,
                             tern_error *error) {
    for (; offset + LOG_RECORD_HEADER_BYTES <= walk->window.limit; offset += LOG_RECORD_ALIGNMENT) {
        enum log_found found;
        struct log_record_header header;
        const uint8_t *bytes;
        tern_status status = log_window_look(&walk->window, offset, &found, &header, &bytes, error);
        if (status != TERN_OK) {
            return status;
        }
        if (found == LOG_FOUND_RECORD) {
            walk->position = position_of(walk->entry->id, offset);
            walk->chain_is_known = false;
            *out_found = true;
            return TERN_OK;
        }
    }
    *out_found = false;
    return TERN_OK;
}
