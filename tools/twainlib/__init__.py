# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Implementation of the command tools/twain."""

VERSION = "0.1.0"
