/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* A standard stream that is closed would be the next thing that is opened. Its place is taken by
 * something that fails as a closed one does. */
static void occupy_closed_streams(void) {
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++) {
        if (fcntl(stream, F_GETFD) < 0 &&
            open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) {
            return; /* the library keeps its own files away from there */
        }
    }
}

int main(int argc, char **argv) {
    occupy_closed_streams();
    /* What is beyond `ulimit -f` fails and says so, instead of ending the process. */
    signal(SIGXFSZ, SIG_IGN);
    /* So that lines with other characters than ASCII can be edited; numbers stay as they are. */
    setlocale(LC_CTYPE, "");
    return cli_main(argc, argv, stdout, stderr);
}
