/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The oracle of the overlay's tests: for each key of a fixed set all that ever happened to it, in
 * order. What a moment sees is found by playing it back.
 */
#ifndef TERN_TESTS_UNIT_OVERLAY_MODEL_H
#define TERN_TESTS_UNIT_OVERLAY_MODEL_H

#include "engine/overlay/overlay_stack.h"

#define MODEL_PARTITION 7u
#define MODEL_VALUE_MAX 4096u

struct model_event {
    seq_no seq;
    uint64_t time_ms;
    enum record_kind kind;
    uint32_t merge_kind;
    uint64_t expires_ms;
    size_t size;
    uint8_t *value;
};

struct model_key {
    size_t size;
    uint8_t bytes[64];
    struct model_event *events;
    size_t event_count;
    size_t event_capacity;
};

struct model_range {
    size_t begin, end; /* indexes of keys; end == key_count: open */
    seq_no seq;
};

struct model {
    struct model_key *keys; /* sorted */
    size_t key_count;
    struct model_range *ranges;
    size_t range_count;
    uint64_t *times; /* logged time of each seq */
    seq_no last_seq;
    seq_no capacity;
    uint64_t random;
    uint64_t range_odds; /* one of so many changes is a range delete */
};

/* What a moment sees of a key. */
struct model_value {
    bool is_present;
    bool is_large;
    uint64_t expires_ms;
    size_t size;
    uint8_t bytes[MODEL_VALUE_MAX];
};

uint64_t test_seed(void);
uint64_t model_random(struct model *model, uint64_t below);

void model_init(struct model *model, size_t key_count, uint64_t seed);
void model_release(struct model *model);
tern_slice model_key_at(const struct model *model, size_t index);

/*
 * Makes a commit of up to `count_max` random changes: the next seq, at the same or a later time.
 * Bytes of the changes live until the next one; *out_bytes: of keys and values.
 */
size_t model_commit(struct model *model, struct engine_change *out_changes, size_t count_max,
                    size_t *out_bytes);

/* By hand: begins a commit at the same time as the last; puts a key; deletes keys [begin, end). */
void model_begin_commit(struct model *model);
void model_put(struct model *model, size_t key, struct engine_change *out_change);
void model_delete_range(struct model *model, size_t begin, size_t end,
                        struct engine_change *out_change);

/* State of a key after `seq`; expired at `time_ms` counts as missing (0: expiry not judged). */
void model_state(const struct model *model, size_t key, seq_no seq, uint64_t time_ms,
                 struct model_value *out_value);
bool model_changed_since(const struct model *model, size_t begin, size_t end, seq_no since,
                         seq_no first_seq);

/* A LARGE's bytes, as the engine would load them. */
tern_status model_read_large(void *context, const struct record *large, struct buffer *out_value,
                             tern_error *error);

bool model_result_equals(const struct model_value *value, const struct engine_result *result);

/* A random bound among the keys, or between two of them. */
struct engine_cursor_bounds model_bounds(struct model *model, size_t *out_begin, size_t *out_end);

#endif
