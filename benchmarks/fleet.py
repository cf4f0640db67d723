"""How fast a fleet is added and asked, and how often it accuses without a reason.

Run by ``make bench-fleet``: copies of the demo by one and two processes; 100,000 simulated
handovers, a question at a time in a process of its own; and many small fleets in which nothing is
wrong.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.fleets.small import copies, drawn_from
from tests.support.unpack import unpack
from tracekit.fleet.add import add_sessions
from tracekit.fleet.ask import Fleet
from tracekit.fleet.dataset import Dataset
from tracekit.fleet.questions import QUESTIONS
from tracekit.fleet.simulate import Slow, World, simulate
from tracekit.fleet.suspects import suspects
from tracekit.interpreter import settle
from tracekit.runs.run import open_runs

SESSIONS, HANDOVERS, FLEETS = 960, 100_000, 200
SLOW = (Slow("device", "0000:00:03.0", "host0007", 20_000_000),
        Slow("phase", "dark", "7.3.4", 400_000_000))  # fmt: skip


def adding(place: Path, demo: Path) -> None:
    """Sessions a second by one and by two processes."""
    settle()
    unpack(demo, place / "demo")
    (session,) = (p.parent for p in (place / "demo").rglob("manifest.json"))
    paths = [str(path) for path in copies(session, place / "sessions", SESSIONS)]
    rates = []
    for workers in (1, 2):
        begun = time.monotonic()
        add_sessions(Dataset.at(str(place / f"by{workers}"), make=True), paths, workers=workers)
        rates.append(SESSIONS / (time.monotonic() - begun))
    print(f"added a second: {rates[0]:.1f} by one process, {rates[1]:.1f} by two: "
          f"{rates[1] / rates[0]:.2f} times")  # fmt: skip


def asking(place: Path, demo: Path) -> None:
    """Seconds and memory of each question, each in a process of its own."""
    where = str(place / "large")
    for _ in simulate(Dataset.at(where, make=True), open_runs(demo), World(HANDOVERS, slow=SLOW)):
        pass
    for name in (*QUESTIONS, "suspects"):
        subprocess.run([sys.executable, __file__, where, name], check=True)


def ask(where: str, name: str) -> None:
    """One question."""
    begun = time.monotonic()
    fleet = Fleet(Dataset.at(where))
    answer = suspects(fleet) if name == "suspects" else QUESTIONS[name](fleet)
    took = time.monotonic() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:<10} {took:6.2f} s {peak:6.0f} MiB, {len(answer)} rows", flush=True)


def accusing(place: Path) -> None:
    """How many of so many fleets in which nothing is wrong have anything accused."""
    bases, wrong = drawn_from(), 0
    for seed in range(FLEETS):
        dataset = Dataset.at(str(place / f"null{seed}"), make=True)
        list(simulate(dataset, bases, World(400, seed + 1000, hosts=20, days=1)))
        wrong += bool(suspects(Fleet(dataset)))
    print(f"accused without a reason: {wrong} of {FLEETS} fleets")


def main() -> None:
    """All three."""
    if len(sys.argv) == 3:
        ask(*sys.argv[1:])
        return
    with (
        tempfile.TemporaryDirectory() as name,
        as_file(files("tracekit") / "demo" / "handover.tar.zst") as demo,
    ):
        adding(Path(name), demo)
        asking(Path(name), demo)
        accusing(Path(name))


if __name__ == "__main__":
    main()
