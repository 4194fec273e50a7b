# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""What one person types at a running system, and what Ctrl-A does."""

from .lines import SUPERVISOR

ESCAPE = 0x01  # Ctrl-A

HELP = """\r
Ctrl-A 1..9  keyboard to guest 1..9     Ctrl-A a  send Ctrl-A\r
Ctrl-A 0     keyboard to supervisor     Ctrl-A x  power off and quit\r
Ctrl-A d     detach (attached console)  Ctrl-A ?  this help\r
"""


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
