# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""A kernel that panics says where, and the tools name it: made to by a debugger, at both exception levels."""

import argparse
import subprocess
import threading
import time
from pathlib import Path

import pytest
from twainlib import build, machine, symbols, system
from twainlib.errors import Exit, TwainError
from twainlib.paths import build_root
from twainlib.session import Session

pytestmark = pytest.mark.machine
TWAIN = Path(__file__).resolve().parents[2] / "tools" / "twain"
LIMIT = 60


def debug(el1, *commands):
    line = [TWAIN, "debug", "two-guests", *(["--el1"] if el1 else []), "--", "-batch", *(a for c in commands for a in ("-ex", c))]
    return subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.parametrize("el1", [False, True])
def test_panic_is_symbolized(el1):
    """On the way to its UART, so that the core has the log's lock; the other core runs processes."""
    built = build.make(system.config_path("two-guests"))
    options = argparse.Namespace(cpu=None, extra=[], gdb=True, el1=el1)
    commands = ["hbreak twain::kernel::Pool::create", "continue", "delete", "hbreak twain::kernel::machine::uart_write", "continue",
                "delete", "set $x5=0x5ca1ab1e", "set $pc=0xdead0000", "detach"]
    with machine.boot(built, options) as broker:
        debugger = debug(el1, *commands)
        said = []
        reader = threading.Thread(target=lambda: said.append(debugger.communicate()[0]))
        reader.start()
        try:
            with pytest.raises(TwainError, match="the kernel panicked"):
                Session(broker).wait_for("nobody", "nothing", LIMIT)
        finally:
            debugger.kill()
            reader.join()
        deadline = time.monotonic() + LIMIT
        while "end of panic" not in (built.directory / "console.log").read_text(errors="replace"):
            assert time.monotonic() < deadline, "the panic never ends"
            time.sleep(0.1)
        threads = debug(el1, "info threads").communicate(timeout=LIMIT)[0]
        cores = [line for line in threads.splitlines() if "Thread 1." in line]
        assert len(cores) > 1 and all("machine::halt" in line for line in cores), threads
    log = (built.directory / "console.log").read_text(errors="replace")
    text = symbols.symbolize(log, build_root())
    assert f"kernel-el{1 if el1 else 2}.elf" in text, said
    assert "0x5ca1ab1e" in text and "ELR 0xdead0000" in text
    assert "  #0 " in text and "twain::kernel::" in text


def test_a_machine_that_the_image_was_not_made_for_is_a_failed_run():
    result = subprocess.run([TWAIN, "run", "two-guests", "--", "-m", "256M"], capture_output=True, text=True, timeout=200,
                            stdin=subprocess.DEVNULL)
    assert result.returncode == Exit.RUN and "the system did not start" in result.stderr
    assert "RAM, at least: expected" in result.stdout and "found 256 MB" in result.stdout
