"""The lines of the events' table: rows, fetched when needed, and the jumps between them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tracekit.query.selection import Selection, among
from tracekit.text import duration
from tui.events.columns import Event
from tui.model import Model

__all__ = ["Jump", "Pages"]

_BLOCK = 64  # rows fetched together
_KEPT = 16  # blocks


@dataclass(frozen=True)
class Jump:
    """A line across the table, before the row at ``position``."""

    position: int
    text: str


class Pages:
    """The lines of the selection ``shown``. Positions count its rows, lines also the jumps."""

    def __init__(self, model: Model, shown: Selection, *, fields: bool = False) -> None:
        """``fields``: with typed arguments."""
        self.shown = shown
        self._model = model
        self._fields = fields
        self._blocks: dict[int, list[Event]] = {}
        self._jumps = [] if shown.order is not None else list(self._find_jumps())

    def _find_jumps(self) -> Iterator[Jump]:
        rows = self.shown.rows
        for handover in self._model.report.handovers:
            if handover.jump_ns is not None and len(self.shown):
                row = int(np.searchsorted(self._model.ts_ns, handover.jump_ns, "right"))
                position = row if rows is None else int(among(rows, row))
                dark = duration(handover.gap_ns, "for an unknown time")
                yield Jump(
                    position, f" boot {handover.old} ▲ jump: dark {dark} ▼ boot {handover.new} "
                )

    # -- lines --------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.shown) + len(self._jumps)

    def line(self, position: int) -> int:
        """The line of a row."""
        return position + bisect_right([jump.position for jump in self._jumps], position)

    def at_line(self, line: int) -> int | Jump:
        """The position of a line's row (which may not exist), or the jump on it."""
        above = 0
        for jump in self._jumps:
            if line < jump.position + above:
                break
            if line == jump.position + above:
                return jump
            above += 1
        return line - above

    # -- rows ---------------------------------------------------------------------------------

    def row(self, position: int) -> int | None:
        """The recording's row at a position."""
        page = self.shown.page(position, position + 1)
        return int(page[0]) if len(page) else None

    def event(self, position: int) -> Event | None:
        """The event at a position, None if there is none."""
        if not 0 <= position < len(self.shown):
            return None
        number, within = divmod(position, _BLOCK)
        block = self._blocks.pop(number, None) or self._fetch(number)
        self._blocks[number] = block  # moved to the end: the most recently used
        if len(self._blocks) > _KEPT:
            del self._blocks[next(iter(self._blocks))]
        return block[within]

    def _fetch(self, number: int) -> list[Event]:
        recording, shown, ts = self._model.recording, self.shown.rows, self._model.ts_ns
        rows = self.shown.page(number * _BLOCK, (number + 1) * _BLOCK)
        before = rows - 1
        if shown is not None:
            places = among(shown, rows) - 1
            before = np.where(places < 0, -1, shown[np.maximum(places, 0)].astype(np.int64))
        since = (ts[rows] - ts[np.maximum(before, 0)]).tolist()
        values = recording.table(rows).to_pylist()
        fields: list[dict[str, Any]] = recording.fields(rows) if self._fields else [{}] * len(rows)
        every = zip(rows.tolist(), values, before.tolist(), since, fields, strict=True)
        return [Event(a, v, s if b >= 0 else None, f) for a, v, b, s, f in every]
