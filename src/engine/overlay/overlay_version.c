/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of one version, as drawn in overlay_internal.h. */
#include "engine/overlay/overlay_internal.h"

static uint32_t version_flags(const struct version_parts *parts) {
    const struct record *record = parts->record;
    return (record->expires_ms != 0 ? VERSION_HAS_EXPIRES : 0) |
           (parts->has_cut ? VERSION_HAS_CUT : 0) |
           (record->kind == RECORD_LARGE ? VERSION_HAS_LARGE_SIZE : 0) |
           (parts->has_pile ? VERSION_HAS_PILE : 0);
}

size_t version_size(const struct version_parts *parts) {
    return sizeof(struct overlay_version) + version_words(version_flags(parts)) +
           parts->record->value.size + (parts->has_pile ? parts->pile.size : 0);
}

static uint8_t *put_bytes(uint8_t *target, tern_slice bytes) {
    copy_bytes(target, bytes.data, bytes.size);
    return target + bytes.size;
}

struct overlay_version *version_write(void *memory, uint32_t size_class,
                                      const struct version_parts *parts) {
    const struct record *record = parts->record;
    struct overlay_version *version = memory;
    atomic_store_explicit(&version->block.link, 0, memory_order_relaxed);
    version->block.size = (uint32_t)record->value.size;
    version->block.size_class = (uint16_t)size_class;
    version->block.kinds = (uint8_t)((uint32_t)record->kind | record->merge_kind << 4);
    version->block.flags = (uint8_t)version_flags(parts);
    version->seq = parts->seq;
    if (record->expires_ms != 0) {
        *version_word(version, VERSION_HAS_EXPIRES) = record->expires_ms;
    }
    if (parts->has_cut) {
        atomic_init(version_cut_word(version), parts->cut);
    }
    if (record->kind == RECORD_LARGE) {
        *version_word(version, VERSION_HAS_LARGE_SIZE) = record->value_size;
    }
    uint8_t *rest = put_bytes(version_bytes(version), record->value);
    if (parts->has_pile) {
        struct version_pile *pile = (struct version_pile *)version_word(version, VERSION_HAS_PILE);
        pile->oldest_ms = parts->pile_oldest_ms;
        pile->size = (uint32_t)parts->pile.size;
        pile->reserved = 0;
        (void)put_bytes(rest, parts->pile);
    }
    return version;
}

void version_record(const struct overlay_version *version, struct record *out_record) {
    out_record->kind = version_kind(version);
    out_record->merge_kind = version_merge_kind(version);
    out_record->expires_ms = version_expires(version);
    out_record->value = tern_slice_of(version_bytes(version), version->block.size);
    out_record->value_size = (version->block.flags & VERSION_HAS_LARGE_SIZE) != 0
                                 ? *version_word(version, VERSION_HAS_LARGE_SIZE)
                                 : version->block.size;
}
