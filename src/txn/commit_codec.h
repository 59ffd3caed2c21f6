/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payloads of the log records that a database writes; docs/format/commit.md is normative.
 */
#ifndef TERN_TXN_COMMIT_CODEC_H
#define TERN_TXN_COMMIT_CODEC_H

#include "base/arena.h"
#include "base/buffer.h"
#include "txn/commit.h"

/* Payload of the COMMIT record that ends a transaction in parts. */
#define COMMIT_END_BYTES 28
/* Every PART begins with the seq. */
#define COMMIT_PART_HEADER_BYTES 8
/* CHUNK: u64 token, u64 partition id, u64 offset, bytes. */
#define COMMIT_CHUNK_HEADER_BYTES 24
#define COMMIT_TICK_BYTES         8

/* At least what commit_encode will write. */
size_t commit_encoded_bound(const struct commit_request *request);

/* Encodes a request; returns the bytes written. */
size_t commit_encode(const struct commit_request *request, seq_no seq, uint64_t time_ms,
                     uint8_t *target);

/* Takes an encoding as it comes; `size` may be 0. The first failure ends it. */
struct commit_sink {
    tern_status (*put)(struct commit_sink *sink, const void *bytes, size_t size);
};
/* The bytes that commit_encode writes, without memory for them. */
TERN_MUST_CHECK tern_status commit_encode_to(const struct commit_request *request, seq_no seq,
                                             uint64_t time_ms, struct commit_sink *sink);
/* How many they are. */
uint64_t commit_encoded_bytes(const struct commit_request *request, seq_no seq, uint64_t time_ms);

/* The end of a transaction whose encoding was split into `part_count` parts of `bytes` in all. */
void commit_encode_end(seq_no seq, uint32_t part_count, uint64_t bytes,
                       uint8_t target[COMMIT_END_BYTES]);

enum catalog_change_kind { CATALOG_CREATE = 0, CATALOG_DROP = 1, CATALOG_CONVERT = 2 };

struct decoded_catalog_change {
    enum catalog_change_kind kind;
    partition_id id; /* of the partition */
    partition_id keyspace_id;
    partition_id target; /* of a conversion: the partition that the keyspace gets */
    tern_slice name;
    tern_keyspace_options options; /* of a creation */
    uint64_t hash_seed;            /* of a creation */
};

struct decoded_part {
    partition_id id;               /* of the partition */
    partition_id keyspace_id;      /* the same until it is converted */
    struct engine_change *changes; /* without key hashes: decoded_part_hash */
    size_t count;
};

/* Borrows from the payload; arrays from the arena. */
struct decoded_commit {
    seq_no seq;
    uint64_t time_ms;
    struct decoded_catalog_change *catalog;
    size_t catalog_count;
    struct decoded_part *parts;
    size_t part_count;
    size_t change_count;
};

/* Decodes hostile bytes. TERN_CORRUPTION (message only; the caller knows the place), NO_MEMORY. */
TERN_MUST_CHECK tern_status commit_decode(const uint8_t *payload, size_t size, struct arena *arena,
                                          struct decoded_commit *out_commit, tern_error *error);

/* Fills the key hashes in, for an engine. */
void decoded_part_hash(struct decoded_part *part, const struct key_hasher *hasher);

/*
 * Puts transactions in parts together again. Feed it PART and COMMIT records in log order. Parts of
 * a transaction that never committed may lie right before those of one that got the same seq later.
 */
struct commit_assembler {
    struct buffer bytes;
    struct buffer starts; /* where in `bytes` each part begins, u64 */
    seq_no seq;
    uint32_t part_count;
};
void commit_assembler_init(struct commit_assembler *assembler, const tern_allocator *allocator);
void commit_assembler_release(struct commit_assembler *assembler);
TERN_MUST_CHECK tern_status commit_assembler_part(struct commit_assembler *assembler,
                                                  const uint8_t *payload, size_t size,
                                                  tern_error *error);
/* Gives the whole encoding of a COMMIT: the payload itself, or what the parts held. */
TERN_MUST_CHECK tern_status commit_assembler_commit(struct commit_assembler *assembler,
                                                    const uint8_t *payload, size_t size,
                                                    tern_slice *out_encoding, tern_error *error);

#endif
