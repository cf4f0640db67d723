"""The model that all views share: recording, selection, cursor, time window, marks and notes.

Views change it through its methods and follow it through its signals; no view knows another.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import numpy as np
import numpy.typing as npt
from textual.app import App
from textual.signal import Signal

from tracekit.browse.open import Opened
from tracekit.browse.subject import Subject, rows_of
from tracekit.query.selection import Selection
from tracekit.session.notes import Bookmark, Notes

__all__ = ["Model"]

_NARROWEST = 40  # ns that a window shows at least
_GAP = 16  # a gap is at least this part of the window, unless the user says how long
_AROUND = 0.05  # margin on either side, as a share of a stretch


class Model:
    """``cursor``: the current row. ``window``: the time the timeline shows, in ns.

    ``gap``: how long a gap is at least, ns; None: a part of the window (:attr:`least_gap`).

    ``marks``: the two instants to measure between, None if not set. ``where``: the text
    of the filter that made ``selection``; ``pending``: whether another filter is running.
    ``marked``: the name of what is between the marks. ``matches``: the rows that the search found
    so far, to be highlighted (uint32, ascending).
    """

    def __init__(self, app: App[Any], opened: Opened) -> None:
        self.recording = opened.recording
        self.report = opened.report
        self.index = opened.index
        self.coverage = opened.coverage
        self.release = opened.release
        self.ts_ns = opened.recording.axis.ts_ns
        self.total = len(opened.recording)
        self.selection = Selection(self.total)
        self.where = ""
        self.pending = False
        self.cursor = 0
        self.marks: tuple[int | None, int | None] = (None, None)
        self.marked = ""
        first, last = (int(self.ts_ns[0]), int(self.ts_ns[-1])) if self.total else (0, 0)
        self.extent = (first, max(last + 1, first + _NARROWEST))
        self.window = self.extent
        self.gap: int | None = None
        self.cursor_changed: Signal[int] = Signal(app, "cursor")
        self.window_changed: Signal[tuple[int, int]] = Signal(app, "window")
        self.selection_changed: Signal[Selection] = Signal(app, "selection")
        self.pending_changed: Signal[bool] = Signal(app, "pending")
        self.marks_changed: Signal[tuple[int | None, int | None]] = Signal(app, "marks")
        self.matches: npt.NDArray[np.uint32] = np.empty(0, np.uint32)
        self.matches_changed: Signal[npt.NDArray[np.uint32]] = Signal(app, "matches")
        self.notes = Notes.load(opened.recording.session)
        self.notes_changed: Signal[Notes] = Signal(app, "notes")

    # -- the cursor ---------------------------------------------------------------------------

    @property
    def cursor_ns(self) -> int:
        """When the event under the cursor happened."""
        return int(self.ts_ns[self.cursor]) if self.total else 0

    @property
    def boot_at_cursor(self) -> int:
        """The boot of the event under the cursor; the oldest where there is none."""
        boots = self.recording.rows.boot
        return int(boots[self.cursor]) if self.total else self.recording.boots[0].index

    def move_to(self, row: int) -> None:
        """Put the cursor on a row; the window follows when the row lies outside."""
        if not self.total:
            return
        row = min(max(row, 0), self.total - 1)
        if row != self.cursor:
            self.cursor = row
            self.cursor_changed.publish(row)
        start, end = self.window
        if not start <= self.cursor_ns < end:
            half = (end - start) // 2
            self.look_at(self.cursor_ns - half, self.cursor_ns - half + (end - start))

    def go(self, ns: int) -> None:
        """Put the cursor on the first shown event at or after ``ns``."""
        row = self.selection.nearest(int(np.searchsorted(self.ts_ns, ns)))
        if row is not None:
            self.move_to(row)

    # -- the window ---------------------------------------------------------------------------

    def look_at(self, start: int, end: int) -> None:
        """Show that time, limited to the session (with a margin) and a least width."""
        first, last = self.extent
        margin = max(1, int((last - first) * _AROUND))
        first, last = first - margin, last + margin
        span = min(max(end - start, _NARROWEST), last - first)
        start = min(max((start + end - span) // 2, first), last - span)
        if (start, start + span) != self.window:
            self.window = (start, start + span)
            self.window_changed.publish(self.window)

    @property
    def least_gap(self) -> int:
        """From how many ns on a stretch without events is a gap."""
        return self.gap or max(1, (self.window[1] - self.window[0]) // _GAP)

    def set_gap(self, ns: int | None) -> None:
        """Set it, or (None) leave it to the window."""
        self.gap = ns
        self.window_changed.publish(self.window)

    def zoom(self, factor: float, around: int) -> None:
        """Make the window ``factor`` times as wide; ``around`` (ns) stays where it is."""
        start, end = self.window
        span = max(_NARROWEST, round((end - start) * factor))
        share = (around - start) / (end - start)
        self.look_at(around - round(span * share), around - round(span * share) + span)

    def fit(self, start: int, end: int) -> None:
        """Show a stretch with a little around it; the cursor goes there if it is elsewhere."""
        around = max(_NARROWEST, int((end - start) * _AROUND))
        self.look_at(start - around, end + around)
        if not start <= self.cursor_ns <= end:
            self.go(start)

    def go_to_span(self, start: int, end: int) -> None:
        """Show a stretch with a little around it; the cursor goes to its first event."""
        around = max(_NARROWEST, int((end - start) * _AROUND))
        self.look_at(start - around, end + around)
        self.go(start)

    # -- what is shown ------------------------------------------------------------------------

    def select(self, selection: Selection, where: str = "") -> None:
        """Show these events; the cursor goes to the nearest of them."""
        self.selection, self.where = selection, where
        self.selection_changed.publish(selection)
        row = selection.nearest(self.cursor)
        if row is not None:
            self.move_to(row)

    def set_pending(self, pending: bool) -> None:
        """Set whether a filter is running, so that the selection is not final."""
        if pending != self.pending:
            self.pending = pending
            self.pending_changed.publish(pending)

    def set_matches(self, rows: npt.NDArray[np.uint32]) -> None:
        """Highlight these rows."""
        self.matches = rows
        self.matches_changed.publish(rows)

    def set_mark(self, which: int, ns: int | None) -> None:
        """Set (or, with None, clear) mark 0 or 1."""
        self.marks = (ns, self.marks[1]) if which == 0 else (self.marks[0], ns)
        self.marked = ""
        self.marks_changed.publish(self.marks)

    def mark_span(self, start: int, end: int, name: str) -> None:
        """Set both marks around something that has a name: tables and counts are then of it."""
        self.marks, self.marked = (start, end), name
        self.marks_changed.publish(self.marks)

    @property
    def subject(self) -> Subject:
        """What tables and counts are of: what lies between the marks, of what the filter left."""
        a, b = self.marks
        span = None if a is None or b is None else (min(a, b), max(a, b))
        return Subject(span, self.where, self.marked)

    def count(self) -> int:
        """How many events that is."""
        rows = rows_of(self.subject, self.ts_ns, self.selection)
        return len(rows)

    # -- notes --------------------------------------------------------------------------------

    def bookmark_at(self, row: int) -> Bookmark | None:
        """The bookmark on a row."""
        if not self.notes.bookmarks:
            return None
        rows = self.recording.rows
        key = (int(rows.boot[row]), int(rows.cpu[row]), int(rows.ts_raw[row]))
        return next((b for b in self.notes.bookmarks if (b.boot, b.cpu, b.ts_raw) == key), None)

    def set_bookmark(self, row: int, note: str) -> None:
        """Note something about a row. Does not save it."""
        rows, old = self.recording.rows, self.bookmark_at(row)
        new = Bookmark(
            int(rows.boot[row]), int(rows.cpu[row]), int(rows.ts_raw[row]),
            int(self.ts_ns[row]), note,
        )  # fmt: skip
        kept = [b for b in self.notes.bookmarks if b is not old]
        self._bookmark([*kept, new])

    def drop_bookmark(self, mark: Bookmark) -> None:
        """Take a bookmark away. Does not save it."""
        self._bookmark([b for b in self.notes.bookmarks if b != mark])

    def _bookmark(self, bookmarks: list[Bookmark]) -> None:
        self.notes.bookmarks = sorted(bookmarks, key=lambda b: b.ts_ns)
        self.notes_changed.publish(self.notes)

    def row_of(self, mark: Bookmark) -> int | None:
        """The row a bookmark is on; None if the session has no such event."""
        rows, mine = self.recording.rows, self.index.cpus.of(mark.cpu)

        def key(i: int) -> tuple[int, int]:
            return int(rows.boot[mine[i]]), int(rows.ts_raw[mine[i]])

        wanted = (mark.boot, mark.ts_raw)
        place = bisect_left(range(len(mine)), wanted, key=key)
        return int(mine[place]) if place < len(mine) and key(place) == wanted else None
