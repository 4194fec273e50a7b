# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""The command line as a user meets it."""

import errno
import fcntl
import itertools
import json
import os
import pty
import re
import select
import shlex
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from twainlib import cli, control, packages, paths, system
from twainlib.errors import Exit, TwainError

ROOT = Path(__file__).resolve().parents[2]
TWAIN = ROOT / "tools" / "twain"
FAKE = Path(__file__).parent / "fakesystem.py"
COMMANDS = ("demo test setup doctor check build run report graph map explain boards bench ps caps stat kill reboot console "
            "stop debug symbolize clean").split()


def twain(*arguments, **options):
    return subprocess.run([TWAIN, *arguments], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, **options)


def documented():
    """Every command line of the tool that the documents and the help show."""
    found = set()
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), ROOT / "vmm" / "README.md"):
        text = document.read_text()
        found.update(re.findall(r"`tools/twain ([^`]*)`", text))
        found.update(re.findall(r"^(?:    )?tools/twain (.*)$", text, re.MULTILINE))
    subparsers = next(action for action in cli.parser()._actions if action.dest == "command")
    for sub in subparsers.choices.values():
        examples = re.findall(r"^  tools/twain (.*)$", sub.epilog, re.MULTILINE)
        assert len(examples) >= 2, sub.prog
        found.update(examples)
    return sorted(found)


@pytest.mark.parametrize("line", documented())
def test_what_is_shown_is_understood(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(re.sub(r"\[.*?\]", "", line), comments=True)
    own = list(itertools.takewhile(lambda word: word != "--" and not word.startswith(">"), words))
    cli.parser().parse_args(own)  # else it explains what is wrong, and ends


def test_version_and_help():
    assert re.fullmatch(r"twain \d+\.\d+\.\d+\n", twain("--version").stdout)
    result = twain("--help")
    assert result.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^    {command}\s", result.stdout, re.MULTILINE), command


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help_with_two_examples(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.parser().parse_args([command, "--help"])
    assert stop.value.code == 0
    assert len(re.findall(rf"^  tools/twain {command}\b", capsys.readouterr().out, re.MULTILINE)) == 2


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["run", "--cpus", "9"], ["run", "--cpus", "x"], ["kill"], ["kill", "a b"], ["kill", ""], ["reboot", "x\ny"], ["caps", "\u00fc"], ["kill", "x" * 300],
                                       ["check", "no-such-file"], ["build", "--", "x"], ["explain", "E999"],
                                       ["symbolize", "/no/such/file"], ["graph", "-o", "/no/such/directory/x.svg"],
                                       ["bench", "--json", "/no/such/directory/x"], ["demo", "--json", "/"],
                                       ["run", "--timeout", "0", "--dry-run"], ["run", "--timeout", "x", "--dry-run"]])
def test_misuse_is_exit_2_and_has_a_message(arguments):
    result = twain(*arguments)
    assert result.returncode == Exit.USAGE
    assert result.stderr and "Traceback" not in result.stderr


def test_bad_configuration_is_exit_1(tmp_path):
    bad = tmp_path / "bad.toml"
    bad.write_text('schema = 1\nboard = "qemu-virt"\n[guest.a]\nimagee = "debian"\n')
    for command in ("check", "build", "run"):
        result = twain(command, bad)
        assert result.returncode == Exit.CONFIG
        assert "error[E101]" in result.stderr and "bad.toml:4:1" in result.stderr


def test_dry_run_prints_the_command_line_only():
    result = twain("run", "two-guests", "--dry-run", "--cpus", "4", "--cpu", "cortex-a57", "--gdb", "--", "-d", "int")
    assert result.returncode == 0
    words = result.stdout.split()
    assert words[0] == "qemu-system-aarch64" and words[-2:] == ["-d", "int"] and "-gdb" in words
    assert words[words.index("-smp") + 1] == "4" and words[words.index("-cpu") + 1] == "cortex-a57"
    assert "-nodefaults" in words and "stdio,id=console,mux=off,signal=off" in words and "-icount" not in words


def test_naive_guests_have_time_that_is_counted():
    words = twain("run", "two-guests", "--dry-run", "--el1", "--shadow", "naive").stdout.split()
    assert "shadow=naive" in words and "-icount" in words


def test_no_running_system_is_exit_6(tmp_path):
    for arguments in (["ps"], ["caps"], ["stat"], ["kill", "x"], ["reboot", "x"], ["console"], ["stop"]):
        result = twain(*arguments, env={**os.environ, "TWAIN_OUTPUT": str(tmp_path)})
        assert result.returncode == Exit.RUN and "no system is running" in result.stderr


def test_results_on_stdout_progress_on_stderr():
    result = twain("check", "two-guests", "--json")
    assert json.loads(result.stdout)["ok"] is True and result.stderr == ""


def test_internal_error_is_exit_70_without_traceback(monkeypatch, tmp_path, capsys):
    def fail(options):
        raise RuntimeError("planted")

    monkeypatch.setenv("TWAIN_OUTPUT", str(tmp_path))
    monkeypatch.setattr(cli.commands, "boards", fail)
    assert cli.main(["boards"]) == Exit.INTERNAL
    errors = capsys.readouterr().err
    assert "planted" in errors and "Traceback" not in errors
    assert "Traceback" in next(tmp_path.glob("internal-*.log")).read_text()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_the_file_system_refuses_is_no_internal_error(monkeypatch, capsys, number):
    def fail(options):
        raise OSError(number, os.strerror(number), "/some/file")

    monkeypatch.setattr(cli.commands, "boards", fail)
    assert cli.main(["boards"]) == Exit.RUN
    assert capsys.readouterr().err == f"error: {os.strerror(number)}: /some/file\n"


def test_interrupt_is_exit_130(monkeypatch):
    def interrupt(options):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(cli.commands, "boards", interrupt)
    assert cli.main(["boards"]) == Exit.INTERRUPTED


def test_reader_that_leaves_is_no_error():
    result = subprocess.run(f"{TWAIN} report two-guests | head -n 1", shell=True, capture_output=True, text=True, timeout=60)
    assert result.stdout.startswith("#") and result.stderr == ""


def test_path_with_spaces_and_symbolic_link(tmp_path):
    (tmp_path / "my twain").symlink_to(TWAIN)
    result = subprocess.run([tmp_path / "my twain", "--version"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0


# ---------------------------------------------------------------------------------------------- setup


@pytest.fixture
def bare_host(monkeypatch):
    monkeypatch.setattr(packages, "missing", lambda wanted: ["cmake", "ninja-build"])
    monkeypatch.setattr(packages.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(packages, "_root_prefix", lambda: None)


def test_setup_without_root_says_the_exact_apt_line(bare_host):
    with pytest.raises(TwainError) as caught:
        packages.install()
    assert caught.value.code == Exit.MISSING
    assert caught.value.hint == "apt-get install --no-install-recommends cmake ninja-build"


def test_setup_elsewhere_lists_the_packages(monkeypatch):
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(TwainError) as caught:
        packages.install()
    assert caught.value.code == Exit.MISSING
    assert all(package in caught.value.hint for package in packages.NEEDED)


def test_setup_waits_for_the_lock_only_so_long(monkeypatch):
    monkeypatch.setattr(packages, "LOCK_LIMIT", 0)
    failed = subprocess.CompletedProcess([], 100, "E: Could not get lock /var/lib/dpkg/lock-frontend\n")
    monkeypatch.setattr(packages.subprocess, "run", lambda *arguments, **options: failed)
    with pytest.raises(TwainError, match="lock for 0 s"):
        packages._apt([], ["update"])


# ---------------------------------------------------------------------------------------------- terminal

CONSOLE = """
import sys
sys.path.insert(0, {tools!r})
from twainlib import cli, commands, terminal
from twainlib.broker import Broker
def run(options):
    with Broker([sys.executable, {fake!r}], {directory!r}, ["business", "personal"]) as machine:
        print("qemu", machine.child.pid, flush=True)
        return terminal.serve(machine)
commands.boards = run
sys.argv[1:] = ["boards"]
cli.run()
"""


class Terminal:
    """A person at a pseudo-terminal."""

    def __init__(self, directory):
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        code = CONSOLE.format(tools=str(ROOT / "tools"), fake=str(FAKE), directory=str(directory))
        # A caller that ignores SIGHUP (nohup) has its children ignore it too.
        self.process = subprocess.Popen([sys.executable, "-c", code], stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True,
                                        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
        self.seen = b""
        self.child = int(self.wait_for(rb"qemu (\d+)")[1])

    def wait_for(self, pattern, limit=15):
        deadline = time.monotonic() + limit
        while not (match := re.search(pattern, self.seen)):
            assert time.monotonic() < deadline, (pattern, self.seen)
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 4096)
        return match

    def type(self, data):
        os.write(self.master, data)

    def ended(self):
        code = self.process.wait(20)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal was not restored"
        deadline = time.monotonic() + 5
        while Path(f"/proc/{self.child}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not Path(f"/proc/{self.child}").exists(), "the machine still runs"
        return code


def test_console_on_a_terminal_and_quitting(tmp_path):
    terminal = Terminal(tmp_path)
    terminal.wait_for(rb"business READY")
    terminal.type(b"persona\n")
    terminal.wait_for(rb"persona business on Linux")
    terminal.type(b"\x03")  # goes to the guest
    terminal.wait_for(rb"\^C")
    terminal.wait_for(rb"personal READY")
    terminal.type(b"\x012persona\n")
    terminal.wait_for(rb"persona personal on Linux")
    terminal.type(b"\x01x")
    assert terminal.ended() == 0


def test_impatience_does_not_disturb_the_end(tmp_path):
    terminal = Terminal(tmp_path)
    terminal.wait_for(rb"business READY")
    for _ in range(5):
        terminal.process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    assert terminal.ended() == Exit.INTERRUPTED


def test_ctrl_c_during_the_start_is_no_traceback():
    for milliseconds in range(20, 400, 20):
        process = subprocess.Popen([TWAIN, "check", "two-guests"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        # Before its first line the shell that starts the tool ends as any other.
        assert process.returncode in (Exit.OK, Exit.INTERRUPTED, -signal.SIGINT) and said in ("", "interrupted\n"), milliseconds


INTERRUPTED_FINALIZER = """
import signal, sys, time
sys.path.insert(0, sys.argv.pop(1))
from twainlib import cli

class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)

def boards(options):
    Finalized()
    time.sleep(60)

cli.commands.boards = boards
sys.argv = ["twain", "boards"]
cli.run()
"""


def test_an_interrupt_that_meets_a_finalizer_is_neither_shown_nor_lost():
    result = subprocess.run([sys.executable, "-B", "-c", INTERRUPTED_FINALIZER, ROOT / "tools"], capture_output=True, text=True,
                            stdin=subprocess.DEVNULL, timeout=50)
    assert (result.returncode, result.stdout, result.stderr) == (Exit.INTERRUPTED, "", "interrupted\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_restore_the_terminal_and_end_the_machine(tmp_path, number):
    terminal = Terminal(tmp_path)
    terminal.wait_for(rb"business READY")
    terminal.process.send_signal(number)
    assert terminal.ended() == Exit.INTERRUPTED


def test_a_console_that_nobody_reads_holds_up_nobody(tmp_path):
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    code = CONSOLE.format(tools=str(ROOT / "tools"), fake=str(FAKE), directory=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL, stdout=write_end)
    os.close(write_end)
    try:
        deadline = time.monotonic() + 15
        while not (connection := control.connect(tmp_path)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        connection.close()
        for _ in range(100):  # the answers pass through the console as well: far more than the pipe holds
            assert control.request(tmp_path, {"command": "ps"}, 10)["answer"]["ok"]
    finally:
        process.terminate()
        code = process.wait(20)
        os.close(read_end)
    assert code == Exit.INTERRUPTED


def test_clean_removes_nothing_but_what_the_tool_made(tmp_path):
    """A variable that names the wrong directory costs nobody his files."""
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    result = twain("clean", env={**os.environ, "TWAIN_OUTPUT": str(precious)})
    assert result.returncode == Exit.USAGE and "not a directory of ours" in result.stderr
    assert (precious / "thesis.tex").is_file()
    made = tmp_path / "build"
    paths.own_directory(made)
    (made / "x").mkdir()
    assert twain("clean", env={**os.environ, "TWAIN_OUTPUT": str(made)}).returncode == 0
    assert not made.exists()


@pytest.mark.parametrize("command", ["report", "boards", "--help"])
def test_full_disk_is_exit_6(command):
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        result = subprocess.run([TWAIN, command], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=buffered)
    assert result.returncode == Exit.RUN and result.stderr == "error: No space left on device\n"


def test_places_that_are_not_there_are_named(tmp_path):
    (tmp_path / "file").touch()
    result = twain("build", "two-guests", env={**os.environ, "TWAIN_OUTPUT": str(tmp_path / "file")})
    assert result.returncode == Exit.RUN and "file" in result.stderr and "internal" not in result.stderr
    gone = tmp_path / "gone"
    gone.mkdir()
    result = subprocess.run(["sh", "-c", f"cd {gone} && rmdir {gone} && exec {TWAIN} boards"], capture_output=True, text=True)
    assert result.returncode == Exit.USAGE and "current directory" in result.stderr


def test_easy_settings_are_honoured(monkeypatch, capsys):
    values = {"TWAIN_CONFIG": "configs/dual-persona.toml", "TWAIN_CORES": "4", "TWAIN_MEMORY": "3G", "TWAIN_CPU": "cortex-a76",
              "TWAIN_GIC": "3"}
    monkeypatch.setattr(system, "settings", lambda: values)
    assert cli.main(["run", "--dry-run"]) == 0
    words = capsys.readouterr().out.split()
    assert words[words.index("-smp") + 1] == "4" and words[words.index("-m") + 1] == "3G"
    assert words[words.index("-cpu") + 1] == "cortex-a76" and "dual-persona" in words[words.index("-kernel") + 1]
    values["TWAIN_CORES"] = "99"
    assert cli.main(["run", "--dry-run"]) == Exit.USAGE
    assert "TWAIN_CORES" in capsys.readouterr().err


def test_setup_fetches_everything_that_later_commands_want(monkeypatch, capsys):
    done = []
    monkeypatch.setattr(cli.commands.packages, "install", lambda **options: done.append("packages"))
    monkeypatch.setattr(cli.commands.build_module, "make_images", lambda info, refresh: done.append("images"))
    monkeypatch.setattr(cli.commands.build_module, "fetch_libraries", lambda: done.append("libraries"))
    monkeypatch.setattr(cli.commands.linuxguest, "fetch", lambda: done.append("test guests"))
    assert cli.main(["setup", "--yes"]) == 0
    assert done == ["packages", "images", "libraries", "test guests"]
