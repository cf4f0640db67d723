"""The command: it finds what is planted, keeps it and can run it again."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import native
from tests.fuzz.native import ROOT
from tests.fuzz.targets import TARGETS

needs_atheris = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="Atheris is not installed (make fuzz)"
)
_PLANTED = """
import os, sys
from dataclasses import replace
from pathlib import Path
from tests.fuzz import engine, native

if {engine!r} == "libfuzzer":
    native.load()  # before the parsers take the modules that they replace
from tests.fuzz import targets

original = targets.TARGETS[{name!r}]

def faulty(data):
    original.run(data)
    if len(data) == 5:
        {fault}

targets.TARGETS[{name!r}] = replace(original, run=faulty)
engine.BUILD = Path({build!r})
engine.HERE = Path({here!r})
sys.exit(engine.main([{engine!r}, "20", {name!r}]))
"""


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.run", *arguments]
    return subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=300
    )


def test_one_input_can_be_run_again() -> None:
    file = TARGETS["tar"].seeds[0]
    done = _run("--replay", str(file))
    assert (done.returncode, done.stdout) == (0, f"{file}: nothing wrong in tar\n")


def test_a_target_that_there_is_not() -> None:
    done = _run("nonsense")
    assert done.returncode == 2
    assert "no target nonsense" in done.stderr


def _planted(tmp_path: Path, engine: str, fault: str, environment: dict[str, str]) -> str:
    """What the log says of a planted fault, which ends the target and is kept."""
    script = tmp_path / "planted.py"
    here = tmp_path / "here"
    name = {"atheris": "kmsg", "libfuzzer": "native_symbols"}[engine]
    script.write_text(
        _PLANTED.format(fault=fault, engine=engine, name=name, build=str(tmp_path), here=str(here))
    )
    done = subprocess.run(
        [sys.executable, script],
        cwd=ROOT,
        env={
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            "PATH": "/usr/bin:/bin",
            **environment,
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    ended, status = done.stdout.split()
    assert ended == name and int(status) != 0, done.stderr
    (kept,) = (here / "found" / name).iterdir()
    assert len(kept.read_bytes()) == 5
    return (tmp_path / f"{name}.log").read_text(errors="replace")


@pytest.mark.slow
@needs_atheris
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise KeyError('boom')", "KeyError: 'boom'"),
        ("sum(range(20_000_000))", "TooSlow"),
    ],
)
def test_atheris_finds_what_is_wrong(tmp_path: Path, fault: str, said: str) -> None:
    assert said in _planted(tmp_path, "atheris", fault, {})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise KeyError('boom')", "KeyError: 'boom'"),
        ("import ctypes; ctypes.string_at(ctypes.create_string_buffer(8), 64)", "overflow"),
    ],
)
def test_libfuzzer_finds_what_is_wrong(tmp_path: Path, fault: str, said: str) -> None:
    try:
        environment = native.build()
    except native.Missing as missing:
        pytest.skip(f"this needs {missing}")
    assert said in _planted(tmp_path, "libfuzzer", fault, environment)
