/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: only=release
 * ctest: timeout=300
 *
 * Overlays of old snapshots stand in temporary files: what readers bring back of them into memory
 * does not become much, also when no background work comes round to let it go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_fixture.h"

#define SNAPSHOTS   12u
#define KEYS        24000u
#define VALUE_BYTES 200u
#define MIB         ((uint64_t)1 << 20)

/* Memory of the process that is mapped from files. */
static uint64_t file_bytes(void) {
    FILE *file = fopen("/proc/self/status", "re");
    char line[200];
    uint64_t kib = 0;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "RssFile:", 8) == 0) {
            kib = strtoull(line + 8, NULL, 10);
        }
    }
    assert_int_equal(fclose(file), 0);
    return kib << 10;
}

static void overwrite(struct api_fixture *fixture, unsigned round) {
    char value[VALUE_BYTES + 1];
    memset(value, (int)('a' + round), VALUE_BYTES);
    value[VALUE_BYTES] = '\0';
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%08u", (i * 7919u + round) % KEYS);
        api_put(fixture->keyspace, key, value);
        if (i % 2000 == 0) {
            api_fixture_pass_ms(fixture, 20);
        }
    }
}

static uint64_t scan(tern_txn *txn, tern_keyspace *keyspace, unsigned round, uint64_t *peak) {
    tern_cursor *cursor = NULL;
    tern_entry entries[64];
    size_t count = 0;
    uint64_t total = 0;
    assert_ok(tern_cursor_open(txn, keyspace, NULL, &cursor), *tern_txn_error(txn));
    while (tern_cursor_next_batch(cursor, entries, 64, &count) == TERN_OK) {
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(((const char *)entries[i].value.data)[0], 'a' + (int)round);
        }
        total += count;
        uint64_t now = total % 512 < 64 ? file_bytes() : 0;
        *peak = now > *peak ? now : *peak;
    }
    tern_cursor_close(cursor);
    return total;
}

static void read_points(tern_txn *txn, tern_keyspace *keyspace, unsigned round, uint64_t *peak) {
    char value[VALUE_BYTES];
    size_t size = 0;
    for (unsigned i = 0; i < 2000; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%08u", i * 104729u % KEYS);
        assert_ok(tern_txn_get(txn, keyspace, tern_slice_str(key), value, sizeof(value), &size),
                  *tern_txn_error(txn));
        assert_int_equal(value[0], 'a' + (int)round);
        uint64_t now = i % 16 == 0 ? file_bytes() : 0;
        *peak = now > *peak ? now : *peak;
    }
}

static void what_readers_of_old_snapshots_bring_back_goes_again(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_txn *snapshots[SNAPSHOTS];
    api_fixture_init_closed(&fixture, true);
    fixture.options.memory_bytes = 48 * MIB;
    fixture.options.overlay_bytes = 6 * MIB;
    fixture.options.durability = TERN_DURABILITY_NONE;
    api_fixture_open(&fixture);
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        overwrite(&fixture, i);
        snapshots[i] = api_begin_reading(&fixture);
    }
    overwrite(&fixture, SNAPSHOTS);
    api_fixture_pass_ms(&fixture, 200);
    uint64_t spilled = api_stat(fixture.db, "memory_spilled_bytes");
    uint64_t before = file_bytes();
    uint64_t peak = before;
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        assert_int_equal(scan(snapshots[i], fixture.keyspace, i, &peak), KEYS);
    }
    print_message("%llu bytes spilled; from files %llu before, %llu at most by scans",
                  (unsigned long long)spilled, (unsigned long long)before,
                  (unsigned long long)peak);
    assert_true(spilled > 24 * MIB);
    assert_true(peak < before + 8 * MIB);
    peak = before;
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        read_points(snapshots[i], fixture.keyspace, i, &peak);
    }
    print_message(", %llu by single reads\n", (unsigned long long)peak);
    assert_true(peak < before + 8 * MIB);
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        tern_txn_free(snapshots[i]);
    }
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_readers_of_old_snapshots_bring_back_goes_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
