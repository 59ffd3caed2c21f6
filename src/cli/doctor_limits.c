/* SPDX-License-Identifier: Apache-2.0 */
/* doctor: limits of the process, and the clock. */
#include "cli/doctor.h"
#include "cli/quantity.h"
#include "cli/terminal.h"
#include <sys/resource.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static void check_files(struct doctor *doctor) {
    struct rlimit limit = {0};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }
    enum doctor_level level = limit.rlim_cur >= 1024  ? DOCTOR_OK
                              : limit.rlim_cur >= 128 ? DOCTOR_WARN
                                                      : DOCTOR_FAIL;
    doctor_add(doctor, "open files", level,
               "raise it: ulimit -n 65536, or LimitNOFILE=65536 in the unit file",
               "at most %llu (hard limit %llu)", (unsigned long long)limit.rlim_cur,
               (unsigned long long)limit.rlim_max);
}

static void check_file_size(struct doctor *doctor) {
    struct rlimit limit = {0};
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        doctor_add(doctor, "file size",
                   limit.rlim_cur > UINT64_C(1) << 30 ? DOCTOR_WARN : DOCTOR_FAIL,
                   "lift it: ulimit -f unlimited, or LimitFSIZE=infinity in the unit file",
                   "files are limited to %llu bytes", (unsigned long long)limit.rlim_cur);
    } else {
        doctor_add(doctor, "file size", DOCTOR_OK, NULL, "not limited");
    }
}

static void check_locked_memory(struct doctor *doctor) {
    struct rlimit limit = {0};
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
        return;
    }
    struct buffer text = {0};
    bool is_unlimited = limit.rlim_cur == RLIM_INFINITY;
    uint64_t needed =
        doctor->session->options.lock_cache ? doctor->memory_bytes : UINT64_C(8) << 20;
    if (is_unlimited) {
        buffer_append_text(&text, "not limited");
    } else {
        buffer_append_text(&text, "at most ");
        quantity_print_bytes(limit.rlim_cur, &text);
    }
    doctor_add(
        doctor, "locked memory", is_unlimited || limit.rlim_cur >= needed ? DOCTOR_OK : DOCTOR_WARN,
        doctor->session->options.lock_cache
            ? "--lock-cache locks no more than this: ulimit -l unlimited, or "
              "LimitMEMLOCK=infinity in the unit file"
            : "io_uring buffers count against it: ulimit -l 65536, or LimitMEMLOCK=64M in the "
              "unit file",
        "%s", buffer_text(&text));
    buffer_release(&text);
}

static void check_address_space(struct doctor *doctor) {
    struct rlimit limit = {0};
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        bool is_small = limit.rlim_cur < doctor->memory_bytes * 4;
        doctor_add(doctor, "address space", is_small ? DOCTOR_FAIL : DOCTOR_OK,
                   "lift it: ulimit -v unlimited", "limited to %llu MiB",
                   (unsigned long long)(limit.rlim_cur >> 20));
    }
}

void doctor_check_limits(struct doctor *doctor) {
    check_files(doctor);
    check_file_size(doctor);
    check_locked_memory(doctor);
    check_address_space(doctor);
}

static void check_clock_cost(struct doctor *doctor) {
    enum { READS = 2000 };
    char source[64] = "unknown";
    if (!doctor_read_line("/sys/devices/system/clocksource/clocksource0/current_clocksource",
                          source, sizeof(source))) {
        snprintf(source, sizeof(source), "unknown");
    }
    uint64_t begin_ns = terminal_now_ns();
    for (int i = 0; i < READS; i++) {
        terminal_now_ns();
    }
    uint64_t cost_ns = (terminal_now_ns() - begin_ns) / READS;
    doctor_add(doctor, "clock", cost_ns < 300 ? DOCTOR_OK : DOCTOR_WARN,
               "a slow clock costs at every commit; see "
               "/sys/devices/system/clocksource/clocksource0/available_clocksource for a faster "
               "source such as tsc or kvm-clock",
               "source %s, a reading costs %llu ns", source, (unsigned long long)cost_ns);
}

static void check_wall_time(struct doctor *doctor) {
    struct timex state = {0};
    time_t now = time(NULL);
    if (now < 1700000000) {
        doctor_add(doctor, "wall time", DOCTOR_FAIL, "set the clock: keys that expire depend on it",
                   "the system's clock stands in the past");
        return;
    }
    int result = adjtimex(&state);
    if (result < 0) {
        doctor_add(doctor, "wall time", DOCTOR_OK, NULL,
                   "whether it is synchronised cannot be seen from here");
        return;
    }
    bool is_synchronised = (state.status & STA_UNSYNC) == 0;
    doctor_add(doctor, "wall time", is_synchronised ? DOCTOR_OK : DOCTOR_WARN,
               "run a time service (systemd-timesyncd, chrony) if keys shall expire on time",
               is_synchronised ? "synchronised" : "not synchronised by a time service");
}

void doctor_check_clock(struct doctor *doctor) {
    check_clock_cost(doctor);
    check_wall_time(doctor);
}
