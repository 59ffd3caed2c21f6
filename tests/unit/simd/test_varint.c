/* SPDX-License-Identifier: Apache-2.0 */
/* Every variant reads what varint_get reads one by one, and refuses what it refuses. */
#include <string.h>

#include "base/varint.h"
#include "guarded.h"
#include "simd/variants.h"
#include "simd/varint.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"

#define COUNT_MAX 4000u

static struct seeded_random generator;

static int seed_generator(void **state) {
    (void)state;
    seeded_random_init(&generator, seeded_random_seed("varint"));
    return 0;
}

static void check_one(const char *name, varint_get_many_function variant, const uint8_t *source,
                      const uint8_t *end, size_t count) {
    static const uint64_t untouched = 0x5aa55aa55aa55aa5u;
    struct guarded output = guarded_make(count * sizeof(uint64_t));
    uint64_t *values = (void *)guarded_last(&output, count * sizeof(uint64_t));
    for (size_t i = 0; i < count; i++) {
        values[i] = untouched;
    }
    const uint8_t *after = variant(source, end, count, values);
    const uint8_t *expected = source;
    for (size_t i = 0; i < count && expected != NULL; i++) {
        uint64_t value = 0;
        expected = varint_get(expected, end, &value);
        if (expected != NULL && after != NULL && values[i] != value) {
            fail_msg("%s: number %zu is %llu", name, i, (unsigned long long)values[i]);
        }
    }
    assert_ptr_equal(after, expected);
    guarded_release(&output);
}

static void check(const uint8_t *source, const uint8_t *end, size_t count) {
    for (const struct variant *each = varint_get_many_variants; each->name != NULL; each++) {
        if (each->runs_here()) {
            check_one(each->name, (varint_get_many_function)each->function, source, end, count);
        }
    }
    check_one("chosen", varint_get_many, source, end, count);
}

/* Numbers of up to `bits` bits, those of every length equally often. */
static size_t fill(uint8_t *target, size_t count, unsigned bits) {
    uint8_t *at = target;
    for (size_t i = 0; i < count; i++) {
        unsigned width = (unsigned)seeded_random_below(&generator, bits + 1u);
        uint64_t value = width == 0 ? 0 : seeded_random_next(&generator) >> (64 - width);
        at = varint_put(at, value);
    }
    return (size_t)(at - target);
}

static void rows_of_every_length_are_read_at_the_end_of_memory(void **state) {
    (void)state;
    static const unsigned widths[] = {7, 8, 14, 21, 49, 50, 56, 57, 63, 64};
    struct guarded memory = guarded_make(COUNT_MAX * VARINT_BYTES_MAX);
    static uint8_t row[COUNT_MAX * VARINT_BYTES_MAX];
    for (size_t count = 0; count <= COUNT_MAX; count += count < 300 ? 1 : 617) {
        unsigned bits = widths[count % (sizeof(widths) / sizeof(widths[0]))];
        size_t size = fill(row, count, bits);
        uint8_t *source = guarded_last(&memory, size);
        memcpy(source, row, size);
        check(source, source + size, count);
        check(source, source + size, count / 2); /* more behind them */
        check(source, source + size, count + 1); /* and fewer than are asked for */
    }
    guarded_release(&memory);
}

static void alignment_does_not_matter(void **state) {
    (void)state;
    static uint8_t row[200 * VARINT_BYTES_MAX];
    struct guarded memory = guarded_make(sizeof(row) + 64);
    for (size_t offset = 0; offset < 64; offset++) {
        size_t size = fill(row, 200, offset % 2 == 0 ? 20 : 64);
        uint8_t *source = guarded_first(&memory) + offset;
        memcpy(source, row, size);
        check(source, source + size, 200);
    }
    guarded_release(&memory);
}

static void rows_that_end_early_or_are_damaged_are_refused_as_one_by_one(void **state) {
    (void)state;
    static uint8_t row[300 * VARINT_BYTES_MAX];
    struct guarded memory = guarded_make(sizeof(row));
    for (unsigned i = 0; i < 3000; i++) {
        size_t count = 1 + (size_t)seeded_random_below(&generator, 300);
        size_t size = fill(row, count, i % 3 == 0 ? 7 : i % 3 == 1 ? 24 : 64);
        for (uint64_t flips = seeded_random_below(&generator, 4); flips > 0; flips--) {
            size_t place = (size_t)seeded_random_below(&generator, size);
            row[place] = i % 2 == 0 ? 0x80 : (uint8_t)seeded_random_next(&generator);
        }
        size_t kept = i % 5 == 0 ? (size_t)seeded_random_below(&generator, size) : size;
        uint8_t *source = guarded_last(&memory, kept);
        memcpy(source, row, kept);
        check(source, source + kept, count);
    }
    guarded_release(&memory);
}

static void numbers_longer_than_they_need_be_are_refused(void **state) {
    (void)state;
    uint8_t row[64];
    memset(row, 1, sizeof(row));
    for (size_t place = 0; place + 2 < sizeof(row); place++) {
        row[place] = 0x81;
        row[place + 1] = 0;
        uint64_t values[64];
        assert_null(varint_get_many(row, row + sizeof(row), 63, values));
        check(row, row + sizeof(row), 63);
        row[place] = 1;
        row[place + 1] = 1;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_every_length_are_read_at_the_end_of_memory),
        cmocka_unit_test(alignment_does_not_matter),
        cmocka_unit_test(rows_that_end_early_or_are_damaged_are_refused_as_one_by_one),
        cmocka_unit_test(numbers_longer_than_they_need_be_are_refused),
    };
    return cmocka_run_group_tests(tests, seed_generator, NULL);
}
