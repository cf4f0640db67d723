"""Every kernel, carrier and way down, each in a guest of its own; a table of what came of it.

Not part of the other lab tests: ``make lab-all``, an hour or two. The table, for
docs/carriers.md, is printed at the end, and written to ``$TRACEKIT_TABLE`` as it grows.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

import tracekit
from tests.support.guest import (
    NEW,
    OLD,
    STOCK,
    STOCK_NEW,
    found_marks,
    guest_run,
    marks_on_cpus,
    need_kernel,
)
from tracekit.carriers.carrier import Way
from tracekit.lab.kernels import version_key
from tracekit.lab.ways import CarrierName, Journey, plan
from tracekit.report.make import Report
from tracekit.text import duration

pytestmark = [pytest.mark.matrix, pytest.mark.xdist_group("lab")]

MARKS = 100  # on each CPU
COLUMNS = (
    "from", "to", "carrier", "down", f"markers (CPU 0 + 1, of {MARKS} each)", "verdict", "clock",
    "last of each CPU", "gap",
)  # fmt: skip


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
    for kernel in own:  # nobody promises that KHO's regions outlive a reboot
        yield Cell(kernel, kernel, "kho", "panic")


class Table:
    """The rows so far, in Markdown; what is known is not lost when a run is broken off."""

    def __init__(self) -> None:
        self.text = f"{_line(COLUMNS)}{_line(['---'] * len(COLUMNS))}"

    def add(self, words: Sequence[str]) -> None:
        """Add a row, which may be shorter than the others."""
        self.text += _line([*words, *[""] * (len(COLUMNS) - len(words))])
        if path := os.environ.get("TRACEKIT_TABLE"):
            Path(path).write_text(self.text)


def _line(words: Iterable[str]) -> str:
    return f"| {' | '.join(words)} |\n"


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    made = Table()
    yield made
    print(f"\n{made.text}", file=sys.__stderr__)


def markers(session: Path) -> str:
    """How many markers of each CPU are in the first boot's record."""
    found = found_marks(session)
    return " + ".join(str(len(set(found.get(cpu, [])))) for cpu in (0, 1))


def kept(cell: Cell) -> int:
    """How many markers of CPU 0 there must be.

    After a warm reboot the boot loader's command line attaches the region again that was recorded
    into. Kernels from 6.15 on then empty the buffer of the CPU that boots, unless the clock is
    ``local`` (docs/carriers.md).
    """
    again = cell.carrier == "carveout" and cell.down == "reboot"
    return 0 if again and version_key(need_kernel(cell.old).release) >= (6, 15) else MARKS


def row(cell: Cell, session: Path, report: Report) -> list[str]:
    old = report.boots[0]
    last = {event.cpu: event.event for event in report.last_events}
    gap = report.handovers[0].gap_ns if report.handovers else None
    return [
        *(need_kernel(name).release for name in (cell.old, cell.new)),
        cell.carrier, cell.down, markers(session), report.verdict, old.clock,
        ", ".join(f"{cpu}: {event}" for cpu, event in sorted(last.items())) or "none",
        duration(gap),
    ]  # fmt: skip


@pytest.mark.parametrize("cell", list(cells()), ids=str)
def test_journey(cell: Cell, table: Table, tmp_path: Path) -> None:
    journey = Journey(
        need_kernel(cell.old), need_kernel(cell.new), cell.carrier, cell.down,
        while_recording=marks_on_cpus(MARKS), timeout=1200,
    )  # fmt: skip
    try:
        result = guest_run(plan(journey), tmp_path)
        session = result.output / "session"
        table.add(row(cell, session, tracekit.open(session).report()))
    except Exception as error:
        table.add([cell.old, cell.new, cell.carrier, cell.down, str(error).splitlines()[0]])
        raise
    assert markers(session) == f"{kept(cell)} + {MARKS}"
