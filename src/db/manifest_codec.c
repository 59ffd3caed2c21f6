/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slot (4096 bytes):
 *   0  u8[8]  magic "TERNROOT"
 *   8  u32    format version
 *  12  u32    features that a reader has to know: none yet
 *  16  u64    generation of the manifest
 *  24  u64    body offset in the file
 *  32  u64    body size in bytes
 *  40  u64    body checksum (XXH3 64)
 *  48  zeros
 * 4088 u64    checksum of bytes 0 to 4087
 *
 * Body:
 *   0  u64  generation              24  u64  catalog_seq      48  u64  log_start
 *   8  u64  view generation         32  u64  last_seq         56  u64  next partition id
 *  16  u32  incarnation, u32 flags  40  u64  time_ms          64  u32  number of keyspaces
 *  68  keyspaces, each: u64 id, u64 created_seq, u8 engine, u8 compression (low 4 bits)
 *      and compaction (high 4 bits; of hash the index), u16 fill percent,
 *      u32 page bytes, u32 fan-out, u16 name size, u32 state size, u64 seed of key hashes, name,
 *      [of hash: u64 expected keys, u8 maximum load in percent, u8 hash function, u8[6] zero],
 *      [when bit 6 of the engine is set, of LSM: u8 filter bits, u8[3] zero, u32 compression of
 *      the levels, u8[8] zero],
 *      [when bit 7 of the engine is set, of a partition that a conversion builds or has built:
 *      u64 id of the keyspace, u64 seq of the conversion (all ones: not done)], state
 */
#include "db/manifest_codec.h"

#include "base/bytes.h"
#include "engine/key_hasher.h"
#include "engine/lsm_options.h"
#include "simd/hash.h"

#define BODY_HEADER_BYTES     68
#define KEYSPACE_HEADER_BYTES 42
#define HASH_OPTIONS_BYTES    16
#define LSM_OPTIONS_BYTES     16
#define CONVERSION_BYTES      16
#define ENGINE_CONVERTED      0x80u
#define ENGINE_SPECIAL        0x40u /* options of LSM that are not the defaults */
#define FLAG_HAS_EXPIRING     1u

const char manifest_no_memory[] = "manifest-memory";
const char manifest_unknown_features[] = "manifest-features";

static const uint8_t magic[8] = {'T', 'E', 'R', 'N', 'R', 'O', 'O', 'T'};

void manifest_slot_encode(const struct manifest_slot *slot, uint8_t target[MANIFEST_SLOT_BYTES]) {
    memset(target, 0, MANIFEST_SLOT_BYTES);
    memcpy(target, magic, sizeof(magic));
    put_u32(target + 8, MANIFEST_FORMAT_VERSION);
    put_u64(target + 16, slot->generation);
    put_u64(target + 24, slot->body_offset);
    put_u64(target + 32, slot->body_size);
    put_u64(target + 40, slot->body_checksum);
    put_u64(target + MANIFEST_SLOT_BYTES - 8, hash_u64(target, MANIFEST_SLOT_BYTES - 8, 0));
}

const char *manifest_slot_decode(const uint8_t source[MANIFEST_SLOT_BYTES],
                                 struct manifest_slot *out_slot, uint32_t *out_version) {
    *out_version = MANIFEST_FORMAT_VERSION;
    if (memcmp(source, magic, sizeof(magic)) != 0) {
        return "manifest-magic";
    }
    if (get_u64(source + MANIFEST_SLOT_BYTES - 8) != hash_u64(source, MANIFEST_SLOT_BYTES - 8, 0)) {
        return "manifest-slot-checksum";
    }
    *out_version = get_u32(source + 8);
    if (*out_version != MANIFEST_FORMAT_VERSION) {
        return "manifest-version";
    }
    if (get_u32(source + 12) != 0) {
        return manifest_unknown_features;
    }
    *out_slot = (struct manifest_slot){get_u64(source + 16), get_u64(source + 24),
                                       get_u64(source + 32), get_u64(source + 40)};
    if (out_slot->body_size > MANIFEST_BODY_BYTES_MAX ||
        out_slot->body_offset < (uint64_t)MANIFEST_SLOTS * MANIFEST_SLOT_BYTES ||
        out_slot->body_offset > (uint64_t)INT64_MAX - MANIFEST_BODY_BYTES_MAX) {
        return "manifest-body-place";
    }
    return NULL;
}

/* What stands above the compression. */
static uint32_t style_of(const tern_keyspace_options *options) {
    return options->engine == TERN_ENGINE_HASH ? (uint32_t)options->hash_index
                                               : (uint32_t)options->compaction;
}

/* What stands between name and state: at most one of the first two. */
static size_t hash_bytes(uint8_t engine) {
    return (engine & ~ENGINE_CONVERTED) == TERN_ENGINE_HASH ? HASH_OPTIONS_BYTES : 0;
}

static size_t lsm_bytes(uint8_t engine) {
    return (engine & ~ENGINE_CONVERTED) == (ENGINE_SPECIAL | (uint32_t)TERN_ENGINE_LSM)
               ? LSM_OPTIONS_BYTES
               : 0;
}

static size_t conversion_bytes(uint8_t engine) {
    return (engine & ENGINE_CONVERTED) != 0 ? CONVERSION_BYTES : 0;
}

static bool is_of_conversion(const struct manifest_keyspace *keyspace) {
    return keyspace->keyspace_id != 0 && keyspace->keyspace_id != keyspace->id;
}

static tern_status put_more(const struct manifest_keyspace *keyspace, struct buffer *out_body) {
    uint8_t bytes[HASH_OPTIONS_BYTES + CONVERSION_BYTES] = {0};
    size_t size = 0;
    if (keyspace->options.engine == TERN_ENGINE_HASH) {
        put_u64(bytes, keyspace->options.expected_keys);
        bytes[8] = (uint8_t)keyspace->options.max_load_percent;
        bytes[9] = (uint8_t)keyspace->options.hash_function;
        size = HASH_OPTIONS_BYTES;
    } else if (lsm_options_are_special(&keyspace->options)) {
        bytes[0] = lsm_options_filter(&keyspace->options);
        put_u32(bytes + 4, lsm_options_levels(&keyspace->options));
        size = LSM_OPTIONS_BYTES;
    }
    if (is_of_conversion(keyspace)) {
        put_u64(bytes + size, keyspace->keyspace_id);
        put_u64(bytes + size + 8, keyspace->shown_seq);
        size += CONVERSION_BYTES;
    }
    return buffer_append(out_body, bytes, size);
}

static void put_keyspace(uint8_t *target, const struct manifest_keyspace *keyspace) {
    put_u64(target, keyspace->id);
    put_u64(target + 8, keyspace->created_seq);
    target[16] = (uint8_t)((uint32_t)keyspace->options.engine |
                           (is_of_conversion(keyspace) ? ENGINE_CONVERTED : 0) |
                           (lsm_options_are_special(&keyspace->options) ? ENGINE_SPECIAL : 0));
    target[17] =
        (uint8_t)((uint32_t)keyspace->options.compression | style_of(&keyspace->options) << 4);
    put_u16(target + 18, (uint16_t)keyspace->options.fill_percent);
    put_u32(target + 20, keyspace->options.page_bytes);
    put_u32(target + 24, keyspace->options.fan_out);
    put_u16(target + 28, (uint16_t)keyspace->name.size);
    put_u32(target + 30, (uint32_t)keyspace->state.size);
    put_u64(target + 34, keyspace->hash_seed);
}

tern_status manifest_body_encode(const struct manifest *manifest, struct buffer *out_body) {
    uint8_t header[BODY_HEADER_BYTES];
    put_u64(header, manifest->generation);
    put_u64(header + 8, manifest->view_generation);
    put_u32(header + 16, manifest->incarnation);
    put_u32(header + 20, manifest->has_expiring ? FLAG_HAS_EXPIRING : 0);
    put_u64(header + 24, manifest->catalog_seq);
    put_u64(header + 32, manifest->last_seq);
    put_u64(header + 40, manifest->time_ms);
    put_u64(header + 48, manifest->log_start);
    put_u64(header + 56, manifest->next_partition);
    put_u32(header + 64, (uint32_t)manifest->keyspace_count);
    tern_status status = buffer_append(out_body, header, sizeof(header));
    for (size_t i = 0; status == TERN_OK && i < manifest->keyspace_count; i++) {
        const struct manifest_keyspace *keyspace = &manifest->keyspaces[i];
        uint8_t entry[KEYSPACE_HEADER_BYTES];
        put_keyspace(entry, keyspace);
        status = buffer_append(out_body, entry, sizeof(entry));
        if (status == TERN_OK) {
            status = buffer_append(out_body, keyspace->name.data, keyspace->name.size);
        }
        if (status == TERN_OK) {
            status = put_more(keyspace, out_body);
        }
        if (status == TERN_OK) {
            status = buffer_append(out_body, keyspace->state.data, keyspace->state.size);
        }
    }
    return status;
}

static const char *get_keyspace(const uint8_t **position, const uint8_t *end,
                                struct manifest_keyspace *out) {
    const uint8_t *source = *position;
    if ((size_t)(end - source) < KEYSPACE_HEADER_BYTES) {
        return "manifest-body-size";
    }
    uint8_t source_engine = source[16];
    size_t name_size = get_u16(source + 28);
    size_t state_size = get_u32(source + 30);
    size_t options_size = hash_bytes(source_engine) + lsm_bytes(source_engine);
    size_t more_size = options_size + conversion_bytes(source_engine);
    if ((size_t)(end - source) - KEYSPACE_HEADER_BYTES < name_size + more_size + state_size) {
        return "manifest-body-size";
    }
    uint32_t style = source[17] >> 4;
    const uint8_t *conversion = source + KEYSPACE_HEADER_BYTES + name_size + options_size;
    *out = (struct manifest_keyspace){
        .id = get_u64(source), .keyspace_id = get_u64(source), .created_seq = get_u64(source + 8)};
    if (conversion_bytes(source_engine) > 0) {
        out->keyspace_id = get_u64(conversion);
        out->shown_seq = get_u64(conversion + 8);
    }
    out->hash_seed = get_u64(source + 34);
    out->options.size = sizeof(out->options);
    uint8_t plain = source_engine & (uint8_t)~ENGINE_CONVERTED;
    out->options.engine = (tern_engine_kind)(lsm_bytes(plain) > 0 ? TERN_ENGINE_LSM : plain);
    out->options.compression = (tern_compression)(source[17] & 15);
    out->options.fill_percent = get_u16(source + 18);
    out->options.page_bytes = get_u32(source + 20);
    out->options.fan_out = get_u32(source + 24);
    out->name = tern_slice_of(source + KEYSPACE_HEADER_BYTES, name_size);
    source += KEYSPACE_HEADER_BYTES + name_size;
    bool are_zeros = true;
    if (out->options.engine == TERN_ENGINE_HASH) {
        out->options.hash_index = (tern_hash_index)style;
        out->options.expected_keys = get_u64(source);
        out->options.max_load_percent = source[8];
        out->options.hash_function = (tern_hash_function)source[9];
        are_zeros = get_u64(source + 8) >> 16 == 0;
        if (!key_hasher_is_known(out->options.hash_function)) {
            return "manifest-hash-function";
        }
    } else {
        out->options.compaction = (tern_compaction)style;
    }
    if (lsm_bytes(source_engine) > 0) {
        lsm_options_read(&out->options, source[0], get_u32(source + 4));
        are_zeros = get_u32(source) >> 8 == 0 && get_u64(source + 8) == 0 &&
                    lsm_options_are_special(&out->options); /* or they would not be there */
    }
    out->state = tern_slice_of(source + more_size, state_size);
    *position = source + more_size + state_size;
    bool is_named = name_size > 0 && name_size <= TERN_KEYSPACE_NAME_BYTES &&
                    memchr(out->name.data, 0, name_size) == NULL;
    /* Only what a conversion builds has another id than its keyspace. */
    bool fits =
        conversion_bytes(source_engine) == 0 ||
        (out->keyspace_id != 0 && out->keyspace_id != out->id && out->shown_seq != SEQ_NONE);
    return out->id != 0 && is_named && are_zeros && fits ? NULL : "manifest-keyspace";
}

const char *manifest_body_decode(tern_slice body, struct arena *arena,
                                 struct manifest *out_manifest) {
    const uint8_t *source = body.data;
    if (body.size < BODY_HEADER_BYTES) {
        return "manifest-body-size";
    }
    struct manifest manifest = {.generation = get_u64(source),
                                .view_generation = get_u64(source + 8),
                                .incarnation = get_u32(source + 16),
                                .has_expiring = (get_u32(source + 20) & FLAG_HAS_EXPIRING) != 0,
                                .catalog_seq = get_u64(source + 24),
                                .last_seq = get_u64(source + 32),
                                .time_ms = get_u64(source + 40),
                                .log_start = get_u64(source + 48),
                                .next_partition = get_u64(source + 56),
                                .keyspace_count = get_u32(source + 64)};
    const uint8_t *position = source + BODY_HEADER_BYTES;
    const uint8_t *end = source + body.size;
    if (manifest.keyspace_count > (size_t)(end - position) / KEYSPACE_HEADER_BYTES) {
        return "manifest-body-size";
    }
    struct manifest_keyspace *keyspaces =
        arena_allocate(arena, manifest.keyspace_count * sizeof(keyspaces[0]));
    if (keyspaces == NULL) {
        return manifest_no_memory;
    }
    for (size_t i = 0; i < manifest.keyspace_count; i++) {
        const char *wrong = get_keyspace(&position, end, &keyspaces[i]);
        if (wrong != NULL) {
            return wrong;
        }
    }
    manifest.keyspaces = keyspaces;
    *out_manifest = manifest;
    return position == end ? NULL : "manifest-body-size";
}
