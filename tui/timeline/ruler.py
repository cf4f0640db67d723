"""The time axis: its ticks and labels, and the ruler that shows them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from tracekit.frozen import dataclass
from tracekit.text import UNITS
from tui.host import look_of
from tui.theme import Look
from tui.timeline.cell_row import CellRow
from tui.timeline.state import GUTTER, LaneState

__all__ = ["Ruler", "Ticks", "instant", "ticks"]

_ROOM = 10  # cells from one tick to the next, at least


def _exact(ns: int, size: int, unit: str, digits: int) -> str:
    whole, part = divmod(abs(ns), size)
    text = f"{'-' if ns < 0 else ''}{whole}"
    if digits:
        text += f".{part:0{len(str(size)) - 1}d}"[: digits + 1]
    return f"{text} {unit}"


def _unit(most: int) -> tuple[int, str]:
    return next(((size, unit) for size, unit in UNITS if most >= size), UNITS[-1])


def instant(ns: int) -> str:
    """A time to the nanosecond: ``-2.890503 ms``."""
    size, unit = _unit(abs(ns))
    return _exact(ns, size, unit, len(str(size)) - 1)


def _zeros(ns: int) -> int:
    text = str(ns)
    return len(text) - len(text.rstrip("0"))


@dataclass(frozen=True, slots=True)
class Ticks:
    """``at``: the instants (ns); ``labels``: relative to ``base``, which ``origin`` names.

    ``origin`` is "" if the labels are absolute.
    """

    at: Sequence[int]
    labels: Sequence[str]
    base: int = 0
    origin: str = ""


def ticks(start: int, end: int, cells: int) -> Ticks:
    """The ticks of a ruler ``cells`` wide over ``[start, end)``: every 1, 2 or 5 of some unit.

    If the labels would have too many digits to fit between the ticks, they are relative to a round
    instant before them.
    """
    least = max(1, -(-(end - start) * _ROOM // max(cells, 1)))
    power = 10 ** (len(str(least)) - 1)
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= least)
    instants = range(-(-start // step) * step, end, step)
    labels = _labels(instants, max(abs(start), abs(end)), step)
    if max(map(len, labels), default=0) < cells * step // (end - start):
        return Ticks(instants, labels)
    whole = 10 ** len(str(end - start))
    base = start // whole * whole
    offsets = [f"+{label}" for label in _labels([t - base for t in instants], end - base, step)]
    return Ticks(instants, offsets, base, _labels([base], abs(base), whole)[0])


def _labels(instants: Sequence[int], most: int, step: int) -> list[str]:
    """Multiples of ``step`` in the unit that fits ``most``, with as many digits as they need."""
    size, unit = _unit(most)
    digits = max(0, len(str(size)) - 1 - _zeros(step))
    return [_exact(t, size, unit, digits) if t else "0" for t in instants]


class Ruler(Widget):
    """The ticks, and the jumps, marks, bookmarks and cursor on the axis."""

    def __init__(self, state: LaneState) -> None:
        super().__init__()
        self._state = state

    def render_line(self, y: int) -> Strip:
        look = look_of(self)
        scale = self._state.scale(self.size.width)
        row = CellRow(scale.cells, look.base)
        drawn = ticks(scale.start, scale.end, scale.cells)
        signs = [(scale.cell(ns), sign, style) for ns, sign, style in self._signs(look)
                 if scale.start <= ns < scale.end]  # fmt: skip
        taken = {cell for at, sign, _ in signs if sign != "▼" for cell in range(at, at + len(sign))}
        cursor = self._state.model.cursor_ns
        if not scale.start <= cursor < scale.end:
            taken.add(0 if cursor < scale.start else scale.cells - 1)
        for ns, label in zip(drawn.at, drawn.labels, strict=True):
            cell = scale.cell(ns)
            row.write(cell, "│", look.dim)
            # a part of a number is another number: it is written whole, or not at all
            room = range(cell + 1, cell + 1 + len(label))
            if room.stop <= scale.cells and taken.isdisjoint(room):
                row.write(cell + 1, label, look.base)
        for cell, sign, style in signs:
            if sign == "▼" and row.chars[cell] not in " │":
                sign, style = row.chars[cell], Style(reverse=True)  # labels stay to be read
            fits = cell + len(sign.rstrip()) <= scale.cells
            row.write(cell, sign if fits else sign[0], style)
        if cursor < scale.start or cursor >= scale.end:
            row.write(0 if cursor < scale.start else scale.cells - 1,
                      "◂" if cursor < scale.start else "▸", look.mark)  # fmt: skip
        names = CellRow(GUTTER, look.base)
        names.write(1, drawn.origin or "time", look.heading if drawn.origin else look.dim)
        return Strip([*names.segments(), *row.segments()], self.size.width)

    def _signs(self, look: Look) -> Iterator[tuple[int, str, Style]]:
        """(instant, what to write there, style), the most important last."""
        model = self._state.model
        for ns in self._state.bookmarked(self._state.scale(self.size.width)):
            yield ns, "◆", look.mark
        for jump in self._state.jumps:
            yield jump, "┃0 jump " if jump == 0 else "┃jump ", look.jump
        yield model.cursor_ns, "▼", look.strong
        for name, mark in zip("AB", model.marks, strict=True):
            if mark is not None:
                yield mark, name, look.mark + Style(reverse=True)
