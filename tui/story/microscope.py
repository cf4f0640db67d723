"""The blackout under the microscope: an axis of pieces, each with a scale of its own.

Milliseconds of the old kernel and seconds of dark are both legible; where the scale changes, ``≈``
breaks the axis, and under each piece is how long it is and what a cell of it is.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.style import Style
from rich.text import Text

from tracekit.browse.around_jump import CpuRan
from tracekit.report.phases import Phase
from tracekit.text import duration, printable
from tui.theme import Look

__all__ = ["Piece", "axis_text", "cell_of", "cpu_text", "kind_of", "pieces"]

BREAK = "≈"
_LEAST, _FEWEST = 16, 8  # cells of a piece, where there is room; else
_ROOMY = 76  # cells
_LONG = {"old": "old kernel ", "dark": "dark: nothing can record ", "new": "new kernel ",
         "unknown": "unknown: no event tells "}  # fmt: skip
_SHORT = {"old": "old ", "dark": "dark ", "new": "new ", "unknown": "unknown "}


def kind_of(phase: Phase, old: int) -> str:
    """Whether it is of the old or the new kernel, or dark."""
    if phase.name.startswith("dark"):
        return "dark"
    return "old" if phase.boot == old else "new"


@dataclass(frozen=True)
class Piece:
    """A stretch of the axis with one scale: ``cells`` cells from ``at`` on for its ns."""

    kind: str
    start_ns: int
    end_ns: int
    at: int
    cells: int
    phases: tuple[Phase, ...]

    @property
    def per_cell(self) -> float:
        """How many ns a cell is."""
        return (self.end_ns - self.start_ns) / self.cells


def _stretches(phases: Sequence[Phase], old: int) -> list[tuple[str, int, int, list[Phase]]]:
    """(kind, start, end, phases) of what follows one another, what no phase covers in between."""
    found: list[tuple[str, int, int, list[Phase]]] = []
    for kind, group in groupby(phases, lambda phase: kind_of(phase, old)):
        mine = list(group)
        start = min(p.start_ns or 0 for p in mine)
        end = max((p.start_ns or 0) + (p.duration_ns or 0) for p in mine)
        if found and start > found[-1][2]:
            found.append(("unknown", found[-1][2], start, []))
        start = max(start, found[-1][2]) if found else start
        if end > start:
            found.append((kind, start, end, mine))
    return found


def pieces(phases: Sequence[Phase], old: int, width: int) -> list[Piece]:
    """The axis, ``width`` cells in all; none if nothing is timed, or there is no room."""
    stretches = _stretches(phases, old)
    room = width - max(0, len(stretches) - 1)
    least = _LEAST if width >= _ROOMY else _FEWEST
    if not stretches or room < least * len(stretches):
        return []
    weights = [(end - start) ** (1 / 3) for _, start, end, _ in stretches]
    spare = room - least * len(stretches)
    cells = [least + int(spare * weight / sum(weights)) for weight in weights]
    cells[-1] += room - sum(cells)
    found, at = list[Piece](), 0
    for (kind, start, end, mine), wide in zip(stretches, cells, strict=True):
        found.append(Piece(kind, start, end, at, wide, tuple(mine)))
        at += wide + 1
    return found


def cell_of(axis: Sequence[Piece], ns: int) -> int:
    """The cell of an instant; that of the nearest piece if it is on none."""
    place = max(0, bisect_right(axis, ns, key=lambda piece: piece.start_ns) - 1)
    piece = axis[place]
    inside = int((ns - piece.start_ns) / piece.per_cell)
    return piece.at + min(max(inside, 0), piece.cells - 1)


def _style(look: Look, kind: str) -> Style:
    style: Style = getattr(look, "dark" if kind == "unknown" else kind)
    return style


def axis_text(axis: Sequence[Piece], look: Look) -> Text:
    """Two lines: the phases, neighbours in different shades; and the scales."""
    bars, labels = Text(no_wrap=True), Text(no_wrap=True)
    for number, piece in enumerate(axis):
        if number:
            bars.append(BREAK, look.dim)
        style = _style(look, piece.kind)
        labels.append(" " * (piece.at - labels.cell_len))
        labels.append(_label(piece), style)
        if piece.kind in ("dark", "unknown"):
            bars.append("░" * piece.cells, style)
            continue
        for cell in range(piece.cells):
            middle = piece.start_ns + (cell + 0.5) * piece.per_cell
            here = [n for n, p in enumerate(piece.phases) if (p.start_ns or 0) <= middle]
            shaded = bool(here) and here[-1] % 2 == 1
            bars.append("▓" if shaded else "█", look.shade(style) if shaded else style)
    return bars.append("\n").append_text(labels)


def _label(piece: Piece) -> str:
    took = duration(piece.end_ns - piece.start_ns)
    cell = f"{duration(round(piece.per_cell))} a cell"
    texts = [f"{_LONG[piece.kind]}{took}, {cell}", f"{_SHORT[piece.kind]}{took}, {cell}",
             f"{took}, {cell}", f"{_SHORT[piece.kind]}{took}", took]  # fmt: skip
    return next((text for text in texts if len(text) <= piece.cells), "")


def cpu_text(axis: Sequence[Piece], ran: CpuRan, jump_ns: int, look: Look) -> Text:
    """A CPU's row: what it ran, on the axis; in the dark what it ran last, and how sure that is."""
    width = axis[-1].at + axis[-1].cells
    chars, styles = ["░"] * width, [look.dark] * width  # unknown, as in the timeline
    untold = {cell for piece in axis if piece.kind in ("dark", "unknown")
              for cell in range(piece.at, piece.at + piece.cells)}  # fmt: skip
    for turn in ran.turns:
        first, last = cell_of(axis, turn.start_ns), cell_of(axis, turn.end_ns)
        sign = "╌" if turn.task == "idle" else "▒" if turn.inferred else "█"
        style = look.dim if turn.task == "idle" else look.of_task(turn.task.rpartition("-")[0])
        for cell in range(first, last + 1):
            if cell not in untold and (chars[cell] in "░╌" or sign != "╌"):
                chars[cell], styles[cell] = sign, style
    for piece in axis[1:]:
        chars[piece.at - 1], styles[piece.at - 1] = BREAK, look.dim
    _write(axis, ran, jump_ns, chars, styles)
    text = Text(no_wrap=True)
    for style, run in groupby(range(width), lambda cell: styles[cell]):
        text.append("".join(chars[cell] for cell in run), style)
    return text


def _write(
    axis: Sequence[Piece], ran: CpuRan, jump_ns: int, chars: list[str], styles: list[Style]
) -> None:
    task = printable(ran.task)
    since, seen = (duration(ns - jump_ns) for ns in (ran.since_ns, ran.seen_ns))
    upto = f", seen up to {seen}" if ran.seen_ns > ran.since_ns else ", no event after"
    sure = "lost events since" if ran.cut else "" if ran.switched else "inferred"
    texts = [
        f" CPU {ran.cpu} {task} since {since}{upto}{', ' if sure else ''}{sure} ",
        f" CPU {ran.cpu} {task} since {since}{', ' if sure else ''}{sure} ",
        f" CPU {ran.cpu} {task} since {since}{'?' if sure else ''} ",
        f" CPU {ran.cpu} {task}{'?' if sure else ''} ",
        f" CPU {ran.cpu} ",
    ]
    piece = max(axis, key=lambda p: (p.kind == "dark", p.cells))
    text = next((t for t in texts if len(t) <= piece.cells - 2), "")
    first = piece.at + 1
    for number, char in enumerate(text):
        chars[first + number], styles[first + number] = char, Style(bold=True)
