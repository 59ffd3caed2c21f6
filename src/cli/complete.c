/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/complete.h"

#include "cli/buffer.h"
#include "cli/command.h"
#include <glob.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 64 };

/* The line so far, cut at blanks; quotes matter little for what may follow. */
struct typed_line {
    char *text;
    const char *words[WORDS_MAX];
    size_t count;     /* complete words before the one being typed */
    const char *word; /* being typed, maybe "" */
};

struct candidates {
    struct completion *completion;
    const char *word;
};

static void offer(void *target, const char *text) {
    struct candidates *candidates = target;
    struct completion *completion = candidates->completion;
    if (strncmp(text, candidates->word, completion->word_size) != 0) {
        return;
    }
    for (size_t i = 0; i < completion->count; i++) {
        if (strcmp(completion->list[i], text) == 0) {
            return;
        }
    }
    completion->list =
        memory_resize(completion->list, (completion->count + 1) * sizeof(completion->list[0]));
    completion->list[completion->count++] = memory_text(text, strlen(text));
}

static void cut_words(struct typed_line *line, const char *text) {
    line->text = memory_text(text, strlen(text));
    line->count = 0;
    char *at = line->text;
    for (;;) {
        at += strspn(at, " \t");
        char *end = at + strcspn(at, " \t");
        if (*end == '\0' || line->count == WORDS_MAX) {
            line->word = at;
            return;
        }
        *end = '\0';
        line->words[line->count++] = at;
        at = end + 1;
    }
}

static void offer_choices(struct candidates *candidates, const char *choices) {
    while (choices != NULL && *choices != '\0') {
        size_t size = strcspn(choices, "|");
        char *choice = memory_text(choices, size);
        offer(candidates, choice);
        free(choice);
        choices += size + (choices[size] != '\0' ? 1 : 0);
    }
}

static void offer_files(struct candidates *candidates) {
    glob_t found = {0};
    struct buffer pattern = {0};
    for (const char *at = candidates->word; *at != '\0'; at++) {
        if (strchr("*?[\\", *at) != NULL) {
            buffer_append_char(&pattern, '\\');
        }
        buffer_append_char(&pattern, *at);
    }
    buffer_append_char(&pattern, '*');
    if (glob(buffer_text(&pattern), GLOB_MARK, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            offer(candidates, found.gl_pathv[i]);
        }
    }
    globfree(&found);
    buffer_release(&pattern);
}

static void offer_option_names(struct candidates *candidates, const struct option_spec *options,
                               bool is_global) {
    for (; options != NULL && options->name != NULL; options++) {
        if (!is_global || option_is_for_lines(options->id)) {
            struct buffer name = {0};
            buffer_print(&name, "--%s", options->name);
            offer(candidates, buffer_text(&name));
            buffer_release(&name);
        }
    }
}

struct name_offer {
    struct candidates *candidates;
    const char *family; /* offer second words of these; NULL: first words, or whole names */
    bool has_whole_names;
};

static bool visit_command(void *context, const struct command *command) {
    struct name_offer *names = context;
    size_t size = strcspn(command->name, " ");
    if (command->place == PLACE_SHELL && !names->has_whole_names) {
        return true;
    }
    if (names->family != NULL) {
        if (strlen(names->family) == size && strncmp(command->name, names->family, size) == 0 &&
            command->name[size] == ' ') {
            offer(names->candidates, command->name + size + 1);
        }
        return true;
    }
    char *first = memory_text(command->name, size);
    offer(names->candidates, first);
    free(first);
    return true;
}

static const struct option_spec *option_of_word(const struct command *command, const char *word) {
    if (strncmp(word, "--", 2) == 0) {
        const struct option_spec *option =
            option_by_name(command->options, word + 2, strlen(word + 2));
        return option != NULL ? option : option_by_name(global_options, word + 2, strlen(word + 2));
    }
    if (word[0] == '-' && word[1] != '\0' && word[2] == '\0') {
        const struct option_spec *option = option_by_letter(command->options, word[1]);
        return option != NULL ? option : option_by_letter(global_options, word[1]);
    }
    return NULL;
}

static void offer_argument(struct candidates *candidates, const struct argument_spec *argument,
                           keyspace_source keyspaces, void *context) {
    struct name_offer names = {.candidates = candidates, .has_whole_names = true};
    switch (argument->kind) {
    case ARGUMENT_IS_KEYSPACE:
        if (keyspaces != NULL) {
            keyspaces(context, offer, candidates);
        }
        break;
    case ARGUMENT_IS_FILE:
    case ARGUMENT_IS_DIRECTORY:
        offer_files(candidates);
        break;
    case ARGUMENT_IS_CHOICE:
        offer_choices(candidates, argument->choices);
        break;
    case ARGUMENT_IS_COMMAND:
        command_each(visit_command, &names);
        break;
    case ARGUMENT_IS_TEXT:
        break;
    }
}

/* The word behind a known command: an option, the value of one, or an argument. */
static void offer_for_command(struct candidates *candidates, const struct command *command,
                              const struct typed_line *line, size_t name_words,
                              keyspace_source keyspaces, void *context) {
    size_t position = 0;
    const struct option_spec *pending = NULL;
    for (size_t i = name_words; i < line->count; i++) {
        const struct option_spec *option =
            pending == NULL ? option_of_word(command, line->words[i]) : NULL;
        if (pending != NULL) {
            pending = NULL;
        } else if (option != NULL && option->kind != OPTION_IS_FLAG) {
            pending = option;
        } else if (option == NULL) {
            position++;
        }
    }
    if (pending != NULL) {
        bool is_path = pending->kind == OPTION_IS_FILE || pending->kind == OPTION_IS_DIRECTORY;
        if (is_path) {
            offer_files(candidates);
        }
        offer_choices(candidates, pending->choices);
    } else if (line->word[0] == '-') {
        offer_option_names(candidates, command->options, false);
        offer_option_names(candidates, global_options, true);
    } else {
        const struct argument_spec *argument = command->arguments;
        for (size_t i = 0; argument != NULL && argument->name != NULL; argument++, i++) {
            if (i == position || argument->is_repeated) {
                offer_argument(candidates, argument, keyspaces, context);
                return;
            }
        }
    }
}

void completion_find(const char *text, keyspace_source keyspaces, void *context,
                     struct completion *out_completion) {
    struct typed_line line;
    cut_words(&line, text);
    *out_completion = (struct completion){.word_size = strlen(line.word)};
    struct candidates candidates = {out_completion, line.word};
    struct name_offer names = {.candidates = &candidates};
    const struct command *command = line.count > 0 ? command_find(line.words[0]) : NULL;
    if (line.count == 0) {
        command_each(visit_command, &names);
    } else if (command != NULL) {
        offer_for_command(&candidates, command, &line, 1, keyspaces, context);
    } else if (line.count == 1) {
        names.family = line.words[0];
        command_each(visit_command, &names);
    } else {
        struct buffer name = {0};
        buffer_print(&name, "%s %s", line.words[0], line.words[1]);
        command = command_find(buffer_text(&name));
        buffer_release(&name);
        if (command != NULL) {
            offer_for_command(&candidates, command, &line, 2, keyspaces, context);
        }
    }
    free(line.text);
}

size_t completion_common_size(const struct completion *completion) {
    if (completion->count == 0) {
        return 0;
    }
    size_t size = strlen(completion->list[0]);
    for (size_t i = 1; i < completion->count; i++) {
        size_t common = 0;
        while (common < size && completion->list[i][common] == completion->list[0][common]) {
            common++;
        }
        size = common;
    }
    return size;
}

void completion_release(struct completion *completion) {
    for (size_t i = 0; i < completion->count; i++) {
        free(completion->list[i]);
    }
    free(completion->list);
    *completion = (struct completion){0};
}
