/* SPDX-License-Identifier: Apache-2.0 */
/* One number of tern_keyspace_stats by its name, which must be there. */
#ifndef TERN_TESTS_KEYSPACE_STAT_H
#define TERN_TESTS_KEYSPACE_STAT_H

#include <stdint.h>
#include <string.h>
#include <tern/tern.h>

#include "support/cmocka_test.h"

struct wanted_stat {
    const char *name;
    uint64_t value;
};

static inline bool match_stat(void *context, const tern_stat *stat) {
    struct wanted_stat *wanted = context;
    if (strcmp(stat->name, wanted->name) == 0) {
        wanted->value = stat->value;
    }
    return true;
}

static inline uint64_t keyspace_stat(tern_keyspace *keyspace, const char *name) {
    struct wanted_stat wanted = {name, UINT64_MAX};
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_keyspace_stats(keyspace, match_stat, &wanted, &error), error);
    assert_true(wanted.value != UINT64_MAX);
    return wanted.value;
}

#endif
