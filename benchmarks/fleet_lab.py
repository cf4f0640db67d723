"""A small fleet of real handovers: two kernels, clocks and carriers, in the lab.

Run by ``make fleet-lab``: half an hour under software emulation, two guests at a time. Sessions are
kept in the folder that is given, so that a run that was ended goes on where it was; then they are
added to a dataset, and its report is printed.

Every guest has one more disk, on which reads are always under way; its reset, as its driver shuts
it down, waits for them. A read takes 20 ms, and on one of the three hosts that the guests call
themselves after 0.4 s: slow on purpose, for the report to find.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from tracekit.cli import main as tracekit
from tracekit.errors import LabError
from tracekit.lab import kernels
from tracekit.lab.machine import run
from tracekit.lab.store import lab_directory
from tracekit.lab.ways import Journey, plan

HOSTS, SLOW_HOST = ("alder", "birch", "cedar"), "cedar"
#: The disk, its size in bytes, and nanoseconds that a read of it takes.
SIZE = 64 << 30
DISK = "virtio-blk-pci,drive=more,serial=more,addr=1e.0"
QUICK, SLOW = 20_000_000, 400_000_000
READING = """
disk=$(basename $(dirname $(grep -lx more /sys/block/vd*/serial)))
for reader in 1 2 3 4; do dd if=/dev/$disk of=/dev/null iflag=direct bs=4k 2>/dev/null & done
"""


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


def bring(name: str, journey: Journey, host: str, folder: Path) -> None:
    """Run one handover, unless its session is there."""
    target = folder / name
    latency = SLOW if host == SLOW_HOST else QUICK
    if target.exists():
        return
    print(name, file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".run-") as place:
        output = Path(place) / "state"
        disk = f"driver=null-co,node-name=more,size={SIZE},read-zeroes=on,latency-ns={latency}"
        try:
            way = plan(journey)
            named = tuple(f"hostname {host}\n{script}" for script in way.scripts)
            run(replace(way, scripts=named, devices=(disk, DISK)), output)
        except LabError as error:
            print(f"{name}: {error}", file=sys.stderr)
            return
        shutil.move(output / "session", target)


def main() -> None:
    """Run them, add them, report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--handovers", type=int, default=30)
    words = parser.parse_args()
    sessions = words.folder / "sessions"
    sessions.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        begun = []
        for number, (name, journey) in enumerate(islice(cycle(journeys()), words.handovers)):
            host = HOSTS[number % len(HOSTS)]
            journey = replace(journey, while_recording=READING)
            begun.append(pool.submit(bring, f"{number:03d}-{host}-{name}", journey, host, sessions))
        for one in begun:
            one.result()
    dataset = str(words.folder / "dataset")
    status = tracekit(["fleet", "add", dataset, str(sessions)])
    sys.exit(status or tracekit(["fleet", "report", dataset]))


if __name__ == "__main__":
    main()
