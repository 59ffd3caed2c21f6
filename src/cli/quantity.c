/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/quantity.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit count_units[] = {
    {"", 1}, {"k", 1000}, {"K", 1000}, {"m", 1000000}, {"M", 1000000}, {"G", 1000000000}, {NULL, 0},
};
static const struct unit byte_units[] = {
    {"", 1},
    {"B", 1},
    {"K", UINT64_C(1) << 10},
    {"k", UINT64_C(1) << 10},
    {"KiB", UINT64_C(1) << 10},
    {"KB", 1000},
    {"kB", 1000},
    {"M", UINT64_C(1) << 20},
    {"MiB", UINT64_C(1) << 20},
    {"MB", 1000000},
    {"G", UINT64_C(1) << 30},
    {"GiB", UINT64_C(1) << 30},
    {"GB", 1000000000},
    {"T", UINT64_C(1) << 40},
    {"TiB", UINT64_C(1) << 40},
    {"TB", UINT64_C(1000000000000)},
    {NULL, 0},
};
static const struct unit duration_units[] = {
    {"", 1000},     {"ms", 1},      {"s", 1000},     {"m", 60000},
    {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};

static bool parse_with_unit(const char *text, const struct unit *units, uint64_t *out_number) {
    if (*text < '0' || *text > '9') {
        return false;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0) {
        return false;
    }
    /* A fraction makes sense only where the unit is larger than one. */
    uint64_t thousandths = 0;
    if (*end == '.') {
        uint64_t place = 100;
        end++;
        for (; *end >= '0' && *end <= '9'; end++, place /= 10) {
            thousandths += place * (uint64_t)(*end - '0');
        }
    }
    for (; units->name != NULL; units++) {
        if (strcmp(end, units->name) == 0) {
            if (number > (UINT64_MAX - units->factor) / units->factor ||
                (thousandths > 0 && units->factor == 1)) {
                return false;
            }
            uint64_t fraction =
                units->factor / 1000 * thousandths + units->factor % 1000 * thousandths / 1000;
            *out_number = number * units->factor + fraction;
            return true;
        }
    }
    return false;
}

bool quantity_parse_count(const char *text, uint64_t *out_count) {
    return parse_with_unit(text, count_units, out_count);
}

bool quantity_parse_bytes(const char *text, uint64_t *out_bytes) {
    return parse_with_unit(text, byte_units, out_bytes);
}

bool quantity_parse_duration_ms(const char *text, uint64_t *out_ms) {
    return parse_with_unit(text, duration_units, out_ms);
}

void quantity_print_count(uint64_t count, struct buffer *text) {
    char digits[24];
    int size = snprintf(digits, sizeof(digits), "%" PRIu64, count);
    for (int i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0) {
            buffer_append_char(text, ',');
        }
        buffer_append_char(text, digits[i]);
    }
}

void quantity_print_bytes(uint64_t bytes, struct buffer *text) {
    static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    if (bytes < 1024) {
        buffer_print(text, "%" PRIu64 " B", bytes);
        return;
    }
    double number = (double)bytes / 1024;
    size_t i = 0;
    for (; number >= 1023.95 && i + 1 < sizeof(names) / sizeof(names[0]); i++) {
        number /= 1024;
    }
    buffer_print(text, number < 99.95 ? "%.1f %s" : "%.0f %s", number, names[i]);
}

void quantity_print_duration_ns(uint64_t duration_ns, struct buffer *text) {
    double number = (double)duration_ns;
    uint64_t seconds = duration_ns / UINT64_C(1000000000);
    if (duration_ns < 1000) {
        buffer_print(text, "%" PRIu64 " ns", duration_ns);
    } else if (duration_ns < 1000000) {
        buffer_print(text, "%.1f µs", number / 1e3);
    } else if (duration_ns < UINT64_C(1000000000)) {
        buffer_print(text, "%.2f ms", number / 1e6);
    } else if (seconds < 60) {
        buffer_print(text, "%.2f s", number / 1e9);
    } else if (seconds < 3600) {
        buffer_print(text, "%" PRIu64 "m %02" PRIu64 "s", seconds / 60, seconds % 60);
    } else if (seconds < 86400) {
        buffer_print(text, "%" PRIu64 "h %02" PRIu64 "m", seconds / 3600, seconds / 60 % 60);
    } else {
        buffer_print(text, "%" PRIu64 "d %02" PRIu64 "h", seconds / 86400, seconds / 3600 % 24);
    }
}
