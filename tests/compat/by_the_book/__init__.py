# SPDX-License-Identifier: Apache-2.0
"""A reader of databases written from docs/format/*.md alone.

It shares nothing with the library: where the two differ, one of them or a page has a bug. Rules
carry the names that the pages give them. It is slow, reads everything at once, checks every
checksum, and never repairs.
"""
