"""The fuzz target itself: it runs, repeats itself, and tells of failures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import fuzz_region

SCRIPT = Path(fuzz_region.__file__)


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, script, *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_cases_depend_on_seed_and_number_alone():
    cases = [fuzz_region.make_case(7, number) for number in range(20)]
    assert cases == [fuzz_region.make_case(7, number) for number in range(20)]
    assert {case.kind for case in cases} == {"region", "format"}


def test_a_short_run_finds_nothing():
    done = run(SCRIPT, "--seconds", "2", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("seed 1\n")
    assert "nothing wrong" in done.stdout


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise KeyError('boom')", "KeyError: 'boom'"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("time.sleep(60)", "no end after 3 s"),
        ("bytearray(8 << 30)", "MemoryError"),
    ],
)
def test_a_failure_is_saved_and_can_be_replayed(tmp_path, fault, said):
    faulty = tmp_path / "faulty.py"
    faulty.write_text(
        f"import os, signal, sys, time\nsys.path.insert(0, {str(fuzz_region.ROOT)!r})\n"
        f"from tests.fuzz import fuzz_region\ndef fault(data):\n    {fault}\n"
        "fuzz_region.RUNNERS.update(region=fault, format=fault)\nfuzz_region.HANG = 3\n"
        "sys.exit(fuzz_region.main())\n"
    )
    saved = tmp_path / "saved"
    saved.mkdir()
    done = run(faulty, "--seconds", "30", "--seed", "3", "--save", str(saved))
    assert done.returncode == 1
    assert said in done.stdout
    (reproducer,) = saved.iterdir()
    assert reproducer.read_bytes() == fuzz_region.make_case(3, 0).data
    assert run(SCRIPT, "--replay", str(reproducer)).returncode == 0
