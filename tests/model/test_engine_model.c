/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=900
 *
 * Random operations on an engine against an oracle: commits of every kind, snapshots, freezes,
 * drains in slices with commits between them, compaction, also quantum by quantum amid all that,
 * changes of its style, shrinking, and reopening from either manifest with a replay of the log.
 *
 * TERN_SEED replays a run; TERN_STEPS makes it longer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tern/txn.h>

#include "support/cmocka_test.h"
#include "support/engine_world.h"

#define KEYS 700u

struct run {
    struct engine_world world;
    struct seeded_random random;
    uint8_t key[6000];
    uint8_t end[6000];
    uint8_t value[400000];
    size_t key_bytes_max;
    bool has_large;
    bool changes_style;
};

/* Families of keys: short, with a long shared prefix, very long, binary. */
static tern_slice random_key(struct run *run, uint8_t *buffer) {
    uint64_t n = seeded_random_below(&run->random, KEYS);
    char text[64];
    size_t size = 0;
    switch (n % 4) {
    case 0:
        size = (size_t)snprintf(text, sizeof(text), "k%llu", (unsigned long long)n);
        memcpy(buffer, text, size);
        break;
    case 1:
        memset(buffer, 'p', 90);
        size = 90 + (size_t)snprintf(text, sizeof(text), "%06llu", (unsigned long long)n);
        memcpy(buffer + 90, text, size - 90);
        break;
    case 2:
        buffer[0] = (uint8_t)(n * 37);
        buffer[1] = (uint8_t)n;
        buffer[2] = 0;
        buffer[3] = (uint8_t)(n >> 4);
        size = 1 + n % 4;
        break;
    default:
        if (n % 16 == 3) {
            size = run->key_bytes_max - n % 7;
            memset(buffer, (int)(n % 3) + 'x', size);
            memcpy(buffer + size - 8, &n, 8);
        } else {
            size = 16;
            memset(buffer, 0xff, size);
            memcpy(buffer + 4, &n, 4);
        }
        break;
    }
    return tern_slice_of(buffer, size);
}

static struct world_change random_change(struct run *run, uint8_t *key, uint8_t *value,
                                         size_t capacity) {
    struct seeded_random *random = &run->random;
    struct world_change change = {.kind = RECORD_PUT, .key = random_key(run, key)};
    uint64_t what = seeded_random_below(random, 100);
    size_t size = (size_t)seeded_random_below(random, 150);
    if (what < 55) {
        if (seeded_random_chance(random, 1, 10)) {
            size = (size_t)seeded_random_below(random, capacity < 4000 ? capacity : 4000);
        }
        if (seeded_random_chance(random, 1, 8)) {
            change.expires_ms = run->world.time_ms + seeded_random_below(random, 400);
        }
    } else if (what < 75) {
        change.kind = RECORD_DELETE;
        size = 0;
    } else if (what < 97) {
        change.kind = RECORD_MERGE;
        change.merge_kind =
            seeded_random_chance(random, 1, 2)
                ? TERN_MERGE_ADD
                : (seeded_random_chance(random, 1, 2) ? TERN_MERGE_APPEND : TERN_MERGE_MAX);
        size = change.merge_kind == TERN_MERGE_ADD ? 8 : size % 20;
    } else if (what < 99) {
        change.kind = CHANGE_DELETE_RANGE;
        change.range_has_end = seeded_random_chance(random, 9, 10);
        change.value = random_key(run, run->end);
        if (change.range_has_end && seeded_random_chance(random, 3, 4)) {
            /* Short: the end is the begin with a little more. */
            memcpy(run->end, change.key.data, change.key.size);
            run->end[change.key.size - 1] = (uint8_t)(run->end[change.key.size - 1] + 1);
            change.value = tern_slice_of(run->end, change.key.size);
        }
        if (!change.range_has_end && !seeded_random_chance(random, 1, 8)) {
            change.kind = RECORD_DELETE;
        }
        if (change.kind == CHANGE_DELETE_RANGE) {
            if (!change.range_has_end) {
                change.value = tern_slice_of(NULL, 0);
            }
            return change;
        }
        size = 0;
    } else if (run->has_large) {
        change.kind = RECORD_LARGE;
        size = (size_t)seeded_random_below(random, sizeof(run->value) - 1) + 1;
        value = run->value;
    }
    seeded_random_fill(random, value, size < 64 ? size : 64);
    for (size_t i = 64; i < size; i++) {
        value[i] = (uint8_t)(i * 7 + value[i % 64]);
    }
    change.value = tern_slice_of(value, size);
    return change;
}

static void commit(struct run *run) {
    static uint8_t keys[8][6000];
    static uint8_t values[8][4096];
    struct world_change changes[8];
    tern_error error = TERN_ERROR_INIT;
    size_t count = 1 + (size_t)seeded_random_below(&run->random, 8);
    bool has_big = false;
    for (size_t i = 0; i < count; i++) {
        changes[i] = random_change(run, keys[i], values[i], sizeof(values[i]));
        bool is_big = changes[i].kind == RECORD_LARGE || changes[i].kind == CHANGE_DELETE_RANGE;
        if (is_big && has_big) { /* they share one buffer */
            changes[i].kind = RECORD_DELETE;
            changes[i].value = tern_slice_of(NULL, 0);
        }
        has_big = has_big || is_big;
    }
    assert_ok(world_commit(&run->world, changes, count, &error), error);
}

static void reopen(struct run *run) {
    struct engine_world *world = &run->world;
    tern_error error = TERN_ERROR_INIT;
    world_close(world);
    size_t index = (size_t)seeded_random_below(&run->random, WORLD_MANIFESTS);
    assert_ok(world_open(world, index, &error), error);
    world_verify(world);
    world_check_now(world);
}

/* One quantum, of what may take many; what it has done may be shown at once, or later. */
static void work_some(struct run *run) {
    struct engine_world *world = &run->world;
    tern_error error = TERN_ERROR_INIT;
    enum engine_drain_state state = ENGINE_DRAIN_IDLE;
    bool is_asked = seeded_random_chance(&run->random, 1, 3);
    tern_status status = TERN_OK;
    if (is_asked) {
        status = world->methods->compact_step(world->engine, 1, &state, &error);
    } else if (world->methods->maintain_step != NULL) {
        status = world->methods->maintain_step(world->engine, 1, &state, &error);
    }
    assert_ok(status, error);
    if (state == ENGINE_DRAIN_SLICE && seeded_random_chance(&run->random, 1, 2)) {
        assert_ok(world_publish(world, &error), error);
        world_verify(world);
    }
}

static void restyle(struct run *run) {
    struct engine_world *world = &run->world;
    if (run->changes_style && world->methods->restyle != NULL) {
        tern_keyspace_options *options = &world->config.options;
        options->compaction = (tern_compaction)seeded_random_below(&run->random, 3);
        world->methods->restyle(world->engine, options);
    }
}

static void step(struct run *run) {
    struct engine_world *world = &run->world;
    struct seeded_random *random = &run->random;
    tern_error error = TERN_ERROR_INIT;
    uint64_t what = seeded_random_below(random, 1000);
    bool idle = false;
    if (run->changes_style && seeded_random_chance(random, 1, 4)) {
        work_some(run);
        return;
    }
    if (what < 700) {
        commit(run);
    } else if (what < 740) {
        world_snapshot_take(world);
    } else if (what < 780) {
        if (world->snapshot_count > 0) {
            world_snapshot_drop(world, (size_t)seeded_random_below(random, world->snapshot_count));
        }
    } else if (what < 810) {
        tern_status status = world_freeze(world, &error);
        assert_true(status == TERN_OK || status == TERN_NO_MEMORY);
    } else if (what < 930) {
        size_t quantum = (size_t)1 << seeded_random_below(random, 18);
        assert_ok(world_drain_step(world, quantum, &idle, &error), error);
        if (seeded_random_chance(random, 1, 3)) {
            assert_ok(world_publish(world, &error), error);
            world_verify(world);
        }
    } else if (what < 935) {
        assert_ok(world_compact(world, &error), error);
        world_verify(world);
    } else if (what < 940) {
        assert_ok(world_maintain(world, &error), error);
        world_verify(world);
    } else if (what < 943) {
        work_some(run);
        restyle(run);
    } else if (what < 950) {
        uint64_t freed = 0;
        world_release(world);
        assert_ok(world->methods->shrink(world->engine, &freed, &error), error);
    } else if (what < 960) {
        reopen(run);
    } else if (what < 970) {
        world_check_now(world);
        world_check_snapshots(world);
    } else {
        const struct engine_moment moment = world_moment(world);
        world_check_key(world, world->view, &moment, &world->now, random_key(run, run->key));
    }
}

/* `hash` NULL: as the options say. */
static void run_model_with(const tern_keyspace_options *options, bool has_large, bool changes_style,
                           uint64_t cache_bytes, uint64_t seed, unsigned steps,
                           uint64_t (*hash)(const void *bytes, size_t size, uint64_t seed)) {
    struct run *run = calloc(1, sizeof(*run));
    tern_error error = TERN_ERROR_INIT;
    assert_non_null(run);
    seeded_random_init(&run->random, seed);
    world_create(&run->world, engine_methods_of(options->engine), options, cache_bytes, seed,
                 tern_allocator_default());
    if (hash != NULL) {
        run->world.config.hasher.hash = hash;
    }
    run->key_bytes_max = run->world.methods->key_bytes_max(options);
    run->has_large = has_large;
    run->changes_style = changes_style;
    assert_ok(world_open(&run->world, 0, &error), error);
    for (unsigned i = 0; i < steps; i++) {
        step(run);
    }
    assert_ok(world_checkpoint(&run->world, &error), error);
    world_verify(&run->world);
    world_check_now(&run->world);
    world_check_snapshots(&run->world);
    reopen(run);
    world_destroy(&run->world);
    free(run);
}

static void run_model(const tern_keyspace_options *options, bool has_large, uint64_t cache_bytes,
                      uint64_t seed, unsigned steps) {
    run_model_with(options, has_large, false, cache_bytes, seed, steps, NULL);
}

static unsigned steps_wanted(void) {
    const char *text = getenv("TERN_STEPS");
    return text != NULL ? (unsigned)strtoul(text, NULL, 10) : 2500;
}

static void agrees_with_the_oracle_on_small_pages(void **state) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = *(const tern_engine_kind *)*state;
    options.page_bytes = 4096;
    options.fan_out = 16;
    run_model(&options, false, 0, seeded_random_seed("engine model, small pages"), steps_wanted());
}

static void agrees_with_the_oracle_with_large_values(void **state) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = *(const tern_engine_kind *)*state;
    options.hash_index = TERN_HASH_INDEX_ROBIN_HOOD;
    options.page_bytes = 8192;
    options.fan_out = 16;
    run_model(&options, true, (uint64_t)8 << 20, seeded_random_seed("engine model, large values"),
              steps_wanted() / 2);
}

static void agrees_with_the_oracle_when_compressed(void **state) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = *(const tern_engine_kind *)*state;
    options.page_bytes = 4096;
    options.fan_out = 16;
    options.hash_index = TERN_HASH_INDEX_TAG_GROUPS;
    options.compression = TERN_COMPRESSION_LZ4;
    options.fill_percent = 60;
    run_model(&options, true, (uint64_t)4 << 20, seeded_random_seed("engine model, compressed"),
              steps_wanted() / 2);
}

static void agrees_with_the_oracle_in_tiers(void **state) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = *(const tern_engine_kind *)*state;
    options.page_bytes = 4096;
    options.fan_out = 16;
    options.compaction = TERN_COMPACTION_TIERED;
    run_model(&options, true, (uint64_t)4 << 20, seeded_random_seed("engine model, tiers"),
              steps_wanted() / 2);
}

static void agrees_with_the_oracle_first_in_first_out(void **state) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = *(const tern_engine_kind *)*state;
    options.page_bytes = 4096;
    options.fan_out = 16;
    options.compaction = TERN_COMPACTION_FIFO;
    run_model(&options, true, (uint64_t)4 << 20, seeded_random_seed("engine model, FIFO"),
              steps_wanted() / 2);
}

static void agrees_with_the_oracle_amid_merges_of_changing_style(void **state) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = *(const tern_engine_kind *)*state;
    options.page_bytes = 4096;
    options.fan_out = 16;
    options.filter_bits = TERN_FILTER_OFF;
    run_model_with(&options, true, true, (uint64_t)4 << 20,
                   seeded_random_seed("engine model, changing style"), steps_wanted() * 2, NULL);
}

static void agrees_with_the_oracle_with_every_hash_function(void **state) {
    (void)state;
    for (int function = 0; function <= TERN_HASH_FUNCTION_FNV1A; function++) {
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        options.engine = TERN_ENGINE_HASH;
        options.page_bytes = 4096;
        options.hash_index = (tern_hash_index)function;
        options.hash_function = (tern_hash_function)function;
        run_model(&options, false, (uint64_t)2 << 20,
                  seeded_random_seed("engine model, hash functions"), steps_wanted() / 2);
    }
}

/* All keys agree in all bits, or do so in a few groups. */
static uint64_t hash_to_one(const void *bytes, size_t size, uint64_t seed) {
    (void)bytes;
    (void)size;
    return seed << 32 | 5;
}

static uint64_t hash_to_few(const void *bytes, size_t size, uint64_t seed) {
    return size == 0 ? seed : (((const uint8_t *)bytes)[size - 1] % 5u) << 30;
}

static void agrees_with_the_oracle_when_keys_collide(void **state) {
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        options.engine = TERN_ENGINE_HASH;
        options.page_bytes = 4096;
        options.hash_index = (tern_hash_index)(i % 3);
        run_model_with(&options, i == 2, false, (uint64_t)2 << 20,
                       seeded_random_seed("engine model, collisions"), steps_wanted() / 2,
                       i < 3 ? hash_to_one : hash_to_few);
    }
}

int main(void) {
    static tern_engine_kind engines[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH, TERN_ENGINE_LSM};
    int failed = 0;
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        void *engine = &engines[i];
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(agrees_with_the_oracle_on_small_pages, engine),
            cmocka_unit_test_prestate(agrees_with_the_oracle_with_large_values, engine),
            cmocka_unit_test_prestate(agrees_with_the_oracle_when_compressed, engine),
            cmocka_unit_test_prestate(agrees_with_the_oracle_in_tiers, engine),
            cmocka_unit_test_prestate(agrees_with_the_oracle_first_in_first_out, engine),
            cmocka_unit_test_prestate(agrees_with_the_oracle_amid_merges_of_changing_style, engine),
        };
        /* The styles of compaction are the last three, and only one engine has them. */
        size_t count = sizeof(tests) / sizeof(tests[0]);
        count -= engines[i] == TERN_ENGINE_LSM ? 0 : 3;
        failed += _cmocka_run_group_tests("engine model", tests, count, NULL, NULL);
    }
    const struct CMUnitTest hashed[] = {
        cmocka_unit_test(agrees_with_the_oracle_with_every_hash_function),
        cmocka_unit_test(agrees_with_the_oracle_when_keys_collide),
    };
    failed += cmocka_run_group_tests(hashed, NULL, NULL);
    return failed;
}
