"""The minimap: the whole session in two lines, its events and the timeline's window."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from textual import events
from textual.strip import Strip
from textual.widget import Widget

from tracekit.query.groups import cell_counts, cell_edges
from tracekit.text import duration
from tui.host import look_of
from tui.signs import GLYPHS
from tui.theme import RAMP, Look
from tui.timeline.cell_row import CellRow
from tui.timeline.lane_cells import heights
from tui.timeline.missing import Missing
from tui.timeline.state import GUTTER, LaneState, Scale

__all__ = ["Minimap"]


class Minimap(Widget):
    """Click or drag moves the window."""

    def __init__(self, state: LaneState) -> None:
        super().__init__()
        self._state = state
        self._drawn: tuple[object, CellRow] | None = None
        self._held: float | None = None  # where the mouse holds the window: cells from its start

    @property
    def scale(self) -> Scale:
        """The scale of the whole session."""
        first, last = self._state.model.extent
        return Scale(first, last + 1, max(self.size.width - GUTTER, 1))

    @property
    def _frame(self) -> tuple[int, int]:
        """The cells ``[start, end)`` of the window."""
        (start, end), scale = self._state.model.window, self.scale
        first = min(max(scale.cell(start), 0), scale.cells - 1)
        return first, max(first + 1, min(scale.cell(end - 1) + 1, scale.cells))

    # -- drawing ------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        look = look_of(self)
        names = CellRow(GUTTER, look.base)
        if y == 0:
            names.write(1, "session", look.dim)
            row = self._density(look).copy()
            for cell in range(*self._frame):
                row.styles[cell] += look.cursor
        else:
            first, last = self._state.model.extent
            names.write(1, duration(last - first), look.dim)
            row = self._thumb(look)
        return Strip([*names.segments(), *row.segments()], self.size.width)

    def _density(self, look: Look) -> CellRow:
        model, scale = self._state.model, self.scale
        key = scale, look, model.selection
        if self._drawn is None or self._drawn[0] != key:
            edges = cell_edges(model.ts_ns, scale.start, scale.end, scale.cells).astype(np.uint32)
            self._drawn = key, self._row(look, scale, edges)
        return self._drawn[1]

    def _row(self, look: Look, scale: Scale, edges: npt.NDArray[Any]) -> CellRow:
        model = self._state.model
        row = CellRow(scale.cells, look.base)
        counts = cell_counts(model.selection.rows, edges)
        missing = Missing(self._state.together, scale)
        missing.draw(look, [row], counts)
        if model.total:
            boots = model.recording.rows.boot[np.minimum(edges[:-1], model.total - 1)].tolist()
            for cell, level in enumerate(heights(counts, int(counts.max()), len(RAMP) - 1)):
                if level:
                    row.write(cell, RAMP[level], look.hues[boots[cell] % len(look.hues)])
        missing.draw_losses(look, row)
        for jump in self._state.jumps:
            cell = scale.cell(jump)
            row.write(cell, "┃" if row.chars[cell] in f" {GLYPHS}" else row.chars[cell], look.jump)
        return row

    def _thumb(self, look: Look) -> CellRow:
        row = CellRow(self.scale.cells, look.base)
        row.fill(0, len(row.chars), "─", look.dim)
        start, end = self._frame
        if end - start < 3:
            row.fill(start, end, "▀", look.heading)
        else:
            row.fill(start, end, "━", look.heading)
            row.write(start, "┗", look.heading)
            row.write(end - 1, "┛", look.heading)
        return row

    # -- the mouse ----------------------------------------------------------------------------

    def on_mouse_down(self, event: events.MouseDown) -> None:
        cell, (start, end) = event.x - GUTTER, self._frame
        if event.button != 1 or cell < 0:
            return
        self.capture_mouse()
        if not start <= cell < end:
            self._center(cell + 0.5)
        self._held = cell - self.scale.exact(self._state.model.window[0])

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._held is not None:
            start, end = self._state.model.window
            first = self.scale.ns(event.x - GUTTER - self._held)
            self._state.model.look_at(first, first + end - start)

    def on_mouse_up(self, _: events.MouseUp) -> None:
        self._held = None
        self.release_mouse()

    def _center(self, cell: float) -> None:
        start, end = self._state.model.window
        first = self.scale.ns(cell) - (end - start) // 2
        self._state.model.look_at(first, first + end - start)
