/* SPDX-License-Identifier: Apache-2.0 */
/* The policies by number and name. */
#include "cache/cache_policy.h"

#include <string.h>

/* A build may choose another default, so that every test can be run under every policy. */
#ifndef CACHE_POLICY_DEFAULT
#define CACHE_POLICY_DEFAULT TERN_CACHE_POLICY_CLOCK_PRO
#endif

static const struct cache_policy_methods *const policies[] = {
    [TERN_CACHE_POLICY_CLOCK] = &cache_policy_clock,
    [TERN_CACHE_POLICY_ARC] = &cache_policy_arc,
    [TERN_CACHE_POLICY_CLOCK_PRO] = &cache_policy_clock_pro,
    [TERN_CACHE_POLICY_TINYLFU] = &cache_policy_tinylfu,
    [TERN_CACHE_POLICY_SLRU] = &cache_policy_slru,
    [TERN_CACHE_POLICY_LRU] = &cache_policy_lru,
};
#define POLICIES (sizeof(policies) / sizeof(policies[0]))

tern_cache_policy cache_policy_resolve(tern_cache_policy policy) {
    return policy == TERN_CACHE_POLICY_DEFAULT ? CACHE_POLICY_DEFAULT : policy;
}

const struct cache_policy_methods *cache_policy_methods_of(tern_cache_policy policy) {
    size_t number = (size_t)cache_policy_resolve(policy);
    return number < POLICIES ? policies[number] : NULL;
}

const char *cache_policy_name(tern_cache_policy policy) {
    const struct cache_policy_methods *methods = cache_policy_methods_of(policy);
    return methods != NULL ? methods->name : NULL;
}

bool cache_policy_parse(const char *name, tern_cache_policy *out_policy) {
    for (size_t i = 1; i < POLICIES; i++) {
        if (strcmp(name, policies[i]->name) == 0) {
            *out_policy = (tern_cache_policy)i;
            return true;
        }
    }
    return false;
}
