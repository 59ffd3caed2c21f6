/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/buffer.h"
#include "cli/complete.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void two_keyspaces(void *context, void (*offer)(void *target, const char *name),
                          void *target) {
    (void)context;
    offer(target, "people");
    offer(target, "prices");
}

static void check(const char *line, const char *expected) {
    struct completion completion;
    struct buffer text = {0};
    completion_find(line, two_keyspaces, NULL, &completion);
    for (size_t i = 0; i < completion.count; i++) {
        buffer_print(&text, "%s%s", i > 0 ? " " : "", completion.list[i]);
    }
    assert_string_equal(buffer_text(&text), expected);
    completion_release(&completion);
    buffer_release(&text);
}

static void commands_are_completed(void **state) {
    (void)state;
    check("sc", "scan");
    check("co", "count compact commit");
    check("keyspace ", "create convert drop list info");
    check("keyspace c", "create convert");
    check("complet", "");
    check("help keys", "keyspace");
}

static void keyspaces_and_choices_are_completed(void **state) {
    (void)state;
    check("get ", "people prices");
    check("get pr", "prices");
    check("get --json pr", "prices");
    check("keyspace drop p", "people prices");
    check("get prices ", "");
    check("merge prices k a", "add append");
    check("delete prices a b ", "");
}

static void options_and_their_values_are_completed(void **state) {
    (void)state;
    check("scan prices --re", "--reverse");
    check("scan prices --key-format h", "hex");
    check("get prices k --dur", "--durability");
    check("get prices k --dir", "");
    check("scan --limit 5 p", "people prices");
}

static void the_common_beginning_is_found(void **state) {
    (void)state;
    struct completion completion;
    completion_find("get ", two_keyspaces, NULL, &completion);
    assert_int_equal(completion_common_size(&completion), 1);
    completion_release(&completion);
    completion_find("nothing here", two_keyspaces, NULL, &completion);
    assert_int_equal(completion_common_size(&completion), 0);
    completion_release(&completion);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_are_completed),
        cmocka_unit_test(keyspaces_and_choices_are_completed),
        cmocka_unit_test(options_and_their_values_are_completed),
        cmocka_unit_test(the_common_beginning_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
