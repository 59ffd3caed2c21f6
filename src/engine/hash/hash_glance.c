/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants:
 *
 *  L1 an answer is given only when all entries that may be the key's were seen while nothing moved
 *     (hash_read.c says why that matters), and one of them alone holds what the moment asks for: a
 *     version, or the only record on disk, of a value that is whole, old enough, does not expire
 *
 *  L2 nothing is read from a device, and nothing of the block is believed that record_decode would
 *     not believe
 */
#include "engine/hash/hash_glance.h"

#include "base/bytes.h"
#include "base/compare.h"
#include "base/varint.h"

static bool has_ranges(const struct hash_view *view) {
    for (uint32_t i = 0; i < view->count; i++) {
        if (atomic_load_explicit(&view->memories[i]->ranges, memory_order_acquire) != NULL) {
            return true;
        }
    }
    return false;
}

static void set_result(struct engine_result *result, tern_slice value, enum engine_source source,
                       void *frame) {
    result->record.kind = RECORD_PUT;
    result->record.merge_kind = 0;
    result->record.expires_ms = 0;
    result->record.value_size = value.size;
    result->record.value = value;
    result->source = source;
    result->frame = frame;
}

/* As record_decode reads it, of what is nothing but a whole value that does not expire. */
static bool decode_plain(const uint8_t *payload, size_t size, uint32_t slot, tern_slice *out_key,
                         tern_slice *out_value, uint64_t *out_seq) {
    if (slot >= payload_count(payload, size)) {
        return false;
    }
    const uint8_t *end = payload + size;
    const uint8_t *source = payload + get_u16(payload + 4 + 2 * (size_t)slot);
    if (end - source < RECORD_HEAD_BYTES_MIN || (*source & ~RECORD_IS_FIRST) != RECORD_PUT) {
        return false;
    }
    uint64_t key_size;
    uint64_t value_size;
    uint64_t incarnation;
    source = get_number(source + 1, end, &key_size);
    source = source != NULL ? get_number(source, end, &value_size) : NULL;
    source = source != NULL ? varint_get(source, end, out_seq) : NULL;
    source = source != NULL ? get_number(source, end, &incarnation) : NULL;
    if (source == NULL || key_size > (uint64_t)(end - source) ||
        value_size > (uint64_t)(end - source) - key_size) {
        return false;
    }
    *out_key = tern_slice_of(source, (size_t)key_size);
    *out_value = tern_slice_of(source + key_size, (size_t)value_size);
    return true;
}

/* The record in its block when that is cached, and is of a plain value. */
static inline bool glance_at_record(const struct hash_base *base, hash_link link,
                                    const struct hash_wanted *wanted,
                                    struct engine_result *out_result) {
    struct block_info *info = base_block(base, link_block(link));
    struct cache_frame *frame = base_cached_frame(base, info, link_slot(link));
    tern_slice key;
    tern_slice value;
    seq_no seq;
    if (frame == NULL ||
        !decode_plain((const uint8_t *)frame + BLOCK_HEADER_BYTES, info->raw_bytes, link_slot(link),
                      &key, &value, &seq) ||
        seq > wanted->moment->seq || !slice_equal(key, wanted->key)) {
        return false;
    }
    set_result(out_result, value, ENGINE_SOURCE_FRAME, frame);
    return true;
}

static inline bool glance_at_version(const struct hash_version *version,
                                     const struct hash_wanted *wanted,
                                     struct engine_result *out_result) {
    if (version->kind != RECORD_PUT || version->flags != 0 || version->expires_ms != 0 ||
        version->seq > wanted->moment->seq) {
        return false;
    }
    set_result(out_result, version_value(version), ENGINE_SOURCE_OVERLAY, NULL);
    return true;
}

static inline void begin(struct hash_glance *glance, const struct hash_engine *engine,
                         uint64_t hash) {
    glance->moves = hash_index_moves(engine->index);
    glance->count = hash_index_collect(engine->index, hash, glance->links);
}

static inline bool end(const struct hash_glance *glance, const struct hash_engine *engine,
                       const struct hash_wanted *wanted, struct engine_result *out_result) {
    atomic_thread_fence(memory_order_acquire);
    if (glance->count > INDEX_COLLECT_MAX || hash_index_has_second(engine->index) ||
        (glance->moves & 1) != 0 || hash_index_moves(engine->index) != glance->moves ||
        has_ranges(wanted->view)) {
        return false;
    }
    hash_link record = LINK_NONE;
    for (uint32_t i = 0; i < glance->count; i++) {
        hash_link link = glance->links[i];
        if (link_is_version(link)) {
            const struct hash_version *version = link_version(link);
            if (version->hash == wanted->hash && slice_equal(version_key(version), wanted->key)) {
                return glance_at_version(version, wanted, out_result);
            }
        } else if (record == LINK_NONE) {
            record = link;
        } else {
            return false;
        }
    }
    return link_is_disk(record) && glance_at_record(&engine->base, record, wanted, out_result);
}

void hash_glance_begin(struct hash_glance *glance, const struct hash_engine *engine,
                       uint64_t hash) {
    begin(glance, engine, hash);
}

bool hash_glance_end(const struct hash_glance *glance, const struct hash_wanted *wanted,
                     struct engine_result *out_result) {
    return end(glance, hash_of(wanted->view->head.engine), wanted, out_result);
}

bool hash_glance(const struct hash_wanted *wanted, struct engine_result *out_result) {
    const struct hash_engine *engine = hash_of(wanted->view->head.engine);
    struct hash_glance glance;
    begin(&glance, engine, wanted->hash);
    return end(&glance, engine, wanted, out_result);
}
