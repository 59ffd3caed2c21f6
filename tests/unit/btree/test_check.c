/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka_test.h"

#include <stdlib.h>
#include <tern/sys/file_system.h>

#include "dataset.h"
#include "engine/btree/btree_value.h"
#include "os/file.h"
#include "support/fault_allocator.h"

#define FINDINGS_MAX 64u

/* What a check found. */
struct findings {
    char names[FINDINGS_MAX][32];
    int64_t offsets[FINDINGS_MAX];
    uint32_t count;
    uint32_t stop_after; /* 0: never */
};

static bool on_finding(void *context, const tern_finding *finding) {
    struct findings *findings = context;
    assert_string_equal(finding->file, "p-0000000000000001.btree");
    assert_non_null(finding->message);
    if (findings->count < FINDINGS_MAX) {
        size_t size = strlen(finding->invariant);
        assert_true(size < sizeof(findings->names[0]));
        memcpy(findings->names[findings->count], finding->invariant, size + 1);
        findings->offsets[findings->count] = finding->offset;
    }
    findings->count++;
    return findings->count != findings->stop_after;
}

static tern_verify_report check_tree(struct tree_fixture *fixture, struct findings *findings) {
    tern_verify_report report = {0};
    tern_error error = TERN_ERROR_INIT;
    uint32_t stop_after = findings->stop_after;
    memset(findings, 0, sizeof(*findings));
    findings->stop_after = stop_after;
    assert_ok(btree_check(&fixture->tree, fixture->root, on_finding, findings, NULL, NULL, &report,
                          &error),
              error);
    assert_int_equal(report.findings, findings->count);
    return report;
}

static bool has(const struct findings *findings, const char *name, uint64_t place) {
    for (uint32_t i = 0; i < findings->count && i < FINDINGS_MAX; i++) {
        if (strcmp(findings->names[i], name) == 0 &&
            findings->offsets[i] == (int64_t)(place * UNIT_BYTES)) {
            return true;
        }
    }
    return false;
}

static struct fixture_options small_pages(void) {
    struct fixture_options options = FIXTURE_OPTIONS;
    options.page_bytes = 4096;
    options.fan_out = 16;
    return options;
}

static void flip_byte(struct tree_fixture *fixture, uint64_t offset) {
    const tern_file_system *system = tern_file_system_default();
    tern_file *file = NULL;
    assert_int_equal(
        system->open(system->context, btree_file_path(fixture->tree.file), 0, &file, NULL),
        TERN_OK);
    uint8_t byte = 0;
    size_t got = 0;
    assert_int_equal(file_read(file, offset, &byte, 1, &got, NULL), TERN_OK);
    byte ^= 0x40;
    assert_int_equal(file_write(file, offset, &byte, 1, NULL), TERN_OK);
    assert_int_equal(file_close(file, NULL), TERN_OK);
}

static void a_sound_tree_has_no_findings_and_is_counted(void **state) {
    (void)state;
    static struct dataset dataset;
    struct findings findings = {.stop_after = 0};
    for (unsigned family = 0; family < KEY_FAMILIES; family++) {
        const uint32_t counts[] = {0, 1, 9000};
        for (unsigned c = 0; c < 3; c++) {
            struct fixture_options options = small_pages();
            options.compression = c == 2 ? TERN_COMPRESSION_ZSTD : TERN_COMPRESSION_NONE;
            dataset_open(&dataset, (enum key_family)family, counts[c], 11, &options, NULL);
            tern_verify_report report = check_tree(&dataset.fixture, &findings);
            if (findings.count > 0) {
                fail_msg("family %u: %s", family, findings.names[0]);
            }
            assert_int_equal(report.records, dataset.set.count);
            assert_true(report.pages >= dataset.fixture.leaves);
            assert_int_equal(report.files, dataset.set.count > 0);
            dataset_close(&dataset);
        }
    }
}

/* Past the cache: what is cached is sound, what is on disk is not. */
static void every_damaged_block_is_found_where_it_lies(void **state) {
    (void)state;
    static struct dataset dataset;
    struct fixture_options options = small_pages();
    dataset_open(&dataset, KEYS_RANDOM, 2500, 12, &options, NULL);
    struct tree_fixture *fixture = &dataset.fixture;
    struct base_cursor *cursor = NULL;
    assert_int_equal(btree_cursor_open(&fixture->tree, fixture->root, &cursor, NULL), TERN_OK);
    for (tern_status status = cursor->methods->seek(cursor, NULL, false, NULL);
         status == TERN_OK;) {
        status = cursor->methods->next(cursor, NULL);
    }
    cursor->methods->close(cursor);
    struct findings findings = {.stop_after = 0};
    struct inner_node *top = fixture->root->top;
    for (uint32_t i = 0; i < top->count; i++) {
        struct inner_node *node = NULL;
        assert_int_equal(btree_child_node(&fixture->tree, top, i, &node, NULL), TERN_OK);
        for (uint32_t j = 0; j < node->count; j++) {
            uint64_t place = ref_place(node->refs[j]);
            uint64_t offset = place * UNIT_BYTES + seeded_random_below(&dataset.random, 3000);
            flip_byte(fixture, offset);
            (void)check_tree(fixture, &findings);
            assert_int_equal(findings.count, 1);
            assert_true(has(&findings, "block.checksum", place));
            flip_byte(fixture, offset);
        }
    }
    (void)check_tree(fixture, &findings);
    assert_int_equal(findings.count, 0);
    /* A damaged inner page costs its subtree, not the rest. */
    uint64_t place = ref_place(top->refs[1]);
    flip_byte(fixture, place * UNIT_BYTES + 40);
    tern_verify_report report = check_tree(fixture, &findings);
    assert_int_equal(findings.count, 1);
    assert_true(has(&findings, "block.checksum", place));
    assert_int_equal(report.records, dataset.set.count - top->records[1]);
    dataset_close(&dataset);
}

/* ---- trees that are wrong on purpose ---- */

struct crafted {
    struct tree_fixture fixture;
    struct child_ref leaves[3];
    const char *separators[2];
};

static void crafted_open(struct crafted *crafted) {
    memset(crafted, 0, sizeof(*crafted));
    struct fixture_options options = small_pages();
    tree_fixture_open(&crafted->fixture, &options, NULL);
    const char *keys[3][2] = {{"aa", "bb"}, {"cc", "dd"}, {"ee", "ff"}};
    for (unsigned i = 0; i < 3; i++) {
        const tern_slice slices[2] = {tern_slice_str(keys[i][0]), tern_slice_str(keys[i][1])};
        const struct record records[2] = {{.kind = RECORD_PUT, .value = {"value", 5}},
                                          {.kind = RECORD_PUT, .value = {"other", 5}}};
        uint8_t payload[512];
        size_t size = leaf_image(slices, records, 2, true, 1, payload, sizeof(payload));
        crafted->leaves[i] = fixture_write_block(&crafted->fixture, payload, size);
        crafted->leaves[i].records = 2;
    }
    crafted->separators[0] = "c";
    crafted->separators[1] = "e";
}

/* Makes the root out of leaves and separators as they are now, and checks it. */
static void crafted_check(struct crafted *crafted, struct findings *findings) {
    struct tree_fixture *fixture = &crafted->fixture;
    const tern_slice separators[2] = {tern_slice_str(crafted->separators[0]),
                                      tern_slice_str(crafted->separators[1])};
    const struct node_source source = {
        .level = 1, .count = 3, .children = crafted->leaves, .separators = separators};
    struct inner_node *node = NULL;
    assert_int_equal(node_build(tern_allocator_default(), &fixture->budget, &source, &node, NULL),
                     TERN_OK);
    struct buffer payload;
    buffer_init(&payload, tern_allocator_default());
    assert_int_equal(node_encode(node, &payload), TERN_OK);
    node_release(tern_allocator_default(), &fixture->budget, node);
    struct child_ref top = fixture_write_block(fixture, payload.data, payload.size);
    buffer_release(&payload);
    uint64_t records = 0;
    top.bytes = 0;
    for (unsigned i = 0; i < 3; i++) {
        records += crafted->leaves[i].records;
        top.bytes += crafted->leaves[i].bytes;
    }
    assert_int_equal(btree_root_load(&fixture->tree, 2, &top, records, 1, &fixture->root, NULL),
                     TERN_OK);
    (void)check_tree(fixture, findings);
}

static void names_what_is_wrong_between_pages(void **state) {
    (void)state;
    static struct crafted crafted;
    struct findings findings = {.stop_after = 0};

    crafted_open(&crafted);
    crafted_check(&crafted, &findings);
    assert_int_equal(findings.count, 0);
    tree_fixture_close(&crafted.fixture);

    crafted_open(&crafted);
    crafted.separators[0] = "bb"; /* the last key of the first leaf belongs to the right */
    crafted_check(&crafted, &findings);
    assert_true(has(&findings, "tree.fences", ref_place(crafted.leaves[0].ref)));
    tree_fixture_close(&crafted.fixture);

    crafted_open(&crafted);
    crafted.separators[1] = "eea"; /* the first key of the last leaf lies below */
    crafted_check(&crafted, &findings);
    assert_true(has(&findings, "tree.fences", ref_place(crafted.leaves[2].ref)));
    tree_fixture_close(&crafted.fixture);

    crafted_open(&crafted);
    crafted.leaves[1].records = 3;
    crafted_check(&crafted, &findings);
    assert_true(has(&findings, "tree.records", ref_place(crafted.leaves[1].ref)));
    tree_fixture_close(&crafted.fixture);

    crafted_open(&crafted);
    crafted.leaves[1].bytes += 512;
    crafted_check(&crafted, &findings);
    assert_true(has(&findings, "tree.bytes", ref_place(crafted.leaves[1].ref)));
    tree_fixture_close(&crafted.fixture);

    crafted_open(&crafted);
    crafted.leaves[2] = crafted.leaves[0]; /* a block twice, and its keys in the wrong place */
    crafted_check(&crafted, &findings);
    assert_true(has(&findings, "space.overlap", ref_place(crafted.leaves[0].ref)));
    assert_true(has(&findings, "tree.fences", ref_place(crafted.leaves[0].ref)));
    tree_fixture_close(&crafted.fixture);

    crafted_open(&crafted);
    btree_file_release_now(crafted.fixture.tree.file, ref_place(crafted.leaves[1].ref),
                           ref_units(crafted.leaves[1].ref));
    struct child_ref kept = crafted.leaves[1];
    /* The root's own block may be put there: keep the place free by taking and giving it back. */
    uint64_t place = 0;
    assert_int_equal(
        btree_file_allocate(crafted.fixture.tree.file, ref_units(kept.ref), &place, NULL), TERN_OK);
    crafted_check(&crafted, &findings);
    assert_int_equal(findings.count, 0);
    btree_file_release_now(crafted.fixture.tree.file, place, ref_units(kept.ref));
    (void)check_tree(&crafted.fixture, &findings);
    assert_true(has(&findings, "space.free", ref_place(kept.ref)));
    tree_fixture_close(&crafted.fixture);
}

static void checks_values_stored_apart_piece_by_piece(void **state) {
    (void)state;
    static struct tree_fixture fixture;
    struct fixture_options options = small_pages();
    options.compression = TERN_COMPRESSION_LZ4;
    tree_fixture_open(&fixture, &options, NULL);
    struct seeded_random random;
    seeded_random_init(&random, 1);
    struct engine_large_writer *writer = NULL;
    assert_int_equal(btree_value_writer_create(&fixture.tree, 1, &writer, NULL), TERN_OK);
    size_t size = 1500000;
    uint8_t *value = malloc(size);
    assert_non_null(value);
    seeded_random_fill(&random, value, size);
    assert_int_equal(btree_value_writer_append(writer, value, size, NULL), TERN_OK);
    free(value);
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    size_t reference_size = 0;
    assert_int_equal(btree_value_writer_finish(writer, reference, &reference_size, NULL), TERN_OK);
    const tern_slice key = {"large", 5};
    const struct record record = {
        .kind = RECORD_LARGE, .value_size = size, .value = {reference, reference_size}};
    uint8_t payload[512];
    size_t payload_size = leaf_image(&key, &record, 1, true, 1, payload, sizeof(payload));
    struct child_ref child = fixture_write_block(&fixture, payload, payload_size);
    child.records = 1;
    child.bytes += size;
    child.ref |= REF_HAS_LARGE;
    assert_int_equal(btree_root_load(&fixture.tree, 1, &child, 1, 1, &fixture.root, NULL), TERN_OK);
    struct findings findings = {.stop_after = 0};
    tern_verify_report report = check_tree(&fixture, &findings);
    assert_int_equal(findings.count, 0);
    assert_true(report.bytes >= size);
    /* Somewhere in the middle of the file lies a piece. */
    struct btree_file_stats stats;
    btree_file_get_stats(fixture.tree.file, &stats);
    flip_byte(&fixture, 700000);
    (void)check_tree(&fixture, &findings);
    assert_true(findings.count == 1);
    assert_string_equal(findings.names[0], "value.pieces");
    flip_byte(&fixture, 700000);
    fixture.root->child.ref &= ~(packed_ref)REF_HAS_LARGE;
    (void)check_tree(&fixture, &findings);
    assert_true(has(&findings, "tree.large", ref_place(child.ref)));
    tree_fixture_close(&fixture);
}

static bool cancel(void *context, const char *phase, uint64_t done, uint64_t total) {
    uint64_t *calls = context;
    assert_string_equal(phase, "btree");
    assert_true(done <= total);
    return ++*calls < 2;
}

static void stops_when_it_is_told_to(void **state) {
    (void)state;
    static struct dataset dataset;
    struct fixture_options options = small_pages();
    dataset_open(&dataset, KEYS_RANDOM, 20000, 12, &options, NULL);
    tern_verify_report report = {0};
    uint64_t calls = 0;
    assert_int_equal(btree_check(&dataset.fixture.tree, dataset.fixture.root, NULL, NULL, cancel,
                                 &calls, &report, NULL),
                     TERN_CANCELLED);
    assert_int_equal(calls, 2);
    struct inner_node *node = dataset.fixture.root->top;
    while (node->level > 1) {
        assert_int_equal(btree_child_node(&dataset.fixture.tree, node, 0, &node, NULL), TERN_OK);
    }
    for (uint32_t i = 0; i < 5; i++) {
        flip_byte(&dataset.fixture, ref_place(node->refs[i]) * UNIT_BYTES + 300);
    }
    struct findings findings = {.stop_after = 2};
    (void)check_tree(&dataset.fixture, &findings);
    assert_int_equal(findings.count, 2);
    dataset_close(&dataset);
}

static void failing_allocations_are_reported(void **state) {
    (void)state;
    static struct dataset dataset;
    struct fault_allocator *allocator = fault_allocator_create();
    struct fixture_options options = small_pages();
    dataset_open(&dataset, KEYS_RANDOM, 3000, 12, &options, fault_allocator_interface(allocator));
    tern_status status = TERN_NO_MEMORY;
    for (uint64_t nth = 1; status != TERN_OK; nth++) {
        tern_verify_report report = {0};
        fault_allocator_fail(allocator, nth, nth % 2 == 0);
        status = btree_check(&dataset.fixture.tree, dataset.fixture.root, NULL, NULL, NULL, NULL,
                             &report, NULL);
        bool failed = fault_allocator_failures(allocator) > 0;
        assert_int_equal(report.findings, 0);
        assert_true(failed);
        if (status != TERN_OK) {
            assert_int_equal(status, TERN_NO_MEMORY);
        }
        assert_true(nth < 2000);
    }
    fault_allocator_fail(allocator, 0, false);
    dataset_close(&dataset);
    fault_allocator_destroy(allocator);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_tree_has_no_findings_and_is_counted),
        cmocka_unit_test(every_damaged_block_is_found_where_it_lies),
        cmocka_unit_test(names_what_is_wrong_between_pages),
        cmocka_unit_test(checks_values_stored_apart_piece_by_piece),
        cmocka_unit_test(stops_when_it_is_told_to),
        cmocka_unit_test(failing_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
