# SPDX-License-Identifier: Apache-2.0
"""The engine laboratory: what is run (plan), what follows from it (advice), how it is shown (plots,
page). bench/lab is its command."""
