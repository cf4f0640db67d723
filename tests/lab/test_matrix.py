"""Every kernel, carrier and way down, each in a guest of its own; a table of what came of it.

Not part of the other lab tests: ``make lab-all``, an hour or two. The table is written to
``$TRACEKIT_TABLE`` (else printed at the end), for docs/carriers.md.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

import tracekit
from tests.support.guest import NEW, OLD, STOCK, STOCK_NEW, guest_run, need_kernel
from tracekit.carriers.carrier import Way
from tracekit.lab.ways import CarrierName, Journey, plan
from tracekit.report.make import Report
from tracekit.text import duration
from tracekit.timeline.filter import Filter

pytestmark = [pytest.mark.matrix, pytest.mark.xdist_group("lab")]

MARKS = 100  # on each CPU
WHILE_RECORDING = f"""
for cpu in 0 1; do
    taskset -c $cpu sh -c 'for i in $(seq {MARKS}); do
        echo "cpu$0 $i" > /sys/kernel/tracing/instances/tk/trace_marker
    done' $cpu
done
"""
HEADER = (
    "| from | to | carrier | down | markers | verdict | clock | last of each CPU | gap |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One journey of the matrix; kernels as the lab calls them."""

    old: str
    new: str
    carrier: CarrierName
    down: Way

    def __str__(self) -> str:
        return f"{self.old}-{self.new}-{self.carrier}-{self.down}"


def cells() -> Iterator[Cell]:
    own, stock = (OLD, NEW), (STOCK, STOCK_NEW)
    for old, new in product(own, own):
        yield Cell(old, new, "kho", "kexec")
    for old, new in [*product(stock, stock), (OLD, NEW), (NEW, STOCK), (STOCK, NEW)]:
        yield Cell(old, new, "carveout", "kexec")
    ways: tuple[Way, ...] = ("reboot", "panic")
    for kernel, down in product((*own, *stock), ways):
        yield Cell(kernel, kernel, "carveout", down)
    for kernel, down in product(own, ways):
        yield Cell(kernel, kernel, "kho", down)


@pytest.fixture(scope="module")
def table() -> Iterator[list[str]]:
    """The rows, written when all is done."""
    rows: list[str] = []
    yield rows
    text = HEADER + "".join(f"{row}\n" for row in rows)
    if path := os.environ.get("TRACEKIT_TABLE"):
        Path(path).write_text(text)
    else:
        print(f"\n{text}", file=sys.__stderr__)


def markers(session: Path) -> str:
    """How many markers of each CPU are in the first boot's record."""
    recording = tracekit.open(session)
    wanted = Filter(events=("ftrace:print",), boots=frozenset({0}))
    texts = recording.table(recording.select(wanted))["args"].to_pylist()
    seen = {0: 0, 1: 0}
    for text in texts:
        if match := re.search(r"\bcpu([01]) \d+", text):
            seen[int(match[1])] += 1
    return f"{seen[0]} + {seen[1]} of {MARKS} each"


def row(cell: Cell, session: Path, report: Report) -> str:
    old = report.boots[0]
    releases = [need_kernel(name).release for name in (cell.old, cell.new)]
    last = {event.cpu: event.event for event in report.last_events}
    gap = report.handovers[0].gap_ns if report.handovers else None
    words = [
        *releases, cell.carrier, cell.down, markers(session), report.verdict, old.clock,
        ", ".join(f"{cpu}: {event}" for cpu, event in sorted(last.items())) or "none",
        "unknown" if gap is None else duration(gap),
    ]  # fmt: skip
    return f"| {' | '.join(words)} |"


@pytest.mark.parametrize("cell", list(cells()), ids=str)
def test_journey(cell: Cell, table: list[str], tmp_path: Path) -> None:
    journey = Journey(
        need_kernel(cell.old), need_kernel(cell.new), cell.carrier, cell.down,
        while_recording=WHILE_RECORDING, timeout=1200,
    )  # fmt: skip
    try:
        result = guest_run(plan(journey), tmp_path)
        session = result.output / "session"
        table.append(row(cell, session, tracekit.open(session).report()))
    except Exception as error:
        words = [cell.old, cell.new, cell.carrier, cell.down, str(error).splitlines()[0]]
        table.append(f"| {' | '.join(words)} | | | | |")
        raise
    assert markers(session) == f"{MARKS} + {MARKS} of {MARKS} each"
