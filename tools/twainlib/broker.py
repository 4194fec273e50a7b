# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Owns the serial line of one running system and shares it out: to the terminal, to attached consoles, to
commands from other terminals (control socket) and to scripts.

The system has one line, and one keyboard focus in it (`Ctrl-A 0` supervisor, `Ctrl-A 1..9` guests). Each
party here has a focus of its own; the broker switches the system's before it passes bytes on. Commands for
the supervisor go beside the keyboard (`Ctrl-A : COMMAND Enter`), so they disturb nobody who types.

Single-threaded: whoever waits for something calls pump() until it has come."""

import json
import os
import selectors
import socket
import time
from collections import deque
from pathlib import Path

from .errors import Exit, TwainError
from .lines import END_OF_PANIC, KERNEL, REFUSALS, SUPERVISOR, LineParser, json_answer
from .process import Child

ESCAPE = 0x01  # Ctrl-A
BACKLOG = 16 * 1024
ANSWER_LIMIT = 20.0
STOP_LIMIT = 12.0  # for the machine to power off by itself
COMMAND_LIMIT = 128  # characters, system/init/command.hpp
SOCKET_NAME = "control.sock"

HELP = """\r
Ctrl-A 1..9  keyboard to guest 1..9     Ctrl-A a  send Ctrl-A\r
Ctrl-A 0     keyboard to supervisor     Ctrl-A x  power off and quit\r
Ctrl-A d     detach (attached console)  Ctrl-A ?  this help\r
"""


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
        self._clients = {}
        self._taps = []
        self._selector = selectors.DefaultSelector()

    # ------------------------------------------------------------------------------------------ life

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        self._log = open(self.log_path, "wb", buffering=0)
        self._listen()
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
        for client in list(self._clients.values()):
            client.close()
        if getattr(self, "_listener", None):
            self._listener.close()
            self._listener = None
            (self.directory / SOCKET_NAME).unlink(missing_ok=True)
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
        if self._asked and time.monotonic() > self._asked_at + ANSWER_LIMIT:
            command, callback = self._asked
            self._asked = None
            callback({"ok": False, "error": f"no answer to `{command}` within {ANSWER_LIMIT:.0f} s"})
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

    def _listen(self):
        # The directory's descriptor keeps the address short: socket addresses end after 107 bytes.
        (self.directory / SOCKET_NAME).unlink(missing_ok=True)
        directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        self._listener = socket.socket(socket.AF_UNIX)
        old = os.umask(0o077)
        try:
            self._listener.bind(f"/proc/self/fd/{directory}/{SOCKET_NAME}")
        finally:
            os.umask(old)
            os.close(directory)
        self._listener.listen(8)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self):
        connection, _ = self._listener.accept()
        client = SocketClient(self, connection)
        self._clients[connection.fileno()] = client

    def forget(self, client):
        self._clients = {number: other for number, other in self._clients.items() if other is not client}


class Keyboard:
    """Understands what one person types: Ctrl-A commands change that person's focus, the rest goes to it."""

    def __init__(self, broker, quit, detach=None, show=lambda data: None):
        self._broker = broker
        self._quit = quit
        self._detach = detach
        self._show = show
        self._escaped = False
        self.target = broker.guests[0] if broker.guests else SUPERVISOR

    def feed(self, data):
        for byte in data:
            if self._escaped:
                self._escaped = False
                self._command(byte)
            elif byte == ESCAPE:
                self._escaped = True
            else:
                self._broker.type(self.target, bytes([byte]))

    def _command(self, byte):
        key = chr(byte)
        if key == "0":
            self._focus(SUPERVISOR)
        elif key.isdigit() and int(key) <= len(self._broker.guests):
            self._focus(self._broker.guests[int(key) - 1])
        elif key in ("a", "\x01"):
            self._broker.type(self.target, b"\x01")
        elif key == "x":
            self._quit()
        elif key == "d" and self._detach:
            self._detach()
        elif key == "?":
            self._show(HELP.encode())

    def _focus(self, target):
        self.target = target
        self._broker.type(target, b"")


class SocketClient:
    """A connection to the control socket: JSON lines, or after {"attach": true} a raw console."""

    def __init__(self, broker, connection):
        self._broker = broker
        self._connection = connection
        self._buffer = b""
        self._keyboard = None
        self._untap = None
        connection.setblocking(False)
        broker.watch(connection, self._readable)

    def close(self):
        if self._untap:
            self._untap()
            self._untap = None
        if self._connection:
            self._broker.unwatch(self._connection)
            self._connection.close()
            self._connection = None
            self._broker.forget(self)

    def _readable(self):
        try:
            data = self._connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        elif self._keyboard:
            self._keyboard.feed(data)
        else:
            self._buffer += data
            while b"\n" in self._buffer and not self._keyboard and self._connection:
                line, self._buffer = self._buffer.split(b"\n", 1)
                self._request(line)
            if self._keyboard:  # typed in the same breath as the request
                rest, self._buffer = self._buffer, b""
                self._keyboard.feed(rest)
            elif len(self._buffer) > 4096:
                self.close()

    def _request(self, line):
        try:
            request = json.loads(line)
        except ValueError:
            self._answer({"ok": False, "error": "not JSON"})
            return
        broker = self._broker
        if not isinstance(request, dict):
            self._answer({"ok": False, "error": "not an object"})
        elif isinstance(command := request.get("command"), str):
            if not command.isprintable() or not command.isascii() or len(command) > COMMAND_LIMIT:
                self._answer({"ok": False, "error": f"a command is at most {COMMAND_LIMIT} printable ASCII characters"})
            else:
                broker.ask(command, lambda answer: self._answer({"ok": True, "answer": answer}))
        elif request.get("status"):
            self._answer({"ok": True, "pid": os.getpid(), "qemu": broker.child.pid, "guests": broker.guests,
                          "seconds": round(time.monotonic() - broker.started, 1)})
        elif request.get("attach"):
            self._keyboard = Keyboard(broker, quit=self._stop, detach=self.close, show=self._send)
            guest = request["attach"]
            if guest in broker.guests:
                self._keyboard.target = guest
            self._send(broker.backlog)
            self._untap = broker.tap(self._send)
        elif request.get("stop"):
            self._stop()
        else:
            self._answer({"ok": False, "error": "unknown request"})

    def _stop(self):
        self._answer({"ok": True})
        self._broker.stop()

    def _answer(self, answer):
        if not self._keyboard:
            self._send(json.dumps(answer).encode() + b"\n")

    def _send(self, data):
        # A console that does not read loses output rather than holding up the system.
        try:
            if self._connection:
                self._connection.send(data)
        except BlockingIOError:
            pass
        except OSError:
            self.close()


def connect(directory):
    """A blocking connection to the running system of a directory, or None."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(f"/proc/self/fd/{descriptor}/{SOCKET_NAME}")
    except OSError:
        connection.close()
        return None
    finally:
        os.close(descriptor)
    return connection


def request(directory, message, limit=ANSWER_LIMIT + 5):
    """One request to a running system; returns the answer."""
    connection = connect(directory)
    if connection is None:
        raise TwainError(Exit.RUN, "no system is running here", hint="start one with `tools/twain run`")
    with connection:
        connection.settimeout(limit)
        connection.sendall(json.dumps(message).encode() + b"\n")
        data = b""
        try:
            while not data.endswith(b"\n"):
                piece = connection.recv(65536)
                if not piece:
                    break
                data += piece
        except TimeoutError:
            raise TwainError(Exit.RUN, f"the running system did not answer within {limit:.0f} s") from None
    if not data:
        raise TwainError(Exit.RUN, "the running system has ended")
    return json.loads(data)


def running_in(build_root):
    """The directories below `build_root` whose systems run."""
    found = []
    for path in sorted(Path(build_root).glob(f"*/{SOCKET_NAME}")):
        connection = connect(path.parent)
        if connection:
            connection.close()
            found.append(path.parent)
    return found
