/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/invocation.h"

#include "cli/fail.h"
#include "cli/quantity.h"
#include "cli/suggest.h"
#include <stdlib.h>

struct parser {
    const struct word *words;
    size_t count;
    size_t at;
    enum invocation_place place;
    const char *prefix; /* first word of a command of two words */
    struct invocation *invocation;
    tern_error *error;
};

static bool is_text(tern_slice bytes) {
    return bytes.size == 0 || memchr(bytes.data, '\0', bytes.size) == NULL;
}

/* Place of `text` in "a|b|c", or SIZE_MAX. */
static size_t choice_index(const char *choices, const char *text) {
    size_t size = strlen(text);
    for (size_t index = 0;; index++) {
        size_t length = strcspn(choices, "|");
        if (length == size && memcmp(choices, text, size) == 0) {
            return index;
        }
        if (choices[length] == '\0') {
            return SIZE_MAX;
        }
        choices += length + 1;
    }
}

static tern_status set_choice(struct parser *parser, const struct option_spec *spec,
                              struct option_value *value) {
    size_t index = choice_index(spec->choices, value->text);
    if (index == SIZE_MAX) {
        return fail(parser->error, TERN_INVALID, "--%s is one of %s, not '%s'", spec->name,
                    spec->choices, value->text);
    }
    value->number = index;
    return TERN_OK;
}

static tern_status set_character(struct parser *parser, const struct option_spec *spec,
                                 struct option_value *value) {
    const char *text = value->text;
    bool is_tab = strcmp(text, "tab") == 0 || strcmp(text, "\\t") == 0;
    if (!is_tab && (strlen(text) != 1 || strchr("\"\r\n", text[0]) != NULL)) {
        return fail(parser->error, TERN_INVALID,
                    "--%s is one ASCII character (no quote, no newline) or the word tab, not '%s'",
                    spec->name, text);
    }
    value->number = is_tab ? '\t' : (unsigned char)text[0];
    return TERN_OK;
}

static tern_status set_value(struct parser *parser, const struct option_spec *spec,
                             tern_slice bytes) {
    struct option_value *value = &parser->invocation->options[spec->id];
    struct option_value parsed = {.is_given = true, .bytes = bytes, .text = bytes.data};
    bool is_valid = true;
    const char *wanted = "";
    if (spec->kind != OPTION_IS_BYTE_STRING && !is_text(bytes)) {
        return fail(parser->error, TERN_INVALID, "--%s cannot hold a zero byte", spec->name);
    }
    tern_status status = TERN_OK;
    switch (spec->kind) {
    case OPTION_IS_COUNT:
        is_valid = quantity_parse_count(parsed.text, &parsed.number);
        wanted = "a whole number, as 100, 10k or 2M";
        break;
    case OPTION_IS_POSITIVE:
        is_valid = quantity_parse_count(parsed.text, &parsed.number) && parsed.number > 0;
        wanted = "a whole number from 1 on, as 100, 10k or 2M";
        break;
    case OPTION_IS_SIZE:
        is_valid = quantity_parse_bytes(parsed.text, &parsed.number);
        wanted = "a size, as 4096, 64KiB or 1GiB";
        break;
    case OPTION_IS_POSITIVE_SIZE:
        is_valid = quantity_parse_bytes(parsed.text, &parsed.number) && parsed.number > 0;
        wanted = "a size that is not 0, as 4096, 64KiB or 1GiB";
        break;
    case OPTION_IS_DURATION:
        is_valid = quantity_parse_duration_ms(parsed.text, &parsed.number);
        wanted = "a time, as 250ms, 90s, 5m, 2h or 7d";
        break;
    case OPTION_IS_CHOICE:
        status = set_choice(parser, spec, &parsed);
        break;
    case OPTION_IS_CHARACTER:
        status = set_character(parser, spec, &parsed);
        break;
    case OPTION_IS_FILE:
    case OPTION_IS_DIRECTORY:
        is_valid = parsed.text[0] != '\0';
        wanted = "a path";
        break;
    default:
        break;
    }
    if (!is_valid) {
        return fail(parser->error, TERN_INVALID, "--%s is %s, not '%s'", spec->name, wanted,
                    parsed.text);
    }
    if (status == TERN_OK) {
        *value = parsed;
    }
    return status;
}

static const struct option_spec *known_options(const struct parser *parser) {
    const struct command *command = parser->invocation->command;
    return command != NULL ? command->options : NULL;
}

static void offer_all(struct suggestion *suggestion, const struct option_spec *options) {
    for (; options != NULL && options->name != NULL; options++) {
        suggestion_offer(suggestion, options->name);
    }
}

static tern_status unknown_option(struct parser *parser, const char *text) {
    const struct command *command = parser->invocation->command;
    size_t dashes = strspn(text, "-");
    char *name = memory_text(text + dashes, strcspn(text + dashes, "="));
    struct suggestion suggestion = {.typed = name};
    offer_all(&suggestion, known_options(parser));
    offer_all(&suggestion, global_options);
    struct buffer hint = {0};
    if (suggestion.best != NULL) {
        buffer_print(&hint, "; did you mean --%s?", suggestion.best);
    } else if (command == NULL) {
        buffer_append_text(&hint, "; options of a command stand behind its name");
    } else {
        buffer_print(&hint,
                     "; see: tern help %s (and put -- before arguments that begin with a "
                     "dash)",
                     command->name);
    }
    tern_status status = fail(parser->error, TERN_INVALID, "%s%sunknown option '%s'%s",
                              command != NULL ? command->name : "", command != NULL ? ": " : "",
                              text, buffer_text(&hint));
    buffer_release(&hint);
    free(name);
    return status;
}

static const struct option_spec *allowed(const struct parser *parser,
                                         const struct option_spec *spec) {
    bool is_barred = parser->place == INVOCATION_IN_LINE && spec != NULL &&
                     spec->id <= OPTION_VERSION && !option_is_for_lines(spec->id);
    return is_barred ? NULL : spec;
}

/* The value of `spec` that stands in the next word. */
static tern_status take_next(struct parser *parser, const struct option_spec *spec) {
    if (parser->at == parser->count) {
        return fail(parser->error, TERN_INVALID, "--%s needs a value: --%s %s", spec->name,
                    spec->name, spec->argument);
    }
    return set_value(parser, spec, parser->words[parser->at++].bytes);
}

static tern_status parse_long(struct parser *parser, tern_slice word) {
    const char *text = word.data;
    const char *name = text + 2;
    size_t size = strcspn(name, "=");
    const struct option_spec *spec = option_by_name(known_options(parser), name, size);
    if (spec == NULL) {
        spec = option_by_name(global_options, name, size);
    }
    spec = allowed(parser, spec);
    if (spec == NULL) {
        return unknown_option(parser, text);
    }
    if (spec->kind == OPTION_IS_FLAG) {
        if (name[size] == '=') {
            return fail(parser->error, TERN_INVALID, "--%s takes no value", spec->name);
        }
        parser->invocation->options[spec->id].is_given = true;
        return TERN_OK;
    }
    if (name[size] == '=') {
        return set_value(parser, spec, tern_slice_of(name + size + 1, word.size - size - 3));
    }
    return take_next(parser, spec);
}

static tern_status parse_letters(struct parser *parser, tern_slice word) {
    const char *text = word.data;
    for (size_t i = 1; i < word.size; i++) {
        const struct option_spec *spec = option_by_letter(known_options(parser), text[i]);
        if (spec == NULL) {
            spec = option_by_letter(global_options, text[i]);
        }
        spec = allowed(parser, spec);
        if (spec == NULL) {
            return unknown_option(parser, text);
        }
        if (spec->kind != OPTION_IS_FLAG) {
            return i + 1 < word.size
                       ? set_value(parser, spec, tern_slice_of(text + i + 1, word.size - i - 1))
                       : take_next(parser, spec);
        }
        parser->invocation->options[spec->id].is_given = true;
    }
    return TERN_OK;
}

struct name_search {
    const char *prefix;
    struct suggestion suggestion;
    struct buffer seconds; /* second words of commands that begin with prefix */
    enum invocation_place place;
};

static bool visit_for_name(void *context, const struct command *command) {
    struct name_search *search = context;
    size_t size = strlen(search->prefix);
    bool is_elsewhere = (command->place == PLACE_REPL && search->place == INVOCATION_IN_SHELL) ||
                        (command->place == PLACE_SHELL && search->place == INVOCATION_IN_LINE);
    if (is_elsewhere) {
        return true;
    }
    suggestion_offer(&search->suggestion, command->name);
    if (strncmp(command->name, search->prefix, size) == 0 && command->name[size] == ' ') {
        buffer_print(&search->seconds, "%s%s", search->seconds.size > 0 ? ", " : "",
                     command->name + size + 1);
    }
    return true;
}

static tern_status unknown_command(struct parser *parser, const char *name) {
    struct name_search search = {.prefix = parser->prefix != NULL ? parser->prefix : name,
                                 .suggestion = {.typed = name},
                                 .place = parser->place};
    command_each(visit_for_name, &search);
    tern_status status = TERN_INVALID;
    const char *help = parser->place == INVOCATION_IN_LINE ? "help" : "tern help";
    if (search.seconds.size > 0 && strcmp(name, search.prefix) == 0) {
        fail(parser->error, status, "%s needs one more word: %s", name,
             buffer_text(&search.seconds));
    } else if (search.suggestion.best != NULL) {
        fail(parser->error, status, "there is no command '%s'; did you mean '%s'?", name,
             search.suggestion.best);
    } else if (search.seconds.size > 0) {
        fail(parser->error, status, "there is no command '%s'; %s has: %s", name, search.prefix,
             buffer_text(&search.seconds));
    } else {
        fail(parser->error, status, "there is no command '%s'; see: %s", name, help);
    }
    buffer_release(&search.seconds);
    return status;
}

static bool is_first_of_two(const char *word, enum invocation_place place) {
    struct name_search search = {.prefix = word, .suggestion = {.typed = word}, .place = place};
    command_each(visit_for_name, &search);
    bool is_prefix = search.seconds.size > 0;
    buffer_release(&search.seconds);
    return is_prefix;
}

static tern_status take_command(struct parser *parser, tern_slice word) {
    const char *text = word.data;
    if (parser->prefix == NULL && command_find(text) == NULL &&
        is_first_of_two(text, parser->place)) {
        parser->prefix = text;
        return TERN_OK;
    }
    struct buffer name = {0};
    buffer_print(&name, "%s%s%s", parser->prefix != NULL ? parser->prefix : "",
                 parser->prefix != NULL ? " " : "", text);
    const struct command *command = command_find(buffer_text(&name));
    tern_status status = TERN_OK;
    if (command == NULL) {
        status = unknown_command(parser, buffer_text(&name));
    } else if (command->place == PLACE_REPL && parser->place == INVOCATION_IN_SHELL) {
        status = fail(parser->error, TERN_INVALID, "%s works within the REPL only: tern -d DIR",
                      command->name);
    } else if (command->place == PLACE_SHELL && parser->place == INVOCATION_IN_LINE) {
        status =
            fail(parser->error, TERN_INVALID, "%s does not work here, only from the shell: tern %s",
                 command->name, command->name);
    }
    parser->invocation->command = command;
    buffer_release(&name);
    return status;
}

static tern_status take_argument(struct parser *parser, tern_slice word) {
    struct invocation *invocation = parser->invocation;
    if (invocation->command == NULL) {
        return take_command(parser, word);
    }
    invocation->arguments =
        memory_resize(invocation->arguments, (invocation->argument_count + 1) * sizeof(word));
    invocation->arguments[invocation->argument_count++] = word;
    return TERN_OK;
}

static bool is_option(const struct word *word) {
    const char *text = word->bytes.data;
    return !word->quoted && word->bytes.size >= 2 && text[0] == '-' &&
           !(text[1] >= '0' && text[1] <= '9');
}

static void print_arguments(const struct command *command, struct buffer *text) {
    for (const struct argument_spec *argument = command->arguments;
         argument != NULL && argument->name != NULL; argument++) {
        buffer_print(text, argument->is_optional ? " [%s]" : " %s", argument->name);
        buffer_append_text(text, argument->is_repeated ? "…" : "");
    }
}

static tern_status check_choices(const struct invocation *invocation, tern_error *error) {
    const struct argument_spec *arguments = invocation->command->arguments;
    for (size_t i = 0; arguments != NULL && arguments[i].name != NULL; i++) {
        if (i < invocation->argument_count && arguments[i].choices != NULL &&
            choice_index(arguments[i].choices, invocation->arguments[i].data) == SIZE_MAX) {
            return fail(error, TERN_INVALID, "%s: %s is one of %s, not '%s'",
                        invocation->command->name, arguments[i].name, arguments[i].choices,
                        (const char *)invocation->arguments[i].data);
        }
    }
    return TERN_OK;
}

static tern_status check_arguments(const struct parser *parser) {
    const struct invocation *invocation = parser->invocation;
    const struct command *command = invocation->command;
    size_t least = 0;
    size_t most = 0;
    for (const struct argument_spec *argument = command->arguments;
         argument != NULL && argument->name != NULL; argument++) {
        least += argument->is_optional ? 0 : 1;
        most = argument->is_repeated ? SIZE_MAX : most + 1;
    }
    size_t count = invocation->argument_count;
    if (count >= least && count <= most) {
        return check_choices(invocation, parser->error);
    }
    struct buffer usage = {0};
    buffer_append_text(&usage, command->name);
    print_arguments(command, &usage);
    tern_status status = fail(parser->error, TERN_INVALID,
                              count < least ? "too few arguments: %s; see: tern help %s"
                                            : "too many arguments (quote what has spaces): %s; "
                                              "see: tern help %s",
                              buffer_text(&usage), command->name);
    buffer_release(&usage);
    return status;
}

/* A mistake is told in JSON also when --json stands behind it. */
static void look_for_json(struct parser *parser) {
    for (; parser->at < parser->count; parser->at++) {
        const struct word *word = &parser->words[parser->at];
        if (is_option(word) && word->bytes.size == 6 &&
            memcmp(word->bytes.data, "--json", 6) == 0) {
            parser->invocation->options[OPTION_JSON].is_given = true;
        }
    }
}

static tern_status parse_words(struct parser *parser) {
    bool has_options = true;
    tern_status status = TERN_OK;
    while (status == TERN_OK && parser->at < parser->count) {
        const struct word *word = &parser->words[parser->at++];
        const char *text = word->bytes.data;
        if (!has_options || !is_option(word)) {
            status = take_argument(parser, word->bytes);
        } else if (text[1] != '-') {
            status = parse_letters(parser, word->bytes);
        } else if (word->bytes.size == 2) {
            has_options = false;
        } else {
            status = parse_long(parser, word->bytes);
        }
    }
    if (status != TERN_OK && has_options) {
        look_for_json(parser);
    }
    return status;
}

tern_status invocation_parse(const struct word *words, size_t count, enum invocation_place place,
                             struct invocation *out_invocation, tern_error *error) {
    *out_invocation = (struct invocation){0};
    struct parser parser = {.words = words,
                            .count = count,
                            .place = place,
                            .invocation = out_invocation,
                            .error = error};
    tern_status status = parse_words(&parser);
    bool wants_help = out_invocation->options[OPTION_HELP].is_given ||
                      out_invocation->options[OPTION_VERSION].is_given;
    if (status != TERN_OK || wants_help) {
        return status;
    }
    if (out_invocation->command == NULL) {
        return parser.prefix != NULL ? unknown_command(&parser, parser.prefix) : TERN_OK;
    }
    return check_arguments(&parser);
}

void invocation_release(struct invocation *invocation) {
    free(invocation->arguments);
    invocation->arguments = NULL;
    invocation->argument_count = 0;
}

bool invocation_has(const struct invocation *invocation, enum option_id id) {
    return invocation->options[id].is_given;
}

const char *invocation_text(const struct invocation *invocation, enum option_id id,
                            const char *fallback) {
    return invocation->options[id].is_given ? invocation->options[id].text : fallback;
}

uint64_t invocation_number(const struct invocation *invocation, enum option_id id,
                           uint64_t fallback) {
    return invocation->options[id].is_given ? invocation->options[id].number : fallback;
}
