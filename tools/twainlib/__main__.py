# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
import os
import _signal  # not `signal`, whose own imports take long enough to be interrupted


def _interrupted(*_):
    """Ctrl-C while modules are being imported: there is nothing to put in order yet."""
    os.write(2, b"interrupted\n")
    os._exit(130)


_signal.signal(_signal.SIGINT, _interrupted)

from .cli import run  # noqa: E402

run()
