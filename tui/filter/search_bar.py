"""``/``: incremental search. What is found is highlighted as it is found; ``n`` and ``N`` go on."""

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

_SHOWN = 0.1  # seconds between two counts, and how much longer every time
_SLOWER = 1.3

_Rows = npt.NDArray[Any]


class SearchBar(QueryBar):
    """The search line; once closed, one line that says which match of how many this is."""

    prompt = "/"
    hint = "a text in task, event or arguments; or an expression such as  prev_pid = 76"
    _NONE: ClassVar[_Rows] = np.empty(0, np.uint32)

    def __init__(self) -> None:
        super().__init__()
        self._turn = 0
        self._origin = 0  # the row that the search begins at
        self._window = (0, 0)
        self._expr: Expr | None = None
        self._text = ""
        self._share: int | None = None  # how much was looked at, in percent; None: all
        self._pending = 0  # the direction that n or N asked for while nothing was known there
        self._follows = False

    @property
    def active(self) -> bool:
        """Whether something is searched for."""
        return self._expr is not None

    # -- the line -----------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the line."""
        model = self.model
        if not self._follows:
            self._follows = True
            model.cursor_changed.subscribe(self, lambda _: self._say())
            model.selection_changed.subscribe(self, lambda _: self._again())
        self._origin, self._window = model.cursor, model.window
        self.query_one(".query-line").display = True
        self.open("")
        self.clear()
        self.display = True
        self.say(Text(" enter keeps the matches, then n and N; escape goes back", self.look.dim))

    def typed(self, text: str) -> bool:
        """An empty line searches for nothing."""
        if not text.strip():
            self._drop()
            self._go_back()
            self.say(Text(" …", self.look.dim))
            return False
        return True

    def work_on(self, text: str) -> None:
        """Search, and go to the first match from where the line was opened."""
        self._text = text.strip()
        self._run(sought(text, self.names), self._origin, step=1)

    def entered(self, text: str) -> None:
        """Keep the matches; one line stays that tells about them."""
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
        """Search for nothing."""
        self._drop()
        self.display = False

    def _drop(self) -> None:
        self._turn += 1
        self.app.workers.cancel_group(self.app, "search")
        host_of(self).show_progress("search", 1, 1)
        self._expr, self._share, self._pending, self._text = None, None, 0, ""
        if len(self.model.matches):
            self.model.set_matches(self._NONE)

    # -- the work -----------------------------------------------------------------------------

    def _again(self) -> None:
        """Other events are shown: search those, and stay."""
        if self._expr is not None:
            self._run(self._expr, self.model.cursor, step=0)

    def _run(self, expr: Expr, origin: int, step: int) -> None:
        """Search from row ``origin``; with ``step`` 1 go to the first match."""
        model = self.model
        self._turn += 1
        turn, within = self._turn, model.selection
        self._expr, self._share, self._pending = expr, 0, 0

        def work(job: Job) -> tuple[_Rows, int | None]:
            hits, first = Hits(origin), None
            said, pause = time.monotonic(), _SHOWN
            for found in scan(model.recording, expr, model.index, within, origin):
                hits.add(found.rows)
                job.step(found.done, found.total)
                now = time.monotonic()
                fresh = first is None and len(hits) > 0
                if fresh:
                    first = int(found.rows[0])
                if fresh or now - said > pause:
                    said, pause = now, pause * _SLOWER
                    share = found.done * 100 // found.total
                    goal = first if fresh and step else None
                    self.app.call_from_thread(self._found, turn, hits.rows(), share, goal)
            return hits.rows(), first

        def then(result: tuple[_Rows, int | None]) -> None:
            self._found(turn, result[0], None, None)

        start(host_of(self), "search", work, then)
        self._say()

    def _found(self, turn: int, rows: _Rows, share: int | None, goal: int | None) -> None:
        if turn != self._turn:
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
        """To the next match (1) or the one before (-1); round the end once all are known."""
        if self._expr is None:
            host_of(self).say("nothing is searched for: / begins a search")
            return
        rows, cursor = self.model.matches, self.model.cursor
        side = int(among(rows, cursor, "right" if step > 0 else "left"))
        at = side if step > 0 else side - 1
        self._pending = 0
        if 0 <= at < len(rows):
            self.model.move_to(int(rows[at]))
        elif self._share is not None:
            self._pending = step
        elif len(rows):
            self.model.move_to(int(rows[at % len(rows)]))
            host_of(self).say("from the first match on" if step > 0 else "from the last match on")
        else:
            host_of(self).say("no match")
        self._say()

    def _say(self) -> None:
        """Which match this is, of how many."""
        if self._expr is None:
            return
        rows, cursor, look = self.model.matches, self.model.cursor, self.look
        at = int(among(rows, cursor))
        here = at < len(rows) and int(rows[at]) == cursor
        note = Text(" ")
        if not self.query_one(".query-line").display:
            note.append(f"/{printable(self._text)}  ", look.strong)
        if not len(rows):
            note.append("no match" if self._share is None else "no match yet", look.warn)
        elif here:
            note.append(f"match {at + 1:,} of {len(rows):,}", look.match)
        else:
            note.append(f"{len(rows):,} match{'es' if len(rows) > 1 else ''}", look.match)
        if self._share is not None:
            note.append(f" (searching {self._share} %)", look.good)
        if not isinstance(self._expr, Contains):
            note.append("  by expression", look.dim)
        if not self.query_one(".query-line").display:
            note.append("  n next  N previous  esc ends it", look.dim)
        self.say(note)
