/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=1800
 * The same with a value of 1 GiB.
 */
#define LARGE_VALUE_MIB 1024u
#include "test_api_large_values.c" /* NOLINT(bugprone-suspicious-include) */
