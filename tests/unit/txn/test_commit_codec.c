/* SPDX-License-Identifier: Apache-2.0 */
/* Commits as they lie in the log, with what nobody can have written. */
#include "base/bytes.h"
#include "support/cmocka_test.h"
#include "txn/commit_codec.h"

#define SEQ 7u

/* A creation of a keyspace with a name of that many bytes, the last of them `last`. */
static tern_status decode_creation(size_t name_bytes, char last) {
    static char name[1000];
    static uint8_t bytes[2000];
    struct arena arena;
    struct decoded_commit decoded;
    memset(name, 'n', sizeof(name));
    name[name_bytes] = '\0';
    tern_keyspace keyspace = {.id = 1, .partition = 1, .name = name};
    keyspace.options.engine = TERN_ENGINE_BTREE;
    struct catalog_change change = {.keyspace = &keyspace};
    struct commit_request request = {.catalog = &change, .catalog_count = 1};
    size_t size = commit_encode(&request, SEQ, 1, bytes);
    if (name_bytes > 0) {
        bytes[size - 2] = (uint8_t)last; /* before the number of parts */
    }
    arena_init(&arena, tern_allocator_default(), 1024);
    tern_status status = commit_decode(bytes, size, &arena, &decoded, NULL);
    if (status == TERN_OK) {
        assert_int_equal(decoded.catalog_count, 1);
        assert_int_equal(decoded.catalog[0].name.size, name_bytes);
    }
    arena_release(&arena);
    return status;
}

static void a_creation_has_a_name_that_can_be_given(void **state) {
    (void)state;
    assert_int_equal(decode_creation(1, 'n'), TERN_OK);
    assert_int_equal(decode_creation(TERN_KEYSPACE_NAME_BYTES, 'n'), TERN_OK);
    assert_int_equal(decode_creation(0, 'n'), TERN_CORRUPTION);
    assert_int_equal(decode_creation(TERN_KEYSPACE_NAME_BYTES + 1, 'n'), TERN_CORRUPTION);
    assert_int_equal(decode_creation(999, 'n'), TERN_CORRUPTION);
    assert_int_equal(decode_creation(10, '\0'), TERN_CORRUPTION);
}

/* A change of the key k with that tag, and as many zeros behind the key as it takes. */
static tern_status decode_change(uint8_t tag) {
    const uint8_t change[20] = {tag, 1, 'k'};
    uint8_t encoding[64];
    struct decoded_commit commit;
    struct arena arena;
    tern_status status = TERN_CORRUPTION;
    for (size_t size = 2; size <= sizeof(change) && status == TERN_CORRUPTION; size++) {
        put_u64(encoding, 7);
        put_u64(encoding + 8, 0);
        memcpy(encoding + 16, "\0\1\2\1", 4); /* no catalog; a part: partition 1, a change */
        memcpy(encoding + 20, change, size);
        arena_init(&arena, tern_allocator_default(), 512);
        status = commit_decode(encoding, 20 + size, &arena, &commit, NULL);
        arena_release(&arena);
    }
    return status;
}

/* Whatever stands behind them, bits that a kind of change does not have are refused. */
static void a_change_says_nothing_that_its_kind_does_not_have(void **state) {
    (void)state;
    static const uint8_t may_have[8] = {0, 8, 0, 0x60, 8, 0x10, 0, 0};
    for (uint32_t tag = 0; tag < 256; tag++) {
        uint32_t kind = tag & 7;
        bool is_known = kind >= 1 && kind <= 5 && (tag & ~7u & ~(uint32_t)may_have[kind]) == 0 &&
                        (kind != 3 || tag >> 5 != 0);
        assert_int_equal(decode_change((uint8_t)tag) == TERN_OK, is_known);
    }
}

/* ---- piece by piece ---- */

struct gathering_sink {
    struct commit_sink sink;
    uint8_t bytes[4096];
    size_t size;
    size_t calls_left;
};

static tern_status gather(struct commit_sink *sink, const void *bytes, size_t size) {
    struct gathering_sink *gathered = (struct gathering_sink *)sink;
    if (gathered->calls_left-- == 0) {
        return TERN_IO;
    }
    assert_true(gathered->size + size <= sizeof(gathered->bytes));
    if (size > 0) {
        memcpy(gathered->bytes + gathered->size, bytes, size);
    }
    gathered->size += size;
    return TERN_OK;
}

static struct engine_change change_of(enum record_kind kind, const char *value) {
    struct engine_change change = {.key = tern_slice_str("a key")};
    change.record.kind = kind;
    change.record.value = tern_slice_str(value);
    change.record.value_size = change.record.value.size;
    return change;
}

static void an_encoding_in_pieces_is_the_same_encoding(void **state) {
    (void)state;
    static uint8_t whole[4096];
    char name[] = "pieces";
    tern_keyspace keyspace = {.id = 3, .partition = 300, .name = name};
    keyspace.options.engine = TERN_ENGINE_LSM;
    struct engine_change changes[6] = {
        change_of(RECORD_PUT, "value"),  change_of(RECORD_DELETE, ""),
        change_of(RECORD_MERGE, "more"), change_of(RECORD_LARGE, ""),
        change_of(RECORD_PUT, ""),       change_of((enum record_kind)CHANGE_DELETE_RANGE, "end")};
    changes[0].record.expires_ms = 123456789;
    changes[2].record.merge_kind = 2;
    changes[2].record.expires_ms = 5;
    changes[3].large_token = 77;
    changes[3].record.value_size = 1 << 30;
    changes[5].range_has_end = true;
    struct commit_part parts[2] = {{.keyspace = &keyspace, .changes = changes, .count = 6},
                                   {.keyspace = &keyspace, .changes = changes, .count = 1}};
    struct catalog_change catalog = {.keyspace = &keyspace};
    struct commit_request request = {.catalog = &catalog,
                                     .catalog_count = 1,
                                     .parts = parts,
                                     .part_count = 2,
                                     .change_count = 7,
                                     .bytes = 200};
    size_t size = commit_encode(&request, SEQ, 11, whole);
    assert_true(size <= commit_encoded_bound(&request));
    assert_int_equal(commit_encoded_bytes(&request, SEQ, 11), size);
    static struct gathering_sink gathered;
    gathered = (struct gathering_sink){.sink = {gather}, .calls_left = SIZE_MAX};
    assert_int_equal(commit_encode_to(&request, SEQ, 11, &gathered.sink), TERN_OK);
    assert_int_equal(gathered.size, size);
    assert_memory_equal(gathered.bytes, whole, size);
    size_t calls = SIZE_MAX - gathered.calls_left;
    for (size_t allowed = 0; allowed < calls; allowed++) {
        gathered = (struct gathering_sink){.sink = {gather}, .calls_left = allowed};
        assert_int_equal(commit_encode_to(&request, SEQ, 11, &gathered.sink), TERN_IO);
        assert_int_equal(gathered.calls_left, SIZE_MAX);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_creation_has_a_name_that_can_be_given),
        cmocka_unit_test(a_change_says_nothing_that_its_kind_does_not_have),
        cmocka_unit_test(an_encoding_in_pieces_is_the_same_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
