/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operands are kept newest first as they come, and applied oldest first at the end. What is built
 * grows in scratch->value; scratch->spare takes the next step where a step cannot be done in place.
 */
#include "engine/resolution.h"

#include <tern/txn.h>

#include "base/assert.h"
#include "base/error.h"

static struct record *operand_at(struct resolution *resolution, size_t index) {
    return index < RESOLUTION_INLINE_OPERANDS
               ? &resolution->inline_operands[index]
               : &resolution->more_operands[index - RESOLUTION_INLINE_OPERANDS];
}

static tern_status push_operand(struct resolution *resolution, const struct record *record) {
    size_t more = resolution->operand_count < RESOLUTION_INLINE_OPERANDS
                      ? 0
                      : resolution->operand_count - RESOLUTION_INLINE_OPERANDS + 1;
    if (more > resolution->more_capacity) {
        size_t capacity = resolution->more_capacity == 0 ? 32 : resolution->more_capacity * 2;
        struct record *grown = memory_resize(resolution->allocator, resolution->more_operands,
                                             capacity * sizeof(struct record));
        if (grown == NULL) {
            return TERN_NO_MEMORY;
        }
        resolution->more_operands = grown;
        resolution->more_capacity = capacity;
    }
    *operand_at(resolution, resolution->operand_count++) = *record;
    return TERN_OK;
}

tern_status resolution_add(struct resolution *resolution, const struct record *record,
                           enum engine_source source, void *frame) {
    ASSERT_DEBUG(!resolution->is_complete);
    if (record->kind == RECORD_NONE) {
        return TERN_OK;
    }
    if (record->kind == RECORD_MERGE) {
        return push_operand(resolution, record);
    }
    resolution->terminal = *record;
    resolution->source = source;
    resolution->frame = frame;
    resolution->is_complete = true;
    return TERN_OK;
}

tern_status resolution_add_pile(struct resolution *resolution, const struct record *record,
                                uint64_t oldest_ms, resolution_since since, const void *chain,
                                seq_no seq) {
    ASSERT(resolution->pile_count < RESOLUTION_PILES_MAX);
    tern_status status = push_operand(resolution, record);
    if (status == TERN_OK) {
        resolution->piles[resolution->pile_count++] = (struct resolution_pile){
            .operand = resolution->operand_count - 1,
            .oldest_ms = oldest_ms,
            .since = since,
            .chain = chain,
            .seq = seq,
        };
    }
    return status;
}

void resolution_release(struct resolution *resolution) {
    if (resolution->more_operands != NULL) {
        memory_release(resolution->allocator, resolution->more_operands);
        resolution->more_operands = NULL;
        resolution->more_capacity = 0;
    }
}

/* What has been built so far: borrowed from the terminal record, or in scratch->value. */
struct building {
    struct engine_scratch *scratch;
    bool is_present;
    bool is_owned;
    tern_slice value;
};

static void swap_buffers(struct buffer *left, struct buffer *right) {
    struct buffer swapped = *left;
    *left = *right;
    *right = swapped;
}

static tern_status apply_operand(struct building *building, uint32_t merge_kind,
                                 tern_slice operand) {
    struct engine_scratch *scratch = building->scratch;
    tern_status status;
    if (building->is_owned && merge_kind == TERN_MERGE_APPEND) {
        status = buffer_append(&scratch->value, operand.data, operand.size);
    } else {
        /* The terminal's bytes may be in scratch->value themselves. */
        status = record_merge(merge_kind, building->is_present, building->value, operand,
                              &scratch->spare);
        if (status == TERN_OK) {
            swap_buffers(&scratch->value, &scratch->spare);
        }
    }
    if (status == TERN_OK) {
        building->is_present = building->is_owned = true;
        building->value = buffer_slice(&scratch->value);
    }
    return status;
}

static const struct resolution_pile *pile_at(const struct resolution *resolution, size_t operand) {
    for (size_t i = 0; i < resolution->pile_count; i++) {
        if (resolution->piles[i].operand == operand) {
            return &resolution->piles[i];
        }
    }
    return NULL;
}

/* Applies an operand; those committed before `since_ms` went with a value that has expired. */
static tern_status apply_since(struct resolution *resolution, struct building *building,
                               size_t index, uint64_t since_ms) {
    const struct record *operand = operand_at(resolution, index);
    if (operand->expires_ms < since_ms) {
        return TERN_OK;
    }
    const struct resolution_pile *pile =
        since_ms != 0 && resolution->pile_count > 0 ? pile_at(resolution, index) : NULL;
    if (pile == NULL || pile->oldest_ms >= since_ms) {
        return apply_operand(building, operand->merge_kind, operand->value);
    }
    struct buffer part;
    buffer_init(&part, resolution->allocator);
    tern_status status = pile->since(pile->chain, pile->seq, since_ms, &part);
    if (status == TERN_OK) {
        status = apply_operand(building, operand->merge_kind, buffer_slice(&part));
    }
    buffer_release(&part);
    return status;
}

static tern_status
apply_operands(struct resolution *resolution, uint64_t time_ms, struct engine_scratch *scratch,
               tern_status (*read_large)(void *context, const struct record *large,
                                         struct buffer *out_value, tern_error *error),
               void *large_context, struct engine_result *out_result, tern_error *error) {
    const struct record *terminal = &resolution->terminal;
    bool has_value = terminal->kind == RECORD_PUT || terminal->kind == RECORD_LARGE;
    bool has_expired = has_value && record_has_expired(terminal, time_ms);
    struct building building = {.scratch = scratch, .value = terminal->value};
    building.is_present = has_value && !has_expired;
    tern_status status = TERN_OK;
    if (building.is_present && terminal->kind == RECORD_LARGE) {
        ASSERT(read_large != NULL);
        scratch->spare.size = 0;
        status = read_large(large_context, terminal, &scratch->spare, error);
        swap_buffers(&scratch->value, &scratch->spare);
        building.is_owned = true;
        building.value = buffer_slice(&scratch->value);
    }
    uint64_t since_ms = has_expired ? terminal->expires_ms : 0;
    for (size_t i = resolution->operand_count; i > 0 && status == TERN_OK; i--) {
        status = apply_since(resolution, &building, i - 1, since_ms);
    }
    if (status != TERN_OK) {
        return status;
    }
    memset(out_result, 0, sizeof(*out_result));
    if (building.is_present) {
        out_result->record.kind = RECORD_PUT;
        out_result->record.expires_ms = has_value && !has_expired ? terminal->expires_ms : 0;
        out_result->record.value = building.value;
        out_result->record.value_size = building.value.size;
    }
    return TERN_OK;
}

tern_status
resolution_finish(struct resolution *resolution, uint64_t time_ms, struct engine_scratch *scratch,
                  tern_status (*read_large)(void *context, const struct record *large,
                                            struct buffer *out_value, tern_error *error),
                  void *large_context, struct engine_result *out_result, tern_error *error) {
    tern_status status = TERN_OK;
    if (resolution->operand_count > 0) {
        status = apply_operands(resolution, time_ms, scratch, read_large, large_context, out_result,
                                error);
        resolution_release(resolution);
        if (status == TERN_NO_MEMORY) {
            return ERROR_NO_MEMORY(error, "a merged value");
        }
        return status;
    }
    const struct record *terminal = &resolution->terminal;
    bool is_visible = (terminal->kind == RECORD_PUT || terminal->kind == RECORD_LARGE) &&
                      !record_has_expired(terminal, time_ms);
    if (is_visible) {
        out_result->record = *terminal;
        out_result->source = resolution->source;
        out_result->frame = resolution->frame;
    } else {
        memset(out_result, 0, sizeof(*out_result));
    }
    return TERN_OK;
}
