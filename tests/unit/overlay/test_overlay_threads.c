/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One applier beside two readers. What commit n writes follows from n alone, so that a reader knows
 * what every moment must see.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <tern/txn.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "engine/overlay/overlay.h"
#include "os/mutex.h"

#define COMMITS     20000u
#define RING        499u /* commit n puts n under key n % RING */
#define FIXED_SEQ   700u /* the snapshot that stays registered */
#define RANGE_EVERY 64u  /* n % 64 == 0 deletes the doomed keys, n % 64 == 32 writes them */
#define DOOMED      3u
#define READERS     2u

/* Where readers have found that the first change of a commit to come will go. */
#define PLACES 64u
struct found_place {
    seq_no seq; /* of the commit */
    struct change_place place;
};

struct shared {
    struct mutex places_mutex;
    struct found_place places[PLACES];
    uint64_t places_used;
    struct overlay *overlay;
    struct epoch_domain *epoch;
    struct budget budget;
    _Atomic seq_no visible_seq;
    _Atomic uint64_t cancelled;
    _Atomic uint64_t answered;
};

struct key {
    uint8_t bytes[17];
};

/* Scattered over the tree: 'f' fresh, 'r' ring, 'c' counter, 'd' doomed (next to each other). */
static tern_slice make_key(struct key *key, char kind, uint64_t number) {
    uint64_t scattered = kind == 'd' ? number : number * UINT64_C(0x9E3779B97F4A7C15);
    key->bytes[0] = (uint8_t)kind;
    put_u64(key->bytes + 1, __builtin_bswap64(scattered));
    put_u64(key->bytes + 9, number);
    return tern_slice_of(key->bytes, sizeof(key->bytes));
}

static void fill(struct engine_change *change, tern_slice key, enum record_kind kind,
                 const uint64_t *value) {
    memset(change, 0, sizeof(*change));
    change->key = key;
    change->key_hash = engine_key_hash(1, key);
    change->record.kind = kind;
    change->record.merge_kind = kind == RECORD_MERGE ? TERN_MERGE_ADD : 0;
    change->record.value = tern_slice_of(value, sizeof(*value));
    change->record.value_size = sizeof(*value);
}

static size_t make_commit(seq_no n, struct engine_change *changes, struct key *keys) {
    static const uint64_t one = 1;
    static uint64_t value;
    value = n;
    size_t count = 0;
    fill(&changes[count], make_key(&keys[0], 'r', n % RING), RECORD_PUT, &value);
    count++;
    fill(&changes[count], make_key(&keys[1], 'f', n), RECORD_PUT, &value);
    count++;
    fill(&changes[count], make_key(&keys[2], 'c', 0), RECORD_MERGE, &one);
    changes[count].record.expires_ms = 1 + n / 100;
    count++;
    if (n % RANGE_EVERY == 0) {
        memset(&changes[count], 0, sizeof(changes[count]));
        changes[count].key = make_key(&keys[3], 'd', 0);
        changes[count].record.kind = CHANGE_DELETE_RANGE;
        changes[count].record.value = make_key(&keys[4], 'd', DOOMED);
        changes[count].range_has_end = true;
        count++;
    } else if (n % RANGE_EVERY == RANGE_EVERY / 2) {
        for (size_t i = 0; i < DOOMED; i++) {
            fill(&changes[count], make_key(&keys[3 + i], 'd', i), RECORD_PUT, &value);
            count++;
        }
    }
    return count;
}

static void take_place(struct shared *shared, seq_no n, const struct engine_change *change) {
    struct change_place place = {.node = NULL};
    mutex_lock(&shared->places_mutex);
    if (shared->places[n % PLACES].seq == n) {
        place = shared->places[n % PLACES].place;
        shared->places_used++;
    }
    mutex_unlock(&shared->places_mutex);
    if (place.node != NULL) {
        overlay_prefetch(shared->overlay, change, &place);
        overlay_prefetch_next(shared->overlay, change);
    }
}

static void apply_all(struct shared *shared) {
    static const seq_no live = FIXED_SEQ;
    for (seq_no n = 1; n <= COMMITS; n++) {
        struct engine_change changes[8];
        struct key keys[8];
        size_t count = make_commit(n, changes, keys);
        struct engine_horizon horizon = {&live, n > FIXED_SEQ ? 1 : 0, n - 1};
        ASSERT(overlay_reserve(shared->overlay, count, count * 32, NULL) == TERN_OK);
        take_place(shared, n, &changes[0]);
        overlay_apply(shared->overlay, changes, count, n, &horizon);
        atomic_store_explicit(&shared->visible_seq, n, memory_order_release);
    }
}

/* What the key holds at the moment: 0 missing, UINT64_MAX too old. */
static uint64_t read_number(struct shared *shared, tern_slice key, seq_no seq) {
    struct resolution resolution;
    resolution_init(&resolution, tern_allocator_default());
    tern_status status =
        overlay_lookup(shared->overlay, key, engine_key_hash(1, key), seq, &resolution);
    if (status == TERN_CANCELLED) {
        resolution_release(&resolution);
        atomic_fetch_add(&shared->cancelled, 1);
        return UINT64_MAX;
    }
    struct engine_scratch scratch;
    struct engine_result result;
    engine_scratch_init(&scratch, tern_allocator_default());
    ASSERT(resolution_finish(&resolution, 1, &scratch, NULL, NULL, &result, NULL) == TERN_OK);
    uint64_t number = 0;
    if (result.record.kind == RECORD_PUT) {
        ASSERT(result.record.value.size == 8);
        number = get_u64(result.record.value.data);
    }
    engine_scratch_release(&scratch);
    atomic_fetch_add(&shared->answered, 1);
    return number;
}

static uint64_t expected_ring(uint64_t index, seq_no seq) {
    uint64_t back = (seq % RING + RING - index) % RING;
    return seq > back ? seq - back : 0;
}

static uint64_t expected_doomed(seq_no seq) {
    uint64_t last = seq - seq % (RANGE_EVERY / 2);
    return last % RANGE_EVERY == RANGE_EVERY / 2 ? last : 0;
}

static void check(struct shared *shared, tern_slice key, seq_no seq, uint64_t expected) {
    uint64_t number = read_number(shared, key, seq);
    ASSERT(number == expected || (number == UINT64_MAX && seq != FIXED_SEQ));
}

static void check_points(struct shared *shared, uint64_t random) {
    struct key key;
    struct epoch_slot *slot = epoch_enter(shared->epoch);
    seq_no now = atomic_load_explicit(&shared->visible_seq, memory_order_acquire);
    seq_no seqs[2] = {now, now > FIXED_SEQ ? FIXED_SEQ : now};
    for (size_t i = 0; i < 2; i++) {
        seq_no seq = seqs[i];
        uint64_t index = random % RING;
        check(shared, make_key(&key, 'r', index), seq, expected_ring(index, seq));
        check(shared, make_key(&key, 'c', 0), seq, seq);
        check(shared, make_key(&key, 'd', random % DOOMED), seq, expected_doomed(seq));
        uint64_t fresh = 1 + random % COMMITS;
        check(shared, make_key(&key, 'f', fresh), seq, fresh <= seq ? fresh : 0);
    }
    epoch_exit(slot);
}

/* Keys of the ring are overwritten, but for the first round: then their places are where they go.
 */
static void give_place(struct shared *shared, uint64_t random) {
    struct key key;
    static const uint64_t value = 0;
    struct engine_change change;
    struct found_place found = {.place = {.node = NULL}};
    struct epoch_slot *slot = epoch_enter(shared->epoch);
    seq_no now = atomic_load_explicit(&shared->visible_seq, memory_order_acquire);
    found.seq = now + 1 + random % PLACES;
    fill(&change, make_key(&key, 'r', found.seq % RING), RECORD_PUT, &value);
    overlay_find_place(shared->overlay, &change, &found.place);
    ASSERT(found.place.node != NULL && (found.place.entry != NULL || now < RING));
    epoch_exit(slot);
    mutex_lock(&shared->places_mutex);
    shared->places[found.seq % PLACES] = found;
    mutex_unlock(&shared->places_mutex);
}

/* All fresh keys up to the moment are met, in order, both ways. */
static void check_walk(struct shared *shared, bool backward) {
    struct key key;
    struct key previous;
    seq_no seq = atomic_load_explicit(&shared->visible_seq, memory_order_acquire);
    uint64_t met = 0;
    struct overlay_iterator iterator;
    overlay_iterator_init(&iterator, shared->overlay);
    struct epoch_slot *slot = epoch_enter(shared->epoch);
    (void)make_key(&previous, 'f', 0);
    bool is_first = true;
    for (bool found = overlay_iterator_first(&iterator, backward); found;
         found = backward ? overlay_iterator_previous(&iterator)
                          : overlay_iterator_next(&iterator)) {
        tern_slice at = overlay_iterator_key(&iterator);
        memcpy(key.bytes, at.data, sizeof(key.bytes));
        int order = memcmp(key.bytes, previous.bytes, sizeof(key.bytes));
        ASSERT(is_first || (backward ? order < 0 : order > 0));
        is_first = false;
        previous = key;
        met += key.bytes[0] == 'f' && get_u64(key.bytes + 9) <= seq;
    }
    epoch_exit(slot);
    ASSERT(met == seq);
}

static void *read_all(void *context) {
    struct shared *shared = context;
    uint64_t random = (uint64_t)(uintptr_t)&random;
    uint64_t round = 0;
    while (atomic_load_explicit(&shared->visible_seq, memory_order_acquire) < COMMITS) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        check_points(shared, random >> 20);
        give_place(shared, random >> 30);
        if (round++ % 512 == 0) {
            check_walk(shared, (round & 1024) != 0);
        }
    }
    return NULL;
}

static void readers_see_exactly_their_moment_beside_the_applier(void **state) {
    (void)state;
    static struct shared shared;
    assert_int_equal(epoch_domain_create(tern_allocator_default(), &shared.epoch, NULL), TERN_OK);
    struct overlay_options options = {tern_allocator_default(), &shared.budget, shared.epoch, NULL,
                                      0};
    assert_int_equal(overlay_create(&options, &shared.overlay, NULL), TERN_OK);
    mutex_init(&shared.places_mutex);
    pthread_t threads[READERS];
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &shared), 0);
    }
    apply_all(&shared);
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    const char *broken = overlay_check(shared.overlay);
    if (broken != NULL) {
        fail_msg("%s", broken);
    }
    printf("%llu answered, %llu too old, %llu places used, %llu bytes\n",
           (unsigned long long)shared.answered, (unsigned long long)shared.cancelled,
           (unsigned long long)shared.places_used,
           (unsigned long long)overlay_bytes(shared.overlay));
    check_points(&shared, 12345);
    overlay_destroy(shared.overlay);
    epoch_domain_destroy(shared.epoch);
    mutex_destroy(&shared.places_mutex);
    assert_int_equal(budget_used(&shared.budget, BUDGET_OVERLAY), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_exactly_their_moment_beside_the_applier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
