/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include <locale.h>

#include <stdio.h>

int main(int argc, char **argv) {
    /* So that lines with other characters than ASCII can be edited; numbers stay as they are. */
    setlocale(LC_CTYPE, "");
    return cli_main(argc, argv, stdout, stderr);
}
