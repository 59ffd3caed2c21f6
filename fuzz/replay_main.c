/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target over given inputs where libFuzzer is not at hand. Each argument is a file or a
 * folder of files. The empty input always runs, so that a target without a corpus is tried too.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int complain(const char *path) {
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    return 1;
}

static int replay_file(const char *path, size_t size) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return complain(path);
    }
    /* A block of exactly the input's size, so that a read past its end is found. */
    uint8_t *data = malloc(size > 0 ? size : 1);
    int failed = 0;
    if (data == NULL || fread(data, 1, size, file) != size) {
        failed = complain(path);
    } else {
        /* Last words, should the target crash. */
        fprintf(stderr, "%s (%zu bytes)\n", path, size);
        (void)LLVMFuzzerTestOneInput(data, size);
    }
    free(data);
    (void)fclose(file);
    return failed;
}

static int replay(const char *path, size_t *count);

static int replay_folder(const char *path, size_t *count) {
    struct dirent **entries = NULL;
    int entry_count = scandir(path, &entries, NULL, alphasort);
    if (entry_count < 0) {
        return complain(path);
    }
    int failed = 0;
    for (int i = 0; i < entry_count; i++) {
        if (entries[i]->d_name[0] != '.') {
            char child[4096];
            (void)snprintf(child, sizeof(child), "%s/%s", path, entries[i]->d_name);
            failed |= replay(child, count);
        }
        free(entries[i]);
    }
    free(entries);
    return failed;
}

static int replay(const char *path, size_t *count) {
    struct stat status;
    if (stat(path, &status) != 0) {
        /* A new target has no corpus yet. */
        return errno == ENOENT ? 0 : complain(path);
    }
    if (S_ISDIR(status.st_mode)) {
        return replay_folder(path, count);
    }
    *count += 1;
    return replay_file(path, (size_t)status.st_size);
}

int main(int argc, char **argv) {
    static const uint8_t nothing[1] = {0};
    size_t count = 0;
    int failed = 0;
    (void)LLVMFuzzerTestOneInput(nothing, 0);
    for (int i = 1; i < argc; i++) {
        failed |= replay(argv[i], &count);
    }
    printf("%zu inputs\n", count);
    return failed;
}
