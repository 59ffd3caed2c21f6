/* SPDX-License-Identifier: Apache-2.0 */
/* What doctor looks at. A check file adds findings to the list; doctor prints them. */
#ifndef TERN_CLI_DOCTOR_H
#define TERN_CLI_DOCTOR_H

#include "cli/session.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor_check {
    const char *name; /* static */
    enum doctor_level level;
    char *finding;
    const char *remedy; /* static; NULL when there is nothing to do */
};

struct doctor {
    struct session *session;
    const char *directory; /* of the database or where one may be made */
    uint64_t memory_bytes; /* the budget that a database would have */
    struct doctor_check *checks;
    size_t count;
};

/* Adds a finding. `remedy` is kept only when the level is not ok. */
__attribute__((format(printf, 5, 6))) void doctor_add(struct doctor *doctor, const char *name,
                                                      enum doctor_level level, const char *remedy,
                                                      const char *format, ...);
void doctor_check_limits(struct doctor *doctor);
void doctor_check_memory(struct doctor *doctor);
void doctor_check_storage(struct doctor *doctor);
void doctor_check_clock(struct doctor *doctor);
void doctor_check_database(struct doctor *doctor);

/* First line of a small file, without its newline; false when it cannot be read. */
bool doctor_read_line(const char *path, char *line, size_t capacity);
/* First number in such a file. */
bool doctor_read_number(const char *path, uint64_t *out_number);

#endif
