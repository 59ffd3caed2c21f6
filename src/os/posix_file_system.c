/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/memory.h"
#include "os/posix_file_internal.h"
#include "os/system_error.h"

/* A multiple of every sector size in use, for kernels that do not tell the true one. */
#define DIRECT_ALIGNMENT_BYTES 4096u

int posix_open(const char *path, int flags) {
    int descriptor;
    do {
        descriptor = open(path, flags | O_CLOEXEC, 0666);
    } while (descriptor < 0 && errno == EINTR);
    if (descriptor < 0 || descriptor > STDERR_FILENO) {
        return descriptor;
    }
    /* A standard stream is closed: what is printed to it would be printed into the file. */
    int higher = fcntl(descriptor, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int reason = errno;
    (void)close(descriptor);
    errno = reason;
    return higher;
}

static int native_flags(uint32_t flags) {
    int native = (flags & TERN_OPEN_READ) != 0 ? O_RDONLY : O_RDWR;
    native |= (flags & TERN_OPEN_CREATE) != 0 ? O_CREAT : 0;
    native |= (flags & TERN_OPEN_EXCLUSIVE) != 0 ? O_EXCL : 0;
    native |= (flags & TERN_OPEN_TRUNCATE) != 0 ? O_TRUNC : 0;
    return native;
}

/* What direct I/O on the file needs; 0 when the file system says that it cannot. */
static uint32_t direct_alignment(int descriptor) {
#ifdef STATX_DIOALIGN
    struct statx information;
    if (statx(descriptor, "", AT_EMPTY_PATH, STATX_DIOALIGN, &information) == 0 &&
        (information.stx_mask & STATX_DIOALIGN) != 0) {
        uint32_t memory = information.stx_dio_mem_align;
        uint32_t offset = information.stx_dio_offset_align;
        uint32_t alignment = memory > offset ? memory : offset;
        return alignment == 0 || alignment > 512 ? alignment : 512;
    }
#endif
    (void)descriptor;
    return DIRECT_ALIGNMENT_BYTES;
}

static tern_status system_open(void *context, const char *path, uint32_t flags,
                               tern_file **out_file, tern_error *error) {
    (void)context;
    uint32_t granted = flags & ~(uint32_t)TERN_OPEN_RING;
    int descriptor = posix_open(path, native_flags(flags));
    if (descriptor < 0) {
        return SYSTEM_ERROR(error, errno, path, -1,
                            (flags & TERN_OPEN_CREATE) != 0 ? "create or open the file"
                                                            : "open the file");
    }
    uint32_t alignment_bytes = 1;
    if ((flags & TERN_OPEN_DIRECT) != 0) {
        /* Switched on after the open, so that a refusal leaves no file half opened. */
        uint32_t needed = direct_alignment(descriptor);
        int current = fcntl(descriptor, F_GETFL);
        if (needed != 0 && current >= 0 && fcntl(descriptor, F_SETFL, current | O_DIRECT) == 0) {
            alignment_bytes = needed;
        } else {
            granted &= ~(uint32_t)TERN_OPEN_DIRECT;
        }
    }
    struct posix_file *file = NULL;
    tern_status status =
        posix_file_create(descriptor, path, granted, alignment_bytes, &file, error);
    if (status == TERN_OK) {
        if ((flags & TERN_OPEN_RING) != 0) {
            file->ring = durable_ring_open();
        }
        *out_file = &file->head;
    }
    return status;
}

static tern_status system_remove(void *context, const char *path, tern_error *error) {
    (void)context;
    return remove(path) == 0 ? TERN_OK : SYSTEM_ERROR(error, errno, path, -1, "remove the file");
}

static tern_status system_rename(void *context, const char *from, const char *to,
                                 tern_error *error) {
    (void)context;
    if (rename(from, to) == 0) {
        return TERN_OK;
    }
    int reason = errno;
    return ERROR_AT(error, system_status(reason), from, -1, reason,
                    "cannot rename the file to %s%s", to, system_remedy(reason));
}

static tern_status system_link(void *context, const char *from, const char *to, tern_error *error) {
    (void)context;
    if (link(from, to) == 0) {
        return TERN_OK;
    }
    int reason = errno;
    /* EPERM: the file system has no hard links, or fs.protected_hardlinks forbids this one. */
    bool unsupported = reason == EPERM || reason == EXDEV || reason == EMLINK;
    return ERROR_AT(error, unsupported ? TERN_UNSUPPORTED : system_status(reason), from, -1, reason,
                    "cannot link the file to %s%s", to, system_remedy(reason));
}

static tern_status system_make_directory(void *context, const char *path, tern_error *error) {
    (void)context;
    return mkdir(path, 0777) == 0 ? TERN_OK
                                  : SYSTEM_ERROR(error, errno, path, -1, "make the directory");
}

static tern_status system_sync_directory(void *context, const char *path, tern_error *error) {
    (void)context;
    int descriptor = posix_open(path, O_RDONLY | O_DIRECTORY);
    if (descriptor < 0) {
        return SYSTEM_ERROR(error, errno, path, -1, "open the directory");
    }
    int result;
    do {
        result = fsync(descriptor);
    } while (result != 0 && errno == EINTR);
    int reason = errno;
    (void)close(descriptor);
    return result == 0 ? TERN_OK
                       : SYSTEM_ERROR(error, reason, path, -1, "sync the directory to the device");
}

static tern_status system_list(void *context, const char *path, tern_list_visitor visit,
                               void *visit_context, tern_error *error) {
    (void)context;
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return SYSTEM_ERROR(error, errno, path, -1, "open the directory");
    }
    tern_status status = TERN_OK;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            if (errno != 0) {
                status = SYSTEM_ERROR(error, errno, path, -1, "list the directory");
            }
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (!visit(visit_context, entry->d_name)) {
            break;
        }
    }
    (void)closedir(directory);
    return status;
}

static tern_status system_exists(void *context, const char *path, tern_error *error) {
    (void)context;
    struct stat information;
    if (stat(path, &information) == 0) {
        return TERN_OK;
    }
    return errno == ENOENT || errno == ENOTDIR
               ? TERN_NOT_FOUND
               : SYSTEM_ERROR(error, errno, path, -1, "ask whether the file exists");
}

static tern_status system_free_space(void *context, const char *path, uint64_t *out_bytes,
                                     tern_error *error) {
    (void)context;
    struct statvfs information;
    if (statvfs(path, &information) != 0) {
        return SYSTEM_ERROR(error, errno, path, -1, "ask for the free space");
    }
    *out_bytes = (uint64_t)information.f_bavail * (uint64_t)information.f_frsize;
    return TERN_OK;
}

static const tern_file_system posix_file_system = {
    .open = system_open,
    .remove = system_remove,
    .rename = system_rename,
    .link = system_link,
    .make_directory = system_make_directory,
    .sync_directory = system_sync_directory,
    .list = system_list,
    .exists = system_exists,
    .free_space = system_free_space,
    .lock = posix_lock,
    .open_queue = posix_open_queue,
};

const tern_file_system *tern_file_system_default(void) {
    return &posix_file_system;
}
