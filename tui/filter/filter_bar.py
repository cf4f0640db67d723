"""``f``: the filter line; its result is previewed while it is typed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy.typing as npt
from rich.text import Text
from textual.binding import Binding, BindingType

from tracekit.query.expr import Expr, QueryError, terms
from tracekit.query.match import read
from tracekit.query.scan import Hits, scan
from tracekit.query.selection import Selection
from tui.filter.query_bar import QueryBar
from tui.filter.saved import SavedFilters
from tui.host import host_of
from tui.jobs import Job, start

__all__ = ["FilterBar"]

_SHOWN = 0.1  # seconds between two counts
_FIRST_VIEW = 0.3  # seconds until the first partial result is shown; then twice as long, ...

_Rows = npt.NDArray[Any]


@dataclass(frozen=True)
class _StateBefore:
    """What Escape goes back to; ``unfinished``: the filter was still running."""

    unfinished: bool
    selection: Selection
    where: str
    cursor: int
    window: tuple[int, int]


class FilterBar(QueryBar):
    """The filter line."""

    prompt = "filter"
    hint = "event ~ sched_* and prev_comm = kexec and cpu = 0"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "saved", "Save, saved")]

    def __init__(self) -> None:
        super().__init__()
        self._before: _StateBefore | None = None
        self._run_number = 0  # counts the runs: results of an earlier one are ignored
        self._cursor_put = 0  # the row that the cursor was put on
        self._kept: str | None = None  # the filter to keep, while it is still running

    # -- the line -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the line with the filter there is."""
        model = self.model
        where = model.where if self._kept is None else self._kept
        self._before = _StateBefore(
            self._kept is not None, model.selection, where, model.cursor, model.window
        )
        self.open(where)
        self._say_count(len(model.selection), None)

    def typed(self, text: str) -> bool:
        """Say at once what is wrong with the expression."""
        self._stop()
        try:
            read(text, self.names)
        except QueryError as error:
            self.say_error(error.what)
            return False
        self.say(Text(" …", self.look.dim))
        return True

    def work_on(self, text: str) -> None:
        """Preview the result."""
        anchor = self._before.cursor if self._before else self.model.cursor
        self._run(text, read(text, self.names), anchor, keep=False)

    def entered(self, text: str) -> None:
        """Keep the filter and close the line."""
        if not self.typed(text):
            return
        self.input.remember(text.strip())
        anchor = self._before.cursor if self._before else self.model.cursor
        self._before = None
        self.leave()
        self.display = False
        self._run(text, read(text, self.names), anchor, keep=True)

    def action_cancel(self) -> None:
        """Go back to what was shown before."""
        self._stop()
        before, self._before = self._before, None
        self.leave()
        self.display = False
        if before is not None and before.unfinished:
            self.apply(before.where)
        elif before is not None:
            self.model.select(before.selection, before.where)
            self.model.look_at(*before.window)
            self.model.move_to(before.cursor)

    def action_saved(self) -> None:
        """Save the filter under a name, or choose a saved one."""
        text = self.input.value.strip() if self.typed(self.input.value) else ""

        def chosen(where: str | None) -> None:
            self.input.focus()
            self.input.value = self.input.value if where is None else where
            self.input.cursor_position = len(self.input.value)
            if self.typed(self.input.value):
                self.work_on(self.input.value)

        self.app.push_screen(SavedFilters(self.model.notes, text), chosen)

    # -- the work -----------------------------------------------------------------------------

    def apply(self, text: str) -> None:
        """Show only what meets ``text``, everything if it is empty; raises :class:`QueryError`."""
        self._run(text, read(text, self.names), self.model.cursor, keep=True)

    def _stop(self) -> None:
        self._run_number += 1
        self._kept = None
        self.model.set_pending(False)
        self.app.workers.cancel_group(self.app, "filter")
        host_of(self).show_progress("filter", 1, 1)

    def _run(self, text: str, expr: Expr, origin: int, *, keep: bool) -> None:
        """Find what meets ``expr``, from row ``origin`` on; the cursor stays near that row."""
        self._stop()
        model, number = self.model, self._run_number
        text = text.strip()
        self._kept = text if keep else None
        self._cursor_put = model.cursor
        everything = Selection(model.total)
        if not terms(expr):
            self._show(number, text, None, origin, keep=keep)
            return

        def work(job: Job) -> _Rows:
            hits, begun = Hits(origin), time.monotonic()
            last_count, view = begun, _FIRST_VIEW
            for piece in scan(model.recording, expr, model.index, everything, origin):
                hits.add(piece.rows)
                job.step(piece.done, piece.total)
                now = time.monotonic()
                if now - last_count < _SHOWN:
                    continue
                last_count, share = now, piece.done * 100 // piece.total
                self.app.call_from_thread(self._show_share, number, len(hits), share)
                if now - begun > view and len(hits):
                    view *= 2
                    self.app.call_from_thread(self._select, number, text, hits.rows(), origin)
            return hits.rows()

        def then(rows: _Rows) -> None:
            self._show(number, text, rows, origin, keep=keep)

        model.set_pending(True)
        start(host_of(self), "filter", work, then)

    def _show_share(self, number: int, count: int, share: int) -> None:
        if number == self._run_number:
            self._say_count(count, share)

    def _select(self, number: int, text: str, rows: _Rows | None, origin: int) -> None:
        if number != self._run_number:
            return
        model, selection = self.model, Selection(self.model.total, rows)
        waits = model.cursor == self._cursor_put  # else the user has gone elsewhere meanwhile
        model.select(selection, text)
        row = selection.nearest(origin)
        if waits and row is not None:
            model.move_to(row)
            self._cursor_put = row

    def _show(self, number: int, text: str, rows: _Rows | None, origin: int, *, keep: bool) -> None:
        """Show the result; an empty one only if ``keep``, as a preview of nothing does not help."""
        if number != self._run_number:
            return
        self._kept = None
        self.model.set_pending(False)
        total = self.model.total
        count = total if rows is None else len(rows)
        self._say_count(count, None)
        if count or keep:
            self._select(number, text, None if count == total else rows, origin)
        if keep and not count and total:
            host_of(self).say("no event meets the filter; escape takes it away")

    def _say_count(self, count: int, share: int | None) -> None:
        note = Text()
        note.append(f" {count:,}", self.look.strong)
        note.append(f" of {self.model.total:,} events")
        if share is not None:
            note.append(f", {share} % looked at", self.look.good)
        self.say(note)
