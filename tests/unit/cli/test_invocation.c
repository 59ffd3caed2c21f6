/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/invocation.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

struct parsed {
    struct words words;
    struct invocation invocation;
    tern_error error;
    tern_status status;
};

static struct parsed parse_in(const char *line, enum invocation_place place) {
    struct parsed parsed = {.error = TERN_ERROR_INIT};
    const char *problem = NULL;
    assert_int_equal(words_split(&parsed.words, tern_slice_str(line), &problem), WORDS_COMPLETE);
    parsed.status = invocation_parse(parsed.words.list, parsed.words.count, place,
                                     &parsed.invocation, &parsed.error);
    return parsed;
}

static struct parsed parse(const char *line) {
    return parse_in(line, INVOCATION_IN_SHELL);
}

static void release(struct parsed *parsed) {
    invocation_release(&parsed->invocation);
    words_release(&parsed->words);
}

static void check_refused(const char *line, enum invocation_place place, const char *part) {
    struct parsed parsed = parse_in(line, place);
    assert_int_equal(parsed.status, TERN_INVALID);
    assert_int_equal(parsed.error.status, TERN_INVALID);
    if (strstr(parsed.error.message, part) == NULL) {
        fail_msg("'%s' gave: %s", line, parsed.error.message);
    }
    release(&parsed);
}

static void options_stand_anywhere(void **state) {
    (void)state;
    static const char *const lines[] = {
        "-d x put -q ks --ttl 5m key value --json",
        "--directory=x -q --json put ks key value --ttl=300s",
        "put ks key value -qdx --json --ttl 300",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct parsed parsed = parse(lines[i]);
        assert_int_equal(parsed.status, TERN_OK);
        assert_int_equal(parsed.invocation.command->id, COMMAND_PUT);
        assert_int_equal(parsed.invocation.argument_count, 3);
        assert_string_equal(parsed.invocation.arguments[2].data, "value");
        assert_string_equal(invocation_text(&parsed.invocation, OPTION_DIRECTORY, NULL), "x");
        assert_int_equal(invocation_number(&parsed.invocation, OPTION_TTL, 0), 300000);
        assert_true(invocation_has(&parsed.invocation, OPTION_QUIET));
        assert_true(invocation_has(&parsed.invocation, OPTION_JSON));
        release(&parsed);
    }
}

static void arguments_may_look_like_options(void **state) {
    (void)state;
    struct parsed parsed = parse("put ks -5 -");
    assert_int_equal(parsed.status, TERN_OK);
    assert_string_equal(parsed.invocation.arguments[1].data, "-5");
    release(&parsed);
    parsed = parse("put -- ks --json -q");
    assert_int_equal(parsed.status, TERN_OK);
    assert_string_equal(parsed.invocation.arguments[1].data, "--json");
    assert_false(invocation_has(&parsed.invocation, OPTION_JSON));
    release(&parsed);
    parsed = parse("put ks '--json' \"-q\"");
    assert_int_equal(parsed.status, TERN_OK);
    assert_string_equal(parsed.invocation.arguments[2].data, "-q");
    release(&parsed);
}

static void commands_of_two_words_and_aliases_are_found(void **state) {
    (void)state;
    struct parsed parsed = parse("-d x keyspace create a");
    assert_int_equal(parsed.status, TERN_OK);
    assert_int_equal(parsed.invocation.command->id, COMMAND_KEYSPACE_CREATE);
    release(&parsed);
    parsed = parse("del ks a");
    assert_int_equal(parsed.invocation.command->id, COMMAND_DELETE);
    release(&parsed);
}

static void mistakes_are_named_with_what_was_meant(void **state) {
    (void)state;
    check_refused("scna ks", INVOCATION_IN_SHELL, "'scan'");
    check_refused("keyspace crate x", INVOCATION_IN_SHELL, "'keyspace create'");
    check_refused("keyspace", INVOCATION_IN_SHELL, "create, convert, drop, list, info");
    check_refused("scan ks --limmit 3", INVOCATION_IN_SHELL, "--limit");
    check_refused("scan ks --limit", INVOCATION_IN_SHELL, "needs a value");
    check_refused("scan ks --limit x", INVOCATION_IN_SHELL, "whole number");
    check_refused("scan ks --reverse=1", INVOCATION_IN_SHELL, "takes no value");
    check_refused("put a b c --ttl 5y", INVOCATION_IN_SHELL, "a time");
    check_refused("import a b --delimiter ab", INVOCATION_IN_SHELL, "one ASCII character");
    check_refused("get a b --key-format octal", INVOCATION_IN_SHELL, "text|raw");
    check_refused("merge a b plus c", INVOCATION_IN_SHELL, "add|append|max");
    check_refused("get a", INVOCATION_IN_SHELL, "too few");
    check_refused("get a b c", INVOCATION_IN_SHELL, "too many");
    check_refused("--ttl 5 put a b c", INVOCATION_IN_SHELL, "behind its name");
    check_refused("scan a -Z", INVOCATION_IN_SHELL, "unknown option");
    check_refused("begin", INVOCATION_IN_SHELL, "REPL");
    check_refused("completions bash", INVOCATION_IN_LINE, "shell");
    check_refused("get a b -d x", INVOCATION_IN_LINE, "unknown option");
    check_refused("get a b --memory \"1\\x00\"", INVOCATION_IN_SHELL, "zero byte");
}

static void help_needs_no_arguments(void **state) {
    (void)state;
    struct parsed parsed = parse("get --help");
    assert_int_equal(parsed.status, TERN_OK);
    assert_true(invocation_has(&parsed.invocation, OPTION_HELP));
    release(&parsed);
}

static void many_arguments_are_kept_in_order(void **state) {
    (void)state;
    struct buffer line = {0};
    buffer_append_text(&line, "delete ks");
    for (int i = 0; i < 500; i++) {
        buffer_print(&line, " k%d", i);
    }
    struct parsed parsed = parse(buffer_text(&line));
    assert_int_equal(parsed.status, TERN_OK);
    assert_int_equal(parsed.invocation.argument_count, 501);
    assert_string_equal(parsed.invocation.arguments[500].data, "k499");
    release(&parsed);
    buffer_release(&line);
}

static bool check_command(void *context, const struct command *command) {
    (void)context;
    assert_non_null(command->summary);
    assert_ptr_equal(command_find(command->name), command);
    assert_ptr_equal(command_by_id(command->id), command);
    size_t count = 0;
    for (const struct argument_spec *argument = command->arguments;
         argument != NULL && argument->name != NULL; argument++, count++) {
        assert_non_null(argument->text);
        assert_true(!argument->is_repeated || argument[1].name == NULL);
        assert_true((argument->kind == ARGUMENT_IS_CHOICE) == (argument->choices != NULL));
    }
    assert_true(count <= COMMAND_ARGUMENTS_MAX);
    for (const struct option_spec *option = command->options;
         option != NULL && option->name != NULL; option++) {
        assert_non_null(option->text);
        assert_true((option->kind == OPTION_IS_FLAG) == (option->argument == NULL));
        assert_true((option->kind == OPTION_IS_CHOICE) == (option->choices != NULL));
        assert_null(option_by_name(global_options, option->name, strlen(option->name)));
        assert_null(option_by_letter(global_options, option->letter));
        assert_ptr_equal(option_by_name(command->options, option->name, strlen(option->name)),
                         option);
        assert_true(option->letter == '\0' ||
                    option_by_letter(command->options, option->letter) == option);
    }
    return true;
}

static void the_table_contradicts_itself_nowhere(void **state) {
    (void)state;
    command_each(check_command, NULL);
    for (int id = 0; id < COMMAND_IDS; id++) {
        assert_non_null(command_by_id((enum command_id)id));
    }
}

static bool check_examples(void *context, const struct command *command) {
    (void)context;
    for (const struct example *example = command->examples;
         example != NULL && example->line != NULL; example++) {
        const char *line = strstr(example->line, "tern ");
        if (command->place == PLACE_REPL || line == NULL) {
            continue;
        }
        /* Up to where the shell goes on with something else. */
        char *text = memory_text(line + 5, strcspn(line + 5, "|>"));
        struct parsed parsed = parse(text);
        if (parsed.status != TERN_OK) {
            fail_msg("example '%s': %s", example->line, parsed.error.message);
        }
        assert_ptr_equal(parsed.invocation.command, command);
        release(&parsed);
        free(text);
    }
    return true;
}

static void every_example_of_the_help_is_understood(void **state) {
    (void)state;
    command_each(check_examples, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere),
        cmocka_unit_test(arguments_may_look_like_options),
        cmocka_unit_test(commands_of_two_words_and_aliases_are_found),
        cmocka_unit_test(mistakes_are_named_with_what_was_meant),
        cmocka_unit_test(help_needs_no_arguments),
        cmocka_unit_test(many_arguments_are_kept_in_order),
        cmocka_unit_test(the_table_contradicts_itself_nowhere),
        cmocka_unit_test(every_example_of_the_help_is_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
