/* SPDX-License-Identifier: Apache-2.0 */
#include "db/conversion_search.h"

#include "db/commit_walk.h"

struct search {
    partition_id target;
    bool is_found;
};

static tern_status look_at(void *context, enum log_record_kind kind,
                           const struct decoded_commit *commit) {
    struct search *search = context;
    bool is_commit = kind == LOG_RECORD_COMMIT;
    for (size_t i = 0; is_commit && i < commit->catalog_count; i++) {
        const struct decoded_catalog_change *change = &commit->catalog[i];
        search->is_found = search->is_found ||
                           (change->kind == CATALOG_CONVERT && change->target == search->target);
    }
    for (size_t i = 0; is_commit && i < commit->part_count; i++) {
        search->is_found = search->is_found || commit->parts[i].id == search->target;
    }
    return TERN_OK;
}

tern_status conversion_search(const struct log_options *options, log_position start,
                              partition_id target, bool *out_found, tern_error *error) {
    struct search search = {.target = target};
    tern_status status = commit_walk(options, start, true, look_at, &search, error);
    if (status == TERN_OK) {
        *out_found = search.is_found;
    }
    return status;
}
