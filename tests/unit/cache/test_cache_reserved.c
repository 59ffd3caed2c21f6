/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cache on pages of the reserved pool where the system refuses to put them in place. The calls
 * are this test's own: ordinary pages play those of the pool, and a call that is to fail unmaps its
 * target first, as the kernel does.
 */
#include "support/cmocka_test.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cache_fixture.h"
#include "os/pages.h"

#define MIB         ((uint64_t)1 << 20)
#define PAGE        ((size_t)8192)
#define LIMIT       (64 * MIB)
#define RANGE_BYTES (5 * 1024 * MIB + HUGE_PAGE_BYTES)

static struct {
    bool has_pool;
    bool others_fill; /* the hole, at once */
    bool discards_fail;
    unsigned good_moves; /* then they fail */
    unsigned moves;
    uint8_t *hole;
} rules;

static void *map(void *address, size_t size, int protection, int flags, int descriptor,
                 off_t offset) {
    return (void *)syscall(SYS_mmap, address, size, protection, flags, descriptor, offset);
}

/* What a failing call leaves behind. */
static void *fail_over(void *target, size_t size, int reason) {
    (void)syscall(SYS_munmap, target, size);
    rules.hole = target;
    if (rules.others_fill) {
        void *theirs = map(target, size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        assert_ptr_equal(theirs, target);
        memset(theirs, 0x5a, size);
    }
    errno = reason;
    return MAP_FAILED;
}

void *mmap(void *address, size_t size, int protection, int flags, int descriptor, off_t offset) {
    if (rules.has_pool) {
        flags &= ~(MAP_HUGETLB | 21 << 26);
    }
    if (rules.discards_fail && (flags & MAP_FIXED) != 0) {
        return fail_over(address, size, ENOMEM);
    }
    return map(address, size, protection, flags, descriptor, offset);
}

void *mremap(void *old, size_t old_size, size_t new_size, int flags, ...) {
    va_list arguments;
    va_start(arguments, flags);
    void *target = va_arg(arguments, void *);
    va_end(arguments);
    if (rules.has_pool && rules.moves++ >= rules.good_moves) {
        return fail_over(target, new_size, EINVAL);
    }
    return (void *)syscall(SYS_mremap, old, old_size, new_size, flags, target);
}

static void fill(struct cache_fixture *fixture, uint64_t pages) {
    for (uint64_t place = 1; place <= pages; place++) {
        struct epoch_slot *slot = epoch_enter(fixture->epoch);
        cache_tag tag = cache_tag_of(fixture->space, place);
        struct cache_frame *frame = page_load(fixture, PAGE, tag);
        assert_non_null(frame);
        assert_true(page_is_right(frame, PAGE, tag, true));
        epoch_exit(slot);
    }
}

static void shrink(struct cache_fixture *fixture) {
    for (unsigned i = 0; i < 3; i++) {
        cache_set_limit(fixture->cache, 4 * MIB);
        epoch_synchronize(fixture->epoch);
    }
}

static struct cache_placement_stats stats_of(const struct cache_fixture *fixture) {
    struct cache_stats stats;
    cache_get_stats(fixture->cache, &stats);
    return stats.placement;
}

/* Bytes of the cache's addresses that are mapped. */
static uint64_t mapped_bytes(const struct cache *cache) {
    uint64_t base = (uintptr_t)cache_base(cache);
    uint64_t sum = 0;
    char line[512];
    FILE *file = fopen("/proc/self/maps", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        uint64_t begin;
        uint64_t end;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &begin, &end) == 2) {
            begin = begin > base ? begin : base;
            end = end < base + RANGE_BYTES ? end : base + RANGE_BYTES;
            sum += end > begin ? end - begin : 0;
        }
    }
    (void)fclose(file);
    return sum;
}

static void open_reserved(struct cache_fixture *fixture, unsigned good_moves, bool others_fill) {
    memset(&rules, 0, sizeof(rules));
    rules.has_pool = true;
    rules.good_moves = good_moves;
    rules.others_fill = others_fill;
    cache_fixture_open_placed(fixture, LIMIT,
                              (struct cache_placement){.huge_pages = TERN_HUGE_PAGES_RESERVED});
}

static bool is_theirs(const uint8_t *memory) {
    bool is_untouched = true;
    for (size_t i = 0; i < HUGE_PAGE_BYTES; i++) {
        is_untouched &= memory[i] == 0x5a;
    }
    return is_untouched;
}

static void uses_the_pool_where_it_can(void **state) {
    (void)state;
    struct cache_fixture fixture;
    open_reserved(&fixture, 1000, false);
    fill(&fixture, 4000);
    assert_true(stats_of(&fixture).reserved_bytes >= 30 * MIB);
    assert_int_equal(stats_of(&fixture).huge_pages, TERN_HUGE_PAGES_RESERVED);
    shrink(&fixture);
    assert_true(stats_of(&fixture).reserved_bytes <= 4 * MIB);
    assert_int_equal(mapped_bytes(fixture.cache), RANGE_BYTES);
    cache_fixture_close(&fixture);
}

/* One look is enough, and is not at the cache's cost. */
static void says_that_reserved_pages_cannot_be_moved(void **state) {
    (void)state;
    struct cache_fixture fixture;
    open_reserved(&fixture, 0, false);
    fill(&fixture, 4000);
    struct cache_placement_stats stats = stats_of(&fixture);
    assert_int_equal(rules.moves, 1);
    assert_int_equal(stats.reserved_bytes, 0);
    assert_int_not_equal(stats.huge_pages, TERN_HUGE_PAGES_RESERVED);
    assert_non_null(strstr(stats.huge_text, "unavailable"));
    assert_non_null(strstr(stats.huge_text, "move"));
    assert_int_equal(mapped_bytes(fixture.cache), RANGE_BYTES);
    cache_fixture_close(&fixture);
}

static void fills_the_hole_that_a_failed_move_leaves(void **state) {
    (void)state;
    struct cache_fixture fixture;
    open_reserved(&fixture, 4, false);
    fill(&fixture, 4000);
    assert_int_equal(mapped_bytes(fixture.cache), RANGE_BYTES);
    assert_int_not_equal(stats_of(&fixture).huge_pages, TERN_HUGE_PAGES_RESERVED);
    assert_int_equal(rules.moves, 5);
    shrink(&fixture);
    fill(&fixture, 4000);
    assert_int_equal(mapped_bytes(fixture.cache), RANGE_BYTES);
    cache_fixture_close(&fixture);
}

static void leaves_alone_what_others_put_into_the_hole_of_a_move(void **state) {
    (void)state;
    struct cache_fixture fixture;
    open_reserved(&fixture, 4, true);
    fill(&fixture, 4000);
    assert_non_null(rules.hole);
    shrink(&fixture);
    cache_set_limit(fixture.cache, LIMIT);
    fill(&fixture, 20000);
    assert_true(is_theirs(rules.hole));
    cache_fixture_close(&fixture);
    assert_true(is_theirs(rules.hole));
    (void)munmap(rules.hole, HUGE_PAGE_BYTES);
}

static void fills_the_hole_that_a_failed_discard_leaves(void **state) {
    (void)state;
    struct cache_fixture fixture;
    open_reserved(&fixture, 1000, false);
    fill(&fixture, 4000);
    rules.discards_fail = true;
    shrink(&fixture);
    rules.discards_fail = false;
    assert_non_null(rules.hole);
    assert_int_equal(mapped_bytes(fixture.cache), RANGE_BYTES);
    cache_set_limit(fixture.cache, LIMIT);
    fill(&fixture, 4000);
    cache_fixture_close(&fixture);
}

static void leaves_alone_what_others_put_into_the_hole_of_a_discard(void **state) {
    (void)state;
    struct cache_fixture fixture;
    open_reserved(&fixture, 1000, true);
    fill(&fixture, 4000);
    rules.discards_fail = true;
    shrink(&fixture);
    rules.discards_fail = false;
    assert_non_null(rules.hole);
    cache_set_limit(fixture.cache, LIMIT);
    fill(&fixture, 20000);
    assert_true(is_theirs(rules.hole));
    cache_fixture_close(&fixture);
    assert_true(is_theirs(rules.hole));
    (void)munmap(rules.hole, HUGE_PAGE_BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uses_the_pool_where_it_can),
        cmocka_unit_test(says_that_reserved_pages_cannot_be_moved),
        cmocka_unit_test(fills_the_hole_that_a_failed_move_leaves),
        cmocka_unit_test(leaves_alone_what_others_put_into_the_hole_of_a_move),
        cmocka_unit_test(fills_the_hole_that_a_failed_discard_leaves),
        cmocka_unit_test(leaves_alone_what_others_put_into_the_hole_of_a_discard),
    };
#if defined(__SANITIZE_THREAD__)
    /* It must see every mapping, and sees none of those made here. */
    (void)tests;
    return 77;
#else
    return cmocka_run_group_tests(tests, NULL, NULL);
#endif
}
