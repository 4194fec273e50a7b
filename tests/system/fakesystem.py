# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Stands in for QEMU with a running system: speaks the console server's protocol on stdin and stdout, with two
toy guests and a toy supervisor. Lets the broker, the sessions and the demo be tested in seconds."""

import json
import os
import re
import select
import sys
import time

RAM = {"business": 256 << 20, "personal": 320 << 20}
CPUS = {"business": 1, "personal": 2}


def put(tag, text):
    line = f"\x1b[1;34m[{tag}]\x1b[0m {text}\r\n" if tag else text + "\r\n"
    os.write(1, line.encode())


class Guest:
    def __init__(self, name, delay):
        self.name = name
        self.alive = True
        self.boot(delay)

    def boot(self, delay):
        self.ready_at = time.monotonic() + delay
        self.up = False
        self.line = ""
        self.counter = None
        self.after = ""

    def tick(self, now):
        if not self.alive:
            return
        if not self.up and now >= self.ready_at:
            self.up = True
            put(self.name, f"{self.name} READY")
            put(self.name, "Enter 'help' for a list of built-in commands.")
        if self.up and self.counter and now >= self.counter[1]:
            number, _, last = self.counter
            put(self.name, f"{self.name} tick {number}")
            self.counter = (number + 1, now + 0.05, last)
            if number == last:
                self.counter = None
                self.execute(self.after)

    def key(self, character):
        if not self.alive or not self.up:
            return
        if character == "\x03":
            self.counter = None
            put(self.name, "^C")
        elif character == "\n":
            line, self.line = self.line, ""
            put(self.name, f"{self.name}# {line}")
            self.execute(line)
        else:
            self.line += character

    def execute(self, line):
        for command in filter(None, (part.strip() for part in re.split(r";|&&", line))):
            rest = line.split(command, 1)[1]
            if command == "persona":
                put(self.name, f"persona {self.name} on Linux")
            elif command == "mem":
                put(self.name, f"mem {RAM[self.name] // 1024 * 9 // 10} kB")
                put(self.name, f"40000000-{0x40000000 + RAM[self.name] - 1:x} : System RAM")
            elif command == "cpus":
                put(self.name, f"cpus {CPUS[self.name]} online 0")
            elif command.startswith("count"):
                last = int(command[5:] or 0)
                self.counter = (1, 0, last)
                self.after = rest.lstrip("; &")
                return
            elif command == "reboot":
                self.boot(0.3)
                return
            elif command.startswith("echo"):
                put(self.name, command[5:].strip('"').replace("$?", "0"))


def main():
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    put("", "twain: kernel, 2 cores")
    if mode == "silent":
        time.sleep(60)
    guests = [Guest("business", 0.2), Guest("personal", 0.3)]
    if mode == "crash":
        put("", "panic: something broke")
        sys.exit(3)
    focus, escaped, silent, command = 1, False, False, ""
    while True:
        now = time.monotonic()
        for guest in guests:
            guest.tick(now)
        if not select.select([0], [], [], 0.02)[0]:
            continue
        data = os.read(0, 4096)
        if not data:
            return 0
        for character in data.decode():
            if escaped:
                escaped = False
                if character.isdigit():
                    focus = int(character)
                    put("twain", f"keyboard: {focus}")
                    continue
                silent = character == ":"
                if character != "a":
                    continue
                character = "\x01"
            elif character == "\x01":
                escaped = True
                continue
            if focus and not silent:
                guests[focus - 1].key(character)
            elif character != "\n":
                command += character
            else:
                words, command, silent = command.split(), "", False
                if words == ["off"]:
                    put("twain", json.dumps({"ok": True}))
                    return 0
                if words[:1] == ["kill"]:
                    victims = [guest for guest in guests if guest.name == words[1]]
                    for guest in victims:
                        guest.alive = False
                    put("twain", json.dumps({"event": "killed", "name": words[1]}))
                    put("twain", json.dumps({"ok": bool(victims)}))
                elif words == ["mute"]:
                    pass
                else:
                    put("twain", json.dumps({"ok": True, "ps": [guest.name for guest in guests]}))


if __name__ == "__main__":
    sys.exit(main())
