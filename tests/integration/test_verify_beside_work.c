/* SPDX-License-Identifier: Apache-2.0 */
/* Verifying an open database stops nobody. */
#include <string.h>

#include <tern/sys/file_system.h>

#include "api_fixture.h"

#define RECORDS 760u

/* The default file system, but for the first read of a log segment that is opened for reading. */
static struct {
    tern_file_system file_system;
    tern_file_methods methods;
    const tern_file_methods *plain;
    struct api_fixture *fixture;
    uint64_t checkpoints;
    bool is_armed;
} watch;

static tern_status read_watched(tern_file *file, uint64_t offset, void *buffer, size_t size,
                                size_t *out_size, tern_error *error) {
    if (watch.is_armed) {
        watch.is_armed = false;
        for (unsigned i = 0; i < 20; i++) {
            api_fixture_pass_ms(watch.fixture, 10);
        }
        watch.checkpoints = api_stat(watch.fixture->db, "checkpoints");
    }
    return watch.plain->read(file, offset, buffer, size, out_size, error);
}

static tern_status open_watched(void *context, const char *path, uint32_t flags,
                                tern_file **out_file, tern_error *error) {
    const tern_file_system *inner = tern_file_system_default();
    tern_status status = inner->open(inner->context, path, flags, out_file, error);
    (void)context;
    if (status == TERN_OK && watch.is_armed && strstr(path, "/log-") != NULL) {
        watch.plain = (*out_file)->methods;
        watch.methods = *watch.plain;
        watch.methods.read = read_watched;
        (*out_file)->methods = &watch.methods;
    }
    return status;
}

static void checkpoints_go_on_while_the_log_is_verified(void **state) {
    (void)state;
    struct api_fixture fixture;
    static char value[900];
    watch.file_system = *tern_file_system_default();
    watch.file_system.open = open_watched;
    watch.fixture = &fixture;
    api_fixture_init_closed(&fixture, true);
    fixture.options.file_system = &watch.file_system;
    api_fixture_open(&fixture);
    memset(value, 'v', sizeof(value) - 1);
    for (unsigned i = 0; i < RECORDS; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%06u", i);
        api_put(fixture.keyspace, key, value);
    }
    assert_int_equal(api_stat(fixture.db, "checkpoints"), 0);
    uint64_t segments = api_stat(fixture.db, "log_segments");
    watch.is_armed = true;
    tern_verify_report report;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_verify(fixture.db, NULL, NULL, NULL, NULL, &report, &error), error);
    assert_false(watch.is_armed);
    assert_int_equal(report.findings, 0);
    /* The checkpoint was made, and let nothing of the log go that was being looked at... */
    assert_true(watch.checkpoints > 0);
    assert_true(report.log_records >= RECORDS);
    /* ... until that was over. */
    for (unsigned i = 0; i < 20; i++) {
        api_fixture_pass_ms(&fixture, 100);
    }
    assert_true(api_stat(fixture.db, "log_segments") < segments);
    api_assert_sound(fixture.db);
    watch.is_armed = false;
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints_go_on_while_the_log_is_verified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
