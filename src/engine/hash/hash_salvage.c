/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting out of a damaged file what can be read.
 *
 * With a root, every live record of every block that it leads to. A block that cannot be read is
 * told with its segment, its bytes and how many live records are lost with it. Their keys are named
 * as far as they can still be made out in what lies there: the list of hashes of the segment is a
 * block of its own, so a key that has the hash listed for it is the key that was written.
 *
 * Without a root, whatever looks like a block of records; there is no checksum to go by.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/slice_text.h"
#include "engine/hash/hash_engine.h"
#include "engine/hash/hash_engine_internal.h"
#include "os/file.h"
#include "simd/hash.h"

#define MESSAGE_BYTES (TERN_ERROR_MESSAGE_BYTES + SLICE_TEXT_BYTES + 160)

struct salvaging {
    tern_status (*visit)(void *context, tern_slice key, const struct record *record,
                         uint64_t generation);
    void *context;
    tern_finding_function on_finding;
    void *finding_context;
    bool has_stopped; /* on_finding said so: no more findings */
    struct hash_base *base;
    struct hash_file *file;
    const tern_allocator *allocator;
    uint64_t lost;
};

static bool is_live(const struct hash_segment *segment, uint32_t record_no) {
    return (segment->live[record_no / 64] >> (record_no % 64) & 1) != 0;
}

static void tell(struct salvaging *salvaging, int64_t offset, const char *invariant,
                 const char *message) {
    if (salvaging->on_finding == NULL || salvaging->has_stopped) {
        return;
    }
    const char *path = hash_file_path(salvaging->file);
    const char *slash = strrchr(path, '/');
    const tern_finding finding = {slash != NULL ? slash + 1 : path, offset, invariant, message};
    salvaging->has_stopped = !salvaging->on_finding(salvaging->finding_context, &finding);
}

static void lose_value(struct salvaging *salvaging, const struct hash_record *record,
                       const tern_error *damage) {
    char key[SLICE_TEXT_BYTES];
    char message[MESSAGE_BYTES];
    (void)snprintf(message, sizeof(message), "the value of %" PRIu64 " bytes of key %s is lost: %s",
                   record->record.value_size, slice_text(record->key, key), damage->message);
    tell(salvaging, damage->offset, "value", message);
    salvaging->lost++;
}

/* All records of a block, or the live ones of a segment. `place`: of the block. */
static tern_status salvage_payload(struct salvaging *salvaging, const struct buffer *payload,
                                   uint32_t place, const struct hash_segment *segment,
                                   uint32_t first) {
    tern_status status = TERN_OK;
    uint32_t count = payload_count(payload->data, payload->size);
    struct buffer value;
    buffer_init(&value, salvaging->allocator);
    for (uint32_t i = 0; status == TERN_OK && i < count; i++) {
        struct hash_record record;
        if (segment != NULL && !is_live(segment, first + i)) {
            continue;
        }
        if (!record_decode(payload->data, payload->size, i, &record)) {
            tell(salvaging, (int64_t)place * HASH_UNIT_BYTES, "H-record", "a record is malformed");
            continue;
        }
        if (record.record.kind == RECORD_LARGE) {
            tern_error damage = TERN_ERROR_INIT;
            value.size = 0;
            if (hash_value_load(salvaging->file, salvaging->allocator, record.record.value, &value,
                                &damage) != TERN_OK) {
                lose_value(salvaging, &record, &damage);
                continue;
            }
            record.record.kind = RECORD_PUT;
            record.record.value = buffer_slice(&value);
        }
        status = salvaging->visit(salvaging->context, record.key, &record.record, record.seq);
    }
    buffer_release(&value);
    return status;
}

/* ---- by the root ---- */

/* What lies where a block cannot be read, as it would be without the damage; false: nothing. */
static bool read_damaged(struct salvaging *salvaging, const struct block_info *info,
                         struct buffer *out_payload) {
    size_t size = (size_t)info->units * HASH_UNIT_BYTES;
    size_t got = 0;
    bool is_read = false;
    uint8_t *bytes = memory_allocate_aligned(salvaging->allocator, HASH_UNIT_BYTES, size);
    out_payload->size = 0;
    if (bytes != NULL && buffer_reserve(out_payload, (size_t)info->raw_bytes + 1) == TERN_OK &&
        hash_file_read_raw(salvaging->file, info->place, bytes, size, &got, NULL) == TERN_OK &&
        got >= BLOCK_HEADER_BYTES) {
        size_t stored = BLOCK_HEADER_BYTES + (size_t)get_u32(bytes + 8);
        is_read = stored <= got &&
                  block_decode(bytes, stored, hash_u64(bytes, stored, 0),
                               hash_file_path(salvaging->file), 0, out_payload->data,
                               info->raw_bytes, NULL, &out_payload->size, NULL) == TERN_OK;
        if (!is_read && BLOCK_HEADER_BYTES + (size_t)info->raw_bytes <= got) {
            /* The header is damaged, or this is no compressed block. */
            memcpy(out_payload->data, bytes + BLOCK_HEADER_BYTES, info->raw_bytes);
            out_payload->size = info->raw_bytes;
            is_read = true;
        }
    }
    memory_release_aligned(salvaging->allocator, bytes);
    return is_read;
}

/* The key that record `slot` of a damaged block has beyond doubt. */
static bool make_out_key(const struct salvaging *salvaging, const struct buffer *payload,
                         uint32_t slot, const struct buffer *hashes, uint32_t record_no,
                         tern_slice *out_key) {
    struct hash_record record;
    if (((size_t)record_no + 1) * 8 > hashes->size ||
        !record_decode(payload->data, payload->size, slot, &record) ||
        key_hasher_hash(&salvaging->base->hasher, record.key) !=
            get_u64(hashes->data + (size_t)record_no * 8)) {
        return false;
    }
    *out_key = record.key;
    return true;
}

static void lose_block(struct salvaging *salvaging, const struct block_info *info,
                       const tern_error *damage) {
    const struct hash_segment *segment = salvaging->base->segments[info->segment];
    int64_t offset = (int64_t)info->place * HASH_UNIT_BYTES;
    char message[MESSAGE_BYTES];
    struct buffer payload;
    struct buffer hashes;
    salvaging->lost++;
    (void)snprintf(message, sizeof(message),
                   "%s; segment %" PRIu32 ", bytes %" PRId64 " to %" PRId64 ": of its %" PRIu32
                   " live records only what the log has is left",
                   damage->message, info->segment, offset,
                   offset + (int64_t)info->units * HASH_UNIT_BYTES - 1, (uint32_t)info->live);
    tell(salvaging, offset, "checksum", message);
    buffer_init(&payload, salvaging->allocator);
    buffer_init(&hashes, salvaging->allocator);
    bool is_legible = read_damaged(salvaging, info, &payload) &&
                      hash_file_read(salvaging->file, &segment->hashes, &hashes, NULL) == TERN_OK;
    for (uint32_t i = 0; is_legible && i < info->records; i++) {
        char text[SLICE_TEXT_BYTES];
        tern_slice key;
        if (is_live(segment, info->first_record + i) &&
            make_out_key(salvaging, &payload, i, &hashes, info->first_record + i, &key)) {
            (void)snprintf(message, sizeof(message),
                           "the record of key %s is lost with its block, unless the log has it",
                           slice_text(key, text));
            tell(salvaging, offset, "H-record", message);
        }
    }
    buffer_release(&hashes);
    buffer_release(&payload);
}

static tern_status salvage_by_root(struct salvaging *salvaging, tern_error *error) {
    const struct hash_base *base = salvaging->base;
    struct buffer payload;
    tern_status status = TERN_OK;
    buffer_init(&payload, salvaging->allocator);
    for (uint32_t i = 0; status == TERN_OK && i < base->segment_count; i++) {
        const struct hash_segment *segment = base->segments[i];
        for (uint32_t j = 0; segment != NULL && j < segment->block_count && status == TERN_OK;
             j++) {
            if (segment->blocks[j] == BLOCK_NONE) {
                continue;
            }
            const struct block_info *info = base_block(base, segment->blocks[j]);
            const struct hash_ref ref = {info->place, info->units, info->checksum};
            tern_error failure = TERN_ERROR_INIT;
            status = hash_file_read(salvaging->file, &ref, &payload, &failure);
            if (status == TERN_CORRUPTION || status == TERN_IO) {
                lose_block(salvaging, info, &failure);
                status = TERN_OK;
            } else if (status == TERN_OK) {
                status =
                    salvage_payload(salvaging, &payload, info->place, segment, info->first_record);
            } else {
                error_copy(error, &failure);
            }
        }
    }
    buffer_release(&payload);
    return status;
}

/* ---- by the look of it ---- */

/* Without a root: every unit that looks like the begin of a block of records. There is no checksum
 * to go by, so what is taken must be well formed throughout. */
static tern_status salvage_by_scan(struct salvaging *salvaging, tern_error *error) {
    struct hash_file_stats stats;
    hash_file_get_stats(salvaging->file, &stats);
    uint32_t end = (uint32_t)(stats.file_bytes / HASH_UNIT_BYTES);
    size_t capacity = (size_t)1 << 20;
    uint8_t *bytes = memory_allocate_aligned(salvaging->allocator, HASH_UNIT_BYTES, capacity);
    struct buffer payload;
    tern_status status = bytes != NULL ? TERN_OK : ERROR_NO_MEMORY(error, "salvage");
    buffer_init(&payload, salvaging->allocator);
    for (uint32_t place = 1; status == TERN_OK && place < end; place++) {
        size_t got = 0;
        size_t raw = 0;
        status = hash_file_read_raw(salvaging->file, place, bytes, HASH_UNIT_BYTES, &got, error);
        if (status != TERN_OK || got < BLOCK_HEADER_BYTES || bytes[0] != 1) {
            continue;
        }
        size_t stored = BLOCK_HEADER_BYTES + (size_t)get_u32(bytes + 8);
        size_t wanted = get_u32(bytes + 4);
        uint32_t units = hash_units_for(stored);
        if (stored > capacity || wanted > ((size_t)64 << 20) || units > end - place) {
            continue;
        }
        status = hash_file_read_raw(salvaging->file, place, bytes, (size_t)units * HASH_UNIT_BYTES,
                                    &got, error);
        if (status != TERN_OK || got < stored) {
            continue;
        }
        payload.size = 0;
        if (buffer_reserve(&payload, wanted + 1) != TERN_OK) {
            status = ERROR_NO_MEMORY(error, "salvage");
            break;
        }
        uint64_t checksum = hash_u64(bytes, stored, 0);
        if (block_decode(bytes, stored, checksum, hash_file_path(salvaging->file),
                         (uint64_t)place * HASH_UNIT_BYTES, payload.data, wanted, NULL, &raw,
                         NULL) != TERN_OK) {
            continue;
        }
        payload.size = raw;
        uint32_t count = payload_count(payload.data, payload.size);
        bool is_whole = count > 0 && get_u16(payload.data + 2) == 0;
        for (uint32_t i = 0; is_whole && i < count; i++) {
            struct hash_record record;
            is_whole = record_decode(payload.data, payload.size, i, &record) &&
                       record.key.size > 0 && record.seq > 0;
        }
        if (is_whole) {
            status = salvage_payload(salvaging, &payload, place, NULL, 0);
            place += units - 1;
        }
    }
    memory_release_aligned(salvaging->allocator, bytes);
    buffer_release(&payload);
    return status;
}

tern_status hash_salvage(const struct engine_environment *environment,
                         const struct engine_config *config, tern_slice state_bytes,
                         tern_status (*visit)(void *context, tern_slice key,
                                              const struct record *record, uint64_t generation),
                         void *visit_context, tern_finding_function on_finding,
                         void *finding_context, uint64_t *out_lost_pages, tern_error *error) {
    struct hash_state state = {0};
    struct hash_base base = {0};
    tern_error failure = TERN_ERROR_INIT;
    struct engine_environment readable = *environment;
    struct salvaging salvaging = {.visit = visit,
                                  .context = visit_context,
                                  .on_finding = on_finding,
                                  .finding_context = finding_context,
                                  .base = &base,
                                  .allocator = environment->allocator};
    readable.read_only = true;
    const struct key_hasher hasher = engine_config_hasher(config);
    tern_status status = base_open(&base, &readable, config->id, &config->options, &hasher, error);
    if (status != TERN_OK) {
        return status;
    }
    salvaging.file = base.file;
    bool has_root =
        state_bytes.size > 0 && hash_state_decode(state_bytes, &state, &failure) == TERN_OK;
    if (has_root && state.has_root) {
        status = base_load_root(&base, &state.root, &failure);
        has_root = status == TERN_OK;
    }
    if (has_root) {
        status = salvage_by_root(&salvaging, error);
    } else if (status == TERN_OK || status == TERN_CORRUPTION || status == TERN_IO) {
        char message[MESSAGE_BYTES];
        (void)snprintf(message, sizeof(message),
                       "%s: the root is lost; all blocks are read, and deleted keys may come back",
                       failure.status != TERN_OK ? failure.message : "there is no state");
        tell(&salvaging, failure.offset, "H-root", message);
        status = salvage_by_scan(&salvaging, error);
    } else {
        error_copy(error, &failure);
    }
    base_close(&base);
    if (status == TERN_OK) {
        *out_lost_pages = salvaging.lost;
    }
    return status;
}
