/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of recent writers.
 *
 *   bucket (64 bytes)   | pushed out: highest seq (8) | entry (8) | ... 7 entries ... |
 *   entry               | tag 15 bits | merge 1 bit | seq 48 bits |     0: empty
 *
 * A key hash selects its bucket by its low bits and its tag by its high bits. Invariants:
 *  C1 of the writes of a key after a bucket's `pushed out`, the last plain one and the last merge
 *     are in the bucket, unless a later plain one stands for both;
 *  C2 `pushed out` is not less than the seq of any entry that had to make room.
 * So the answer "no" is always right, "yes" is wrong where two keys share bucket and tag, and
 * "possible" where the bucket was too small for what happened since.
 *
 * One thread (the applier) records and checks; the horizon may be read by anyone.
 */
#include "txn/conflict_table.h"

#include <stdatomic.h>

#include "base/assert.h"
#include "base/error.h"

#define ENTRIES_PER_BUCKET 7
#define SEQ_BITS           48
#define SEQ_MASK           (((uint64_t)1 << SEQ_BITS) - 1)
#define MERGE_BIT          ((uint64_t)1 << SEQ_BITS)
#define TAG_SHIFT          (SEQ_BITS + 1)
/* Two entries are of the same key and kind when they agree in these bits. */
#define IDENTITY_MASK (~SEQ_MASK)
#define BUCKETS_MIN   16

struct conflict_bucket {
    seq_no pushed_out;
    uint64_t entries[ENTRIES_PER_BUCKET];
};

_Static_assert(sizeof(struct conflict_bucket) == 64, "a bucket is one cache line");

struct conflict_table {
    const tern_allocator *allocator;
    struct budget *budget;
    struct conflict_bucket *buckets;
    uint64_t bucket_mask;
    _Atomic seq_no horizon;
};

static size_t table_bytes(const struct conflict_table *table) {
    return (size_t)(table->bucket_mask + 1) * sizeof(struct conflict_bucket);
}

tern_status conflict_table_create(const tern_allocator *allocator, struct budget *budget,
                                  uint32_t entries, struct conflict_table **out_table,
                                  tern_error *error) {
    uint64_t bucket_count = BUCKETS_MIN;
    while (bucket_count * ENTRIES_PER_BUCKET < entries) {
        bucket_count *= 2;
    }
    struct conflict_table *table = memory_allocate(allocator, sizeof(*table));
    if (table == NULL) {
        return ERROR_NO_MEMORY(error, "the conflict table");
    }
    *table = (struct conflict_table){
        .allocator = allocator, .budget = budget, .bucket_mask = bucket_count - 1};
    table->buckets = memory_allocate_aligned(allocator, 64, table_bytes(table));
    if (table->buckets == NULL) {
        memory_release(allocator, table);
        return ERROR_NO_MEMORY(error, "the conflict table");
    }
    memset(table->buckets, 0, table_bytes(table));
    if (budget != NULL) {
        budget_add(budget, BUDGET_OTHER, table_bytes(table));
    }
    *out_table = table;
    return TERN_OK;
}

void conflict_table_destroy(struct conflict_table *table) {
    if (table == NULL) {
        return;
    }
    if (table->budget != NULL) {
        budget_subtract(table->budget, BUDGET_OTHER, table_bytes(table));
    }
    memory_release_aligned(table->allocator, table->buckets);
    memory_release(table->allocator, table);
}

static struct conflict_bucket *bucket_of(const struct conflict_table *table, uint64_t key_hash) {
    return &table->buckets[key_hash & table->bucket_mask];
}

static uint64_t tag_of(uint64_t key_hash) {
    return key_hash >> TAG_SHIFT << TAG_SHIFT;
}

void conflict_table_prefetch(const struct conflict_table *table, uint64_t key_hash) {
    __builtin_prefetch(bucket_of(table, key_hash), 1);
}

void conflict_table_record(struct conflict_table *table, uint64_t key_hash, seq_no seq,
                           bool is_merge) {
    ASSERT(seq > 0 && seq <= SEQ_MASK);
    struct conflict_bucket *bucket = bucket_of(table, key_hash);
    uint64_t identity = tag_of(key_hash) | (is_merge ? MERGE_BIT : 0);
    unsigned place = ENTRIES_PER_BUCKET;
    unsigned oldest = 0;
    for (unsigned i = 0; i < ENTRIES_PER_BUCKET; i++) {
        uint64_t entry = bucket->entries[i];
        if (entry != 0 && (entry & IDENTITY_MASK) == identity) {
            place = i;
        } else if (entry != 0 && !is_merge && (entry & IDENTITY_MASK) == (identity | MERGE_BIT)) {
            /* The plain write to come answers every question that this merge did. */
            bucket->entries[i] = 0;
        }
        if ((bucket->entries[i] & SEQ_MASK) < (bucket->entries[oldest] & SEQ_MASK)) {
            oldest = i;
        }
    }
    if (place == ENTRIES_PER_BUCKET) {
        place = oldest;
        seq_no leaving = bucket->entries[place] & SEQ_MASK;
        if (leaving > bucket->pushed_out) {
            bucket->pushed_out = leaving;
        }
    }
    bucket->entries[place] = identity | seq;
}

enum conflict_answer conflict_table_check(const struct conflict_table *table, uint64_t key_hash,
                                          seq_no since, bool ignore_merges) {
    const struct conflict_bucket *bucket = bucket_of(table, key_hash);
    uint64_t tag = tag_of(key_hash);
    for (unsigned i = 0; i < ENTRIES_PER_BUCKET; i++) {
        uint64_t entry = bucket->entries[i];
        bool counts = !ignore_merges || (entry & MERGE_BIT) == 0;
        if ((entry & SEQ_MASK) > since && (entry & IDENTITY_MASK & ~MERGE_BIT) == tag && counts) {
            return CONFLICT_YES;
        }
    }
    if (bucket->pushed_out > since || since < conflict_table_horizon(table)) {
        return CONFLICT_POSSIBLE;
    }
    return CONFLICT_NO;
}

seq_no conflict_table_horizon(const struct conflict_table *table) {
    return atomic_load_explicit(&table->horizon, memory_order_relaxed);
}

void conflict_table_set_horizon(struct conflict_table *table, seq_no seq) {
    if (seq > conflict_table_horizon(table)) {
        atomic_store_explicit(&table->horizon, seq, memory_order_relaxed);
    }
}
