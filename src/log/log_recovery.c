/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the end of the log and making it fit to be continued.
 *
 * 1. Survey. Walk from the start to the end E of the chain, judge whether that is a torn end or a
 *    loss, and learn M, the highest durable mark (or the start itself, which whoever names it had
 *    made durable).
 * 2. Clean, that is: nothing lies above M but the mark that says so, and no segment claims to
 * follow. Appending goes on at M in the same segment; that mark is written again, with the new
 * incarnation, and synced.
 * 3. Else what lies in [M, E) was read from the page cache and may be nowhere else. It is written
 *    into fresh segments, under a new salt; they are synced, and only then the first of them gets
 *    its header, which names M as the place where the chain leaves the old segment. A crash before
 *    that header is durable finds the old tail again, one after it finds the new; both hold the
 *    same records. What is left of the old tail is then recycled.
 *
 * Segments that the survey did not pass belong to no chain any more and may be recycled at once: to
 * judge again without them comes to the same end.
 */
#include "log/log_internal.h"

/* What the survey found. */
struct survey {
    struct log_catalog catalog;
    const struct log_catalog_entry *first; /* segment of `start` */
    log_position start;
    log_position end;     /* E */
    log_position durable; /* M */
    uint32_t incarnation_max;
    uint64_t discarded_bytes;
    bool is_clean;
    log_position resume; /* when clean: where to go on */
    uint32_t resume_chain;
};

static tern_status missing(const struct log *log, uint32_t id, tern_error *error) {
    char path[FILE_PATH_BYTES];
    tern_status status = log_segment_path(&log->options, id, path, error);
    if (status != TERN_OK) {
        return status;
    }
    return ERROR_AT(error, TERN_CORRUPTION, path, 0, 0,
                    "log segment from which replay begins is missing or its header is damaged; "
                    "run `tern verify` for the extent, `tern repair` to save what is readable");
}

/* Finds the segment where replay begins; *out_first is NULL when there is no log yet. */
static tern_status find_first(const struct log *log, struct survey *survey, tern_error *error) {
    const struct log_catalog *catalog = &survey->catalog;
    uint32_t lowest_damaged = 0;
    for (size_t i = catalog->count; i > 0; i--) {
        if (catalog->entries[i - 1].state == LOG_HEADER_DAMAGED) {
            lowest_damaged = catalog->entries[i - 1].id;
        }
    }
    if (survey->start == 0) {
        const struct log_catalog_entry *first = log_catalog_first(catalog);
        if (first != NULL && first->header.previous_end != 0) {
            return missing(log, log_position_segment(first->header.previous_end), error);
        }
        if (first == NULL && lowest_damaged != 0) {
            return missing(log, lowest_damaged, error);
        }
        survey->first = first;
        return TERN_OK;
    }
    uint32_t id = log_position_segment(survey->start);
    const struct log_catalog_entry *first = log_catalog_find(catalog, id);
    if (first == NULL || first->state != LOG_HEADER_VALID) {
        return missing(log, id, error);
    }
    survey->first = first;
    return TERN_OK;
}

/*
 * Only where a mark that covers all is the end. A place that is merely known to be durable up to is
 * not enough: of a process that was killed a write past the page cache may still be under way
 * behind it (log_direct.c), and would come over what is written there. A mark is the last that was
 * written.
 */
static void note_clean(struct survey *survey, const struct log_walk *walk) {
    /* A successor that was not reached: its header is there and the seal that leads to it is not.
     * Going on here would run past the place where that header takes over. */
    if (survey->discarded_bytes != 0 || walk->successor != NULL) {
        return;
    }
    if (walk->last_is_mark && walk->durable == walk->last_begin) {
        survey->is_clean = true;
        survey->resume = walk->last_begin;
        survey->resume_chain = walk->last_chain;
    }
}

static tern_status survey_chain(struct survey *survey, tern_error *error) {
    struct log_walk walk;
    tern_status status = log_walk_begin(&walk, &survey->catalog, survey->start, error);
    bool found = true;
    while (status == TERN_OK && found) {
        struct log_record record;
        status = log_walk_next(&walk, &record, &found, error);
    }
    if (status == TERN_OK) {
        status = log_walk_judge(&walk, &survey->discarded_bytes, error);
    }
    if (status == TERN_OK) {
        survey->end = walk.position;
        survey->durable = walk.durable;
        survey->incarnation_max = walk.incarnation_max;
        for (size_t i = 0; i < survey->catalog.count; i++) {
            const struct log_catalog_entry *entry = &survey->catalog.entries[i];
            if (entry->state == LOG_HEADER_VALID &&
                entry->header.incarnation > survey->incarnation_max) {
                survey->incarnation_max = entry->header.incarnation;
            }
        }
        note_clean(survey, &walk);
    }
    log_walk_end(&walk);
    return status;
}

/* Puts an open segment behind the others of the list. */
static void append_segment(struct log *log, struct log_segment *segment) {
    struct log_segment **link = &log->segments;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = segment;
    log->segment_count++;
}

static tern_status add_segment(struct log *log, const struct log_catalog_entry *entry,
                               uint32_t flags, uint32_t end_offset, tern_error *error) {
    struct log_segment *segment = NULL;
    tern_status status = log_segment_open(&log->options, entry->id, entry->header.segment_bytes,
                                          flags, &segment, error);
    if (status == TERN_OK) {
        segment->seed = log_salt_seed(entry->header.salt);
        segment->end_offset = end_offset;
        append_segment(log, segment);
    }
    return status;
}

/* The oldest segment from which the chain leads to `entry`. */
static const struct log_catalog_entry *find_oldest(const struct survey *survey) {
    const struct log_catalog_entry *entry = survey->first;
    for (;;) {
        uint32_t id = log_position_segment(entry->header.previous_end);
        const struct log_catalog_entry *previous = log_catalog_find(&survey->catalog, id);
        if (previous == NULL || previous->state != LOG_HEADER_VALID ||
            log_catalog_successor(&survey->catalog, id) != entry) {
            return entry;
        }
        entry = previous;
    }
}

/* Opens the segments of the chain up to where `last` lies; all are finished. */
static tern_status open_chain(struct log *log, const struct survey *survey, log_position last,
                              tern_error *error) {
    const struct log_catalog_entry *entry = find_oldest(survey);
    tern_status status = TERN_OK;
    while (status == TERN_OK && entry != NULL) {
        bool is_last = entry->id >= log_position_segment(last);
        const struct log_catalog_entry *next =
            is_last ? NULL : log_catalog_successor(&survey->catalog, entry->id);
        log_position end = next != NULL ? next->header.previous_end : last;
        status = add_segment(log, entry, TERN_OPEN_READ, log_position_offset(end), error);
        entry = next;
    }
    return status;
}

static bool is_in_chain(const struct survey *survey, uint32_t id) {
    const struct log_catalog_entry *entry = survey->first != NULL ? find_oldest(survey) : NULL;
    while (entry != NULL && entry->id < id && entry->id < log_position_segment(survey->end)) {
        entry = log_catalog_successor(&survey->catalog, entry->id);
    }
    return entry != NULL && entry->id == id;
}

static tern_status adopt_spare(struct log *log, const struct log_catalog_entry *entry,
                               tern_error *error) {
    struct log_segment *segment = NULL;
    tern_status status =
        log_segment_open(&log->options, entry->id, log->options.segment_bytes, 0, &segment, error);
    if (status != TERN_OK) {
        return status;
    }
    /* It may have been cut off before its blocks were durable. */
    status = segment->file->methods->allocate(segment->file, 0, segment->bytes, error);
    if (status == TERN_UNSUPPORTED) {
        segment->prewritten = 0;
        status = log_segment_prewrite(&log->options, segment, segment->bytes, error);
    }
    if (status == TERN_OK) {
        status = log_segment_map(segment, error);
    }
    if (status != TERN_OK) {
        log_segment_close(&log->options, segment);
        return status;
    }
    struct log_segment **link = &log->spares;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = segment;
    atomic_fetch_add_explicit(&log->spare_count, 1, memory_order_relaxed);
    return TERN_OK;
}

/* Everything outside of the chain becomes a spare, or waits to become one. */
static tern_status adopt_the_rest(struct log *log, const struct survey *survey, tern_error *error) {
    const struct log_catalog *catalog = &survey->catalog;
    uint32_t used_id = 0;
    log->next_id = 1;
    for (size_t i = 0; i < catalog->count; i++) {
        enum log_header_state state = catalog->entries[i].state;
        if (state == LOG_HEADER_VALID || state == LOG_HEADER_DAMAGED) {
            used_id = catalog->entries[i].id;
        }
        if (catalog->entries[i].id == UINT32_MAX) {
            return ERROR_SET(error, TERN_UNSUPPORTED, "the log has run out of segment ids");
        }
        log->next_id = catalog->entries[i].id + 1;
    }
    tern_status status = TERN_OK;
    for (size_t i = 0; i < catalog->count && status == TERN_OK; i++) {
        const struct log_catalog_entry *entry = &catalog->entries[i];
        bool is_blank = entry->state == LOG_HEADER_BLANK || entry->state == LOG_HEADER_FOREIGN;
        if (is_blank && entry->id > used_id && entry->file_bytes == log->options.segment_bytes &&
            log->spare_count < log_spares_wanted(log)) {
            status = adopt_spare(log, entry, error);
            if (status == TERN_DISK_FULL) {
                log_note_recyclable(log, entry->id);
                status = TERN_OK;
            }
        } else if (entry->state == LOG_HEADER_DAMAGED) {
            /* Irrelevant where it is, but under a new name it would be taken for a loss. */
            status = log_remove_file(log, entry->id, error);
        } else if (!is_in_chain(survey, entry->id)) {
            log_note_recyclable(log, entry->id);
        }
    }
    return status;
}

static void set_end(struct log *log, log_position end) {
    atomic_store_explicit(&log->end, end, memory_order_relaxed);
    atomic_store_explicit(&log->durable, end, memory_order_relaxed);
}

/* Everything appended so far during recovery becomes durable. */
static tern_status sync_all(struct log *log, log_position from, tern_error *error) {
    tern_status status = log_sync_range(log, from, log_end_position(log), error);
    if (status == TERN_OK) {
        atomic_store_explicit(&log->durable, log_end_position(log), memory_order_release);
    }
    return status;
}

/* Goes on in the segment of a clean log. */
static tern_status resume(struct log *log, const struct survey *survey, tern_error *error) {
    struct log_segment *segment = log->segments;
    while (segment->next != NULL) {
        segment = segment->next;
    }
    ASSERT(segment->id == log_position_segment(survey->resume));
    const struct log_catalog_entry *entry = log_catalog_find(&survey->catalog, segment->id);
    struct log_segment *writable = NULL;
    tern_status status =
        log_segment_open(&log->options, segment->id, segment->bytes, 0, &writable, error);
    if (status != TERN_OK) {
        return status;
    }
    /* The list keeps its node; only the file changes. */
    (void)file_close(segment->file, NULL);
    segment->file = writable->file;
    segment->can_map = true;
    memory_release(log->options.allocator, writable);
    ASSERT(entry->file_bytes >= segment->bytes);
    status = log_segment_map(segment, error);
    if (status != TERN_OK) {
        return status;
    }
    log->active = segment;
    log_note_stage(log, segment, log_position_offset(survey->resume));
    set_end(log, survey->resume);
    log->appender.offset = log_position_offset(survey->resume);
    log->appender.chain = survey->resume_chain;
    uint8_t *payload;
    status = log_begin(log, LOG_RECORD_MARK, 0, &payload, error);
    if (status == TERN_OK) {
        status = log_end(log, 0, NULL, error);
    }
    if (status == TERN_OK) {
        status = sync_all(log, survey->resume, error);
    }
    return status;
}

/* Copies the records of [durable, end) behind the one segment begun for them. */
static tern_status rewrite_tail(struct log *log, const struct survey *survey, tern_error *error) {
    struct log_walk walk;
    tern_status status = log_walk_begin(&walk, &survey->catalog, survey->start, error);
    walk.watch = survey->durable;
    bool found = true;
    if (status == TERN_OK && survey->durable == 0) {
        /* Nothing was ever known to be durable, the first header included: a new first segment. */
        status = log_begin_segment(log, 0, 0, false, true, true, NULL, error);
    }
    while (status == TERN_OK) {
        struct log_record record;
        status = log_walk_next(&walk, &record, &found, error);
        if (status == TERN_OK && log->active == NULL && (walk.watch_was_met || !found)) {
            if (!walk.watch_was_met) {
                status = ERROR_AT(error, TERN_CORRUPTION, log->directory, -1, 0,
                                  "a durable mark of the log names no record's end; run `tern "
                                  "verify` for the extent, `tern repair` to save what is readable");
                break;
            }
            status = log_begin_segment(log, survey->durable, walk.watch_chain,
                                       walk.watch_chain_is_known, true, true, NULL, error);
        }
        if (status != TERN_OK || !found) {
            break;
        }
        if (record.position >= survey->durable && record.kind != LOG_RECORD_MARK) {
            status = log_rewrite(log, &record, error);
        }
    }
    log_walk_end(&walk);
    return status;
}

/* The old tail is superseded: its segments beyond the one that holds the durable mark. */
static void discard_old_tail(struct log *log, const struct survey *survey) {
    for (size_t i = 0; i < survey->catalog.count; i++) {
        uint32_t id = survey->catalog.entries[i].id;
        if (id > log_position_segment(survey->durable) && is_in_chain(survey, id)) {
            log_note_recyclable(log, id);
        }
    }
}

static tern_status begin_anew(struct log *log, const struct survey *survey, tern_error *error) {
    atomic_store_explicit(&log->durable, survey->durable, memory_order_relaxed);
    tern_status status = rewrite_tail(log, survey, error);
    if (status != TERN_OK) {
        return status;
    }
    log_position first = log_position_of(log->appender.late_segment, 0);
    status = log_sync_range(log, first, log_end_position(log), error);
    if (status == TERN_OK) {
        status = log_write_late_header(log, error);
    }
    if (status == TERN_OK) {
        atomic_store_explicit(&log->durable, log_end_position(log), memory_order_release);
        discard_old_tail(log, survey);
    }
    return status;
}

/* An empty log: one segment. */
static tern_status create(struct log *log, tern_error *error) {
    tern_status status = log_begin_segment(log, 0, 0, false, true, false, NULL, error);
    if (status == TERN_OK) {
        status = sync_all(log, 0, error);
    }
    return status;
}

static bool can_resume(const struct survey *survey) {
    const struct log_catalog_entry *entry =
        log_catalog_find(&survey->catalog, log_position_segment(survey->resume));
    return survey->is_clean && entry != NULL && entry->file_bytes >= entry->header.segment_bytes &&
           log_position_offset(survey->resume) + LOG_RECORD_HEADER_BYTES + LOG_SEAL_BYTES <=
               entry->header.segment_bytes;
}

/* Records of the tail may be larger than segments of the size now asked for would take. */
static void keep_segment_size(struct log *log, const struct survey *survey) {
    for (size_t i = 0; i < survey->catalog.count; i++) {
        const struct log_catalog_entry *entry = &survey->catalog.entries[i];
        if (entry->state == LOG_HEADER_VALID && entry->file_bytes >= entry->header.segment_bytes &&
            entry->header.segment_bytes > log->options.segment_bytes) {
            log->options.segment_bytes = entry->header.segment_bytes;
        }
    }
}

static tern_status make_writable(struct log *log, const struct survey *survey, tern_error *error) {
    if (survey->first != NULL && !can_resume(survey)) {
        keep_segment_size(log, survey);
    }
    tern_status status = adopt_the_rest(log, survey, error);
    if (status != TERN_OK) {
        return status;
    }
    if (survey->first == NULL) {
        status = create(log, error);
    } else if (can_resume(survey)) {
        status = open_chain(log, survey, survey->resume, error);
        if (status == TERN_OK) {
            status = resume(log, survey, error);
        }
    } else {
        if (survey->durable != 0) {
            status = open_chain(log, survey, survey->durable, error);
        }
        if (status == TERN_OK) {
            status = begin_anew(log, survey, error);
        }
    }
    if (status == TERN_OK) {
        /* The held-back spare; on a full disk the log opens without. */
        status = log_ensure_spares(log, 1, error);
        status = status == TERN_DISK_FULL ? TERN_OK : status;
    }
    return status;
}

tern_status log_recover(struct log *log, log_position start, uint32_t incarnation_floor,
                        struct log_recovery *out_recovery, tern_error *error) {
    struct survey survey = {.start = start};
    log_catalog_init(&survey.catalog, &log->options);
    tern_status status = log_catalog_read(&survey.catalog, error);
    if (status == TERN_OK) {
        status = find_first(log, &survey, error);
    }
    if (status == TERN_OK && survey.first != NULL) {
        status = survey_chain(&survey, error);
    }
    if (status == TERN_OK) {
        uint32_t above =
            survey.incarnation_max > incarnation_floor ? survey.incarnation_max : incarnation_floor;
        if (above == UINT32_MAX) {
            status =
                ERROR_SET(error, TERN_UNSUPPORTED, "the database has been recovered too often");
        } else {
            log->incarnation = above + 1;
        }
    }
    if (status == TERN_OK && !log->is_read_only) {
        status = make_writable(log, &survey, error);
    } else if (status == TERN_OK) {
        if (survey.first != NULL) {
            status = open_chain(log, &survey, survey.end, error);
        }
        set_end(log, survey.end);
    }
    if (status == TERN_OK) {
        *out_recovery = (struct log_recovery){
            .incarnation = log->incarnation,
            .end = log_end_position(log),
            .discarded_bytes = survey.discarded_bytes,
            .was_clean = survey.first == NULL || survey.is_clean,
        };
    }
    log_catalog_release(&survey.catalog);
    return status;
}
