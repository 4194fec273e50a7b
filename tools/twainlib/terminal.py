# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The user's terminal as a console of the system: raw while it runs, as before afterwards."""

import json
import os
import select
import sys
import termios
import threading
import time
import tty
from contextlib import contextmanager

from .control import NAME, connect, request
from .errors import Exit, TwainError
from .keyboard import HELP, Keyboard
from .paths import short


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
        if select.select([], [sys.stdout], [], 0)[1]:
            os.write(sys.stdout.fileno(), b"\x1b[0m\x1b[?25h\r\n")


def write_all(data):
    descriptor = sys.stdout.fileno()
    while data:
        try:
            data = data[os.write(descriptor, data):]
        except BlockingIOError:
            select.select([], [descriptor], [])


class Output:
    """Standard output, written by a thread of its own: when nobody reads it, output is lost (the log has all of it)
    rather than holding up the system and whoever asks it from elsewhere."""

    LIMIT = 1 << 20  # bytes that wait

    def __init__(self):
        self._waiting = bytearray()
        self._error = None
        self._lost = False
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def write(self, data):
        with self._changed:
            if self._error:
                raise self._error
            if len(self._waiting) + len(data) > self.LIMIT:
                self._lost = True
                return
            if self._lost:
                self._lost = False
                self._waiting += b"\r\n[output was lost here; the log has it]\r\n"
            self._waiting += data
            self._changed.notify()

    def close(self, patience=2.0):
        """Waits, not for long, until everything is written."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(patience)

    def _run(self):
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                piece = bytes(self._waiting[:4096])
                del self._waiting[:len(piece)]
            try:
                write_all(piece)
            except OSError as error:
                with self._changed:
                    self._error = error
                return


def serve(broker, limit=None, linger=False):
    """Connects standard input and output with the system until it ends or the user quits with Ctrl-A x.
    Returns the child's exit code; limit is in seconds of real time. linger: a debugger may look at a kernel that panicked."""
    quitting = []
    deadline = time.monotonic() + limit if limit else None

    def read_keys():
        data = os.read(sys.stdin.fileno(), 1024)
        if data:
            keyboard.feed(data)
        else:
            broker.unwatch(sys.stdin)

    with raw_mode():
        output = Output()
        keyboard = Keyboard(broker, quit=lambda: quitting.append(True), show=output.write)
        untap = broker.tap(output.write)
        try:
            try:
                broker.watch(sys.stdin, read_keys)
            except PermissionError:
                pass  # a plain file or /dev/null: nothing will ever be typed
            if sys.stdin.isatty():
                output.write(HELP.encode())
            while broker.running and not quitting:
                if deadline and time.monotonic() > deadline:
                    raise TwainError(Exit.RUN, f"the system still ran after {limit:.0f} s")
                if broker.panicked and not linger:
                    raise TwainError(Exit.RUN, "the kernel panicked", hint=f"tools/twain symbolize {short(broker.log_path)}")
                broker.pump(0.5)
            if quitting:
                broker.power_off()
        finally:
            untap()
            output.close()
    return 0 if quitting else broker.exit_code


def attach(directory, guest=None):
    """A second console: attaches the terminal to a system that runs elsewhere."""
    connection = connect(directory)
    if connection is None:
        raise TwainError(Exit.RUN, f"no system is running in {directory} (no {NAME})",
                         hint="start one with `tools/twain run`")
    guests = request(directory, {"status": True})["guests"]
    if guest is not None and guest not in guests:
        raise TwainError(Exit.USAGE, f"there is no guest {guest}", hint="guests: " + ", ".join(guests))
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
