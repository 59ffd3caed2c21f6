/* SPDX-License-Identifier: Apache-2.0 */
#include "db/creation_list.h"

#include <stdlib.h>

#include "base/error.h"
#include "txn/growth.h"

#define ARENA_BYTES 1024

struct reading {
    struct creation_list *list;
    struct arena arena; /* of a commit */
    struct commit_assembler assembler;
};

void creation_list_init(struct creation_list *list, const struct log_options *options,
                        log_position start, bool is_salvage) {
    *list =
        (struct creation_list){.log_options = options, .start = start, .is_salvage = is_salvage};
    arena_init(&list->arena, options->allocator, ARENA_BYTES);
}

void creation_list_release(struct creation_list *list) {
    memory_release(list->log_options->allocator, list->creations);
    arena_release(&list->arena);
}

static tern_status add(struct creation_list *list, seq_no seq,
                       const struct decoded_catalog_change *change) {
    if (!GROWTH_RESERVE(list->log_options->allocator, list->creations, list->capacity,
                        list->count + 1)) {
        return TERN_NO_MEMORY;
    }
    struct creation *creation = &list->creations[list->count];
    *creation = (struct creation){change->id, seq, *change};
    creation->change.name = arena_copy(&list->arena, change->name);
    if (creation->change.name.data == NULL && change->name.size > 0) {
        return TERN_NO_MEMORY;
    }
    list->count++;
    return TERN_OK;
}

static tern_status add_all(struct creation_list *list, const struct decoded_commit *commit) {
    tern_status status = TERN_OK;
    for (size_t i = 0; status == TERN_OK && i < commit->catalog_count; i++) {
        if (commit->catalog[i].kind == CATALOG_CREATE) {
            status = add(list, commit->seq, &commit->catalog[i]);
        }
    }
    return status;
}

/* What cannot be decoded is for the caller to meet again. */
static tern_status visit(void *context, const struct log_record *record, tern_error *error) {
    struct reading *reading = context;
    tern_slice encoding;
    struct decoded_commit commit;
    tern_status status = TERN_OK;
    (void)error;
    if (record->kind == LOG_RECORD_PART) {
        status =
            commit_assembler_part(&reading->assembler, record->payload, record->payload_size, NULL);
    } else if (record->kind == LOG_RECORD_COMMIT || record->kind == LOG_RECORD_COPY) {
        arena_reset(&reading->arena);
        status = commit_assembler_commit(&reading->assembler, record->payload, record->payload_size,
                                         &encoding, NULL);
        if (status == TERN_OK) {
            status = commit_decode(encoding.data, encoding.size, &reading->arena, &commit, NULL);
        }
        if (status == TERN_OK) {
            status = add_all(reading->list, &commit);
        }
    }
    return status == TERN_CORRUPTION ? TERN_OK : status;
}

static int compare_ids(const void *left, const void *right) {
    const struct creation *a = left;
    const struct creation *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

static tern_status read_log(struct creation_list *list, tern_error *error) {
    struct reading reading = {.list = list};
    struct log_recovery recovery;
    tern_error detail = TERN_ERROR_INIT;
    list->count = 0;
    arena_init(&reading.arena, list->log_options->allocator, 16384);
    commit_assembler_init(&reading.assembler, list->log_options->allocator);
    tern_status status = log_scan(list->log_options, list->start, list->is_salvage, visit, &reading,
                                  NULL, NULL, &recovery, &detail);
    commit_assembler_release(&reading.assembler);
    arena_release(&reading.arena);
    if (status == TERN_NO_MEMORY) {
        return ERROR_NO_MEMORY(error, "looking ahead in the log");
    }
    if (status != TERN_OK) {
        error_copy(error, &detail);
        return status;
    }
    if (list->count > 0) {
        qsort(list->creations, list->count, sizeof(list->creations[0]), compare_ids);
    }
    list->is_read = true;
    return TERN_OK;
}

/* Place of the first one with at least this id. */
static size_t lower_bound(const struct creation_list *list, partition_id id) {
    size_t low = 0;
    size_t high = list->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (list->creations[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

tern_status creation_list_find(struct creation_list *list, partition_id id, seq_no after,
                               struct decoded_catalog_change *out_change, tern_error *error) {
    tern_status status = list->is_read ? TERN_OK : read_log(list, error);
    if (status != TERN_OK) {
        return status;
    }
    for (size_t i = lower_bound(list, id); i < list->count && list->creations[i].id == id; i++) {
        if (list->creations[i].seq > after) {
            *out_change = list->creations[i].change;
            return TERN_OK;
        }
    }
    return TERN_NOT_FOUND;
}
