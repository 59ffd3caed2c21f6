/* SPDX-License-Identifier: Apache-2.0 */
/* An overlay that is moved to a temporary file where it stands, with readers inside. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "engine/overlay/overlay_stack.h"
#include "support/cmocka_test.h"
#include "support/temporary_directory.h"

#define KEYS        40000u
#define VALUE_BYTES 40u
#define QUANTUM     ((size_t)256 << 10)

/* Files of the real file system that may be full after some writes. */
struct small_file {
    tern_file head;
    tern_file *inner;
    struct small_disk *disk;
};

struct small_disk {
    tern_file_system head;
    tern_file_methods methods;
    uint64_t writes_left;
    bool has_descriptors;
};

static tern_status small_write(tern_file *file, uint64_t offset, const void *buffer, size_t size,
                               tern_error *error) {
    struct small_file *small = (struct small_file *)file;
    if (small->disk->writes_left == 0) {
        (void)small->inner->methods->write(small->inner, offset, buffer, size / 2, error);
        return TERN_DISK_FULL;
    }
    small->disk->writes_left--;
    return small->inner->methods->write(small->inner, offset, buffer, size, error);
}

static int small_descriptor(tern_file *file) {
    struct small_file *small = (struct small_file *)file;
    return small->disk->has_descriptors ? small->inner->methods->descriptor(small->inner) : -1;
}

static tern_status small_close(tern_file *file, tern_error *error) {
    struct small_file *small = (struct small_file *)file;
    tern_status status = small->inner->methods->close(small->inner, error);
    free(small);
    return status;
}

static tern_status small_open(void *context, const char *path, uint32_t flags, tern_file **out_file,
                              tern_error *error) {
    struct small_disk *disk = context;
    const tern_file_system *real = tern_file_system_default();
    struct small_file *small = calloc(1, sizeof(*small));
    small->head.methods = &disk->methods;
    small->disk = disk;
    tern_status status = real->open(real->context, path, flags, &small->inner, error);
    if (status != TERN_OK) {
        free(small);
        return status;
    }
    *out_file = &small->head;
    return TERN_OK;
}

static tern_status small_remove(void *context, const char *path, tern_error *error) {
    (void)context;
    const tern_file_system *real = tern_file_system_default();
    return real->remove(real->context, path, error);
}

static void small_disk_init(struct small_disk *disk) {
    *disk = (struct small_disk){.writes_left = UINT64_MAX, .has_descriptors = true};
    disk->methods.write = small_write;
    disk->methods.descriptor = small_descriptor;
    disk->methods.close = small_close;
    disk->head.context = disk;
    disk->head.open = small_open;
    disk->head.remove = small_remove;
}

struct fixture {
    struct small_disk disk;
    struct budget budget;
    struct epoch_domain *epoch;
    struct engine_environment environment;
    struct overlay_stack old; /* the one that is spilled, as its active one */
    char *directory;
};

static void key_of(unsigned number, uint8_t key[8]) {
    put_u64(key, (uint64_t)number * 0x9e3779b97f4a7c15u);
}

static int set_up(void **state) {
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const tern_allocator *allocator = tern_allocator_default();
    small_disk_init(&fixture->disk);
    fixture->directory = temporary_directory_create();
    assert_int_equal(epoch_domain_create(allocator, &fixture->epoch, NULL), TERN_OK);
    fixture->environment = (struct engine_environment){.allocator = allocator,
                                                       .file_system = &fixture->disk.head,
                                                       .directory = fixture->directory,
                                                       .epoch = fixture->epoch,
                                                       .budget = &fixture->budget};
    const struct overlay_options options = {
        .allocator = allocator, .budget = &fixture->budget, .epoch = fixture->epoch};
    fixture->old.allocator = allocator;
    assert_int_equal(shared_overlay_create(&options, &fixture->old.active, NULL), TERN_OK);
    struct overlay *overlay = fixture->old.active->overlay;
    for (unsigned i = 0; i < KEYS; i++) {
        uint8_t key[8];
        uint8_t value[VALUE_BYTES];
        struct engine_change change = {0};
        key_of(i, key);
        memset(value, (int)(i % 251), sizeof(value));
        change.key = tern_slice_of(key, sizeof(key));
        change.key_hash = engine_key_hash(1, change.key);
        change.record.kind = RECORD_PUT;
        change.record.value = tern_slice_of(value, sizeof(value));
        change.record.value_size = sizeof(value);
        assert_int_equal(overlay_reserve(overlay, 1, sizeof(key) + sizeof(value), NULL), TERN_OK);
        overlay_apply(overlay, &change, 1, i + 1, NULL);
    }
    *state = fixture;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;
    overlay_stack_release(&fixture->old);
    assert_int_equal(budget_used(&fixture->budget, BUDGET_OVERLAY), 0);
    assert_int_equal(atomic_load(&fixture->budget.spilled_bytes), 0);
    epoch_domain_destroy(fixture->epoch);
    temporary_directory_remove(fixture->directory);
    free(fixture);
    return 0;
}

static bool read_one(const struct overlay *overlay, struct engine_scratch *scratch, unsigned i) {
    uint8_t key[8];
    key_of(i, key);
    tern_slice slice = tern_slice_of(key, sizeof(key));
    struct resolution resolution;
    struct engine_result result = {0};
    resolution_init(&resolution, tern_allocator_default());
    tern_status status =
        overlay_lookup(overlay, slice, engine_key_hash(1, slice), KEYS, &resolution);
    if (status == TERN_OK) {
        status = resolution_finish(&resolution, 0, scratch, NULL, NULL, &result, NULL);
    }
    resolution_release(&resolution);
    const uint8_t *bytes = result.record.value.data;
    return status == TERN_OK && result.record.kind == RECORD_PUT &&
           result.record.value.size == VALUE_BYTES && bytes[0] == i % 251 &&
           bytes[VALUE_BYTES - 1] == i % 251;
}

static bool read_all(const struct overlay *overlay) {
    struct engine_scratch scratch;
    bool found = true;
    engine_scratch_init(&scratch, tern_allocator_default());
    for (unsigned i = 0; found && i < KEYS; i++) {
        found = read_one(overlay, &scratch, i);
    }
    engine_scratch_release(&scratch);
    return found;
}

struct reading {
    const struct overlay *overlay;
    _Atomic bool is_over;
    bool has_found_all;
};

static void *read_again_and_again(void *context) {
    struct reading *reading = context;
    reading->has_found_all = true;
    do {
        reading->has_found_all = reading->has_found_all && read_all(reading->overlay);
    } while (!atomic_load(&reading->is_over));
    return NULL;
}

static tern_status spill_all(struct fixture *fixture, uint64_t *out_bytes) {
    const struct overlay_stack current = {0};
    uint64_t moved = 1;
    tern_status status = TERN_OK;
    *out_bytes = 0;
    while (status == TERN_OK && moved > 0) {
        status = overlay_stack_spill(&fixture->old, &current, &fixture->environment, QUANTUM,
                                     &moved, NULL);
        *out_bytes += moved;
        overlay_stack_forget(&fixture->old);
    }
    return status;
}

static void readers_find_everything_while_and_after_it_is_spilled(void **state) {
    struct fixture *fixture = *state;
    struct reading reading = {.overlay = fixture->old.active->overlay};
    uint64_t before = overlay_bytes(reading.overlay);
    uint64_t bytes = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_again_and_again, &reading), 0);
    assert_int_equal(spill_all(fixture, &bytes), TERN_OK);
    atomic_store(&reading.is_over, true);
    (void)pthread_join(thread, NULL);
    assert_true(reading.has_found_all);
    assert_true(read_all(reading.overlay));
    assert_true(bytes > before / 10 * 9);
    assert_true(overlay_bytes(reading.overlay) <= (uint64_t)64 << 10);
    assert_int_equal(overlay_bytes(reading.overlay), before - bytes);
    assert_int_equal(atomic_load(&fixture->budget.spilled_bytes), bytes);
    assert_null(overlay_check(reading.overlay));
}

static void what_the_current_view_holds_is_left_alone(void **state) {
    struct fixture *fixture = *state;
    uint64_t moved = 1;
    assert_int_equal(overlay_stack_spill(&fixture->old, &fixture->old, &fixture->environment,
                                         QUANTUM, &moved, NULL),
                     TERN_OK);
    assert_int_equal(moved, 0);
}

static void a_full_disk_leaves_it_in_memory_and_later_it_is_moved(void **state) {
    struct fixture *fixture = *state;
    uint64_t bytes = 0;
    for (uint64_t writes = 0; writes < 4; writes++) {
        fixture->disk.writes_left = writes;
        assert_int_equal(spill_all(fixture, &bytes), TERN_DISK_FULL);
        assert_true(read_all(fixture->old.active->overlay));
    }
    fixture->disk.writes_left = UINT64_MAX;
    assert_int_equal(spill_all(fixture, &bytes), TERN_OK);
    assert_true(bytes > 0);
    assert_true(read_all(fixture->old.active->overlay));
}

static void files_without_descriptors_are_told_apart(void **state) {
    struct fixture *fixture = *state;
    uint64_t bytes = 0;
    fixture->disk.has_descriptors = false;
    assert_int_equal(spill_all(fixture, &bytes), TERN_UNSUPPORTED);
    assert_int_equal(bytes, 0);
    assert_true(read_all(fixture->old.active->overlay));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(readers_find_everything_while_and_after_it_is_spilled,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_the_current_view_holds_is_left_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_it_in_memory_and_later_it_is_moved,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(files_without_descriptors_are_told_apart, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
