/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"

#include <string.h>

const struct command_group command_groups[] = {
    {"Records", data_commands},       {"Many records", transfer_commands},
    {"Keyspaces", keyspace_commands}, {"Care", care_commands},
    {"Shell", shell_commands},        {NULL, NULL},
};

const struct option_spec global_options[] = {
    {OPTION_DIRECTORY, 'd', "directory", "DIR", OPTION_IS_DIRECTORY, NULL,
     "the database directory; default is the environment variable TERN_DIR"},
    {OPTION_DURABILITY, 0, "durability", "LEVEL", OPTION_IS_CHOICE, "full|interval|none",
     "when a commit is acknowledged: on stable storage (full, the default here), or at once and "
     "synced within 100 ms (interval) or when the system does (none); all three survive a crash of "
     "the process"},
    {OPTION_READ_ONLY, 0, "read-only", NULL, OPTION_IS_FLAG, NULL,
     "refuse to change anything; what a crash left is recovered in memory only"},
    {OPTION_MEMORY, 0, "memory", "SIZE", OPTION_IS_POSITIVE_SIZE, NULL,
     "memory budget of the database, at least 8 MiB (default 256 MiB)"},
    {OPTION_CACHE_POLICY, 0, "cache-policy", "POLICY", OPTION_IS_CHOICE,
     "default|clock|arc|clock-pro|tinylfu|slru|lru",
     "which pages the cache lets go when it is full"},
    {OPTION_HUGE_PAGES, 0, "huge-pages", "KIND", OPTION_IS_CHOICE,
     "default|off|transparent|reserved", "pages of memory behind the cache; see tern stats"},
    {OPTION_NUMA, 0, "numa", "PLACEMENT", OPTION_IS_CHOICE, "default|local|interleave|bind",
     "NUMA nodes of the cache: as the process, of the thread that uses it first, all in turn, or "
     "only those that the process may use"},
    {OPTION_LOCK_CACHE, 0, "lock-cache", NULL, OPTION_IS_FLAG, NULL,
     "keep the cache from being swapped out, as far as ulimit -l allows"},
    {OPTION_BUFFERED, 0, "buffered", NULL, OPTION_IS_FLAG, NULL,
     "read and write data files through the system's page cache instead of directly"},
    {OPTION_PAGE_SOURCE, 0, "page-source", "SOURCE", OPTION_IS_CHOICE, "default|cache|mapping",
     "where B+tree pages come from: the cache, or a mapping of the file outside of the budget"},
    {OPTION_READ_AHEAD, 0, "read-ahead", "SIZE", OPTION_IS_SIZE, NULL,
     "most that a scan reads ahead at once, 64 KiB to 4 MiB (default 256 KiB); 0 means nothing"},
    {OPTION_COMPACTION_RATE, 0, "compaction-rate", "SIZE", OPTION_IS_SIZE, NULL,
     "most that compaction of lsm keyspaces writes in a second (default: no limit)"},
    {OPTION_KEEP_GOING, 'k', "keep-going", NULL, OPTION_IS_FLAG, NULL,
     "when commands come from a file or pipe: go on after one that fails"},
    {OPTION_COLOR, 0, "color", "WHEN", OPTION_IS_CHOICE, "auto|always|never",
     "colours; auto means on a terminal, unless NO_COLOR is set"},
    {OPTION_JSON, 0, "json", NULL, OPTION_IS_FLAG, NULL, "write JSON, also for errors"},
    {OPTION_QUIET, 'q', "quiet", NULL, OPTION_IS_FLAG, NULL,
     "no notes, no progress, and no message for a key that is missing"},
    {OPTION_TIMING, 0, "timing", NULL, OPTION_IS_FLAG, NULL,
     "say on standard error how long the command took"},
    {OPTION_PROGRESS, 0, "progress", NULL, OPTION_IS_FLAG, NULL,
     "show progress also where standard error is not a terminal"},
    {OPTION_HELP, 'h', "help", NULL, OPTION_IS_FLAG, NULL, "explain the command"},
    {OPTION_VERSION, 'V', "version", NULL, OPTION_IS_FLAG, NULL, "print the release"},
    {0},
};

bool option_is_for_lines(enum option_id id) {
    return id == OPTION_JSON || id == OPTION_QUIET || id == OPTION_TIMING ||
           id == OPTION_PROGRESS || id == OPTION_HELP || id == OPTION_DURABILITY;
}

void command_each(bool (*visit)(void *context, const struct command *command), void *context) {
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (!visit(context, command)) {
                return;
            }
        }
    }
}

struct search {
    const char *name;
    enum command_id id;
    const struct command *found;
};

static bool visit_name(void *context, const struct command *command) {
    struct search *search = context;
    bool is_match = strcmp(command->name, search->name) == 0 ||
                    (command->alias != NULL && strcmp(command->alias, search->name) == 0);
    search->found = is_match ? command : NULL;
    return !is_match;
}

static bool visit_id(void *context, const struct command *command) {
    struct search *search = context;
    search->found = command->id == search->id ? command : NULL;
    return search->found == NULL;
}

const struct command *command_find(const char *name) {
    struct search search = {.name = name};
    command_each(visit_name, &search);
    return search.found;
}

const struct command *command_by_id(enum command_id id) {
    struct search search = {.id = id};
    command_each(visit_id, &search);
    return search.found;
}

const struct option_spec *option_by_name(const struct option_spec *options, const char *name,
                                         size_t size) {
    for (; options != NULL && options->name != NULL; options++) {
        if (strlen(options->name) == size && memcmp(options->name, name, size) == 0) {
            return options;
        }
    }
    return NULL;
}

const struct option_spec *option_by_letter(const struct option_spec *options, char letter) {
    for (; options != NULL && options->name != NULL; options++) {
        if (options->letter == letter && letter != '\0') {
            return options;
        }
    }
    return NULL;
}

const struct option_spec *option_by_id(const struct option_spec *options, enum option_id id) {
    for (; options != NULL && options->name != NULL; options++) {
        if (options->id == id) {
            return options;
        }
    }
    return NULL;
}
