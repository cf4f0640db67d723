"""Kills snapshot, export and the index builder at random moments, then lets them finish.

A program of its own: ``python -m tests.support.sessions.random_kills TREE SESSION WORK COUNT SEED``
prints one JSON line a kill: the command, whether the second run gave the same bytes as one that
nobody disturbed, and what is left beside them.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tracekit.browse.open import open_recording
from tracekit.cli import main as tracekit

__all__: list[str] = []

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


@dataclass(frozen=True)
class Job:
    """What is run in ``place``, and the files that it makes there."""

    name: str
    run: Callable[[Path], object]
    makes: str


def content(place: Path, makes: str) -> dict[str, str]:
    return {
        str(f.relative_to(place)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(place.glob(makes))
        if f.is_file()
    }


def names(place: Path) -> set[str]:
    return {p.name for p in (*place.iterdir(), *(place / "s").iterdir())}


def quiet(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def jobs(tree: Path) -> list[Job]:
    def command(*words: str) -> Callable[[Path], object]:
        return lambda place: tracekit([w.replace("PLACE", str(place)) for w in ("-q", *words)])

    return [
        Job("snapshot", command("snapshot", "--sysroot", str(tree), "-o", "PLACE/s"), "s/**/*"),
        Job("csv", command("export", "PLACE/s", "--format", "csv", "-o", "PLACE/x.csv"), "x*"),
        Job(
            "parquet",
            command("export", "PLACE/s", "--format", "parquet", "-o", "PLACE/x.parquet"),
            "x*",
        ),
        Job("index", lambda place: open_recording(place / "s", quiet, many=0), "s/index/rows*"),
    ]


def child(job: Job, place: Path) -> int:
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # whichever of the two comes first
            os.setpgid(pid, pid)
        return pid
    os.setpgid(0, 0)
    status = 1
    try:
        job.run(place)
        status = 0
    finally:
        os._exit(status)


def killed(job: Job, place: Path, after: float) -> None:
    pid = child(job, place)
    time.sleep(after)
    os.killpg(pid, signal.SIGKILL)  # the index builder is a child of its own
    with contextlib.suppress(ChildProcessError):
        while True:  # that of a killed child is ours: until it has gone its files are in use
            os.waitpid(-pid, 0)


def finished(job: Job, place: Path) -> float:
    begun = time.monotonic()
    _, status = os.waitpid(child(job, place), 0)
    assert status == 0, job.name
    return time.monotonic() - begun


def prepared(job: Job, session: Path, place: Path) -> Path:
    place.mkdir()
    if job.name != "snapshot":
        shutil.copytree(session, place / "s")
    return place


def main() -> None:
    ctypes.CDLL(None).prctl(_SUBREAPER, 1)
    tree, session, work = map(Path, sys.argv[1:4])
    count, dice = int(sys.argv[4]), random.Random(int(sys.argv[5]))
    for job in jobs(tree):
        whole = prepared(job, session, work / f"{job.name}-whole")
        took = finished(job, whole)
        wanted, beside = content(whole, job.makes), names(whole)
        for number in range(count):
            place = prepared(job, session, work / f"{job.name}-{number}")
            killed(job, place, dice.uniform(0, took))
            finished(job, place)
            found = content(place, job.makes)
            left = sorted(names(place) - beside)
            print(json.dumps({"job": job.name, "same": found == wanted, "left": left}), flush=True)
            shutil.rmtree(place)


if __name__ == "__main__":
    main()
