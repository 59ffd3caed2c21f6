/* SPDX-License-Identifier: Apache-2.0 */
#include "db/creation_search.h"

#include "base/error.h"

struct search {
    partition_id id;
    seq_no after;
    struct arena *arena;
    struct arena commit_arena;
    struct commit_assembler assembler;
    struct decoded_catalog_change change;
    bool is_found;
};

static tern_status look_at(struct search *search, const struct decoded_commit *commit) {
    for (size_t i = 0; commit->seq > search->after && i < commit->catalog_count; i++) {
        const struct decoded_catalog_change *change = &commit->catalog[i];
        if (change->id == search->id && change->kind == CATALOG_CREATE) {
            search->change = *change;
            search->change.name = arena_copy(search->arena, change->name);
            search->is_found = true;
            bool fits = search->change.name.data != NULL || change->name.size == 0;
            return fits ? TERN_CANCELLED : TERN_NO_MEMORY;
        }
    }
    return TERN_OK;
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
        arena_reset(&search->commit_arena);
        status = commit_assembler_commit(&search->assembler, record->payload, record->payload_size,
                                         &encoding, NULL);
        if (status == TERN_OK) {
            status =
                commit_decode(encoding.data, encoding.size, &search->commit_arena, &commit, NULL);
        }
        if (status == TERN_OK) {
            status = look_at(search, &commit);
        }
    }
    return status == TERN_CORRUPTION ? TERN_OK : status;
}

tern_status creation_search(const struct log_options *options, log_position start, bool is_salvage,
                            partition_id id, seq_no after, struct arena *arena,
                            struct decoded_catalog_change *out_change, tern_error *error) {
    struct search search = {.id = id, .after = after, .arena = arena};
    struct log_recovery recovery;
    tern_error detail = TERN_ERROR_INIT;
    arena_init(&search.commit_arena, options->allocator, 16384);
    commit_assembler_init(&search.assembler, options->allocator);
    tern_status status =
        log_scan(options, start, is_salvage, visit, &search, NULL, NULL, &recovery, &detail);
    commit_assembler_release(&search.assembler);
    arena_release(&search.commit_arena);
    if (search.is_found && (status == TERN_CANCELLED || status == TERN_OK)) {
        *out_change = search.change;
        return TERN_OK;
    }
    if (status == TERN_NO_MEMORY) {
        return ERROR_NO_MEMORY(error, "looking ahead in the log");
    }
    if (status != TERN_OK) {
        error_copy(error, &detail);
        return status;
    }
    return TERN_NOT_FOUND;
}
