/* SPDX-License-Identifier: Apache-2.0 */
#include "db/creation_list.h"

#include <stdlib.h>

#include "db/commit_walk.h"
#include "txn/growth.h"

#define ARENA_BYTES 1024

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

static tern_status add_all(void *context, enum log_record_kind kind,
                           const struct decoded_commit *commit) {
    struct creation_list *list = context;
    tern_status status = TERN_OK;
    (void)kind;
    for (size_t i = 0; status == TERN_OK && i < commit->catalog_count; i++) {
        if (commit->catalog[i].kind == CATALOG_CREATE) {
            status = add(list, commit->seq, &commit->catalog[i]);
        }
    }
    return status;
}

static int compare_ids(const void *left, const void *right) {
    const struct creation *a = left;
    const struct creation *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

static tern_status read_log(struct creation_list *list, tern_error *error) {
    list->count = 0;
    tern_status status =
        commit_walk(list->log_options, list->start, list->is_salvage, add_all, list, error);
    if (status != TERN_OK) {
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
