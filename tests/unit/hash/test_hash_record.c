/* SPDX-License-Identifier: Apache-2.0 */
/* Records whose block has the right checksum and which are malformed nevertheless. */
#include "base/bytes.h"
#include "base/varint.h"
#include "engine/hash/hash_base.h"
#include "support/cmocka_test.h"

#define REFERENCE_BYTES 25u

/* A block of one record of a value stored apart; returns its size. */
static size_t make_block(uint8_t *payload, size_t reference_bytes, uint8_t format,
                         uint64_t size_there, uint64_t size_told) {
    uint8_t reference[64] = {0};
    reference[0] = format;
    put_u64(reference + 1, size_there);
    put_u16(payload, 1);
    put_u16(payload + 2, 0);
    put_u16(payload + 4, 6);
    uint8_t *target = payload + 6;
    *target++ = (uint8_t)RECORD_LARGE;
    target = varint_put(target, 3);
    target = varint_put(target, reference_bytes);
    target = varint_put(target, 7);
    target = varint_put(target, 1);
    target = varint_put(target, size_told);
    memcpy(target, "key", 3);
    memcpy(target + 3, reference, reference_bytes);
    return (size_t)(target + 3 + reference_bytes - payload);
}

static void a_reference_to_a_value_says_what_its_record_says(void **state) {
    uint8_t payload[256];
    struct hash_record record;
    (void)state;
    size_t size = make_block(payload, REFERENCE_BYTES, 1, 300000, 300000);
    assert_true(record_decode(payload, size, 0, &record));
    assert_int_equal(record.record.kind, RECORD_LARGE);
    assert_int_equal(record.record.value_size, 300000);
    assert_int_equal(record.record.value.size, REFERENCE_BYTES);
}

static void a_record_whose_reference_is_none_is_malformed(void **state) {
    static const struct {
        size_t reference_bytes;
        uint8_t format;
        uint64_t size_there, size_told;
    } cases[] = {
        {REFERENCE_BYTES - 1, 1, 300000, 300000},
        {REFERENCE_BYTES + 1, 1, 300000, 300000},
        {0, 1, 0, 0},
        {REFERENCE_BYTES, 0, 300000, 300000},
        {REFERENCE_BYTES, 2, 300000, 300000},
        {REFERENCE_BYTES, 1, 300000, 300001},
        {REFERENCE_BYTES, 1, 300000, UINT64_MAX},
        {REFERENCE_BYTES, 1, UINT64_MAX, 300000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t payload[256];
        struct hash_record record;
        size_t size = make_block(payload, cases[i].reference_bytes, cases[i].format,
                                 cases[i].size_there, cases[i].size_told);
        assert_false(record_decode(payload, size, 0, &record));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reference_to_a_value_says_what_its_record_says),
        cmocka_unit_test(a_record_whose_reference_is_none_is_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
