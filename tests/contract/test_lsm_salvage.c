/* SPDX-License-Identifier: Apache-2.0 */
/* What salvage says of blocks and tables that cannot be read: which keys they had. */
#include <stdio.h>
#include <stdlib.h>

#include "base/compare.h"
#include "base/slice_text.h"
#include "engine/lsm/index_block.h"
#include "engine/lsm/lsm_engine_internal.h"
#include "support/cmocka_test.h"
#include "support/engine_world.h"

#define KEYS  20000u
#define BATCH 500u

static void name_key(unsigned index, char out_key[16]) {
    (void)snprintf(out_key, 16, "%08u", index);
}

/* All keys, with values of 200 bytes, in one run. */
static void begin(struct engine_world *world, uint32_t fan_out) {
    static char keys[BATCH][16];
    static struct world_change changes[BATCH];
    static char value[200];
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.page_bytes = 4096;
    options.fan_out = fan_out;
    world_create(world, engine_methods_of(TERN_ENGINE_LSM), &options, (uint64_t)16 << 20, 1,
                 tern_allocator_default());
    assert_ok(world_open(world, 0, &error), error);
    for (unsigned i = 0; i < KEYS; i += BATCH) {
        for (unsigned j = 0; j < BATCH; j++) {
            name_key(i + j, keys[j]);
            changes[j] = (struct world_change){.kind = RECORD_PUT,
                                               .key = tern_slice_str(keys[j]),
                                               .value = tern_slice_of(value, sizeof(value))};
        }
        assert_ok(world_commit(world, changes, BATCH, &error), error);
    }
    bool idle = false;
    assert_ok(world_freeze(world, &error), error);
    while (!idle) {
        assert_ok(world_drain_step(world, 1 << 20, &idle, &error), error);
    }
}

static const struct lsm_run *run_of(const struct engine_world *world) {
    const struct lsm_version *version = lsm_of(world->engine)->current->version;
    assert_int_equal(version->run_count, 1);
    return &version->runs[0];
}

/* Another byte in the middle of what lies there. */
static void damage(struct engine_world *world, const struct lsm_table *table, uint64_t offset,
                   uint64_t size) {
    char path[FILE_PATH_BYTES];
    uint8_t byte = 0;
    size_t read = 0;
    tern_file *file = NULL;
    tern_error error = TERN_ERROR_INIT;
    const tern_file_system *system = world->environment.file_system;
    assert_ok(lsm_file_path(table->lsm, table->number, LSM_FILE_TABLE, path, &error), error);
    assert_ok(system->open(system->context, path, 0, &file, &error), error);
    assert_ok(file_read(file, offset + size / 2, &byte, 1, &read, &error), error);
    byte ^= 0x10;
    assert_ok(file_write(file, offset + size / 2, &byte, 1, &error), error);
    assert_ok(file_close(file, &error), error);
}

struct found {
    bool has_key[KEYS];
    unsigned findings;
    char invariant[32];
    char message[1024];
};

static tern_status save_record(void *context, tern_slice key, const struct record *record,
                               uint64_t generation) {
    struct found *found = context;
    char text[16] = {0};
    (void)record;
    (void)generation;
    memcpy(text, key.data, key.size);
    found->has_key[strtoul(text, NULL, 10)] = true;
    return TERN_OK;
}

static bool note_finding(void *context, const tern_finding *finding) {
    struct found *found = context;
    found->findings++;
    (void)snprintf(found->invariant, sizeof(found->invariant), "%s", finding->invariant);
    (void)snprintf(found->message, sizeof(found->message), "%s", finding->message);
    return true;
}

/* Salvages; one place is told of, and the keys that are not found are one stretch. */
static void salvage(struct engine_world *world, struct found *found, unsigned *out_first,
                    unsigned *out_end) {
    tern_error error = TERN_ERROR_INIT;
    uint64_t lost = 0;
    unsigned first = 0;
    unsigned end = KEYS;
    memset(found, 0, sizeof(*found));
    tern_slice state = tern_slice_of(world->manifests[0].state, world->manifests[0].size);
    assert_ok(world->methods->salvage(&world->environment, &world->config, state, save_record,
                                      found, note_finding, found, &lost, &error),
              error);
    assert_true(lost > 0);
    assert_int_equal(found->findings, 1);
    while (first < KEYS && found->has_key[first]) {
        first++;
    }
    while (end > first && found->has_key[end - 1]) {
        end--;
    }
    assert_true(first < end);
    for (unsigned i = first; i < end; i++) {
        assert_false(found->has_key[i]);
    }
    *out_first = first;
    *out_end = end;
}

static void assert_says(const struct found *found, const char *text) {
    if (strstr(found->message, text) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", found->message, text);
    }
}

/* Whether the key is the `index`th, or the beginning of it that no key before has. */
static void assert_separates(tern_slice separator, unsigned index) {
    char key[16];
    name_key(index, key);
    assert_true(slice_compare(separator, tern_slice_str(key)) <= 0);
    if (index > 0) {
        name_key(index - 1, key);
        assert_true(slice_compare(separator, tern_slice_str(key)) > 0);
    }
}

static void keys_of_a_damaged_block_are_named(void **state) {
    (void)state;
    static struct found found;
    struct engine_world world;
    struct buffer index;
    struct buffer keys[2];
    char text[2][SLICE_TEXT_BYTES];
    char wanted[3 * SLICE_TEXT_BYTES];
    unsigned first = 0;
    unsigned end = 0;
    tern_error error = TERN_ERROR_INIT;
    begin(&world, 128);
    struct lsm_table *table = run_of(&world)->tables[0];
    assert_true(table->partition_count > 2);
    buffer_init(&index, world.allocator);
    buffer_init(&keys[0], world.allocator);
    buffer_init(&keys[1], world.allocator);
    assert_ok(
        table_read_block(table, table->partitions[1].index, LSM_PAYLOAD_INDEX, &index, &error),
        error);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(index_block_separator(index.data, 3 + i, &keys[i]), TERN_OK);
        (void)slice_text(buffer_slice(&keys[i]), text[i]);
    }
    lsm_place place = index_block_ref(index.data, 3).place;
    damage(&world, table, lsm_place_offset(place), lsm_place_bytes(place));
    salvage(&world, &found, &first, &end);
    assert_string_equal(found.invariant, "data.block");
    (void)snprintf(wanted, sizeof(wanted), "its records, from %s to before %s,", text[0], text[1]);
    assert_says(&found, wanted);
    assert_separates(buffer_slice(&keys[0]), first);
    assert_separates(buffer_slice(&keys[1]), end);
    buffer_release(&index);
    buffer_release(&keys[0]);
    buffer_release(&keys[1]);
    world_destroy(&world);
}

static void keys_of_the_last_block_are_named_up_to_the_last(void **state) {
    (void)state;
    static struct found found;
    struct engine_world world;
    struct buffer index;
    char key[16];
    char wanted[64];
    unsigned first = 0;
    unsigned end = 0;
    tern_error error = TERN_ERROR_INIT;
    begin(&world, 128);
    const struct lsm_run *run = run_of(&world);
    struct lsm_table *table = run->tables[run->count - 1];
    const struct table_partition *last = &table->partitions[table->partition_count - 1];
    buffer_init(&index, world.allocator);
    assert_ok(table_read_block(table, last->index, LSM_PAYLOAD_INDEX, &index, &error), error);
    lsm_place place = index_block_ref(index.data, last->block_count - 1).place;
    damage(&world, table, lsm_place_offset(place), lsm_place_bytes(place));
    salvage(&world, &found, &first, &end);
    assert_int_equal(end, KEYS);
    name_key(KEYS - 1, key);
    (void)snprintf(wanted, sizeof(wanted), " to \"%s\",", key);
    assert_says(&found, wanted);
    buffer_release(&index);
    world_destroy(&world);
}

static void keys_of_a_damaged_index_are_counted_and_named(void **state) {
    (void)state;
    static struct found found;
    struct engine_world world;
    char text[2][SLICE_TEXT_BYTES];
    char wanted[3 * SLICE_TEXT_BYTES];
    unsigned first = 0;
    unsigned end = 0;
    begin(&world, 128);
    struct lsm_table *table = run_of(&world)->tables[0];
    const struct table_partition *partition = &table->partitions[1];
    lsm_place place = partition->index.place;
    damage(&world, table, lsm_place_offset(place), lsm_place_bytes(place));
    salvage(&world, &found, &first, &end);
    assert_int_equal(end - first, partition->records);
    (void)snprintf(wanted, sizeof(wanted), "of %u records, from %s to before %s,", end - first,
                   slice_text(partition->lower, text[0]), slice_text(partition[1].lower, text[1]));
    assert_says(&found, wanted);
    assert_separates(partition->lower, first);
    assert_separates(partition[1].lower, end);
    world_destroy(&world);
}

static void keys_of_a_lost_table_lie_between_its_neighbours(void **state) {
    (void)state;
    static struct found found;
    for (unsigned which = 0; which < 3; which++) {
        struct engine_world world;
        char text[2][SLICE_TEXT_BYTES] = {"the first", "the last"};
        char wanted[3 * SLICE_TEXT_BYTES];
        char key[16];
        unsigned first = 0;
        unsigned end = 0;
        begin(&world, 16);
        const struct lsm_run *run = run_of(&world);
        assert_true(run->count > 4);
        uint32_t at = which == 0 ? 0 : which == 1 ? 2 : run->count - 1;
        const struct lsm_table *table = run->tables[at];
        damage(&world, table, table->file_bytes - LSM_FOOTER_BYTES, LSM_FOOTER_BYTES);
        salvage(&world, &found, &first, &end);
        assert_string_equal(found.invariant, "table.open");
        assert_int_equal(end - first, table->numbers.records);
        if (which > 0) {
            name_key(first - 1, key);
            (void)slice_text(tern_slice_str(key), text[0]);
        }
        if (which < 2) {
            name_key(end, key);
            (void)slice_text(tern_slice_str(key), text[1]);
        }
        (void)snprintf(wanted, sizeof(wanted), "its records, from %s%s to %s%s,",
                       which > 0 ? "behind " : "", text[0], which < 2 ? "before " : "", text[1]);
        assert_says(&found, wanted);
        world_destroy(&world);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_a_damaged_block_are_named),
        cmocka_unit_test(keys_of_the_last_block_are_named_up_to_the_last),
        cmocka_unit_test(keys_of_a_damaged_index_are_counted_and_named),
        cmocka_unit_test(keys_of_a_lost_table_lie_between_its_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
