/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seeds of the fuzzers of manifests and commits are encodings of this release; they must stay
 * what they are, byte for byte, for as long as the format version does. TERN_WRITE_SEEDS=1 writes
 * them anew.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "db/manifest_codec.h"
#include "support/cmocka_test.h"
#include "txn/commit_codec.h"

#define SEED_BYTES_MAX 8192

static void check_seed(const char *name, const uint8_t *bytes, size_t size) {
    char path[512];
    uint8_t found[SEED_BYTES_MAX];
    (void)snprintf(path, sizeof(path), "%s/fuzz/corpus/%s",
                   getenv("TERN_SOURCE_DIR") != NULL ? getenv("TERN_SOURCE_DIR") : ".", name);
    bool is_writing = getenv("TERN_WRITE_SEEDS") != NULL;
    FILE *file = fopen(path, is_writing ? "wb" : "rb");
    if (file == NULL) {
        print_error("%s cannot be opened\n", path);
        fail();
        return;
    }
    size_t moved = is_writing ? fwrite(bytes, 1, size, file) : fread(found, 1, sizeof(found), file);
    (void)fclose(file);
    assert_int_equal(moved, size);
    if (!is_writing) {
        assert_memory_equal(found, bytes, size);
    }
}

static void manifests_are_encoded_as_ever(void **state) {
    (void)state;
    uint8_t seed[SEED_BYTES_MAX] = {0};
    struct manifest_keyspace keyspaces[3] = {
        {.id = 3,
         .created_seq = 7,
         .options = {.engine = TERN_ENGINE_BTREE,
                     .compression = TERN_COMPRESSION_ZSTD,
                     .page_bytes = 8192,
                     .fan_out = 256,
                     .fill_percent = 95},
         .hash_seed = 0xfedcba9876543210u,
         .name = tern_slice_str("birds"),
         .state = tern_slice_str("state of an engine")},
        {.id = 4,
         .created_seq = 9,
         .options = {.engine = TERN_ENGINE_BTREE},
         .name = tern_slice_str("b")},
        {.id = 10,
         .keyspace_id = 4,
         .shown_seq = SEQ_MAX,
         .created_seq = 9,
         .options = {.engine = TERN_ENGINE_HASH,
                     .max_load_percent = 75,
                     .hash_function = TERN_HASH_FUNCTION_CRC32C},
         .hash_seed = 1,
         .name = tern_slice_str("b")}};
    struct manifest manifest = {.generation = 12,
                                .view_generation = 40,
                                .incarnation = 2,
                                .catalog_seq = 9,
                                .last_seq = 1000,
                                .time_ms = 1577836800000,
                                .log_start = 65536,
                                .next_partition = 5,
                                .has_expiring = true,
                                .keyspaces = keyspaces,
                                .keyspace_count = 3};
    struct buffer body;
    buffer_init(&body, tern_allocator_default());
    assert_int_equal(manifest_body_encode(&manifest, &body), TERN_OK);
    seed[0] = 1;
    memcpy(seed + 1, body.data, body.size);
    check_seed("manifest/body", seed, body.size + 1);
    buffer_release(&body);

    const struct manifest_slot slot = {12, 8192, 200, 0x0123456789abcdefu};
    seed[0] = 0;
    manifest_slot_encode(&slot, seed + 1);
    check_seed("manifest/slot", seed, 1 + MANIFEST_SLOT_BYTES);
}

/* One of each kind of change. */
static size_t encode_commit(uint8_t *target, size_t capacity) {
    char name[] = "birds";
    tern_keyspace created = {
        .id = 3,
        .partition = 3,
        .hasher = key_hasher_make(TERN_HASH_FUNCTION_XXH3, 0x1122334455667788u),
        .name = name,
        .options = {
            .engine = TERN_ENGINE_BTREE, .page_bytes = 8192, .fan_out = 256, .fill_percent = 95}};
    tern_keyspace dropped = {.id = 2, .partition = 9};
    tern_keyspace converted = {.id = 4, .partition = 4};
    tern_keyspace hidden = {.id = 4, .partition = 10};
    struct catalog_change catalog[3] = {{.keyspace = &created},
                                        {.keyspace = &dropped, .is_drop = true},
                                        {.keyspace = &converted, .target = &hidden}};
    struct engine_change changes[6] = {
        {.key = tern_slice_str("a"),
         .record = {.kind = RECORD_PUT, .value = tern_slice_str("one"), .value_size = 3}},
        {.key = tern_slice_str("b"),
         .record = {.kind = RECORD_PUT,
                    .value = tern_slice_str("two"),
                    .value_size = 3,
                    .expires_ms = 1577836900000}},
        {.key = tern_slice_str("c"), .record = {.kind = RECORD_DELETE}},
        {.key = tern_slice_str("d"),
         .record = {.kind = RECORD_MERGE,
                    .merge_kind = TERN_MERGE_ADD,
                    .value = tern_slice_of("\1\0\0\0\0\0\0\0", 8),
                    .expires_ms = 1577836800000}},
        {.key = tern_slice_str("e"),
         .record = {.kind = RECORD_LARGE, .value_size = 200000},
         .large_token = 77},
        {.key = tern_slice_str("f"),
         .record = {.kind = CHANGE_DELETE_RANGE, .value = tern_slice_str("h")},
         .range_has_end = true}};
    struct commit_part part = {&created, changes, 6};
    struct commit_request request = {.parts = &part,
                                     .part_count = 1,
                                     .catalog = catalog,
                                     .catalog_count = 3,
                                     .change_count = 6,
                                     .bytes = 32};
    assert_true(commit_encoded_bound(&request) <= capacity);
    return commit_encode(&request, 1001, 1577836800000, target);
}

static uint8_t *put_record(uint8_t *target, uint8_t kind, const uint8_t *bytes, size_t size) {
    target[0] = kind;
    put_u16(target + 1, (uint16_t)size);
    memcpy(target + 3, bytes, size);
    return target + 3 + size;
}

static void commits_are_encoded_as_ever(void **state) {
    (void)state;
    uint8_t seed[SEED_BYTES_MAX] = {0};
    uint8_t encoding[SEED_BYTES_MAX / 2];
    uint8_t part[SEED_BYTES_MAX / 2];
    uint8_t end[COMMIT_END_BYTES];
    size_t size = encode_commit(encoding, sizeof(encoding));
    memcpy(seed + 1, encoding, size);
    check_seed("commit/encoding", seed, size + 1);

    /* The same in two parts, closed by an end. */
    uint8_t *position = seed + 1;
    size_t half = size / 2;
    seed[0] = 1;
    put_u64(part, 1001);
    memcpy(part + COMMIT_PART_HEADER_BYTES, encoding, half);
    position = put_record(position, 1, part, COMMIT_PART_HEADER_BYTES + half);
    memcpy(part + COMMIT_PART_HEADER_BYTES, encoding + half, size - half);
    position = put_record(position, 1, part, COMMIT_PART_HEADER_BYTES + size - half);
    commit_encode_end(1001, 2, size, end);
    position = put_record(position, 0, end, sizeof(end));
    check_seed("commit/parts", seed, (size_t)(position - seed));
}

/* Those of its options that are not the defaults stand behind the name. */
static void options_of_sorted_tables_are_encoded_as_ever(void **state) {
    (void)state;
    uint8_t seed[SEED_BYTES_MAX] = {0};
    char name[] = "birds";
    tern_keyspace_options options = {.engine = TERN_ENGINE_LSM,
                                     .page_bytes = 8192,
                                     .fan_out = 256,
                                     .fill_percent = 95,
                                     .compaction = TERN_COMPACTION_TIERED,
                                     .filter_bits = 14};
    options.level_compression[0] = TERN_LEVEL_COMPRESSION(TERN_COMPRESSION_NONE);
    options.level_compression[7] = TERN_LEVEL_COMPRESSION(TERN_COMPRESSION_ZSTD);
    struct manifest_keyspace keyspaces[2] = {
        {.id = 3, .created_seq = 7, .options = options, .name = tern_slice_str(name)},
        {.id = 10,
         .keyspace_id = 4,
         .shown_seq = SEQ_MAX,
         .created_seq = 9,
         .options = options,
         .name = tern_slice_str("b"),
         .state = tern_slice_str("state of an engine")}};
    keyspaces[1].options.filter_bits = TERN_FILTER_OFF;
    struct manifest manifest = {.generation = 12, .keyspaces = keyspaces, .keyspace_count = 2};
    struct buffer body;
    buffer_init(&body, tern_allocator_default());
    assert_int_equal(manifest_body_encode(&manifest, &body), TERN_OK);
    seed[0] = 1;
    memcpy(seed + 1, body.data, body.size);
    check_seed("manifest/sorted_tables", seed, body.size + 1);

    struct manifest decoded;
    struct arena arena;
    arena_init(&arena, tern_allocator_default(), 1024);
    assert_null(manifest_body_decode(buffer_slice(&body), &arena, &decoded));
    const tern_keyspace_options *read = &decoded.keyspaces[0].options;
    assert_int_equal(read->filter_bits, 14);
    assert_memory_equal(read->level_compression, options.level_compression,
                        sizeof(options.level_compression));
    assert_true(decoded.keyspaces[1].options.filter_bits == TERN_FILTER_OFF);
    assert_int_equal(decoded.keyspaces[1].options.engine, TERN_ENGINE_LSM);
    assert_int_equal(decoded.keyspaces[1].keyspace_id, 4);
    arena_release(&arena);
    buffer_release(&body);

    tern_keyspace created = {.id = 3, .partition = 3, .name = name, .options = options};
    struct catalog_change change = {.keyspace = &created};
    const struct commit_request request = {.catalog = &change, .catalog_count = 1};
    memset(seed, 0, sizeof(seed));
    size_t size = commit_encode(&request, 1001, 1577836800000, seed + 1);
    assert_true(size <= commit_encoded_bound(&request));
    check_seed("commit/sorted_tables", seed, size + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifests_are_encoded_as_ever),
        cmocka_unit_test(commits_are_encoded_as_ever),
        cmocka_unit_test(options_of_sorted_tables_are_encoded_as_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
