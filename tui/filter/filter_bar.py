"""``f``: the line that filters the events, with what it leaves shown while it is typed."""

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
_FIRST_VIEW = 0.3  # seconds after which what was found so far is shown; then twice as long, ...

_Rows = npt.NDArray[Any]


@dataclass(frozen=True)
class _Before:
    """What Escape goes back to; ``unfinished``: the filter was still being worked on."""

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
        self._before: _Before | None = None
        self._turn = 0  # counts the runs: what an earlier one still sends is not wanted
        self._put = 0  # the row that the cursor was put on
        self._kept: str | None = None  # the filter that is to stay while it is worked on

    # -- the line -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the line with the filter there is."""
        model = self.model
        where = model.where if self._kept is None else self._kept
        self._before = _Before(
            self._kept is not None, model.selection, where, model.cursor, model.window
        )
        self.open(where)
        self._say_count(len(model.selection), None)

    def typed(self, text: str) -> bool:
        """Say at once what is wrong with it."""
        self._stop()
        try:
            read(text, self.names)
        except QueryError as error:
            self.say_error(error.what)
            return False
        self.say(Text(" …", self.look.dim))
        return True

    def work_on(self, text: str) -> None:
        """Show what it leaves."""
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

        def chosen(found: str | None) -> None:
            self.input.focus()
            self.input.value = self.input.value if found is None else found
            self.input.cursor_position = len(self.input.value)
            if self.typed(self.input.value):
                self.work_on(self.input.value)

        self.app.push_screen(SavedFilters(self.model.notes, text), chosen)

    # -- the work -----------------------------------------------------------------------------

    def apply(self, text: str) -> None:
        """Show only what meets ``text``, everything if it is empty; raises :class:`QueryError`."""
        self._run(text, read(text, self.names), self.model.cursor, keep=True)

    def _stop(self) -> None:
        self._turn += 1
        self._kept = None
        self.model.set_pending(False)
        self.app.workers.cancel_group(self.app, "filter")
        host_of(self).show_progress("filter", 1, 1)

    def _run(self, text: str, expr: Expr, origin: int, *, keep: bool) -> None:
        """Find what meets ``expr``, from row ``origin`` on; the cursor stays as near to it."""
        self._stop()
        model, turn = self.model, self._turn
        text = text.strip()
        self._kept = text if keep else None
        self._put = model.cursor
        everything = Selection(model.total)
        if not terms(expr):
            self._show(turn, text, None, origin, keep=keep)
            return

        def work(job: Job) -> _Rows:
            hits, begun = Hits(origin), time.monotonic()
            said, view = begun, _FIRST_VIEW
            for found in scan(model.recording, expr, model.index, everything, origin):
                hits.add(found.rows)
                job.step(found.done, found.total)
                now = time.monotonic()
                if now - said < _SHOWN:
                    continue
                said, share = now, found.done * 100 // found.total
                self.app.call_from_thread(self._grown, turn, len(hits), share)
                if now - begun > view and len(hits):
                    view *= 2
                    self.app.call_from_thread(self._select, turn, text, hits.rows(), origin)
            return hits.rows()

        def then(rows: _Rows) -> None:
            self._show(turn, text, rows, origin, keep=keep)

        model.set_pending(True)
        start(host_of(self), "filter", work, then)

    def _grown(self, turn: int, count: int, share: int) -> None:
        if turn == self._turn:
            self._say_count(count, share)

    def _select(self, turn: int, text: str, rows: _Rows | None, origin: int) -> None:
        if turn != self._turn:
            return
        model, selection = self.model, Selection(self.model.total, rows)
        waits = model.cursor == self._put  # else the user has gone elsewhere meanwhile
        model.select(selection, text)
        row = selection.nearest(origin)
        if waits and row is not None:
            model.move_to(row)
            self._put = row

    def _show(self, turn: int, text: str, rows: _Rows | None, origin: int, *, keep: bool) -> None:
        """Show the result; a preview of nothing would only take the picture away."""
        if turn != self._turn:
            return
        self._kept = None
        self.model.set_pending(False)
        total = self.model.total
        count = total if rows is None else len(rows)
        self._say_count(count, None)
        if count or keep:
            self._select(turn, text, None if count == total else rows, origin)
        if keep and not count and total:
            host_of(self).say("no event meets the filter; escape takes it away")

    def _say_count(self, count: int, share: int | None) -> None:
        note = Text()
        note.append(f" {count:,}", self.look.strong)
        note.append(f" of {self.model.total:,} events")
        if share is not None:
            note.append(f", {share} % looked at", self.look.good)
        self.say(note)
