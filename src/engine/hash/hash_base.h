/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The durable half of a partition: segments of blocks of records, and which records are live.
 *
 * A segment is what one stretch of draining wrote: blocks of records, a directory that lists them,
 * the hashes of all records in order (with which the index is rebuilt without reading a record),
 * and a bitmap of live records. A root lists the segments. In memory every block has a number, by
 * which links name it (hash_version.h).
 *
 * Liveness changes with the maintenance role as drains and compaction link new records; the next
 * root says so. A block without live records, and the directory of a segment without live blocks,
 * are superseded by that root.
 *
 * Threads: maintenance role, but base_block and record reading: any thread inside an epoch.
 */
#ifndef TERN_ENGINE_HASH_BASE_H
#define TERN_ENGINE_HASH_BASE_H

#include "base/bytes.h"
#include "base/varint.h"
#include "cache/cache.h"
#include "engine/hash/hash_file.h"
#include "engine/hash/hash_version.h"
#include "os/mutex.h"

/* The first byte of a record: its kind, and flags. */
#define RECORD_KIND_MASK  7u
#define RECORD_HAS_EXPIRY 8u
#define RECORD_IS_FIRST   16u
/* That byte, and four numbers of at least one byte each. */
#define RECORD_HEAD_BYTES_MIN 5

#define BLOCK_NONE         UINT32_MAX
#define BLOCK_HAS_EXPIRING ((uint16_t)1)
#define BLOCK_HAS_LARGE    ((uint16_t)2)

struct block_info {
    _Atomic cache_hint hint;
    uint32_t place;
    uint64_t checksum;
    uint32_t units;
    uint32_t raw_bytes;
    uint32_t segment;
    uint32_t first_record; /* in its segment */
    uint16_t records;
    uint16_t live;
    uint16_t flags;
    bool was_referenced; /* chain_refs was not 0 once */
    uint8_t reserved;
    uint32_t chain_refs; /* links to dead records that snapshots need */
    uint64_t born;
};

struct hash_segment {
    struct hash_ref directory, hashes, bitmap;
    uint64_t born, bitmap_born;
    uint32_t *blocks; /* numbers; BLOCK_NONE: nothing lives there */
    uint32_t block_count, block_capacity;
    uint32_t record_count, record_capacity, live_count;
    uint64_t *live;            /* bits */
    uint64_t *hash_list;       /* while it is being built */
    struct block_info *listed; /* while it is being built: as the directory will have them */
    uint64_t memory_bytes;     /* of all this, as it was counted */
    bool is_closed;
    bool is_bitmap_dirty;
    seq_no min_seq, max_seq;
    uint64_t min_hash, max_hash; /* of its records; min over max: not known */
};

/* Something in the file that a root no longer refers to. */
struct hash_waiting {
    uint32_t place, units;
    uint64_t born;
    uint32_t block; /* BLOCK_NONE: none */
};

struct waiting_batch {
    struct hash_waiting *items;
    size_t count, capacity;
    uint64_t superseded;
    uint64_t epoch;
};

struct block_chunks;

struct hash_base {
    const struct engine_environment *environment;
    struct hash_file *file;
    tern_compression compression;
    uint32_t page_bytes;
    struct key_hasher hasher;
    _Atomic(struct block_chunks *) chunks;
    uint32_t block_limit; /* numbers handed out so far */
    uint32_t *free_blocks;
    size_t free_block_count, free_block_capacity;
    uint32_t *kept_blocks; /* numbers that somebody may still lead to */
    size_t kept_count, kept_capacity;
    bool keeps_numbers;
    struct hash_segment **segments;
    uint32_t segment_count, segment_capacity;
    uint32_t building; /* segment that takes new blocks, or BLOCK_NONE */
    struct waiting_batch superseding;
    struct waiting_batch *batches;
    size_t batch_count, batch_capacity;
    struct hash_ref root;
    uint64_t root_born;
    uint64_t generation;            /* of the last published root */
    _Atomic uint64_t dropped_epoch; /* when a last link to dead records of a block was dropped */
    _Atomic uint64_t live_records;
    uint64_t total_records; /* of all segments */
    _Atomic uint64_t block_bytes;
    _Atomic uint64_t map_bytes; /* memory of what is known of blocks and segments */
    bool is_dirty;              /* something changed since the last root */
    /* Guards segments, what they list, and liveness, for who looks at them from outside the
     * maintenance role. */
    struct mutex lock;
};

/* A record on disk. Bytes point into the block. */
struct hash_record {
    struct record record;
    tern_slice key;
    seq_no seq;
    uint32_t incarnation;
    bool is_first; /* when it was written nothing of the key lay below */
};

tern_status base_open(struct hash_base *base, const struct engine_environment *environment,
                      partition_id id, const tern_keyspace_options *options,
                      const struct key_hasher *hasher, tern_error *error);
void base_close(struct hash_base *base);

/* ---- blocks ---- */

struct block_info *base_block(const struct hash_base *base, uint32_t block);
/* Payload of a block through the cache. Inside an epoch. *out_frame is what to pin. */
TERN_MUST_CHECK tern_status base_read_block(struct hash_base *base, uint32_t block,
                                            const uint8_t **out_payload,
                                            struct cache_frame **out_frame, tern_error *error);
/* A block out of the cache. */
struct base_cached {
    const uint8_t *payload;
    struct cache_frame *frame; /* what to pin */
    bool is_miss;              /* it had to be read */
};
/* Any block through the cache. Inside an epoch. */
TERN_MUST_CHECK tern_status base_read_cached(struct hash_base *base, const struct hash_ref *ref,
                                             uint32_t raw_bytes, _Atomic cache_hint *hint,
                                             struct base_cached *out_cached, tern_error *error);
/* The record that a link names. Inside an epoch. */
TERN_MUST_CHECK tern_status base_read_record(struct hash_base *base, hash_link link,
                                             struct hash_record *out_record,
                                             struct cache_frame **out_frame, tern_error *error);
void base_prefetch(const struct hash_base *base, hash_link link, bool is_second);
/*
 * Brings a block that is not cached into the cache, together with those around it of its segment
 * that lie beside it in the file, in one read. Segments are in the order of hashes (hash_order.h):
 * whoever goes on in this order needs them next. Does what it can: who needs the block reads it.
 * Inside an epoch.
 */
void base_fetch_around(struct hash_base *base, uint32_t block);
/* Segments that lie side by side in the order of hashes, on average. */
uint64_t base_runs(struct hash_base *base);
/* Brings blocks that lie side by side into the cache, unless the one wanted is there. */
void base_fetch_refs(struct hash_base *base, const struct hash_ref *refs, uint32_t count,
                     uint32_t wanted, uint32_t raw_bytes);
/* The frame that holds the block, when it is in the cache and the block's hint leads there; else
 * NULL. Fetches what reading the record in this slot will touch. Inside an epoch. */
struct cache_frame *base_cached_frame(const struct hash_base *base, struct block_info *info,
                                      uint32_t slot);
/* False: malformed. */
bool record_decode(const uint8_t *payload, size_t size, uint32_t slot,
                   struct hash_record *out_record);
/* How many records a payload says it has; 0 where it cannot have as many. */
static inline uint32_t payload_count(const uint8_t *payload, size_t size) {
    uint32_t count = size >= 4 ? get_u16(payload) : 0;
    return 4 + 2 * (size_t)count <= size ? count : 0;
}
/* A varint; most have one byte. */
static inline const uint8_t *get_number(const uint8_t *source, const uint8_t *end,
                                        uint64_t *out_number) {
    if (source < end && *source < 0x80) {
        *out_number = *source;
        return source + 1;
    }
    return varint_get(source, end, out_number);
}
tern_status base_corrupt(const struct hash_base *base, uint32_t place, const char *what,
                         tern_error *error);

/* ---- liveness ---- */

TERN_MUST_CHECK tern_status base_reserve_waiting(struct hash_base *base, size_t count,
                                                 tern_error *error);
/* The record is no longer what the base holds of its key. Room was reserved. */
void base_kill(struct hash_base *base, hash_link link);
bool base_is_live(const struct hash_base *base, hash_link link);
/* The same of a link that may be of a block that has died. */
bool base_holds_live(const struct hash_base *base, hash_link link);
/* The same for any thread, inside an epoch. */
bool base_lives(struct hash_base *base, hash_link link);
/* From now on the numbers of blocks that die are kept, until base_give_kept gives the first `count`
 * of them back. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status base_keep_numbers(struct hash_base *base, tern_error *error);
void base_give_kept(struct hash_base *base, size_t count, bool keeps_on);
void base_supersede(struct hash_base *base, uint32_t place, uint32_t units, uint64_t born);

/* ---- writing blocks ---- */

struct hash_output;
TERN_MUST_CHECK tern_status output_create(struct hash_base *base, struct hash_output **out_output,
                                          tern_error *error);
void output_destroy(struct hash_output *output);
/* Adds a record to the block being built. *out_block counts the blocks since the last flush. */
TERN_MUST_CHECK tern_status hash_output_add(struct hash_output *output, tern_slice key,
                                            const struct record *record, uint64_t hash, seq_no seq,
                                            bool is_first, uint32_t *out_block, uint32_t *out_slot,
                                            tern_error *error);
size_t output_bytes(const struct hash_output *output);
/* Writes all that was added: the blocks are readable and live then. On failure nothing is. */
TERN_MUST_CHECK tern_status output_flush(struct hash_output *output, tern_error *error);
/* Number of a block of the last flush. */
uint32_t output_block(const struct hash_output *output, uint32_t index);
void output_discard(struct hash_output *output);

/* ---- roots (hash_root.c) ---- */

/* Writes directories, bitmaps and a root. On failure nothing has changed. */
TERN_MUST_CHECK tern_status base_write_root(struct hash_base *base, tern_error *error);
void base_published(struct hash_base *base, uint64_t generation);
void base_release(struct hash_base *base, const uint64_t *live, size_t live_count);
/* Nobody who comes now finds the way to dead records of the block; who is inside may have. */
void base_note_dropped(struct hash_base *base, struct block_info *info);
/* Loads what a root refers to, and takes it out of the free space. */
TERN_MUST_CHECK tern_status base_load_root(struct hash_base *base, const struct hash_ref *root,
                                           tern_error *error);
/* After that: `visit` gets every live record's hash and link, segment by segment. */
TERN_MUST_CHECK tern_status base_visit_records(struct hash_base *base,
                                               tern_status (*visit)(void *context, uint64_t hash,
                                                                    hash_link link,
                                                                    tern_error *error),
                                               void *context, tern_error *error);
/* The same of live records whose hashes may lie in [first, last], at any time; maintenance role. */
TERN_MUST_CHECK tern_status base_visit_hashes(struct hash_base *base, uint64_t first, uint64_t last,
                                              tern_status (*visit)(void *context, uint64_t hash,
                                                                   hash_link link,
                                                                   tern_error *error),
                                              void *context, tern_error *error);
/* A segment takes no more blocks: writes its directory and its hashes, and keeps no memory for
 * them. On failure nothing has changed. */
TERN_MUST_CHECK tern_status base_close_segment(struct hash_base *base, uint32_t at,
                                               tern_error *error);

/* ---- between hash_base.c and hash_root.c ---- */
static inline void base_note_hash(struct hash_segment *segment, uint64_t hash) {
    segment->min_hash = hash < segment->min_hash ? hash : segment->min_hash;
    segment->max_hash = hash > segment->max_hash ? hash : segment->max_hash;
}
/* Maps count as BUDGET_INDEX. */
void base_count_map(struct hash_base *base, int64_t bytes);
void base_count_segment(struct hash_base *base, struct hash_segment *segment);
void base_free_segment(struct hash_base *base, struct hash_segment *segment);
TERN_MUST_CHECK tern_status base_new_segment(struct hash_base *base, uint32_t *out_segment);
void base_give_block(struct hash_base *base, uint32_t block);
TERN_MUST_CHECK tern_status base_take_block(struct hash_base *base, uint32_t *out_block);
TERN_MUST_CHECK tern_status base_grow_segment(struct hash_base *base, struct hash_segment *segment,
                                              size_t blocks, size_t records);
/* What a directory lists. */
struct listed_segment {
    uint32_t block_count;
    uint32_t record_count;
    bool has_our_hashes;   /* they were made with the partition's hasher */
    const uint8_t *blocks; /* into the payload */
};
TERN_MUST_CHECK tern_status base_directory_decode(const struct hash_base *base,
                                                  const struct hash_ref *ref,
                                                  const struct buffer *payload,
                                                  struct listed_segment *out_listed,
                                                  tern_error *error);
void base_listed_block(const struct listed_segment *listed, uint32_t index,
                       struct block_info *out_info);

#endif
