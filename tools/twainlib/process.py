# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Child processes that never outlive us."""

import ctypes
import os
import signal
import subprocess
import threading

_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child(subprocess.Popen):
    """A process in a session of its own (the terminal's Ctrl-C does not reach it) with pipes for its serial
    line; the kernel ends it should we be killed."""

    def __init__(self, command, stderr):
        assert threading.current_thread() is threading.main_thread()  # the parent-death signal is per thread
        super().__init__([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=stderr, bufsize=0, start_new_session=True, preexec_fn=_die_with_parent)

    def end(self):
        if self.poll() is None:
            self.terminate()
            try:
                self.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self.wait()
        for pipe in (self.stdin, self.stdout):
            try:
                pipe.close()
            except OSError:
                pass
