/* SPDX-License-Identifier: Apache-2.0 */
#include "cold_world.h"

#include <stdio.h>

#include "support/cmocka_test.h"

struct hash_engine *cold_world_engine(const struct engine_world *world) {
    return (struct hash_engine *)world->engine;
}

uint64_t cold_world_entries(const struct engine_world *world) {
    return atomic_load(&cold_world_engine(world)->cold.entries);
}

void cold_world_begin(struct engine_world *world, uint64_t budget_bytes, uint64_t cache_bytes) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.page_bytes = 4096;
    world_create(world, &hash_engine_methods, &options, cache_bytes, 1, tern_allocator_default());
    world->budget.limit_bytes = budget_bytes;
    assert_ok(world_open(world, 0, &error), error);
}

void cold_world_put(struct engine_world *world, unsigned from, unsigned to, unsigned step,
                    unsigned round) {
    static char keys[64][32];
    static char values[64][64];
    struct world_change changes[64];
    tern_error error = TERN_ERROR_INIT;
    size_t count = 0;
    for (unsigned i = from; i < to; i += step) {
        int size = snprintf(keys[count], sizeof(keys[0]), "key-%u", i);
        int value = snprintf(values[count], sizeof(values[0]), "%u of round %u", i, round);
        changes[count] = (struct world_change){
            .kind = round == 0 ? RECORD_DELETE : RECORD_PUT,
            .key = tern_slice_of(keys[count], (size_t)size),
            .value = tern_slice_of(values[count], round == 0 ? 0 : (size_t)value)};
        if (++count == 64 || i + step >= to) {
            assert_ok(world_commit(world, changes, count, &error), error);
            count = 0;
        }
    }
}
