/* SPDX-License-Identifier: Apache-2.0 */
#include "array_base.h"

#include <stdlib.h>

#include "base/compare.h"

#define NOWHERE SIZE_MAX

struct array_cursor {
    struct base_cursor base;
    const struct model *model;
    struct base_content content;
    size_t leaf_entries;
    size_t *keys; /* indexes of the model's keys that are present */
    size_t key_count;
    size_t position;
    size_t leaf; /* number of the leaf that is loaded, or NOWHERE */
    struct engine_entry *entries;
    size_t entry_count;
    uint8_t *fence;
    size_t fence_size;
};

bool array_base_get(const struct model *model, struct base_content content, size_t key,
                    struct model_value *value, struct record *out_record) {
    model_state(model, key, key < content.boundary ? content.new_seq : content.old_seq, 0, value);
    *out_record = (struct record){
        .kind = value->is_large ? RECORD_LARGE : RECORD_PUT,
        .expires_ms = value->expires_ms,
        .value_size = value->is_large ? 1000 : value->size,
        .value = tern_slice_of(value->bytes, value->size),
    };
    return value->is_present;
}

static void drop_leaf(struct array_cursor *cursor) {
    for (size_t i = 0; i < cursor->entry_count; i++) {
        free((void *)(uintptr_t)cursor->entries[i].key.data);
        free((void *)(uintptr_t)cursor->entries[i].record.value.data);
    }
    free(cursor->entries);
    free(cursor->fence);
    cursor->entries = NULL;
    cursor->fence = NULL;
    cursor->entry_count = 0;
    cursor->leaf = NOWHERE;
}

static void *copy_of(tern_slice bytes) {
    uint8_t *copy = malloc(bytes.size + 1);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return copy;
}

static void load_leaf(struct array_cursor *cursor, size_t leaf) {
    static struct model_value value;
    drop_leaf(cursor);
    size_t first = leaf * cursor->leaf_entries;
    size_t end = first + cursor->leaf_entries;
    end = end < cursor->key_count ? end : cursor->key_count;
    cursor->entries = calloc(end - first, sizeof(struct engine_entry));
    for (size_t i = first; i < end; i++) {
        struct engine_entry *entry = &cursor->entries[i - first];
        tern_slice key = model_key_at(cursor->model, cursor->keys[i]);
        entry->key = tern_slice_of(copy_of(key), key.size);
        (void)array_base_get(cursor->model, cursor->content, cursor->keys[i], &value,
                             &entry->record);
        entry->record.value.data = copy_of(entry->record.value);
    }
    cursor->entry_count = end - first;
    cursor->leaf = leaf;
    if (end < cursor->key_count) {
        tern_slice fence = model_key_at(cursor->model, cursor->keys[end]);
        cursor->fence = copy_of(fence);
        cursor->fence_size = fence.size;
    }
}

static tern_status stand(struct array_cursor *cursor, size_t position) {
    if (position >= cursor->key_count) {
        drop_leaf(cursor);
        cursor->position = NOWHERE;
        return TERN_NOT_FOUND;
    }
    cursor->position = position;
    if (cursor->leaf != position / cursor->leaf_entries) {
        load_leaf(cursor, position / cursor->leaf_entries);
    }
    return TERN_OK;
}

static tern_status seek(struct base_cursor *base, const tern_slice *key, bool backward,
                        tern_error *error) {
    struct array_cursor *cursor = (struct array_cursor *)base;
    (void)error;
    size_t position = 0;
    while (position < cursor->key_count &&
           (key == NULL ? backward
                        : slice_compare(model_key_at(cursor->model, cursor->keys[position]), *key) <
                              (backward ? 1 : 0))) {
        position++;
    }
    return stand(cursor, backward ? position - 1 : position);
}

static tern_status next(struct base_cursor *base, tern_error *error) {
    (void)error;
    struct array_cursor *cursor = (struct array_cursor *)base;
    return stand(cursor, cursor->position + 1);
}

static tern_status previous(struct base_cursor *base, tern_error *error) {
    (void)error;
    struct array_cursor *cursor = (struct array_cursor *)base;
    return stand(cursor, cursor->position - 1);
}

static const struct engine_entry *here(const struct base_cursor *base) {
    const struct array_cursor *cursor = (const struct array_cursor *)base;
    return &cursor->entries[cursor->position - cursor->leaf * cursor->leaf_entries];
}

static tern_slice key_here(const struct base_cursor *base) {
    return here(base)->key;
}

static void record_here(const struct base_cursor *base, struct record *out_record) {
    *out_record = here(base)->record;
}

static size_t leaf_batch(struct base_cursor *base, const tern_slice *end,
                         struct engine_entry *out_entries, size_t capacity) {
    struct array_cursor *cursor = (struct array_cursor *)base;
    size_t first = cursor->leaf * cursor->leaf_entries;
    size_t count = 0;
    while (count < capacity && cursor->position + count < first + cursor->entry_count) {
        const struct engine_entry *entry = &cursor->entries[cursor->position + count - first];
        if (end != NULL && slice_compare(entry->key, *end) >= 0) {
            break;
        }
        out_entries[count++] = *entry;
    }
    cursor->position += count > 0 ? count - 1 : 0;
    return count;
}

static size_t leaf_pairs(struct base_cursor *base, const struct base_wanted *wanted,
                         tern_entry *out_entries, size_t capacity) {
    struct array_cursor *cursor = (struct array_cursor *)base;
    size_t first = cursor->leaf * cursor->leaf_entries;
    size_t begin = cursor->position;
    size_t count = 0;
    for (size_t at = begin; count < capacity && at < first + cursor->entry_count; at++) {
        const struct engine_entry *entry = &cursor->entries[at - first];
        bool is_behind_end = wanted->end != NULL && slice_compare(entry->key, *wanted->end) >= 0;
        if (is_behind_end || (entry->record.kind == RECORD_LARGE && !wanted->keys_only)) {
            break;
        }
        if (!record_has_expired(&entry->record, wanted->now_ms)) {
            out_entries[count++] = (tern_entry){entry->key, entry->record.value};
            cursor->position = at;
        }
    }
    return count;
}

static bool leaf_fence(const struct base_cursor *base, tern_slice *out_fence) {
    const struct array_cursor *cursor = (const struct array_cursor *)base;
    if (cursor->fence != NULL) {
        *out_fence = tern_slice_of(cursor->fence, cursor->fence_size);
    }
    return cursor->fence != NULL;
}

static bool step_inside(struct base_cursor *base) {
    struct array_cursor *cursor = (struct array_cursor *)base;
    bool is_last =
        cursor->position + 1 == cursor->leaf * cursor->leaf_entries + cursor->entry_count;
    cursor->position += is_last ? 0 : 1;
    return !is_last;
}

static void close_cursor(struct base_cursor *base) {
    struct array_cursor *cursor = (struct array_cursor *)base;
    drop_leaf(cursor);
    free(cursor->keys);
    free(cursor);
}

static const struct base_cursor_methods array_methods = {
    .seek = seek,
    .next = next,
    .previous = previous,
    .key = key_here,
    .record = record_here,
    .leaf_batch = leaf_batch,
    .leaf_pairs = leaf_pairs,
    .leaf_fence = leaf_fence,
    .close = close_cursor,
};

static const struct base_cursor_methods stepping_methods = {
    .seek = seek,
    .next = next,
    .previous = previous,
    .key = key_here,
    .record = record_here,
    .leaf_batch = leaf_batch,
    .leaf_pairs = leaf_pairs,
    .leaf_fence = leaf_fence,
    .step_inside = step_inside,
    .close = close_cursor,
};

struct base_cursor *array_base_open(const struct model *model, struct base_content content,
                                    size_t leaf_entries) {
    static struct model_value value;
    struct array_cursor *cursor = calloc(1, sizeof(*cursor));
    cursor->base.methods = leaf_entries % 3 == 0 ? &array_methods : &stepping_methods;
    cursor->model = model;
    cursor->content = content;
    cursor->leaf_entries = leaf_entries;
    cursor->leaf = cursor->position = NOWHERE;
    cursor->keys = calloc(model->key_count, sizeof(size_t));
    struct record record;
    for (size_t i = 0; i < model->key_count; i++) {
        if (array_base_get(model, content, i, &value, &record)) {
            cursor->keys[cursor->key_count++] = i;
        }
    }
    return &cursor->base;
}
