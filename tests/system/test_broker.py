# SPDX-License-Identifier: Apache-2.0
# Copyright The Twain authors
"""Broker, session and demo against a stand-in for the machine."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from twainlib import control
from twainlib.broker import Broker
from twainlib.control import connect, request
from twainlib.demo import Demo
from twainlib.errors import Exit, TwainError
from twainlib.keyboard import Keyboard
from twainlib.lines import LineParser
from twainlib.session import Session
from twainlib.system import GuestInfo, SystemInfo

FAKE = [sys.executable, str(Path(__file__).parent / "fakesystem.py")]
GUESTS = [GuestInfo(name="business", ram=256 << 20, vcpus=1), GuestInfo(name="personal", ram=320 << 20, vcpus=2)]
INFO = SystemInfo(name="fake", guests=GUESTS)


@pytest.fixture
def broker(tmp_path):
    with Broker(FAKE, tmp_path, ["business", "personal"]) as broker:
        yield broker


def in_background(function, broker):
    """Runs a blocking client while the broker pumps; returns its result."""
    result = []
    thread = threading.Thread(target=lambda: result.append(function()), daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while thread.is_alive() and time.monotonic() < deadline:
        broker.pump(0.05)
    thread.join(1)
    return result[0]


def test_demo_sees_every_step(broker):
    report = Demo(Session(broker), INFO, out=lambda _: None).run()
    assert report["ok"]
    assert len(report["steps"]) >= 9
    assert report["guests"]["business"]["ready_s"] > 0


def test_demo_fails_when_a_guest_sees_too_much_memory(broker):
    small = SystemInfo(name="fake", guests=[GuestInfo(name="business", ram=128 << 20, vcpus=1), GUESTS[1]])
    demo = Demo(Session(broker), small, out=lambda _: None)
    with pytest.raises(TwainError, match="configured with"):
        demo.run()
    assert not demo.report()["ok"]


def test_wait_says_what_it_waited_for(tmp_path):
    with Broker([*FAKE, "silent"], tmp_path, ["business"]) as broker:
        with pytest.raises(TwainError) as caught:
            Session(broker).wait_for("business", "business READY", 0.5)
    assert caught.value.code == Exit.RUN
    assert "business READY" in str(caught.value)
    assert "twain: kernel, 2 cores" in caught.value.render()
    assert "console.log" in caught.value.render()


def test_a_patient_session_waits_longer(tmp_path):
    with Broker([*FAKE, "silent"], tmp_path, ["business"]) as broker:
        with pytest.raises(TwainError, match="waited 1 s"):
            Session(broker, patience=10).wait_for("business", "business READY", 0.1)


def test_machine_that_ends_early_is_reported_at_once(tmp_path):
    with Broker([*FAKE, "crash"], tmp_path, ["business"]) as broker:
        with pytest.raises(TwainError, match=r"exit code 3"):
            Session(broker).wait_for("business", "business READY", 30)


def test_commands_come_back_on_the_socket(broker):
    answer = in_background(lambda: request(broker.directory, {"command": "ps"}), broker)
    assert answer == {"ok": True, "answer": {"ok": True, "ps": ["business", "personal"]}}


def test_two_askers_get_their_own_answers(broker):
    first, second = [], []
    broker.ask("kill business", first.append)
    broker.ask("ps", second.append)
    Session(broker).until(lambda: second, 10, "answers")
    assert first == [{"ok": True}] and "ps" in second[0]


def test_supervisor_that_does_not_answer_is_an_error(broker, monkeypatch):
    monkeypatch.setattr(control, "ANSWER_LIMIT", 0.3)
    answers = []
    broker.ask("mute", answers.append)
    Session(broker).until(lambda: answers, 10, "an error")
    assert answers[0]["ok"] is False and "mute" in answers[0]["error"]


def test_bad_requests_are_refused(broker):
    assert not in_background(lambda: request(broker.directory, {"nonsense": 1}), broker)["ok"]
    assert not in_background(lambda: request(broker.directory, [1]), broker)["ok"]
    for command in ("ps\nkill business", "kill \u00fc", "x" * 129):
        assert not in_background(lambda: request(broker.directory, {"command": command}), broker)["ok"]


def test_no_system_is_an_error(tmp_path):
    with pytest.raises(TwainError, match="no system"):
        request(tmp_path, {"command": "ps"})


def test_socket_goes_with_the_system_and_is_private(tmp_path):
    with Broker(FAKE, tmp_path, []):
        assert (tmp_path / "control.sock").stat().st_mode & 0o077 == 0
    assert connect(tmp_path) is None
    assert not (tmp_path / "control.sock").exists()


def test_socket_works_in_a_deep_directory(tmp_path):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with Broker(FAKE, deep, ["business", "personal"]) as broker:
        assert in_background(lambda: request(deep, {"status": True}), broker)["ok"]


def test_attached_console_types_at_its_guest(broker):
    session = Session(broker)
    session.wait_for("personal", "personal READY", 10)

    def client():
        connection = connect(broker.directory)
        connection.sendall(json.dumps({"attach": "personal"}).encode() + b"\n")
        connection.sendall(b"persona\n")
        seen = b""
        while b"persona personal" not in seen:
            seen += connection.recv(4096)
        connection.sendall(b"\x01d")  # detach: the system goes on
        while connection.recv(4096):
            pass
        return seen

    assert b"personal READY" in in_background(client, broker)
    assert broker.running


def test_keyboard_escapes(broker):
    quits, shown = [], []
    keyboard = Keyboard(broker, quit=lambda: quits.append(1), show=shown.append)
    session = Session(broker)
    session.wait_for("personal", "personal READY", 10)
    keyboard.feed(b"\x012persona\n")
    session.wait_for("personal", "persona personal on Linux", 10)
    keyboard.feed(b"\x010ps\n")
    session.wait_for("twain", r'\{"ok".*', 10)
    keyboard.feed(b"\x011pers\x01aona\n")
    session.wait_for("business", "business# pers.?ona", 10)
    keyboard.feed(b"\x01?")
    assert shown and b"Ctrl-A" in shown[0]
    keyboard.feed(b"\x01x")
    assert quits


def test_parser_strips_colour_and_keeps_tags_apart():
    parser = LineParser({"business": "business"})
    lines = parser.feed(b"\x1b[1;31m[business]\x1b[0m [twain] {\"ok\":true}\r\n[other] x\r\nabc\rdef\r\n[business] pro")
    assert [(line.tag, line.text) for line in lines] == [("business", '[twain] {"ok":true}'), ("", "[other] x"), ("", "def")]
    assert parser.partial.text == "pro"


def test_parser_knows_labels_continued_and_unfinished_lines():
    parser = LineParser({"BUSINESS": "business"})
    lines = parser.feed(b"[BUSINESS] half\x1b[2m\xe2\x80\xa6\x1b[0m\r\n\r\x1b[K[BUSINESS] half and half\r\n[BUSINESS]> more\r\n")
    assert [(line.tag, line.text, line.complete) for line in lines] == [
        ("business", "half\u2026", False), ("business", "half and half", True), ("business", "more", True)]


def test_parser_survives_anything():
    parser = LineParser({"business": "business"})
    parser.feed(bytes(range(256)) * 3 + b"\n")
    assert parser.feed(b"[business] fine\n")[-1].text == "fine"


def test_child_dies_with_us(tmp_path):
    """Even a broker that is killed outright leaves no machine behind."""
    code = ("import sys; sys.path.insert(0, sys.argv[1])\n"
            "from twainlib.broker import Broker\n"
            "b = Broker(sys.argv[3:], sys.argv[2], []).start(); print(b.child.pid, flush=True)\n"
            "import time; time.sleep(60)\n")
    tools = str(Path(control.__file__).parents[1])
    process = subprocess.Popen([sys.executable, "-c", code, tools, str(tmp_path), *FAKE], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the child is still there")


def test_stop_pulls_the_plug_of_a_machine_that_does_not_listen(tmp_path):
    with Broker([*FAKE, "silent"], tmp_path, ["business"]) as broker:
        broker.stop(0.2)
        deadline = time.monotonic() + 10
        while broker.running and time.monotonic() < deadline:
            broker.pump(0.05)
        assert not broker.running


def test_interrupt_arrives_although_the_shell_ignores_it_for_background_jobs():
    code = ("import sys, time; sys.path.insert(0, sys.argv[1]); from twainlib import cli, commands;"
            "commands.boards = lambda options: (print('up', flush=True), time.sleep(30)); sys.exit(cli.main(['boards']))")
    tools = str(Path(__file__).resolve().parents[2] / "tools")
    process = subprocess.Popen(["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-c", code, tools],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == Exit.INTERRUPTED
    process.stdout.close()
