/* SPDX-License-Identifier: Apache-2.0 */
#include "os/system_error.h"

#include <errno.h>

struct errno_entry {
    int system_errno;
    tern_status status;
    const char *remedy;
};

static const struct errno_entry entries[] = {
    {ENOENT, TERN_NOT_FOUND, ""},
    {EEXIST, TERN_EXISTS, ""},
    {ENOSPC, TERN_DISK_FULL, "; free space on the device and try again"},
    {EDQUOT, TERN_DISK_FULL, "; free space or raise the quota and try again"},
    {ENOMEM, TERN_NO_MEMORY, "; free memory and try again"},
    {EFBIG, TERN_TOO_LARGE, "; the file system or a limit (ulimit -f) forbids files this large"},
    {EROFS, TERN_READ_ONLY, "; the file system is mounted read-only"},
    {EACCES, TERN_IO, "; check owner and permissions"},
    {EPERM, TERN_IO, "; check owner and permissions"},
    {EMFILE, TERN_IO, "; raise the limit of open files (ulimit -n)"},
    {ENFILE, TERN_IO, "; raise the system's limit of open files (fs.file-max)"},
    {ENAMETOOLONG, TERN_INVALID, ""},
    {ENOTDIR, TERN_INVALID, ""},
    {EISDIR, TERN_INVALID, ""},
    {ELOOP, TERN_INVALID, ""},
    {EOPNOTSUPP, TERN_UNSUPPORTED, ""},
    {ENOSYS, TERN_UNSUPPORTED, ""},
    {EIO, TERN_IO, "; check the device"},
};

static const struct errno_entry *find(int system_errno) {
    static const struct errno_entry other = {0, TERN_IO, ""};
    for (unsigned i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        if (entries[i].system_errno == system_errno) {
            return &entries[i];
        }
    }
    return &other;
}

tern_status system_status(int system_errno) {
    return find(system_errno)->status;
}

const char *system_remedy(int system_errno) {
    return find(system_errno)->remedy;
}
