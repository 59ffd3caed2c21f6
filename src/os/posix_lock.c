/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock file of a database: an flock(2) on a file that says who holds it. The lock belongs to
 * the open file description, so that a second open in the same process is refused, too, and so that
 * it is gone the moment its process is, however that ended. The file itself stays: removing it
 * would let two processes lock two different files of one name.
 *
 * What a killed process has given to a ring outlives it, and so its lock: the device may write a
 * block when the next holder has read it, or has written it anew. A holder that was killed leaves
 * its name in the lock file. Who finds one waits for such writes, before anything is read.
 *
 * Who may only read the directory locks the file without writing a name into it. On a file system
 * that is mounted read-only and has no such file, it is the directory that is locked: nobody can
 * make the file there.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "os/file.h"
#include "os/posix_file_internal.h"
#include "os/system_error.h"

#define HOLDER_BYTES 160

/* "pid 4711 (name) since 2031-01-31 23:59:59 UTC" */
static void describe_self(char text[HOLDER_BYTES]) {
    char name[32] = "unknown";
    int descriptor = posix_open("/proc/self/comm", O_RDONLY);
    if (descriptor >= 0) {
        ssize_t got;
        do {
            got = read(descriptor, name, sizeof(name) - 1);
        } while (got < 0 && errno == EINTR);
        size_t size = got > 0 ? (size_t)got : 0;
        name[size] = '\0';
        name[strcspn(name, "\n")] = '\0';
        (void)close(descriptor);
    }
    char since[32] = "";
    struct tm utc;
    time_t now = time(NULL);
    if (gmtime_r(&now, &utc) != NULL) {
        (void)strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S UTC", &utc);
    }
    (void)snprintf(text, HOLDER_BYTES, "pid %ld (%s) since %s\n", (long)getpid(), name, since);
}

/* What the holder wrote, made fit to print: the file is anybody's. */
static void read_holder(int descriptor, char text[HOLDER_BYTES]) {
    ssize_t got;
    do {
        got = pread(descriptor, text, HOLDER_BYTES - 1, 0);
    } while (got < 0 && errno == EINTR);
    text[got > 0 ? got : 0] = '\0';
    for (char *at = text; *at != '\0'; at++) {
        if (*at == '\n') {
            *at = '\0';
            break;
        }
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            *at = '?';
        }
    }
    if (text[0] == '\0') {
        (void)snprintf(text, HOLDER_BYTES, "a process that has not written its name yet");
    }
}

static tern_status refuse(int descriptor, const char *path, tern_error *error) {
    char holder[HOLDER_BYTES];
    char self[32];
    read_holder(descriptor, holder);
    (void)snprintf(self, sizeof(self), "pid %ld ", (long)getpid());
    bool by_self = strncmp(holder, self, strlen(self)) == 0;
    return ERROR_AT(error, TERN_LOCKED, path, -1, 0, "the database is open in %s%s; close it there",
                    holder, by_self ? ", which is this process" : "");
}

static int resize(int descriptor, off_t size) {
    int result;
    do {
        result = ftruncate(descriptor, size);
    } while (result != 0 && errno == EINTR);
    return result;
}

static tern_status write_self(int descriptor, const char *path, tern_error *error) {
    char self[HOLDER_BYTES];
    describe_self(self);
    size_t size = strlen(self);
    if (resize(descriptor, 0) != 0) {
        return SYSTEM_ERROR(error, errno, path, 0, "empty the lock file");
    }
    /* Where there is no room for the name, this tells that somebody held it: it needs none. */
    (void)resize(descriptor, 1);
    ssize_t put;
    do {
        put = pwrite(descriptor, self, size, 0);
    } while (put < 0 && errno == EINTR);
    /* A full disk must not keep a database from being opened; only the name is lost. */
    if (put < 0 && errno != ENOSPC && errno != EDQUOT) {
        return SYSTEM_ERROR(error, errno, path, 0, "write the lock file");
    }
    return TERN_OK;
}

/* False: the path names none, or is too long. */
static bool directory_of(const char *path, char directory[FILE_PATH_BYTES]) {
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : slash > path ? (size_t)(slash - path) : 1;
    if (size == 0 || size >= FILE_PATH_BYTES) {
        return false;
    }
    memcpy(directory, path, size);
    directory[size] = '\0';
    return true;
}

/* ---- what a killed holder has under way ---- */

/*
 * File systems wait for direct writes that are under way before they reserve blocks. Of a block
 * that is there already nothing is changed. What cannot be waited for so cannot be helped: without
 * leave to write, nobody writes what the other one does.
 */
static bool settle_file(void *context, const char *name) {
    char path[FILE_PATH_BYTES];
    if (path_join(path, context, name, NULL) != TERN_OK) {
        return true;
    }
    int descriptor = posix_open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK);
    if (descriptor >= 0) {
        int result;
        do {
            result = fallocate(descriptor, FALLOC_FL_KEEP_SIZE, 0, 1);
        } while (result != 0 && errno == EINTR);
        (void)close(descriptor);
    }
    return true;
}

static tern_status settle_directory(int descriptor, const char *path, tern_error *error) {
    char directory[FILE_PATH_BYTES];
    struct stat status;
    if (fstat(descriptor, &status) != 0 || status.st_size == 0 || !directory_of(path, directory)) {
        return TERN_OK;
    }
    return tern_file_system_default()->list(NULL, directory, settle_file, directory, error);
}

/* ---- the lock ---- */

/* *out_writable: a name can be written into it. */
static int open_lock(const char *path, bool *out_writable) {
    char directory[FILE_PATH_BYTES];
    int descriptor = posix_open(path, O_RDWR | O_CREAT);
    *out_writable = descriptor >= 0;
    if (descriptor >= 0 || (errno != EROFS && errno != EACCES)) {
        return descriptor;
    }
    int reason = errno;
    descriptor = posix_open(path, O_RDONLY);
    if (descriptor < 0 && reason == EROFS && errno == ENOENT && directory_of(path, directory)) {
        descriptor = posix_open(directory, O_RDONLY | O_DIRECTORY);
    }
    errno = descriptor < 0 ? reason : errno;
    return descriptor;
}

tern_status posix_lock(void *context, const char *path, tern_file **out_lock, tern_error *error) {
    (void)context;
    bool is_writable;
    int descriptor = open_lock(path, &is_writable);
    if (descriptor < 0) {
        return SYSTEM_ERROR(error, errno, path, -1, "open the lock file");
    }
    int result;
    do {
        result = flock(descriptor, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    tern_status status = TERN_OK;
    if (result != 0) {
        status = errno == EWOULDBLOCK ? refuse(descriptor, path, error)
                                      : SYSTEM_ERROR(error, errno, path, -1, "lock the file");
    } else if (is_writable) {
        status = settle_directory(descriptor, path, error);
        if (status == TERN_OK) {
            status = write_self(descriptor, path, error);
        }
    }
    if (status != TERN_OK) {
        (void)close(descriptor);
        return status;
    }
    struct posix_file *file = NULL;
    status = posix_file_create(descriptor, path, 0, 1, &file, error);
    if (status == TERN_OK) {
        file->is_lock = is_writable;
        *out_lock = &file->head;
    }
    return status;
}
