/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payloads of an LSM table whose checksums fit, and what a manifest says of an LSM partition. First
 * byte: 0 data block, 1 index block, 2 filter, 3 meta block, 4 footer, 5 reference to a value,
 * 6 state of a partition. What passes the check is searched and read out whole.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "engine/lsm/data_block.h"
#include "engine/lsm/filter_block.h"
#include "engine/lsm/index_block.h"
#include "engine/lsm/operand_list.h"
#include "engine/lsm/state.h"
#include "engine/lsm/table_meta.h"
#include "engine/lsm/value_file.h"
#include "simd/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sink;

static uint64_t sum_of(tern_slice bytes) {
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes.size; i++) {
        sum += ((const uint8_t *)bytes.data)[i];
    }
    return sum;
}

static void use_entry(const struct engine_entry *entry) {
    sink += sum_of(entry->key) + sum_of(entry->record.value);
    if (entry->record.kind == RECORD_MERGE) {
        sink += operand_list_count(entry->record.value);
    }
}

static void fuzz_data(const uint8_t *payload, size_t size) {
    if (data_block_check(payload, size) != NULL) {
        return;
    }
    ASSERT(data_block_size(payload) <= size);
    uint32_t count = data_block_count(payload);
    struct engine_entry *entries = malloc((count + 1u) * sizeof(entries[0]));
    uint8_t *keys = malloc(data_block_key_bytes(payload) + 1);
    ASSERT(entries != NULL && keys != NULL);
    data_block_decode(payload, entries, keys);
    bool is_ordered = true; /* who writes on what a block has looks at that; the check does not */
    for (uint32_t i = 1; i < count; i++) {
        is_ordered = is_ordered && slice_compare(entries[i - 1].key, entries[i].key) < 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct record record;
        use_entry(&entries[i]);
        /* The hash index is only a hint: it may lose a key, but finds no other one. */
        if (data_block_find(payload, entries[i].key, engine_key_hash(1, entries[i].key), &record) &&
            is_ordered) {
            ASSERT(record.kind == entries[i].record.kind);
            ASSERT(slice_equal(record.value, entries[i].record.value));
        }
        data_block_prefetch(payload, (uint64_t)i << 32);
    }
    free(keys);
    free(entries);
}

static void fuzz_index(const uint8_t *payload, size_t size) {
    if (index_block_check(payload, size) != NULL) {
        return;
    }
    uint32_t count = index_block_count(payload);
    ASSERT(index_block_size(payload) <= size);
    for (uint32_t i = 0; i < count; i++) {
        sink += index_block_ref(payload, i).place;
    }
    for (size_t at = 0; at + 24 < size; at += 5) {
        ASSERT(index_block_find(payload, tern_slice_of(payload + at, at % 23)) < count);
    }
}

static void fuzz_filter(const uint8_t *payload, size_t size) {
    if (filter_block_check(payload, size) != NULL) {
        return;
    }
    for (size_t at = 0; at + 8 <= size; at++) {
        uint64_t hash = get_u64(payload + at);
        sink += bloom_line_may_contain(filter_line(payload, hash), hash) ? 1 : 0;
    }
}

static void fuzz_meta(struct lsm *lsm, uint8_t *payload, size_t size) {
    struct lsm_table table = {.lsm = lsm, .meta = payload};
    const char *wrong = table_meta_decode(&table, size, (uint64_t)1 << 30);
    if (wrong == NULL) {
        ASSERT(slice_compare(table.first, table.last) <= 0);
        for (uint32_t i = 0; i < table.partition_count; i++) {
            ASSERT(key_directory_find(&table.directory, table.partitions[i].lower) == i);
        }
        for (uint32_t i = 0; i < table.range_count; i++) {
            sink += sum_of(table.ranges[i].begin) + sum_of(table.ranges[i].end);
        }
        for (size_t at = 0; at + 8 < size; at += 3) {
            tern_slice key = tern_slice_of(payload + at, at % 9);
            sink += (uint64_t)table_compare_extent(&table, key);
            sink += key_directory_find(&table.directory, key);
        }
        ASSERT(table_extents_overlap(&table, &table) || table.numbers.records == 0);
    }
    key_directory_release(&table.directory);
    memory_release(tern_allocator_default(), table.partitions);
    memory_release(tern_allocator_default(), table.ranges);
    memory_release(tern_allocator_default(), table.uses);
}

static void fuzz_footer(const uint8_t *data, size_t size) {
    uint8_t footer[LSM_FOOTER_BYTES] = {0};
    uint8_t again[LSM_FOOTER_BYTES];
    partition_id id;
    uint64_t number;
    struct lsm_ref meta;
    memcpy(footer, data, size < sizeof(footer) ? size : sizeof(footer));
    put_u64(footer + 56, hash_u64(footer, 56, 0));
    if (table_footer_decode(footer, &id, &number, &meta) == NULL) {
        table_footer_encode(meta, id, number, again);
        ASSERT(memcmp(again, footer, 40) == 0);
    }
}

static void fuzz_reference(const uint8_t *data, size_t size) {
    struct value_reference reference;
    struct value_reference again;
    uint8_t bytes[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    if (value_reference_decode(tern_slice_of(data, size), &reference, NULL) == TERN_OK) {
        size_t encoded = value_reference_encode(&reference, bytes);
        ASSERT(value_reference_decode(tern_slice_of(bytes, encoded), &again, NULL) == TERN_OK);
        ASSERT(again.number == reference.number && again.size_bytes == reference.size_bytes);
        ASSERT(again.ref.place == reference.ref.place && again.has_index == reference.has_index);
    }
}

static void lose(void *context, uint64_t number, const tern_error *detail,
                 const struct lsm_table *before, const struct lsm_table *after) {
    (void)context;
    ASSERT(detail->status != TERN_OK);
    ASSERT(before == NULL && after == NULL);
    sink += number;
}

/* There is no file: every table that it names is lost. */
static void fuzz_state(struct lsm *lsm, const uint8_t *data, size_t size) {
    struct lsm_version *version = NULL;
    tern_error error = TERN_ERROR_INIT;
    tern_status status =
        lsm_state_open(lsm, tern_slice_of(data, size), lose, NULL, &version, &error);
    ASSERT(status == error.status);
    if (status == TERN_OK) {
        version_release(version);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct engine_environment environment_start = {.incarnation = 1};
    struct engine_environment environment = environment_start;
    environment.allocator = tern_allocator_default();
    environment.file_system = tern_file_system_default();
    environment.directory = "/nonexistent";
    environment.read_only = true;
    struct lsm lsm = {.environment = &environment};
    if (size == 0) {
        return 0;
    }
    /* Exactly as long as it says, so that a step outside shows. */
    uint8_t *payload = malloc(size > 1 ? size - 1 : 1);
    ASSERT(payload != NULL);
    memcpy(payload, data + 1, size - 1);
    switch (data[0] % 7) {
    case 0:
        fuzz_data(payload, size - 1);
        break;
    case 1:
        fuzz_index(payload, size - 1);
        break;
    case 2:
        fuzz_filter(payload, size - 1);
        break;
    case 3:
        fuzz_meta(&lsm, payload, size - 1);
        break;
    case 4:
        fuzz_footer(payload, size - 1);
        break;
    case 5:
        fuzz_reference(payload, size - 1);
        break;
    default:
        fuzz_state(&lsm, payload, size - 1);
        break;
    }
    free(payload);
    return 0;
}
