/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 * ctest: more=release TERN_HISTORIES=200 1800
 *
 * Random list-append transactions on real threads, and the isolation level judged by what they saw
 * (support/history.h). Keys lie in two keyspaces, of the hash
 * engine and of the B+tree; transactions read by get, pinned get, multi-get
 * and cursor, append by put or by merge, roll back, undo to savepoints; single operations run
 * beside them, and a thread that keeps overlays freezing, checkpoints and compacts.
 *
 * TERN_SEED replays what each thread draws (not how threads interleave); TERN_HISTORIES is how many
 * rounds over all kinds of histories are played.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tern/tern.h>
#include <unistd.h>

#include "support/cmocka_test.h"
#include "support/history.h"
#include "support/seeded_random.h"
#include "support/temporary_directory.h"

#define ROUNDS      40u
#define THREADS_MAX 8u
#define KEYS_MAX    5u
#define LIST_MAX    4096u
#define KEYSPACES   2u
#define HASHED      0u /* the keyspace that has no order */

enum locking { OPTIMISTIC, PESSIMISTIC, MIXED };

struct kind_of_history {
    tern_isolation isolation;
    bool merges; /* append by merge, blindly; else by reading and putting */
    enum locking locking;
};

/* The database, and the thread that keeps it busy. */
struct store {
    char *path;
    tern_db *db;
    tern_keyspace *keyspaces[KEYSPACES];
    tern_keyspace *ballast;
    pthread_t churner;
    atomic_bool stops;
    uint64_t seed;
    unsigned histories;
};

struct play {
    struct store *store;
    struct kind_of_history kind;
    struct history *history;
    unsigned number; /* part of the keys' names */
    unsigned threads;
    unsigned keys;
    pthread_barrier_t start;
    pthread_mutex_t mutex;
    char failure[600]; /* the first, under `mutex` */
};

struct player {
    struct play *play;
    unsigned session;
    struct seeded_random random;
    tern_txn *txn;
    struct history_txn *record;
    bool is_pessimistic;
    uint32_t list[LIST_MAX];
    uint32_t others[KEYS_MAX][LIST_MAX];
};

/* ---- small helpers ---- */

static void fail_play(struct play *play, const char *what, tern_status status,
                      const tern_error *error) {
    pthread_mutex_lock(&play->mutex);
    if (play->failure[0] == '\0') {
        (void)snprintf(play->failure, sizeof(play->failure), "%s: %s: %s", what,
                       tern_status_name(status), error != NULL ? error->message : "");
    }
    pthread_mutex_unlock(&play->mutex);
}

/*
 * What transactions may do to each other at any time; no memory is what the small overlays answer
 * when snapshots hold them for too long.
 */
static bool is_rivalry(tern_status status) {
    return status == TERN_CONFLICT || status == TERN_LOCKED || status == TERN_DEADLOCK ||
           status == TERN_TIMEOUT || status == TERN_NO_MEMORY;
}

static tern_keyspace *keyspace_of(const struct play *play, uint32_t key) {
    return play->store->keyspaces[key % KEYSPACES];
}

static tern_slice name_key(const struct play *play, uint32_t key, char buffer[32]) {
    int size = snprintf(buffer, 32, "h%06u-%02u", play->number, key);
    return tern_slice_of(buffer, (size_t)size);
}

static void pause_somewhere(struct player *player) {
    if (seeded_random_chance(&player->random, 1, 4)) {
        sched_yield();
    }
}

/* Records a read; false when it failed. */
static bool note_read(struct player *player, uint32_t key, tern_status status, const void *bytes,
                      size_t size_bytes) {
    if (status == TERN_OK && size_bytes % sizeof(uint32_t) == 0 && size_bytes <= LIST_MAX * 4) {
        if (bytes != player->list) {
            memcpy(player->list, bytes, size_bytes);
        }
        history_read(player->record, key, player->list, size_bytes / sizeof(uint32_t));
    } else if (status == TERN_NOT_FOUND) {
        history_read(player->record, key, NULL, 0);
    } else {
        return false;
    }
    return true;
}

/* ---- pieces of a transaction: each returns a status of rivalry, or what broke ---- */

static tern_status read_list(struct player *player, uint32_t key, bool for_update,
                             size_t *out_bytes) {
    char buffer[32];
    tern_slice name = name_key(player->play, key, buffer);
    tern_keyspace *keyspace = keyspace_of(player->play, key);
    size_t size = 0;
    tern_status status;
    if (!for_update && seeded_random_chance(&player->random, 1, 3)) {
        tern_value value = TERN_VALUE_INIT;
        status = tern_txn_get_pinned(player->txn, keyspace, name, &value);
        size = status == TERN_OK ? value.bytes.size : 0;
        if (size <= sizeof(player->list)) {
            memcpy(player->list, size > 0 ? value.bytes.data : "", size);
        }
        tern_value_release(&value);
    } else if (for_update) {
        status = tern_txn_get_for_update(player->txn, keyspace, name, player->list,
                                         sizeof(player->list), &size);
    } else {
        status =
            tern_txn_get(player->txn, keyspace, name, player->list, sizeof(player->list), &size);
    }
    size = status == TERN_OK ? size : 0;
    if (note_read(player, key, status, player->list, size)) {
        *out_bytes = size;
        return TERN_OK;
    }
    return status;
}

static tern_status append(struct player *player, uint32_t key) {
    struct play *play = player->play;
    char buffer[32];
    tern_slice name = name_key(play, key, buffer);
    tern_keyspace *keyspace = keyspace_of(play, key);
    size_t size = 0;
    tern_status status = TERN_OK;
    if (!play->kind.merges) {
        bool for_update =
            player->is_pessimistic && (play->kind.isolation == TERN_ISOLATION_READ_COMMITTED ||
                                       seeded_random_chance(&player->random, 1, 2));
        status = read_list(player, key, for_update, &size);
        pause_somewhere(player);
    }
    if (status != TERN_OK) {
        return status;
    }
    uint32_t element = history_new_element(play->history);
    if (play->kind.merges) {
        status = tern_txn_merge(player->txn, keyspace, name, TERN_MERGE_APPEND,
                                tern_slice_of(&element, sizeof(element)));
    } else {
        player->list[size / sizeof(element)] = element;
        status = tern_txn_put(player->txn, keyspace, name,
                              tern_slice_of(player->list, size + sizeof(element)), NULL);
    }
    /* Recorded even if it failed: then the transaction is rolled back, and nobody may see it. */
    history_append(player->record, key, element, play->kind.merges);
    return status;
}

static tern_status read_many(struct player *player) {
    struct play *play = player->play;
    char buffers[KEYS_MAX][32];
    tern_get_request requests[KEYS_MAX];
    uint32_t keys[KEYS_MAX];
    size_t count = 0;
    uint32_t parity = (uint32_t)seeded_random_below(&player->random, KEYSPACES);
    for (uint32_t key = parity; key < play->keys; key += KEYSPACES) {
        keys[count] = key;
        requests[count] = (tern_get_request){.key = name_key(play, key, buffers[count]),
                                             .buffer = player->others[count],
                                             .capacity = sizeof(player->others[count])};
        count++;
    }
    tern_status status;
    if (player->txn != NULL) {
        status = tern_txn_multi_get(player->txn, play->store->keyspaces[parity], requests, count);
    } else {
        tern_error error = TERN_ERROR_INIT;
        status = tern_multi_get(play->store->keyspaces[parity], requests, count, &error);
    }
    for (size_t i = 0; status == TERN_OK && i < count; i++) {
        if (!note_read(player, keys[i], requests[i].status, player->others[i],
                       requests[i].value_size)) {
            status = requests[i].status;
        }
    }
    return status;
}

/* Reads all keys of the history in one keyspace; those that do not come up are empty lists. */
static tern_status scan(struct player *player) {
    struct play *play = player->play;
    uint32_t parity = (uint32_t)seeded_random_below(&player->random, KEYSPACES);
    tern_cursor_options options = TERN_CURSOR_OPTIONS_INIT;
    char bounds[2][32];
    tern_slice begin = name_key(play, 0, bounds[0]);
    tern_slice end = name_key(play, 99, bounds[1]);
    tern_cursor *cursor = NULL;
    bool is_there[KEYS_MAX] = {false};
    options.begin = &begin;
    options.end = &end;
    tern_status status =
        tern_cursor_open(player->txn, play->store->keyspaces[parity], &options, &cursor);
    bool backwards = seeded_random_chance(&player->random, 1, 2) && parity != HASHED;
    while (status == TERN_OK) {
        tern_slice value;
        status = backwards ? tern_cursor_previous(cursor) : tern_cursor_next(cursor);
        if (status == TERN_OK) {
            status = tern_cursor_value(cursor, &value);
        }
        if (status == TERN_OK) {
            tern_slice name = tern_cursor_key(cursor);
            uint32_t key = (uint32_t)(((const char *)name.data)[name.size - 1] - '0');
            if (key >= play->keys || is_there[key] ||
                !note_read(player, key, TERN_OK, value.data, value.size)) {
                status = TERN_CORRUPTION;
            } else {
                is_there[key] = true;
            }
        }
    }
    tern_cursor_close(cursor);
    for (uint32_t key = parity; status == TERN_NOT_FOUND && key < play->keys; key += KEYSPACES) {
        if (!is_there[key]) {
            history_read(player->record, key, NULL, 0);
        }
    }
    return status == TERN_NOT_FOUND ? TERN_OK : status;
}

static tern_status random_operation(struct player *player) {
    uint32_t key = (uint32_t)seeded_random_below(&player->random, player->play->keys);
    uint64_t what = seeded_random_below(&player->random, 20);
    size_t size;
    if (what < 9) {
        return append(player, key);
    }
    if (what < 16) {
        return read_list(player, key, false, &size);
    }
    return what < 18 ? read_many(player) : scan(player);
}

/* Some operations that are undone before the transaction ends. */
static tern_status detour(struct player *player) {
    uint32_t savepoint;
    tern_status status = tern_txn_savepoint(player->txn, &savepoint);
    size_t place = history_savepoint(player->record);
    for (uint64_t i = seeded_random_below(&player->random, 3); status == TERN_OK && i > 0; i--) {
        status = random_operation(player);
    }
    if (status == TERN_OK) {
        status = tern_txn_rollback_to(player->txn, savepoint);
        history_undo(player->record, place);
    }
    return status;
}

/* ---- whole transactions ---- */

static void finish(struct player *player, tern_status status) {
    if (status != TERN_OK && !is_rivalry(status)) {
        fail_play(player->play, "an operation", status, tern_txn_error(player->txn));
    }
    if (status == TERN_OK && seeded_random_chance(&player->random, 9, 10)) {
        status = tern_txn_commit(player->txn);
        if (status != TERN_OK && !is_rivalry(status)) {
            fail_play(player->play, "a commit", status, tern_txn_error(player->txn));
        }
        history_end(player->record, status == TERN_OK ? HISTORY_COMMITTED : HISTORY_ABORTED);
    } else {
        tern_txn_rollback(player->txn);
        history_end(player->record, HISTORY_ABORTED);
    }
    tern_txn_free(player->txn);
    player->txn = NULL;
}

static void play_txn(struct player *player, bool is_read_only) {
    struct play *play = player->play;
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    player->is_pessimistic =
        play->kind.locking == PESSIMISTIC ||
        (play->kind.locking == MIXED && seeded_random_chance(&player->random, 1, 2));
    options.isolation = play->kind.isolation;
    options.read_only = is_read_only;
    options.pessimistic = player->is_pessimistic && !is_read_only;
    player->record = history_begin(play->history, player->session);
    tern_status status = tern_txn_begin(play->store->db, &options, &player->txn, &error);
    if (status != TERN_OK) {
        fail_play(play, "begin", status, &error);
        history_end(player->record, HISTORY_ABORTED);
        return;
    }
    for (uint64_t i = seeded_random_below(&player->random, 5) + 1; status == TERN_OK && i > 0;
         i--) {
        pause_somewhere(player);
        if (!is_read_only) {
            status = seeded_random_chance(&player->random, 1, 20) ? detour(player)
                                                                  : random_operation(player);
        } else if (seeded_random_chance(&player->random, 1, 2)) {
            status = scan(player);
        } else {
            status = read_many(player);
        }
    }
    finish(player, status);
}

/* Appends by compare-and-set: a transaction of a read and an update. */
static tern_status compare_and_append(struct player *player, uint32_t key, tern_slice name) {
    struct play *play = player->play;
    tern_keyspace *keyspace = keyspace_of(play, key);
    tern_error error = TERN_ERROR_INIT;
    size_t size = 0;
    tern_status status =
        tern_get(keyspace, name, player->list, sizeof(player->list), &size, &error);
    if (status != TERN_OK && status != TERN_NOT_FOUND) {
        return status;
    }
    bool is_missing = status == TERN_NOT_FOUND;
    uint32_t element = history_new_element(play->history);
    size = is_missing ? 0 : size;
    /* The comparison is the read. */
    player->record = history_begin(play->history, player->session);
    history_read(player->record, key, player->list, size / sizeof(element));
    history_append(player->record, key, element, false);
    uint32_t *desired = player->others[0];
    memcpy(desired, player->list, size);
    desired[size / sizeof(element)] = element;
    tern_slice expected = tern_slice_of(player->list, size);
    tern_slice wanted = tern_slice_of(desired, size + sizeof(element));
    pause_somewhere(player);
    status = tern_compare_and_set(keyspace, name, is_missing ? NULL : &expected, &wanted, NULL,
                                  NULL, &error);
    history_end(player->record, status == TERN_OK ? HISTORY_COMMITTED : HISTORY_ABORTED);
    if (status != TERN_OK && !is_rivalry(status)) {
        fail_play(play, "compare and set", status, &error);
    }
    return TERN_OK;
}

/* A single operation is a transaction of its own. */
static void play_single(struct player *player) {
    struct play *play = player->play;
    tern_error error = TERN_ERROR_INIT;
    char buffer[32];
    uint32_t key = (uint32_t)seeded_random_below(&player->random, play->keys);
    tern_slice name = name_key(play, key, buffer);
    uint64_t what = seeded_random_below(&player->random, 3);
    if (what == 0 && !play->kind.merges) {
        tern_status status = compare_and_append(player, key, name);
        if (status != TERN_OK) {
            fail_play(play, "get", status, NULL);
        }
        return;
    }
    tern_status status;
    player->record = history_begin(play->history, player->session);
    if (what == 0) {
        uint32_t element = history_new_element(play->history);
        history_append(player->record, key, element, true);
        status = tern_merge(keyspace_of(play, key), name, TERN_MERGE_APPEND,
                            tern_slice_of(&element, sizeof(element)), NULL, &error);
    } else if (what == 1) {
        size_t size = 0;
        status = tern_get(keyspace_of(play, key), name, player->list, sizeof(player->list), &size,
                          &error);
        status = note_read(player, key, status, player->list, size) ? TERN_OK : status;
    } else {
        status = read_many(player);
    }
    history_end(player->record, status == TERN_OK ? HISTORY_COMMITTED : HISTORY_ABORTED);
    if (status != TERN_OK && !is_rivalry(status)) {
        fail_play(play, "a single operation", status, &error);
    }
}

static void *player_main(void *argument) {
    struct player *player = argument;
    pthread_barrier_wait(&player->play->start);
    for (unsigned i = 0; i < 30; i++) {
        uint64_t what = seeded_random_below(&player->random, 10);
        if (what < 2) {
            play_single(player);
        } else {
            play_txn(player, what == 2);
        }
    }
    return NULL;
}

/* ---- histories ---- */

/* The last state of every key, in a transaction after all others. */
static void read_all(struct player *player) {
    struct play *play = player->play;
    tern_error error = TERN_ERROR_INIT;
    player->record = history_begin(play->history, player->session);
    assert_ok(tern_txn_begin(play->store->db, NULL, &player->txn, &error), error);
    for (uint32_t key = 0; key < play->keys; key++) {
        size_t size;
        assert_ok(read_list(player, key, false, &size), *tern_txn_error(player->txn));
    }
    assert_ok(tern_txn_commit(player->txn), *tern_txn_error(player->txn));
    history_end(player->record, HISTORY_COMMITTED);
    tern_txn_free(player->txn);
    player->txn = NULL;
}

static const char *kind_name(const struct kind_of_history *kind, char buffer[96]) {
    static const char *const levels[] = {"default", "read committed", "snapshot", "serializable"};
    static const char *const lockings[] = {"optimistic", "pessimistic", "mixed"};
    (void)snprintf(buffer, 96, "%s, %s, %s", levels[kind->isolation],
                   kind->merges ? "merges" : "updates", lockings[kind->locking]);
    return buffer;
}

/* Plays one history; returns what was found in it. */
static void play_history(struct store *store, const struct kind_of_history *kind,
                         struct history_rules rules, uint32_t forbidden,
                         struct history_report *out_report) {
    struct play play = {.store = store, .kind = *kind, .number = store->histories++};
    struct seeded_random random;
    pthread_t threads[THREADS_MAX];
    struct player *players = calloc(THREADS_MAX, sizeof(*players));
    assert_non_null(players);
    seeded_random_init(&random, store->seed + play.number);
    play.threads = 4 + (unsigned)seeded_random_below(&random, 5);
    play.keys = 2 + (unsigned)seeded_random_below(&random, KEYS_MAX - 1);
    play.history = history_create(play.threads);
    pthread_mutex_init(&play.mutex, NULL);
    pthread_barrier_init(&play.start, NULL, play.threads);
    for (unsigned i = 0; i < play.threads; i++) {
        players[i].play = &play;
        players[i].session = i;
        seeded_random_init(&players[i].random, seeded_random_next(&random));
        assert_int_equal(pthread_create(&threads[i], NULL, player_main, &players[i]), 0);
    }
    for (unsigned i = 0; i < play.threads; i++) {
        pthread_join(threads[i], NULL);
    }
    char name[96];
    if (play.failure[0] != '\0') {
        fail_msg("history %u (%s): %s", play.number, kind_name(kind, name), play.failure);
    }
    read_all(&players[0]);
    history_check(play.history, rules, out_report);
    if ((out_report->anomalies & forbidden) != 0) {
        char path[64];
        (void)snprintf(path, sizeof(path), "history_%u.txt", play.number);
        FILE *file = fopen(path, "w");
        if (file != NULL) {
            history_print(play.history, file);
            (void)fclose(file);
        }
        fail_msg("history %u (%s), written to %s:\n%s", play.number, kind_name(kind, name), path,
                 out_report->detail);
    }
    pthread_barrier_destroy(&play.start);
    pthread_mutex_destroy(&play.mutex);
    history_destroy(play.history);
    free(players);
}

/* Fewer where a round takes ten times as long. */
static unsigned rounds(void) {
    const char *given = getenv("TERN_HISTORIES");
    const char *preset = getenv("TERN_PRESET");
    unsigned long count = given != NULL ? strtoul(given, NULL, 10) : 0;
    if (count > 0) {
        return (unsigned)count;
    }
    bool is_slow =
        preset != NULL && (strcmp(preset, "tsan") == 0 || strcmp(preset, "valgrind") == 0);
    return is_slow ? ROUNDS / 10 : ROUNDS;
}

/* Plays rounds of a kind; returns all anomalies that were seen and allowed. */
static uint32_t play_rounds(void **state, struct kind_of_history kind, struct history_rules rules,
                            uint32_t forbidden) {
    uint32_t seen = 0;
    size_t committed = 0;
    size_t aborted = 0;
    char name[96];
    for (unsigned i = 0; i < rounds(); i++) {
        struct history_report report;
        play_history(*state, &kind, rules, forbidden, &report);
        seen |= report.anomalies;
        committed += report.committed;
        aborted += report.aborted;
    }
    char names[256];
    print_message("%s: %u histories, %zu committed, %zu aborted; allowed and seen: %s\n",
                  kind_name(&kind, name), rounds(), committed, aborted,
                  history_anomaly_names(seen, names, sizeof(names)));
    /* Histories in which nearly nothing happens prove nothing. */
    assert_true(committed > 20 * rounds());
    return seen;
}

static void serializable_histories_have_no_cycle(void **state) {
    for (int locking = OPTIMISTIC; locking <= MIXED; locking++) {
        for (int merges = 0; merges <= 1; merges++) {
            struct kind_of_history kind = {TERN_ISOLATION_SERIALIZABLE, merges == 1,
                                           (enum locking)locking};
            play_rounds(state, kind, (struct history_rules){.is_complete = true},
                        HISTORY_SERIALIZABLE_RULES);
        }
    }
}

static void snapshot_histories_have_write_skew_and_no_other_cycle(void **state) {
    uint32_t seen = 0;
    for (int locking = OPTIMISTIC; locking <= MIXED; locking++) {
        for (int merges = 0; merges <= 1; merges++) {
            struct kind_of_history kind = {TERN_ISOLATION_SNAPSHOT, merges == 1,
                                           (enum locking)locking};
            struct history_rules rules = {.is_complete = true, .appends_commute = merges == 1};
            seen |= play_rounds(state, kind, rules, HISTORY_SNAPSHOT_RULES);
        }
    }
    /* Else the checker, or the histories, are blind. */
    assert_true((seen & HISTORY_G2_ITEM) != 0);
}

static void read_committed_histories_have_neither_dirty_reads_nor_write_cycles(void **state) {
    uint32_t seen = 0;
    for (int locking = OPTIMISTIC; locking <= MIXED; locking++) {
        struct kind_of_history kind = {TERN_ISOLATION_READ_COMMITTED, true, (enum locking)locking};
        seen |= play_rounds(state, kind, (struct history_rules){.is_complete = true},
                            HISTORY_READ_COMMITTED_RULES);
    }
    assert_true((seen & HISTORY_UNREPEATABLE_READ) != 0);
}

static void read_committed_updates_under_locks_are_not_lost(void **state) {
    struct kind_of_history kind = {TERN_ISOLATION_READ_COMMITTED, false, PESSIMISTIC};
    play_rounds(state, kind, (struct history_rules){.is_complete = true},
                HISTORY_READ_COMMITTED_RULES | HISTORY_LOST_UPDATE);
}

/* Without locks they may be lost, and then lists do not tell an order; but nothing dirty is read.
 */
static void read_committed_updates_without_locks_read_nothing_dirty(void **state) {
    struct kind_of_history kind = {TERN_ISOLATION_READ_COMMITTED, false, OPTIMISTIC};
    uint32_t seen = play_rounds(state, kind, (struct history_rules){0},
                                HISTORY_GARBAGE | HISTORY_DUPLICATE | HISTORY_INTERNAL |
                                    HISTORY_G1A | HISTORY_G1B);
    assert_true((seen & HISTORY_LOST_UPDATE) != 0);
}

/* ---- the store ---- */

static void *churner_main(void *argument) {
    struct store *store = argument;
    struct seeded_random random;
    char value[8192];
    seeded_random_init(&random, store->seed);
    seeded_random_fill(&random, value, sizeof(value));
    for (unsigned i = 1; !atomic_load(&store->stops); i++) {
        tern_error error = TERN_ERROR_INIT;
        char key[32];
        int size =
            snprintf(key, sizeof(key), "ballast-%03u", (unsigned)seeded_random_below(&random, 500));
        tern_status status = tern_put(
            store->ballast, tern_slice_of(key, (size_t)size),
            tern_slice_of(value, 1 + seeded_random_below(&random, sizeof(value))), NULL, &error);
        if (status == TERN_OK && i % 150 == 0) {
            status = tern_checkpoint(store->db, &error);
        }
        if (status == TERN_OK && i % 4000 == 0) {
            status = tern_compact(store->db, NULL, NULL, &error);
        }
        if (status != TERN_OK && status != TERN_NO_MEMORY) {
            (void)fprintf(stderr, "churn: %s: %s\n", tern_status_name(status), error.message);
            abort();
        }
        usleep(300);
    }
    return NULL;
}

static int open_store(void **state) {
    static struct store store;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)16 << 20;
    options.overlay_bytes = (uint64_t)1 << 20;
    options.segment_bytes = (uint64_t)1 << 20;
    options.conflict_slots = 1 << 14;
    store = (struct store){.path = temporary_directory_create()};
    store.seed = seeded_random_seed("model.serializability");
    assert_ok(tern_open(store.path, &options, &store.db, &error), error);
    tern_keyspace_options hashed = TERN_KEYSPACE_OPTIONS_INIT;
    hashed.engine = TERN_ENGINE_HASH;
    assert_ok(tern_keyspace_create(store.db, "left", &hashed, &store.keyspaces[HASHED], &error),
              error);
    assert_ok(tern_keyspace_create(store.db, "right", NULL, &store.keyspaces[1], &error), error);
    assert_ok(tern_keyspace_create(store.db, "ballast", NULL, &store.ballast, &error), error);
    assert_int_equal(pthread_create(&store.churner, NULL, churner_main, &store), 0);
    *state = &store;
    return 0;
}

static int close_store(void **state) {
    struct store *store = *state;
    tern_error error = TERN_ERROR_INIT;
    atomic_store(&store->stops, true);
    pthread_join(store->churner, NULL);
    assert_ok(tern_close(store->db, &error), error);
    temporary_directory_remove(store->path);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serializable_histories_have_no_cycle),
        cmocka_unit_test(snapshot_histories_have_write_skew_and_no_other_cycle),
        cmocka_unit_test(read_committed_histories_have_neither_dirty_reads_nor_write_cycles),
        cmocka_unit_test(read_committed_updates_under_locks_are_not_lost),
        cmocka_unit_test(read_committed_updates_without_locks_read_nothing_dirty),
    };
    return cmocka_run_group_tests(tests, open_store, close_store);
}
