/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 * ctest: more=release TERN_KILLS=200 1800
 *
 * A real process on a real disk is killed at random moments while several threads commit and
 * checkpoints run. Whatever the durability, an acknowledged commit is there afterwards: a process
 * crash loses nothing. TERN_KILLS says how often (default 24).
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kill_worker.h"
#include "support/cmocka_test.h"
#include "support/seeded_random.h"
#include "support/temporary_directory.h"

#define FIRST_WORD_MS_MAX 30000
#define LIFE_MS_MAX       350

/* What a thread told last, and how many commits beyond that may have happened untold: one a life.
 */
struct told {
    uint32_t head;
    uint32_t untold;
};

static pid_t start_worker(const char *directory, int *out_descriptor) {
    int ends[2];
    char number[16];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)snprintf(number, sizeof(number), "%d", ends[1]);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)fcntl(ends[1], F_SETFD, 0);
        (void)execl("/proc/self/exe", "test_kill", "worker", directory, number, (char *)NULL);
        _exit(4);
    }
    (void)close(ends[1]);
    *out_descriptor = ends[0];
    return child;
}

/* Takes what the worker told until `deadline`, or until the pipe ends when it is NULL. */
static uint64_t listen_until(int descriptor, const struct timespec *deadline,
                             struct told heads[KILL_THREADS]) {
    uint64_t heard = 0;
    for (;;) {
        struct kill_acknowledgement told[256];
        ssize_t size = read(descriptor, told, sizeof(told));
        struct timespec now;
        if (size == 0) {
            return heard;
        }
        if (size < 0) {
            assert_true(errno == EAGAIN || errno == EINTR);
            const struct timespec pause = {0, 200000};
            (void)nanosleep(&pause, NULL);
            size = 0;
        }
        assert_int_equal((size_t)size % sizeof(told[0]), 0);
        for (size_t i = 0; i < (size_t)size / sizeof(told[0]); i++) {
            assert_true(told[i].thread < KILL_THREADS);
            struct told *last = &heads[told[i].thread];
            assert_in_range(told[i].number, last->head + 1, last->head + last->untold + 1);
            *last = (struct told){told[i].number, 0};
            heard++;
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        if (deadline != NULL &&
            (now.tv_sec > deadline->tv_sec ||
             (now.tv_sec == deadline->tv_sec && now.tv_nsec >= deadline->tv_nsec))) {
            return heard;
        }
    }
}

static void kill_worker(pid_t child) {
    int status;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFSIGNALED(status)) {
        print_error("the worker ended by itself with %d\n", WEXITSTATUS(status));
    }
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static struct timespec from_now(uint64_t ns) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    uint64_t end_ns = (uint64_t)time.tv_nsec + ns;
    time.tv_sec += (time_t)(end_ns / 1000000000u);
    time.tv_nsec = (long)(end_ns % 1000000000u);
    return time;
}

/* `is_at_work`: life begins with the first commit that is told of, on slow machines too. */
static uint64_t run_life(const char *directory, bool is_at_work, uint64_t life_ns,
                         struct told heads[KILL_THREADS]) {
    int descriptor;
    pid_t child = start_worker(directory, &descriptor);
    (void)fcntl(descriptor, F_SETFL, O_NONBLOCK);
    uint64_t heard = 0;
    for (unsigned i = 0; is_at_work && heard == 0 && i < FIRST_WORD_MS_MAX; i++) {
        const struct timespec soon = from_now(1000000);
        heard += listen_until(descriptor, &soon, heads);
    }
    const struct timespec deadline = from_now(life_ns);
    heard += listen_until(descriptor, &deadline, heads);
    kill_worker(child);
    heard += listen_until(descriptor, NULL, heads);
    for (uint32_t i = 0; i < KILL_THREADS; i++) {
        heads[i].untold++;
    }
    (void)close(descriptor);
    return heard;
}

static bool print_finding(void *context, const tern_finding *finding) {
    (void)context;
    print_error("verify: %s at %lld: %s: %s\n", finding->file, (long long)finding->offset,
                finding->invariant, finding->message);
    return true;
}

static void check(const char *directory, struct told heads[KILL_THREADS]) {
    tern_db *db;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report found;
    kill_options(&options);
    assert_ok(tern_open(directory, &options, &db, &error), error);
    for (uint32_t i = 0; i < KILL_THREADS; i++) {
        uint32_t head;
        assert_true(kill_check_thread(db, i, &head));
        /* All that was told, and at most what was on its way. */
        if (head < heads[i].head || head > heads[i].head + heads[i].untold) {
            print_error("thread %u: told up to %u, found up to %u\n", i, heads[i].head, head);
            fail();
        }
        heads[i] = (struct told){head, 0};
    }
    assert_ok(tern_verify(db, print_finding, NULL, NULL, NULL, &found, &error), error);
    assert_int_equal(found.findings, 0);
    assert_ok(tern_close(db, &error), error);
}

static void a_killed_process_loses_no_acknowledged_commit(void **state) {
    (void)state;
    const char *wanted_text = getenv("TERN_KILLS");
    uint64_t wanted = wanted_text != NULL ? strtoull(wanted_text, NULL, 10) : 24;
    char *directory = temporary_directory_create();
    struct seeded_random random;
    struct told heads[KILL_THREADS] = {{0, 0}};
    uint64_t heard = 0;
    seeded_random_init(&random, seeded_random_seed("kill"));
    for (uint64_t i = 0; i < wanted; i++) {
        /* Some die while they recover. */
        bool is_at_work = !seeded_random_chance(&random, 1, 4);
        uint64_t limit_ms = is_at_work ? LIFE_MS_MAX : 12;
        heard += run_life(directory, is_at_work, seeded_random_below(&random, limit_ms * 1000000),
                          heads);
        if (seeded_random_chance(&random, 2, 3)) {
            check(directory, heads);
        }
    }
    check(directory, heads);
    print_message("%llu kills, %llu acknowledged commits, all there\n", (unsigned long long)wanted,
                  (unsigned long long)heard);
    assert_true(heard > wanted);
    temporary_directory_remove(directory);
}

int main(int argument_count, char **arguments) {
    if (argument_count == 4 && strcmp(arguments[1], "worker") == 0) {
        return kill_worker_run(arguments[2], (int)strtol(arguments[3], NULL, 10));
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_process_loses_no_acknowledged_commit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
