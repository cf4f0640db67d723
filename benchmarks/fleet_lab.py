"""A small fleet of real handovers: two kernels, clocks and carriers, in the lab.

Run by ``make fleet-lab``: an hour or more under software emulation. Sessions are kept in the folder
that is given, so that a run that was ended goes on where it was; then they are added to a dataset,
and its report is printed. ``--slow FILE`` is shell that runs in the guest while it records, in
every sixth handover: what makes a device slow on purpose (a module, a probe that waits).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from tracekit.cli import main as tracekit
from tracekit.errors import LabError
from tracekit.lab import kernels
from tracekit.lab.machine import run
from tracekit.lab.store import lab_directory
from tracekit.lab.ways import Journey, plan

SLOW_EVERY = 6


def journeys() -> list[tuple[str, Journey]]:
    """Every pair of the lab's own kernels, by each clock and carrier."""
    lab = lab_directory()
    own = [kernels.find(version, lab) for version in kernels.available(lab)]
    if not own:
        raise SystemExit("no kernels: make lab")
    return [
        (f"{old.release}-to-{new.release}-{clock}-{carrier}",
         Journey(old, new, carrier=carrier, record=("--clock", clock)))
        for clock in ("x86-tsc", "mono")
        for carrier in ("kho", "carveout")
        for old in own for new in own
    ]  # fmt: skip


def bring(name: str, journey: Journey, folder: Path) -> None:
    """Run one handover, unless its session is there."""
    target = folder / name
    if target.exists():
        return
    print(name, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".run-") as place:
        output = Path(place) / "state"
        try:
            run(plan(journey), output)
        except LabError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return
        shutil.move(output / "session", target)


def main() -> None:
    """Run them, add them, report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--handovers", type=int, default=30)
    parser.add_argument("--slow", type=Path, help="shell for the guest, in every sixth handover")
    words = parser.parse_args()
    sessions = words.folder / "sessions"
    sessions.mkdir(parents=True, exist_ok=True)
    slow = words.slow.read_text() if words.slow else ""
    for number, (name, journey) in enumerate(islice(cycle(journeys()), words.handovers)):
        made = slow and number % SLOW_EVERY == SLOW_EVERY - 1
        if made:
            journey = replace(journey, while_recording=slow)
        bring(f"{number:03d}-{name}{'-slow' if made else ''}", journey, sessions)
    dataset = str(words.folder / "dataset")
    status = tracekit(["fleet", "add", dataset, str(sessions)])
    sys.exit(status or tracekit(["fleet", "report", dataset]))


if __name__ == "__main__":
    main()
