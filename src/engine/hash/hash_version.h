/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an index entry points at. A link is 45 bits:
 *
 *   bit 44 clear   address of a version in memory, divided by 16; 0 is no link
 *   bit 44 set     record on disk: bits 13..43 number of the block, bits 0..12 its slot there
 *
 * A version lies in a partition's memory (hash_memory.h), or is a stub: a version whose value is on
 * disk already and which stays because some snapshot still needs what is below it.
 */
#ifndef TERN_ENGINE_HASH_VERSION_H
#define TERN_ENGINE_HASH_VERSION_H

#include "engine/engine.h"

typedef uint64_t hash_link;

#define LINK_BITS      45u
#define LINK_MASK      (((hash_link)1 << LINK_BITS) - 1)
#define LINK_NONE      ((hash_link)0)
#define LINK_DISK      ((hash_link)1 << 44)
#define LINK_SLOT_BITS 13u
#define LINK_SLOTS_MAX ((uint32_t)1 << LINK_SLOT_BITS)
/* Below this version comes whatever record of the key stands in the index on its own, if any. */
#define LINK_UNKNOWN  LINK_MASK
#define BLOCK_IDS_MAX ((uint32_t)0x7ffffffe)

static inline bool link_is_disk(hash_link link) {
    return (link & LINK_DISK) != 0 && link != LINK_UNKNOWN;
}

static inline hash_link link_to_record(uint32_t block, uint32_t slot) {
    return LINK_DISK | (hash_link)block << LINK_SLOT_BITS | slot;
}

static inline uint32_t link_block(hash_link link) {
    return (uint32_t)((link & ~LINK_DISK) >> LINK_SLOT_BITS);
}

static inline uint32_t link_slot(hash_link link) {
    return (uint32_t)(link & (LINK_SLOTS_MAX - 1));
}

#define VERSION_STUB    ((uint8_t)1) /* value: the link of the record on disk (0 of a DELETE) */
#define VERSION_HAS_END ((uint8_t)2) /* of a range delete */

struct hash_memory;

/*
 * One version of a key; the bytes of key and value follow. A version of a range delete has the
 * begin as key, the end as value, and `older` links the ranges of one memory.
 */
struct hash_version {
    _Atomic hash_link older;
    seq_no seq;
    _Atomic seq_no cut; /* readers with a moment in [cut, seq) lost what they look for */
    uint64_t hash;
    uint64_t expires_ms;
    uint32_t key_size;
    uint32_t value_size;
    uint32_t bytes; /* of all of it, to the next one */
    uint8_t kind;
    uint8_t merge_kind;
    uint8_t flags;
    uint8_t operands; /* MERGE: so many are in the chain from here down, at least */
    uint8_t data[];
};
_Static_assert(sizeof(struct hash_version) == 56, "56 bytes before the key");

#define VERSION_ALIGNMENT ((size_t)16)

static inline struct hash_version *link_version(hash_link link) {
    return (struct hash_version *)(uintptr_t)(link << 4);
}

static inline hash_link link_to_version(const struct hash_version *version) {
    return (hash_link)(uintptr_t)version >> 4;
}

static inline bool link_is_version(hash_link link) {
    return link != LINK_NONE && (link & LINK_DISK) == 0;
}

static inline size_t version_bytes_for(size_t key_size, size_t value_size) {
    size_t bytes = sizeof(struct hash_version) + key_size + value_size;
    return (bytes + VERSION_ALIGNMENT - 1) / VERSION_ALIGNMENT * VERSION_ALIGNMENT;
}

static inline tern_slice version_key(const struct hash_version *version) {
    return tern_slice_of(version->data, version->key_size);
}

static inline tern_slice version_value(const struct hash_version *version) {
    return tern_slice_of(version->data + version->key_size, version->value_size);
}

static inline hash_link version_older(const struct hash_version *version) {
    return atomic_load_explicit(&version->older, memory_order_acquire);
}

/* A stub: rounds a real version down to what chains need. */
struct hash_stub {
    struct hash_stub *next; /* all stubs of the engine */
    struct hash_stub *previous;
    struct epoch_node limbo;
    struct hash_memory *memory; /* kept for what `older` points to, or NULL */
    const tern_allocator *allocator;
    hash_link disk; /* LINK_NONE: the key was deleted */
    uint64_t bytes;
    uint64_t reserved;
} __attribute__((aligned(16)));
/* Its version follows at once. */
_Static_assert(sizeof(struct hash_stub) % 16 == 0, "what follows is aligned");

static inline struct hash_stub *version_stub(const struct hash_version *version) {
    return (struct hash_stub *)(uintptr_t)((const char *)version - sizeof(struct hash_stub));
}

static inline struct hash_version *stub_version(struct hash_stub *stub) {
    return (struct hash_version *)(void *)(stub + 1);
}

#endif
