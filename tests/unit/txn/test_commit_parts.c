/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions in parts, put together again from their records. */
#include "support/cmocka_test.h"

#include <string.h>

#include "base/bytes.h"
#include "txn/commit_codec.h"

static void add_part(struct commit_assembler *assembler, seq_no seq, const char *bytes) {
    uint8_t payload[64];
    tern_error error = TERN_ERROR_INIT;
    size_t size = strlen(bytes);
    put_u64(payload, seq);
    memcpy(payload + COMMIT_PART_HEADER_BYTES, bytes, size);
    assert_ok(commit_assembler_part(assembler, payload, COMMIT_PART_HEADER_BYTES + size, &error),
              error);
}

static tern_status end(struct commit_assembler *assembler, seq_no seq, uint32_t parts,
                       uint64_t bytes, tern_slice *out_encoding) {
    uint8_t payload[COMMIT_END_BYTES];
    commit_encode_end(seq, parts, bytes, payload);
    return commit_assembler_commit(assembler, payload, sizeof(payload), out_encoding, NULL);
}

static void assert_encoding(tern_slice encoding, const char *expected) {
    assert_int_equal(encoding.size, strlen(expected));
    assert_memory_equal(encoding.data, expected, encoding.size);
}

static void parts_of_one_transaction_become_its_encoding(void **state) {
    (void)state;
    struct commit_assembler assembler;
    tern_slice encoding;
    commit_assembler_init(&assembler, tern_allocator_default());
    add_part(&assembler, 7, "one ");
    add_part(&assembler, 7, "two");
    assert_int_equal(end(&assembler, 7, 2, 7, &encoding), TERN_OK);
    assert_encoding(encoding, "one two");
    add_part(&assembler, 8, "three");
    assert_int_equal(end(&assembler, 8, 1, 5, &encoding), TERN_OK);
    assert_encoding(encoding, "three");
    commit_assembler_release(&assembler);
}

static void parts_of_an_earlier_attempt_at_the_same_seq_do_not_count(void **state) {
    (void)state;
    struct commit_assembler assembler;
    tern_slice encoding;
    commit_assembler_init(&assembler, tern_allocator_default());
    add_part(&assembler, 7, "torn off ");
    add_part(&assembler, 7, "by a crash ");
    add_part(&assembler, 7, "one ");
    add_part(&assembler, 7, "two");
    assert_int_equal(end(&assembler, 7, 2, 7, &encoding), TERN_OK);
    assert_encoding(encoding, "one two");
    commit_assembler_release(&assembler);
}

static void missing_parts_are_noticed(void **state) {
    (void)state;
    struct commit_assembler assembler;
    tern_slice encoding;
    commit_assembler_init(&assembler, tern_allocator_default());
    add_part(&assembler, 7, "one ");
    assert_int_equal(end(&assembler, 7, 2, 7, &encoding), TERN_CORRUPTION);
    assert_int_equal(end(&assembler, 7, 1, 7, &encoding), TERN_CORRUPTION);
    assert_int_equal(end(&assembler, 8, 1, 4, &encoding), TERN_CORRUPTION);
    assert_int_equal(end(&assembler, 7, 0, 0, &encoding), TERN_CORRUPTION);
    add_part(&assembler, 7, "two");
    assert_int_equal(end(&assembler, 7, 1, 4, &encoding), TERN_CORRUPTION);
    assert_int_equal(end(&assembler, 7, 2, 7, &encoding), TERN_OK);
    /* They are used up. */
    assert_int_equal(end(&assembler, 7, 2, 7, &encoding), TERN_CORRUPTION);
    commit_assembler_release(&assembler);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_of_one_transaction_become_its_encoding),
        cmocka_unit_test(parts_of_an_earlier_attempt_at_the_same_seq_do_not_count),
        cmocka_unit_test(missing_parts_are_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
