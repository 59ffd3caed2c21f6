/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two views of "bytes written" and "bytes read", because each lies in its own way:
 *
 * - /proc/self/io counts a page when the process dirties it, mapped or not, and knows nothing of
 *   others; but it counts whole folios where the kernel writes single blocks, counts what is
 *   deleted before it is written back, and leaves out the journal of the file system.
 * - the counters of the block device are what the device really got, journal included; but of all
 *   processes. On a quiet machine they are the truth.
 *
 * Of reads, the process's count leaves out what the kernel fetches for the file system itself.
 * The device's is reported as written_bytes and fetched_bytes, the process's beside them, so a
 * noisy run shows.
 */
#include "measure.h"

#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SECTOR_BYTES     512U
#define STAT_BLOCK_BYTES 512U

/* Finds `name` at the start of a line of a /proc file and returns the number after it. */
static uint64_t proc_number(const char *path, const char *name) {
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    char line[256];
    uint64_t value = 0;
    size_t length = strlen(name);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, name, length) == 0) {
            if (sscanf(line + length, "%" SCNu64, &value) != 1)
                value = 0;
            break;
        }
    }
    fclose(file);
    return value;
}

void measure_memory(struct memory_use *out_use) {
    const char *status = "/proc/self/status";
    out_use->peak_rss_bytes = proc_number(status, "VmHWM:") * 1024;
    out_use->anonymous_bytes = proc_number(status, "RssAnon:") * 1024;
    out_use->mapped_bytes =
        (proc_number(status, "RssFile:") + proc_number(status, "RssShmem:")) * 1024;
}

static bool device_sectors(const char *directory, uint64_t *out_read, uint64_t *out_written) {
    struct stat status;
    char path[128];
    if (stat(directory, &status) != 0)
        return false;
    snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/stat", major(status.st_dev),
             minor(status.st_dev));
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    uint64_t fields[7];
    int count = 0;
    while (count < 7 && fscanf(file, "%" SCNu64, &fields[count]) == 1)
        count++;
    fclose(file);
    if (count < 7)
        return false;
    *out_read = fields[2];
    *out_written = fields[6];
    return true;
}

void measure_io(const char *directory, struct io_counters *out_counters) {
    uint64_t dirtied = proc_number("/proc/self/io", "write_bytes:");
    uint64_t cancelled = proc_number("/proc/self/io", "cancelled_write_bytes:");
    uint64_t read_sectors = 0;
    uint64_t written_sectors = 0;
    out_counters->process_written_bytes = dirtied > cancelled ? dirtied - cancelled : 0;
    out_counters->process_read_bytes = proc_number("/proc/self/io", "read_bytes:");
    out_counters->has_device = device_sectors(directory, &read_sectors, &written_sectors);
    out_counters->device_written_bytes = written_sectors * SECTOR_BYTES;
    out_counters->device_read_bytes = read_sectors * SECTOR_BYTES;
}

bool sync_file_system(const char *directory) {
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool synced = syncfs(fd) == 0;
    close(fd);
    return synced;
}

uint64_t directory_bytes(const char *directory) {
    char *paths[] = {(char *)(uintptr_t)directory, NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (walk == NULL)
        return 0;
    uint64_t bytes = 0;
    for (FTSENT *entry = fts_read(walk); entry != NULL; entry = fts_read(walk)) {
        if (entry->fts_info == FTS_F)
            bytes += (uint64_t)entry->fts_statp->st_blocks * STAT_BLOCK_BYTES;
    }
    fts_close(walk);
    return bytes;
}

void drop_cached_pages(const char *directory) {
    char *paths[] = {(char *)(uintptr_t)directory, NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (walk == NULL)
        return;
    sync_file_system(directory);
    for (FTSENT *entry = fts_read(walk); entry != NULL; entry = fts_read(walk)) {
        int fd = entry->fts_info == FTS_F ? open(entry->fts_accpath, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0)
            continue;
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
    fts_close(walk);
}

bool remove_directory_tree(const char *directory) {
    char *paths[] = {(char *)(uintptr_t)directory, NULL};
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    if (walk == NULL)
        return false;
    bool removed = true;
    for (FTSENT *entry = fts_read(walk); entry != NULL; entry = fts_read(walk)) {
        if (entry->fts_info == FTS_D || entry->fts_info == FTS_NS)
            continue;
        if (remove(entry->fts_accpath) != 0)
            removed = false;
    }
    fts_close(walk);
    return removed;
}
