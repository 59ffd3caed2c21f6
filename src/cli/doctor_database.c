/* SPDX-License-Identifier: Apache-2.0 */
/* doctor: permissions of a database directory and who has it open, seen from outside. */
#include "cli/doctor.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void check_permissions(struct doctor *doctor, const struct stat *status) {
    if ((status->st_mode & S_IWOTH) != 0) {
        doctor_add(doctor, "permissions", DOCTOR_FAIL, "chmod o-w on the directory",
                   "everybody may write in %s", doctor->directory);
    } else if ((status->st_mode & S_IROTH) != 0) {
        doctor_add(doctor, "permissions", DOCTOR_WARN, "chmod 700 if the data is private",
                   "everybody may look into %s", doctor->directory);
    } else {
        doctor_add(doctor, "permissions", DOCTOR_OK, NULL, "mode %03o",
                   (unsigned)(status->st_mode & 0777));
    }
    if (status->st_uid != geteuid() && geteuid() != 0) {
        doctor_add(doctor, "owner", DOCTOR_WARN, "run as its owner",
                   "the directory belongs to user %u, this is user %u", (unsigned)status->st_uid,
                   (unsigned)geteuid());
    }
}

/* Process that holds a lock on the file, by /proc/locks; 0 for none. */
static int lock_holder(const struct stat *status) {
    FILE *file = fopen("/proc/locks", "re");
    char line[256];
    int holder = 0;
    while (file != NULL && holder == 0 && fgets(line, sizeof(line), file) != NULL) {
        int process = 0;
        unsigned device_major = 0;
        unsigned device_minor = 0;
        unsigned long inode = 0;
        bool is_read = sscanf(line, "%*d: %*s %*s %*s %d %x:%x:%lu", &process, &device_major,
                              &device_minor, &inode) == 4;
        if (is_read && inode == status->st_ino && device_major == major(status->st_dev) &&
            device_minor == minor(status->st_dev)) {
            holder = process;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return holder;
}

static int find_holder(DIR *directory) {
    struct dirent *entry = NULL;
    int holder = 0;
    while (holder == 0 && (entry = readdir(directory)) != NULL) {
        struct stat status = {0};
        bool is_file =
            fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(status.st_mode);
        holder = is_file ? lock_holder(&status) : 0;
    }
    return holder;
}

static void check_holder(struct doctor *doctor) {
    DIR *directory = opendir(doctor->directory);
    if (directory == NULL) {
        return;
    }
    int holder = find_holder(directory);
    closedir(directory);
    if (holder == 0) {
        doctor_add(doctor, "lock", DOCTOR_OK, NULL, "no process has the database open");
        return;
    }
    if (holder == getpid()) {
        doctor_add(doctor, "lock", DOCTOR_OK, NULL, "open in this process");
        return;
    }
    char path[64];
    char name[64] = "unknown";
    snprintf(path, sizeof(path), "/proc/%d/comm", holder);
    doctor_read_line(path, name, sizeof(name));
    doctor_add(doctor, "lock", DOCTOR_WARN,
               "one process opens a database at a time: end it, or use it from there",
               "open in process %d (%s)", holder, name);
}

void doctor_check_database(struct doctor *doctor) {
    struct stat status = {0};
    if (stat(doctor->directory, &status) != 0) {
        doctor_add(doctor, "directory", DOCTOR_OK, NULL,
                   "%s does not exist yet; keyspace create, import and batch create it",
                   doctor->directory);
        return;
    }
    if (S_ISDIR(status.st_mode)) {
        check_permissions(doctor, &status);
        check_holder(doctor);
    }
}
