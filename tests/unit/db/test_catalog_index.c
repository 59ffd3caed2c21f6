/* SPDX-License-Identifier: Apache-2.0 */
/* Handles by partition, against a plain array. */
#include "support/cmocka_test.h"

#include <string.h>

#include "db/catalog_index.h"
#include "support/fault_allocator.h"
#include "support/seeded_random.h"

#define HANDLES 300u

static tern_keyspace handles[HANDLES];

static tern_keyspace *find_plainly(const bool *is_there, partition_id partition) {
    for (unsigned i = 0; i < HANDLES; i++) {
        if (is_there[i] && handles[i].partition == partition &&
            atomic_load(&handles[i].state) != KEYSPACE_DROPPED) {
            return &handles[i];
        }
    }
    return NULL;
}

static void finds_the_handle_that_has_a_partition_now(void **state) {
    (void)state;
    struct catalog_index index = {NULL, 0, 0};
    struct seeded_random random;
    bool is_there[HANDLES] = {false};
    partition_id next = 1;
    seeded_random_init(&random, seeded_random_seed("catalog index"));
    memset(handles, 0, sizeof(handles));
    assert_null(catalog_index_find(&index, 1));
    for (unsigned step = 0; step < 20000; step++) {
        unsigned at = (unsigned)seeded_random_below(&random, HANDLES);
        unsigned other = (unsigned)seeded_random_below(&random, HANDLES);
        if (!is_there[at]) {
            handles[at].partition = next;
            next += 1 + seeded_random_below(&random, 3) * 64;
            atomic_store(&handles[at].state, KEYSPACE_LIVE);
            assert_true(catalog_index_add(&index, tern_allocator_default(), &handles[at]));
            is_there[at] = true;
        } else if (seeded_random_chance(&random, 1, 3)) {
            catalog_index_remove(&index, &handles[at]);
            is_there[at] = false;
        } else if (seeded_random_chance(&random, 1, 5)) {
            atomic_store(&handles[at].state, KEYSPACE_DROPPED);
        } else if (is_there[other] && other != at) {
            partition_id partition = handles[at].partition;
            handles[at].partition = handles[other].partition;
            handles[other].partition = partition;
            catalog_index_exchanged(&index, &handles[at], &handles[other]);
        }
        for (unsigned i = 0; i < 3; i++) {
            partition_id asked = handles[seeded_random_below(&random, HANDLES)].partition;
            assert_ptr_equal(catalog_index_find(&index, asked), find_plainly(is_there, asked));
        }
    }
    catalog_index_release(&index, tern_allocator_default());
}

static void without_memory_what_is_there_stays(void **state) {
    (void)state;
    struct catalog_index index = {NULL, 0, 0};
    struct fault_allocator *faults = fault_allocator_create();
    const tern_allocator *allocator = fault_allocator_interface(faults);
    memset(handles, 0, sizeof(handles));
    for (unsigned i = 0; i < HANDLES; i++) {
        handles[i].partition = i + 1;
        fault_allocator_fail(faults, 1, true);
        if (!catalog_index_add(&index, allocator, &handles[i])) {
            assert_int_equal(index.count, i);
            fault_allocator_fail(faults, 0, false);
            assert_true(catalog_index_add(&index, allocator, &handles[i]));
        }
        fault_allocator_fail(faults, 0, false);
        for (unsigned j = 0; j <= i; j++) {
            assert_ptr_equal(catalog_index_find(&index, j + 1), &handles[j]);
        }
    }
    assert_true(fault_allocator_failures(faults) > 2);
    catalog_index_release(&index, allocator);
    fault_allocator_destroy(faults);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_handle_that_has_a_partition_now),
        cmocka_unit_test(without_memory_what_is_there_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
