/* SPDX-License-Identifier: Apache-2.0 */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <tern/txn.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"

static uint8_t change_bytes[64][MODEL_VALUE_MAX];

uint64_t test_seed(void) {
    const char *text = getenv("TERN_SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : 20240607u;
    printf("TERN_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

uint64_t model_random(struct model *model, uint64_t below) {
    model->random += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t value = model->random;
    value = (value ^ (value >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (value ^ (value >> 31)) % below;
}

/* Short and long, with long common parts, and such that differ only in zero bytes at the end. */
static void make_key(struct model *model, struct model_key *key) {
    static const char stem[] = "a-rather-long-common-part-of-keys/";
    memset(key, 0, sizeof(*key));
    size_t stem_size = model_random(model, 3) == 0 ? sizeof(stem) - 1 : model_random(model, 8);
    memcpy(key->bytes, stem, stem_size);
    size_t rest = model_random(model, 12) + (stem_size == 0 ? 1 : 0);
    for (size_t i = 0; i < rest; i++) {
        key->bytes[stem_size + i] = (uint8_t)(model_random(model, 4) == 0 ? model_random(model, 256)
                                                                          : model_random(model, 3));
    }
    key->size = stem_size + rest;
    if (key->size == 0) {
        key->size = 1;
    }
}

static int compare_keys(const void *left, const void *right) {
    const struct model_key *a = left;
    const struct model_key *b = right;
    return slice_compare(tern_slice_of(a->bytes, a->size), tern_slice_of(b->bytes, b->size));
}

void model_init(struct model *model, size_t key_count, uint64_t seed) {
    memset(model, 0, sizeof(*model));
    model->random = seed;
    model->keys = calloc(key_count, sizeof(struct model_key));
    for (size_t i = 0; i < key_count; i++) {
        make_key(model, &model->keys[i]);
    }
    qsort(model->keys, key_count, sizeof(struct model_key), compare_keys);
    size_t kept = 0;
    for (size_t i = 0; i < key_count; i++) {
        if (kept == 0 || compare_keys(&model->keys[kept - 1], &model->keys[i]) != 0) {
            model->keys[kept++] = model->keys[i];
        }
    }
    model->key_count = kept;
    model->range_odds = 20 + model_random(model, 60);
    model->capacity = 1024;
    model->times = calloc(model->capacity, sizeof(uint64_t));
    model->times[0] = 1000;
}

void model_release(struct model *model) {
    for (size_t i = 0; i < model->key_count; i++) {
        for (size_t j = 0; j < model->keys[i].event_count; j++) {
            free(model->keys[i].events[j].value);
        }
        free(model->keys[i].events);
    }
    free(model->keys);
    free(model->ranges);
    free(model->times);
}

tern_slice model_key_at(const struct model *model, size_t index) {
    return tern_slice_of(model->keys[index].bytes, model->keys[index].size);
}

static void record_event(struct model *model, size_t index, const struct record *record) {
    struct model_key *key = &model->keys[index];
    if (key->event_count == key->event_capacity) {
        key->event_capacity = key->event_capacity * 2 + 8;
        key->events = realloc(key->events, key->event_capacity * sizeof(struct model_event));
    }
    struct model_event *event = &key->events[key->event_count++];
    *event = (struct model_event){
        .seq = model->last_seq,
        .time_ms = model->times[model->last_seq],
        .kind = record->kind,
        .merge_kind = record->merge_kind,
        .expires_ms = record->expires_ms,
        .size = record->value.size,
        .value = malloc(record->value.size + 1),
    };
    if (record->value.size > 0) {
        memcpy(event->value, record->value.data, record->value.size);
    }
}

static void fill_value(struct model *model, struct record *record, uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)('a' + model_random(model, 26));
    }
    record->value = tern_slice_of(bytes, size);
    record->value_size = size;
}

static void random_record(struct model *model, uint8_t *bytes, struct record *record) {
    uint64_t time_ms = model->times[model->last_seq];
    uint64_t choice = model_random(model, 100);
    memset(record, 0, sizeof(*record));
    if (choice < 40) {
        record->kind = RECORD_PUT;
        size_t size =
            model_random(model, 20) == 0 ? model_random(model, 3000) : model_random(model, 40);
        fill_value(model, record, bytes, size);
        if (model_random(model, 3) == 0) {
            record->expires_ms = time_ms + model_random(model, 12);
        }
    } else if (choice < 50) {
        record->kind = RECORD_DELETE;
    } else if (choice < 55) {
        record->kind = RECORD_LARGE;
        fill_value(model, record, bytes, 12);
        record->value_size = 1000;
    } else {
        record->kind = RECORD_MERGE;
        record->expires_ms = time_ms;
        record->merge_kind = TERN_MERGE_ADD;
        if (choice < 75) {
            put_u64(bytes, model_random(model, 1000));
            record->value = tern_slice_of(bytes, 8);
        } else if (choice < 85) {
            record->merge_kind = TERN_MERGE_MAX;
            fill_value(model, record, bytes,
                       model_random(model, model_random(model, 9) == 0 ? 90 : 9));
        } else {
            record->merge_kind = TERN_MERGE_APPEND;
            fill_value(model, record, bytes, model_random(model, 5));
        }
    }
}

void model_delete_range(struct model *model, size_t begin, size_t end,
                        struct engine_change *out_change) {
    struct record gone = {.kind = RECORD_DELETE};
    memset(out_change, 0, sizeof(*out_change));
    out_change->record.kind = CHANGE_DELETE_RANGE;
    if (begin > 0) {
        out_change->key = model_key_at(model, begin);
    }
    if (end < model->key_count) {
        out_change->range_has_end = true;
        out_change->record.value = model_key_at(model, end);
    }
    for (size_t i = begin; i < end; i++) {
        record_event(model, i, &gone);
    }
    model->ranges = realloc(model->ranges, (model->range_count + 1) * sizeof(struct model_range));
    model->ranges[model->range_count++] = (struct model_range){begin, end, model->last_seq};
}

void model_put(struct model *model, size_t key, struct engine_change *out_change) {
    memset(out_change, 0, sizeof(*out_change));
    out_change->key = model_key_at(model, key);
    out_change->key_hash = engine_key_hash(MODEL_PARTITION, out_change->key);
    out_change->record.kind = RECORD_PUT;
    out_change->record.value = tern_slice_of("by hand", 7);
    out_change->record.value_size = 7;
    record_event(model, key, &out_change->record);
}

static void random_range(struct model *model, struct engine_change *change) {
    size_t begin = model_random(model, model->key_count);
    size_t end = begin + model_random(model, model->key_count / 4 + 2);
    begin = model_random(model, 12) == 0 ? 0 : begin;
    model_delete_range(model, begin, end < model->key_count ? end : model->key_count, change);
}

static void begin_commit(struct model *model, uint64_t step_ms) {
    if (model->last_seq + 2 >= model->capacity) {
        model->capacity *= 2;
        model->times = realloc(model->times, model->capacity * sizeof(uint64_t));
    }
    model->last_seq++;
    model->times[model->last_seq] = model->times[model->last_seq - 1] + step_ms;
}

void model_begin_commit(struct model *model) {
    begin_commit(model, 0);
}

size_t model_commit(struct model *model, struct engine_change *out_changes, size_t count_max,
                    size_t *out_bytes) {
    begin_commit(model, model_random(model, 3) == 0 ? model_random(model, 6) : 0);
    size_t count = 1 + model_random(model, count_max);
    size_t hot = model_random(model, model->key_count);
    *out_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        struct engine_change *change = &out_changes[i];
        if (model_random(model, model->range_odds) == 0) {
            random_range(model, change);
        } else {
            size_t index =
                model_random(model, 3) == 0 ? hot : model_random(model, model->key_count);
            memset(change, 0, sizeof(*change));
            change->key = model_key_at(model, index);
            change->key_hash = engine_key_hash(MODEL_PARTITION, change->key);
            random_record(model, change_bytes[i % 64], &change->record);
            record_event(model, index, &change->record);
        }
        *out_bytes += change->key.size + change->record.value.size;
    }
    return count;
}

tern_status model_read_large(void *context, const struct record *large, struct buffer *out_value,
                             tern_error *error) {
    (void)context;
    (void)error;
    tern_status status = buffer_append(out_value, "large:", 6);
    return status == TERN_OK ? buffer_append(out_value, large->value.data, large->value.size)
                             : status;
}

static void merge_into(struct model_value *value, const struct model_event *event) {
    if (value->is_large) {
        memmove(value->bytes + 6, value->bytes, value->size);
        memcpy(value->bytes, "large:", 6);
        value->size += 6;
        value->is_large = false;
    }
    if (event->merge_kind == TERN_MERGE_ADD) {
        uint64_t sum = value->is_present && value->size == 8 ? get_u64(value->bytes) : 0;
        put_u64(value->bytes, sum + get_u64(event->value));
        value->size = 8;
    } else if (event->merge_kind == TERN_MERGE_APPEND) {
        size_t size = value->is_present ? value->size : 0;
        ASSERT(size + event->size <= MODEL_VALUE_MAX);
        memcpy(value->bytes + size, event->value, event->size);
        value->size = size + event->size;
    } else if (!value->is_present || slice_compare(tern_slice_of(value->bytes, value->size),
                                                   tern_slice_of(event->value, event->size)) < 0) {
        memcpy(value->bytes, event->value, event->size);
        value->size = event->size;
    }
    value->is_present = true;
}

void model_state(const struct model *model, size_t index, seq_no seq, uint64_t time_ms,
                 struct model_value *out_value) {
    const struct model_key *key = &model->keys[index];
    struct model_value *value = out_value;
    value->is_present = value->is_large = false;
    value->expires_ms = 0;
    value->size = 0;
    for (size_t i = 0; i < key->event_count && key->events[i].seq <= seq; i++) {
        const struct model_event *event = &key->events[i];
        if (event->kind == RECORD_MERGE) {
            if (value->is_present && value->expires_ms != 0 &&
                value->expires_ms <= event->time_ms) {
                value->is_present = value->is_large = false;
                value->expires_ms = 0;
                value->size = 0;
            }
            merge_into(value, event);
        } else {
            value->is_present = event->kind != RECORD_DELETE;
            value->is_large = event->kind == RECORD_LARGE;
            value->expires_ms = event->expires_ms;
            value->size = event->size;
            memcpy(value->bytes, event->value, event->size);
        }
    }
    if (value->is_present && value->expires_ms != 0 && time_ms != 0 &&
        value->expires_ms <= time_ms) {
        value->is_present = false;
    }
}

bool model_changed_since(const struct model *model, size_t begin, size_t end, seq_no since,
                         seq_no first_seq) {
    since = since + 1 < first_seq ? first_seq - 1 : since;
    for (size_t i = begin; i < end; i++) {
        const struct model_key *key = &model->keys[i];
        if (key->event_count > 0 && key->events[key->event_count - 1].seq > since) {
            return true;
        }
    }
    return false;
}

bool model_result_equals(const struct model_value *value, const struct engine_result *result) {
    const struct record *record = &result->record;
    if (!value->is_present) {
        return record->kind == RECORD_NONE;
    }
    return record->kind == (value->is_large ? RECORD_LARGE : RECORD_PUT) &&
           record->expires_ms == value->expires_ms && record->value.size == value->size &&
           (value->size == 0 || memcmp(record->value.data, value->bytes, value->size) == 0);
}

struct engine_cursor_bounds model_bounds(struct model *model, size_t *out_begin, size_t *out_end) {
    struct engine_cursor_bounds bounds = {0};
    *out_begin = 0;
    *out_end = model->key_count;
    if (model_random(model, 3) != 0) {
        *out_begin = model_random(model, model->key_count);
        bounds.has_begin = true;
        bounds.begin = model_key_at(model, *out_begin);
    }
    if (model_random(model, 3) != 0) {
        *out_end = model_random(model, model->key_count);
        bounds.has_end = true;
        bounds.end = model_key_at(model, *out_end);
    }
    return bounds;
}
