/* SPDX-License-Identifier: Apache-2.0 */
/* What overlays needed fades with time, not with how often somebody looks. */
#include "support/cmocka_test.h"

#include <string.h>

#include "db/database_internal.h"
#include "support/seeded_random.h"
#include "support/virtual_clock.h"

#define BUDGET_BYTES  ((uint64_t)256 << 20)
#define OVERLAY_BYTES (BUDGET_BYTES / 4)
#define KEPT_BYTES    (OVERLAY_BYTES / 4) /* whatever was needed */
#define STEP_BYTES    (BUDGET_BYTES / 64) /* of the cache's limit */
#define MS            ((uint64_t)1000 * 1000)
#define FADED_NS      (2048 * 100 * MS) /* the whole share */

/* A database that has nothing but memory to share out. */
static struct tern_db db;
static struct virtual_clock test_clock;

static int setup(void **state) {
    (void)state;
    tern_error error = TERN_ERROR_INIT;
    memset(&db, 0, sizeof(db));
    virtual_clock_init(&test_clock);
    db.options.clock = virtual_clock_interface(&test_clock);
    db.options.memory_bytes = BUDGET_BYTES;
    db.options.overlay_bytes = OVERLAY_BYTES;
    db.budget.limit_bytes = BUDGET_BYTES;
    page_pool_init(&db.overlay_pool, OVERLAY_BYTES);
    assert_ok(epoch_domain_create(tern_allocator_default(), &db.manager.epoch, &error), error);
    memory_share_init(&db);
    const struct cache_options options = {.allocator = tern_allocator_default(),
                                          .epoch = db.manager.epoch,
                                          .budget = &db.budget,
                                          .limit_bytes = memory_cache_share(&db)};
    assert_ok(cache_create(&options, &db.cache, &error), error);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    cache_destroy(db.cache);
    epoch_domain_destroy(db.manager.epoch);
    return 0;
}

/* Looks at times of its own choice until so much time has passed. */
static void pass(struct seeded_random *random, uint64_t duration_ns, uint64_t pause_ns_max) {
    while (duration_ns > 0) {
        uint64_t pause = 1 + seeded_random_below(random, pause_ns_max);
        pause = pause < duration_ns ? pause : duration_ns;
        virtual_clock_advance_ns(&test_clock, pause);
        duration_ns -= pause;
        memory_share_again(&db);
    }
}

static void assert_near(uint64_t number, uint64_t expected, uint64_t slack) {
    assert_true(number <= expected + slack);
    assert_true(number + slack >= expected);
}

static void what_was_needed_fades_by_the_clock(void **state) {
    (void)state;
    /* As the task looks while nothing is spilled, while something is, and when it was held up. */
    static const uint64_t pauses[] = {100 * MS, 5 * MS, 3000 * MS, 250 * MS};
    struct seeded_random random;
    seeded_random_init(&random, seeded_random_seed("memory share"));
    uint64_t lent = cache_limit(db.cache);
    for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
        memory_take_back(&db);
        uint64_t taken = cache_limit(db.cache);
        assert_near(lent - taken, OVERLAY_BYTES - KEPT_BYTES, STEP_BYTES);
        /* The quarter that they keep anyway comes first. */
        pass(&random, FADED_NS / 4, pauses[i]);
        assert_near(cache_limit(db.cache), taken, STEP_BYTES);
        pass(&random, FADED_NS / 4, pauses[i]);
        assert_near(cache_limit(db.cache), taken + OVERLAY_BYTES / 4, STEP_BYTES);
        pass(&random, FADED_NS / 4, pauses[i]);
        assert_near(cache_limit(db.cache), taken + OVERLAY_BYTES / 2, STEP_BYTES);
        pass(&random, FADED_NS / 4, pauses[i]);
        assert_near(cache_limit(db.cache), lent, STEP_BYTES);
    }
}

static void nobody_who_has_not_looked_for_long_forgets_more_than_there_is(void **state) {
    (void)state;
    uint64_t lent = cache_limit(db.cache);
    memory_take_back(&db);
    virtual_clock_advance_ns(&test_clock, 1000 * FADED_NS);
    memory_share_again(&db);
    assert_near(cache_limit(db.cache), lent, STEP_BYTES);
    /* Nor does the time that has passed count twice. */
    memory_take_back(&db);
    uint64_t taken = cache_limit(db.cache);
    memory_share_again(&db);
    assert_near(cache_limit(db.cache), taken, STEP_BYTES);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_needed_fades_by_the_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(
            nobody_who_has_not_looked_for_long_forgets_more_than_there_is, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
