/* SPDX-License-Identifier: Apache-2.0 */
/* doctor: the file system that the database is on, tried out with a file of its own. */
#include "cli/doctor.h"
#include "cli/quantity.h"
#include "cli/terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { PROBE_BYTES = 1024 * 1024, BLOCK_BYTES = 4096, SYNCS = 8 };

struct file_system_kind {
    unsigned long magic;
    const char *name;
    enum doctor_level level;
    const char *remedy;
};

static const struct file_system_kind kinds[] = {
    {0xef53, "ext4 (or ext2, ext3)", DOCTOR_OK, NULL},
    {0x58465342, "XFS", DOCTOR_OK, NULL},
    {0x9123683e, "Btrfs", DOCTOR_WARN,
     "copy-on-write fragments the log: chattr +C on the empty directory"},
    {0x2fc12fc1, "ZFS", DOCTOR_WARN, "set recordsize=16K for the data set"},
    {0xf2f52010, "F2FS", DOCTOR_OK, NULL},
    {0x01021994, "tmpfs", DOCTOR_WARN, "nothing outlives a restart of the machine here"},
    {0x794c7630, "overlayfs", DOCTOR_WARN,
     "a container's own layer is slow and goes with it: mount a volume"},
    {0x6969, "NFS", DOCTOR_FAIL, "locks and syncs over NFS are not reliable: use a local disk"},
    {0xff534d42, "CIFS", DOCTOR_FAIL, "use a local disk"},
    {0xfe534d42, "SMB", DOCTOR_FAIL, "use a local disk"},
    {0x65735546, "FUSE", DOCTOR_WARN, "whether a sync reaches the disk depends on its driver"},
    {0, NULL, DOCTOR_OK, NULL},
};

static void check_kind(struct doctor *doctor, const char *directory) {
    struct statfs status = {0};
    if (statfs(directory, &status) != 0) {
        return;
    }
    unsigned long magic = (unsigned long)status.f_type & 0xffffffffUL;
    for (const struct file_system_kind *kind = kinds; kind->name != NULL; kind++) {
        if (kind->magic == magic) {
            doctor_add(doctor, "file system", kind->level, kind->remedy, "%s", kind->name);
            return;
        }
    }
    doctor_add(doctor, "file system", DOCTOR_WARN, "ext4 and XFS are the ones that are tested",
               "of an unknown kind (0x%lx)", magic);
}

static void check_space(struct doctor *doctor, const char *directory) {
    struct statvfs status = {0};
    if (statvfs(directory, &status) != 0) {
        return;
    }
    uint64_t unit = status.f_frsize;
    uint64_t free_bytes = (uint64_t)status.f_bavail * unit;
    uint64_t total_bytes = (uint64_t)status.f_blocks * unit;
    bool is_tight = free_bytes < UINT64_C(1) << 30 || free_bytes < total_bytes / 20;
    struct buffer text = {0};
    quantity_print_bytes(free_bytes, &text);
    buffer_append_text(&text, " of ");
    quantity_print_bytes(total_bytes, &text);
    buffer_append_text(&text, " free");
    doctor_add(doctor, "free space",
               free_bytes < UINT64_C(256) << 20 ? DOCTOR_FAIL
               : is_tight                       ? DOCTOR_WARN
                                                : DOCTOR_OK,
               "the log alone takes up to a few segments of 32 MiB; free some space", "%s",
               buffer_text(&text));
    buffer_release(&text);
    if (status.f_files > 0) {
        doctor_add(doctor, "free inodes", status.f_favail < 1000 ? DOCTOR_WARN : DOCTOR_OK,
                   "remove files that are not needed", "%llu of %llu",
                   (unsigned long long)status.f_favail, (unsigned long long)status.f_files);
    }
}

static void check_allocation(struct doctor *doctor, int descriptor) {
    bool works = fallocate(descriptor, 0, 0, PROBE_BYTES) == 0;
    doctor_add(doctor, "fallocate", works ? DOCTOR_OK : DOCTOR_WARN,
               "log segments are written out once in advance instead, which is slower",
               works ? "works" : "does not work: %s", works ? "" : strerror(errno));
}

static void check_direct(struct doctor *doctor, const char *path) {
    void *block = NULL;
    int descriptor = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
    bool works = descriptor >= 0 && posix_memalign(&block, BLOCK_BYTES, BLOCK_BYTES) == 0;
    if (works) {
        memset(block, 0, BLOCK_BYTES);
        works = pwrite(descriptor, block, BLOCK_BYTES, 0) == BLOCK_BYTES;
    }
    int code = errno;
    free(block);
    if (descriptor >= 0) {
        close(descriptor);
    }
    doctor_add(doctor, "direct I/O", works ? DOCTOR_OK : DOCTOR_WARN,
               "the page cache is used instead; memory beside the budget is needed for it",
               works ? "works" : "does not work: %s", works ? "" : strerror(code));
}

static void check_mapping(struct doctor *doctor, int descriptor) {
    void *memory = mmap(NULL, PROBE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    bool works = memory != MAP_FAILED && msync(memory, BLOCK_BYTES, MS_SYNC) == 0;
    if (memory != MAP_FAILED) {
        munmap(memory, PROBE_BYTES);
    }
    doctor_add(doctor, "shared mapping", works ? DOCTOR_OK : DOCTOR_WARN,
               "the log is written by system calls instead, which costs a few µs a commit",
               works ? "works" : "does not work");
}

static void check_sync(struct doctor *doctor, int descriptor) {
    char block[BLOCK_BYTES];
    uint64_t best_ns = UINT64_MAX;
    uint64_t worst_ns = 0;
    for (int i = 0; i < SYNCS; i++) {
        memset(block, i, sizeof(block));
        uint64_t begin_ns = terminal_now_ns();
        bool is_synced = pwrite(descriptor, block, sizeof(block), 0) == (ssize_t)sizeof(block) &&
                         fdatasync(descriptor) == 0;
        uint64_t duration_ns = terminal_now_ns() - begin_ns;
        if (!is_synced) {
            doctor_add(doctor, "sync", DOCTOR_FAIL, "look for device errors: dmesg | tail",
                       "fdatasync fails: %s", strerror(errno));
            return;
        }
        best_ns = duration_ns < best_ns ? duration_ns : best_ns;
        worst_ns = duration_ns > worst_ns ? duration_ns : worst_ns;
    }
    struct buffer text = {0};
    quantity_print_duration_ns(best_ns, &text);
    buffer_append_text(&text, " to ");
    quantity_print_duration_ns(worst_ns, &text);
    bool is_slow = best_ns > 20000000;
    doctor_add(
        doctor, "sync", is_slow ? DOCTOR_WARN : DOCTOR_OK,
        "each durable commit waits that long: commit in batches, or use --durability interval",
        "a durable write takes %s", buffer_text(&text));
    buffer_release(&text);
}

static void try_file(struct doctor *doctor, const char *directory) {
    struct buffer path = {0};
    buffer_print(&path, "%s/.tern-doctor-XXXXXX", directory);
    int descriptor = mkostemp(path.data, O_CLOEXEC);
    if (descriptor < 0) {
        doctor_add(doctor, "write access", DOCTOR_FAIL,
                   "give the user of the database write permission on it: chown, chmod u+rwx",
                   "no file can be made in %s: %s", directory, strerror(errno));
    } else {
        doctor_add(doctor, "write access", DOCTOR_OK, NULL, "files can be made in %s", directory);
        check_allocation(doctor, descriptor);
        check_sync(doctor, descriptor);
        check_mapping(doctor, descriptor);
        check_direct(doctor, buffer_text(&path));
        unlink(buffer_text(&path));
        close(descriptor);
    }
    buffer_release(&path);
}

/* The nearest directory above `path` that exists; a string of its own. */
static char *nearest_directory(const char *path) {
    char *directory = memory_text(path, strlen(path));
    struct stat status = {0};
    while (stat(directory, &status) != 0) {
        char *slash = strrchr(directory, '/');
        if (slash == NULL) {
            free(directory);
            return memory_text(".", 1);
        }
        if (slash == directory) {
            directory[1] = '\0';
            break;
        }
        *slash = '\0';
    }
    return directory;
}

void doctor_check_storage(struct doctor *doctor) {
    const char *temporary = getenv("TMPDIR");
    char *directory = nearest_directory(doctor->directory != NULL ? doctor->directory
                                        : temporary != NULL       ? temporary
                                                                  : "/tmp");
    struct stat status = {0};
    if (stat(directory, &status) == 0 && !S_ISDIR(status.st_mode)) {
        doctor_add(doctor, "directory", DOCTOR_FAIL, "give -d the directory of a database",
                   "%s is not a directory", directory);
    } else {
        check_kind(doctor, directory);
        check_space(doctor, directory);
        try_file(doctor, directory);
    }
    free(directory);
}
