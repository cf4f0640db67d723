"""How the time is drawn in which no event does not mean that nothing happened."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from rich.style import Style
from rich.text import Text

from tracekit.analysis.stretches import KINDS, Kind, Stretches
from tui.signs import MISSING, Sign
from tui.theme import Look
from tui.timeline.cell_row import CellRow
from tui.timeline.state import Scale

__all__ = ["Missing", "legend"]

_Array = npt.NDArray[Any]
_T = TypeVar("_T")


_BY_KIND = {sign.kind: sign for sign in MISSING}
_UNKNOWN = _BY_KIND["unknown"]


def legend(look: Look, kinds: Collection[Kind]) -> Text:
    """What the signs of these kinds mean, in a line."""
    text = Text(no_wrap=True)
    for glyph, signs in groupby((s for s in MISSING if s.kind in kinds), lambda sign: sign.glyph):
        mine = list(signs)
        text.append(glyph, getattr(look, mine[0].style))
        text.append(f" {', '.join(sign.word for sign in mine)}  ")
    return text


class Missing:
    """What the cells of one lane at one scale are, apart from their events."""

    def __init__(self, stretches: Stretches, scale: Scale) -> None:
        drawn, short = stretches.cells(scale.start, scale.end, scale.cells)
        self._codes = np.where(drawn == KINDS.index("stopping"), 0, drawn)
        self._short = short

    def blocked(self, counts: _Array) -> _Array:
        """Which cells without events are not quiet; ``counts``: events of each cell."""
        blocked: _Array = (counts == 0) & ((self._codes > 0) | (self._short > 0))
        return blocked

    def _shown(self, counts: _Array) -> list[Sign | None]:
        """The sign of each cell that has no events."""
        codes = np.where(self._short > 0, self._short, self._codes)
        return [_BY_KIND.get(KINDS[code]) for code in np.where(counts == 0, codes, 0).tolist()]

    def draw(self, look: Look, rows: Sequence[CellRow], counts: _Array) -> None:
        """Fill the cells without events."""
        for cell, sign in enumerate(self._shown(counts)):
            for row in rows if sign is not None else ():
                row.chars[cell], row.styles[cell] = _drawn(look, sign)

    def draw_losses(self, look: Look, row: CellRow) -> None:
        """Mark the losses that are shorter than a cell, above the events of the cell."""
        for cell in np.flatnonzero(self._short).tolist():
            row.chars[cell], row.styles[cell] = _drawn(look, _BY_KIND[KINDS[self._short[cell]]])

    def draw_state(self, look: Look, row: CellRow) -> None:
        """Fill all cells for the line of tasks: what runs is unknown but on a stopped CPU."""
        for cell, code in enumerate(self._codes.tolist()):
            sign = _BY_KIND.get(KINDS[code], _UNKNOWN)
            row.chars[cell], row.styles[cell] = _drawn(look, _task_sign(sign))

    def words(self, counts: _Array) -> Iterator[tuple[int, int, str]]:
        """(start, end, word) of each run of cells that are alike and have no events."""
        for start, end, sign in _runs(self._shown(counts)):
            if sign is not None:
                yield start, end, sign.word

    def untold(self, known: _Array) -> Iterator[tuple[int, int]]:
        """(start, end) of each run of cells that were recorded, but not which task ran."""
        for start, end, here in _runs(((self._codes == 0) & ~known).tolist()):
            if here:
                yield start, end


def _runs(values: Iterable[_T]) -> Iterator[tuple[int, int, _T]]:
    """(start, end, value) of each run of cells of the same value."""
    start = 0
    for value, run in groupby(values):
        end = start + len(list(run))
        yield start, end, value
        start = end


def _task_sign(sign: Sign) -> Sign:
    """Where the record ends, nothing is known of what ran then."""
    return _UNKNOWN if sign.kind == "ended" else sign


def _drawn(look: Look, sign: Sign | None) -> tuple[str, Style]:
    if sign is None:
        return " ", look.base
    style: Style = getattr(look, sign.style)
    return sign.glyph, style
