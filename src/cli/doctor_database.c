/* SPDX-License-Identifier: Apache-2.0 */
/* doctor: permissions of a database directory and who has it open, seen from outside. */
#include "cli/doctor.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FREE_PERCENT_MUCH 25u
#define FREE_BYTES_MUCH   ((uint64_t)16 << 20)

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

/* True when it may be opened here. */
static bool check_holder(struct doctor *doctor) {
    DIR *directory = opendir(doctor->directory);
    if (directory == NULL) {
        return false;
    }
    int holder = find_holder(directory);
    closedir(directory);
    if (holder == 0) {
        doctor_add(doctor, "lock", DOCTOR_OK, NULL, "no process has the database open");
        return true;
    }
    if (holder == getpid()) {
        doctor_add(doctor, "lock", DOCTOR_OK, NULL, "open in this process");
        return true;
    }
    char path[64];
    char name[64] = "unknown";
    snprintf(path, sizeof(path), "/proc/%d/comm", holder);
    doctor_read_line(path, name, sizeof(name));
    doctor_add(doctor, "lock", DOCTOR_WARN,
               "one process opens a database at a time: end it, or use it from there",
               "open in process %d (%s)", holder, name);
    return false;
}

/* Where a quarter of the files is free and stays so. */
static void judge_space(struct doctor *doctor, tern_db *db) {
    uint64_t file_bytes = 0;
    uint64_t free_bytes = 0;
    uint64_t percent = 0;
    if (tern_stat_get(db, "data_file_bytes", &file_bytes) != TERN_OK ||
        tern_stat_get(db, "data_free_bytes", &free_bytes) != TERN_OK ||
        tern_stat_get(db, "data_free_percent", &percent) != TERN_OK) {
        return;
    }
    bool is_much = percent >= FREE_PERCENT_MUCH && free_bytes >= FREE_BYTES_MUCH;
    doctor_add(doctor, "fragmentation", is_much ? DOCTOR_WARN : DOCTOR_OK,
               "run: tern -d DIR compact; a database that is kept open does it when it is idle",
               "%llu %% of %llu MiB in the files of keyspaces is free", (unsigned long long)percent,
               (unsigned long long)(file_bytes >> 20));
}

/* Known where the database is open for writing: in a shell. */
static void judge_aside(struct doctor *doctor, tern_db *db) {
    uint64_t count = 0;
    if (tern_stat_get(db, "keyspaces_aside", &count) == TERN_OK && count > 0) {
        doctor_add(doctor, "keyspaces", DOCTOR_FAIL,
                   "run: tern -d DIR verify; then tern repair into a new directory, or drop them; "
                   "until then the log grows",
                   "%llu take no writes, because their files cannot take what was committed",
                   (unsigned long long)count);
    }
}

/* Read-only: it is not changed by being looked at. */
static void check_space(struct doctor *doctor) {
    tern_db *db = doctor->session->db;
    tern_db *opened = NULL;
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/tern.root", doctor->directory);
    if (db == NULL && access(path, R_OK | W_OK) == 0) {
        tern_db_options options = TERN_DB_OPTIONS_INIT;
        tern_error error = TERN_ERROR_INIT;
        options.read_only = true;
        tern_status status = tern_open(doctor->directory, &options, &opened, &error);
        if (status != TERN_OK) {
            doctor_add(doctor, "open", status == TERN_UNSUPPORTED ? DOCTOR_OK : DOCTOR_FAIL,
                       "run: tern -d DIR verify", "cannot be opened read-only: %s", error.message);
        }
        db = opened;
    }
    if (db != NULL) {
        judge_aside(doctor, db);
        judge_space(doctor, db);
    }
    tern_status status = tern_close(opened, NULL);
    (void)status; /* nothing was written */
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
        if (check_holder(doctor)) {
            check_space(doctor);
        }
    }
}
