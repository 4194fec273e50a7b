# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The control socket of a running system: the broker's side of a connection, and how another process asks.

A request is a line of JSON, and so is its answer:

    {"command": "ps"}       a command for the supervisor; "answer" is what it says
    {"status": true}        the broker's and QEMU's process, the guests, seconds since the start
    {"attach": "business"}  from here on the connection is a console, as bytes
    {"stop": true}          switches the system off
"""

import json
import os
import socket
import time
from pathlib import Path

from .errors import Exit, TwainError
from .keyboard import Keyboard

NAME = "control.sock"
ANSWER_LIMIT = 20.0
COMMAND_LIMIT = 128  # characters, system/init/command.hpp


class Listener:
    """The broker's socket, and all who are connected to it."""

    def __init__(self, broker):
        self._broker = broker
        self._clients = set()
        self._path = broker.directory / NAME
        self._path.unlink(missing_ok=True)
        # The directory's descriptor keeps the address short: socket addresses end after 107 bytes.
        directory = os.open(broker.directory, os.O_RDONLY | os.O_DIRECTORY)
        self._socket = socket.socket(socket.AF_UNIX)
        old = os.umask(0o077)
        try:
            self._socket.bind(f"/proc/self/fd/{directory}/{NAME}")
        finally:
            os.umask(old)
            os.close(directory)
        self._socket.listen(8)
        self._socket.setblocking(False)
        broker.watch(self._socket, self._accept)

    def close(self):
        for client in list(self._clients):
            client.close()
        self._broker.unwatch(self._socket)
        self._socket.close()
        self._path.unlink(missing_ok=True)

    def _accept(self):
        connection, _ = self._socket.accept()
        self._clients.add(Client(self._broker, connection, self._clients.discard))


class Client:
    """A connection to the control socket: JSON lines, or after {"attach": true} a raw console."""

    def __init__(self, broker, connection, closed):
        self._broker = broker
        self._connection = connection
        self._closed = closed  # called with this when it has closed
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
            self._closed(self)

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
        connection.connect(f"/proc/self/fd/{descriptor}/{NAME}")
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
    for path in sorted(Path(build_root).glob(f"*/{NAME}")):
        connection = connect(path.parent)
        if connection:
            connection.close()
            found.append(path.parent)
    return found
