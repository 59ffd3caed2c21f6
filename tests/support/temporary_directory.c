/* SPDX-License-Identifier: Apache-2.0 */
#include "support/temporary_directory.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "support/check.h"

#define OPEN_DIRECTORIES_MAX 16

char *temporary_directory_create(void) {
    const char *parent = getenv("TMPDIR");
    char path[4096];
    int size = snprintf(path, sizeof(path), "%s/tern-test-XXXXXX",
                        parent != NULL && parent[0] != '\0' ? parent : "/tmp");
    CHECK(size > 0 && (size_t)size < sizeof(path));
    CHECK(mkdtemp(path) != NULL);
    return check_copy_string(path);
}

static int remove_entry(const char *path, const struct stat *information, int type,
                        struct FTW *place) {
    (void)information;
    (void)type;
    (void)place;
    return remove(path);
}

void temporary_directory_remove(char *path) {
    if (path == NULL) {
        return;
    }
    CHECK(nftw(path, remove_entry, OPEN_DIRECTORIES_MAX, FTW_DEPTH | FTW_PHYS) == 0);
    free(path);
}
