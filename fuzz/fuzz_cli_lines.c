/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of the REPL, carried out: each input is a script for a database that holds a few records.
 * Nothing may crash, hang or leak; a command that fails says so; and whatever was said, the
 * database verifies afterwards. Commands that touch other files are left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/run.h"
#include "cli/words.h"
#include "support/step_executor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LINES_MAX 64

static char directory[64];

static void remove_directory(void) {
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    if (directory[0] != '\0' && system(command) != 0) {
        (void)fprintf(stderr, "%s is left behind\n", directory);
    }
}

/* In memory where the system has such a place. */
static void make_directory(void) {
    static const char *const places[] = {"/dev/shm", "/tmp"};
    for (size_t i = 0; directory[0] == '\0' && i < 2; i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "%s/tern-fuzz-XXXXXX", places[i]);
        if (mkdtemp(path) != NULL) {
            memcpy(directory, path, sizeof(path));
            (void)atexit(remove_directory);
        }
    }
    if (directory[0] == '\0') {
        abort();
    }
}

/* Background work runs only where somebody waits for it. */
static struct {
    struct virtual_clock clock;
    struct step_executor *executor;
    tern_db *db;
} place;

static void close_place(void) {
    (void)tern_close(place.db, NULL);
    step_executor_destroy(place.executor);
}

static void open_place(void) {
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    if (directory[0] == '\0') {
        make_directory();
    }
    virtual_clock_init(&place.clock);
    place.executor = step_executor_create(1, &place.clock);
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)8 << 20;
    options.segment_bytes = (uint64_t)64 << 10;
    options.durability = TERN_DURABILITY_NONE;
    options.clock = virtual_clock_interface(&place.clock);
    options.executor = step_executor_interface(place.executor);
    if (tern_open(directory, &options, &place.db, NULL) != TERN_OK) {
        abort();
    }
    (void)atexit(close_place); /* before the directory goes */
}

static bool visit_name(void *context, tern_keyspace *keyspace) {
    char **names = context;
    for (size_t i = 0; i < LINES_MAX + 1; i++) {
        if (names[i] == NULL) {
            names[i] = strdup(tern_keyspace_name(keyspace));
            return true;
        }
    }
    return true;
}

/* What the last input left goes; one keyspace with a few records is there. */
static void begin_anew(tern_db *db) {
    char *names[LINES_MAX + 1] = {NULL};
    tern_keyspace *keyspace;
    if (tern_keyspace_list(db, visit_name, names, NULL) != TERN_OK) {
        abort();
    }
    for (size_t i = 0; i < LINES_MAX + 1 && names[i] != NULL; i++) {
        if (tern_keyspace_drop(db, names[i], NULL) != TERN_OK) {
            abort();
        }
        free(names[i]);
    }
    if (tern_keyspace_create(db, "k", NULL, &keyspace, NULL) != TERN_OK) {
        abort();
    }
    static const char *const keys[] = {"a", "b", "ba", "c"};
    for (size_t i = 0; i < 4; i++) {
        if (tern_put(keyspace, tern_slice_str(keys[i]), tern_slice_str("1"), NULL, NULL) !=
            TERN_OK) {
            abort();
        }
    }
}

static bool is_path_option(const struct option_spec *options, enum option_id id) {
    const struct option_spec *option = option_by_id(options, id);
    return option != NULL &&
           (option->kind == OPTION_IS_FILE || option->kind == OPTION_IS_DIRECTORY);
}

/* Whether a command would read or write anything but the database. */
static bool touches_files(const struct invocation *invocation) {
    const struct command *command = invocation->command;
    static const enum command_id ids[] = {COMMAND_BATCH,  COMMAND_IMPORT, COMMAND_CLONE,
                                          COMMAND_VERIFY, COMMAND_REPAIR, COMMAND_DOCTOR,
                                          COMMAND_BENCH};
    if (command == NULL) {
        return false;
    }
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        if (command->id == ids[i]) {
            return true;
        }
    }
    for (int id = 0; id < OPTION_IDS; id++) {
        if (invocation_has(invocation, (enum option_id)id) && command->options != NULL &&
            is_path_option(command->options, (enum option_id)id)) {
            return true;
        }
    }
    for (size_t i = 0; command->arguments != NULL && command->arguments[i].name != NULL; i++) {
        enum argument_kind kind = command->arguments[i].kind;
        if ((kind == ARGUMENT_IS_FILE || kind == ARGUMENT_IS_DIRECTORY) &&
            i < invocation->argument_count) {
            return true;
        }
    }
    return false;
}

static bool is_harmless(const struct words *words) {
    struct invocation invocation;
    tern_error error = TERN_ERROR_INIT;
    tern_status status =
        invocation_parse(words->list, words->count, INVOCATION_IN_LINE, &invocation, &error);
    bool is = status != TERN_OK || !touches_files(&invocation);
    invocation_release(&invocation);
    return is;
}

static void run_line(struct session *session, tern_slice line) {
    struct words words = {0};
    const char *problem = NULL;
    if (words_split(&words, line, &problem) == WORDS_COMPLETE && words.count > 0 &&
        is_harmless(&words)) {
        long told = ftell(session->err);
        tern_status status = run_words(session, words.list, words.count);
        /* A missing key is silent with --quiet only. */
        if (status != TERN_OK && status != TERN_NOT_FOUND && ftell(session->err) == told) {
            abort();
        }
    }
    words_release(&words);
}

static void run_lines(struct session *session, const uint8_t *data, size_t size) {
    const uint8_t *end = data + size;
    for (int i = 0; i < LINES_MAX && data < end && !session->is_leaving; i++) {
        const uint8_t *newline = memchr(data, '\n', (size_t)(end - data));
        const uint8_t *stop = newline != NULL ? newline : end;
        run_line(session, tern_slice_of(data, (size_t)(stop - data)));
        data = stop + 1;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct session session;
    char *told = NULL;
    char *shown = NULL;
    size_t told_size = 0;
    size_t shown_size = 0;
    if (place.db == NULL) {
        open_place();
    }
    begin_anew(place.db);
    FILE *out = open_memstream(&shown, &shown_size);
    FILE *err = open_memstream(&told, &told_size);
    session_open(&session, out, err);
    session.is_repl = true;
    session.directory = directory;
    session.db = place.db;
    session.settings.durability = TERN_DURABILITY_NONE;
    run_lines(&session, data, size);
    session.db = NULL;
    tern_txn_free(session.txn);
    session.txn = NULL;
    session_forget_keyspaces(&session);
    session_close(&session);
    tern_verify_report found;
    if (tern_verify(place.db, NULL, NULL, NULL, NULL, &found, NULL) != TERN_OK ||
        found.findings != 0) {
        abort();
    }
    (void)step_executor_run(place.executor, 4);
    (void)fclose(out);
    (void)fclose(err);
    free(shown);
    free(told);
    return 0;
}
