/* SPDX-License-Identifier: Apache-2.0 */
#include "support/oracle.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/compare.h"
#include "support/check.h"

tern_slice oracle_key(const struct oracle_entry *entry) {
    return tern_slice_of(entry->key, entry->key_size);
}

size_t oracle_lower(const struct oracle *oracle, tern_slice key, bool *out_equal) {
    size_t low = 0;
    size_t high = oracle->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(oracle_key(&oracle->entries[middle]), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *out_equal = low < oracle->count && slice_equal(oracle_key(&oracle->entries[low]), key);
    return low;
}

const struct oracle_entry *oracle_find(const struct oracle *oracle, tern_slice key,
                                       uint64_t time_ms) {
    bool equal = false;
    size_t at = oracle_lower(oracle, key, &equal);
    if (!equal) {
        return NULL;
    }
    const struct oracle_entry *entry = &oracle->entries[at];
    return entry->expires_ms != 0 && entry->expires_ms <= time_ms ? NULL : entry;
}

static void oracle_remove(struct oracle *oracle, size_t at) {
    free(oracle->entries[at].key);
    free(oracle->entries[at].value);
    oracle->count--;
    memmove(&oracle->entries[at], &oracle->entries[at + 1],
            (oracle->count - at) * sizeof(oracle->entries[0]));
}

static void oracle_put(struct oracle *oracle, tern_slice key, tern_slice value,
                       uint64_t expires_ms) {
    bool equal = false;
    size_t at = oracle_lower(oracle, key, &equal);
    uint8_t *bytes = check_copy_bytes(value.data, value.size);
    if (!equal) {
        if (oracle->count == oracle->capacity) {
            oracle->capacity = oracle->capacity * 2 + 16;
            oracle->entries =
                check_resize(oracle->entries, oracle->capacity * sizeof(oracle->entries[0]));
        }
        memmove(&oracle->entries[at + 1], &oracle->entries[at],
                (oracle->count - at) * sizeof(oracle->entries[0]));
        oracle->entries[at] = (struct oracle_entry){.key = check_copy_bytes(key.data, key.size),
                                                    .key_size = key.size};
        oracle->count++;
    } else {
        free(oracle->entries[at].value);
    }
    oracle->entries[at].value = bytes;
    oracle->entries[at].value_size = value.size;
    oracle->entries[at].expires_ms = expires_ms;
}

static void oracle_merge(struct oracle *oracle, const struct world_change *change,
                         uint64_t time_ms) {
    const struct oracle_entry *entry = oracle_find(oracle, change->key, time_ms);
    struct buffer result;
    buffer_init(&result, tern_allocator_default());
    tern_slice value = {0};
    uint64_t expires_ms = 0;
    if (entry != NULL) {
        value = tern_slice_of(entry->value, entry->value_size);
        expires_ms = entry->expires_ms;
    }
    CHECK(record_merge(change->merge_kind, entry != NULL, value, change->value, &result) ==
          TERN_OK);
    oracle_put(oracle, change->key, buffer_slice(&result), expires_ms);
    buffer_release(&result);
}

void oracle_apply(struct oracle *oracle, const struct world_change *change, uint64_t time_ms) {
    bool equal = false;
    size_t at = oracle_lower(oracle, change->key, &equal);
    switch (change->kind) {
    case RECORD_PUT:
    case RECORD_LARGE:
        oracle_put(oracle, change->key, change->value, change->expires_ms);
        break;
    case RECORD_DELETE:
        if (equal) {
            oracle_remove(oracle, at);
        }
        break;
    case RECORD_MERGE:
        oracle_merge(oracle, change, time_ms);
        break;
    default:
        while (at < oracle->count &&
               (!change->range_has_end ||
                slice_compare(oracle_key(&oracle->entries[at]), change->value) < 0)) {
            oracle_remove(oracle, at);
        }
        break;
    }
}

void oracle_copy(const struct oracle *source, struct oracle *out_copy) {
    struct oracle copy = {0};
    copy.entries = check_allocate((source->count + 1) * sizeof(copy.entries[0]));
    copy.capacity = source->count + 1;
    for (size_t i = 0; i < source->count; i++) {
        const struct oracle_entry *entry = &source->entries[i];
        copy.entries[i] = *entry;
        copy.entries[i].key = check_copy_bytes(entry->key, entry->key_size);
        copy.entries[i].value = check_copy_bytes(entry->value, entry->value_size);
    }
    copy.count = source->count;
    *out_copy = copy;
}

void oracle_release(struct oracle *oracle) {
    while (oracle->count > 0) {
        oracle_remove(oracle, oracle->count - 1);
    }
    free(oracle->entries);
    *oracle = (struct oracle){0};
}
