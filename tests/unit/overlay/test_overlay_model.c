/* SPDX-License-Identifier: Apache-2.0 */
/* Random commits, snapshots, prunes and reads of one overlay against the oracle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/compare.h"
#include "model.h"

#define SNAPSHOTS_MAX 12
#define CHANGES_MAX   9

struct fixture {
    struct model model;
    struct budget budget;
    struct epoch_domain *epoch;
    struct overlay *overlay;
    seq_no visible_seq;
    seq_no live[SNAPSHOTS_MAX + 2]; /* one more for a walk, one for a late snapshot */
    size_t live_count;
    uint64_t cancelled;
    uint64_t answered;
};

static void set_up(struct fixture *fixture, size_t key_count, uint64_t seed) {
    memset(fixture, 0, sizeof(*fixture));
    model_init(&fixture->model, key_count, seed);
    assert_int_equal(epoch_domain_create(tern_allocator_default(), &fixture->epoch, NULL), TERN_OK);
    struct overlay_options options = {tern_allocator_default(), &fixture->budget, fixture->epoch,
                                      NULL, 0};
    assert_int_equal(overlay_create(&options, &fixture->overlay, NULL), TERN_OK);
    assert_true(overlay_bytes(fixture->overlay) <= 64 << 10);
}

static void tear_down(struct fixture *fixture) {
    assert_int_equal(overlay_bytes(fixture->overlay),
                     budget_used(&fixture->budget, BUDGET_OVERLAY));
    overlay_destroy(fixture->overlay);
    assert_int_equal(budget_used(&fixture->budget, BUDGET_OVERLAY), 0);
    epoch_domain_destroy(fixture->epoch);
    model_release(&fixture->model);
}

static int compare_seqs(const void *left, const void *right) {
    seq_no a = *(const seq_no *)left;
    seq_no b = *(const seq_no *)right;
    return (a > b) - (a < b);
}

static void apply_some(struct fixture *fixture) {
    struct model *model = &fixture->model;
    struct engine_change changes[CHANGES_MAX];
    size_t commits = 1 + model_random(model, 4);
    qsort(fixture->live, fixture->live_count, sizeof(seq_no), compare_seqs);
    seq_no live[SNAPSHOTS_MAX + 2];
    memcpy(live, fixture->live, sizeof(live));
    struct engine_horizon horizon = {live, fixture->live_count, fixture->visible_seq};
    /* One that the applier does not know of yet. */
    if (fixture->live_count < SNAPSHOTS_MAX && model_random(model, 3) == 0) {
        fixture->live[fixture->live_count++] = fixture->visible_seq;
    }
    for (size_t i = 0; i < commits; i++) {
        size_t bytes;
        size_t count = model_commit(model, changes, CHANGES_MAX, &bytes);
        assert_int_equal(overlay_reserve(fixture->overlay, count, bytes, NULL), TERN_OK);
        overlay_apply(fixture->overlay, changes, count, model->last_seq,
                      model_random(model, 10) == 0 ? NULL : &horizon);
    }
    fixture->visible_seq = model->last_seq;
    const char *broken = overlay_check(fixture->overlay);
    if (broken != NULL) {
        fail_msg("%s", broken);
    }
}

static void change_snapshots(struct fixture *fixture) {
    struct model *model = &fixture->model;
    if (fixture->live_count > 0 && model_random(model, 4) == 0) {
        size_t index = model_random(model, fixture->live_count);
        fixture->live[index] = fixture->live[--fixture->live_count];
    }
    if (fixture->live_count < SNAPSHOTS_MAX && model_random(model, 4) == 0) {
        fixture->live[fixture->live_count++] = fixture->visible_seq;
    }
}

static void check_result(struct fixture *fixture, size_t key, seq_no seq,
                         struct resolution *resolution) {
    static struct model_value expected;
    struct engine_scratch scratch;
    struct engine_result result;
    engine_scratch_init(&scratch, tern_allocator_default());
    uint64_t time_ms = fixture->model.times[seq];
    assert_int_equal(
        resolution_finish(resolution, time_ms, &scratch, model_read_large, NULL, &result, NULL),
        TERN_OK);
    model_state(&fixture->model, key, seq, time_ms, &expected);
    if (!model_result_equals(&expected, &result)) {
        fail_msg("key %zu at seq %llu differs", key, (unsigned long long)seq);
    }
    engine_scratch_release(&scratch);
}

static void look_up(struct fixture *fixture, size_t key, seq_no seq, bool is_registered) {
    tern_slice bytes = model_key_at(&fixture->model, key);
    uint64_t hash = engine_key_hash(MODEL_PARTITION, bytes);
    struct resolution resolution;
    resolution_init(&resolution, tern_allocator_default());
    tern_status status = overlay_lookup(fixture->overlay, bytes, hash, seq, &resolution);
    if (status == TERN_CANCELLED && !is_registered) {
        resolution_release(&resolution);
        fixture->cancelled++;
        return;
    }
    assert_int_equal(status, TERN_OK);
    if (resolution.terminal.kind != RECORD_NONE || resolution.operand_count > 0) {
        assert_true(overlay_may_contain(fixture->overlay, bytes, hash));
    }
    fixture->answered++;
    check_result(fixture, key, seq, &resolution);
}

static void read_some(struct fixture *fixture) {
    struct model *model = &fixture->model;
    for (size_t i = 0; i < 6; i++) {
        size_t key = model_random(model, model->key_count);
        look_up(fixture, key, fixture->visible_seq, true);
        look_up(fixture, key, model_random(model, fixture->visible_seq) + 1, false);
        for (size_t j = 0; j < fixture->live_count; j++) {
            look_up(fixture, key, fixture->live[j], true);
        }
    }
}

static size_t next_with_events(const struct model *model, size_t index, bool backward) {
    while (index < model->key_count && model->keys[index].event_count == 0) {
        index = backward ? index - 1 : index + 1;
    }
    return index;
}

/* Keys that only range deletes touched are in the model's list but not in the overlay. */
static void walk(struct fixture *fixture, bool backward) {
    struct model *model = &fixture->model;
    struct overlay_iterator iterator;
    overlay_iterator_init(&iterator, fixture->overlay);
    size_t index = model_random(model, model->key_count);
    bool found = overlay_iterator_seek(&iterator, model_key_at(model, index), backward, true);
    size_t steps = 0;
    seq_no seq = fixture->visible_seq;
    fixture->live[fixture->live_count++] = seq;
    while (found && steps++ < 200) {
        tern_slice key = overlay_iterator_key(&iterator);
        index = next_with_events(model, index, backward);
        while (index < model->key_count && !slice_equal(model_key_at(model, index), key)) {
            /* Passed over: nothing but range deletes happened to it before the walk. */
            for (size_t i = 0; i < model->keys[index].event_count; i++) {
                assert_true(model->keys[index].events[i].kind == RECORD_DELETE ||
                            model->keys[index].events[i].seq > seq);
            }
            index = backward ? index - 1 : index + 1;
        }
        assert_true(index < model->key_count);
        struct resolution resolution;
        resolution_init(&resolution, tern_allocator_default());
        assert_int_equal(overlay_iterator_resolve(&iterator, seq, &resolution), TERN_OK);
        check_result(fixture, index, seq, &resolution);
        if (model_random(model, 30) == 0) {
            apply_some(fixture);
        }
        found = backward ? overlay_iterator_previous(&iterator) : overlay_iterator_next(&iterator);
        index = backward ? index - 1 : index + 1;
    }
    size_t own = 0;
    while (fixture->live[own] != seq) {
        own++;
    }
    fixture->live[own] = fixture->live[--fixture->live_count];
}

static bool ranges_changed(const struct model *model, size_t begin, size_t end, seq_no since) {
    for (size_t i = 0; i < model->range_count; i++) {
        const struct model_range *range = &model->ranges[i];
        if (range->seq > since && range->begin < end && range->end > begin) {
            return true;
        }
    }
    return false;
}

static bool has_newer_range(const struct model *model, seq_no since) {
    return model->range_count > 0 && model->ranges[model->range_count - 1].seq > since;
}

static void compare_changes(struct fixture *fixture) {
    struct model *model = &fixture->model;
    size_t begin;
    size_t end;
    struct engine_cursor_bounds bounds = model_bounds(model, &begin, &end);
    uint64_t back = model_random(model, 8);
    seq_no since = fixture->visible_seq > back ? fixture->visible_seq - back : 0;
    bool expected = begin < end && (model_changed_since(model, begin, end, since, 1) ||
                                    ranges_changed(model, begin, end, since));
    bool changed = overlay_changed_since(fixture->overlay, &bounds, since);
    if (begin < end) {
        /* A range may overlap between keys, where the model has none. */
        assert_true(changed == expected || (changed && has_newer_range(model, since)));
    }
}

static void run(size_t key_count, size_t steps, uint64_t seed) {
    static struct fixture fixture;
    set_up(&fixture, key_count, seed);
    for (size_t i = 0; i < steps; i++) {
        struct epoch_slot *slot = NULL;
        apply_some(&fixture);
        slot = epoch_enter(fixture.epoch);
        read_some(&fixture);
        if (model_random(&fixture.model, 10) == 0) {
            walk(&fixture, false);
            walk(&fixture, true);
        }
        compare_changes(&fixture);
        epoch_exit(slot);
        change_snapshots(&fixture);
    }
    printf("keys %zu: %llu answered, %llu too old\n", fixture.model.key_count,
           (unsigned long long)fixture.answered, (unsigned long long)fixture.cancelled);
    tear_down(&fixture);
}

static void agrees_with_model_on_few_hot_keys(void **state) {
    (void)state;
    uint64_t seed = test_seed();
    for (uint64_t i = 0; i < 4; i++) {
        run(6 + i * 5, 400, seed + i);
    }
}

static void agrees_with_model_on_many_keys(void **state) {
    (void)state;
    run(3000, 700, test_seed() + 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_model_on_few_hot_keys),
        cmocka_unit_test(agrees_with_model_on_many_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
