/* SPDX-License-Identifier: Apache-2.0 */
#include "db/commit_walk.h"

#include "base/error.h"

#define ARENA_BYTES 16384

struct walk {
    commit_visitor visit;
    void *context;
    struct arena arena; /* of a commit */
    struct commit_assembler assembler;
};

static tern_status decode(struct walk *walk, const struct log_record *record,
                          struct decoded_commit *out_commit) {
    tern_slice encoding;
    arena_reset(&walk->arena);
    tern_status status = commit_assembler_commit(&walk->assembler, record->payload,
                                                 record->payload_size, &encoding, NULL);
    return status == TERN_OK
               ? commit_decode(encoding.data, encoding.size, &walk->arena, out_commit, NULL)
               : status;
}

static tern_status take_record(void *context, const struct log_record *record, tern_error *error) {
    struct walk *walk = context;
    struct decoded_commit commit;
    tern_status status = TERN_OK;
    if (record->kind == LOG_RECORD_PART) {
        status =
            commit_assembler_part(&walk->assembler, record->payload, record->payload_size, NULL);
    } else if (record->kind == LOG_RECORD_COMMIT || record->kind == LOG_RECORD_COPY) {
        status = decode(walk, record, &commit);
        if (status == TERN_OK) {
            status = walk->visit(walk->context, record->kind, &commit);
        }
    }
    return status == TERN_NO_MEMORY ? ERROR_NO_MEMORY(error, "looking ahead in the log") : TERN_OK;
}

tern_status commit_walk(const struct log_options *options, log_position start, bool is_salvage,
                        commit_visitor visit, void *context, tern_error *error) {
    struct walk walk = {.visit = visit, .context = context};
    struct log_recovery recovery;
    arena_init(&walk.arena, options->allocator, ARENA_BYTES);
    commit_assembler_init(&walk.assembler, options->allocator);
    tern_status status =
        log_scan(options, start, is_salvage, take_record, &walk, NULL, NULL, &recovery, error);
    commit_assembler_release(&walk.assembler);
    arena_release(&walk.arena);
    return status;
}
