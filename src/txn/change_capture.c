/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entry: u8 kind (0 key, 1 range, 2 range with an end), u32 key size, u32 end size, key, end.
 */
#include "txn/change_capture.h"

#include "base/bytes.h"
#include "base/error.h"

#define ENTRY_BYTES 9u

enum entry_kind { ENTRY_KEY = 0, ENTRY_RANGE = 1, ENTRY_RANGE_WITH_END = 2 };

void change_capture_init(struct change_capture *capture, const tern_allocator *allocator,
                         struct budget *budget, uint64_t limit_bytes,
                         _Atomic uint32_t *writers_held) {
    *capture = (struct change_capture){.budget = budget, .writers_held = writers_held};
    atomic_init(&capture->limit_bytes, limit_bytes);
    buffer_init(&capture->bytes, allocator);
    atomic_init(&capture->size, 0);
}

static void let_writers_go(struct change_capture *capture) {
    if (capture->holds_writers) {
        capture->holds_writers = false;
        atomic_fetch_sub_explicit(capture->writers_held, 1, memory_order_release);
    }
}

void change_capture_release(struct change_capture *capture) {
    let_writers_go(capture);
    change_capture_give_back(capture, &capture->bytes);
}

void change_capture_give_back(struct change_capture *capture, struct buffer *taken) {
    budget_subtract(capture->budget, BUDGET_OTHER, taken->capacity);
    buffer_release(taken);
}

static tern_status add(struct change_capture *capture, const struct engine_change *change) {
    uint8_t header[ENTRY_BYTES];
    bool is_range = (int)change->record.kind == (int)CHANGE_DELETE_RANGE;
    bool has_end = is_range && change->range_has_end;
    size_t end_size = has_end ? change->record.value.size : 0;
    header[0] = !is_range ? ENTRY_KEY : (has_end ? ENTRY_RANGE_WITH_END : ENTRY_RANGE);
    put_u32(header + 1, (uint32_t)change->key.size);
    put_u32(header + 5, (uint32_t)end_size);
    struct buffer *bytes = &capture->bytes;
    tern_status status = buffer_reserve(bytes, ENTRY_BYTES + change->key.size + end_size);
    if (status == TERN_OK) {
        uint8_t *target = bytes->data + bytes->size;
        memcpy(target, header, sizeof(header));
        copy_bytes(target + ENTRY_BYTES, change->key.data, change->key.size);
        copy_bytes(target + ENTRY_BYTES + change->key.size, change->record.value.data, end_size);
        bytes->size += ENTRY_BYTES + change->key.size + end_size;
    }
    return status;
}

void change_capture_add(struct change_capture *capture, const struct engine_change *changes,
                        size_t count) {
    size_t capacity = capture->bytes.capacity;
    for (size_t i = 0; i < count && !capture->has_failed; i++) {
        capture->has_failed = add(capture, &changes[i]) != TERN_OK;
    }
    budget_add(capture->budget, BUDGET_OTHER, capture->bytes.capacity - capacity);
    atomic_store_explicit(&capture->size, capture->bytes.size, memory_order_relaxed);
    if (!capture->holds_writers &&
        capture->bytes.size >= atomic_load_explicit(&capture->limit_bytes, memory_order_relaxed)) {
        capture->holds_writers = true;
        atomic_fetch_add_explicit(capture->writers_held, 1, memory_order_release);
    }
}

tern_status change_capture_take(struct change_capture *capture, struct buffer *out,
                                tern_error *error) {
    if (capture->has_failed) {
        return ERROR_NO_MEMORY(error, "the keys that changed during a conversion");
    }
    const tern_allocator *allocator = capture->bytes.allocator;
    *out = capture->bytes;
    buffer_init(&capture->bytes, allocator);
    atomic_store_explicit(&capture->size, 0, memory_order_relaxed);
    let_writers_go(capture);
    return TERN_OK;
}

bool change_capture_next(tern_slice bytes, size_t *position, struct captured_change *out_change) {
    if (*position == bytes.size) {
        return false;
    }
    const uint8_t *entry = (const uint8_t *)bytes.data + *position;
    size_t key_size = get_u32(entry + 1);
    size_t end_size = get_u32(entry + 5);
    *out_change = (struct captured_change){
        .is_range = entry[0] != ENTRY_KEY,
        .has_end = entry[0] == ENTRY_RANGE_WITH_END,
        .key = tern_slice_of(entry + ENTRY_BYTES, key_size),
        .end = tern_slice_of(entry + ENTRY_BYTES + key_size, end_size),
    };
    *position += ENTRY_BYTES + key_size + end_size;
    return true;
}
