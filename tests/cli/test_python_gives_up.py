"""What Python itself cannot do here, a package, memory, depth, is one line with the next step."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.session_trees import make_session, two_cpus

COMMANDS = {
    "report": ("report", "{s}"),
    "events": ("events", "{s}"),
    "export csv": ("export", "{s}", "--format", "csv", "-o", "{o}.csv"),
    "export parquet": ("export", "{s}", "--format", "parquet", "-o", "{o}.parquet"),
    "per event": ("export", "{s}", "--format", "parquet", "--per-event", "{o}"),
    "show": ("show", "{s}"),
    "demo": ("demo",),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(tmp_path_factory.mktemp("gives-up"), two_cpus())


def run(words: tuple[str, ...], path: Path, tmp_path: Path, **env: str) -> str:
    """What the command says: one line, and the exit code is not 0. ``show`` gets a terminal."""
    args = [word.format(s=path, o=tmp_path / "out") for word in words]
    command = [sys.executable, "-m", "tracekit", *args]
    if words[0] == "show":
        command = ["script", "-qec", shlex.join(command), "/dev/null"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **env, "NO_COLOR": "1"},
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    said = (done.stdout + done.stderr).strip().splitlines()
    assert done.returncode == 1, said
    assert len(said) == 1 and "tracekit: " in said[0], said
    return said[0]


def stub(directory: Path, package: str, line: str) -> str:
    """A path that has a package which cannot be imported before the real one."""
    (directory / package).mkdir()
    (directory / package / "__init__.py").write_text(line)
    return os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("package", ["numpy", "pyarrow"])
def test_a_package_that_is_missing(command: str, package: str, path: Path, tmp_path: Path) -> None:
    line = f"raise ModuleNotFoundError('No module named {package}', name='{package}')"
    said = run(COMMANDS[command], path, tmp_path, PYTHONPATH=stub(tmp_path, package, line))
    assert f"needs the Python package {package}" in said and f"pip install {package}" in said


@pytest.mark.parametrize(
    ("package", "command"), [("textual", "show"), ("rich", "report"), ("click", "events")]
)
def test_a_package_of_some_commands(package: str, command: str, path: Path, tmp_path: Path) -> None:
    line = f"raise ModuleNotFoundError('No module named {package}', name='{package}')"
    said = run(COMMANDS[command], path, tmp_path, PYTHONPATH=stub(tmp_path, package, line))
    assert f"pip install {package}" in said


def test_a_package_that_is_broken(path: Path, tmp_path: Path) -> None:
    line = "raise ImportError('libarrow.so.2300: cannot open shared object file')"
    said = run(COMMANDS["report"], path, tmp_path, PYTHONPATH=stub(tmp_path, "pyarrow", line))
    assert "libarrow.so.2300" in said and "cannot be loaded" in said


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "show"])
@pytest.mark.parametrize("error", ["MemoryError()", "RecursionError('maximum recursion depth')"])
def test_memory_and_depth(command: str, error: str, path: Path, tmp_path: Path) -> None:
    said = run(
        COMMANDS[command], path, tmp_path, PYTHONPATH=stub(tmp_path, "pyarrow", f"raise {error}")
    )
    assert ("enough memory" if error.startswith("Mem") else "nested too deeply") in said


def test_real_want_of_memory(path: Path, tmp_path: Path) -> None:
    """The imports fit, a gigabyte of zeros does not."""
    script = (
        "import resource, sys, numpy, pyarrow, tracekit.recording as r;"
        "from tracekit.cli import main;"
        "size = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize();"
        "resource.setrlimit(resource.RLIMIT_AS, (size + (64 << 20),) * 2);"
        "r.Recording.report = lambda self: numpy.zeros(1 << 30, numpy.uint8);"
        "sys.exit(main(['report', sys.argv[1]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "enough memory" in done.stderr and "Traceback" not in done.stderr


def test_a_filter_that_is_nested_deeply(path: Path, tmp_path: Path) -> None:
    words = ("events", "{s}", "--where", "(" * 4000 + "cpu = 0" + ")" * 4000)
    args = [word.format(s=path) for word in words]
    done = subprocess.run(
        [sys.executable, "-m", "tracekit", *args], capture_output=True, text=True, check=False
    )
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 3
