/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/file.h"
#include "os/system_error.h"
#include "support/cmocka_test.h"
#include "support/temporary_directory.h"

/* Calls of fallocate that leave the size, on one file. */
static _Atomic ino_t watched_inode;
static _Atomic unsigned watched_reserves;

int fallocate(int descriptor, int mode, off_t offset, off_t size) {
    struct stat found;
    if ((mode & FALLOC_FL_KEEP_SIZE) != 0 && fstat(descriptor, &found) == 0 &&
        found.st_ino == atomic_load(&watched_inode)) {
        atomic_fetch_add(&watched_reserves, 1);
    }
    return (int)syscall(SYS_fallocate, descriptor, mode, offset, size);
}

struct fixture {
    char *directory;
    const tern_file_system *files;
    char path[FILE_PATH_BYTES];
    tern_error error;
};

static int set_up(void **state) {
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->directory = temporary_directory_create();
    fixture->files = tern_file_system_default();
    *state = fixture;
    return path_join(fixture->path, fixture->directory, "file", &fixture->error);
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;
    temporary_directory_remove(fixture->directory);
    free(fixture);
    return 0;
}

static tern_file *open_file(struct fixture *fixture, uint32_t flags) {
    tern_file *file = NULL;
    assert_ok(fixture->files->open(NULL, fixture->path, flags, &file, &fixture->error),
              fixture->error);
    return file;
}

static void reads_back_what_was_written(void **state) {
    struct fixture *fixture = *state;
    tern_file *file = open_file(fixture, TERN_OPEN_CREATE);
    assert_ok(file_write(file, 3, "hello", 5, &fixture->error), fixture->error);
    assert_ok(file_sync(file, &fixture->error), fixture->error);
    char bytes[16];
    size_t size = 0;
    assert_ok(file_read(file, 0, bytes, sizeof(bytes), &size, &fixture->error), fixture->error);
    assert_int_equal(size, 8);
    assert_memory_equal(bytes, "\0\0\0hello", 8);
    assert_ok(file_read(file, 100, bytes, sizeof(bytes), &size, &fixture->error), fixture->error);
    assert_int_equal(size, 0);
    uint64_t file_size = 0;
    assert_ok(file->methods->size(file, &file_size, &fixture->error), fixture->error);
    assert_int_equal(file_size, 8);
    assert_ok(file->methods->truncate(file, 4, &fixture->error), fixture->error);
    assert_int_equal(file_read_exact(file, fixture->path, 2, bytes, 4, &fixture->error),
                     TERN_CORRUPTION);
    assert_int_equal(fixture->error.offset, 2);
    assert_string_equal(fixture->error.file, fixture->path);
    assert_true(file->methods->descriptor(file) >= 0);
    file->methods->advise(file, 0, 4, true);
    file->methods->advise(file, 0, 4, false);
    assert_ok(file_close(file, &fixture->error), fixture->error);
    assert_int_equal(file_close(NULL, NULL), TERN_OK);
}

static void names_path_and_errno_of_what_failed(void **state) {
    struct fixture *fixture = *state;
    tern_file *file = NULL;
    assert_int_equal(fixture->files->open(NULL, fixture->path, 0, &file, &fixture->error),
                     TERN_NOT_FOUND);
    assert_null(file);
    assert_int_equal(fixture->error.system_errno, ENOENT);
    assert_string_equal(fixture->error.file, fixture->path);
    file = open_file(fixture, TERN_OPEN_CREATE | TERN_OPEN_EXCLUSIVE);
    assert_ok(file_close(file, NULL), fixture->error);
    assert_int_equal(fixture->files->open(NULL, fixture->path,
                                          TERN_OPEN_CREATE | TERN_OPEN_EXCLUSIVE, &file,
                                          &fixture->error),
                     TERN_EXISTS);
    assert_int_equal(fixture->files->open(NULL, fixture->path, 0, &file, NULL), TERN_OK);
    assert_int_equal(file_close(file, NULL), TERN_OK);
    file = open_file(fixture, TERN_OPEN_READ);
    assert_int_equal(file_write(file, 7, "x", 1, &fixture->error), TERN_IO);
    assert_int_equal(fixture->error.offset, 7);
    assert_ok(file_close(file, NULL), fixture->error);
}

static void maps_errnos_to_statuses(void **state) {
    (void)state;
    assert_int_equal(system_status(ENOSPC), TERN_DISK_FULL);
    assert_int_equal(system_status(EDQUOT), TERN_DISK_FULL);
    assert_int_equal(system_status(ENOMEM), TERN_NO_MEMORY);
    assert_int_equal(system_status(EIO), TERN_IO);
    assert_int_equal(system_status(EROFS), TERN_READ_ONLY);
    assert_int_equal(system_status(12345), TERN_IO);
}

/* A real device that is full. */
static void says_disk_full_when_the_device_is(void **state) {
    struct fixture *fixture = *state;
    tern_file *file = NULL;
    if (fixture->files->open(NULL, "/dev/full", 0, &file, NULL) != TERN_OK) {
        skip();
    }
    assert_int_equal(file_write(file, 0, "x", 1, &fixture->error), TERN_DISK_FULL);
    assert_int_equal(fixture->error.system_errno, ENOSPC);
    assert_string_equal(fixture->error.file, "/dev/full");
    assert_ok(file_close(file, NULL), fixture->error);
}

/* A limit in the middle of a write cuts the first call short and fails the second. */
static void goes_on_after_a_short_write_until_the_error(void **state) {
    struct fixture *fixture = *state;
    tern_file *file = open_file(fixture, TERN_OPEN_CREATE);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {5000, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    char *bytes = calloc(1, 8192);
    tern_status status = file_write(file, 0, bytes, 8192, &fixture->error);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(status, TERN_TOO_LARGE);
    assert_int_equal(fixture->error.offset, 5000);
    free(bytes);
    assert_ok(file_close(file, NULL), fixture->error);
}

static void direct_files_work_at_their_alignment(void **state) {
    struct fixture *fixture = *state;
    tern_file *file = open_file(fixture, TERN_OPEN_CREATE | TERN_OPEN_DIRECT);
    if ((file->flags & TERN_OPEN_DIRECT) == 0) {
        assert_int_equal(file->alignment_bytes, 1);
        assert_ok(file_close(file, NULL), fixture->error);
        skip();
    }
    size_t unit = file->alignment_bytes;
    assert_true(unit >= 512 && (unit & (unit - 1)) == 0);
    char *bytes = aligned_alloc(unit, 4 * unit);
    memset(bytes, 'd', 4 * unit);
    assert_ok(file_write(file, unit, bytes, 2 * unit, &fixture->error), fixture->error);
    size_t size = 0;
    assert_ok(file_read(file, 0, bytes, 4 * unit, &size, &fixture->error), fixture->error);
    assert_int_equal(size, 3 * unit);
    assert_int_equal(bytes[0], 0);
    assert_int_equal(bytes[unit], 'd');
    /* A ragged end is read up to, without asking for what lies behind it. */
    assert_ok(file->methods->truncate(file, unit + 10, &fixture->error), fixture->error);
    assert_ok(file_read(file, 0, bytes, 4 * unit, &size, &fixture->error), fixture->error);
    assert_int_equal(size, unit + 10);
    free(bytes);
    assert_ok(file_close(file, NULL), fixture->error);
}

static void durable_writes_are_read_back(void **state) {
    struct fixture *fixture = *state;
    tern_file *plain = open_file(fixture, TERN_OPEN_CREATE);
    assert_ok(plain->methods->allocate(plain, 0, 65536, &fixture->error), fixture->error);
    const uint32_t flags[] = {0, TERN_OPEN_DIRECT, TERN_OPEN_RING,
                              TERN_OPEN_DIRECT | TERN_OPEN_RING};
    uint8_t *bytes = aligned_alloc(4096, 8192);
    uint8_t found[8192];
    for (unsigned i = 0; i < 4; i++) {
        tern_file *file = open_file(fixture, flags[i]);
        assert_int_equal(file->flags & TERN_OPEN_RING, 0);
        for (unsigned round = 0; round < 8; round++) {
            size_t got = 0;
            memset(bytes, (int)(i * 8 + round), 8192);
            assert_ok(
                file_write_durable(file, (uint64_t)round * 4096, bytes, 8192, &fixture->error),
                fixture->error);
            assert_ok(file_read(plain, (uint64_t)round * 4096, found, 8192, &got, &fixture->error),
                      fixture->error);
            assert_int_equal(got, 8192);
            assert_memory_equal(found, bytes, 8192);
        }
        assert_ok(file_close(file, NULL), fixture->error);
    }
    /* Nothing hides that it was not done. */
    tern_file *reading = open_file(fixture, TERN_OPEN_READ | TERN_OPEN_RING);
    assert_int_not_equal(file_write_durable(reading, 0, bytes, 4096, &fixture->error), TERN_OK);
    assert_string_equal(fixture->error.file, fixture->path);
    free(bytes);
    assert_ok(file_close(reading, NULL), fixture->error);
    assert_ok(file_close(plain, NULL), fixture->error);
}

static void allocates_blocks_and_keeps_content(void **state) {
    struct fixture *fixture = *state;
    tern_file *file = open_file(fixture, TERN_OPEN_CREATE);
    assert_ok(file_write(file, 0, "keep", 4, &fixture->error), fixture->error);
    assert_ok(file->methods->allocate(file, 0, 100000, &fixture->error), fixture->error);
    uint64_t size = 0;
    assert_ok(file->methods->size(file, &size, &fixture->error), fixture->error);
    assert_int_equal(size, 100000);
    char bytes[8];
    assert_ok(file_read_exact(file, fixture->path, 0, bytes, 8, &fixture->error), fixture->error);
    assert_memory_equal(bytes, "keep\0\0\0\0", 8);
    assert_ok(file_close(file, NULL), fixture->error);
}

static void maps_what_read_and_write_see(void **state) {
    struct fixture *fixture = *state;
    tern_file *file = open_file(fixture, TERN_OPEN_CREATE);
    void *memory = NULL;
    assert_int_equal(file->methods->map(file, 4096, &memory, &fixture->error), TERN_INVALID);
    assert_ok(file->methods->truncate(file, 8192, &fixture->error), fixture->error); /* sparse */
    tern_status status = file->methods->map(file, 8192, &memory, &fixture->error);
    if (status == TERN_UNSUPPORTED) {
        assert_ok(file_close(file, NULL), fixture->error);
        skip();
    }
    assert_ok(status, fixture->error);
    memcpy((char *)memory + 5000, "store", 5);
    assert_ok(file_sync(file, &fixture->error), fixture->error);
    char bytes[5];
    assert_ok(file_read_exact(file, fixture->path, 5000, bytes, 5, &fixture->error),
              fixture->error);
    assert_memory_equal(bytes, "store", 5);
    assert_ok(file_write(file, 1, "w", 1, &fixture->error), fixture->error);
    assert_int_equal(((char *)memory)[1], 'w');
    file->methods->unmap(file, memory, 8192);
    assert_ok(file_close(file, NULL), fixture->error);
    /* A file open for reading maps so. */
    file = open_file(fixture, TERN_OPEN_READ);
    assert_ok(file->methods->map(file, 8192, &memory, &fixture->error), fixture->error);
    assert_memory_equal((char *)memory + 5000, "store", 5);
    file->methods->unmap(file, memory, 8192);
    assert_ok(file_close(file, NULL), fixture->error);
}

struct names {
    unsigned count;
    unsigned stop_after;
    bool has_renamed;
};

static bool visit_name(void *context, const char *name) {
    struct names *names = context;
    names->count++;
    names->has_renamed = names->has_renamed || strcmp(name, "renamed") == 0;
    return names->count != names->stop_after;
}

static void changes_and_lists_names(void **state) {
    struct fixture *fixture = *state;
    const tern_file_system *files = fixture->files;
    char other[FILE_PATH_BYTES];
    char below[FILE_PATH_BYTES];
    assert_ok(path_join(other, fixture->directory, "renamed", NULL), fixture->error);
    assert_ok(path_join(below, fixture->directory, "below", NULL), fixture->error);
    assert_ok(file_close(open_file(fixture, TERN_OPEN_CREATE), NULL), fixture->error);
    assert_ok(files->rename(NULL, fixture->path, other, &fixture->error), fixture->error);
    assert_int_equal(files->exists(NULL, fixture->path, NULL), TERN_NOT_FOUND);
    assert_ok(files->exists(NULL, other, &fixture->error), fixture->error);
    assert_ok(files->link(NULL, other, fixture->path, &fixture->error), fixture->error);
    assert_int_equal(files->link(NULL, other, fixture->path, &fixture->error), TERN_EXISTS);
    assert_ok(files->make_directory(NULL, below, &fixture->error), fixture->error);
    assert_int_equal(files->make_directory(NULL, below, &fixture->error), TERN_EXISTS);
    struct names names = {0};
    assert_ok(files->list(NULL, fixture->directory, visit_name, &names, &fixture->error),
              fixture->error);
    assert_int_equal(names.count, 3);
    assert_true(names.has_renamed);
    names = (struct names){.stop_after = 1};
    assert_ok(files->list(NULL, fixture->directory, visit_name, &names, &fixture->error),
              fixture->error);
    assert_int_equal(names.count, 1);
    assert_ok(files->sync_directory(NULL, fixture->directory, &fixture->error), fixture->error);
    assert_ok(files->remove(NULL, below, &fixture->error), fixture->error);
    assert_ok(files->remove(NULL, other, &fixture->error), fixture->error);
    assert_int_equal(files->remove(NULL, other, &fixture->error), TERN_NOT_FOUND);
    assert_int_equal(files->rename(NULL, other, below, &fixture->error), TERN_NOT_FOUND);
    assert_int_equal(files->list(NULL, below, visit_name, &names, &fixture->error), TERN_NOT_FOUND);
    assert_int_equal(files->sync_directory(NULL, below, &fixture->error), TERN_NOT_FOUND);
    uint64_t bytes = 0;
    assert_ok(files->free_space(NULL, fixture->directory, &bytes, &fixture->error), fixture->error);
    assert_true(bytes > 0);
}

static void refuses_a_second_lock_in_the_same_process(void **state) {
    struct fixture *fixture = *state;
    tern_file *lock = NULL;
    tern_file *second = NULL;
    assert_ok(fixture->files->lock(NULL, fixture->path, &lock, &fixture->error), fixture->error);
    assert_int_equal(fixture->files->lock(NULL, fixture->path, &second, &fixture->error),
                     TERN_LOCKED);
    assert_null(second);
    char self[32];
    (void)snprintf(self, sizeof(self), "pid %ld (", (long)getpid());
    assert_non_null(strstr(fixture->error.message, self));
    assert_non_null(strstr(fixture->error.message, "this process"));
    assert_ok(file_close(lock, &fixture->error), fixture->error);
    assert_ok(fixture->files->lock(NULL, fixture->path, &lock, &fixture->error), fixture->error);
    assert_ok(file_close(lock, &fixture->error), fixture->error);
}

/* Holds the lock in another process until the pipe is closed. */
static pid_t lock_elsewhere(struct fixture *fixture, int *out_hold) {
    int ready[2];
    int hold[2];
    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(hold), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        tern_file *lock = NULL;
        char byte = 0;
        (void)close(hold[1]);
        if (fixture->files->lock(NULL, fixture->path, &lock, NULL) != TERN_OK ||
            write(ready[1], "r", 1) != 1) {
            _exit(1);
        }
        (void)(read(hold[0], &byte, 1) == 0);
        _exit(0); /* without unlocking, as a crash would */
    }
    char byte = 0;
    (void)close(ready[1]);
    (void)close(hold[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)close(ready[0]);
    *out_hold = hold[1];
    return child;
}

static void names_the_process_that_holds_the_lock(void **state) {
    struct fixture *fixture = *state;
    int hold = -1;
    pid_t child = lock_elsewhere(fixture, &hold);
    tern_file *lock = NULL;
    assert_int_equal(fixture->files->lock(NULL, fixture->path, &lock, &fixture->error),
                     TERN_LOCKED);
    char name[32] = "";
    FILE *self = fopen("/proc/self/comm", "r");
    assert_non_null(self);
    assert_non_null(fgets(name, sizeof(name), self));
    (void)fclose(self);
    name[strcspn(name, "\n")] = '\0';
    char holder[96];
    (void)snprintf(holder, sizeof(holder), "pid %ld (%s) since ", (long)child, name);
    assert_non_null(strstr(fixture->error.message, holder));
    assert_null(strstr(fixture->error.message, "this process"));
    (void)close(hold);
    assert_int_equal(waitpid(child, NULL, 0), child);
    /* The lock went with its process. */
    assert_ok(fixture->files->lock(NULL, fixture->path, &lock, &fixture->error), fixture->error);
    assert_ok(file_close(lock, &fixture->error), fixture->error);
}

/* ---- a holder that is killed while it writes ---- */

#define PART_BYTES ((size_t)1 << 20)
#define PARTS      48u
#define KILLS      10u

static tern_file *open_data(struct fixture *fixture, char path[FILE_PATH_BYTES]) {
    tern_file *file = NULL;
    assert_ok(path_join(path, fixture->directory, "data", &fixture->error), fixture->error);
    assert_ok(fixture->files->open(NULL, path, TERN_OPEN_CREATE | TERN_OPEN_DIRECT, &file,
                                   &fixture->error),
              fixture->error);
    return file;
}

/* In the child: holds the lock, lets all parts be written, and waits to be killed. */
static void write_until_killed(struct fixture *fixture, uint8_t *part, int ready) {
    static tern_io writes[PARTS];
    char path[FILE_PATH_BYTES];
    tern_file *lock = NULL;
    tern_io_queue *queue = NULL;
    tern_file *file = open_data(fixture, path);
    if (fixture->files->lock(NULL, fixture->path, &lock, NULL) != TERN_OK ||
        fixture->files->open_queue(NULL, PARTS, &queue, NULL) != TERN_OK) {
        _exit(1); /* no ring: nothing outlives anybody */
    }
    for (unsigned i = 0; i < PARTS; i++) {
        writes[i] = (tern_io){.kind = TERN_IO_WRITE,
                              .file = file,
                              .offset = i * PART_BYTES,
                              .buffer = part,
                              .size = PART_BYTES};
        queue->methods->submit(queue, &writes[i]);
    }
    queue->methods->flush(queue);
    if (write(ready, "r", 1) == 1) {
        (void)pause();
    }
    _exit(2);
}

/* The last block of each part, the last part first. */
static void read_ends(struct fixture *fixture, tern_file *file, uint8_t *part,
                      uint8_t out_found[PARTS]) {
    for (unsigned i = PARTS; i-- > 0;) {
        size_t size = 0;
        assert_ok(file_read(file, (i + 1) * PART_BYTES - 4096, part, 4096, &size, &fixture->error),
                  fixture->error);
        assert_int_equal(size, 4096);
        out_found[i] = part[0];
    }
}

static void kill_a_writer(struct fixture *fixture, tern_file *file, uint8_t *part,
                          uint8_t content) {
    const struct timespec moment = {.tv_nsec = (content % 4) * 150000L};
    const struct timespec long_after = {.tv_nsec = 200000000L};
    uint8_t before[PARTS];
    uint8_t after[PARTS];
    int ready[2];
    char byte = 0;
    tern_file *lock = NULL;
    memset(part, content, PART_BYTES);
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)close(ready[0]);
        write_until_killed(fixture, part, ready[1]);
    }
    (void)close(ready[1]);
    bool has_begun = read(ready[0], &byte, 1) == 1;
    (void)close(ready[0]);
    (void)nanosleep(&moment, NULL);
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_ok(fixture->files->lock(NULL, fixture->path, &lock, &fixture->error), fixture->error);
    read_ends(fixture, file, part, before);
    if (has_begun) {
        (void)nanosleep(&long_after, NULL);
    }
    read_ends(fixture, file, part, after);
    assert_memory_equal(before, after, PARTS);
    assert_ok(file_close(lock, &fixture->error), fixture->error);
}

static void writes_of_a_killed_holder_are_over_when_the_next_one_reads(void **state) {
    struct fixture *fixture = *state;
    char path[FILE_PATH_BYTES];
    uint8_t *part = aligned_alloc(4096, PART_BYTES);
    assert_non_null(part);
    memset(part, 'a', PART_BYTES);
    tern_file *file = open_data(fixture, path);
    for (unsigned i = 0; i < PARTS; i++) {
        assert_ok(file_write(file, i * PART_BYTES, part, PART_BYTES, &fixture->error),
                  fixture->error);
    }
    assert_ok(file_sync(file, &fixture->error), fixture->error);
    for (unsigned i = 0; i < KILLS; i++) {
        kill_a_writer(fixture, file, part, (uint8_t)('b' + i));
    }
    assert_ok(file_close(file, &fixture->error), fixture->error);
    free(part);
}

/* Whether it is seen that nobody waits is chance, above; here it is seen who is waited for. */
static void every_file_beside_the_lock_of_a_killed_holder_is_waited_for(void **state) {
    struct fixture *fixture = *state;
    char path[FILE_PATH_BYTES];
    struct stat found;
    int hold = -1;
    tern_file *lock = NULL;
    tern_file *file = open_data(fixture, path);
    assert_ok(file_close(file, &fixture->error), fixture->error);
    assert_int_equal(stat(path, &found), 0);
    atomic_store(&watched_inode, found.st_ino);
    pid_t child = lock_elsewhere(fixture, &hold);
    (void)close(hold);
    assert_int_equal(waitpid(child, NULL, 0), child);
    for (int held = 0; held < 2; held++) {
        atomic_store(&watched_reserves, 0);
        assert_ok(fixture->files->lock(NULL, fixture->path, &lock, &fixture->error),
                  fixture->error);
        /* The second time the last holder has closed it. */
        assert_int_equal(atomic_load(&watched_reserves), held == 0 ? 1 : 0);
        assert_ok(file_close(lock, &fixture->error), fixture->error);
    }
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_size, 0);
}

static void a_hostile_lock_file_is_printed_harmlessly(void **state) {
    struct fixture *fixture = *state;
    tern_file *lock = NULL;
    tern_file *second = NULL;
    assert_ok(fixture->files->lock(NULL, fixture->path, &lock, &fixture->error), fixture->error);
    char noise[400];
    memset(noise, '\033', sizeof(noise));
    assert_ok(file_write(lock, 0, noise, sizeof(noise), &fixture->error), fixture->error);
    assert_int_equal(fixture->files->lock(NULL, fixture->path, &second, &fixture->error),
                     TERN_LOCKED);
    assert_null(strchr(fixture->error.message, '\033'));
    assert_ok(file_close(lock, &fixture->error), fixture->error);
}

static void refuses_a_path_that_is_too_long(void **state) {
    (void)state;
    char path[FILE_PATH_BYTES];
    char name[FILE_PATH_BYTES];
    memset(name, 'n', sizeof(name));
    name[FILE_PATH_BYTES - 3] = '\0'; /* with "d/" and the zero this just fits */
    assert_int_equal(path_join(path, "d", name, NULL), TERN_OK);
    assert_int_equal(strlen(path), FILE_PATH_BYTES - 1);
    assert_int_equal(path_join(path, "dd", name, NULL), TERN_INVALID);
}

/* In a child, for the test's own output needs them. */
static int descriptor_with_closed_streams(struct fixture *fixture) {
    tern_file *file = NULL;
    for (int stream = 0; stream < 3; stream++) {
        (void)close(stream);
    }
    if (fixture->files->open(NULL, fixture->path, TERN_OPEN_CREATE, &file, NULL) != TERN_OK) {
        return -1;
    }
    int descriptor = file->methods->descriptor(file);
    (void)file_close(file, NULL);
    return descriptor;
}

static void no_file_takes_the_place_of_a_standard_stream(void **state) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        _exit(descriptor_with_closed_streams(*state) > STDERR_FILENO ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        FILE_TEST(reads_back_what_was_written),
        FILE_TEST(names_path_and_errno_of_what_failed),
        FILE_TEST(maps_errnos_to_statuses),
        FILE_TEST(says_disk_full_when_the_device_is),
        FILE_TEST(goes_on_after_a_short_write_until_the_error),
        FILE_TEST(direct_files_work_at_their_alignment),
        FILE_TEST(durable_writes_are_read_back),
        FILE_TEST(allocates_blocks_and_keeps_content),
        FILE_TEST(maps_what_read_and_write_see),
        FILE_TEST(changes_and_lists_names),
        FILE_TEST(refuses_a_second_lock_in_the_same_process),
        FILE_TEST(names_the_process_that_holds_the_lock),
        FILE_TEST(writes_of_a_killed_holder_are_over_when_the_next_one_reads),
        FILE_TEST(every_file_beside_the_lock_of_a_killed_holder_is_waited_for),
        FILE_TEST(a_hostile_lock_file_is_printed_harmlessly),
        FILE_TEST(no_file_takes_the_place_of_a_standard_stream),
        cmocka_unit_test(refuses_a_path_that_is_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
