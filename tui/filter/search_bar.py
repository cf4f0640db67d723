"""``/``: incremental search. Matches are highlighted as they are found; ``n``, ``N`` step."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from rich.text import Text

from tracekit.query.expr import Contains, Expr
from tracekit.query.match import sought
from tracekit.query.scan import Hits, scan
from tracekit.query.selection import among
from tracekit.text import printable
from tui.filter.query_bar import QueryBar
from tui.host import host_of
from tui.jobs import Job, start

__all__ = ["SearchBar"]

_SHOWN = 0.1  # seconds between the first two counts
_SLOWER = 1.3  # times as long between the next two, and so on

_Rows = npt.NDArray[Any]


class SearchBar(QueryBar):
    """The search line; once closed, one line that says which match of how many this is."""

    prompt = "/"
    hint = "a text in task, event or arguments; or an expression such as  prev_pid = 76"
    _NONE: ClassVar[_Rows] = np.empty(0, np.uint32)

    def __init__(self) -> None:
        super().__init__()
        self._run_number = 0
        self._origin = 0  # the row that the search begins at
        self._window = (0, 0)
        self._expr: Expr | None = None
        self._text = ""
        self._share: int | None = None  # how much was searched, in percent; None: all
        self._pending = 0  # the step that n or N asked for before a match was found there
        self._follows = False

    @property
    def active(self) -> bool:
        """Whether there is a search."""
        return self._expr is not None

    # -- the line -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the line."""
        model = self.model
        if not self._follows:
            self._follows = True
            model.cursor_changed.subscribe(self, lambda _: self._say())
            model.selection_changed.subscribe(self, lambda _: self._rerun())
        self._origin, self._window = model.cursor, model.window
        self.query_one(".query-line").display = True
        self.open("")
        self.clear()
        self.display = True
        self.say(Text(" enter keeps the matches, then n and N; escape goes back", self.look.dim))

    def typed(self, text: str) -> bool:
        """An empty line ends the search."""
        if not text.strip():
            self._end_search()
            self._go_back()
            self.say(Text(" …", self.look.dim))
            return False
        return True

    def work_on(self, text: str) -> None:
        """Search, and go to the first match from where the line was opened."""
        self._text = text.strip()
        self._run(sought(text, self.names), self._origin, step=1)

    def entered(self, text: str) -> None:
        """Keep the matches, and close the line but for the note on them."""
        text = text.strip()
        if text and (text != self._text or self._expr is None):
            self.work_on(text)
        self.input.remember(text)
        self.query_one(".query-line").display = False
        self.leave()
        if not text:
            self.clear()

    def action_cancel(self) -> None:
        """Go back to where the search began."""
        self.clear()
        self.leave()
        self._go_back()

    def _go_back(self) -> None:
        self.model.look_at(*self._window)
        self.model.move_to(self._origin)

    def clear(self) -> None:
        """End the search and hide the bar."""
        self._end_search()
        self.display = False

    def _end_search(self) -> None:
        self._run_number += 1
        self.app.workers.cancel_group(self.app, "search")
        host_of(self).show_progress("search", 1, 1)
        self._expr, self._share, self._pending, self._text = None, None, 0, ""
        if len(self.model.matches):
            self.model.set_matches(self._NONE)

    # -- the work -----------------------------------------------------------------------------

    def _rerun(self) -> None:
        """Search again, as other events are shown; the cursor stays."""
        if self._expr is not None:
            self._run(self._expr, self.model.cursor, step=0)

    def _run(self, expr: Expr, origin: int, step: int) -> None:
        """Search from row ``origin``; with ``step`` 1 go to the first match."""
        model = self.model
        self._run_number += 1
        number, within = self._run_number, model.selection
        self._expr, self._share, self._pending = expr, 0, 0

        def work(job: Job) -> tuple[_Rows, int | None]:
            hits, first = Hits(origin), None
            last_shown, pause = time.monotonic(), _SHOWN
            for piece in scan(model.recording, expr, model.index, within, origin):
                hits.add(piece.rows)
                job.step(piece.done, piece.total)
                now = time.monotonic()
                fresh = first is None and len(hits) > 0
                if fresh:
                    first = int(piece.rows[0])
                if fresh or now - last_shown > pause:
                    last_shown, pause = now, pause * _SLOWER
                    share = piece.done * 100 // piece.total
                    goal = first if fresh and step else None
                    self.app.call_from_thread(self._show_matches, number, hits.rows(), share, goal)
            return hits.rows(), first

        def then(result: tuple[_Rows, int | None]) -> None:
            self._show_matches(number, result[0], None, None)

        start(host_of(self), "search", work, then)
        self._say()

    def _show_matches(self, number: int, rows: _Rows, share: int | None, goal: int | None) -> None:
        if number != self._run_number:
            return
        self._share = share
        self.model.set_matches(rows)
        if goal is not None:
            self.model.move_to(goal)
        elif self._pending:
            self.go(self._pending)
        self._say()

    # -- from match to match ------------------------------------------------------------------

    def go(self, step: int) -> None:
        """To the next match (1) or the one before (-1); wraps round once all are known."""
        if self._expr is None:
            host_of(self).say("nothing is searched for: / begins a search")
            return
        rows, cursor = self.model.matches, self.model.cursor
        side = int(among(rows, cursor, "right" if step > 0 else "left"))
        number = side if step > 0 else side - 1
        self._pending = 0
        if 0 <= number < len(rows):
            self.model.move_to(int(rows[number]))
        elif self._share is not None:
            self._pending = step
        elif len(rows):
            self.model.move_to(int(rows[number % len(rows)]))
            host_of(self).say("from the first match on" if step > 0 else "from the last match on")
        else:
            host_of(self).say("no match")
        self._say()

    def _say(self) -> None:
        """Which match this is, of how many."""
        if self._expr is None:
            return
        rows, cursor, look = self.model.matches, self.model.cursor, self.look
        number = int(among(rows, cursor))
        here = number < len(rows) and int(rows[number]) == cursor
        note = Text(" ")
        if not self.query_one(".query-line").display:
            note.append(f"/{printable(self._text)}  ", look.strong)
        if not len(rows):
            note.append("no match" if self._share is None else "no match yet", look.warn)
        elif here:
            note.append(f"match {number + 1:,} of {len(rows):,}", look.match)
        else:
            note.append(f"{len(rows):,} match{'es' if len(rows) > 1 else ''}", look.match)
        if self._share is not None:
            note.append(f" (searching {self._share} %)", look.good)
        if not isinstance(self._expr, Contains):
            note.append("  by expression", look.dim)
        if not self.query_one(".query-line").display:
            note.append("  n next  N previous  esc ends it", look.dim)
        self.say(note)
