/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a log without opening it, for verify and repair. The same walk and the same judgement
 * as at open; what would refuse to open becomes a finding, and with `salvage` the walk goes on
 * behind the damage at the next record that validates standing alone.
 */
#include "base/error.h"
#include "log/log_chain.h"

struct scan {
    const struct log_options *options;
    struct log_catalog catalog;
    struct log_walk walk;
    tern_finding_function on_finding;
    void *finding_context;
    log_visitor visit;
    void *visit_context;
    bool salvage;
    bool is_stopped; /* on_finding has had enough */
    uint64_t findings;
    uint64_t records;
    uint64_t discarded_bytes;
};

static void report(struct scan *scan, const char *path, int64_t offset, const char *invariant,
                   const char *message) {
    const char *slash = strrchr(path, '/');
    tern_finding finding = {
        .file = slash != NULL ? slash + 1 : path,
        .offset = offset,
        .invariant = invariant,
        .message = message,
    };
    scan->findings++;
    if (scan->on_finding != NULL && !scan->on_finding(scan->finding_context, &finding)) {
        scan->is_stopped = true;
    }
}

static void report_headers(struct scan *scan) {
    for (size_t i = 0; i < scan->catalog.count && !scan->is_stopped; i++) {
        const struct log_catalog_entry *entry = &scan->catalog.entries[i];
        if (entry->state == LOG_HEADER_DAMAGED) {
            char name[LOG_NAME_BYTES];
            log_segment_name(name, entry->id);
            report(scan, name, 0, "log.header",
                   "both copies of the segment header are damaged; its records cannot be read");
        }
    }
}

static const struct log_catalog_entry *next_valid(const struct log_catalog *catalog, uint32_t id) {
    for (size_t i = 0; i < catalog->count; i++) {
        const struct log_catalog_entry *entry = &catalog->entries[i];
        if (entry->id > id && entry->state == LOG_HEADER_VALID) {
            return entry;
        }
    }
    return NULL;
}

/* Where to begin; 0 with *out_found false when there is nothing to walk. */
static log_position find_start(struct scan *scan, log_position start, bool *out_found) {
    const struct log_catalog *catalog = &scan->catalog;
    uint32_t id = log_position_segment(start);
    const struct log_catalog_entry *entry =
        start == 0 ? log_catalog_first(catalog) : log_catalog_find(catalog, id);
    *out_found = true;
    if (start == 0 && (entry == NULL || entry->header.previous_end == 0)) {
        *out_found = entry != NULL;
        return 0;
    }
    if (start != 0 && entry != NULL && entry->state == LOG_HEADER_VALID) {
        return start;
    }
    char name[LOG_NAME_BYTES];
    log_segment_name(name, start == 0 ? log_position_segment(entry->header.previous_end) : id);
    report(scan, name, -1, "log.start", "the segment from which replay begins cannot be read");
    if (start != 0) {
        entry = next_valid(catalog, id);
    }
    *out_found = entry != NULL && scan->salvage;
    return *out_found ? (log_position)entry->id << 32 | LOG_HEADER_BYTES : 0;
}

static tern_status follow(struct scan *scan, tern_error *error) {
    tern_status status = TERN_OK;
    bool found = true;
    while (status == TERN_OK) {
        struct log_record record;
        status = log_walk_next(&scan->walk, &record, &found, error);
        if (status != TERN_OK || !found) {
            break;
        }
        scan->records++;
        if (scan->visit != NULL) {
            status = scan->visit(scan->visit_context, &record, error);
        }
    }
    return status;
}

/* Behind the damage: a record further on in the segment, else the segment that follows. */
static tern_status go_on(struct scan *scan, bool *out_going, tern_error *error) {
    struct log_walk *walk = &scan->walk;
    const struct log_catalog_entry *next = walk->successor;
    if (next == NULL) {
        next = next_valid(&scan->catalog, walk->entry->id);
    }
    log_position position = walk->position;
    bool found = false;
    uint64_t offset = log_position_offset(position) + LOG_RECORD_ALIGNMENT;
    tern_status status = log_walk_salvage(walk, offset, &found, error);
    if (status != TERN_OK) {
        return status;
    }
    bool is_superseded =
        found && walk->successor != NULL && walk->position >= walk->successor->header.previous_end;
    *out_going = true;
    if (!found || is_superseded) {
        *out_going = next != NULL;
        status = next != NULL ? log_walk_enter(walk, next, error) : TERN_OK;
    }
    return status;
}

/* After the walk has come to an end or to damage: reports, and moves on where that is asked for. */
static tern_status settle(struct scan *scan, tern_status status, bool *out_going,
                          tern_error *error) {
    struct log_walk *walk = &scan->walk;
    tern_error detail = TERN_ERROR_INIT;
    *out_going = false;
    bool is_chain = status == TERN_CORRUPTION;
    if (!is_chain) {
        walk->broken = NULL;
        walk->has_grown = false;
        status = log_walk_judge(walk, &scan->discarded_bytes, &detail);
    } else {
        error_copy(&detail, error);
    }
    if (status != TERN_CORRUPTION) {
        error_copy(status != TERN_OK ? error : NULL, &detail);
        *out_going = status == TERN_OK && walk->has_grown;
        return status;
    }
    /* Damaged headers have been reported already. */
    if (walk->broken == NULL || strcmp(walk->broken, "log.header") != 0) {
        report(scan, detail.file, detail.offset, walk->broken != NULL ? walk->broken : "log.record",
               detail.message);
    }
    if (!scan->salvage || scan->is_stopped) {
        return TERN_OK;
    }
    walk->broken = NULL;
    if (is_chain && walk->successor != NULL) {
        *out_going = true;
        return log_walk_enter(walk, walk->successor, error);
    }
    return go_on(scan, out_going, error);
}

static tern_status run(struct scan *scan, log_position start, tern_error *error) {
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = log_walk_begin(&scan->walk, &scan->catalog, start, &detail);
    bool going = status == TERN_OK;
    if (status == TERN_CORRUPTION) {
        report(scan, detail.file, detail.offset, "log.start", detail.message);
        status = TERN_OK;
    }
    while (status == TERN_OK && going && !scan->is_stopped) {
        error_clear(&detail);
        status = follow(scan, &detail);
        /* A visitor's own status ends the scan, unless the walk itself named a broken invariant. */
        if (status == TERN_OK || (status == TERN_CORRUPTION && scan->walk.broken != NULL)) {
            status = settle(scan, status, &going, &detail);
        }
    }
    if (status != TERN_OK && detail.status != TERN_OK) {
        error_copy(error, &detail); /* else the visitor has told its caller itself */
    }
    return status;
}

tern_status log_scan(const struct log_options *options, log_position start, bool salvage,
                     log_visitor visit, void *visit_context, tern_finding_function on_finding,
                     void *finding_context, struct log_recovery *out_recovery, tern_error *error) {
    struct scan scan = {
        .options = options,
        .on_finding = on_finding,
        .finding_context = finding_context,
        .visit = visit,
        .visit_context = visit_context,
        .salvage = salvage,
    };
    struct log_recovery recovery = {.was_clean = true};
    bool found = false;
    log_catalog_init(&scan.catalog, options);
    tern_status status = log_catalog_read(&scan.catalog, error);
    if (status == TERN_OK) {
        report_headers(&scan);
        start = find_start(&scan, start, &found);
    }
    if (status == TERN_OK && found && !scan.is_stopped) {
        status = run(&scan, start, error);
        const struct log_walk *walk = &scan.walk;
        recovery.incarnation = walk->incarnation_max;
        recovery.end = walk->position;
        recovery.was_clean = walk->durable == walk->position ||
                             (walk->last_is_mark && walk->durable == walk->last_begin);
        log_walk_end(&scan.walk);
    }
    recovery.records = scan.records;
    recovery.discarded_bytes = scan.discarded_bytes;
    recovery.was_clean = recovery.was_clean && scan.findings == 0 && scan.discarded_bytes == 0;
    log_catalog_release(&scan.catalog);
    if (status == TERN_OK && out_recovery != NULL) {
        *out_recovery = recovery;
    }
    return status;
}
