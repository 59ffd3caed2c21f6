/* SPDX-License-Identifier: Apache-2.0 */
/* doctor: memory, huge pages, and what the system does when memory ends. */
#include "cli/doctor.h"
#include "cli/quantity.h"
#include <stdlib.h>

/* A number in kB of /proc/meminfo, in bytes. */
static bool read_meminfo(const char *name, uint64_t *out_bytes) {
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    size_t size = strlen(name);
    bool is_found = false;
    while (file != NULL && !is_found && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, name, size) == 0 && line[size] == ':') {
            *out_bytes = strtoull(line + size + 1, NULL, 10) * 1024;
            is_found = true;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return is_found;
}

static void check_available(struct doctor *doctor) {
    uint64_t total = 0;
    uint64_t available = 0;
    if (!read_meminfo("MemTotal", &total) || !read_meminfo("MemAvailable", &available)) {
        return;
    }
    struct buffer text = {0};
    quantity_print_bytes(available, &text);
    buffer_append_text(&text, " of ");
    quantity_print_bytes(total, &text);
    buffer_append_text(&text, " available; the budget is ");
    quantity_print_bytes(doctor->memory_bytes, &text);
    enum doctor_level level = available < doctor->memory_bytes       ? DOCTOR_FAIL
                              : available < doctor->memory_bytes * 2 ? DOCTOR_WARN
                                                                     : DOCTOR_OK;
    doctor_add(doctor, "memory", level, "choose a smaller budget with --memory", "%s",
               buffer_text(&text));
    buffer_release(&text);
}

/* Limit of the control group that this process is in; version 2, then version 1. */
static bool read_group_limit(uint64_t *out_bytes) {
    char line[512];
    FILE *file = fopen("/proc/self/cgroup", "re");
    bool is_found = false;
    while (file != NULL && !is_found && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        struct buffer path = {0};
        char *group = strrchr(line, ':');
        bool is_second = strncmp(line, "0::", 3) == 0;
        bool is_first = strstr(line, ":memory:") != NULL;
        if (group != NULL && is_second) {
            buffer_print(&path, "/sys/fs/cgroup%s/memory.max", group + 1);
            is_found = doctor_read_number(buffer_text(&path), out_bytes);
        } else if (group != NULL && is_first) {
            buffer_print(&path, "/sys/fs/cgroup/memory%s/memory.limit_in_bytes", group + 1);
            is_found = doctor_read_number(buffer_text(&path), out_bytes);
        }
        buffer_release(&path);
    }
    if (file != NULL) {
        fclose(file);
    }
    return is_found || doctor_read_number("/sys/fs/cgroup/memory.max", out_bytes) ||
           doctor_read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", out_bytes);
}

static void check_group(struct doctor *doctor) {
    uint64_t limit = 0;
    if (!read_group_limit(&limit) || limit > UINT64_C(1) << 50) {
        doctor_add(doctor, "control group", DOCTOR_OK, NULL, "no memory limit");
        return;
    }
    struct buffer text = {0};
    quantity_print_bytes(limit, &text);
    enum doctor_level level = limit < doctor->memory_bytes       ? DOCTOR_FAIL
                              : limit < doctor->memory_bytes * 2 ? DOCTOR_WARN
                                                                 : DOCTOR_OK;
    doctor_add(doctor, "control group", level,
               "the process would be killed: raise the group's limit or lower the budget with "
               "--memory",
               "memory is limited to %s", buffer_text(&text));
    buffer_release(&text);
}

static void check_huge_pages(struct doctor *doctor) {
    char line[128];
    if (!doctor_read_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof(line))) {
        doctor_add(doctor, "huge pages", DOCTOR_WARN,
                   "a kernel with transparent huge pages reads up to a third faster",
                   "this kernel has no transparent huge pages");
        return;
    }
    bool is_off = strstr(line, "[never]") != NULL;
    doctor_add(doctor, "huge pages", is_off ? DOCTOR_WARN : DOCTOR_OK,
               "reads from memory are slower without: echo madvise > "
               "/sys/kernel/mm/transparent_hugepage/enabled",
               "transparent huge pages: %s", line);
    if (doctor_read_line("/sys/kernel/mm/transparent_hugepage/defrag", line, sizeof(line)) &&
        strstr(line, "[always]") != NULL) {
        doctor_add(doctor, "huge page defrag", DOCTOR_WARN,
                   "allocations may stall: echo defer+madvise > "
                   "/sys/kernel/mm/transparent_hugepage/defrag",
                   "every allocation may wait for compaction (always)");
    }
}

static void check_reserved_pages(struct doctor *doctor) {
    uint64_t pages = 0;
    if (doctor->session->options.huge_pages != TERN_HUGE_PAGES_RESERVED) {
        return;
    }
    /* Without a pool there is no such file, and no page. */
    (void)doctor_read_number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", &pages);
    doctor_add(doctor, "reserved huge pages",
               pages >= doctor->memory_bytes >> 21 ? DOCTOR_OK : DOCTOR_WARN,
               "the cache will use transparent ones for the rest: sysctl vm.nr_hugepages=N",
               "%llu free, of 2 MiB each", (unsigned long long)pages);
}

static void check_numa(struct doctor *doctor) {
    char line[256];
    if (doctor_read_line("/sys/devices/system/node/online", line, sizeof(line)) &&
        strcmp(line, "0") != 0) {
        doctor_add(doctor, "NUMA nodes", DOCTOR_OK, NULL,
                   "%s; the cache may be placed with --numa local, interleave or bind", line);
    }
}

static void check_overcommit(struct doctor *doctor) {
    uint64_t mode = 0;
    if (doctor_read_number("/proc/sys/vm/overcommit_memory", &mode)) {
        doctor_add(doctor, "overcommit", mode == 2 ? DOCTOR_WARN : DOCTOR_OK,
                   "with strict accounting reserved address space counts as used: sysctl "
                   "vm.overcommit_memory=0",
                   "vm.overcommit_memory is %llu", (unsigned long long)mode);
    }
}

static void check_swap(struct doctor *doctor) {
    uint64_t swappiness = 0;
    uint64_t swap = 0;
    bool has_swap = read_meminfo("SwapTotal", &swap) && swap > 0;
    if (!has_swap) {
        doctor_add(doctor, "swap", DOCTOR_OK, NULL, "none");
    } else if (doctor_read_number("/proc/sys/vm/swappiness", &swappiness)) {
        doctor_add(doctor, "swap", swappiness > 30 ? DOCTOR_WARN : DOCTOR_OK,
                   "the cache may be swapped out, which is slower than reading again: sysctl "
                   "vm.swappiness=1",
                   "vm.swappiness is %llu", (unsigned long long)swappiness);
    }
}

void doctor_check_memory(struct doctor *doctor) {
    check_available(doctor);
    check_group(doctor);
    check_huge_pages(doctor);
    check_reserved_pages(doctor);
    check_numa(doctor);
    check_overcommit(doctor);
    check_swap(doctor);
}
