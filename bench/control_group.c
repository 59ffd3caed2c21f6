/* SPDX-License-Identifier: Apache-2.0 */
#include "control_group.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 128

struct group_version {
    const char *root;
    const char *limit_file;
};

static const struct group_version versions[] = {
    {"/sys/fs/cgroup", "memory.max"},
    {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
};

#define VERSION_COUNT (sizeof(versions) / sizeof(versions[0]))

static void group_path(const struct group_version *version, pid_t process, char *out_path) {
    snprintf(out_path, PATH_SIZE, "%s/bench-compare-%ld", version->root, (long)process);
}

static bool write_number(const char *directory, const char *file, uint64_t number) {
    char path[PATH_SIZE + 64];
    char text[32];
    snprintf(path, sizeof(path), "%s/%s", directory, file);
    int length = snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool written = write(fd, text, (size_t)length) == length;
    close(fd);
    return written;
}

bool control_group_enter(uint64_t limit_bytes, char *out_error, size_t error_size) {
    char path[PATH_SIZE];
    for (size_t i = 0; i < VERSION_COUNT; i++) {
        group_path(&versions[i], getpid(), path);
        if (mkdir(path, 0755) != 0)
            continue;
        if (write_number(path, versions[i].limit_file, limit_bytes) &&
            write_number(path, "cgroup.procs", (uint64_t)getpid()))
            return true;
        rmdir(path);
    }
    snprintf(out_error, error_size, "cannot make a memory control group: %s (are you root?)",
             strerror(errno));
    return false;
}

void control_group_remove(pid_t process) {
    char path[PATH_SIZE];
    for (size_t i = 0; i < VERSION_COUNT; i++) {
        group_path(&versions[i], process, path);
        /* Busy for a moment after the last process has gone. */
        for (int attempt = 0; attempt < 50 && rmdir(path) != 0 && errno == EBUSY; attempt++)
            usleep(10000);
    }
}
