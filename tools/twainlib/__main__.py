# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
import sys

from .cli import main

sys.exit(main())
