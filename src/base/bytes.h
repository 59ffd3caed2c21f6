/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed-width integers in explicit byte order, at any alignment. */
#ifndef TERN_BASE_BYTES_H
#define TERN_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "little-endian targets only"
#endif

static inline void put_u16(void *target, uint16_t value) {
    memcpy(target, &value, sizeof(value));
}

static inline void put_u32(void *target, uint32_t value) {
    memcpy(target, &value, sizeof(value));
}

static inline void put_u64(void *target, uint64_t value) {
    memcpy(target, &value, sizeof(value));
}

static inline uint16_t get_u16(const void *source) {
    uint16_t value;
    memcpy(&value, source, sizeof(value));
    return value;
}

static inline uint32_t get_u32(const void *source) {
    uint32_t value;
    memcpy(&value, source, sizeof(value));
    return value;
}

static inline uint64_t get_u64(const void *source) {
    uint64_t value;
    memcpy(&value, source, sizeof(value));
    return value;
}

/* Big-endian reads turn the first bytes of a key into a number that orders as the bytes do. */
static inline uint32_t get_u32_be(const void *source) {
    return __builtin_bswap32(get_u32(source));
}

static inline uint64_t get_u64_be(const void *source) {
    return __builtin_bswap64(get_u64(source));
}

/* The first up to 8 bytes as a big-endian number, missing bytes zero. */
static inline uint64_t key_head_u64(const void *bytes, size_t size) {
    if (size >= 8) {
        return get_u64_be(bytes);
    }
    uint64_t head = 0;
    memcpy(&head, bytes, size);
    return __builtin_bswap64(head);
}

/* The first up to 4 bytes as a big-endian number, missing bytes zero. */
static inline uint32_t key_head_u32(const void *bytes, size_t size) {
    if (size >= 4) {
        return get_u32_be(bytes);
    }
    uint32_t head = 0;
    memcpy(&head, bytes, size);
    return __builtin_bswap32(head);
}

static inline uint64_t round_up_u64(uint64_t value, uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

/*
 * Copies a few bytes, by words of eight: in place, and so that what was stored by words a moment
 * ago need not have reached the cache to be read back, as wider loads would make it.
 */
static inline void copy_small(void *target, const void *source, size_t size) {
    uint8_t *to = target;
    const uint8_t *from = source;
    uint64_t word;
    for (; size >= 8; size -= 8, to += 8, from += 8) {
        memcpy(&word, from, 8);
        memcpy(to, &word, 8);
    }
    for (; size > 0; size--) {
        *to++ = *from++;
    }
}

/* Above this the library's copy is worth its call. */
#define COPY_SMALL_BYTES_MAX 128u

static inline void copy_bytes(void *target, const void *source, size_t size) {
    if (size <= COPY_SMALL_BYTES_MAX) {
        copy_small(target, source, size);
    } else {
        memcpy(target, source, size);
    }
}

/* As memcmp, for a few bytes. */
static inline int compare_small(const void *left, const void *right, size_t size) {
    const uint8_t *a = left;
    const uint8_t *b = right;
    for (; size >= 8; size -= 8, a += 8, b += 8) {
        uint64_t x = get_u64_be(a);
        uint64_t y = get_u64_be(b);
        if (x != y) {
            return x < y ? -1 : 1;
        }
    }
    for (; size > 0; size--, a++, b++) {
        if (*a != *b) {
            return *a < *b ? -1 : 1;
        }
    }
    return 0;
}

#endif
