/* SPDX-License-Identifier: Apache-2.0 */
/* doctor: is this machine, and the place of the database, fit for it? */
#include "cli/doctor.h"

#include "cli/run.h"
#include "cli/terminal.h"
#include "cli/text_table.h"
#include <stdarg.h>
#include <stdlib.h>

static const char *const level_names[] = {"ok", "warn", "fail"};

void doctor_add(struct doctor *doctor, const char *name, enum doctor_level level,
                const char *remedy, const char *format, ...) {
    char finding[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(finding, sizeof(finding), format, arguments);
    va_end(arguments);
    doctor->checks = memory_resize(doctor->checks, (doctor->count + 1) * sizeof(doctor->checks[0]));
    doctor->checks[doctor->count++] = (struct doctor_check){
        name, level, memory_text(finding, strlen(finding)), level == DOCTOR_OK ? NULL : remedy};
}

bool doctor_read_line(const char *path, char *line, size_t capacity) {
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    bool is_read = fgets(line, (int)capacity, file) != NULL;
    fclose(file);
    if (is_read) {
        line[strcspn(line, "\n")] = '\0';
    }
    return is_read;
}

bool doctor_read_number(const char *path, uint64_t *out_number) {
    char line[64];
    if (!doctor_read_line(path, line, sizeof(line)) || line[0] < '0' || line[0] > '9') {
        return false;
    }
    *out_number = strtoull(line, NULL, 10);
    return true;
}

static size_t count_level(const struct doctor *doctor, enum doctor_level level) {
    size_t count = 0;
    for (size_t i = 0; i < doctor->count; i++) {
        count += doctor->checks[i].level == level ? 1 : 0;
    }
    return count;
}

static void print_json(const struct doctor *doctor) {
    struct json_writer json = session_json(doctor->session);
    json_begin_object(&json, NULL);
    for (size_t level = DOCTOR_OK; level <= DOCTOR_FAIL; level++) {
        json_unsigned(&json, level_names[level], count_level(doctor, (enum doctor_level)level));
    }
    json_begin_array(&json, "checks");
    for (size_t i = 0; i < doctor->count; i++) {
        const struct doctor_check *check = &doctor->checks[i];
        json_begin_object(&json, NULL);
        json_text(&json, "name", check->name);
        json_text(&json, "level", level_names[check->level]);
        json_text(&json, "finding", check->finding);
        json_text(&json, "remedy", check->remedy);
        json_end_object(&json);
    }
    json_end_array(&json);
    json_end_object(&json);
    json_end_line(&json);
}

static void print_text(const struct doctor *doctor) {
    static const char *const colors[] = {"\033[32m", "\033[33m", "\033[31m"};
    const struct session *session = doctor->session;
    size_t width = terminal_width_columns(session->out);
    size_t name_width = 0;
    for (size_t i = 0; i < doctor->count; i++) {
        size_t size = strlen(doctor->checks[i].name);
        name_width = size > name_width ? size : name_width;
    }
    size_t indent = 6 + name_width + 2;
    for (size_t i = 0; i < doctor->count; i++) {
        const struct doctor_check *check = &doctor->checks[i];
        fprintf(session->out, "%s%-4s%s  %-*s  ", session->has_color ? colors[check->level] : "",
                level_names[check->level], session->has_color ? "\033[0m" : "", (int)name_width,
                check->name);
        text_fold(session->out, check->finding, indent, width);
        putc('\n', session->out);
        if (check->remedy != NULL) {
            fprintf(session->out, "%*s", (int)indent, "");
            text_fold(session->out, check->remedy, indent, width);
            putc('\n', session->out);
        }
    }
    fprintf(session->out, "%zu ok, %zu warnings, %zu failures\n", count_level(doctor, DOCTOR_OK),
            count_level(doctor, DOCTOR_WARN), count_level(doctor, DOCTOR_FAIL));
}

tern_status run_doctor(struct session *session, const struct invocation *invocation) {
    (void)invocation;
    struct doctor doctor = {
        .session = session,
        .directory = session->directory,
        .memory_bytes =
            session->options.memory_bytes > 0 ? session->options.memory_bytes : UINT64_C(256) << 20,
    };
    doctor_check_limits(&doctor);
    doctor_check_memory(&doctor);
    doctor_check_clock(&doctor);
    doctor_check_storage(&doctor);
    if (doctor.directory != NULL) {
        doctor_check_database(&doctor);
    }
    if (session->settings.is_json) {
        print_json(&doctor);
    } else {
        print_text(&doctor);
    }
    size_t failures = count_level(&doctor, DOCTOR_FAIL);
    for (size_t i = 0; i < doctor.count; i++) {
        free(doctor.checks[i].finding);
    }
    free(doctor.checks);
    session->is_error_told = true;
    return failures == 0 ? TERN_OK : TERN_IO;
}
