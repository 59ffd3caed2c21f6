/* SPDX-License-Identifier: Apache-2.0 */
/* What a partition must hold: every key at one moment, in order. For engine_world.h. */
#ifndef TERN_TESTS_ORACLE_H
#define TERN_TESTS_ORACLE_H

#include <stdbool.h>

#include "engine/engine.h"

/* What one key holds at a moment. */
struct oracle_entry {
    uint8_t *key;
    size_t key_size;
    uint8_t *value;
    size_t value_size;
    uint64_t expires_ms;
};

/* A state: entries in order of key. */
struct oracle {
    struct oracle_entry *entries;
    size_t count;
    size_t capacity;
};

/* One change of a commit as the log has it. */
struct world_change {
    enum record_kind kind; /* PUT, DELETE, MERGE, LARGE (value: all its bytes), DELETE_RANGE */
    uint32_t merge_kind;
    uint64_t expires_ms;
    tern_slice key;
    tern_slice value;
    bool range_has_end;
};

/* Does what the change says, in a commit logged at time_ms. */
void oracle_apply(struct oracle *oracle, const struct world_change *change, uint64_t time_ms);
void oracle_copy(const struct oracle *source, struct oracle *out_copy);
void oracle_release(struct oracle *oracle);

/* Index of the first entry whose key is not below. */
size_t oracle_lower(const struct oracle *oracle, tern_slice key, bool *out_equal);
/* The entry visible at time_ms, or NULL. */
const struct oracle_entry *oracle_find(const struct oracle *oracle, tern_slice key,
                                       uint64_t time_ms);

tern_slice oracle_key(const struct oracle_entry *entry);

#endif
