/* SPDX-License-Identifier: Apache-2.0 */
/* The command table as JSON, for programs that put a face on the command. */
#include "cli/buffer.h"
#include "cli/help.h"
#include "cli/json_writer.h"
#include <string.h>

static void write_choices(struct json_writer *json, const char *choices) {
    if (choices == NULL) {
        json_null(json, "choices");
        return;
    }
    json_begin_array(json, "choices");
    for (;;) {
        size_t size = strcspn(choices, "|");
        json_string(json, NULL, tern_slice_of(choices, size));
        if (choices[size] == '\0') {
            break;
        }
        choices += size + 1;
    }
    json_end_array(json);
}

static void write_options(struct json_writer *json, const struct option_spec *options) {
    json_begin_array(json, "options");
    for (; options != NULL && options->name != NULL; options++) {
        char letter[2] = {options->letter, '\0'};
        json_begin_object(json, NULL);
        json_text(json, "name", options->name);
        json_text(json, "letter", letter[0] != '\0' ? letter : NULL);
        json_text(json, "argument", options->argument);
        write_choices(json, options->choices);
        json_text(json, "meaning", options->text);
        json_end_object(json);
    }
    json_end_array(json);
}

static void write_arguments(struct json_writer *json, const struct argument_spec *arguments) {
    json_begin_array(json, "arguments");
    for (; arguments != NULL && arguments->name != NULL; arguments++) {
        json_begin_object(json, NULL);
        json_text(json, "name", arguments->name);
        json_boolean(json, "is_optional", arguments->is_optional);
        json_boolean(json, "is_repeated", arguments->is_repeated);
        write_choices(json, arguments->choices);
        json_text(json, "meaning", arguments->text);
        json_end_object(json);
    }
    json_end_array(json);
}

static void write_examples(struct json_writer *json, const struct example *examples) {
    json_begin_array(json, "examples");
    for (; examples != NULL && examples->line != NULL; examples++) {
        json_begin_object(json, NULL);
        json_text(json, "line", examples->line);
        json_text(json, "meaning", examples->text);
        json_end_object(json);
    }
    json_end_array(json);
}

static void write_command(struct json_writer *json, const struct command *command) {
    static const char *const places[] = {"both", "shell", "repl"};
    struct buffer usage = {0};
    help_usage(command, &usage);
    json_begin_object(json, NULL);
    json_text(json, "name", command->name);
    json_text(json, "alias", command->alias);
    json_text(json, "place", places[command->place]);
    json_text(json, "summary", command->summary);
    json_text(json, "usage", buffer_text(&usage));
    json_text(json, "text", command->text);
    write_arguments(json, command->arguments);
    write_options(json, command->options);
    write_examples(json, command->examples);
    json_text(json, "json", command->json);
    json_text(json, "exit", command->exits);
    json_end_object(json);
    buffer_release(&usage);
}

static bool is_wanted(const struct command *command, const char *name) {
    size_t size = strlen(name);
    return size == 0 || strcmp(command->name, name) == 0 ||
           (command->alias != NULL && strcmp(command->alias, name) == 0) ||
           (strncmp(command->name, name, size) == 0 && command->name[size] == ' ');
}

bool help_print_json(FILE *stream, const char *name) {
    struct json_writer json = {.stream = stream};
    bool is_found = false;
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (!is_wanted(command, name)) {
                continue;
            }
            if (!is_found) {
                json_begin_object(&json, NULL);
                json_begin_array(&json, "commands");
            }
            is_found = true;
            write_command(&json, command);
        }
    }
    if (is_found) {
        json_end_array(&json);
        write_options(&json, global_options);
        json_end_object(&json);
        json_end_line(&json);
    }
    return is_found;
}
