/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/btree/extents.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

#define UNITS 4096u

static bool is_free_run(const bool *map, uint64_t place, uint64_t units, bool expected) {
    for (uint64_t i = place; i < place + units; i++) {
        if (map[i] != expected) {
            return false;
        }
    }
    return true;
}

static void set_run(bool *map, uint64_t place, uint64_t units, bool value) {
    for (uint64_t i = place; i < place + units; i++) {
        map[i] = value;
    }
}

/* Lowest run of at least `units` free ones. */
static bool lowest(const bool *map, uint64_t units, uint64_t *out_place) {
    uint64_t length = 0;
    for (uint64_t i = 0; i < UNITS; i++) {
        length = map[i] ? length + 1 : 0;
        if (length == units) {
            *out_place = i + 1 - units;
            return true;
        }
    }
    return false;
}

static void agrees_with_a_map_of_units(void **state) {
    (void)state;
    static bool map[UNITS + 1];
    struct seeded_random random;
    struct extents extents;
    seeded_random_init(&random, seeded_random_seed("extents"));
    extents_init(&extents, tern_allocator_default());
    memset(map, 0, sizeof(map));
    for (unsigned i = 0; i < 30000; i++) {
        uint64_t place = seeded_random_below(&random, UNITS - 20);
        uint64_t units = 1 + seeded_random_below(&random, 1 + seeded_random_below(&random, 18));
        uint64_t what = seeded_random_below(&random, 100);
        if (what < 50) {
            bool is_clear = is_free_run(map, place, units, false);
            assert_int_equal(extents_add(&extents, place, units),
                             is_clear ? TERN_OK : TERN_CORRUPTION);
            if (is_clear) {
                set_run(map, place, units, true);
            }
        } else if (what < 80) {
            bool is_inside = is_free_run(map, place, units, true);
            assert_int_equal(extents_remove(&extents, place, units),
                             is_inside ? TERN_OK : TERN_NOT_FOUND);
            if (is_inside) {
                set_run(map, place, units, false);
            }
        } else {
            struct extent taken;
            uint64_t expected = 0;
            bool is_there = lowest(map, units, &expected);
            assert_int_equal(extents_take(&extents, units, units, &taken), is_there);
            if (is_there) {
                assert_int_equal(taken.place, expected);
                assert_int_equal(taken.units, units);
                set_run(map, taken.place, taken.units, false);
            }
        }
        if (i % 512 == 0) {
            assert_null(extents_check(&extents));
        }
    }
    uint64_t total = 0;
    for (unsigned i = 0; i < UNITS; i++) {
        total += map[i];
    }
    assert_int_equal(extents.total_units, total);
    assert_null(extents_check(&extents));
    extents_release(&extents);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_a_map_of_units)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
