/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks of overlays over a base, being frozen and drained, read by points and cursors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "array_base.h"
#include "base/compare.h"
#include "support/fault_allocator.h"

#define SNAPSHOTS_MAX 6
#define CHANGES_MAX   9
#define BATCH_MAX     40

struct view {
    struct overlay_stack stack;
    struct base_content content;
};

struct snapshot {
    seq_no seq;
    struct view view;
};

struct fixture {
    struct model model;
    struct budget budget;
    struct epoch_domain *epoch;
    struct overlay_options options;
    struct view now;
    struct snapshot snapshots[SNAPSHOTS_MAX];
    size_t snapshot_count;
    uint64_t entries;
    uint64_t renewals; /* of cursors, to another moment */
};

static void set_up(struct fixture *fixture, size_t key_count, uint64_t seed) {
    memset(fixture, 0, sizeof(*fixture));
    model_init(&fixture->model, key_count, seed);
    assert_int_equal(epoch_domain_create(tern_allocator_default(), &fixture->epoch, NULL), TERN_OK);
    fixture->options = (struct overlay_options){tern_allocator_default(), &fixture->budget,
                                                fixture->epoch, NULL, 0};
    fixture->now.stack.allocator = tern_allocator_default();
    assert_int_equal(shared_overlay_create(&fixture->options, &fixture->now.stack.active, NULL),
                     TERN_OK);
}

static void end_snapshot(struct fixture *fixture, size_t index) {
    overlay_stack_release(&fixture->snapshots[index].view.stack);
    fixture->snapshots[index] = fixture->snapshots[--fixture->snapshot_count];
}

static void tear_down(struct fixture *fixture) {
    while (fixture->snapshot_count > 0) {
        end_snapshot(fixture, 0);
    }
    overlay_stack_release(&fixture->now.stack);
    assert_int_equal(budget_used(&fixture->budget, BUDGET_OVERLAY), 0);
    epoch_domain_destroy(fixture->epoch);
    model_release(&fixture->model);
}

static void begin_snapshot(struct fixture *fixture) {
    struct snapshot *snapshot = &fixture->snapshots[fixture->snapshot_count++];
    snapshot->seq = fixture->model.last_seq;
    snapshot->view.content = fixture->now.content;
    assert_int_equal(overlay_stack_copy(&fixture->now.stack, &snapshot->view.stack, NULL), TERN_OK);
}

static int compare_seqs(const void *left, const void *right) {
    seq_no a = *(const seq_no *)left;
    seq_no b = *(const seq_no *)right;
    return (a > b) - (a < b);
}

static void apply_some(struct fixture *fixture) {
    struct model *model = &fixture->model;
    struct engine_change changes[CHANGES_MAX];
    seq_no live[SNAPSHOTS_MAX];
    for (size_t i = 0; i < fixture->snapshot_count; i++) {
        live[i] = fixture->snapshots[i].seq;
    }
    qsort(live, fixture->snapshot_count, sizeof(seq_no), compare_seqs);
    struct engine_horizon horizon = {live, fixture->snapshot_count, model->last_seq};
    size_t bytes;
    size_t count = model_commit(model, changes, CHANGES_MAX, &bytes);
    struct overlay *active = fixture->now.stack.active->overlay;
    assert_int_equal(overlay_reserve(active, count, bytes, NULL), TERN_OK);
    overlay_apply(active, changes, count, model->last_seq, &horizon);
}

static void freeze(struct fixture *fixture) {
    struct overlay_stack *stack = &fixture->now.stack;
    if (stack->frozen_count == OVERLAY_STACK_FROZEN_MAX ||
        overlay_is_empty(stack->active->overlay)) {
        return;
    }
    stack->active->frozen_seq = fixture->model.last_seq;
    memmove(&stack->frozen[1], &stack->frozen[0], stack->frozen_count * sizeof(stack->frozen[0]));
    stack->frozen[0] = stack->active;
    stack->frozen_count++;
    assert_int_equal(shared_overlay_create(&fixture->options, &stack->active, NULL), TERN_OK);
}

/* A slice of a drain: the boundary moves up, or all of the oldest overlay is in the base. */
static void drain(struct fixture *fixture) {
    struct model *model = &fixture->model;
    struct overlay_stack *stack = &fixture->now.stack;
    struct base_content *content = &fixture->now.content;
    if (stack->frozen_count == 0) {
        return;
    }
    struct shared_overlay *oldest = stack->frozen[stack->frozen_count - 1];
    content->new_seq = oldest->frozen_seq;
    if (stack->has_boundary) {
        free((void *)(uintptr_t)stack->boundary.data);
        stack->has_boundary = false;
    }
    content->boundary += 1 + model_random(model, model->key_count / 4 + 1);
    if (content->boundary < model->key_count) {
        tern_slice key = model_key_at(model, content->boundary);
        void *copy = malloc(key.size);
        memcpy(copy, key.data, key.size);
        stack->boundary = tern_slice_of(copy, key.size);
        stack->has_boundary = true;
    } else {
        *content = (struct base_content){oldest->frozen_seq, oldest->frozen_seq, 0};
        stack->frozen_count--;
        shared_overlay_release(tern_allocator_default(), oldest);
    }
}

static bool is_visible(struct fixture *fixture, size_t key, seq_no seq, struct model_value *value) {
    model_state(&fixture->model, key, seq, fixture->model.times[seq], value);
    return value->is_present;
}

static void check_point(struct fixture *fixture, const struct view *view, seq_no seq, size_t key) {
    static struct model_value expected;
    static struct model_value stored;
    struct model *model = &fixture->model;
    tern_slice bytes = model_key_at(model, key);
    uint64_t hash = engine_key_hash(MODEL_PARTITION, bytes);
    struct resolution resolution;
    resolution_init(&resolution, tern_allocator_default());
    struct epoch_slot *slot = epoch_enter(fixture->epoch);
    assert_int_equal(overlay_stack_lookup(&view->stack, bytes, hash, seq, &resolution), TERN_OK);
    if (overlay_stack_misses(&view->stack, bytes, hash)) {
        assert_false(resolution.is_complete || resolution.operand_count > 0);
    }
    struct record record;
    if (!resolution.is_complete && array_base_get(model, view->content, key, &stored, &record)) {
        assert_int_equal(resolution_add(&resolution, &record, ENGINE_SOURCE_FRAME, NULL), TERN_OK);
    }
    struct engine_scratch scratch;
    struct engine_result result;
    engine_scratch_init(&scratch, tern_allocator_default());
    assert_int_equal(resolution_finish(&resolution, model->times[seq], &scratch, model_read_large,
                                       NULL, &result, NULL),
                     TERN_OK);
    (void)is_visible(fixture, key, seq, &expected);
    if (!model_result_equals(&expected, &result)) {
        fail_msg("key %zu at seq %llu differs", key, (unsigned long long)seq);
    }
    engine_scratch_release(&scratch);
    epoch_exit(slot);
}

/* First visible key from `index` on within [begin, end), or SIZE_MAX. */
static size_t find_visible(struct fixture *fixture, seq_no seq, size_t index, size_t begin,
                           size_t end, bool backward) {
    static struct model_value value;
    while (index < end && index >= begin) {
        if (is_visible(fixture, index, seq, &value)) {
            return index;
        }
        index = backward ? index - 1 : index + 1;
    }
    return SIZE_MAX;
}

static void check_entry(struct fixture *fixture, const struct engine_entry *entry, size_t key,
                        seq_no seq, bool keys_only) {
    static struct model_value value;
    assert_true(slice_equal(entry->key, model_key_at(&fixture->model, key)));
    assert_true(is_visible(fixture, key, seq, &value));
    struct engine_result result = {.record = entry->record};
    if (!keys_only && !model_result_equals(&value, &result)) {
        fail_msg("entry %zu at seq %llu differs", key, (unsigned long long)seq);
    }
    fixture->entries++;
}

struct walk {
    struct engine_cursor *cursor;
    seq_no seq;
    size_t begin, end;
    size_t at; /* SIZE_MAX: nowhere */
    bool keys_only;
    uint64_t backward_percent;
};

static bool is_stored_apart(struct fixture *fixture, size_t key, seq_no seq) {
    static struct model_value value;
    return is_visible(fixture, key, seq, &value) && value.is_large;
}

/* The cursor stands on the last one, and knows its record. */
static void check_entry_of_batch(struct fixture *fixture, const struct walk *walk,
                                 const tern_entry *entry, size_t key, bool is_last) {
    static struct model_value value;
    struct engine_entry whole = {.key = entry->key};
    assert_true(is_visible(fixture, key, walk->seq, &value));
    whole.record =
        (struct record){.kind = RECORD_PUT, .value = entry->value, .expires_ms = value.expires_ms};
    if (is_last) {
        merge_cursor_entry(walk->cursor, &whole);
        assert_true(slice_equal(whole.key, entry->key));
    }
    check_entry(fixture, &whole, key, walk->seq, walk->keys_only);
}

static void check_batch(struct fixture *fixture, struct walk *walk) {
    tern_entry entries[BATCH_MAX];
    size_t count = 0;
    size_t capacity = 1 + model_random(&fixture->model, BATCH_MAX);
    size_t from = walk->at == SIZE_MAX ? walk->begin : walk->at + 1;
    tern_status status;
    if (model_random(&fixture->model, 2) == 0) {
        status = merge_cursor_next_batch(walk->cursor, entries, capacity, &count, NULL);
    } else {
        from = model_random(&fixture->model, fixture->model.key_count);
        status = merge_cursor_seek_batch(walk->cursor, model_key_at(&fixture->model, from), entries,
                                         capacity, &count, NULL);
        from = from < walk->begin ? walk->begin : from;
    }
    size_t key = find_visible(fixture, walk->seq, from, walk->begin, walk->end, false);
    if (status == TERN_NOT_FOUND) {
        assert_int_equal(key, SIZE_MAX);
        walk->at = SIZE_MAX;
        return;
    }
    assert_int_equal(status, TERN_OK);
    assert_true(count > 0 && count <= capacity);
    for (size_t i = 0; i < count; i++) {
        assert_true(key != SIZE_MAX);
        check_entry_of_batch(fixture, walk, &entries[i], key, i + 1 == count);
        assert_true(count == 1 || walk->keys_only || !is_stored_apart(fixture, key, walk->seq));
        walk->at = key;
        key = find_visible(fixture, walk->seq, key + 1, walk->begin, walk->end, false);
    }
}

static bool is_same_view(const struct view *left, const struct view *right) {
    const struct overlay_stack *a = &left->stack;
    const struct overlay_stack *b = &right->stack;
    bool is_same = a->active == b->active && a->frozen_count == b->frozen_count &&
                   left->content.old_seq == right->content.old_seq &&
                   left->content.new_seq == right->content.new_seq &&
                   left->content.boundary == right->content.boundary;
    for (uint32_t i = 0; is_same && i < a->frozen_count; i++) {
        is_same = a->frozen[i] == b->frozen[i];
    }
    return is_same;
}

/* To the moment of another snapshot, older or newer, of the same view. */
static void renew(struct fixture *fixture, const struct snapshot *snapshot, struct walk *walk) {
    struct model *model = &fixture->model;
    const struct snapshot *other =
        &fixture->snapshots[model_random(model, fixture->snapshot_count)];
    if (!is_same_view(&snapshot->view, &other->view)) {
        return;
    }
    const struct engine_moment moment = {other->seq, model->times[other->seq]};
    merge_cursor_renew(walk->cursor, &moment);
    fixture->renewals += other->seq != walk->seq ? 1 : 0;
    walk->seq = other->seq;
    walk->at = SIZE_MAX;
}

static void check_step(struct fixture *fixture, struct walk *walk) {
    struct model *model = &fixture->model;
    tern_status status;
    uint64_t choice = model_random(model, 10);
    bool backward = model_random(model, 100) < walk->backward_percent;
    size_t from;
    if (choice == 0) {
        from = model_random(model, model->key_count);
        status = merge_cursor_seek(walk->cursor, model_key_at(model, from), backward, NULL);
        from = !backward && from < walk->begin ? walk->begin : from;
        from = backward && from >= walk->end ? walk->end - 1 : from;
    } else if (choice == 1) {
        status = merge_cursor_first(walk->cursor, backward, NULL);
        from = backward ? walk->end - 1 : walk->begin;
    } else if (choice < 4) {
        check_batch(fixture, walk);
        return;
    } else {
        status = backward ? merge_cursor_previous(walk->cursor, NULL)
                          : merge_cursor_next(walk->cursor, NULL);
        from = backward ? walk->end - 1 : walk->begin;
        if (walk->at != SIZE_MAX) {
            from = backward ? walk->at - 1 : walk->at + 1;
        }
    }
    walk->at = find_visible(fixture, walk->seq, from, walk->begin, walk->end, backward);
    assert_int_equal(status, walk->at == SIZE_MAX ? TERN_NOT_FOUND : TERN_OK);
    if (walk->at != SIZE_MAX) {
        struct engine_entry entry;
        merge_cursor_entry(walk->cursor, &entry);
        check_entry(fixture, &entry, walk->at, walk->seq, walk->keys_only);
    }
}

static void check_cursor(struct fixture *fixture, const struct snapshot *snapshot) {
    struct model *model = &fixture->model;
    struct walk walk = {.seq = snapshot->seq, .at = SIZE_MAX};
    struct engine_cursor_bounds bounds = model_bounds(model, &walk.begin, &walk.end);
    if (walk.begin >= walk.end) {
        return;
    }
    walk.backward_percent = model_random(model, 2) == 0 ? 20 : 80;
    walk.keys_only = model_random(model, 4) == 0;
    struct merge_cursor_options options = {
        .allocator = tern_allocator_default(),
        .epoch = fixture->epoch,
        .stack = &snapshot->view.stack,
        .base = array_base_open(model, snapshot->view.content, 1 + model_random(model, 30)),
        .moment = {snapshot->seq, model->times[snapshot->seq]},
        .bounds = bounds,
        .keys_only = walk.keys_only,
        .read_large = model_read_large,
    };
    assert_int_equal(merge_cursor_open(&options, &walk.cursor, NULL), TERN_OK);
    size_t steps = 10 + model_random(model, 40);
    for (size_t i = 0; i < steps; i++) {
        check_step(fixture, &walk);
        if (model_random(model, 20) == 0) {
            apply_some(fixture);
        }
        if (model_random(model, 10) == 0) {
            renew(fixture, snapshot, &walk);
        }
    }
    merge_cursor_close(walk.cursor);
}

static void read_all(struct fixture *fixture) {
    struct model *model = &fixture->model;
    for (size_t i = 0; i < 8; i++) {
        check_point(fixture, &fixture->now, model->last_seq, model_random(model, model->key_count));
    }
    for (size_t i = 0; i < fixture->snapshot_count; i++) {
        check_point(fixture, &fixture->snapshots[i].view, fixture->snapshots[i].seq,
                    model_random(model, model->key_count));
        if (model_random(model, 3) == 0) {
            check_cursor(fixture, &fixture->snapshots[i]);
        }
    }
}

static void run(size_t key_count, size_t steps, uint64_t seed, bool has_ranges) {
    static struct fixture fixture;
    set_up(&fixture, key_count, seed);
    struct model *model = &fixture.model;
    model->range_odds = has_ranges ? model->range_odds : UINT64_MAX;
    for (size_t i = 0; i < steps; i++) {
        for (uint64_t commits = model_random(model, 6); commits > 0; commits--) {
            apply_some(&fixture);
        }
        if (model_random(model, 5) == 0) {
            freeze(&fixture);
        }
        if (model_random(model, 3) == 0) {
            drain(&fixture);
        }
        if (fixture.snapshot_count == SNAPSHOTS_MAX ||
            (fixture.snapshot_count > 0 && model_random(model, 6) == 0)) {
            end_snapshot(&fixture, model_random(model, fixture.snapshot_count));
        }
        if (fixture.snapshot_count < SNAPSHOTS_MAX && model_random(model, 3) == 0) {
            begin_snapshot(&fixture);
        }
        read_all(&fixture);
    }
    printf("keys %zu: %llu entries, %llu renewals\n", model->key_count,
           (unsigned long long)fixture.entries, (unsigned long long)fixture.renewals);
    assert_true(fixture.entries > 0);
    assert_true(fixture.renewals > 0);
    tear_down(&fixture);
}

/*
 * Keys 10 to 30 are in the base. The overlay deletes 12 to 28 and then puts 14 and 15 again; it has
 * been drained up to key 20. Going down from 28, the range hides 20 to 27 of the old base; below
 * the boundary the base is right as it is.
 */
static void range_delete_hides_the_base_from_the_boundary_on(void **state) {
    (void)state;
    static struct fixture fixture;
    set_up(&fixture, 200, 42);
    struct model *model = &fixture.model;
    struct engine_change change;
    model_begin_commit(model);
    for (size_t i = 10; i <= 30; i++) {
        model_put(model, i, &change);
    }
    fixture.now.content = (struct base_content){1, 1, 0};
    struct overlay *active = fixture.now.stack.active->overlay;
    assert_int_equal(overlay_reserve(active, 3, 300, NULL), TERN_OK);
    model_begin_commit(model);
    model_delete_range(model, 12, 28, &change);
    overlay_apply(active, &change, 1, 2, NULL);
    model_begin_commit(model);
    for (size_t i = 14; i <= 15; i++) {
        model_put(model, i, &change);
        overlay_apply(active, &change, 1, 3, NULL);
    }
    freeze(&fixture);
    tern_slice key = model_key_at(model, 20);
    void *boundary = malloc(key.size);
    memcpy(boundary, key.data, key.size);
    fixture.now.stack.boundary = tern_slice_of(boundary, key.size);
    fixture.now.stack.has_boundary = true;
    fixture.now.content = (struct base_content){1, 3, 20};
    begin_snapshot(&fixture);
    for (uint64_t i = 0; i < 200; i++) {
        check_cursor(&fixture, &fixture.snapshots[0]);
    }
    tear_down(&fixture);
}

/* ---- long runs of keys that are not there ---- */

/* Takes the place of a base's methods: each step tries to release what is in limbo. */
struct reclaiming_base {
    struct epoch_node limbo;
    struct epoch_domain *epoch;
    tern_status (*next)(struct base_cursor *base, tern_error *error);
    struct base_cursor_methods methods;
    bool is_released;
};
static struct reclaiming_base reclaiming;

static void note_release(struct epoch_node *node) {
    (void)node;
    reclaiming.is_released = true;
}

static tern_status next_reclaiming(struct base_cursor *base, tern_error *error) {
    (void)epoch_reclaim(reclaiming.epoch);
    return reclaiming.next(base, error);
}

/* All keys of the base but the last are deleted in the overlay: one call passes them. */
static void a_long_run_of_deleted_keys_holds_no_epoch(void **state) {
    (void)state;
    static struct fixture fixture;
    set_up(&fixture, 8000, 42);
    struct model *model = &fixture.model;
    size_t count = model->key_count;
    assert_true(count > 4 * 512);
    struct overlay *active = fixture.now.stack.active->overlay;
    struct engine_change change;
    model_begin_commit(model);
    for (size_t i = 0; i < count; i++) {
        model_put(model, i, &change);
    }
    fixture.now.content = (struct base_content){1, 1, 0};
    model_begin_commit(model);
    for (size_t i = 0; i + 1 < count; i++) {
        change = (struct engine_change){.key = model_key_at(model, i),
                                        .record = {.kind = RECORD_DELETE}};
        change.key_hash = engine_key_hash(MODEL_PARTITION, change.key);
        assert_int_equal(overlay_reserve(active, 1, change.key.size, NULL), TERN_OK);
        overlay_apply(active, &change, 1, 2, NULL);
    }
    for (int batched = 0; batched < 2; batched++) {
        struct merge_cursor_options options = {
            .allocator = tern_allocator_default(),
            .epoch = fixture.epoch,
            .stack = &fixture.now.stack,
            .base = array_base_open(model, fixture.now.content, 7),
            .moment = {2, model->times[2]},
            .read_large = model_read_large,
        };
        reclaiming = (struct reclaiming_base){.epoch = fixture.epoch,
                                              .next = options.base->methods->next,
                                              .methods = *options.base->methods};
        reclaiming.methods.next = next_reclaiming;
        options.base->methods = &reclaiming.methods;
        struct engine_cursor *cursor = NULL;
        assert_int_equal(merge_cursor_open(&options, &cursor, NULL), TERN_OK);
        struct epoch_slot *slot = epoch_enter(fixture.epoch);
        epoch_retire(fixture.epoch, &reclaiming.limbo, note_release);
        epoch_exit(slot);
        tern_entry entries[BATCH_MAX];
        size_t found = 0;
        tern_status status = batched
                                 ? merge_cursor_next_batch(cursor, entries, BATCH_MAX, &found, NULL)
                                 : merge_cursor_first(cursor, false, NULL);
        assert_int_equal(status, TERN_OK);
        assert_true(reclaiming.is_released);
        struct engine_entry entry;
        merge_cursor_entry(cursor, &entry);
        assert_true(slice_equal(entry.key, model_key_at(model, count - 1)));
        merge_cursor_close(cursor);
    }
    tear_down(&fixture);
}

/* Every call either works or says NO_MEMORY; nothing leaks, and the cursor can still be closed. */
static void failing_allocations_leave_a_cursor_that_can_be_closed(void **state) {
    (void)state;
    static struct fixture fixture;
    struct fault_allocator *faults = fault_allocator_create();
    set_up(&fixture, 100, 7);
    for (size_t i = 0; i < 200; i++) {
        apply_some(&fixture);
    }
    begin_snapshot(&fixture);
    struct engine_cursor_bounds bounds = {.has_begin = true, .has_end = true};
    bounds.begin = model_key_at(&fixture.model, 3);
    bounds.end = model_key_at(&fixture.model, 90);
    for (uint64_t nth = 1; nth < 30; nth++) {
        struct merge_cursor_options options = {
            .allocator = fault_allocator_interface(faults),
            .epoch = fixture.epoch,
            .stack = &fixture.snapshots[0].view.stack,
            .base = array_base_open(&fixture.model, (struct base_content){0, 0, 0}, 5),
            .moment = {fixture.snapshots[0].seq, fixture.model.times[fixture.snapshots[0].seq]},
            .bounds = bounds,
            .read_large = model_read_large,
        };
        struct engine_cursor *cursor = NULL;
        fault_allocator_fail(faults, nth, nth % 2 == 0);
        tern_status status = merge_cursor_open(&options, &cursor, NULL);
        tern_entry entries[BATCH_MAX];
        size_t count = 0;
        for (size_t i = 0; cursor != NULL && i < 20; i++) {
            status = i % 3 == 0   ? merge_cursor_next_batch(cursor, entries, 7, &count, NULL)
                     : i % 3 == 1 ? merge_cursor_next(cursor, NULL)
                                  : merge_cursor_previous(cursor, NULL);
            assert_true(status == TERN_OK || status == TERN_NOT_FOUND || status == TERN_NO_MEMORY);
        }
        assert_true(cursor != NULL || status == TERN_NO_MEMORY);
        fault_allocator_fail(faults, 0, false);
        merge_cursor_close(cursor);
        assert_int_equal(fault_allocator_live_blocks(faults), 0);
    }
    tear_down(&fixture);
    fault_allocator_destroy(faults);
}

static void agrees_with_model_on_few_keys(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    for (uint64_t i = 0; i < 4; i++) {
        run(8 + i * 20, 300, seed + i, i % 2 == 0);
    }
}

static void agrees_with_model_on_many_keys(void **state) {
    (void)state;
    run(700, 250, test_seed() + 100, true);
    run(150, 600, test_seed() + 200, true);
    run(700, 250, test_seed() + 300, false);
    run(150, 600, test_seed() + 400, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(range_delete_hides_the_base_from_the_boundary_on),
        cmocka_unit_test(a_long_run_of_deleted_keys_holds_no_epoch),
        cmocka_unit_test(failing_allocations_leave_a_cursor_that_can_be_closed),
        cmocka_unit_test(agrees_with_model_on_few_keys),
        cmocka_unit_test(agrees_with_model_on_many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
