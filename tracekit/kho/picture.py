"""A small picture of physical memory: what is preserved, scratch, kernel or reserved where."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tracekit.frozen import dataclass
from tracekit.kho.item import size_text
from tracekit.kho.preserved_sum import Density

__all__ = ["LEGEND", "Picture", "Span", "draw", "parse_iomem"]

_COLUMNS, _ROWS = 32, 24
_FINEST = 1 << 20  # bytes of a cell
_MOST_LINES = 1 << 14
_MOST_SPANS = 1 << 12
_LINE = re.compile(r"^(\s*)([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.{1,100})$")

#: sign -> what it stands for; the first that is in a cell is drawn
LEGEND: Mapping[str, str] = {
    "R": "a reserve_mem region",
    "C": "reserved for a crash kernel",
    "K": "this kernel",
    "s": "scratch",
    "█": "preserved, more than half of it",
    "▒": "preserved, less",
    "░": "preserved, less than a tenth",
    "·": "other memory",
    " ": "no memory",
}


@dataclass(frozen=True, slots=True)
class Span:
    """A range of physical memory and its sign in the picture."""

    sign: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Picture:
    """``rows``: (address of the first cell, the signs); ``cell``: bytes. Rows without memory are
    left out.
    """

    cell: int
    rows: tuple[tuple[int, str], ...]

    def lines(self) -> list[str]:
        """The picture as text, with its scale and the meaning of the signs in it."""
        used = {sign for _, row in self.rows for sign in row}
        out, following = [], None
        for address, row in self.rows:
            if following is not None and address != following:
                out.append("             …")
            out.append(f"{address:#12x} {row}".rstrip())
            following = address + len(row) * self.cell
        if out:
            meaning = [f"{s} {m}" for s, m in LEGEND.items() if s in used and s != " "]
            out.append(f"one sign is {size_text(self.cell)}: {'; '.join(meaning)}")
        return out


def parse_iomem(text: str) -> list[Span]:
    """System RAM, the kernel and the crash kernel, from ``/proc/iomem``; never raises.

    Where addresses are hidden (not root) there is nothing.
    """
    spans: list[Span] = []
    for line in text.splitlines()[:_MOST_LINES]:
        match = _LINE.match(line)
        if match is None:
            continue
        start, end, name = int(match[2], 16), int(match[3], 16) + 1, match[4]
        if end <= start or end > 1 << 64 or not int(match[3], 16) or len(spans) >= _MOST_SPANS:
            continue
        if name == "System RAM" and not match[1]:
            spans.append(Span("·", start, end))
        elif name.startswith("Kernel "):
            spans.append(Span("K", start, end))
        elif name == "Crash kernel":
            spans.append(Span("C", start, end))
    return spans


def _cell_size(memory: int) -> int:
    cell = _FINEST
    while cell * _COLUMNS * _ROWS < memory:
        cell *= 2
    return cell


def _rows_of(spans: Iterable[tuple[int, int]], width: int) -> list[int]:
    """The numbers of the rows that the ranges are in; no more than can be drawn."""
    rows: set[int] = set()
    for start, end in spans:
        first, last = start // width, (end - 1) // width
        rows.update(range(first, min(last, first + 4 * _ROWS) + 1))
    return sorted(rows)[: 4 * _ROWS]


def _put(signs: dict[int, str], span: Span, cell: int, wanted: set[int]) -> None:
    """Draw a range where it has precedence over what is there."""
    order = list(LEGEND)
    first, last = span.start // cell, (span.end - 1) // cell
    for number in (n for n in wanted if first <= n <= last):
        if order.index(span.sign) < order.index(signs.get(number, " ")):
            signs[number] = span.sign


def draw(spans: Sequence[Span], density: Density | None) -> Picture:
    """The picture. A preserved cell of the map that is larger than one drawn fills all of those."""
    known = [span for span in spans if span.end > span.start]
    preserved = sorted(density.cells.items()) if density is not None else []
    grain = density.cell if density is not None else _FINEST
    memory = [(s.start, s.end) for s in known if s.sign == "·"]
    extent = memory or [(s.start, s.end) for s in known]
    extent = extent or [(n * grain, (n + 1) * grain) for n, _ in preserved]
    cell = max(_cell_size(sum(end - start for start, end in extent)), min(grain, 1 << 40))
    width = cell * _COLUMNS
    rows = _rows_of(extent, width)
    wanted = {row * _COLUMNS + i for row in rows for i in range(_COLUMNS)}
    signs: dict[int, str] = {}
    counts: dict[int, int] = {}
    for number, count in preserved:
        at = number * grain // cell
        counts[at] = counts.get(at, 0) + count
    for number, count in counts.items():
        share = count / cell
        sign = "█" if share > 0.5 else "▒" if share >= 0.1 else "░"
        _put(signs, Span(sign, number * cell, (number + 1) * cell), cell, wanted & {number})
    for span in known:
        _put(signs, span, cell, wanted)
    return Picture(
        cell,
        tuple(
            (row * width, "".join(signs.get(row * _COLUMNS + i, " ") for i in range(_COLUMNS)))
            for row in rows
        ),
    )
