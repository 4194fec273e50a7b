# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The scripted demonstration: what two isolated guests on one machine must show, step by step."""

import contextlib
import json
import re
import time

from . import machine
from .errors import Exit, TwainError
from .paths import short
from .progress import stage
from .session import Session
from .system import differences

BOOT_LIMIT = 90.0
NAIVE_PATIENCE = 10  # times as long, where every privileged instruction traps


class Demo:
    """One run over a system that has just been started. `info` is a system.SystemInfo."""

    def __init__(self, session, info, out=print):
        self.session = session
        self.info = info
        self.out = out
        self.steps = []
        self.guests = {guest.name: {} for guest in info.guests}

    def run(self):
        """Runs all steps; the first that fails ends the run, since the later ones build on it."""
        self._boot()
        self._commands()
        self._own_resources()
        self._nothing_leaks()
        self._capabilities()
        if len(self.info.guests) > 1:
            self._reboot_one()
            self._kill_one()
        self._power_off()
        return self.report()

    def report(self):
        return {"guests": self.guests, "steps": self.steps, "ok": bool(self.steps) and all(step["ok"] for step in self.steps)}

    # ------------------------------------------------------------------------------------------ steps

    def _boot(self):
        for guest in self.info.guests:
            with self._step(f"{guest.name} is ready") as note:
                _, line = self.session.wait_for(guest.name, re.escape(guest.ready), BOOT_LIMIT,
                                                what=f'"{guest.ready}" from guest {guest.name}')
                self.guests[guest.name]["ready_s"] = round(line.time, 2)
                note(f'"{guest.ready}" after {line.time:.1f} s')
            self.session.wait_for(guest.name, r".*Enter 'help'.*", BOOT_LIMIT, what=f"the shell of {guest.name}")

    def _commands(self):
        for guest in self.info.guests:
            with self._step(f"{guest.name} answers a command") as note:
                status, lines = self.session.run(guest.name, "persona")
                self._check(status == 0 and any(guest.persona in line for line in lines),
                            f"`persona` in {guest.name} answered {lines}")
                note(_last(lines))

    def _own_resources(self):
        for guest in self.info.guests:
            with self._step(f"{guest.name} sees only its own memory and CPUs") as note:
                _, lines = self.session.run(guest.name, "mem")
                text = "\n".join(lines)
                total = int(self._match(r"mem (\d+) kB", text)[1]) * 1024
                ranges = [(int(low, 16), int(high, 16) + 1) for low, high in
                          re.findall(r"([0-9a-f]+)-([0-9a-f]+) : System RAM", text)]
                # firmware holes split the range; what counts is that it is not a byte more than configured
                extent = sum(high - low for low, high in ranges)
                self._check(0.7 * guest.ram <= total <= guest.ram and extent <= guest.ram,
                            f"{guest.name} is configured with {guest.ram} bytes and sees {extent}: {lines}")
                _, lines = self.session.run(guest.name, "cpus")
                cpus = int(self._match(r"cpus (\d+)", "\n".join(lines))[1])
                self._check(cpus == guest.vcpus, f"{guest.name} is configured with {guest.vcpus} CPUs and sees {cpus}")
                note(f"{extent >> 20} MiB, {cpus} CPU{'s' if cpus > 1 else ''}")

    def _nothing_leaks(self):
        with self._step("what is typed at one guest stays there") as note:
            for guest in self.info.guests:
                secret = f"secret-of-{guest.name}"
                start = self.session.mark()
                self.session.run(guest.name, f"echo {secret}")
                heard = [line for line in self.session.broker.lines[start:] if secret in line.text]
                self._check(heard and all(line.tag == guest.name for line in heard),
                            f"{secret} turned up as {[str(line) for line in heard]}")
            note(f"{len(self.info.guests)} markers")

    def _capabilities(self):
        if self.info.table is None:
            return
        with self._step("the live capabilities are the declared ones") as note:
            answer = self.session.ask("caps", 60)
            wrong = differences(self.info.table, answer)
            self._check(not wrong, "; ".join(wrong[:5]))
            note(f"{sum(len(process['caps']) for process in answer['processes'])} capabilities in "
                 f"{len(answer['processes'])} processes")

    def _reboot_one(self):
        rebooted, other = self.info.guests[0], self.info.guests[1]
        session = self.session
        with self._step(f"{rebooted.name} reboots while {other.name} keeps counting") as note:
            begin = session.mark()
            session.broker.type(other.name, b"count\n")
            session.wait_for(other.name, r".* tick 2", 30, begin)
            start = session.mark()
            session.broker.type(rebooted.name, b"reboot\n")
            session.wait_for(rebooted.name, re.escape(rebooted.ready), BOOT_LIMIT, start,
                             f"{rebooted.name} to come back after `reboot`")
            ticks = self._ticks(other, start)
            session.wait_for(other.name, rf".* tick {ticks[-1] + 1 if ticks else 3}", 20, start)
            ticks = self._ticks(other, begin)
            self._check(ticks == list(range(1, len(ticks) + 1)), f"{other.name} lost count: {ticks}")
            session.wait_for(rebooted.name, r".*Enter 'help'.*", BOOT_LIMIT, start, f"the shell of {rebooted.name}")
            note(f"{other.name} counted to {ticks[-1]} without a gap")
        session.interrupt(other.name)
        session.run(other.name, "true")

    def _kill_one(self):
        killed, other = self.info.guests[0], self.info.guests[1]
        session = self.session
        with self._step(f"the VMM of {killed.name} is killed and {other.name} lives on") as note:
            begin = session.mark()
            session.broker.type(killed.name, b"count\n")  # something to fall silent from
            session.wait_for(killed.name, r".* tick 1", 30, begin)
            answer = session.ask(f"kill {killed.name}")
            self._check(answer.get("ok", True) and "error" not in answer, f"kill answered {answer}")
            status, _ = session.run(other.name, "persona")  # what was on its way has arrived by now
            self._check(status == 0, f"{other.name} answered with status {status}")
            start = session.mark()
            status, _ = session.run(other.name, "count 3")
            self._check(status == 0, f"{other.name} answered with status {status}")
            silent = not any(line.tag == killed.name and line.text.strip() for line in session.broker.lines[start:])
            self._check(silent, f"{killed.name} still prints")
            note(f"{other.name} answers, {killed.name} is silent")

    def _power_off(self):
        with self._step("the machine powers off") as note:
            self.session.broker.ask("off", lambda _: None)
            code = self.session.ended(30)
            self._check(code == 0, f"QEMU ended with exit code {code}")
            note("QEMU ended with exit code 0")

    # ------------------------------------------------------------------------------------------ helpers

    def _ticks(self, guest, since):
        found = (re.fullmatch(r".* tick (\d+)", line.text.rstrip()) for line in self.session.broker.lines[since:]
                 if line.tag == guest.name)
        return [int(match[1]) for match in found if match]

    def _match(self, pattern, text):
        match = re.search(pattern, text)
        self._check(match, f"{pattern} is not in {text!r}")
        return match

    def _check(self, condition, message):
        if not condition:
            raise self.session.failure(message)

    @contextlib.contextmanager
    def _step(self, name):
        notes = []
        start = time.monotonic()
        step = {"name": name, "ok": False}
        self.steps.append(step)
        try:
            yield notes.append
        except BaseException as error:
            step["error"] = str(error)
            self.out(f"FAIL  {name}")
            raise
        step["ok"] = True
        step["seconds"] = round(time.monotonic() - start, 2)
        if notes:
            step["seen"] = notes[0]
        self.out(f"ok    {name}" + (f": {notes[0]}" if notes else ""))


def _last(lines):
    lines = [line for line in lines if line.strip()]
    return lines[-1] if lines else ""


def scripted(built, options, json_path=None, out=print):
    """Boots a built system and runs the demonstration; writes its report. Raises when a step fails."""
    demo = None
    try:
        with stage(f"running {built.info.name} on {built.info.cpus} cores ({options.cpu or 'max'})"), \
                machine.boot(built, options) as running:
            patience = NAIVE_PATIENCE if getattr(options, "shadow", None) == "naive" else 1
            demo = Demo(Session(running, patience), built.info, out=out)
            demo.run()
        seen = demo.report()
    except TwainError as error:
        seen = _failed(demo, error)
        raise
    except KeyboardInterrupt:
        seen = _failed(demo, "interrupted")
        raise
    finally:
        for guest in built.info.guests:
            seen["guests"].setdefault(guest.name, {})["kernel_sha256"] = built.kernel_sha256(guest)
        if json_path:
            _write(json_path, seen)
    out(f"all {len(seen['steps'])} steps seen; the log is {short(built.directory / 'console.log')}")
    return Exit.OK


def _failed(demo, error):
    report = demo.report() if demo else {"guests": {}, "steps": []}
    return {**report, "ok": False, "error": str(error)}


def _write(path, report):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=2)
        file.write("\n")
