/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka_test.h"

#include <stdlib.h>

#include "base/compare.h"
#include "engine/btree/btree_node.h"
#include "key_family.h"
#include "support/fault_allocator.h"

/* A node with the keys of a set as separators. */
static tern_status build(const tern_allocator *allocator, struct budget *budget,
                         const struct key_set *set, uint16_t level, struct inner_node **out_node) {
    uint32_t count = set->count + 1;
    struct child_ref *children = calloc(count, sizeof(*children));
    cache_hint *hints = calloc(count, sizeof(*hints));
    assert_non_null(children);
    assert_non_null(hints);
    for (uint32_t i = 0; i < count; i++) {
        children[i] = (struct child_ref){ref_pack(8 + 16 * (uint64_t)i, 16, i % 3 == 0), i * 77u,
                                         1 + i, 8192};
        hints[i] = 1000 + i;
    }
    const struct node_source source = {
        .level = level,
        .count = count,
        .children = children,
        .hints = level == 1 ? hints : NULL,
        .separators = set->keys,
        .generation = 42,
    };
    tern_status status = node_build(allocator, budget, &source, out_node, NULL);
    free(children);
    free(hints);
    return status;
}

static void assert_search_is_naive(const struct inner_node *node, const struct key_set *set,
                                   tern_slice key) {
    uint32_t wanted = key_set_lower_bound(set, key);
    wanted += wanted < set->count && slice_equal(set->keys[wanted], key);
    assert_int_equal(node_search(node, key), wanted);
}

static void searches_as_a_naive_search_for_every_family(void **state) {
    (void)state;
    struct seeded_random random;
    seeded_random_init(&random, seeded_random_seed("node"));
    struct budget budget = {0};
    const uint32_t counts[] = {0, 1, 2, 14, 15, 16, 17, 31, 32, 33, 100, 255, 256, 272, 600, 4095};
    for (unsigned family = 0; family < KEY_FAMILIES; family++) {
        for (unsigned c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
            struct key_set set;
            key_set_make(&set, (enum key_family)family, counts[c], &random);
            struct inner_node *node = NULL;
            assert_int_equal(build(tern_allocator_default(), &budget, &set, 1, &node), TERN_OK);
            assert_int_equal((uintptr_t)node % 64, 0);
            for (uint32_t i = 0; i < set.count; i++) {
                assert_search_is_naive(node, &set, set.keys[i]);
                tern_slice shorter = {set.keys[i].data, set.keys[i].size - 1};
                assert_search_is_naive(node, &set, shorter);
                uint8_t copy[256];
                assert_int_equal(node_separator(node, i, copy), set.keys[i].size);
                assert_int_equal(node_separator_size(node, i), set.keys[i].size);
                assert_memory_equal(copy, set.keys[i].data, set.keys[i].size);
            }
            for (unsigned i = 0; i < 500; i++) {
                uint8_t memory[256];
                unsigned other = seeded_random_chance(&random, 1, 4)
                                     ? (unsigned)seeded_random_below(&random, KEY_FAMILIES)
                                     : family;
                assert_search_is_naive(node, &set,
                                       key_make((enum key_family)other, &random, memory));
            }
            assert_search_is_naive(node, &set, tern_slice_of(NULL, 0));
            node_release(tern_allocator_default(), &budget, node);
            key_set_release(&set);
        }
    }
    assert_int_equal(budget_used(&budget, BUDGET_INDEX), 0);
}

static void comes_back_from_its_page_as_it_was(void **state) {
    (void)state;
    struct seeded_random random;
    seeded_random_init(&random, seeded_random_seed("node page"));
    struct budget budget = {0};
    for (unsigned family = 0; family < KEY_FAMILIES; family++) {
        struct key_set set;
        key_set_make(&set, (enum key_family)family, 200, &random);
        struct inner_node *node = NULL;
        struct inner_node *back = NULL;
        assert_int_equal(build(tern_allocator_default(), &budget, &set, 3, &node), TERN_OK);
        struct buffer payload;
        buffer_init(&payload, tern_allocator_default());
        assert_int_equal(node_encode(node, &payload), TERN_OK);
        tern_error error = TERN_ERROR_INIT;
        assert_ok(node_decode(tern_allocator_default(), &budget, payload.data, payload.size, 3,
                              "file", 4096, &back, &error),
                  error);
        assert_int_equal(back->count, node->count);
        assert_int_equal(back->generation, 42);
        for (uint32_t i = 0; i < node->count; i++) {
            assert_int_equal(back->refs[i], node->refs[i]);
            assert_int_equal(back->checksums[i], node->checksums[i]);
            assert_int_equal(back->records[i], node->records[i]);
            assert_int_equal(back->bytes[i], node->bytes[i]);
            assert_null(atomic_load(&back->nodes[i]));
        }
        for (uint32_t i = 0; i < set.count; i++) {
            assert_search_is_naive(back, &set, set.keys[i]);
        }
        /* The level is what the parent expects, or it is damage. */
        struct inner_node *other = NULL;
        assert_int_equal(node_decode(tern_allocator_default(), &budget, payload.data, payload.size,
                                     2, "file", 4096, &other, &error),
                         TERN_CORRUPTION);
        assert_int_equal(error.offset, 4096);
        assert_string_equal(error.file, "file");
        assert_non_null(strstr(error.message, "inner.header"));
        assert_null(other);
        buffer_release(&payload);
        node_release(tern_allocator_default(), &budget, node);
        node_release(tern_allocator_default(), &budget, back);
        key_set_release(&set);
    }
    assert_int_equal(budget_used(&budget, BUDGET_INDEX), 0);
}

static void a_damaged_page_is_refused_or_safe_to_use(void **state) {
    (void)state;
    struct seeded_random random;
    seeded_random_init(&random, seeded_random_seed("damaged node"));
    struct budget budget = {0};
    const uint8_t masks[] = {0x01, 0x80, 0xff, 0x10};
    for (unsigned family = 0; family < KEY_FAMILIES; family++) {
        struct key_set set;
        key_set_make(&set, (enum key_family)family, 20, &random);
        struct inner_node *node = NULL;
        assert_int_equal(build(tern_allocator_default(), &budget, &set, 1, &node), TERN_OK);
        struct buffer payload;
        buffer_init(&payload, tern_allocator_default());
        assert_int_equal(node_encode(node, &payload), TERN_OK);
        node_release(tern_allocator_default(), &budget, node);
        uint8_t *copy = malloc(payload.size);
        assert_non_null(copy);
        for (size_t at = 0; at < payload.size * sizeof(masks); at++) {
            memcpy(copy, payload.data, payload.size);
            copy[at / sizeof(masks)] ^= masks[at % sizeof(masks)];
            struct inner_node *back = NULL;
            if (node_decode(tern_allocator_default(), &budget, copy, payload.size, 1, "file", 0,
                            &back, NULL) == TERN_OK) {
                for (uint32_t i = 0; i < set.count; i++) {
                    assert_true(node_search(back, set.keys[i]) < back->count);
                }
                node_release(tern_allocator_default(), &budget, back);
            }
        }
        for (size_t size = 0; size < payload.size; size++) {
            uint8_t *shorter = malloc(size + 1);
            assert_non_null(shorter);
            memcpy(shorter, payload.data, size);
            struct inner_node *back = NULL;
            assert_int_equal(node_decode(tern_allocator_default(), &budget, shorter, size, 1,
                                         "file", 0, &back, NULL),
                             TERN_CORRUPTION);
            free(shorter);
        }
        free(copy);
        buffer_release(&payload);
        key_set_release(&set);
    }
    assert_int_equal(budget_used(&budget, BUDGET_INDEX), 0);
}

static void shares_children_by_reference(void **state) {
    (void)state;
    struct budget budget = {0};
    struct key_set none = {.count = 0};
    struct inner_node *child = NULL;
    assert_int_equal(build(tern_allocator_default(), &budget, &none, 1, &child), TERN_OK);
    const struct child_ref reference = {ref_pack(8, 16, 0), 1, 1, 8192};
    struct inner_node *loaded[1] = {child};
    const struct node_source source = {
        .level = 2, .count = 1, .children = &reference, .nodes = loaded};
    struct inner_node *first = NULL;
    struct inner_node *second = NULL;
    assert_int_equal(node_build(tern_allocator_default(), &budget, &source, &first, NULL), TERN_OK);
    assert_int_equal(node_build(tern_allocator_default(), &budget, &source, &second, NULL),
                     TERN_OK);
    node_release(tern_allocator_default(), &budget, child);
    node_release(tern_allocator_default(), &budget, first);
    assert_int_equal(atomic_load(&child->references), 1);
    assert_ptr_equal(atomic_load(&second->nodes[0]), child);
    node_release(tern_allocator_default(), &budget, second);
    assert_int_equal(budget_used(&budget, BUDGET_INDEX), 0);
}

static void failing_allocations_leave_nothing_behind(void **state) {
    (void)state;
    struct seeded_random random;
    seeded_random_init(&random, 1);
    struct budget budget = {0};
    struct key_set set;
    key_set_make(&set, KEYS_WORDS, 100, &random);
    struct inner_node *node = NULL;
    assert_int_equal(build(tern_allocator_default(), &budget, &set, 1, &node), TERN_OK);
    struct buffer payload;
    buffer_init(&payload, tern_allocator_default());
    assert_int_equal(node_encode(node, &payload), TERN_OK);
    node_release(tern_allocator_default(), &budget, node);
    for (uint64_t nth = 1;; nth++) {
        struct fault_allocator *allocator = fault_allocator_create();
        const tern_allocator *interface = fault_allocator_interface(allocator);
        fault_allocator_fail(allocator, nth, false);
        struct inner_node *back = NULL;
        tern_status status =
            node_decode(interface, &budget, payload.data, payload.size, 1, "file", 0, &back, NULL);
        bool failed = fault_allocator_failures(allocator) > 0;
        assert_int_equal(status, failed ? TERN_NO_MEMORY : TERN_OK);
        if (status == TERN_OK) {
            node_release(interface, &budget, back);
        }
        fault_allocator_destroy(allocator);
        if (!failed) {
            break;
        }
        assert_int_equal(budget_used(&budget, BUDGET_INDEX), 0);
    }
    buffer_release(&payload);
    key_set_release(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(searches_as_a_naive_search_for_every_family),
        cmocka_unit_test(comes_back_from_its_page_as_it_was),
        cmocka_unit_test(a_damaged_page_is_refused_or_safe_to_use),
        cmocka_unit_test(shares_children_by_reference),
        cmocka_unit_test(failing_allocations_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
