"""A row of terminal cells to draw into, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from tracekit.text import printable

__all__ = ["CellRow", "one_line"]


def one_line(text: str) -> str:
    """``text`` with every character one cell wide: a recorded name may hold any."""
    text = printable(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if cell_len(c) == 1 and c.isprintable() else " " if c.isspace() else "?" for c in text
    )


class CellRow:
    """``chars`` and ``styles``, one of each per cell; the styles are put on ``base``."""

    __slots__ = ("base", "chars", "styles")

    def __init__(self, cells: int, base: Style) -> None:
        self.base = base
        self.chars = [" "] * cells
        self.styles = [base] * cells

    def copy(self) -> CellRow:
        """A copy."""
        row = CellRow(0, self.base)
        row.chars, row.styles = self.chars.copy(), self.styles.copy()
        return row

    def write(self, at: int, text: str, style: Style, end: int | None = None) -> None:
        """Write ``text`` (of characters one cell wide) from cell ``at`` on, clipped to the row."""
        end = len(self.chars) if end is None else min(end, len(self.chars))
        for cell in range(max(at, 0), min(at + len(text), end)):
            self.chars[cell] = text[cell - at]
            self.styles[cell] = style

    def fill(self, start: int, end: int, char: str, style: Style) -> None:
        """Put the same character on the cells ``[start, end)``."""
        start, end = max(start, 0), min(end, len(self.chars))
        if end > start:
            self.chars[start:end] = char * (end - start)
            self.styles[start:end] = [style] * (end - start)

    def segments(self) -> Iterator[Segment]:
        """The cells as segments, one per run of the same style."""
        start = 0
        for style, run in groupby(self.styles):
            end = start + len(list(run))
            yield Segment("".join(self.chars[start:end]), self.base + style)
            start = end
