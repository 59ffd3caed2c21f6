/* SPDX-License-Identifier: Apache-2.0 */
#include "db/conversion_search.h"

#include "base/error.h"

struct search {
    partition_id target;
    struct arena arena;
    struct commit_assembler assembler;
    bool is_found;
};

static void look_at(struct search *search, const struct decoded_commit *commit) {
    for (size_t i = 0; i < commit->catalog_count; i++) {
        const struct decoded_catalog_change *change = &commit->catalog[i];
        search->is_found = search->is_found ||
                           (change->kind == CATALOG_CONVERT && change->target == search->target);
    }
    for (size_t i = 0; i < commit->part_count; i++) {
        search->is_found = search->is_found || commit->parts[i].id == search->target;
    }
}

/* What cannot be decoded is for the caller to meet again. */
static tern_status visit(void *context, const struct log_record *record, tern_error *error) {
    struct search *search = context;
    tern_slice encoding;
    struct decoded_commit commit;
    tern_status status = TERN_OK;
    (void)error;
    if (record->kind == LOG_RECORD_PART) {
        status =
            commit_assembler_part(&search->assembler, record->payload, record->payload_size, NULL);
    } else if (record->kind == LOG_RECORD_COMMIT || record->kind == LOG_RECORD_COPY) {
        arena_reset(&search->arena);
        status = commit_assembler_commit(&search->assembler, record->payload, record->payload_size,
                                         &encoding, NULL);
        if (status == TERN_OK && record->kind == LOG_RECORD_COMMIT) {
            status = commit_decode(encoding.data, encoding.size, &search->arena, &commit, NULL);
            if (status == TERN_OK) {
                look_at(search, &commit);
            }
        }
    }
    return status == TERN_NO_MEMORY ? status : TERN_OK;
}

tern_status conversion_search(const struct log_options *options, log_position start,
                              partition_id target, bool *out_found, tern_error *error) {
    struct search search = {.target = target};
    struct log_recovery recovery;
    arena_init(&search.arena, options->allocator, 16384);
    commit_assembler_init(&search.assembler, options->allocator);
    tern_status status =
        log_scan(options, start, true, visit, &search, NULL, NULL, &recovery, error);
    commit_assembler_release(&search.assembler);
    arena_release(&search.arena);
    if (status == TERN_OK) {
        *out_found = search.is_found;
    }
    return status;
}
