"""recover, killed: nothing that was in memory is lost, and a second run completes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.machine_trees import new_machine, old_machine
from tracekit.capture.save.snapshot import snapshot
from tracekit.session import Session
from tracekit.sysroot import Sysroot

pytestmark = pytest.mark.slow

REPO = Path(__file__).parents[3]


@pytest.fixture
def fast_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be had: hundreds of sessions are written here."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="tracekit-") as path:
        yield Path(path)


@pytest.mark.parametrize("beforehand", ["old", "nothing", "new"])
def test_killed_at_every_step(fast_path: Path, beforehand: str) -> None:
    """Every rename, sync, write, … of a run; the second run's session is the same to the byte.

    A snapshot was taken of the old kernel, of none, or of the new one alone.
    """
    old, new, session = fast_path / "old", fast_path / "new", fast_path / "S"
    old_machine().write(old)
    new_machine().write(new)
    if beforehand != "nothing":
        snapshot(Sysroot(fast_path / beforehand), session)
    (fast_path / "work").mkdir()
    command = [sys.executable, "-m", "tests.support.kill_lab", new, session, fast_path / "work"]
    done = subprocess.run(command, cwd=REPO, stdout=subprocess.PIPE, check=True)
    points = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(points) > 60  # the fewest where the new boot is saved already
    for point in points:
        assert point["same"], point
        assert point["diagnostics"] == points[0]["diagnostics"], point
    # Only before the very first changes and after the last is a killed run not to be seen.
    assert all(point["incomplete"] for point in points[10:-2])


def test_killed_at_random_moments(capture: Callable[[str], Path], tmp_path: Path) -> None:
    """The real command on a real handover, killed by the clock and run again until it is done."""
    trees = capture("handover-7.2-tsc")
    regions = json.loads((trees / "new/regions.json").read_text())
    core = (trees / "new/proc/kcore").read_bytes()
    want = {  # the segments follow each other in the core, the first at 0x1000
        name: hashlib.sha256(core[at : at + regions[name][1]]).hexdigest()
        for name, at in (("tkB", 0x1000), ("tkA", 0x401000))
    }
    session = tmp_path / "S"
    snapshot(Sysroot(trees / "old"), session)
    command = [sys.executable, "-m", "tracekit", "recover", "--sysroot", trees / "new", session]
    begun = time.monotonic()
    reference = tmp_path / "R"
    snapshot(Sysroot(trees / "old"), reference)
    subprocess.run([*command[:-1], reference], check=True, stderr=subprocess.DEVNULL)
    whole = time.monotonic() - begun
    dice = random.Random(7)
    killed = 0
    for _ in range(8):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=REPO) as run:
            time.sleep(dice.uniform(0.1, whole))
            run.send_signal(signal.SIGKILL)
        killed += run.returncode == -signal.SIGKILL
        Session.open(session)  # whatever happened, it can be opened
    assert killed
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, cwd=REPO)
    found = Session.open(session)
    assert found.boots == [0, 1]
    for name, boot in (("tkA", 0), ("tkB", 1)):
        raw = found.read(f"boots/{boot}/regions/{name}.raw")
        assert hashlib.sha256(raw).hexdigest() == want[name]
    assert found.list() == Session.open(reference).list()
    assert found.diagnostics == []
    assert not list(session.glob(".*"))
