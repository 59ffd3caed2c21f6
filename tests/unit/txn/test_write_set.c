/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A write set beside a model that keeps everything: each operation in a list, cut at savepoints.
 * What a key holds is found by replaying the list.
 */
#include "support/cmocka_test.h"

#include <stdio.h>
#include <string.h>
#include <tern/txn.h>

#include "base/compare.h"
#include "support/seeded_random.h"
#include "txn/write_set.h"

#define KEYS           40
#define OPERATIONS_MAX 4000
#define VALUE_BYTES    64
#define BASE           "base"

struct operation {
    enum record_kind kind; /* CHANGE_DELETE_RANGE too */
    tern_merge_kind merge_kind;
    int key, end; /* range: [key, end), -1 open */
    char value[VALUE_BYTES];
};

struct model {
    struct operation operations[OPERATIONS_MAX];
    size_t count;
    size_t savepoints[200];
    size_t savepoint_count;
};

static tern_keyspace keyspace = {.id = 7};

static tern_slice key_of(int number, char buffer[8]) {
    (void)snprintf(buffer, 8, "k%03u", (unsigned)number % 1000);
    return tern_slice_str(buffer);
}

/* The number in a key. */
static int number_of(tern_slice key) {
    int number = 0;
    for (size_t i = 1; i < key.size; i++) {
        number = number * 10 + ((const char *)key.data)[i] - '0';
    }
    return number;
}

/* What the list comes to for a key over `base` (NULL: missing): the value, or NULL. */
static const char *replay(const struct model *model, int key, const char *base, char *value) {
    bool present = base != NULL;
    (void)snprintf(value, 65536, "%s", present ? base : "");
    for (size_t i = 0; i < model->count; i++) {
        const struct operation *operation = &model->operations[i];
        if ((int)operation->kind == (int)CHANGE_DELETE_RANGE) {
            if (key >= operation->key && (operation->end < 0 || key < operation->end)) {
                present = false;
                value[0] = 0;
            }
        } else if (operation->key != key) {
            continue;
        } else if (operation->kind == RECORD_DELETE) {
            present = false;
            value[0] = 0;
        } else if (operation->kind == RECORD_PUT) {
            present = true;
            (void)snprintf(value, 65536, "%s", operation->value);
        } else if (operation->merge_kind == TERN_MERGE_APPEND) {
            size_t size = strlen(value);
            (void)snprintf(value + size, 65536 - size, "%s", operation->value);
            present = true;
        } else {
            if (!present || strcmp(operation->value, value) > 0) {
                (void)snprintf(value, 65536, "%s", operation->value);
            }
            present = true;
        }
    }
    return present ? value : NULL;
}

/* What a found entry comes to over a base; NULL: missing. */
static const char *resolve(const struct write_part *part, const struct write_found *found,
                           const char *base, struct buffer *out, struct buffer *spare) {
    const struct record *record = &found->record;
    bool present = record->kind == RECORD_NONE ? base != NULL : record->kind == RECORD_PUT;
    tern_slice value =
        record->kind == RECORD_NONE ? tern_slice_str(base != NULL ? base : "") : record->value;
    if (found->operand_count > 0) {
        assert_int_equal(write_part_merge(part, found, present, value, out, spare), TERN_OK);
        present = true;
    } else {
        out->size = 0;
        assert_int_equal(buffer_append(out, value.data, value.size), TERN_OK);
    }
    assert_int_equal(buffer_append(out, "", 1), TERN_OK);
    return present ? (const char *)out->data : NULL;
}

static void expect_same(const char *got, const char *wanted) {
    assert_int_equal(got == NULL, wanted == NULL);
    if (got != NULL) {
        assert_string_equal(got, wanted);
    }
}

static void compare_points(const struct write_set *set, const struct model *model) {
    static char wanted[65536];
    struct buffer out;
    struct buffer spare;
    buffer_init(&out, tern_allocator_default());
    buffer_init(&spare, tern_allocator_default());
    const struct write_part *part = write_set_part(set, &keyspace);
    for (int i = 0; i < KEYS; i++) {
        char buffer[8];
        tern_slice key = key_of(i, buffer);
        for (int with_base = 0; with_base < 2; with_base++) {
            const char *base = with_base ? BASE : NULL;
            struct write_found found = {.newest = WRITE_NONE};
            if (part != NULL) {
                (void)write_part_find(part, key, engine_key_hash(keyspace.id, key), &found);
            }
            expect_same(resolve(part, &found, base, &out, &spare), replay(model, i, base, wanted));
        }
    }
    buffer_release(&out);
    buffer_release(&spare);
}

/* Every key with operations of its own comes once, in order, both ways. */
static void compare_order(const struct write_set *set, struct write_part *part) {
    uint32_t number;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(write_part_make_ordered(set, part, &error), error);
    for (int backward = 0; backward < 2; backward++) {
        size_t count = 0;
        tern_slice last;
        bool more = write_order_seek(&part->order, part->keys, NULL, backward, true, &number);
        while (more) {
            tern_slice key = part->keys[number].key;
            if (count > 0) {
                int order = slice_compare(key, last);
                assert_true(backward ? order < 0 : order > 0);
            }
            last = key;
            count++;
            more = write_order_seek(&part->order, part->keys, &last, backward, false, &number);
        }
        assert_int_equal(count, part->key_count);
    }
}

/* What the commit carries has the effect of the whole list, read as engines read it: range deletes
 * and keys of one seq, the keys on top. */
static void compare_commit(struct write_set *set, const struct model *model) {
    static char wanted[65536];
    static char got[65536];
    struct commit_part parts[2];
    struct write_summary summary;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(write_set_commit_parts(set, NULL, NULL, parts, &summary, &error), error);
    static struct model carried;
    carried.count = 0;
    for (size_t i = 0; summary.part_count > 0 && i < parts[0].count; i++) {
        const struct engine_change *change = &parts[0].changes[i];
        struct operation *operation = &carried.operations[carried.count++];
        operation->kind = change->record.kind;
        operation->merge_kind = (tern_merge_kind)change->record.merge_kind;
        operation->key = change->key.size > 0 ? number_of(change->key) : 0;
        if ((int)operation->kind == (int)CHANGE_DELETE_RANGE) {
            operation->end = change->range_has_end ? number_of(change->record.value) : -1;
        } else {
            assert_true(change->record.value.size < VALUE_BYTES);
            if (change->record.value.size > 0) {
                memcpy(operation->value, change->record.value.data, change->record.value.size);
            }
            operation->value[change->record.value.size] = 0;
        }
    }
    for (int i = 0; i < KEYS; i++) {
        expect_same(replay(&carried, i, BASE, got), replay(model, i, BASE, wanted));
    }
}

static void add(struct write_set *set, struct model *model, const struct operation *operation) {
    char begin[8];
    char end[8];
    tern_error error = TERN_ERROR_INIT;
    struct engine_change change = {.key = key_of(operation->key, begin),
                                   .record = {.kind = operation->kind,
                                              .merge_kind = (uint32_t)operation->merge_kind,
                                              .value = tern_slice_str(operation->value)}};
    if ((int)operation->kind == (int)CHANGE_DELETE_RANGE) {
        change.range_has_end = operation->end >= 0;
        change.record.value =
            operation->end >= 0 ? key_of(operation->end, end) : tern_slice_of(NULL, 0);
    } else {
        change.key_hash = engine_key_hash(keyspace.id, change.key);
    }
    assert_ok(write_set_add(set, &keyspace, &change, &error), error);
    model->operations[model->count++] = *operation;
}

static void random_operation(struct seeded_random *random, struct operation *out) {
    *out = (struct operation){.key = (int)seeded_random_below(random, KEYS), .end = -1};
    uint64_t dice = seeded_random_below(random, 20);
    if (dice < 8) {
        out->kind = RECORD_PUT;
    } else if (dice < 11) {
        out->kind = RECORD_DELETE;
    } else if (dice < 19) {
        out->kind = RECORD_MERGE;
        out->merge_kind = dice < 15 ? TERN_MERGE_APPEND : TERN_MERGE_MAX;
    } else {
        out->kind = CHANGE_DELETE_RANGE;
        if (seeded_random_chance(random, 3, 4)) {
            out->end = out->key + 1 + (int)seeded_random_below(random, 10);
        }
    }
    if (out->kind == RECORD_PUT || out->kind == RECORD_MERGE) {
        size_t size = 1 + seeded_random_below(random, out->kind == RECORD_PUT ? 8 : 2);
        for (size_t i = 0; i < size; i++) {
            out->value[i] = (char)('a' + seeded_random_below(random, 26));
        }
    }
}

static void no_large(void *context, tern_keyspace *of, const struct engine_change *change) {
    (void)context;
    (void)of;
    (void)change;
}

static void savepoint_step(struct write_set *set, struct model *model,
                           struct seeded_random *random) {
    tern_error error = TERN_ERROR_INIT;
    uint32_t number;
    if (model->savepoint_count < 100 && seeded_random_chance(random, 2, 3)) {
        assert_ok(write_set_savepoint(set, &number, &error), error);
        model->savepoints[model->savepoint_count++] = model->count;
        assert_int_equal(number, model->savepoint_count);
    } else if (model->savepoint_count > 0) {
        number = 1 + (uint32_t)seeded_random_below(random, model->savepoint_count);
        write_set_rollback_to(set, number, no_large, NULL);
        model->savepoint_count = number;
        model->count = model->savepoints[number - 1];
    }
}

static void agrees_with_a_list_of_operations(void **state) {
    (void)state;
    static struct model model;
    struct seeded_random random;
    struct write_set set;
    seeded_random_init(&random, seeded_random_seed("write_set"));
    write_set_init(&set, tern_allocator_default(), NULL, 64 << 20);
    for (int round = 0; round < 60; round++) {
        model.count = model.savepoint_count = 0;
        bool is_ordered = seeded_random_chance(&random, 1, 2);
        size_t steps = 5 + seeded_random_below(&random, 60);
        for (size_t i = 0; i < steps; i++) {
            struct operation operation;
            random_operation(&random, &operation);
            add(&set, &model, &operation);
            if (seeded_random_chance(&random, 1, 8)) {
                savepoint_step(&set, &model, &random);
            }
            compare_points(&set, &model);
            struct write_part *part = write_set_part(&set, &keyspace);
            if (is_ordered && part != NULL) {
                compare_order(&set, part);
            }
        }
        compare_commit(&set, &model);
        compare_points(&set, &model);
        write_set_reset(&set);
        assert_true(write_set_is_empty(&set));
        assert_int_equal(set.bytes, 0);
    }
    write_set_release(&set);
}

static void overwriting_one_key_takes_bounded_memory(void **state) {
    (void)state;
    struct write_set set;
    tern_error error = TERN_ERROR_INIT;
    write_set_init(&set, tern_allocator_default(), NULL, 4096);
    for (int i = 0; i < 100000; i++) {
        struct engine_change change = {
            .key = tern_slice_str("key"),
            .key_hash = 99,
            .record = {.kind = RECORD_PUT, .value = tern_slice_of(&i, sizeof(i))}};
        assert_ok(write_set_add(&set, &keyspace, &change, &error), error);
    }
    write_set_release(&set);
}

static void too_many_writes_are_refused_by_name_of_the_option(void **state) {
    (void)state;
    struct write_set set;
    struct budget budget = {0};
    tern_error error = TERN_ERROR_INIT;
    tern_status status = TERN_OK;
    write_set_init(&set, tern_allocator_default(), &budget, 100000);
    for (int i = 0; i < 100000 && status == TERN_OK; i++) {
        char buffer[16];
        (void)snprintf(buffer, sizeof(buffer), "%d", i);
        struct engine_change change = {.key = tern_slice_str(buffer),
                                       .key_hash = (uint64_t)i,
                                       .record = {.kind = RECORD_DELETE}};
        status = write_set_add(&set, &keyspace, &change, &error);
    }
    assert_int_equal(status, TERN_TOO_LARGE);
    assert_non_null(strstr(error.message, "transaction_bytes"));
    assert_int_equal(budget_used(&budget, BUDGET_OTHER), set.bytes);
    write_set_release(&set);
    assert_int_equal(budget_used(&budget, BUDGET_OTHER), 0);
}

static void a_hundred_thousand_keys_stay_in_order(void **state) {
    (void)state;
    struct write_set set;
    struct seeded_random random;
    tern_error error = TERN_ERROR_INIT;
    seeded_random_init(&random, seeded_random_seed("write_order"));
    write_set_init(&set, tern_allocator_default(), NULL, 256 << 20);
    for (int i = 0; i < 100000; i++) {
        uint64_t number = seeded_random_below(&random, 1000000000);
        char buffer[16];
        (void)snprintf(buffer, sizeof(buffer), "%09llu", (unsigned long long)number);
        tern_slice key = tern_slice_str(buffer);
        struct engine_change change = {.key = key,
                                       .key_hash = engine_key_hash(1, key),
                                       .record = {.kind = RECORD_PUT, .value = key}};
        assert_ok(write_set_add(&set, &keyspace, &change, &error), error);
        if (i == 50000) {
            assert_ok(write_part_make_ordered(&set, &set.parts[0], &error), error);
        }
    }
    compare_order(&set, write_set_part(&set, &keyspace));
    write_set_release(&set);
}

static void large_values_that_are_replaced_are_told_of(void **state) {
    (void)state;
    struct write_set set;
    tern_error error = TERN_ERROR_INIT;
    struct commit_part parts[1];
    struct write_summary summary;
    struct engine_change change = {
        .key = tern_slice_str("k"),
        .key_hash = 5,
        .record = {.kind = RECORD_LARGE, .value = tern_slice_str("reference")},
        .large_token = 3};
    write_set_init(&set, tern_allocator_default(), NULL, 65536);
    assert_ok(write_set_add(&set, &keyspace, &change, &error), error);
    change.record = (struct record){.kind = RECORD_PUT, .value = tern_slice_str("small")};
    assert_ok(write_set_add(&set, &keyspace, &change, &error), error);
    assert_ok(write_set_commit_parts(&set, NULL, NULL, parts, &summary, &error), error);
    assert_int_equal(summary.change_count, 1);
    assert_int_equal(parts[0].changes[0].record.kind, RECORD_PUT);
    assert_int_equal(set.parts[0].kept[0], 0);
    assert_int_equal(set.parts[0].kept[1], 1);
    write_set_release(&set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_list_of_operations),
        cmocka_unit_test(overwriting_one_key_takes_bounded_memory),
        cmocka_unit_test(too_many_writes_are_refused_by_name_of_the_option),
        cmocka_unit_test(a_hundred_thousand_keys_stay_in_order),
        cmocka_unit_test(large_values_that_are_replaced_are_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
