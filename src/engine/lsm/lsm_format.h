/* SPDX-License-Identifier: Apache-2.0 */
/* Constants of the files of an LSM partition; docs/format/lsm.md is normative. */
#ifndef TERN_ENGINE_LSM_FORMAT_H
#define TERN_ENGINE_LSM_FORMAT_H

#include <stdint.h>

/* First byte of every payload. */
enum lsm_payload_type {
    LSM_PAYLOAD_DATA = 0x21,
    LSM_PAYLOAD_INDEX = 0x22,
    LSM_PAYLOAD_FILTER = 0x23,
    LSM_PAYLOAD_META = 0x24,
    LSM_PAYLOAD_VALUE = 0x25,
    LSM_PAYLOAD_VALUE_INDEX = 0x26
};

/* Longest payload of a block that is cached: a frame without its head. */
#define LSM_PAYLOAD_BYTES_MAX ((uint32_t)(64 * 1024 - 16))
/* Longest value inside a block, whatever the page size. */
#define LSM_INLINE_BYTES_MAX 16384u
/* Most data blocks of one table; see lsm_table.h for why. */
#define LSM_TABLE_BLOCKS_MAX ((uint32_t)1 << 19)
/* Most partitions of one table: the cache numbers two blocks of each behind the data blocks. */
#define LSM_TABLE_PARTITIONS_MAX (LSM_TABLE_BLOCKS_MAX / 2)
/* Tables grow with the data rather than in number beyond this: each is an open file. */
#define LSM_TABLES_WANTED 512u
#define LSM_FOOTER_BYTES  64u
#define LSM_LEVELS        8u /* TERN_LSM_LEVELS */

/* Where a block lies: byte offset (40 bits) and stored size in bytes (24 bits). */
typedef uint64_t lsm_place;
#define LSM_STORED_BYTES_MAX 0xffffffu
static inline lsm_place lsm_place_of(uint64_t offset, uint64_t stored_bytes) {
    return offset << 24 | stored_bytes;
}
static inline uint64_t lsm_place_offset(lsm_place place) {
    return place >> 24;
}
static inline uint32_t lsm_place_bytes(lsm_place place) {
    return (uint32_t)(place & 0xffffff);
}

/* A block and what its bytes must hash to. */
struct lsm_ref {
    lsm_place place;
    uint64_t checksum;
};

#endif
