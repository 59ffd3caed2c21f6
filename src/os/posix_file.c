/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files over POSIX: pread and pwrite in loops (signals and the kernel's 2 GiB limit cut calls
 * short), fdatasync, and shared mappings that cannot fault for want of blocks.
 *
 * A store to a mapped page raises SIGBUS when the file system cannot find a block for it, and no
 * program can turn that into an error. So `map` makes sure that it cannot happen: the blocks are
 * allocated first, the pages are read in with errors reported, and file systems that allocate anew
 * on every overwrite (copy-on-write ones), or over a network, are answered TERN_UNSUPPORTED.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/memory.h"
#include "os/posix_file_internal.h"
#include "os/system_error.h"

#define ZERO_BYTES 65536u
/* Of a mapping, read in at once. */
#define POPULATE_BYTES ((size_t)512 * 1024)
#define TOUCH_BYTES    ((uint64_t)64 * 1024)

static struct posix_file *posix_of(tern_file *file) {
    return (struct posix_file *)file;
}

tern_status posix_file_create(int descriptor, const char *path, uint32_t flags,
                              uint32_t alignment_bytes, struct posix_file **out_file,
                              tern_error *error) {
    size_t path_size = strlen(path) + 1;
    struct posix_file *file = memory_allocate(tern_allocator_default(), sizeof(*file) + path_size);
    if (file == NULL) {
        (void)close(descriptor);
        return ERROR_NO_MEMORY(error, "an open file");
    }
    *file = (struct posix_file){
        .head = {&posix_file_methods, alignment_bytes, flags},
        .descriptor = descriptor,
    };
    memcpy(file->path, path, path_size);
    *out_file = file;
    return TERN_OK;
}

static tern_status posix_read(tern_file *file, uint64_t offset, void *buffer, size_t size,
                              size_t *out_size, tern_error *error) {
    struct posix_file *posix = posix_of(file);
    size_t done = 0;
    while (done < size) {
        ssize_t got =
            pread(posix->descriptor, (char *)buffer + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return SYSTEM_ERROR(error, errno, posix->path, offset + done, "read the file");
        }
        done += (size_t)got;
        /* Direct reads end at a ragged size only at the end of the file, and cannot go on there. */
        if (got == 0 || (size_t)got % file->alignment_bytes != 0) {
            break;
        }
    }
    *out_size = done;
    return TERN_OK;
}

static tern_status posix_write(tern_file *file, uint64_t offset, const void *buffer, size_t size,
                               tern_error *error) {
    struct posix_file *posix = posix_of(file);
    size_t done = 0;
    while (done < size) {
        ssize_t put = pwrite(posix->descriptor, (const char *)buffer + done, size - done,
                             (off_t)(offset + done));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            int reason = put < 0 ? errno : ENOSPC;
            return SYSTEM_ERROR(error, reason, posix->path, offset + done, "write the file");
        }
        done += (size_t)put;
    }
    return TERN_OK;
}

static tern_status posix_sync(tern_file *file, tern_error *error) {
    struct posix_file *posix = posix_of(file);
    int result;
    do {
        result = fdatasync(posix->descriptor);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? TERN_OK
                       : SYSTEM_ERROR(error, errno, posix->path, -1, "sync the file to the device");
}

static tern_status posix_size(tern_file *file, uint64_t *out_size, tern_error *error) {
    struct posix_file *posix = posix_of(file);
    struct stat information;
    if (fstat(posix->descriptor, &information) != 0) {
        return SYSTEM_ERROR(error, errno, posix->path, -1, "ask for the file's size");
    }
    *out_size = (uint64_t)information.st_size;
    return TERN_OK;
}

static tern_status posix_truncate(tern_file *file, uint64_t size, tern_error *error) {
    struct posix_file *posix = posix_of(file);
    int result;
    do {
        result = ftruncate(posix->descriptor, (off_t)size);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? TERN_OK
                       : SYSTEM_ERROR(error, errno, posix->path, size, "change the file's size");
}

/* Where blocks cannot be reserved, writing zeros past the end is the next best. */
static tern_status write_zeros_past_end(struct posix_file *posix, uint64_t end, tern_error *error) {
    uint64_t size = 0;
    tern_status status = posix_size(&posix->head, &size, error);
    if (status != TERN_OK || size >= end) {
        return status;
    }
    if (size % posix->head.alignment_bytes != 0 || end % posix->head.alignment_bytes != 0) {
        return posix_truncate(&posix->head, end, error);
    }
    void *zeros = memory_allocate_aligned(tern_allocator_default(), 4096, ZERO_BYTES);
    if (zeros == NULL) {
        return ERROR_NO_MEMORY(error, "writing zeros");
    }
    memset(zeros, 0, ZERO_BYTES);
    while (status == TERN_OK && size < end) {
        size_t part = end - size < ZERO_BYTES ? (size_t)(end - size) : ZERO_BYTES;
        status = posix_write(&posix->head, size, zeros, part, error);
        size += part;
    }
    memory_release_aligned(tern_allocator_default(), zeros);
    return status;
}

/* 0, or the errno. Signals interrupt it on some file systems (tmpfs). */
static int reserve_blocks(int descriptor, uint64_t offset, uint64_t size) {
    int result;
    do {
        result = fallocate(descriptor, 0, (off_t)offset, (off_t)size);
    } while (result != 0 && errno == EINTR);
    return result == 0 ? 0 : errno;
}

static tern_status posix_allocate(tern_file *file, uint64_t offset, uint64_t size,
                                  tern_error *error) {
    struct posix_file *posix = posix_of(file);
    if (size == 0) {
        return TERN_OK;
    }
    int reason = reserve_blocks(posix->descriptor, offset, size);
    if (reason == 0) {
        return TERN_OK;
    }
    if (reason == EOPNOTSUPP || reason == ENOSYS) {
        return write_zeros_past_end(posix, offset + size, error);
    }
    return SYSTEM_ERROR(error, reason, posix->path, offset, "reserve blocks for the file");
}

/* True where an allocated block is overwritten in place, so that a mapped store needs no new one.
 */
static bool overwrites_in_place(int descriptor) {
    static const uint32_t unsuitable[] = {
        0x9123683eu, /* btrfs */
        0x2fc12fc1u, /* zfs */
        0xca451a4eu, /* bcachefs */
        0xf2f52010u, /* f2fs */
        0x3434u,     /* nilfs */
        0x6969u,     /* nfs */
        0xff534d42u, /* cifs */
        0xfe534d42u, /* smb2 */
        0x01021997u, /* 9p */
        0x65735546u, /* fuse */
    };
    struct statfs information;
    if (fstatfs(descriptor, &information) != 0) {
        return false;
    }
    for (unsigned i = 0; i < sizeof(unsuitable) / sizeof(unsuitable[0]); i++) {
        if ((uint32_t)information.f_type == unsuitable[i]) {
            return false;
        }
    }
    return true;
}

/*
 * Reads all pages in, a part at a time: the kernel holds the lock of the address space meanwhile,
 * and other threads that want memory wait for it. An old kernel without the advice reads them in at
 * the mapping instead.
 */
static int populate(void **memory, size_t size, int protection, int descriptor) {
#ifdef MADV_POPULATE_READ
    int reason = 0;
    for (size_t at = 0; at < size && reason == 0; at += POPULATE_BYTES) {
        size_t part = size - at < POPULATE_BYTES ? size - at : POPULATE_BYTES;
        reason = madvise((char *)*memory + at, part, MADV_POPULATE_READ) == 0 ? 0 : errno;
    }
    if (reason != EINVAL) {
        return reason == EFAULT ? EIO : reason;
    }
#endif
    void *again =
        mmap(*memory, size, protection, MAP_SHARED | MAP_POPULATE | MAP_FIXED, descriptor, 0);
    return again == MAP_FAILED ? errno : 0;
}

static tern_status posix_map(tern_file *file, size_t size, void **out_memory, tern_error *error) {
    struct posix_file *posix = posix_of(file);
    bool writable = (file->flags & TERN_OPEN_READ) == 0;
    uint64_t file_size = 0;
    tern_status status = posix_size(file, &file_size, error);
    if (status != TERN_OK) {
        return status;
    }
    if (size == 0 || size > file_size) {
        return ERROR_AT(error, TERN_INVALID, posix->path, (int64_t)file_size, 0,
                        "cannot map %zu bytes of a file of %llu", size,
                        (unsigned long long)file_size);
    }
    if (writable) {
        if (!overwrites_in_place(posix->descriptor)) {
            return ERROR_AT(error, TERN_UNSUPPORTED, posix->path, -1, 0,
                            "this file system cannot map files for writing safely");
        }
        int reason = reserve_blocks(posix->descriptor, 0, size);
        if (reason != 0) {
            return SYSTEM_ERROR(error, reason, posix->path, -1, "reserve blocks for a mapping");
        }
    }
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *memory = mmap(NULL, size, protection, MAP_SHARED, posix->descriptor, 0);
    if (memory == MAP_FAILED) {
        int reason = errno == ENODEV || errno == EACCES ? EOPNOTSUPP : errno;
        return SYSTEM_ERROR(error, reason, posix->path, -1, "map the file");
    }
    int reason = populate(&memory, size, protection, posix->descriptor);
    if (reason != 0) {
        (void)munmap(memory, size);
        return SYSTEM_ERROR(error, reason, posix->path, -1, "read the mapped file in");
    }
    *out_memory = memory;
    return TERN_OK;
}

static tern_status posix_map_read(tern_file *file, uint64_t size, void **out_memory,
                                  tern_error *error) {
    struct posix_file *posix = posix_of(file);
    void *memory =
        mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED | MAP_NORESERVE, posix->descriptor, 0);
    if (memory == MAP_FAILED) {
        int reason = errno == ENODEV || errno == EACCES ? EOPNOTSUPP : errno;
        return SYSTEM_ERROR(error, reason, posix->path, -1, "map the file");
    }
    /* Whoever reads ahead says so with `advise`; a fault means one page. */
    (void)madvise(memory, (size_t)size, MADV_RANDOM);
    *out_memory = memory;
    return TERN_OK;
}

static tern_status posix_populate(tern_file *file, void *memory, uint64_t offset, size_t size,
                                  tern_error *error) {
#ifdef MADV_POPULATE_READ
    uint64_t begin = offset & ~(uint64_t)4095;
    size_t length = (size_t)(offset + size - begin);
    if (madvise((char *)memory + begin, length, MADV_POPULATE_READ) != 0 && errno != EINVAL) {
        int reason = errno == EFAULT ? EIO : errno;
        return SYSTEM_ERROR(error, reason, posix_of(file)->path, offset, "read the mapped file in");
    }
#else
    (void)file;
    (void)memory;
    (void)offset;
    (void)size;
    (void)error;
#endif
    return TERN_OK;
}

/* A part at a time, as in `populate`: file systems take longer to make pages ready for writing. */
static void posix_touch(tern_file *file, void *memory, uint64_t offset, size_t size) {
    (void)file;
#ifdef MADV_POPULATE_WRITE
    uint64_t end = offset + size;
    for (uint64_t at = offset & ~(uint64_t)4095; at < end; at += TOUCH_BYTES) {
        size_t part = (size_t)(end - at < TOUCH_BYTES ? end - at : TOUCH_BYTES);
        if (madvise((char *)memory + at, part, MADV_POPULATE_WRITE) != 0) {
            return;
        }
    }
#else
    (void)memory;
    (void)offset;
    (void)size;
#endif
}

static void posix_unmap(tern_file *file, void *memory, size_t size) {
    (void)file;
    int result = munmap(memory, size);
    ASSERT(result == 0);
}

static void posix_advise(tern_file *file, uint64_t offset, uint64_t size, bool will_need) {
    (void)posix_fadvise(posix_of(file)->descriptor, (off_t)offset, (off_t)size,
                        will_need ? POSIX_FADV_WILLNEED : POSIX_FADV_DONTNEED);
}

static int posix_descriptor(tern_file *file) {
    return posix_of(file)->descriptor;
}

static tern_status posix_close(tern_file *file, tern_error *error) {
    struct posix_file *posix = posix_of(file);
    tern_status status = TERN_OK;
    durable_ring_close(posix->ring);
    if (posix->is_lock) {
        /* Nobody should read of a holder that is gone. */
        if (ftruncate(posix->descriptor, 0) != 0) {
            status = SYSTEM_ERROR(error, errno, posix->path, -1, "empty the lock file");
        }
    }
    /* The descriptor is gone after an interrupted close, too; a second would hit a stranger's. */
    if (close(posix->descriptor) != 0 && errno != EINTR && status == TERN_OK) {
        status = SYSTEM_ERROR(error, errno, posix->path, -1, "close the file");
    }
    memory_release(tern_allocator_default(), posix);
    return status;
}

const tern_file_methods posix_file_methods = {
    .read = posix_read,
    .write = posix_write,
    .sync = posix_sync,
    .size = posix_size,
    .truncate = posix_truncate,
    .allocate = posix_allocate,
    .map = posix_map,
    .unmap = posix_unmap,
    .advise = posix_advise,
    .descriptor = posix_descriptor,
    .close = posix_close,
    .map_read = posix_map_read,
    .populate = posix_populate,
    .write_durable = posix_write_durable,
    .touch = posix_touch,
};
