"""Below the story's head: what each CPU ran across the jump; given room, its last events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual.geometry import Size
from textual.widgets import Static

from tracekit.browse.around_jump import CpuRan, LastEvents, last_events, what_ran
from tracekit.report.make import HandoverReport
from tracekit.report.phases import Phase
from tracekit.text import duration, printable
from tui.host import look_of
from tui.model import Model
from tui.story.microscope import cpu_text, pieces
from tui.theme import fitted

__all__ = ["Around", "CpuRows", "LastRows", "look_around"]

_CPUS = 4  # rows of CPUs; the timeline has all
_COLUMN = 48  # cells of a CPU's last events
_EVENTS = 14  # lines


@dataclass(frozen=True)
class Around:
    """What is known of the CPUs around one jump."""

    phases: Sequence[Phase]
    old: int
    jump_ns: int
    ran: Sequence[CpuRan]
    last: Sequence[LastEvents]


def look_around(model: Model, h: HandoverReport, phases: Sequence[Phase]) -> Around | None:
    """Gather it; None if the jump has no time, or no phase of it."""
    if h.jump_ns is None or not phases:
        return None
    span = (min(p.start_ns or 0 for p in phases),
            max((p.start_ns or 0) + (p.duration_ns or 0) for p in phases))  # fmt: skip
    ran = what_ran(model.recording, (h.old, h.new), span)
    last = last_events(model.recording, model.index, h.jump_ns, _EVENTS)
    return Around(phases, h.old, h.jump_ns, ran, last)


class CpuRows(Static):
    """A row a CPU, on the axis of the bar above."""

    around: Around | None = None

    def show(self, around: Around | None) -> None:
        """Show these."""
        self.around = around
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many lines as there are rows at that width, which may not be this widget's yet."""
        return self._rows(width).plain.count("\n") + 1

    def render(self) -> Text:
        """The rows."""
        return self._rows(self.size.width)

    def _rows(self, width: int) -> Text:
        around, look = self.around, look_of(self)
        if around is None or not (axis := pieces(around.phases, around.old, width)):
            return Text("")
        rows = [cpu_text(axis, ran, around.jump_ns, look) for ran in around.ran[:_CPUS]]
        if (more := len(around.ran) - _CPUS) > 0:
            rows.append(Text(f" and {more} CPUs more in the timeline", look.dim))
        return Text("\n").join(rows)


class LastRows(Static):
    """The last events of every CPU before the jump, side by side."""

    around: Around | None = None

    def show(self, around: Around | None) -> None:
        """Show these."""
        self.around = around
        self.refresh(layout=True)

    def render(self) -> Text:
        """The columns."""
        around, look = self.around, look_of(self)
        if around is None or not around.last:
            return Text("")
        columns = max(1, min(len(around.last), self.size.width // _COLUMN))
        width = self.size.width // columns - 1
        shown = around.last[:columns]
        text = Text(no_wrap=True)
        for cpu in shown:
            text.append(fitted(f"Last events of CPU {cpu.cpu}", width) + " ", look.heading)
        for line in range(_EVENTS):
            text.append("\n")
            for cpu in shown:
                if line >= len(cpu.events):
                    text.append(" " * (width + 1))
                    continue
                ns, event, args = cpu.events[line]
                when = duration(ns - around.jump_ns)
                name = fitted(printable(event), min(28, width - 12))
                text.append(f"{when:>10} ", look.dim).append(f"{name} ", look.hue(event))
                text.append(fitted(printable(args), width - 12 - len(name)) + " ")
        return text
