"""The lines below the lanes: the measurement, and the event or span under the cursor."""

from __future__ import annotations

import numpy as np
from rich.text import Text
from textual.widget import Widget

from tracekit.analysis.counters import UNKNOWN, Counter
from tracekit.browse.lanes import Span, next_row
from tracekit.query.groups import cell_counts
from tracekit.text import duration, error_bound
from tui.host import look_of
from tui.theme import Look
from tui.timeline.arrow import wakeup_words
from tui.timeline.cell_row import one_line
from tui.timeline.missing import legend
from tui.timeline.ruler import instant
from tui.timeline.state import LaneState

__all__ = ["LaneDetails"]


class LaneDetails(Widget):
    """Three lines: marks or a legend, the event or span under the cursor, its arguments."""

    def __init__(self, state: LaneState) -> None:
        super().__init__()
        self._state = state

    def render(self) -> Text:
        look = look_of(self)
        lines = [self._info(look)]
        if self._state.ready:
            span, counter = self._state.span, self._state.lane.counter
            if span is not None:
                lines += self._of_span(look, span)
            else:
                lines += self._of_event(look) if counter is None else self._of_value(look, counter)
        for line in lines:
            line.truncate(self.size.width, overflow="ellipsis")
        return Text("\n").join(lines)

    # -- the first line -----------------------------------------------------------------------

    def _info(self, look: Look) -> Text:
        text = Text(" ", no_wrap=True)
        a, b = self._state.model.marks
        if self._state.ready and self._state.behind:
            text.append("… filtering: the lanes do not show all of it yet", look.warn)
        elif a is not None:
            text.append(f"A {instant(a)}", look.mark)
            if b is not None:
                text.append(
                    f"  B {instant(b)}  A→B {duration(b - a)} {self._error(a, b)}", look.mark
                )
            else:
                text.append("  m at another event measures", look.dim)
        elif self._state.ready:
            text.append_text(legend(look, self._state.missing(self.size.width)))
            if self._state.lane.note:
                text.append("‼ ", look.bad)
                text.append(f"{self._state.lane.name}: {self._state.lane.note}  ", look.warn)
            for system, count in self._state.systems().items():
                text.append(f"{look.sign(system, '■')} ", look.hue(system))
                text.append(f"{one_line(system)} ")
                text.append(f"{count:,}  ", look.dim)
        return text

    def _error(self, a: int, b: int) -> str:
        """The error bound of the time between the marks, by the events they are on."""
        model = self._state.model
        rows = [min(int(np.searchsorted(model.ts_ns, ns)), model.total - 1) for ns in (a, b)]
        ns, error = model.recording.axis.interval(model.recording.rows, *rows)
        return error_bound(error) if ns is not None else "by clocks that nothing relates"

    # -- what is under the cursor -------------------------------------------------------------

    def _of_span(self, look: Look, span: Span) -> list[Text]:
        first = Text(" ", no_wrap=True)
        first.append(f"{one_line(self._state.lane.name)} ▸ ", look.heading)
        first.append(one_line(span.label), look.strong)
        took = "never returned" if span.open else duration(span.end_ns - span.start_ns)
        first.append(f"  {took}", look.warn)
        first.append(
            f"  from {instant(span.start_ns)}  boot {span.boot}  {one_line(span.kind)}", look.dim
        )
        return [first, Text(f" {one_line(span.note)}", look.dim, no_wrap=True)]

    def _of_value(self, look: Look, counter: Counter) -> list[Text]:
        ns = self._state.model.cursor_ns
        place = counter.place(ns)
        value = int(counter.value[place]) if place >= 0 else UNKNOWN
        first = Text(f" {one_line(counter.name)} ▸ ", look.heading, no_wrap=True)
        first.append("unknown" if value == UNKNOWN else f"{value:,}", look.strong)
        first.append(f"  {counter.about}")
        if place >= 0:
            first.append(f"  since {instant(int(counter.at[place]))}", look.dim)
        window = counter.most(np.array(self._state.model.window))
        most = f"{int(window.max()):,} at most in the window" if window.max() >= 0 else ""
        return [first, Text(f" {instant(ns)}  {most}", look.dim, no_wrap=True)]

    def _of_event(self, look: Look) -> list[Text]:
        model = self._state.model
        if not model.total:
            return [Text(" no events", look.dim)]
        row = model.recording.table(np.array([model.cursor])).to_pylist()[0]
        first = Text(" ", no_wrap=True)
        lane, cpu = self._state.lane.name if self._state.ready else "", f"CPU {row['cpu']}"
        if lane:
            first.append(f"{one_line(lane)} ▸ ", look.heading)
        first.append(instant(row["ts_ns"]), look.strong)
        first.append("  " if lane == cpu else f"  {cpu}  ", look.dim)
        first.append(f"{one_line(row['comm'] or '?')} [{row['pid']}]  ")
        first.append(one_line(row["event"]), look.hue(row["event"]) + look.strong)
        first.append(self._beside(), look.dim)
        second = Text(" ", no_wrap=True)
        if self._state.ready and (words := wakeup_words(self._state)):
            second.append(f"{words}  ", look.mark)
        return [first, second.append(one_line(row["args"]))]

    def _beside(self) -> str:
        """How many events the cell has, and how far the lane's next one is."""
        state, model = self._state, self._state.model
        rows = state.lane.rows
        scale = state.scale(self.size.width)
        cell = scale.cell(model.cursor_ns)
        text = ""
        if 0 <= cell < scale.cells:
            count = int(cell_counts(rows, state.edges(scale)[cell : cell + 2])[0])
            text += f"  {count:,} here" if count > 1 else ""
        after = next_row(rows, model.cursor, forward=True)
        then = state.lane.stretches.after(model.cursor_ns) if state.on_chosen else None
        if after is not None:
            next_ns = int(model.ts_ns[after])
            if then is None or then.start_ns >= next_ns:
                return f"{text}  next in {duration(next_ns - model.cursor_ns)}"
        if then is not None and state.lane.kind == "cpu":
            text += f"  then {one_line(then.note)}"
        return text
