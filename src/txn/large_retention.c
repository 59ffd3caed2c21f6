/* SPDX-License-Identifier: Apache-2.0 */
#include "txn/large_retention.h"

#include "base/error.h"

struct large_retention_entry {
    struct large_retention_entry *next;
    uint64_t token;
    log_position position;
    seq_no commit_seq; /* SEQ_MAX: not committed yet */
};

void large_retention_init(struct large_retention *retention, const tern_allocator *allocator) {
    retention->allocator = allocator;
    retention->entries = NULL;
    atomic_init(&retention->count, 0);
    mutex_init(&retention->mutex);
}

void large_retention_release(struct large_retention *retention) {
    while (retention->entries != NULL) {
        struct large_retention_entry *next = retention->entries->next;
        memory_release(retention->allocator, retention->entries);
        retention->entries = next;
    }
    mutex_destroy(&retention->mutex);
}

tern_status large_retention_add(struct large_retention *retention, uint64_t token,
                                log_position position, tern_error *error) {
    struct large_retention_entry *entry = memory_allocate(retention->allocator, sizeof(*entry));
    if (entry == NULL) {
        return ERROR_NO_MEMORY(error, "a large value");
    }
    mutex_lock(&retention->mutex);
    *entry = (struct large_retention_entry){retention->entries, token, position, SEQ_MAX};
    retention->entries = entry;
    atomic_fetch_add_explicit(&retention->count, 1, memory_order_relaxed);
    mutex_unlock(&retention->mutex);
    return TERN_OK;
}

void large_retention_commit(struct large_retention *retention, uint64_t token, seq_no seq) {
    mutex_lock(&retention->mutex);
    for (struct large_retention_entry *entry = retention->entries; entry != NULL;
         entry = entry->next) {
        if (entry->token == token) {
            entry->commit_seq = seq;
            break;
        }
    }
    mutex_unlock(&retention->mutex);
}

/* Unlinks every entry with the token, or (token 0) committed at or below `drained`. */
static void remove_entries(struct large_retention *retention, uint64_t token, seq_no drained) {
    mutex_lock(&retention->mutex);
    struct large_retention_entry **link = &retention->entries;
    while (*link != NULL) {
        struct large_retention_entry *entry = *link;
        bool matches = token != 0 ? entry->token == token : entry->commit_seq <= drained;
        if (!matches) {
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        memory_release(retention->allocator, entry);
        atomic_fetch_sub_explicit(&retention->count, 1, memory_order_relaxed);
    }
    mutex_unlock(&retention->mutex);
}

void large_retention_forget(struct large_retention *retention, uint64_t token) {
    if (token != 0) {
        remove_entries(retention, token, SEQ_NONE);
    }
}

void large_retention_settle(struct large_retention *retention, seq_no drained) {
    remove_entries(retention, 0, drained);
}

log_position large_retention_oldest(struct large_retention *retention, seq_no drained) {
    log_position oldest = UINT64_MAX;
    mutex_lock(&retention->mutex);
    for (const struct large_retention_entry *entry = retention->entries; entry != NULL;
         entry = entry->next) {
        if (entry->commit_seq > drained && entry->position < oldest) {
            oldest = entry->position;
        }
    }
    mutex_unlock(&retention->mutex);
    return oldest;
}
