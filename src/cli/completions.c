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

static void print_first_words(FILE *stream) {
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (is_for_shell(command) && !is_repeated(group->commands, command)) {
                fprintf(stream, " %.*s", (int)first_word(command), command->name);
            }
        }
    }
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
            for (const char *choice = options->choices; *choice != '\0'; choice++) {
                putc(*choice == '|' ? ' ' : *choice, stream);
            }
            fputs("' -- \"$word\")); return ;;\n", stream);
        } else if (options->kind == OPTION_IS_FILE || options->kind == OPTION_IS_DIRECTORY) {
            fprintf(stream, ") COMPREPLY=($(compgen -%c -- \"$word\")); return ;;\n",
                    options->kind == OPTION_IS_FILE ? 'f' : 'd');
        } else {
            fputs(") return ;;\n", stream);
        }
    }
}

static void bash_command(FILE *stream, const struct command *command) {
    fprintf(stream, "    '%s') words='", command->name);
    print_option_names(stream, command->options);
    fputs(" '\"$globals\" ;;\n", stream);
}

static void print_bash(FILE *stream) {
    fputs("# bash completion for tern, made by: tern completions bash\n"
          "_tern() {\n"
          "  local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
          "  local globals='",
          stream);
    print_option_names(stream, global_options);
    fputs("' command='' directory=\"${TERN_DIR-}\" place=0 i words\n  COMPREPLY=()\n"
          "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
          "    case \"${COMP_WORDS[i]}\" in\n"
          "    -d|--directory) directory=\"${COMP_WORDS[++i]}\" ;;\n"
          "    --durability|--memory|--color) ((i++)) ;;\n"
          "    -*) ;;\n"
          "    *) if [[ -z $command || $command == keyspace ]]; then\n"
          "         command=\"${command:+$command }${COMP_WORDS[i]}\"\n"
          "       else ((place++)); fi ;;\n"
          "    esac\n"
          "  done\n"
          "  case \"any $before\" in\n",
          stream);
    bash_values(stream, global_options, "any");
    fputs("  esac\n  case \"$command $before\" in\n", stream);
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            bash_values(stream, command->options, command->name);
        }
    }
    fputs("  esac\n  case \"$command\" in\n    '') words='", stream);
    print_first_words(stream);
    fputs(" '\"$globals\" ;;\n    keyspace) words='create drop list info' ;;\n", stream);
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (is_for_shell(command)) {
                bash_command(stream, command);
            }
        }
    }
    fputs("  esac\n"
          "  if [[ $word != -* && $place -eq 0 && -n $directory ]]; then\n"
          "    case \"$command\" in\n"
          "    put|get|delete|scan|count|merge|cas|import|export|stats|'keyspace drop'|'keyspace "
          "info')\n"
          "      words=\"$(tern -q -d \"$directory\" keyspace list 2>/dev/null |\n"
          "        awk 'NR > 1 { print $1 }')\" ;;\n"
          "    esac\n"
          "  elif [[ $word != -* && -n $command && $command != keyspace ]]; then\n"
          "    case \"$command\" in\n"
          "    completions) words='bash zsh fish' ;;\n"
          "    *) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n"
          "    esac\n"
          "  fi\n"
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
                for (const char *choice = options->choices; *choice != '\0'; choice++) {
                    putc(*choice == '|' ? ' ' : *choice, stream);
                }
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

static void print_zsh(FILE *stream) {
    fputs("#compdef tern\n# zsh completion for tern, made by: tern completions zsh\n_tern() {\n"
          "  local -a globals commands\n  globals=(\n",
          stream);
    zsh_options(stream, global_options);
    fputs("  )\n  commands=(\n", stream);
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (is_for_shell(command) && !is_repeated(group->commands, command)) {
                fprintf(stream, "    '%.*s:", (int)first_word(command), command->name);
                print_escaped(stream, command->summary, "'", "'\\'");
                fputs("'\n", stream);
            }
        }
    }
    fputs("  )\n  local i command=''\n"
          "  for ((i = 2; i < CURRENT; i++)); do\n"
          "    case $words[i] in\n"
          "    -d|--directory|--durability|--memory|--color) ((i++)) ;;\n"
          "    -*) ;;\n"
          "    *) if [[ -z $command || $command == keyspace ]]; then\n"
          "         command=\"${command:+$command }$words[i]\"; fi ;;\n"
          "    esac\n"
          "  done\n"
          "  case $command in\n"
          "    '') if [[ $words[CURRENT] == -* ]]; then _arguments $globals\n"
          "        else _describe command commands; fi ;;\n"
          "    keyspace) compadd create drop list info ;;\n"
          "    completions) compadd bash zsh fish ;;\n",
          stream);
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (is_for_shell(command) && command->options != NULL) {
                fprintf(stream, "    '%s') globals+=(\n", command->name);
                zsh_options(stream, command->options);
                fputs("    ); _arguments $globals '*:file:_files' ;;\n", stream);
            }
        }
    }
    fputs("    *) _arguments $globals '*:file:_files' ;;\n  esac\n}\n_tern \"$@\"\n", stream);
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
            for (const char *choice = options->choices; *choice != '\0'; choice++) {
                putc(*choice == '|' ? ' ' : *choice, stream);
            }
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

static void fish_command(FILE *stream, const struct command *command) {
    char condition[160];
    size_t size = first_word(command);
    bool is_second = command->name[size] == ' ';
    if (is_second) {
        fprintf(stream,
                "complete -c tern -n '__fish_seen_subcommand_from %.*s; and not "
                "__fish_seen_subcommand_from create drop list info' -f -a %s",
                (int)size, command->name, command->name + size + 1);
        fish_text(stream, command->summary);
        putc('\n', stream);
    }
    snprintf(condition, sizeof(condition), " -n '__fish_seen_subcommand_from %s'",
             is_second ? command->name + size + 1 : command->name);
    fish_options(stream, command->options, condition);
}

static void print_fish(FILE *stream) {
    fputs("# fish completion for tern, made by: tern completions fish\nset -l commands", stream);
    print_first_words(stream);
    putc('\n', stream);
    fish_options(stream, global_options, "");
    for (const struct command_group *group = command_groups; group->title != NULL; group++) {
        for (const struct command *command = group->commands; command->name != NULL; command++) {
            if (!is_for_shell(command)) {
                continue;
            }
            if (!is_repeated(group->commands, command)) {
                fprintf(stream,
                        "complete -c tern -n \"not __fish_seen_subcommand_from $commands\" -f -a "
                        "%.*s",
                        (int)first_word(command), command->name);
                fish_text(stream, command->summary);
                putc('\n', stream);
            }
            fish_command(stream, command);
        }
    }
    fputs("complete -c tern -n '__fish_seen_subcommand_from completions' -f -a 'bash zsh fish'\n",
          stream);
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
