# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
from .cli import run

run()
