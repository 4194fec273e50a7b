# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Owns the serial line of one running system and shares it out: to the terminal, to attached consoles, to
commands from other terminals (control socket) and to scripts.

The system has one line, and one keyboard focus in it (`Ctrl-A 0` supervisor, `Ctrl-A 1..9` guests). Each
party here has a focus of its own; the broker switches the system's before it passes bytes on. Commands for
the supervisor go beside the keyboard (`Ctrl-A : COMMAND Enter`), so they disturb nobody who types.

Single-threaded: whoever waits for something calls pump() until it has come."""

import os
import selectors
import time
from collections import deque
from pathlib import Path

from . import control
from .lines import END_OF_PANIC, KERNEL, REFUSALS, SUPERVISOR, LineParser, json_answer
from .process import Child

BACKLOG = 16 * 1024
STOP_LIMIT = 12.0  # for the machine to power off by itself


class Broker:
    def __init__(self, command, directory, guests, labels=None):
        """command: argument vector whose stdin and stdout are the serial line; directory: for log and
        socket; guests: names in keyboard order; labels: {tag on the line: name} where they differ."""
        self.command = command
        self.directory = Path(directory)
        self.guests = list(guests)
        self.log_path = self.directory / "console.log"
        self.lines = []
        self.exit_code = None
        self.panicked = False  # the kernel: nothing more will come
        self.refused = False  # by loader or init: it never came to guests
        self._labels = labels or {name: name for name in self.guests}
        self._focus = None
        self._backlog = deque(maxlen=BACKLOG)
        self._questions = deque()
        self._asked = None
        self._asked_at = 0.0
        self._unplug_at = None
        self._outgoing = bytearray()
        self._listener = None
        self._taps = []
        self._selector = selectors.DefaultSelector()

    # ------------------------------------------------------------------------------------------ life

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log = open(self.log_path, "wb", buffering=0)
        self._listener = control.Listener(self)
        self.started = time.monotonic()
        self.parser = LineParser(self._labels)
        self.child = Child(self.command, stderr=self._log)
        os.set_blocking(self.child.stdout.fileno(), False)
        os.set_blocking(self.child.stdin.fileno(), False)
        self._selector.register(self.child.stdout, selectors.EVENT_READ, self._read_system)
        return self

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the system if it still runs, and removes the socket."""
        if hasattr(self, "child"):
            self.child.end()
            self.exit_code = self.child.returncode
        if self._listener:
            self._listener.close()
            self._listener = None
        if hasattr(self, "_log"):
            self._log.close()
        self._selector.close()

    @property
    def running(self):
        return self.exit_code is None

    def stop(self, limit=STOP_LIMIT):
        """Asks the supervisor to switch the machine off; pump() pulls the plug after the limit."""
        if self._unplug_at is None:
            self._unplug_at = time.monotonic() + limit
            self.ask("off", lambda _: None)

    def power_off(self, limit=STOP_LIMIT):
        """The same, and waits for it. True if the machine went off by itself."""
        self.stop(limit)
        while self.running:
            self.pump(0.1)
        return self.child.returncode >= 0

    # ------------------------------------------------------------------------------------------ in and out

    def watch(self, file, callback):
        """Calls back when the file can be read (a terminal's keyboard)."""
        self._selector.register(file, selectors.EVENT_READ, callback)

    def unwatch(self, file):
        self._selector.unregister(file)

    def pump(self, timeout):
        """Handles what has arrived; returns after the first batch or the timeout (seconds)."""
        if not self.running:
            return
        for key, _ in self._selector.select(timeout):
            key.data()
        self._next_question()
        self._flush()
        if self._unplug_at and time.monotonic() > self._unplug_at and self.running:
            self.child.end()
            self.exit_code = self.child.returncode
            self._fail_questions("the system was switched off")

    def type(self, target, data):
        """Types bytes at a guest or at the supervisor (a name from `guests`, or `twain`)."""
        self._switch(target)
        self._outgoing += data.replace(b"\x01", b"\x01a")
        self._flush()

    def raw(self, data):
        """Bytes for the console server itself."""
        self._outgoing += data
        self._flush()

    def ask(self, command, callback):
        """Queues a supervisor command; the callback gets its answer (a dictionary)."""
        self._questions.append((command, callback))
        self._next_question()

    def tap(self, callback):
        """Calls back with all bytes from now on; returns a function that ends it."""
        self._taps.append(callback)
        return lambda: self._taps.remove(callback)

    def tail(self, count):
        """The last lines of the log, as text: what the system printed and what QEMU itself complained of."""
        data = self.log_path.read_bytes()[-256 * count:] if self.log_path.is_file() else b""
        lines = LineParser(self._labels).feed(data + b"\n")
        return [str(line) for line in lines if line.tag or line.text.strip()][-count:]

    @property
    def backlog(self):
        return bytes(self._backlog)

    def key(self, target):
        return 0 if target == SUPERVISOR else self.guests.index(target) + 1

    # ------------------------------------------------------------------------------------------ inside

    def _switch(self, target):
        if target != self._focus:
            self._outgoing += b"\x01%d" % self.key(target)
            self._focus = target

    def _flush(self):
        # The line's capacity is the pipe's; what does not fit goes with the next pump.
        while self._outgoing and self.running:
            try:
                written = os.write(self.child.stdin.fileno(), self._outgoing)
            except BlockingIOError:
                return
            except BrokenPipeError:
                self._outgoing.clear()
                return
            del self._outgoing[:written]

    def _read_system(self):
        try:
            data = os.read(self.child.stdout.fileno(), 65536)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(self.child.stdout)
            self.exit_code = self.child.wait()
            self._fail_questions("the system has ended")
            return
        self._log.write(data)
        self._backlog.extend(data)
        for tap in list(self._taps):
            tap(data)
        for line in self.parser.feed(data):
            self.lines.append(line)
            if line.tag == KERNEL:
                self.panicked = self.panicked or line.text.strip() == END_OF_PANIC
                self.refused = self.refused or line.text.startswith(REFUSALS)
            if line.tag == SUPERVISOR and "restart" in line.text:
                self._focus = None  # a console server that was made again gives the keyboard to its first guest
            answer = json_answer(line, self._asked[0].split()[0]) if self._asked else None
            if answer is not None:
                _, callback = self._asked
                self._asked = None
                callback(answer)

    def _next_question(self):
        if self._asked and time.monotonic() > self._asked_at + control.ANSWER_LIMIT:
            command, callback = self._asked
            self._asked = None
            callback({"ok": False, "error": f"no answer to `{command}` within {control.ANSWER_LIMIT:.0f} s"})
        if not self._asked and self._questions and self.running:
            self._asked = self._questions.popleft()
            self._asked_at = time.monotonic()
            self.raw(b"\x01:" + self._asked[0].encode("ascii") + b"\n")

    def _fail_questions(self, why):
        waiting = ([self._asked] if self._asked else []) + list(self._questions)
        self._asked = None
        self._questions.clear()
        for _, callback in waiting:
            callback({"ok": False, "error": why})
