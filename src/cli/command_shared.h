/* SPDX-License-Identifier: Apache-2.0 */
/* Rows that several commands of the table share. */
#ifndef TERN_CLI_COMMAND_SHARED_H
#define TERN_CLI_COMMAND_SHARED_H

#include "cli/bytes_format.h"
#include "cli/command.h"
#include "cli/record.h"

#define KEYSPACE_ARGUMENT                                                                          \
    { "KEYSPACE", ARGUMENT_IS_KEYSPACE, false, false, NULL, "name of the keyspace" }
#define KEY_ARGUMENT                                                                               \
    { "KEY", ARGUMENT_IS_TEXT, false, false, NULL, "the key, written as --key-format says" }

#define KEY_FORMAT_OPTION                                                                          \
    {                                                                                              \
        OPTION_KEY_FORMAT, 0, "key-format", "FORMAT", OPTION_IS_CHOICE, BYTES_FORMAT_CHOICES,      \
            "how keys are written, in and out (default text)"                                      \
    }
#define VALUE_FORMAT_OPTION                                                                        \
    {                                                                                              \
        OPTION_VALUE_FORMAT, 0, "value-format", "FORMAT", OPTION_IS_CHOICE, BYTES_FORMAT_CHOICES,  \
            "how values are written, in and out (default text)"                                    \
    }
#define TTL_OPTION                                                                                 \
    {                                                                                              \
        OPTION_TTL, 0, "ttl", "TIME", OPTION_IS_DURATION, NULL,                                    \
            "the key expires this long after the commit: 90s, 5m, 2h, 7d, 250ms; a bare number "   \
            "is "                                                                                  \
            "seconds"                                                                              \
    }
#define PREFIX_OPTION                                                                              \
    { OPTION_PREFIX, 'p', "prefix", "KEY", OPTION_IS_BYTE_STRING, NULL, "keys that begin with it" }
#define FROM_OPTION                                                                                \
    { OPTION_FROM, 0, "from", "KEY", OPTION_IS_BYTE_STRING, NULL, "first key, itself included" }
#define TO_OPTION                                                                                  \
    { OPTION_TO, 0, "to", "KEY", OPTION_IS_BYTE_STRING, NULL, "end, itself not included" }

#endif
