/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoding of commits in the log. All numbers little-endian; "varint" is unsigned LEB128.
 *
 *   0  u64  seq
 *   8  u64  time_ms: the monotone wall time that the commit logs
 *  16  varint  number of catalog changes, each:
 *        u8 0 create, 1 drop, 2 convert; ids
 *        convert: varint id of the partition that the keyspace gets
 *        create: u8 engine, u8 compression, u64 seed of key hashes, varint page bytes, fan-out,
 *                fill percent, varint name size, name;
 *                of hash: varint expected keys, maximum load, u8 hash function;
 *                when bit 6 of the engine is set, of LSM: varint filter bits, compression of levels
 *   .  varint  number of parts, each:
 *        ids, varint number of changes, each:
 *          u8  tag: bits 0-2 kind, bit 3 expires, bit 4 range has an end, bits 5-6 merge kind
 *          varint key size, key
 *          PUT:   [u64 expires_ms] varint value size, value
 *          MERGE: varint operand size, operand
 *          LARGE: [u64 expires_ms] u64 token, varint value size
 *          DELETE_RANGE: [varint end size, end]
 *   ids: varint twice the partition id, and 1 more when the keyspace id is another: then varint
 *        keyspace id. They differ once a keyspace has been converted.
 *
 * The end of a transaction in parts: u64 seq, u64 all ones, u32 number of parts, u64 bytes.
 */
#include "txn/commit_codec.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/varint.h"
#include "engine/lsm_options.h"

#define TAG_EXPIRES       0x08u
#define TAG_RANGE_END     0x10u
#define TAG_MERGE_SHIFT   5
#define TAG_MERGE         0x60u
#define END_MARKER        UINT64_MAX
#define ENGINE_SPECIAL    0x40u /* options of LSM that are not the defaults */
#define CHANGE_BYTES_MAX  48
#define PART_BYTES_MAX    30
#define CATALOG_BYTES_MAX (100 + TERN_KEYSPACE_NAME_BYTES)

size_t commit_encoded_bound(const struct commit_request *request) {
    return 16 + 2 * VARINT_BYTES_MAX + request->catalog_count * CATALOG_BYTES_MAX +
           request->part_count * PART_BYTES_MAX + request->change_count * CHANGE_BYTES_MAX +
           request->bytes;
}

static uint8_t *put_bytes(uint8_t *target, tern_slice bytes) {
    target = varint_put(target, bytes.size);
    copy_bytes(target, bytes.data, bytes.size);
    return target + bytes.size;
}

static uint8_t *put_ids(uint8_t *target, const tern_keyspace *keyspace) {
    bool differ = keyspace->partition != keyspace->id;
    target = varint_put(target, keyspace->partition << 1 | (differ ? 1 : 0));
    return differ ? varint_put(target, keyspace->id) : target;
}

static uint8_t *put_catalog_change(uint8_t *target, const struct catalog_change *change) {
    const tern_keyspace *keyspace = change->keyspace;
    *target++ = change->is_drop ? CATALOG_DROP
                                : (change->target != NULL ? CATALOG_CONVERT : CATALOG_CREATE);
    target = put_ids(target, keyspace);
    if (change->target != NULL) {
        return varint_put(target, change->target->partition);
    }
    if (change->is_drop) {
        return target;
    }
    bool is_special = lsm_options_are_special(&keyspace->options);
    *target++ = (uint8_t)((uint32_t)keyspace->options.engine | (is_special ? ENGINE_SPECIAL : 0));
    bool is_hash = keyspace->options.engine == TERN_ENGINE_HASH;
    uint32_t style =
        is_hash ? (uint32_t)keyspace->options.hash_index : (uint32_t)keyspace->options.compaction;
    *target++ = (uint8_t)((uint32_t)keyspace->options.compression | style << 4);
    put_u64(target, keyspace->hasher.seed);
    target = varint_put(target + 8, keyspace->options.page_bytes);
    target = varint_put(target, keyspace->options.fan_out);
    target = varint_put(target, keyspace->options.fill_percent);
    target = put_bytes(target, tern_slice_str(keyspace->name));
    if (is_hash) {
        target = varint_put(target, keyspace->options.expected_keys);
        target = varint_put(target, keyspace->options.max_load_percent);
        *target++ = (uint8_t)keyspace->options.hash_function;
    }
    if (is_special) {
        target = varint_put(target, lsm_options_filter(&keyspace->options));
        target = varint_put(target, lsm_options_levels(&keyspace->options));
    }
    return target;
}

/* Up to the key's bytes. */
static uint8_t *put_before_key(uint8_t *target, const struct engine_change *change) {
    const struct record *record = &change->record;
    bool has_expiry = record->expires_ms != 0 && record->kind != RECORD_MERGE;
    uint32_t tag = (uint32_t)record->kind | (has_expiry ? TAG_EXPIRES : 0) |
                   (change->range_has_end ? TAG_RANGE_END : 0) |
                   (record->kind == RECORD_MERGE ? record->merge_kind << TAG_MERGE_SHIFT : 0);
    *target++ = (uint8_t)tag;
    return varint_put(target, change->key.size);
}

/* Between the key's bytes and the value's. */
static uint8_t *put_before_value(uint8_t *target, const struct engine_change *change,
                                 tern_slice *out_value) {
    const struct record *record = &change->record;
    *out_value = tern_slice_of(NULL, 0);
    if (record->expires_ms != 0 && record->kind != RECORD_MERGE) {
        put_u64(target, record->expires_ms);
        target += 8;
    }
    if (record->kind == RECORD_LARGE) {
        put_u64(target, change->large_token);
        return varint_put(target + 8, record->value_size);
    }
    if (record->kind == RECORD_PUT || record->kind == RECORD_MERGE ||
        (record->kind == CHANGE_DELETE_RANGE && change->range_has_end)) {
        *out_value = record->value;
        return varint_put(target, record->value.size);
    }
    return target;
}

static uint8_t *put_change(uint8_t *target, const struct engine_change *change) {
    tern_slice value;
    target = put_before_key(target, change);
    copy_bytes(target, change->key.data, change->key.size);
    target = put_before_value(target + change->key.size, change, &value);
    copy_bytes(target, value.data, value.size);
    return target + value.size;
}

static uint8_t *put_begin(uint8_t *target, const struct commit_request *request, seq_no seq,
                          uint64_t time_ms) {
    put_u64(target, seq);
    put_u64(target + 8, time_ms);
    return varint_put(target + 16, request->catalog_count);
}

static uint8_t *put_part_begin(uint8_t *target, const struct commit_part *part) {
    return varint_put(put_ids(target, part->keyspace), part->count);
}

size_t commit_encode(const struct commit_request *request, seq_no seq, uint64_t time_ms,
                     uint8_t *target) {
    uint8_t *position = put_begin(target, request, seq, time_ms);
    for (size_t i = 0; i < request->catalog_count; i++) {
        position = put_catalog_change(position, &request->catalog[i]);
    }
    position = varint_put(position, request->part_count);
    for (size_t i = 0; i < request->part_count; i++) {
        const struct commit_part *part = &request->parts[i];
        position = put_part_begin(position, part);
        for (size_t j = 0; j < part->count; j++) {
            position = put_change(position, &part->changes[j]);
        }
    }
    return (size_t)(position - target);
}

/* ---- piece by piece ---- */

static tern_status give_change(struct commit_sink *sink, const struct engine_change *change) {
    uint8_t bytes[CHANGE_BYTES_MAX];
    tern_slice value;
    tern_status status = sink->put(sink, bytes, (size_t)(put_before_key(bytes, change) - bytes));
    if (status == TERN_OK) {
        status = sink->put(sink, change->key.data, change->key.size);
    }
    if (status == TERN_OK) {
        status = sink->put(sink, bytes, (size_t)(put_before_value(bytes, change, &value) - bytes));
    }
    return status == TERN_OK ? sink->put(sink, value.data, value.size) : status;
}

tern_status commit_encode_to(const struct commit_request *request, seq_no seq, uint64_t time_ms,
                             struct commit_sink *sink) {
    uint8_t bytes[CATALOG_BYTES_MAX];
    tern_status status =
        sink->put(sink, bytes, (size_t)(put_begin(bytes, request, seq, time_ms) - bytes));
    for (size_t i = 0; status == TERN_OK && i < request->catalog_count; i++) {
        const uint8_t *end = put_catalog_change(bytes, &request->catalog[i]);
        status = sink->put(sink, bytes, (size_t)(end - bytes));
    }
    if (status == TERN_OK) {
        status = sink->put(sink, bytes, (size_t)(varint_put(bytes, request->part_count) - bytes));
    }
    for (size_t i = 0; status == TERN_OK && i < request->part_count; i++) {
        const struct commit_part *part = &request->parts[i];
        status = sink->put(sink, bytes, (size_t)(put_part_begin(bytes, part) - bytes));
        for (size_t j = 0; status == TERN_OK && j < part->count; j++) {
            status = give_change(sink, &part->changes[j]);
        }
    }
    return status;
}

struct counting_sink {
    struct commit_sink sink;
    uint64_t bytes;
};

static tern_status count_bytes(struct commit_sink *sink, const void *bytes, size_t size) {
    (void)bytes;
    ((struct counting_sink *)sink)->bytes += size;
    return TERN_OK;
}

uint64_t commit_encoded_bytes(const struct commit_request *request, seq_no seq, uint64_t time_ms) {
    struct counting_sink counter = {.sink = {count_bytes}};
    tern_status status = commit_encode_to(request, seq, time_ms, &counter.sink);
    ASSERT(status == TERN_OK);
    return counter.bytes;
}

void commit_encode_end(seq_no seq, uint32_t part_count, uint64_t bytes,
                       uint8_t target[COMMIT_END_BYTES]) {
    put_u64(target, seq);
    put_u64(target + 8, END_MARKER);
    put_u32(target + 16, part_count);
    put_u64(target + 20, bytes);
}

/* ---- decoding ---- */

/* Reads forward; `position` NULL once anything was wrong. */
struct reader {
    const uint8_t *position;
    const uint8_t *end;
};

static uint64_t read_varint(struct reader *reader) {
    uint64_t value = 0;
    if (reader->position != NULL) {
        reader->position = varint_get(reader->position, reader->end, &value);
    }
    return value;
}

static const uint8_t *read_fixed(struct reader *reader, size_t size) {
    const uint8_t *bytes = reader->position;
    if (bytes == NULL || (size_t)(reader->end - bytes) < size) {
        reader->position = NULL;
        return NULL;
    }
    reader->position += size;
    return bytes;
}

static uint64_t read_u64(struct reader *reader) {
    const uint8_t *bytes = read_fixed(reader, 8);
    return bytes != NULL ? get_u64(bytes) : 0;
}

static uint8_t read_u8(struct reader *reader) {
    const uint8_t *byte = read_fixed(reader, 1);
    return byte != NULL ? *byte : 0;
}

static tern_slice read_bytes(struct reader *reader) {
    uint64_t size = read_varint(reader);
    if (reader->position == NULL || size > (uint64_t)(reader->end - reader->position)) {
        reader->position = NULL;
        return tern_slice_of(NULL, 0);
    }
    return tern_slice_of(read_fixed(reader, (size_t)size), (size_t)size);
}

static uint32_t read_u32_varint(struct reader *reader) {
    uint64_t value = read_varint(reader);
    if (value > UINT32_MAX) {
        reader->position = NULL;
        return 0;
    }
    return (uint32_t)value;
}

static void read_ids(struct reader *reader, partition_id *out_id, partition_id *out_keyspace_id) {
    uint64_t value = read_varint(reader);
    *out_id = value >> 1;
    *out_keyspace_id = (value & 1) != 0 ? read_varint(reader) : *out_id;
    if (*out_id == 0 || *out_keyspace_id == 0) {
        reader->position = NULL;
    }
}

static bool is_name(tern_slice name) {
    return name.size > 0 && name.size <= TERN_KEYSPACE_NAME_BYTES &&
           memchr(name.data, 0, name.size) == NULL;
}

static void read_catalog_change(struct reader *reader, struct decoded_catalog_change *out) {
    uint8_t kind = read_u8(reader);
    *out = (struct decoded_catalog_change){.kind = kind};
    read_ids(reader, &out->id, &out->keyspace_id);
    out->options.size = sizeof(out->options);
    if (kind == CATALOG_CONVERT) {
        out->target = read_varint(reader);
    }
    if (kind == CATALOG_CREATE) {
        uint8_t engine = read_u8(reader);
        bool is_special = engine == (ENGINE_SPECIAL | (uint32_t)TERN_ENGINE_LSM);
        out->options.engine = is_special ? TERN_ENGINE_LSM : (tern_engine_kind)engine;
        uint8_t styles = read_u8(reader); /* compression, and compaction or index above it */
        out->options.compression = (tern_compression)(styles & 15);
        out->hash_seed = read_u64(reader);
        out->options.page_bytes = read_u32_varint(reader);
        out->options.fan_out = read_u32_varint(reader);
        out->options.fill_percent = read_u32_varint(reader);
        out->name = read_bytes(reader);
        if (out->options.engine == TERN_ENGINE_HASH) {
            out->options.hash_index = (tern_hash_index)(styles >> 4);
            out->options.expected_keys = read_varint(reader);
            out->options.max_load_percent = read_u32_varint(reader);
            out->options.hash_function = (tern_hash_function)read_u8(reader);
        } else {
            out->options.compaction = (tern_compaction)(styles >> 4);
        }
        if (is_special) {
            uint32_t filter = read_u32_varint(reader);
            lsm_options_read(&out->options, filter, read_u32_varint(reader));
        }
    }
    if (kind > CATALOG_CONVERT || (kind == CATALOG_CONVERT && out->target == 0) ||
        (kind == CATALOG_CREATE && reader->position != NULL && !is_name(out->name))) {
        reader->position = NULL;
    }
}

/* What a change of a kind may say of itself. */
static bool is_tag_known(uint8_t tag) {
    static const uint8_t bits[8] = {[RECORD_PUT] = TAG_EXPIRES,
                                    [RECORD_MERGE] = TAG_MERGE,
                                    [RECORD_LARGE] = TAG_EXPIRES,
                                    [CHANGE_DELETE_RANGE] = TAG_RANGE_END};
    return (tag & ~7u & ~(uint32_t)bits[tag & 7]) == 0;
}

static void read_change(struct reader *reader, uint64_t time_ms, struct engine_change *out) {
    uint8_t tag = read_u8(reader);
    *out = (struct engine_change){.key = read_bytes(reader)};
    out->record.kind = (enum record_kind)(tag & 7);
    out->range_has_end = (tag & TAG_RANGE_END) != 0;
    if ((tag & TAG_EXPIRES) != 0) {
        out->record.expires_ms = read_u64(reader);
    }
    switch ((int)out->record.kind) {
    case RECORD_PUT:
        out->record.value = read_bytes(reader);
        out->record.value_size = out->record.value.size;
        break;
    case RECORD_DELETE:
        break;
    case RECORD_MERGE:
        out->record.merge_kind = (tag >> TAG_MERGE_SHIFT) & 3;
        out->record.value = read_bytes(reader);
        out->record.expires_ms = time_ms;
        if (out->record.merge_kind == 0) {
            reader->position = NULL;
        }
        break;
    case RECORD_LARGE:
        out->large_token = read_u64(reader);
        out->record.value_size = read_varint(reader);
        break;
    case (int)CHANGE_DELETE_RANGE:
        out->record.value = out->range_has_end ? read_bytes(reader) : tern_slice_of(NULL, 0);
        break;
    default:
        reader->position = NULL;
    }
    if (!is_tag_known(tag) ||
        (out->key.size == 0 && (int)out->record.kind != (int)CHANGE_DELETE_RANGE)) {
        reader->position = NULL;
    }
}

void decoded_part_hash(struct decoded_part *part, const struct key_hasher *hasher) {
    for (size_t i = 0; i < part->count; i++) {
        if ((int)part->changes[i].record.kind != (int)CHANGE_DELETE_RANGE) {
            part->changes[i].key_hash = key_hasher_hash(hasher, part->changes[i].key);
        }
    }
}

static tern_status damaged(tern_error *error, const char *what) {
    return ERROR_SET(error, TERN_CORRUPTION, "a commit record is malformed: %s", what);
}

/* A count that cannot be right is refused before memory is taken for it. */
static bool is_count_possible(const struct reader *reader, uint64_t count) {
    return reader->position != NULL && count <= (uint64_t)(reader->end - reader->position);
}

static tern_status read_part(struct reader *reader, struct arena *arena, uint64_t time_ms,
                             struct decoded_part *out, tern_error *error) {
    read_ids(reader, &out->id, &out->keyspace_id);
    uint64_t count = read_varint(reader);
    if (!is_count_possible(reader, count)) {
        return damaged(error, "number of changes");
    }
    out->count = (size_t)count;
    out->changes = arena_allocate(arena, (size_t)count * sizeof(struct engine_change));
    if (out->changes == NULL) {
        return ERROR_NO_MEMORY(error, "reading the log");
    }
    for (size_t i = 0; i < out->count; i++) {
        read_change(reader, time_ms, &out->changes[i]);
        if (reader->position == NULL) {
            return damaged(error, "a change");
        }
    }
    return TERN_OK;
}

tern_status commit_decode(const uint8_t *payload, size_t size, struct arena *arena,
                          struct decoded_commit *out_commit, tern_error *error) {
    struct reader reader = {payload, payload + size};
    struct decoded_commit commit = {.seq = read_u64(&reader), .time_ms = read_u64(&reader)};
    uint64_t catalog_count = read_varint(&reader);
    if (!is_count_possible(&reader, catalog_count) || commit.seq == SEQ_NONE) {
        return damaged(error, "number of catalog changes");
    }
    commit.catalog_count = (size_t)catalog_count;
    commit.catalog = arena_allocate(arena, commit.catalog_count * sizeof(commit.catalog[0]));
    if (commit.catalog == NULL) {
        return ERROR_NO_MEMORY(error, "reading the log");
    }
    for (size_t i = 0; i < commit.catalog_count; i++) {
        const struct decoded_catalog_change *change = &commit.catalog[i];
        read_catalog_change(&reader, &commit.catalog[i]);
        if (reader.position != NULL && !key_hasher_is_known(change->options.hash_function)) {
            return ERROR_SET(error, TERN_UNSUPPORTED,
                             "a commit creates keyspace %llu with hash function %d, which this "
                             "release does not know; use a newer release",
                             (unsigned long long)change->id, (int)change->options.hash_function);
        }
        if (reader.position == NULL && commit.catalog[i].kind > CATALOG_CONVERT) {
            return ERROR_SET(error, TERN_VERSION,
                             "a commit holds a catalog change of kind %d, which this release does "
                             "not know; use a newer release",
                             (int)commit.catalog[i].kind);
        }
    }
    uint64_t part_count = read_varint(&reader);
    if (!is_count_possible(&reader, part_count)) {
        return damaged(error, "number of parts");
    }
    commit.part_count = (size_t)part_count;
    commit.parts = arena_allocate(arena, commit.part_count * sizeof(commit.parts[0]));
    if (commit.parts == NULL) {
        return ERROR_NO_MEMORY(error, "reading the log");
    }
    for (size_t i = 0; i < commit.part_count; i++) {
        tern_status status = read_part(&reader, arena, commit.time_ms, &commit.parts[i], error);
        if (status != TERN_OK) {
            return status;
        }
        commit.change_count += commit.parts[i].count;
    }
    if (reader.position != reader.end) {
        return damaged(error, "bytes after its end");
    }
    *out_commit = commit;
    return TERN_OK;
}

/* ---- transactions in parts ---- */

void commit_assembler_init(struct commit_assembler *assembler, const tern_allocator *allocator) {
    buffer_init(&assembler->bytes, allocator);
    buffer_init(&assembler->starts, allocator);
    assembler->seq = SEQ_NONE;
    assembler->part_count = 0;
}

void commit_assembler_release(struct commit_assembler *assembler) {
    buffer_release(&assembler->bytes);
    buffer_release(&assembler->starts);
}

tern_status commit_assembler_part(struct commit_assembler *assembler, const uint8_t *payload,
                                  size_t size, tern_error *error) {
    if (size < COMMIT_PART_HEADER_BYTES) {
        return damaged(error, "a part too short");
    }
    seq_no seq = get_u64(payload);
    if (seq != assembler->seq || assembler->part_count == 0) {
        assembler->seq = seq;
        assembler->part_count = 0;
        assembler->bytes.size = assembler->starts.size = 0;
    }
    struct buffer *starts = &assembler->starts;
    size_t start = assembler->bytes.size;
    if (buffer_reserve(starts, sizeof(uint64_t)) != TERN_OK ||
        buffer_append(&assembler->bytes, payload + COMMIT_PART_HEADER_BYTES,
                      size - COMMIT_PART_HEADER_BYTES) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a transaction in parts");
    }
    put_u64(starts->data + starts->size, start);
    starts->size += sizeof(uint64_t);
    assembler->part_count++;
    return TERN_OK;
}

/* The last `count` parts, when there are so many. */
static bool last_parts(const struct commit_assembler *assembler, uint32_t count,
                       tern_slice *out_bytes) {
    size_t kept = assembler->starts.size / sizeof(uint64_t);
    if (count == 0 || count > assembler->part_count || count > kept) {
        return false;
    }
    size_t start = (size_t)get_u64(assembler->starts.data + (kept - count) * sizeof(uint64_t));
    size_t size = assembler->bytes.size - start;
    *out_bytes = tern_slice_of(size > 0 ? assembler->bytes.data + start : NULL, size);
    return true;
}

tern_status commit_assembler_commit(struct commit_assembler *assembler, const uint8_t *payload,
                                    size_t size, tern_slice *out_encoding, tern_error *error) {
    bool is_end = size == COMMIT_END_BYTES && get_u64(payload + 8) == END_MARKER;
    if (!is_end) {
        assembler->part_count = 0;
        assembler->bytes.size = assembler->starts.size = 0;
        *out_encoding = tern_slice_of(payload, size);
        return TERN_OK;
    }
    tern_slice encoding;
    if (assembler->seq != get_u64(payload) ||
        !last_parts(assembler, get_u32(payload + 16), &encoding) ||
        encoding.size != get_u64(payload + 20)) {
        return damaged(error, "parts are missing");
    }
    assembler->part_count = 0;
    *out_encoding = encoding;
    return TERN_OK;
}
