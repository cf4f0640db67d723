"""No Python that tracekit starts takes code from the working directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracekit.interpreter import python_command

_ROOT = Path(__file__).parents[1]
_WORKING = "import os; open(os.path.join(os.getcwd(), 'ran'), 'w')\n"


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with code in it."""
    for name in ("numpy", "click", "rich", "textual", "tui", "json", "typing", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(_WORKING)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_child_has_these_modules_and_none_from_here(
    hostile: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("a:b 'c")
    (elsewhere / "told.py").write_text("import sys, json, numpy\ndef main(): print(sys.argv[1:])\n")
    monkeypatch.syspath_prepend(elsewhere)
    monkeypatch.setattr(sys, "path", ["", ".", *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(hostile))
    command = python_command("told", ["a b", "--", "$x"])
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "['a b', '--', '$x']\n"
    assert not (hostile / "ran").exists()


def test_run_as_a_module_it_leaves_the_working_directory(
    hostile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "typing"):  # Python itself takes these before tracekit runs
        (hostile / f"{name}.py").unlink()
    (hostile / "sitecustomize.py").unlink()
    monkeypatch.setenv("PYTHONPATH", str(_ROOT))
    command = [sys.executable, "-m", "tracekit", "report", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (hostile / "ran").exists()


def test_there_is_no_other_way_to_start_one() -> None:
    starting = {
        os.fspath(path.relative_to(_ROOT))
        for package in ("tracekit", "tui")
        for path in (_ROOT / package).rglob("*.py")
        if "sys.executable" in path.read_text()
    }
    # the second one only writes a command into units, with -P
    assert starting == {"tracekit/interpreter.py", "tracekit/capture/cmdline/templates.py"}
    assert (
        '[sys.executable, "-P", ' in (_ROOT / "tracekit/capture/cmdline/templates.py").read_text()
    )
