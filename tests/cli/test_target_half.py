"""The target half runs in a rescue shell: modules and commands, heavy imports forbidden."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.imports import sources
from tests.support.machine_trees import new_machine, old_machine

HEAVY = ("numpy", "pandas", "pyarrow", "textual", "duckdb")
TARGET = (
    "capture",
    "carriers",
    "kho",
    "kmemory",
    "btf",
    "probes",
    "session",
    "sysroot",
    "binary",
    "text",
    "errors",
)
FORBID = f"""
import sys
class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY}:
            raise ImportError("forbidden: " + name)
sys.meta_path.insert(0, Forbid())
"""


def python(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", FORBID + code, *map(str, args)]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def tracekit(*args: object) -> subprocess.CompletedProcess[str]:
    return python("from tracekit.cli import main\nsys.exit(main(sys.argv[1:]))", *args)


def test_what_is_forbidden_cannot_be_imported() -> None:
    for name in HEAVY:
        assert f"forbidden: {name}" in python(f"import {name}").stderr


def test_every_module_can_be_imported() -> None:
    names = [n for n in sources("tracekit") if n.split(".")[1:2] and n.split(".")[1] in TARGET]
    assert len(names) > 50
    done = python(
        "import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)", *names
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "doctor",
        "setup",
        "record",
        "handover",
        "recover",
        "snapshot",
        "events",
        "export",
        "sql",
        "compare",
        "check",
        "fleet",
    ],
)
def test_the_commands_explain_themselves(command: str) -> None:
    done = tracekit(command, "--help")
    assert done.returncode == 0, done.stderr
    assert f"Usage: tracekit {command}" in done.stdout


def test_the_commands_work(tmp_path: Path) -> None:
    old, new = old_machine().write(tmp_path / "old"), new_machine().write(tmp_path / "new")
    session = tmp_path / "S"
    for words in (
        ("snapshot", "--sysroot", old, "-o", session),
        ("recover", "--sysroot", new, session),
    ):
        done = tracekit(*words)
        assert done.returncode == 0, done.stderr
    done = tracekit("doctor", "--sysroot", old)
    assert done.returncode in (0, 1)  # 1: not ready, and what to do about it
    assert "Traceback" not in done.stderr and "kho" in done.stdout.lower(), done.stderr


def test_a_dead_kernels_memory_is_read(capture: Callable[[str], Path], tmp_path: Path) -> None:
    done = tracekit("recover", "--dump", capture("vmcore-7.2") / "vmcore", tmp_path / "S")
    assert done.returncode == 0, done.stderr
    assert "used: 7066 events" in done.stderr


def test_a_crash_kernel_has_the_memory_for_it(
    capture: Callable[[str], Path], tmp_path: Path
) -> None:
    """crashkernel=256M leaves 165 MiB beside a stock kernel."""
    code = (
        "from tracekit.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "words = open('/proc/self/status').read().split()\n"
        "print(words[words.index('VmHWM:') + 1])"
    )
    done = python(code, "recover", "--dump", capture("vmcore-6.12") / "vmcore", tmp_path / "S")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 100 << 10  # KiB


def test_a_session_is_handed_on(session: Callable[[str], Path], tmp_path: Path) -> None:
    done = tracekit("fleet", "hand-on", session("handover-7.2-tsc"), "--to", tmp_path / "in")
    assert done.returncode == 0, done.stderr
    (copied,) = (tmp_path / "in").iterdir()
    assert (copied / "manifest.json").exists()
