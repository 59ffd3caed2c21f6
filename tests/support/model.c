/* SPDX-License-Identifier: Apache-2.0 */
#include "support/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compare.h"
#include "base/record.h"

struct block {
    struct block *next;
};

static void *take(struct model_history *history, size_t size) {
    struct block *block = malloc(sizeof(*block) + size + 1);
    if (block == NULL) {
        abort();
    }
    block->next = history->blocks;
    history->blocks = block;
    return block + 1;
}

static tern_slice keep(struct model_history *history, tern_slice bytes) {
    void *copy = take(history, bytes.size);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return tern_slice_of(copy, bytes.size);
}

void model_history_init(struct model_history *history) {
    *history = (struct model_history){0};
    model_history_commit(history);
}

void model_history_release(struct model_history *history) {
    struct block *block = history->blocks;
    while (block != NULL) {
        struct block *next = block->next;
        free(block);
        block = next;
    }
    free(history->states);
    *history = (struct model_history){0};
}

void model_history_commit(struct model_history *history) {
    if (history->count == history->capacity) {
        history->capacity = history->capacity == 0 ? 64 : history->capacity * 2;
        history->states = realloc(history->states, history->capacity * sizeof(history->states[0]));
        if (history->states == NULL) {
            abort();
        }
    }
    history->states[history->count++] = history->next;
}

void model_history_rollback(struct model_history *history) {
    history->next = history->states[history->count - 1];
}

void model_history_restart(struct model_history *history, size_t state) {
    history->states[0] = history->states[state];
    history->count = 1;
    history->next = history->states[0];
}

const char *model_keyspace_name(unsigned index, char buffer[16]) {
    (void)snprintf(buffer, 16, "ks%u", index);
    return buffer;
}

/* Index of the first entry with key >= `key`. */
static size_t lower_bound(const struct model_keyspace *keyspace, tern_slice key) {
    size_t low = 0;
    size_t high = keyspace->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (slice_compare(keyspace->entries[middle].key, key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* States share arrays, so every change makes a new one: entries [0, from), then [to, count). */
static struct model_entry *splice(struct model_history *history, struct model_keyspace *keyspace,
                                  size_t from, size_t to, size_t inserted) {
    size_t count = keyspace->count - (to - from) + inserted;
    struct model_entry *entries = take(history, count * sizeof(entries[0]));
    if (keyspace->count > 0) {
        memcpy(entries, keyspace->entries, from * sizeof(entries[0]));
        memcpy(entries + from + inserted, keyspace->entries + to,
               (keyspace->count - to) * sizeof(entries[0]));
    }
    keyspace->entries = entries;
    keyspace->count = count;
    return entries + from;
}

void model_create(struct model_history *history, unsigned keyspace) {
    history->next.keyspaces[keyspace] =
        (struct model_keyspace){.exists = true, .birth = ++history->births};
}

void model_drop(struct model_history *history, unsigned keyspace) {
    history->next.keyspaces[keyspace] = (struct model_keyspace){.exists = false};
}

const struct model_entry *model_find(const struct model_state *state, unsigned keyspace,
                                     tern_slice key) {
    const struct model_keyspace *found = &state->keyspaces[keyspace];
    size_t index = lower_bound(found, key);
    return index < found->count && slice_equal(found->entries[index].key, key)
               ? &found->entries[index]
               : NULL;
}

void model_put(struct model_history *history, unsigned keyspace, tern_slice key, tern_slice value,
               bool is_short_lived) {
    struct model_keyspace *target = &history->next.keyspaces[keyspace];
    size_t index = lower_bound(target, key);
    bool is_there = index < target->count && slice_equal(target->entries[index].key, key);
    struct model_entry *entry = splice(history, target, index, index + (is_there ? 1 : 0), 1);
    *entry = (struct model_entry){keep(history, key), keep(history, value), is_short_lived};
}

void model_delete(struct model_history *history, unsigned keyspace, tern_slice key) {
    struct model_keyspace *target = &history->next.keyspaces[keyspace];
    size_t index = lower_bound(target, key);
    if (index < target->count && slice_equal(target->entries[index].key, key)) {
        (void)splice(history, target, index, index + 1, 0);
    }
}

void model_delete_range(struct model_history *history, unsigned keyspace, const tern_slice *begin,
                        const tern_slice *end) {
    struct model_keyspace *target = &history->next.keyspaces[keyspace];
    size_t from = begin != NULL ? lower_bound(target, *begin) : 0;
    size_t to = end != NULL ? lower_bound(target, *end) : target->count;
    if (from < to) {
        (void)splice(history, target, from, to, 0);
    }
}

void model_merge(struct model_history *history, unsigned keyspace, tern_slice key,
                 tern_merge_kind kind, tern_slice operand) {
    const struct model_entry *entry = model_find(&history->next, keyspace, key);
    struct buffer result;
    buffer_init(&result, tern_allocator_default());
    bool is_short_lived = entry != NULL && entry->is_short_lived;
    if (record_merge((uint32_t)kind, entry != NULL,
                     entry != NULL ? entry->value : tern_slice_of(NULL, 0), operand,
                     &result) != TERN_OK) {
        abort();
    }
    model_put(history, keyspace, key, buffer_slice(&result), is_short_lived);
    buffer_release(&result);
}

static void describe(char *out, size_t capacity, unsigned keyspace, const char *what,
                     tern_slice key) {
    (void)snprintf(out, capacity, "ks%u: %s key '%.*s' (%zu bytes)", keyspace, what,
                   (int)(key.size > 60 ? 60 : key.size),
                   key.data != NULL ? (const char *)key.data : "", key.size);
}

static const struct model_entry *next_visible(const struct model_keyspace *keyspace,
                                              size_t *position) {
    while (*position < keyspace->count && keyspace->entries[*position].is_short_lived) {
        (*position)++;
    }
    return *position < keyspace->count ? &keyspace->entries[(*position)++] : NULL;
}

static bool cursor_matches(tern_cursor *cursor, unsigned index,
                           const struct model_keyspace *expected, char *out, size_t capacity) {
    size_t position = 0;
    for (;;) {
        const struct model_entry *entry = next_visible(expected, &position);
        tern_status status = tern_cursor_next(cursor);
        if (status == TERN_NOT_FOUND) {
            if (entry != NULL) {
                describe(out, capacity, index, "missing", entry->key);
            }
            return entry == NULL;
        }
        if (status != TERN_OK) {
            (void)snprintf(out, capacity, "ks%u: %s", index, tern_cursor_error(cursor)->message);
            return false;
        }
        tern_slice key = tern_cursor_key(cursor);
        tern_slice value;
        if (entry == NULL || slice_compare(key, entry->key) < 0) {
            describe(out, capacity, index, "unexpected", key);
            return false;
        }
        if (slice_compare(key, entry->key) > 0) {
            describe(out, capacity, index, "missing", entry->key);
            return false;
        }
        if (tern_cursor_value(cursor, &value) != TERN_OK || !slice_equal(value, entry->value)) {
            describe(out, capacity, index, "wrong value of", key);
            return false;
        }
    }
}

/* Without order: each entry is one of the expected, none comes twice, none is missing. */
static bool unordered_matches(tern_cursor *cursor, unsigned index,
                              const struct model_keyspace *expected, char *out, size_t capacity) {
    const struct model_state state = {.keyspaces = {*expected}};
    bool *seen = calloc(expected->count + 1, sizeof(seen[0]));
    bool matches = seen != NULL;
    tern_status status = TERN_OK;
    while (matches && (status = tern_cursor_next(cursor)) == TERN_OK) {
        tern_slice key = tern_cursor_key(cursor);
        tern_slice value;
        const struct model_entry *entry = model_find(&state, 0, key);
        const char *wrong =
            entry == NULL || entry->is_short_lived ? "unexpected"
            : seen[entry - expected->entries]      ? "doubled"
            : tern_cursor_value(cursor, &value) != TERN_OK || !slice_equal(value, entry->value)
                ? "wrong value of"
                : NULL;
        if (wrong != NULL) {
            describe(out, capacity, index, wrong, key);
            matches = false;
            break;
        }
        seen[entry - expected->entries] = true;
    }
    if (matches && status != TERN_NOT_FOUND) {
        (void)snprintf(out, capacity, "ks%u: %s", index, tern_cursor_error(cursor)->message);
        matches = false;
    }
    for (size_t i = 0; matches && i < expected->count; i++) {
        if (!seen[i] && !expected->entries[i].is_short_lived) {
            describe(out, capacity, index, "missing", expected->entries[i].key);
            matches = false;
        }
    }
    free(seen);
    return matches;
}

static bool keyspace_matches(tern_db *db, tern_txn *txn, unsigned index,
                             const struct model_keyspace *expected, char *out, size_t capacity) {
    char name[16];
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    tern_status status =
        tern_keyspace_open(db, model_keyspace_name(index, name), &keyspace, &error);
    if ((status == TERN_OK) != expected->exists) {
        (void)snprintf(out, capacity, "%s %s", name,
                       expected->exists ? "should exist" : "should not exist");
        return false;
    }
    if (!expected->exists) {
        return true;
    }
    tern_cursor *cursor;
    if (tern_cursor_open(txn, keyspace, NULL, &cursor) != TERN_OK) {
        (void)snprintf(out, capacity, "%s: %s", name, tern_txn_error(txn)->message);
        return false;
    }
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace_get_options(keyspace, &options);
    bool matches = options.engine == TERN_ENGINE_HASH
                       ? unordered_matches(cursor, index, expected, out, capacity)
                       : cursor_matches(cursor, index, expected, out, capacity);
    tern_cursor_close(cursor);
    return matches;
}

bool model_matches(tern_db *db, const struct model_state *state, char *out_difference,
                   size_t capacity) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    options.read_only = true;
    if (tern_txn_begin(db, &options, &txn, &error) != TERN_OK) {
        (void)snprintf(out_difference, capacity, "%s", error.message);
        return false;
    }
    bool matches = true;
    for (unsigned i = 0; matches && i < MODEL_KEYSPACES; i++) {
        matches = keyspace_matches(db, txn, i, &state->keyspaces[i], out_difference, capacity);
    }
    tern_txn_free(txn);
    return matches;
}

tern_slice model_random_key(struct seeded_random *random, uint8_t buffer[MODEL_KEY_BYTES_MAX]) {
    unsigned number = (unsigned)seeded_random_below(random, 160);
    int size = 0;
    switch (number % 5) {
    case 0:
        size = snprintf((char *)buffer, 32, "key-%04u", number);
        break;
    case 1:
        size = snprintf((char *)buffer, 64, "a/common/prefix/that/is/long/%u", number);
        break;
    case 2: /* zeros within, few bytes */
        buffer[0] = (uint8_t)(number % 3);
        buffer[1] = 0;
        buffer[2] = (uint8_t)number;
        size = 1 + (int)(number % 3);
        break;
    case 3: /* long keys that differ at the end */
        size = 200 + (int)(number % 4) * 300;
        memset(buffer, 'x', (size_t)size);
        buffer[size - 1] = (uint8_t)number;
        break;
    default:
        size = snprintf((char *)buffer, 32, "%u", number);
    }
    return tern_slice_of(buffer, (size_t)size);
}
