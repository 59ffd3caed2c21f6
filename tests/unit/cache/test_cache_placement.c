/* SPDX-License-Identifier: Apache-2.0 */
/* Huge pages, NUMA placement and locking, as /proc shows them from outside. */
#include "support/cmocka_test.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache_fixture.h"
#include "os/page_placement.h"
#include "os/pages.h"

#define MIB   ((uint64_t)1 << 20)
#define PAGE  ((size_t)8192)
#define LIMIT (64 * MIB)
/* A cache of this limit reserves 1 GiB of addresses for each size of frame, and a chunk. */
#define RANGE_BYTES (5 * 1024 * MIB + HUGE_PAGE_BYTES)

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

static struct cache_placement_stats stats_of(const struct cache_fixture *fixture) {
    struct cache_stats stats;
    cache_get_stats(fixture->cache, &stats);
    return stats.placement;
}

/* What smaps says of the cache's addresses. */
struct smaps {
    uint64_t rss_kb, huge_kb, reserved_kb, locked_kb;
    uint64_t advised_kb; /* resident in areas that asked for huge pages */
};

static struct smaps read_smaps(const struct cache *cache) {
    struct smaps sum = {0};
    uint64_t base = (uintptr_t)cache_base(cache);
    char line[512];
    bool is_inside = false;
    uint64_t area_rss_kb = 0;
    FILE *file = fopen("/proc/self/smaps", "re");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        uint64_t begin;
        uint64_t end;
        uint64_t kb;
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &begin, &end) == 2 &&
            strchr(line, '-') < line + 17) {
            is_inside = begin >= base && end <= base + RANGE_BYTES;
        } else if (is_inside && sscanf(line, "Rss: %" SCNu64, &kb) == 1) {
            area_rss_kb = kb;
            sum.rss_kb += kb;
        } else if (is_inside && sscanf(line, "AnonHugePages: %" SCNu64, &kb) == 1) {
            sum.huge_kb += kb;
        } else if (is_inside && sscanf(line, "Private_Hugetlb: %" SCNu64, &kb) == 1) {
            sum.reserved_kb += kb;
        } else if (is_inside && sscanf(line, "Locked: %" SCNu64, &kb) == 1) {
            sum.locked_kb += kb;
        } else if (is_inside && strncmp(line, "VmFlags:", 8) == 0) {
            sum.advised_kb += strstr(line, " hg") != NULL ? area_rss_kb : 0;
        }
    }
    (void)fclose(file);
    return sum;
}

/* Pages of the cache's areas that numa_maps shows under a policy; false without numa_maps. */
static bool count_numa_pages(const struct cache *cache, const char *policy, uint64_t *out_pages) {
    uint64_t base = (uintptr_t)cache_base(cache);
    char line[1024];
    FILE *file = fopen("/proc/self/numa_maps", "re");
    if (file == NULL) {
        return false;
    }
    uint64_t pages = 0;
    while (fgets(line, sizeof(line), file) != NULL) {
        char *rest;
        uint64_t begin = strtoull(line, &rest, 16);
        const char *anonymous = strstr(rest, " anon=");
        if (begin >= base && begin < base + RANGE_BYTES && anonymous != NULL &&
            strncmp(rest + 1, policy, strlen(policy)) == 0) {
            pages += strtoull(anonymous + 6, NULL, 10);
        }
    }
    (void)fclose(file);
    *out_pages = pages;
    return true;
}

static void is_made_of_transparent_huge_pages_by_default(void **state) {
    (void)state;
    if (!pages_transparent_huge_available()) {
        skip();
    }
    struct cache_fixture fixture;
    cache_fixture_open_placed(&fixture, LIMIT, (struct cache_placement){0});
    fill(&fixture, 4000);
    struct smaps smaps = read_smaps(fixture.cache);
    struct cache_placement_stats stats = stats_of(&fixture);
    assert_int_equal(stats.huge_pages, TERN_HUGE_PAGES_TRANSPARENT);
    assert_true(smaps.rss_kb >= 30000);
    assert_int_equal(smaps.advised_kb, smaps.rss_kb);
    assert_true(smaps.huge_kb > 0);
    cache_fixture_close(&fixture);
}

static void is_made_of_small_pages_when_huge_ones_are_off(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open_placed(&fixture, LIMIT,
                              (struct cache_placement){.huge_pages = TERN_HUGE_PAGES_OFF});
    fill(&fixture, 4000);
    struct smaps smaps = read_smaps(fixture.cache);
    assert_int_equal(stats_of(&fixture).huge_pages, TERN_HUGE_PAGES_OFF);
    assert_true(smaps.rss_kb >= 30000);
    assert_int_equal(smaps.huge_kb, 0);
    assert_int_equal(smaps.advised_kb, 0);
    cache_fixture_close(&fixture);
}

static void says_that_a_small_cache_has_small_pages(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open_placed(&fixture, 8 * MIB, (struct cache_placement){0});
    fill(&fixture, 500);
    struct cache_placement_stats stats = stats_of(&fixture);
    assert_int_equal(stats.huge_pages, TERN_HUGE_PAGES_OFF);
    assert_non_null(strstr(stats.huge_text, "unavailable"));
    assert_int_equal(read_smaps(fixture.cache).huge_kb, 0);
    cache_fixture_close(&fixture);
}

static uint64_t reserved_pages_free(void) {
    char line[128];
    unsigned long long free_pages = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        (void)sscanf(line, "HugePages_Free: %llu", &free_pages);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return free_pages;
}

/* Where the pool is empty, the cache works and says so; where it is not, smaps shows its pages. */
static void takes_reserved_huge_pages_or_says_that_there_are_none(void **state) {
    (void)state;
    uint64_t available = reserved_pages_free();
    struct cache_fixture fixture;
    cache_fixture_open_placed(&fixture, LIMIT,
                              (struct cache_placement){.huge_pages = TERN_HUGE_PAGES_RESERVED});
    fill(&fixture, 20000); /* more than fit: evictions, chunks stay */
    struct smaps smaps = read_smaps(fixture.cache);
    struct cache_placement_stats stats = stats_of(&fixture);
    assert_int_equal(stats.reserved_bytes / 1024, smaps.reserved_kb);
    if (available == 0) {
        print_message("no reserved huge pages here: only the fallback was tested\n");
        assert_int_equal(stats.reserved_bytes, 0);
        assert_int_not_equal(stats.huge_pages, TERN_HUGE_PAGES_RESERVED);
        assert_non_null(strstr(stats.huge_text, "unavailable"));
    } else {
        assert_true(smaps.reserved_kb > 0);
    }
    cache_set_limit(fixture.cache, 4 * MIB);
    epoch_synchronize(fixture.epoch);
    cache_set_limit(fixture.cache, 4 * MIB);
    assert_int_equal(stats_of(&fixture).reserved_bytes / 1024,
                     read_smaps(fixture.cache).reserved_kb);
    cache_fixture_close(&fixture);
}

static void takes_memory_of_the_nodes_asked_for(void **state) {
    (void)state;
    static const struct {
        tern_numa_placement placement;
        uint64_t nodes;
        const char *policy;
    } cases[] = {
        {TERN_NUMA_LOCAL, 0, "local"},     {TERN_NUMA_INTERLEAVE, 0, "interleave:"},
        {TERN_NUMA_BIND, 0, "bind:"},      {TERN_NUMA_BIND, 1, "bind:0"},
        {TERN_NUMA_DEFAULT, 0, "default"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cache_fixture fixture;
        cache_fixture_open_placed(&fixture, LIMIT,
                                  (struct cache_placement){.huge_pages = TERN_HUGE_PAGES_OFF,
                                                           .numa = cases[i].placement,
                                                           .numa_nodes = cases[i].nodes});
        fill(&fixture, 2000);
        struct cache_placement_stats stats = stats_of(&fixture);
        uint64_t pages = 0;
        if (stats.numa != cases[i].placement) {
            assert_non_null(strstr(stats.numa_text, "unavailable"));
            print_message("%s\n", stats.numa_text);
        } else if (count_numa_pages(fixture.cache, cases[i].policy, &pages)) {
            assert_in_range(pages, 3900, 4600);
        }
        cache_fixture_close(&fixture);
    }
}

static void says_that_a_node_is_not_there(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open_placed(
        &fixture, LIMIT,
        (struct cache_placement){.numa = TERN_NUMA_BIND, .numa_nodes = UINT64_C(1) << 63});
    fill(&fixture, 100);
    assert_int_equal(stats_of(&fixture).numa, TERN_NUMA_DEFAULT);
    assert_non_null(strstr(stats_of(&fixture).numa_text, "unavailable"));
    cache_fixture_close(&fixture);
}

static void locks_what_it_uses_and_unlocks_what_it_gives_back(void **state) {
    (void)state;
    struct cache_fixture fixture;
    cache_fixture_open_placed(
        &fixture, LIMIT, (struct cache_placement){.huge_pages = TERN_HUGE_PAGES_OFF, .lock = true});
    fill(&fixture, 600); /* 6 MiB of chunks: the usual limit is 8 MiB */
    struct cache_placement_stats stats = stats_of(&fixture);
    if (stats.locked_bytes == 0) {
        assert_non_null(strstr(stats.lock_text, "RLIMIT_MEMLOCK"));
        cache_fixture_close(&fixture);
        skip();
    }
    struct smaps smaps = read_smaps(fixture.cache);
    assert_true(smaps.rss_kb >= 4500);
    assert_int_equal(smaps.locked_kb, smaps.rss_kb);
    assert_true(stats.locked_bytes / 1024 >= smaps.locked_kb);
    fill(&fixture, 20000);
    cache_set_limit(fixture.cache, 4 * MIB);
    epoch_synchronize(fixture.epoch);
    cache_set_limit(fixture.cache, 4 * MIB);
    assert_true(stats_of(&fixture).locked_bytes <= 6 * MIB);
    assert_true(read_smaps(fixture.cache).locked_kb <= 6 * 1024);
    assert_true(read_smaps(fixture.cache).rss_kb <= 6 * 1024);
    cache_fixture_close(&fixture);
}

/* In a process without privileges that may lock 6 MiB. Exit status 0: it did, and said so. */
static int lock_under_a_limit(void) {
    const struct rlimit limit = {6 * MIB, 6 * MIB};
    if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || (geteuid() == 0 && setuid(65534) != 0)) {
        return 2;
    }
    struct cache_fixture fixture;
    cache_fixture_open_placed(&fixture, LIMIT, (struct cache_placement){.lock = true});
    fill(&fixture, 4000);
    struct cache_placement_stats stats = stats_of(&fixture);
    bool is_told = strstr(stats.lock_text, "RLIMIT_MEMLOCK") != NULL;
    bool is_within = stats.locked_bytes >= 2 * MIB && stats.locked_bytes <= 6 * MIB;
    cache_fixture_close(&fixture);
    return is_told && is_within ? 0 : 1;
}

static void locks_no_more_than_the_limit_and_says_so(void **state) {
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        _exit(lock_under_a_limit());
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 2) {
        skip();
    }
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_made_of_transparent_huge_pages_by_default),
        cmocka_unit_test(is_made_of_small_pages_when_huge_ones_are_off),
        cmocka_unit_test(says_that_a_small_cache_has_small_pages),
        cmocka_unit_test(takes_reserved_huge_pages_or_says_that_there_are_none),
        cmocka_unit_test(takes_memory_of_the_nodes_asked_for),
        cmocka_unit_test(says_that_a_node_is_not_there),
        cmocka_unit_test(locks_what_it_uses_and_unlocks_what_it_gives_back),
        cmocka_unit_test(locks_no_more_than_the_limit_and_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
