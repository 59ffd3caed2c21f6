/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile commit records. First byte 0: one encoding follows. Else a log of records follows, each
 * u8 kind (odd: part), u16 size, payload, which go through the assembler. What decodes is encoded
 * again, and decodes to the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "txn/commit_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t bytes_of(const struct decoded_commit *commit) {
    size_t bytes = 0;
    for (size_t i = 0; i < commit->part_count; i++) {
        for (size_t j = 0; j < commit->parts[i].count; j++) {
            const struct engine_change *change = &commit->parts[i].changes[j];
            bytes += change->key.size + change->record.value.size;
        }
    }
    return bytes;
}

/* Keyspaces as the encoder wants them; those of the catalog first, then those of the parts. */
static tern_keyspace *make_keyspaces(const struct decoded_commit *commit) {
    size_t count = commit->catalog_count + commit->part_count;
    tern_keyspace *keyspaces = calloc(count + 1, sizeof(keyspaces[0]));
    ASSERT(keyspaces != NULL);
    for (size_t i = 0; i < commit->catalog_count; i++) {
        const struct decoded_catalog_change *change = &commit->catalog[i];
        keyspaces[i].id = change->keyspace_id;
        keyspaces[i].partition = change->id;
        keyspaces[i].options = change->options;
        keyspaces[i].hasher.seed = change->hash_seed;
        keyspaces[i].name = calloc(change->name.size + 1, 1);
        ASSERT(keyspaces[i].name != NULL);
        if (change->name.size > 0) {
            memcpy(keyspaces[i].name, change->name.data, change->name.size);
        }
    }
    for (size_t i = 0; i < commit->part_count; i++) {
        keyspaces[commit->catalog_count + i].id = commit->parts[i].keyspace_id;
        keyspaces[commit->catalog_count + i].partition = commit->parts[i].id;
    }
    return keyspaces;
}

static bool has_encodable_names(const struct decoded_commit *commit) {
    for (size_t i = 0; i < commit->catalog_count; i++) {
        tern_slice name = commit->catalog[i].name;
        if (name.size > TERN_KEYSPACE_NAME_BYTES ||
            (name.size > 0 && memchr(name.data, 0, name.size) != NULL)) {
            return false;
        }
    }
    return true;
}

static void check_same(const struct decoded_commit *a, const struct decoded_commit *b) {
    ASSERT(a->seq == b->seq && a->time_ms == b->time_ms);
    ASSERT(a->catalog_count == b->catalog_count && a->part_count == b->part_count);
    ASSERT(a->change_count == b->change_count);
    for (size_t i = 0; i < a->catalog_count; i++) {
        ASSERT(a->catalog[i].id == b->catalog[i].id);
        ASSERT(a->catalog[i].keyspace_id == b->catalog[i].keyspace_id);
        ASSERT(a->catalog[i].kind == b->catalog[i].kind);
        ASSERT(a->catalog[i].target == b->catalog[i].target);
        ASSERT(slice_equal(a->catalog[i].name, b->catalog[i].name));
        ASSERT(a->catalog[i].options.page_bytes == b->catalog[i].options.page_bytes);
        ASSERT(a->catalog[i].options.hash_function == b->catalog[i].options.hash_function);
        ASSERT(a->catalog[i].hash_seed == b->catalog[i].hash_seed);
    }
    for (size_t i = 0; i < a->part_count; i++) {
        ASSERT(a->parts[i].keyspace_id == b->parts[i].keyspace_id);
        ASSERT(a->parts[i].id == b->parts[i].id && a->parts[i].count == b->parts[i].count);
        for (size_t j = 0; j < a->parts[i].count; j++) {
            const struct engine_change *x = &a->parts[i].changes[j];
            const struct engine_change *y = &b->parts[i].changes[j];
            ASSERT(slice_equal(x->key, y->key));
            ASSERT(x->record.kind == y->record.kind);
            ASSERT(x->record.expires_ms == y->record.expires_ms);
            ASSERT(x->record.value_size == y->record.value_size);
            ASSERT(slice_equal(x->record.value, y->record.value));
            ASSERT(x->large_token == y->large_token);
        }
    }
}

static void check_round_trip(const struct decoded_commit *commit, struct arena *arena) {
    tern_keyspace *keyspaces = make_keyspaces(commit);
    struct catalog_change *catalog = calloc(commit->catalog_count + 1, sizeof(catalog[0]));
    struct commit_part *parts = calloc(commit->part_count + 1, sizeof(parts[0]));
    tern_keyspace *targets = calloc(commit->catalog_count + 1, sizeof(targets[0]));
    for (size_t i = 0; i < commit->catalog_count; i++) {
        const struct decoded_catalog_change *change = &commit->catalog[i];
        targets[i].partition = change->target;
        catalog[i] =
            (struct catalog_change){.keyspace = &keyspaces[i],
                                    .is_drop = change->kind == CATALOG_DROP,
                                    .target = change->kind == CATALOG_CONVERT ? &targets[i] : NULL};
    }
    for (size_t i = 0; i < commit->part_count; i++) {
        parts[i] = (struct commit_part){&keyspaces[commit->catalog_count + i],
                                        commit->parts[i].changes, commit->parts[i].count};
    }
    struct commit_request request = {.parts = parts,
                                     .part_count = commit->part_count,
                                     .catalog = catalog,
                                     .catalog_count = commit->catalog_count,
                                     .change_count = commit->change_count,
                                     .bytes = bytes_of(commit)};
    size_t bound = commit_encoded_bound(&request);
    uint8_t *encoding = malloc(bound);
    struct decoded_commit again;
    size_t size = commit_encode(&request, commit->seq, commit->time_ms, encoding);
    ASSERT(size <= bound);
    ASSERT(commit_decode(encoding, size, arena, &again, NULL) == TERN_OK);
    check_same(commit, &again);
    for (size_t i = 0; i < commit->catalog_count; i++) {
        free(keyspaces[i].name);
    }
    free(encoding);
    free(parts);
    free(catalog);
    free(targets);
    free(keyspaces);
}

static void fuzz_encoding(const uint8_t *data, size_t size) {
    struct arena arena;
    struct decoded_commit commit;
    tern_error error = TERN_ERROR_INIT;
    /* Exactly as long as it says, so that a step outside shows. */
    uint8_t *payload = malloc(size + (size == 0));
    if (size > 0) {
        memcpy(payload, data, size);
    }
    arena_init(&arena, tern_allocator_default(), 4096);
    tern_status status = commit_decode(payload, size, &arena, &commit, &error);
    ASSERT(status == TERN_OK || status == TERN_CORRUPTION || status == TERN_NO_MEMORY ||
           status == TERN_VERSION || status == TERN_UNSUPPORTED);
    ASSERT(status == TERN_OK || error.message[0] != '\0');
    if (status == TERN_OK && has_encodable_names(&commit)) {
        check_round_trip(&commit, &arena);
    }
    arena_release(&arena);
    free(payload);
}

static void fuzz_log(const uint8_t *data, size_t size) {
    struct commit_assembler assembler;
    tern_error error = TERN_ERROR_INIT;
    const uint8_t *end = data + size;
    commit_assembler_init(&assembler, tern_allocator_default());
    while (end - data >= 3) {
        size_t payload_size = get_u16(data + 1);
        size_t rest = (size_t)(end - data) - 3;
        payload_size = payload_size < rest ? payload_size : rest;
        if ((data[0] & 1) != 0) {
            tern_status status = commit_assembler_part(&assembler, data + 3, payload_size, &error);
            ASSERT(status == TERN_OK || status == TERN_CORRUPTION || status == TERN_NO_MEMORY);
        } else {
            tern_slice encoding;
            if (commit_assembler_commit(&assembler, data + 3, payload_size, &encoding, &error) ==
                TERN_OK) {
                fuzz_encoding(encoding.data, encoding.size);
            }
        }
        data += 3 + payload_size;
    }
    commit_assembler_release(&assembler);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 0 && data[0] == 0) {
        fuzz_encoding(data + 1, size - 1);
    } else if (size > 0) {
        fuzz_log(data + 1, size - 1);
    }
    return 0;
}
