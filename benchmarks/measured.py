"""What a command takes: CPU and wall-clock time, and memory."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

__all__ = ["Measured", "line", "measured"]

_CODE = (
    "import resource, subprocess, sys, time; t = time.perf_counter();"
    "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL,"
    " stderr=subprocess.DEVNULL);"
    "u = resource.getrusage(resource.RUSAGE_CHILDREN);"
    "print(u.ru_utime + u.ru_stime, time.perf_counter() - t, u.ru_maxrss * 1024)"
)


class Measured(NamedTuple):
    """Seconds of CPU (with those of its children), seconds, and peak resident bytes."""

    cpu: float
    wall: float
    peak: int


def measured(command: list[str], runs: int = 1) -> Measured:
    """Of a command, its output thrown away; of several runs that which took the least CPU."""
    found = []
    for _ in range(runs):
        out = subprocess.run(
            [sys.executable, "-c", _CODE, *command], check=True, capture_output=True, text=True
        ).stdout.split()
        found.append(Measured(float(out[0]), float(out[1]), int(out[2])))
    return min(found)


def line(what: str, value: str, bar: str) -> None:
    """Print a figure, and what it should be."""
    print(f"{what:<58} {value:>22}   {bar}", flush=True)
