/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka_test.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/compare.h"
#include "key_family.h"
#include "tree_fixture.h"

#define PAYLOAD_MAX ((size_t)65535)

struct page {
    struct key_set set;
    struct record records[8192];
    uint8_t values[64];
    uint8_t payload[65536];
    size_t size;
    uint32_t count;
};

static struct record record_for(struct page *page, uint32_t index) {
    struct record record = {.kind = RECORD_PUT,
                            .value = {page->values + index % 20, (index * 7) % 40}};
    if (index % 5 == 1) {
        record.expires_ms = UINT64_C(1700000000000) + index;
    }
    if (index % 7 == 3) {
        record.kind = RECORD_LARGE;
        record.value_size = UINT64_C(1) << (index % 40);
    }
    return record;
}

/* A page of as many keys of the set as fit `capacity`. */
static void page_make(struct page *page, enum key_family family, uint32_t count, bool whole_keys,
                      size_t capacity, struct seeded_random *random) {
    key_set_make(&page->set, family, count, random);
    seeded_random_fill(random, page->values, sizeof(page->values));
    page->count = page->set.count;
    for (uint32_t i = 0; i < page->count; i++) {
        page->records[i] = record_for(page, i);
    }
    for (;;) {
        page->size = leaf_image(page->set.keys, page->records, page->count, whole_keys, 3,
                                page->payload, capacity);
        if (page->size > 0) {
            break;
        }
        page->count = page->count * 9 / 10;
        assert_true(page->count > 0);
    }
    page->set.count = page->count;
}

static void assert_slices_equal(tern_slice left, tern_slice right) {
    assert_int_equal(left.size, right.size);
    if (left.size > 0) {
        assert_memory_equal(left.data, right.data, left.size);
    }
}

static void assert_record_at(const struct page *page, uint32_t index) {
    uint8_t key[1024];
    size_t size = leaf_key_copy(page->payload, index, key);
    assert_slices_equal(tern_slice_of(key, size), page->set.keys[index]);
    tern_slice in_place;
    if (leaf_key_in_place(page->payload, index, &in_place)) {
        assert_slices_equal(in_place, page->set.keys[index]);
    }
    tern_slice prefix = leaf_prefix(page->payload);
    assert_slices_equal(leaf_key_suffix(page->payload, index),
                        tern_slice_of((const uint8_t *)page->set.keys[index].data + prefix.size,
                                      page->set.keys[index].size - prefix.size));
    struct record record;
    leaf_record(page->payload, index, &record);
    const struct record *wanted = &page->records[index];
    assert_int_equal(record.kind, wanted->kind);
    assert_int_equal(record.expires_ms, wanted->expires_ms);
    assert_int_equal(record.value_size, wanted->value_size);
    assert_slices_equal(record.value, wanted->value);
}

static void assert_search_is_naive(const struct page *page, tern_slice key) {
    bool equal = false;
    uint32_t wanted = key_set_lower_bound(&page->set, key);
    assert_int_equal(leaf_lower_bound(page->payload, key, &equal), wanted);
    assert_int_equal(equal, wanted < page->count && slice_equal(page->set.keys[wanted], key));
}

static void searches_and_reads_what_was_written_for_every_family(void **state) {
    (void)state;
    struct page *page = calloc(1, sizeof(*page));
    assert_non_null(page);
    struct seeded_random random;
    seeded_random_init(&random, seeded_random_seed("page"));
    const uint32_t counts[] = {1, 2, 3, 5, 17, 64, 129, 500, 4000};
    for (unsigned family = 0; family < KEY_FAMILIES; family++) {
        for (unsigned c = 0; c < 2 * sizeof(counts) / sizeof(counts[0]); c++) {
            page_make(page, (enum key_family)family, counts[c / 2], c % 2 == 1, PAYLOAD_MAX,
                      &random);
            const char *broken = leaf_check(page->payload, page->size);
            if (broken != NULL) {
                fail_msg("family %u, %u keys: %s", family, page->count, broken);
            }
            for (uint32_t i = 0; i < page->count; i++) {
                assert_record_at(page, i);
                assert_search_is_naive(page, page->set.keys[i]);
                tern_slice shorter = {page->set.keys[i].data, page->set.keys[i].size - 1};
                assert_search_is_naive(page, shorter);
            }
            for (unsigned i = 0; i < 300; i++) {
                uint8_t memory[256];
                unsigned other = seeded_random_chance(&random, 1, 4)
                                     ? (unsigned)seeded_random_below(&random, KEY_FAMILIES)
                                     : family;
                assert_search_is_naive(page, key_make((enum key_family)other, &random, memory));
            }
            assert_search_is_naive(page, tern_slice_of(NULL, 0));
            key_set_release(&page->set);
        }
    }
    free(page);
}

/* Everything that a reader may do with an accepted page. */
static uint64_t use_page(const uint8_t *payload, const struct key_set *set) {
    uint64_t sum = 0;
    uint8_t *key = malloc(65536);
    assert_non_null(key);
    for (uint32_t i = 0; i < leaf_count(payload); i++) {
        struct record record;
        leaf_record(payload, i, &record);
        for (size_t j = 0; j < record.value.size; j++) {
            sum += ((const uint8_t *)record.value.data)[j];
        }
        size_t size = leaf_key_copy(payload, i, key);
        bool equal = false;
        assert_int_equal(leaf_lower_bound(payload, tern_slice_of(key, size), &equal), i);
        assert_true(equal);
    }
    for (uint32_t i = 0; i < set->count; i++) {
        bool equal = false;
        sum += leaf_lower_bound(payload, set->keys[i], &equal);
    }
    free(key);
    return sum;
}

static void a_damaged_page_is_refused_or_safe_to_use(void **state) {
    (void)state;
    struct page *page = calloc(1, sizeof(*page));
    assert_non_null(page);
    struct seeded_random random;
    seeded_random_init(&random, seeded_random_seed("damaged page"));
    const uint8_t masks[] = {0x01, 0x80, 0xff, 0x10};
    size_t accepted = 0;
    size_t refused = 0;
    for (unsigned family = 0; family < KEY_FAMILIES; family++) {
        page_make(page, (enum key_family)family, 20, family % 2 == 0, 2048, &random);
        /* Of exactly its size, so that reading past it shows. */
        uint8_t *copy = malloc(page->size);
        assert_non_null(copy);
        for (size_t at = 0; at < page->size; at++) {
            for (size_t m = 0; m < sizeof(masks); m++) {
                memcpy(copy, page->payload, page->size);
                copy[at] ^= masks[m];
                if (leaf_check(copy, page->size) == NULL) {
                    accepted++;
                    (void)use_page(copy, &page->set);
                } else {
                    refused++;
                }
            }
        }
        for (size_t size = 0; size < page->size; size++) {
            uint8_t *shorter = malloc(size + 1);
            assert_non_null(shorter);
            memcpy(shorter, page->payload, size);
            assert_non_null(leaf_check(shorter, size));
            free(shorter);
        }
        for (unsigned round = 0; round < 3000; round++) {
            memcpy(copy, page->payload, page->size);
            for (uint64_t n = 1 + seeded_random_below(&random, 4); n > 0; n--) {
                copy[seeded_random_below(&random, page->size)] =
                    (uint8_t)seeded_random_next(&random);
            }
            if (leaf_check(copy, page->size) == NULL) {
                (void)use_page(copy, &page->set);
            }
        }
        free(copy);
        key_set_release(&page->set);
    }
    assert_true(refused > accepted / 2);
    free(page);
}

static void names_the_invariant_that_is_broken(void **state) {
    (void)state;
    const tern_slice keys[] = {{"aa1", 3}, {"aa2", 3}, {"ab", 2}};
    const struct record records[] = {{.kind = RECORD_PUT, .value = {"x", 1}},
                                     {.kind = RECORD_LARGE, .value = {"ref", 3}, .value_size = 9},
                                     {.kind = RECORD_PUT, .value = {"y", 1}}};
    uint8_t payload[256];
    uint8_t good[256];
    size_t size = leaf_image(keys, records, 3, true, 1, good, sizeof(good));
    const size_t heads = LEAF_HEADER_BYTES;
    const size_t slots = heads + 12;
    const size_t data = slots + 6;
    const struct {
        size_t at;
        uint8_t value;
        const char *name;
    } cases[] = {
        {0, PAGE_INNER, "leaf.header"},
        {1, 0x80, "leaf.header"},
        {2, 0, "leaf.count"},
        {3, 0x7f, "leaf.count"},
        {6, 0, "leaf.data"},
        {4, 0xff, "leaf.data"},
        {slots, 0, "leaf.slots"},
        {heads, 0x55, "leaf.heads"},
        {data + 1, 0x80, "leaf.records"},   /* flags of the first record */
        {data + 2, 0x81, "leaf.records"},   /* its key size */
        {data, 'b', "leaf.prefix"},         /* prefix byte */
        {1, PAGE_WHOLE_KEYS, "leaf.large"}, /* the flag of values apart taken away */
    };
    assert_null(leaf_check(good, size));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(payload, good, size);
        payload[cases[i].at] = cases[i].value;
        const char *broken = leaf_check(payload, size);
        assert_non_null(broken);
        assert_string_equal(broken, cases[i].name);
    }
    const tern_slice swapped[] = {{"ab", 2}, {"aa", 2}};
    size = leaf_image(swapped, records, 2, false, 1, payload, sizeof(payload));
    assert_string_equal(leaf_check(payload, size), "leaf.order");
    const tern_slice equal[] = {{"ab", 2}, {"ab", 2}};
    size = leaf_image(equal, records, 2, false, 1, payload, sizeof(payload));
    assert_string_equal(leaf_check(payload, size), "leaf.order");
    const tern_slice empty[] = {{"", 0}, {"ab", 2}};
    size = leaf_image(empty, records, 2, false, 1, payload, sizeof(payload));
    assert_string_equal(leaf_check(payload, size), "leaf.key");
    size = leaf_image(keys, records, 1, false, 1, payload, sizeof(payload) - 1);
    payload[size] = 0;
    assert_string_equal(leaf_check(payload, size + 1), "leaf.data");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(searches_and_reads_what_was_written_for_every_family),
        cmocka_unit_test(a_damaged_page_is_refused_or_safe_to_use),
        cmocka_unit_test(names_the_invariant_that_is_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
