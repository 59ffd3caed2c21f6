/* SPDX-License-Identifier: Apache-2.0 */
/* Stated limits: what is just allowed works, what is just over is refused and says why. */
#include <stdlib.h>

#include "api_fixture.h"
#include "support/fault_allocator.h"

static tern_status put_sized(tern_keyspace *keyspace, size_t key_bytes, size_t value_bytes,
                             tern_error *error) {
    char *key = calloc(1, key_bytes + 1);
    char *value = calloc(1, value_bytes + 1);
    memset(key, 'k', key_bytes);
    tern_status status = tern_put(keyspace, tern_slice_of(key, key_bytes),
                                  tern_slice_of(value, value_bytes), NULL, error);
    free(value);
    free(key);
    return status;
}

static void keys_are_as_long_as_the_page_allows(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init(&fixture, false);
    for (uint32_t page = 4096; page <= 65536; page *= 2) {
        char name[16];
        tern_keyspace *keyspace;
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        options.page_bytes = page;
        (void)snprintf(name, sizeof(name), "p%u", page);
        assert_ok(tern_keyspace_create(fixture.db, name, &options, &keyspace, &error), error);
        size_t longest = tern_keyspace_key_bytes_max(keyspace);
        assert_int_equal(longest, page / 8 * 5);
        assert_ok(put_sized(keyspace, longest, 10, &error), error);
        assert_ok(put_sized(keyspace, longest - 1, 3000, &error), error);
        assert_ok(put_sized(keyspace, 1, 0, &error), error);
        assert_int_equal(put_sized(keyspace, longest + 1, 10, &error), TERN_TOO_LARGE);
        assert_true(strlen(error.message) > 0);
        assert_int_equal(put_sized(keyspace, 0, 10, &error), TERN_INVALID);
    }
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    api_assert_sound(fixture.db);
    for (uint32_t page = 4096; page <= 65536; page *= 2) {
        char name[16];
        tern_keyspace *keyspace;
        uint64_t count;
        (void)snprintf(name, sizeof(name), "p%u", page);
        assert_ok(tern_keyspace_open(fixture.db, name, &keyspace, &error), error);
        tern_txn *txn = api_begin_reading(&fixture);
        assert_ok(tern_txn_count(txn, keyspace, NULL, NULL, &count), *tern_txn_error(txn));
        assert_int_equal(count, 3);
        tern_txn_free(txn);
    }
    api_fixture_release(&fixture);
}

static void a_buffer_too_small_takes_what_fits(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    char buffer[8] = "zzzzzzz";
    size_t size = 0;
    api_fixture_init(&fixture, false);
    api_put(fixture.keyspace, "k", "0123456789");
    tern_slice key = tern_slice_str("k");
    assert_int_equal(tern_get(fixture.keyspace, key, buffer, 4, &size, &error),
                     TERN_BUFFER_TOO_SMALL);
    assert_int_equal(size, 10);
    assert_memory_equal(buffer, "0123zzz", 8);
    assert_int_equal(tern_get(fixture.keyspace, key, NULL, 0, &size, &error),
                     TERN_BUFFER_TOO_SMALL);
    tern_txn *txn = api_begin(&fixture);
    assert_int_equal(tern_txn_get(txn, fixture.keyspace, key, buffer, 3, &size),
                     TERN_BUFFER_TOO_SMALL);
    assert_int_equal(size, 10);
    /* That is an answer: the transaction goes on. */
    assert_ok(tern_txn_put(txn, fixture.keyspace, key, tern_slice_str("x"), NULL),
              *tern_txn_error(txn));
    api_commit(txn);
    /* An empty value needs no room. */
    api_put(fixture.keyspace, "empty", "");
    assert_ok(tern_get(fixture.keyspace, tern_slice_str("empty"), NULL, 0, &size, &error), error);
    assert_int_equal(size, 0);
    api_fixture_release(&fixture);
}

static void a_transaction_over_its_share_is_refused_and_can_be_undone(void **state) {
    (void)state;
    struct api_fixture fixture;
    char value[1000] = {0};
    api_fixture_init_closed(&fixture, false);
    fixture.options.transaction_bytes = 500000;
    api_fixture_open(&fixture);
    tern_txn *txn = api_begin(&fixture);
    tern_status status = TERN_OK;
    unsigned count = 0;
    for (; status == TERN_OK && count < 100000; count++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%06u", count);
        status = tern_txn_put(txn, fixture.keyspace, tern_slice_str(key),
                              tern_slice_of(value, sizeof(value)), NULL);
    }
    assert_int_equal(status, TERN_TOO_LARGE);
    assert_in_range(count, 100, 520);
    assert_non_null(strstr(tern_txn_error(txn)->message, "transaction_bytes"));
    tern_txn_rollback(txn);
    tern_txn_free(txn);
    api_assert_missing(fixture.keyspace, "000000");
    api_put(fixture.keyspace, "k", "v");
    api_fixture_release(&fixture);
}

static void a_commit_in_many_records_makes_no_copy_of_the_transaction(void **state) {
    (void)state;
    struct api_fixture fixture;
    struct fault_allocator *allocator = fault_allocator_create();
    static char value[100000];
    const unsigned records = 100;
    api_fixture_init_closed(&fixture, false);
    fixture.options.allocator = fault_allocator_interface(allocator);
    fixture.options.segment_bytes = (uint64_t)1 << 20;
    fixture.options.transaction_bytes = (uint64_t)16 << 20;
    api_fixture_open(&fixture);
    tern_txn *txn = api_begin(&fixture);
    for (unsigned i = 0; i < records; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%06u", i);
        assert_ok(tern_txn_put(txn, fixture.keyspace, tern_slice_str(key),
                               tern_slice_of(value, sizeof(value)), NULL),
                  *tern_txn_error(txn));
    }
    /* The overlay holds it, and the transaction until its end: nobody needs it once more. */
    uint64_t before = fault_allocator_live_bytes(allocator);
    assert_true(before > records * sizeof(value));
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    uint64_t peak = fault_allocator_peak_bytes(allocator);
    print_message("%llu bytes before, %llu at most\n", (unsigned long long)before,
                  (unsigned long long)peak);
    assert_true(peak < before + records * sizeof(value) / 2);
    tern_txn_free(txn);
    api_fixture_release(&fixture);
    fault_allocator_destroy(allocator);
}

/* Many log records, several segments and several times the overlays' budget, in one transaction. */
static void a_very_large_transaction_is_one_transaction(void **state) {
    (void)state;
    struct api_fixture fixture;
    char value[900];
    const unsigned records = 3500;
    api_fixture_init_closed(&fixture, false);
    fixture.options.segment_bytes = 65536;
    fixture.options.transaction_bytes = (uint64_t)8 << 20;
    api_fixture_open(&fixture);
    tern_txn *txn = api_begin(&fixture);
    for (unsigned i = 0; i < records; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%06u", i);
        memset(value, (int)(i % 255), sizeof(value));
        assert_ok(tern_txn_put(txn, fixture.keyspace, tern_slice_str(key),
                               tern_slice_of(value, sizeof(value)), NULL),
                  *tern_txn_error(txn));
    }
    api_commit(txn);
    for (int round = 0; round < 2; round++) {
        uint64_t count;
        txn = api_begin_reading(&fixture);
        assert_ok(tern_txn_count(txn, fixture.keyspace, NULL, NULL, &count), *tern_txn_error(txn));
        assert_int_equal(count, records);
        tern_txn_free(txn);
        api_fixture_reopen(&fixture);
    }
    api_assert_sound(fixture.db);
    api_fixture_release(&fixture);
}

static void arguments_that_make_no_sense_are_refused(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_value value = TERN_VALUE_INIT;
    api_fixture_init(&fixture, false);
    tern_slice key = tern_slice_str("k");
    tern_write_options options = {.size = 2};
    assert_int_equal(tern_put(fixture.keyspace, key, key, &options, &error), TERN_INVALID);
    options = (tern_write_options){.size = sizeof(options), .durability = (tern_durability)7};
    assert_int_equal(tern_put(fixture.keyspace, key, key, &options, &error), TERN_INVALID);
    assert_int_equal(tern_put(NULL, key, key, NULL, &error), TERN_INVALID);
    assert_int_equal(tern_get_pinned(fixture.keyspace, key, NULL, &error), TERN_INVALID);
    assert_int_equal(tern_get_pinned(fixture.keyspace, tern_slice_of(NULL, 3), &value, &error),
                     TERN_INVALID);
    tern_txn *txn = api_begin(&fixture);
    assert_int_equal(tern_txn_rollback_to(txn, 5), TERN_INVALID);
    api_commit(txn);
    /* After its end nothing can be done with it but freeing. */
    txn = api_begin(&fixture);
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    assert_int_equal(tern_txn_put(txn, fixture.keyspace, key, key, NULL), TERN_CLOSED);
    assert_int_equal(tern_txn_commit(txn), TERN_CLOSED);
    assert_ok(tern_txn_restart(txn), *tern_txn_error(txn));
    assert_ok(tern_txn_put(txn, fixture.keyspace, key, key, NULL), *tern_txn_error(txn));
    api_commit(txn);
    api_assert_value(fixture.keyspace, "k", "k");
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_as_long_as_the_page_allows),
        cmocka_unit_test(a_buffer_too_small_takes_what_fits),
        cmocka_unit_test(a_transaction_over_its_share_is_refused_and_can_be_undone),
        cmocka_unit_test(a_commit_in_many_records_makes_no_copy_of_the_transaction),
        cmocka_unit_test(a_very_large_transaction_is_one_transaction),
        cmocka_unit_test(arguments_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
