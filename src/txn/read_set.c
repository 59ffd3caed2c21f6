/* SPDX-License-Identifier: Apache-2.0 */
#include "txn/read_set.h"

#include "base/error.h"
#include "txn/growth.h"

#define ARENA_BYTES_FIRST 512
#define KEPT_HASHES_MAX   4096
/* What most transactions stay below is not counted. */
#define UNCOUNTED_BYTES 4096u

void read_set_init(struct read_set *set, const tern_allocator *allocator, struct budget *budget,
                   uint64_t bytes_max) {
    *set = (struct read_set){.allocator = allocator, .budget = budget, .bytes_max = bytes_max};
    arena_init(&set->arena, allocator, ARENA_BYTES_FIRST);
}

/* Counts the memory as it is now. */
static void count_bytes(struct read_set *set) {
    uint64_t bytes = set->hash_capacity * sizeof(*set->hashes) +
                     set->range_capacity * sizeof(*set->ranges) + set->arena.allocated_bytes;
    bytes = bytes > UNCOUNTED_BYTES ? bytes : 0;
    if (bytes == set->charged_bytes) {
        return;
    }
    if (set->budget != NULL) {
        budget_add(set->budget, BUDGET_OTHER, bytes);
        budget_subtract(set->budget, BUDGET_OTHER, set->charged_bytes);
    }
    set->charged_bytes = bytes;
}

void read_set_release(struct read_set *set) {
    memory_release(set->allocator, set->hashes);
    memory_release(set->allocator, set->ranges);
    arena_release(&set->arena);
    set->hash_capacity = set->range_capacity = 0;
    count_bytes(set);
    read_set_init(set, set->allocator, set->budget, set->bytes_max);
}

void read_set_reset(struct read_set *set) {
    if (set->hash_capacity > KEPT_HASHES_MAX || set->range_capacity > KEPT_HASHES_MAX) {
        read_set_release(set);
        return;
    }
    set->hash_count = set->range_count = 0;
    arena_release(&set->arena);
    arena_init(&set->arena, set->allocator, ARENA_BYTES_FIRST);
    count_bytes(set);
}

static tern_status check_size(const struct read_set *set, tern_error *error) {
    uint64_t bytes = set->hash_count * sizeof(*set->hashes) +
                     set->range_count * sizeof(*set->ranges) + set->arena.allocated_bytes;
    if (bytes >= set->bytes_max) {
        return ERROR_SET(error, TERN_TOO_LARGE,
                         "what the serializable transaction has read takes more than %llu bytes to "
                         "remember; read less, use a range instead of single keys, or raise the "
                         "option transaction_bytes",
                         (unsigned long long)set->bytes_max);
    }
    return TERN_OK;
}

tern_status read_set_add_key(struct read_set *set, uint64_t key_hash, tern_error *error) {
    if (set->hash_count > 0 && set->hashes[set->hash_count - 1] == key_hash) {
        return TERN_OK;
    }
    tern_status status = check_size(set, error);
    if (status != TERN_OK) {
        return status;
    }
    if (!GROWTH_RESERVE(set->allocator, set->hashes, set->hash_capacity, set->hash_count + 1)) {
        return ERROR_NO_MEMORY(error, "a transaction's reads");
    }
    count_bytes(set);
    set->hashes[set->hash_count++] = key_hash;
    return TERN_OK;
}

tern_status read_set_add_range(struct read_set *set, tern_keyspace *keyspace,
                               const struct engine_cursor_bounds *bounds, tern_error *error) {
    tern_status status = check_size(set, error);
    if (status != TERN_OK) {
        return status;
    }
    struct engine_cursor_bounds copy = *bounds;
    if (!GROWTH_RESERVE(set->allocator, set->ranges, set->range_capacity, set->range_count + 1)) {
        return ERROR_NO_MEMORY(error, "a transaction's reads");
    }
    if (bounds->has_begin) {
        copy.begin = arena_copy(&set->arena, bounds->begin);
    }
    if (bounds->has_end) {
        copy.end = arena_copy(&set->arena, bounds->end);
    }
    count_bytes(set);
    if ((copy.has_begin && copy.begin.data == NULL && copy.begin.size != bounds->begin.size) ||
        (copy.has_end && copy.end.data == NULL && copy.end.size != bounds->end.size)) {
        return ERROR_NO_MEMORY(error, "a transaction's reads");
    }
    set->ranges[set->range_count++] = (struct commit_range){keyspace, copy};
    return TERN_OK;
}
