"""``tracekit show`` in a real terminal: tmux, keys sent to it, and what it then shows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.waiting import Standstill

pytestmark = pytest.mark.skipif(
    shutil.which("tmux") is None, reason="tmux is not installed: the real terminal is not tried"
)


class Terminal:
    """A tmux server of its own with one window."""

    def __init__(self, width: int, height: int) -> None:
        self._name = f"tracekit-{uuid.uuid4().hex}"
        self._size = str(width), str(height)

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._name, "-f", os.devnull, *words],
            capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        return done.stdout

    def run(self, *command: str) -> None:
        """Start a command; the window stays when it ends, and then shows its exit code."""
        width, height = self._size
        words = ["sh", "-c", '"$@"; echo "ended: $?"; sleep 60', "-", *command]
        self._tmux("new-session", "-d", "-x", width, "-y", height, *words)

    def close(self) -> None:
        """End the server and what runs in it."""
        subprocess.run(["tmux", "-L", self._name, "kill-server"], check=False, capture_output=True)

    def press(self, *keys: str) -> None:
        """Send keys, by tmux's names."""
        self._tmux("send-keys", *keys)

    def screen(self) -> str:
        """What it shows."""
        return self._tmux("capture-pane", "-p")

    def child(self, word: str) -> int:
        """The process that the shell runs whose command line has that word."""
        shell = self._tmux("display-message", "-p", "#{pane_pid}").strip()
        for number in _below(int(shell)):
            if word in Path(f"/proc/{number}/cmdline").read_text().split("\0"):
                return number
        raise AssertionError(f"no {word} below {shell}")

    def until(self, true: Callable[[str], bool]) -> str:
        """Wait until the screen is as wanted; the screen."""
        standstill = Standstill()
        while not true(text := self.screen()):
            if "ended: " in text or standstill.lasts(text):
                raise AssertionError(f"never shown:\n{text}")
            time.sleep(0.1)
        return text


def _below(pid: int) -> Iterator[int]:
    """Every process that a process started, and those that they did."""
    for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(number)
        yield from _below(int(number))


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    found = Terminal(80, 24)
    yield found
    found.close()


def test_the_whole_way_in_a_terminal(terminal: Terminal) -> None:
    terminal.run(sys.executable, "-m", "tracekit", "show")
    text = terminal.until(lambda s: "record complete" in s and "Quit" in s and "▶" in s)
    assert "blackout 3.099 s" in text
    slowest = next(line for line in text.splitlines() if "▶" in line)
    assert "dark" in slowest
    terminal.press("Enter")
    terminal.until(lambda s: "CPU 0" in s and "CPU 1" in s and "░" in s)
    terminal.press("3")
    terminal.until(lambda s: "machine_kexec" in s)
    terminal.press("q")
    text = terminal.until(lambda s: "ended:" in s)
    assert "ended: 0" in text
    assert "Traceback" not in text


def test_control_c_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    terminal.run(sys.executable, "-m", "tracekit", "show")
    terminal.until(lambda s: "record complete" in s)
    terminal.press("C-q")
    text = terminal.until(lambda s: "ended:" in s)
    assert "Traceback" not in text
    terminal.press("echo still here")
    terminal.until(lambda s: "echo still here" in s)


@pytest.mark.parametrize("name", ["TERM", "HUP"])
def test_a_signal_leaves_the_terminal_as_it_was(terminal: Terminal, name: str) -> None:
    """With SIGCONT right after it, as ``timeout`` sends it."""
    terminal.run("bash", "--norc", "-i")
    terminal.press(f"{sys.executable} -m tracekit show; echo code $?; stty -a", "Enter")
    terminal.until(lambda s: "record complete" in s)
    pid = terminal.child("show")
    for number in (getattr(signal, f"SIG{name}"), signal.SIGCONT):
        os.kill(pid, number)
    text = terminal.until(lambda s: "code" in s and "iutf8" in s)
    assert f"code {128 + getattr(signal, f'SIG{name}')}" in text
    assert " icanon" in text
    assert " echo " in text
    assert "Traceback" not in text


def test_to_be_continued_without_a_stop_changes_nothing_for_the_shell(terminal: Terminal) -> None:
    terminal.run("bash", "--norc", "-i")
    terminal.press(f"{sys.executable} -m tracekit show; echo code $?; stty -a", "Enter")
    terminal.until(lambda s: "record complete" in s)
    os.kill(terminal.child("show"), signal.SIGCONT)
    os.kill(terminal.child("show"), signal.SIGTERM)
    text = terminal.until(lambda s: "code" in s and "iutf8" in s)
    assert " icanon" in text and " echo " in text


def test_it_is_suspended_and_comes_back(terminal: Terminal) -> None:
    terminal.run("bash", "--norc", "-i")
    terminal.press(f"{sys.executable} -m tracekit show", "Enter")
    terminal.until(lambda s: "record complete" in s)
    terminal.press("C-z")
    terminal.until(lambda s: "Stopped" in s and "record complete" not in s)
    terminal.press("fg", "Enter")
    text = terminal.until(lambda s: "record complete" in s and "Quit" in s and "▶" in s)
    assert "dark: until the new kernel runs" in text


def test_a_wrong_filter_is_told_before_anything_is_drawn(terminal: Terminal) -> None:
    terminal.run(sys.executable, "-m", "tracekit", "show", "--where", "cpu = ")
    text = terminal.until(lambda s: "ended:" in s)
    assert "tracekit: expected a value; found the end" in text
    assert "ended: 2" in text


def test_without_a_terminal_it_says_so() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tracekit", "show"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
