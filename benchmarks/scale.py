"""How time and memory grow with what was recorded: to a hundred million events, and wide machines.

`make bench`. One, twenty and a hundred million distinct records (distinct.py), beside `trace-cmd
report` of the same events; a region of a machine with 512 CPUs (machines.py). Arguments are
millions of events, in place of these. A hundred million take 25 GB of disk.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.distinct import distinct  # noqa: E402
from benchmarks.machines import Shape, machine, symbols  # noqa: E402
from benchmarks.measured import Measured, line, measured  # noqa: E402
from benchmarks.recovered import wide  # noqa: E402

TRACEKIT = [sys.executable, "-m", "tracekit", "-q"]
_MILLIONS = (1, 20, 100)
_COPIES = 10  # of the capture are a million events
_MOST = "600 MiB"
_WIDE = Shape(cpus=512, subbuf=1 << 16, subbufs=31)  # 1 GiB
_KINDS, _SYMBOLS = 2000, 450_000
#: Those that do what trace-cmd report does, with what their CPU time should be beside its.
_SAME = {"events kernel": "0.35", "events json": "1", "export csv": "0.4"}


def commands(session: Path, scratch: Path) -> Iterator[tuple[str, list[str]]]:
    """What is measured, by name."""
    events, export = ([*TRACEKIT, word, str(session)] for word in ("events", "export"))
    for form in ("kernel", "json"):
        yield f"events {form}", [*events, "--format", form]
    for form, name in (("csv", "o.csv"), ("parquet", "o.parquet"), ("perfetto", "o.pftrace")):
        yield f"export {form}", [*export, "--format", form, "-o", str(scratch / name)]
    yield (
        "export per event",
        [*export, "--format", "parquet", "--per-event", str(scratch / "o.dir")],
    )
    yield "export trace.dat", [*export, "--format", "trace.dat", "-o", str(scratch / "o.dat")]
    yield "events of a window", [*events, "--from", "-1s", "--to", "0"]
    yield "report", [*TRACEKIT, "report", str(session)]
    yield "stats, with the index", [*TRACEKIT, "stats", str(session)]
    yield "stats by span", [*TRACEKIT, "stats", str(session), "--by", "span"]
    yield "states", [*TRACEKIT, "states", str(session)]


def remove(scratch: Path) -> None:
    """Remove what was exported."""
    for made in scratch.glob("o.*"):
        if made.is_dir():
            shutil.rmtree(made)
        else:
            made.unlink()


def of_size(millions: int, scratch: Path) -> dict[str, Measured]:
    """Print what every command takes of so many million events."""
    session, plain = wide(scratch)
    large = scratch / "large"
    traces = distinct(session, plain, large, millions * _COPIES)
    theirs = None
    if traces:
        names = " ".join(f"'{trace}'" for trace in traces)
        theirs = measured(["sh", "-c", f"for t in {names}; do trace-cmd report $t; done"])
        line(f"{millions} M: trace-cmd report", f"{theirs.cpu:.1f} s CPU", "")
        shutil.rmtree(traces[0].parent)
    found = {}
    for name, command in commands(large, scratch):
        one = found[name] = measured(command)
        took = f"{one.cpu:.1f} s CPU, {one.wall:.1f} s"
        if theirs and name in _SAME:
            took += f", {one.cpu / theirs.cpu:.2f}x CPU, {one.wall / theirs.wall:.2f}x"
        line(f"{millions} M: {name}", took, _SAME.get(name, "") and f"{_SAME[name]}x CPU")
        line(f"{millions} M: {name}: peak memory", f"{one.peak >> 20} MiB", _MOST)
        remove(scratch)
    return found


def growth(found: dict[int, dict[str, Measured]]) -> None:
    """Print how time and memory grow from the smallest to the largest: n to which power."""
    small, large = min(found), max(found)
    for name, one in found[small].items():
        other, more = found[large][name], math.log(large / small)
        cpu, peak = math.log(other.cpu / one.cpu) / more, math.log(other.peak / one.peak) / more
        line(f"{name}: from {small} M to {large} M", f"CPU n^{cpu:.2f}, memory n^{peak:.2f}", "n^1")


def wide_machine(scratch: Path) -> None:
    """Print what a recording of a very wide machine takes."""
    session, _ = wide(scratch)
    where = scratch / "machine"
    events = machine(session, where, _WIDE, 1, _KINDS)
    symbols(where, _SYMBOLS)
    what = f"512 CPUs, 64K pages, {_KINDS:,} events, 1 GiB, {events / 1e6:.0f} M"
    for name, command in commands(where, scratch):
        one = measured(command)
        line(f"{what}: {name}", f"{one.cpu:.1f} s CPU, {one.wall:.1f} s", "")
        line(f"{what}: {name}: peak memory", f"{one.peak >> 20} MiB", _MOST)
        remove(scratch)
    code = (
        "import sys, time, tracekit; b = tracekit.open(sys.argv[1]).boots[0]; t = time.time();"
        "assert b.context.symbols.code('made_up_77'); print(time.time() - t)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(where)], check=True, capture_output=True, text=True
    ).stdout
    line(f"{_SYMBOLS:,} symbols, until one is known", f"{float(out):.2f} s", "")


def main() -> None:
    """Print all of it."""
    sizes = [int(word) for word in sys.argv[1:]] or _MILLIONS
    found = {}
    for millions in sizes:
        with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
            found[millions] = of_size(millions, Path(directory))
    if len(found) > 1:
        growth(found)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
        wide_machine(Path(directory))


if __name__ == "__main__":
    main()
