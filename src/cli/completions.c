/* SPDX-License-Identifier: Apache-2.0 */
/* Completions for bash, zsh and fish, made from the command table. */
#include "cli/help.h"
#include <string.h>

/* Prints with every `special` character preceded by `escape`. */
static void print_escaped(FILE *stream, const char *text, const char *special, const char *escape) {
    for (; *text != '\0'; text++) {
        if (strchr(special, *text) != NULL) {
            fputs(escape, stream);
        }
        putc(*text, stream);
    }
}

static bool is_for_shell(const struct command *command) {
    return command->place != PLACE_REPL;
}

/* Length of the first word of a command's name. */
static size_t first_word(const struct command *command) {
    return strcspn(command->name, " ");
}

/* Whether an earlier command begins with the same word. */
static bool is_repeated(const struct command *commands, const struct command *command) {
    for (; commands != command; commands++) {
        if (first_word(commands) == first_word(command) &&
            strncmp(commands->name, command->name, first_word(command)) == 0) {
            return true;
        }
    }
    return false;
}

static void print_option_names(FILE *stream, const struct option_spec *options) {
    for (; options != NULL && options->name != NULL; options++) {
        fprintf(stream, " --%s", options->name);
    }
}

/* "a|b|c" with blanks between. */
static void print_choices(FILE *stream, const char *choices) {
    for (; *choices != '\0'; choices++) {
        putc(*choices == '|' ? ' ' : *choices, stream);
    }
}

typedef void (*command_visitor)(FILE *stream, const struct command *command);

static void for_each_command(FILE *stream, command_visitor visit) {
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (is_for_shell(command)) {
                visit(stream, command);
            }
        }
    }
}

static void print_first_words(FILE *stream) {
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (is_for_shell(command) && !is_repeated(group->commands, command)) {
                fprintf(stream, " %.*s", (int)first_word(command), command->name);
            }
        }
    }
}

/* Calls for the first command of each family: those that share the first of two words. */
static void for_each_family(FILE *stream, command_visitor visit) {
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (command->name[first_word(command)] == ' ' &&
                !is_repeated(group->commands, command)) {
                visit(stream, command);
            }
        }
    }
}

static void print_second_words(FILE *stream, const struct command *family) {
    const char *separator = "";
    for (const struct command *command = family;
         command->name != NULL && first_word(command) == first_word(family) &&
         strncmp(command->name, family->name, first_word(family)) == 0;
         command++) {
        fprintf(stream, "%s%s", separator, command->name + first_word(command) + 1);
        separator = " ";
    }
}

static void print_family_pattern(FILE *stream, const struct command *family) {
    fprintf(stream, "|%.*s", (int)first_word(family), family->name);
}

/* A pattern of all options that take a value, behind `scope`. */
static void print_valued(FILE *stream, const struct option_spec *options, const char *scope) {
    for (; options != NULL && options->name != NULL; options++) {
        if (options->kind != OPTION_IS_FLAG) {
            fprintf(stream, "    '%s --%s'", scope, options->name);
            if (options->letter != '\0') {
                fprintf(stream, "|'%s -%c'", scope, options->letter);
            }
            fputs(") ((i++)) ;;\n", stream);
        }
    }
}

/* The pattern of an argument: "command place". */
static void print_place(FILE *stream, const struct command *command,
                        const struct argument_spec *argument, size_t place) {
    if (argument->is_repeated) {
        fprintf(stream, "    '%s '*) ", command->name);
    } else {
        fprintf(stream, "    '%s %zu') ", command->name, place);
    }
}

static void print_valued_of(FILE *stream, const struct command *command) {
    print_valued(stream, command->options, command->name);
}

/*
 * The walk over the words before the one to complete, in words that bash and zsh share: sets
 * command, directory and place (which argument comes next).
 */
static void print_walk(FILE *stream, const char *first, const char *end, const char *word) {
    fprintf(stream,
            "  for ((i = %s; i < %s; i++)); do\n"
            "    case \"%s\" in\n"
            "    -*) ;;\n"
            "    *) case \"$command\" in\n"
            "       ''",
            first, end, word);
    for_each_family(stream, print_family_pattern);
    fprintf(stream,
            ") command=\"${command:+$command }%s\" ;;\n"
            "       *) ((place++)) ;;\n"
            "       esac; continue ;;\n"
            "    esac\n"
            "    before=\"%s\"\n"
            "    case \"any $before\" in\n",
            word, word);
    print_valued(stream, global_options, "any");
    fputs("    esac\n    case \"$command $before\" in\n", stream);
    for_each_command(stream, print_valued_of);
    fprintf(stream,
            "    esac\n"
            "    if [[ \"%s\" == = ]]; then ((i++)); fi\n"
            "    case \"$before\" in -d|--directory) directory=\"%s\" ;; esac\n"
            "  done\n",
            word, word);
}

/* ---- bash ---- */

static void bash_values(FILE *stream, const struct option_spec *options, const char *scope) {
    for (; options != NULL && options->name != NULL; options++) {
        if (options->kind == OPTION_IS_FLAG) {
            continue;
        }
        fprintf(stream, "    '%s --%s'", scope, options->name);
        if (options->letter != '\0') {
            fprintf(stream, "|'%s -%c'", scope, options->letter);
        }
        if (options->choices != NULL) {
            fputs(") COMPREPLY=($(compgen -W '", stream);
            print_choices(stream, options->choices);
            fputs("' -- \"$word\")); return ;;\n", stream);
        } else if (options->kind == OPTION_IS_FILE || options->kind == OPTION_IS_DIRECTORY) {
            fprintf(stream, ") COMPREPLY=($(compgen -%c -- \"$word\")); return ;;\n",
                    options->kind == OPTION_IS_FILE ? 'f' : 'd');
        } else {
            fputs(") return ;;\n", stream);
        }
    }
}

static void bash_values_of(FILE *stream, const struct command *command) {
    bash_values(stream, command->options, command->name);
}

static void bash_family(FILE *stream, const struct command *family) {
    fprintf(stream, "    %.*s) words='", (int)first_word(family), family->name);
    print_second_words(stream, family);
    fputs("' ;;\n", stream);
}

static void bash_family_test(FILE *stream, const struct command *family) {
    fprintf(stream, " || $command == %.*s", (int)first_word(family), family->name);
}

static void bash_command(FILE *stream, const struct command *command) {
    fprintf(stream, "    '%s') words='", command->name);
    print_option_names(stream, command->options);
    fputs(" '\"$globals\" ;;\n", stream);
}

/* What the arguments of a command may be; names of keyspaces come out of the database. */
static void bash_arguments(FILE *stream, const struct command *command) {
    const struct argument_spec *argument = command->arguments;
    for (size_t place = 0; argument != NULL && argument->name != NULL; argument++, place++) {
        print_place(stream, command, argument, place);
        switch (argument->kind) {
        case ARGUMENT_IS_KEYSPACE:
            fputs("words=\"$(\"${COMP_WORDS[0]}\" -q ${directory:+-d \"$directory\"} keyspace "
                  "list 2>/dev/null | awk 'NR > 1 { print $1 }')\"",
                  stream);
            break;
        case ARGUMENT_IS_CHOICE:
            fputs("words='", stream);
            print_choices(stream, argument->choices);
            putc('\'', stream);
            break;
        case ARGUMENT_IS_COMMAND:
            fputs("words='", stream);
            print_first_words(stream);
            putc('\'', stream);
            break;
        case ARGUMENT_IS_FILE:
        case ARGUMENT_IS_DIRECTORY:
            fprintf(stream, "COMPREPLY=($(compgen -%c -- \"$word\")); return",
                    argument->kind == ARGUMENT_IS_FILE ? 'f' : 'd');
            break;
        case ARGUMENT_IS_TEXT:
            fputs("return", stream);
            break;
        }
        fputs(" ;;\n", stream);
    }
}

static void print_bash(FILE *stream) {
    fputs("# bash completion for tern, made by: tern completions bash\n"
          "_tern() {\n"
          "  local word=\"${COMP_WORDS[COMP_CWORD]}\" before=''\n"
          "  local globals='",
          stream);
    print_option_names(stream, global_options);
    fputs("' command='' directory=\"${TERN_DIR-}\" place=0 i words=''\n  COMPREPLY=()\n", stream);
    print_walk(stream, "1", "COMP_CWORD", "${COMP_WORDS[i]}");
    fputs("  before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
          "  if [[ $word == = ]]; then word=''\n"
          "  elif [[ $before == = ]]; then before=\"${COMP_WORDS[COMP_CWORD-2]}\"; fi\n"
          "  case \"any $before\" in\n",
          stream);
    bash_values(stream, global_options, "any");
    fputs("  esac\n  case \"$command $before\" in\n", stream);
    for_each_command(stream, bash_values_of);
    fputs("  esac\n  if [[ $word == -* || -z $command", stream);
    for_each_family(stream, bash_family_test);
    fputs(" ]]; then\n    case \"$command\" in\n    '') words='", stream);
    print_first_words(stream);
    fputs(" '\"$globals\" ;;\n", stream);
    for_each_family(stream, bash_family);
    for_each_command(stream, bash_command);
    fputs("    esac\n  else\n    case \"$command $place\" in\n", stream);
    for_each_command(stream, bash_arguments);
    fputs("    esac\n  fi\n"
          "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
          "}\n"
          "complete -o filenames -F _tern tern\n",
          stream);
}

/* ---- zsh ---- */

static void zsh_options(FILE *stream, const struct option_spec *options) {
    for (; options != NULL && options->name != NULL; options++) {
        if (options->letter != '\0') {
            fprintf(stream, "    '(-%c --%s)'{-%c,--%s}'[", options->letter, options->name,
                    options->letter, options->name);
        } else {
            fprintf(stream, "    '--%s[", options->name);
        }
        for (const char *text = options->text; *text != '\0'; text++) {
            if (*text == '\'') {
                fputs("'\\''", stream);
            } else {
                print_escaped(stream, (char[2]){*text, '\0'}, "[]:\\", "\\");
            }
        }
        putc(']', stream);
        if (options->kind != OPTION_IS_FLAG) {
            fprintf(stream, ":%s:", options->argument);
            if (options->choices != NULL) {
                putc('(', stream);
                print_choices(stream, options->choices);
                putc(')', stream);
            } else if (options->kind == OPTION_IS_FILE) {
                fputs("_files", stream);
            } else if (options->kind == OPTION_IS_DIRECTORY) {
                fputs("_files -/", stream);
            }
        }
        fputs("'\n", stream);
    }
}

static void zsh_first_word(FILE *stream, const struct command *command) {
    fprintf(stream, "    '%.*s:", (int)first_word(command), command->name);
    print_escaped(stream, command->summary, "'", "'\\'");
    fputs("'\n", stream);
}

static void zsh_command(FILE *stream, const struct command *command) {
    if (command->options != NULL) {
        fprintf(stream, "    '%s') globals+=(\n", command->name);
        zsh_options(stream, command->options);
        fputs("    ) ;;\n", stream);
    }
}

static void zsh_family(FILE *stream, const struct command *family) {
    fprintf(stream, "    %.*s) compadd ", (int)first_word(family), family->name);
    print_second_words(stream, family);
    fputs("; return ;;\n", stream);
}

static void zsh_arguments(FILE *stream, const struct command *command) {
    const struct argument_spec *argument = command->arguments;
    for (size_t place = 0; argument != NULL && argument->name != NULL; argument++, place++) {
        print_place(stream, command, argument, place);
        switch (argument->kind) {
        case ARGUMENT_IS_KEYSPACE:
            fputs("compadd -- ${(f)\"$(${words[1]} -q ${directory:+-d} ${directory:+$directory} "
                  "keyspace list 2>/dev/null | awk 'NR > 1 { print $1 }')\"}",
                  stream);
            break;
        case ARGUMENT_IS_CHOICE:
            fputs("compadd ", stream);
            print_choices(stream, argument->choices);
            break;
        case ARGUMENT_IS_COMMAND:
            fputs("_describe command commands", stream);
            break;
        case ARGUMENT_IS_FILE:
            fputs("_files", stream);
            break;
        case ARGUMENT_IS_DIRECTORY:
            fputs("_files -/", stream);
            break;
        case ARGUMENT_IS_TEXT:
            fputs("_message ", stream);
            print_escaped(stream, argument->name, " ", "\\");
            break;
        }
        fputs(" ;;\n", stream);
    }
}

static void print_zsh(FILE *stream) {
    fputs("#compdef tern\n# zsh completion for tern, made by: tern completions zsh\n_tern() {\n"
          "  local -a globals commands\n  globals=(\n",
          stream);
    zsh_options(stream, global_options);
    fputs("  )\n  commands=(\n", stream);
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (is_for_shell(command) && !is_repeated(group->commands, command)) {
                zsh_first_word(stream, command);
            }
        }
    }
    fputs("  )\n  local i before='' command='' directory=\"${TERN_DIR-}\" place=0\n", stream);
    print_walk(stream, "2", "CURRENT", "$words[i]");
    fputs("  case $command in\n", stream);
    for_each_family(stream, zsh_family);
    for_each_command(stream, zsh_command);
    /* Behind an option that takes a value the walk has stepped past the word to complete. */
    fputs("  esac\n  if [[ $words[CURRENT] == -* ]] || ((i > CURRENT)); then\n"
          "    _arguments $globals '*:file:_files'; return\n  fi\n"
          "  case \"$command $place\" in\n"
          "    ' 0') _describe command commands ;;\n",
          stream);
    for_each_command(stream, zsh_arguments);
    fputs("  esac\n}\n_tern \"$@\"\n", stream);
}

/* ---- fish ---- */

static void fish_text(FILE *stream, const char *text) {
    fputs(" -d '", stream);
    print_escaped(stream, text, "'\\", "\\");
    fputs("'", stream);
}

static void fish_options(FILE *stream, const struct option_spec *options, const char *condition) {
    for (; options != NULL && options->name != NULL; options++) {
        fprintf(stream, "complete -c tern%s -l %s", condition, options->name);
        if (options->letter != '\0') {
            fprintf(stream, " -s %c", options->letter);
        }
        if (options->choices != NULL) {
            fputs(" -x -a '", stream);
            print_choices(stream, options->choices);
            putc('\'', stream);
        } else if (options->kind == OPTION_IS_FILE || options->kind == OPTION_IS_DIRECTORY) {
            fputs(" -r -F", stream);
        } else if (options->kind != OPTION_IS_FLAG) {
            fputs(" -x", stream);
        }
        fish_text(stream, options->text);
        putc('\n', stream);
    }
}

static void fish_command(FILE *stream, const struct command *family,
                         const struct command *command) {
    char condition[160];
    size_t size = first_word(command);
    bool is_second = command->name[size] == ' ';
    if (is_second) {
        fprintf(stream,
                "complete -c tern -n '__fish_seen_subcommand_from %.*s; and not "
                "__fish_seen_subcommand_from ",
                (int)size, command->name);
        print_second_words(stream, family);
        fprintf(stream, "' -f -a %s", command->name + size + 1);
        fish_text(stream, command->summary);
        putc('\n', stream);
    }
    snprintf(condition, sizeof(condition), " -n '__fish_seen_subcommand_from %s'",
             is_second ? command->name + size + 1 : command->name);
    fish_options(stream, command->options, condition);
}

static void fish_arguments(FILE *stream, const struct command *command) {
    const struct argument_spec *argument = command->arguments;
    for (; argument != NULL && argument->name != NULL; argument++) {
        if (argument->kind == ARGUMENT_IS_CHOICE) {
            fprintf(stream, "complete -c tern -n '__fish_seen_subcommand_from %s' -f -a '",
                    command->name);
            print_choices(stream, argument->choices);
            fputs("'\n", stream);
        }
    }
}

static void print_fish(FILE *stream) {
    fputs("# fish completion for tern, made by: tern completions fish\nset -l commands", stream);
    print_first_words(stream);
    putc('\n', stream);
    fish_options(stream, global_options, "");
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        const struct command *family = group->commands;
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (!is_for_shell(command)) {
                continue;
            }
            if (!is_repeated(group->commands, command)) {
                family = command;
                fprintf(stream,
                        "complete -c tern -n \"not __fish_seen_subcommand_from $commands\" -f -a "
                        "%.*s",
                        (int)first_word(command), command->name);
                fish_text(stream, command->summary);
                putc('\n', stream);
            }
            fish_command(stream, family, command);
        }
    }
    for_each_command(stream, fish_arguments);
}

void completions_print(FILE *stream, const char *shell) {
    if (strcmp(shell, "bash") == 0) {
        print_bash(stream);
    } else if (strcmp(shell, "zsh") == 0) {
        print_zsh(stream);
    } else {
        print_fish(stream);
    }
}
