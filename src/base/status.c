/* SPDX-License-Identifier: Apache-2.0 */
#include <tern/status.h>

struct status_entry {
    tern_status status;
    int http;
    int grpc;
    int exit_code;
    const char *name;
    const char *text;
};

static const struct status_entry entries[] = {
#define STATUS_ENTRY(name, code, text, http, grpc, exit_code)                                      \
    {TERN_##name, (http), (grpc), (exit_code), #name, (text)},
    TERN_STATUS_MAP(STATUS_ENTRY)
#undef STATUS_ENTRY
};

static const struct status_entry unknown = {TERN_UNKNOWN,    500, 2, 10, "UNRECOGNISED",
                                            "unknown status"};

static const struct status_entry *find(tern_status status) {
    for (unsigned i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        if (entries[i].status == status) {
            return &entries[i];
        }
    }
    return &unknown;
}

const char *tern_status_text(tern_status status) {
    return find(status)->text;
}

const char *tern_status_name(tern_status status) {
    return find(status)->name;
}

int tern_status_http(tern_status status) {
    return find(status)->http;
}

int tern_status_grpc(tern_status status) {
    return find(status)->grpc;
}

int tern_status_exit(tern_status status) {
    return find(status)->exit_code;
}
