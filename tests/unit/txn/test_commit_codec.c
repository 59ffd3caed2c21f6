/* SPDX-License-Identifier: Apache-2.0 */
/* Commits as they lie in the log, with what nobody can have written. */
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_creation_has_a_name_that_can_be_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
