# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""A script's view of a running system: type at a guest, wait for a line, ask the supervisor. Every wait has a
limit, and says what it waited for when the limit passes."""

import re
import time

from .errors import Exit, TwainError
from .paths import short

TAIL = 20


class Session:
    def __init__(self, broker, patience=1):
        self.broker = broker
        self._patience = patience  # all limits are so many times as long
        self._serial = 0

    def mark(self):
        """A position in the output; waits look only at what comes behind it."""
        return len(self.broker.lines)

    def wait_for(self, tag, pattern, limit, since=0, what=None):
        """Waits for a line of `tag` that the regular expression matches in full; returns (match, line)."""
        regex = re.compile(pattern)
        position = since

        def look():
            nonlocal position
            lines = self.broker.lines
            while position < len(lines):
                line = lines[position]
                position += 1
                if line.tag == tag and line.complete and (match := regex.fullmatch(line.text.rstrip())):
                    return match, line
            return None

        return self.until(look, limit, what or f'"{pattern}" from {tag or "the kernel"}')

    def wait_prompt(self, tag, prompt, limit, what=None):
        """Waits until the unfinished line is the guest's prompt."""

        def look():
            partial = self.broker.parser.partial
            return partial.tag == tag and partial.text.rstrip().endswith(prompt.rstrip())

        return self.until(look, limit, what or f'the prompt "{prompt}" of {tag}')

    def until(self, look, limit, what):
        """Pumps until look() returns something true; returns that."""
        limit *= self._patience
        deadline = time.monotonic() + limit
        while True:
            found = look()
            if found:
                return found
            if self.broker.panicked:
                raise self.failure(f"the kernel panicked while waiting for {what}")
            if not self.broker.running:
                raise self.failure(f"the system ended (exit code {self.broker.exit_code}) while waiting for {what}")
            if time.monotonic() > deadline:
                raise self.failure(f"waited {limit:.0f} s for {what}")
            self.broker.pump(0.2)

    def run(self, guest, command, limit=20):
        """Runs a shell command in a guest; returns (exit status, lines of output)."""
        self._serial += 1
        start = self.mark()
        # The echoed command does not match: there the status still is a `$?`.
        self.broker.type(guest, f"{command}; echo \"end {self._serial} $?\"\n".encode())
        match, last = self.wait_for(guest, rf".*?end {self._serial} (\d+)", limit, start, f"the end of `{command}` in {guest}")
        lines = [line.text for line in self.broker.lines[start:] if line.tag == guest and line is not last]
        return int(match[1]), [text for text in lines if f"end {self._serial} $?" not in text]

    def interrupt(self, guest):
        """Ctrl-C."""
        self.broker.type(guest, b"\x03")

    def ask(self, command, limit=20):
        """A supervisor command; returns its answer as a dictionary."""
        answers = []
        self.broker.ask(command, answers.append)
        return self.until(lambda: answers, limit, f"the supervisor's answer to `{command}`")[0]

    def ended(self, limit):
        """Waits for the system's own end; returns its exit code."""
        self.until(lambda: not self.broker.running, limit, "the machine to switch itself off")
        return self.broker.exit_code

    def failure(self, message):
        return TwainError(Exit.RUN, message, hint=f"the whole log is {short(self.broker.log_path)}", detail=self.broker.tail(TAIL))
