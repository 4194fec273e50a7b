# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The user's terminal as a console of the system: raw while it runs, as before afterwards."""

import os
import select
import sys
import termios
import tty
from contextlib import contextmanager

from .broker import HELP, SOCKET_NAME, Keyboard, connect
from .errors import Exit, TwainError


@contextmanager
def raw_mode(file=None):
    """Keys arrive one by one and unchanged; whatever happens, the terminal is restored."""
    file = file or sys.stdin
    if not file.isatty():
        yield
        return
    before = termios.tcgetattr(file)
    try:
        tty.setraw(file)
        yield
    finally:
        termios.tcsetattr(file, termios.TCSAFLUSH, before)
        # Colours and a hidden cursor are a guest's doing as well.
        os.write(sys.stdout.fileno(), b"\x1b[0m\x1b[?25h\r\n")


def write_all(data):
    descriptor = sys.stdout.fileno()
    while data:
        try:
            data = data[os.write(descriptor, data):]
        except BlockingIOError:
            select.select([], [descriptor], [])


def serve(broker, limit=None):
    """Connects standard input and output with the system until it ends or the user quits with Ctrl-A x.
    Returns the child's exit code; limit is in seconds of real time."""
    import time

    quitting = []
    keyboard = Keyboard(broker, quit=lambda: quitting.append(True), show=write_all)
    untap = broker.tap(write_all)
    deadline = time.monotonic() + limit if limit else None

    def read_keys():
        data = os.read(sys.stdin.fileno(), 1024)
        if data:
            keyboard.feed(data)
        else:
            broker.unwatch(sys.stdin)

    with raw_mode():
        try:
            broker.watch(sys.stdin, read_keys)
        except PermissionError:
            pass  # a plain file or /dev/null: nothing will ever be typed
        if sys.stdin.isatty():
            write_all(HELP.encode())
        while broker.running and not quitting:
            if deadline and time.monotonic() > deadline:
                raise TwainError(Exit.RUN, f"the system still ran after {limit:.0f} s")
            broker.pump(0.5)
        if quitting:
            broker.power_off()
            untap()
            return 0
    untap()
    return broker.exit_code


def attach(directory, guest=None):
    """A second console: attaches the terminal to a system that runs elsewhere."""
    import json

    connection = connect(directory)
    if connection is None:
        raise TwainError(Exit.RUN, f"no system is running in {directory} (no {SOCKET_NAME})",
                         hint="start one with `tools/twain run`")
    connection.sendall(json.dumps({"attach": guest or True}).encode() + b"\n")
    keys = sys.stdin.fileno()
    with raw_mode(), connection:
        while True:
            readable, _, _ = select.select([connection, keys], [], [])
            if connection in readable:
                data = connection.recv(65536)
                if not data:
                    return
                write_all(data)
            if keys in readable:
                data = os.read(keys, 1024)
                if not data:
                    return
                connection.sendall(data)
