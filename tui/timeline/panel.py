"""The panel beside the lanes: what is in the window, or between the marks, and follows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.text import Text
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from tracekit.browse.stats import Counts, Times
from tracekit.browse.subject import Subject, count_subject, rows_of, times_of
from tracekit.text import duration, printable
from tui.host import host_of, look_of
from tui.jobs import Job, start
from tui.model import Model
from tui.theme import bar, fitted

__all__ = ["SidePanel"]

_PAUSE = 0.15  # seconds after the last change until it is counted
_MOST = 8  # lines of a list
_BAR = 6  # cells
_LONG = 2_000_000  # events from which on the times on CPU are not added up for a window


class SidePanel(Static):
    """Counts of the model's subject; without marks, of what the timeline's window shows."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self._model = model
        self._pause: Timer | None = None
        self._of: Subject | None = None

    @property
    def subject(self) -> Subject:
        """What is counted."""
        of, (first, last) = self._model.subject, self._model.window
        return of if of.span is not None else replace(of, span=(first, last - 1), name="window")

    def on_mount(self) -> None:
        """Follow the model."""
        model = self._model
        for signal in (model.window_changed, model.marks_changed, model.selection_changed):
            signal.subscribe(self, lambda _: self.follow())

    def follow(self) -> None:
        """Count what is selected, once it stays as it is."""
        if self._pause is not None:
            self._pause.stop()
        seen = all(
            widget.display for widget in self.ancestors_with_self if isinstance(widget, Widget)
        )
        if seen and self._of != self.subject:
            self._pause = self.set_timer(_PAUSE, self._begin)

    def _begin(self) -> None:
        of, model = self.subject, self._model
        self._of = of
        rows = rows_of(of, model.ts_ns, model.selection)

        def work(job: Job) -> tuple[Counts, Times | None]:
            counts = count_subject(model.recording, model.report, rows, job.step)
            return counts, times_of(model.recording, of) if model.total < _LONG else None

        start(host_of(self), "counting", work, lambda found: self._show(of, len(rows), *found))

    def _show(self, of: Subject, events: int, counts: Counts, times: Times | None) -> None:
        if of != self._of:
            return
        look, text = look_of(self), Text(no_wrap=True, overflow="ellipsis")
        text.append(printable(of.text()).replace("; ", "\n", 1), look.mark).append(
            f"\n{events:,} events\n", look.strong
        )
        tasks = sorted(counts.tasks, key=lambda task: -task.events)
        if times is not None:
            ran = {key: time.ns for key, time in times.tasks.items() if key[1]}
            comms = {(t.boot, t.pid): t.comm for t in counts.tasks}
            longest = sorted(ran.items(), key=lambda item: -item[1])[:_MOST]
            self._list(text, "ran longest", [
                (f"{comms.get(key) or '<...>'}-{key[1]}", ns, duration(ns)) for key, ns in longest
            ])  # fmt: skip
        self._list(text, "events of tasks", [
            (f"{t.comm or '<...>'}-{t.pid}", t.events, f"{t.events:,}") for t in tasks[:_MOST]
        ])  # fmt: skip
        self._list(text, "events", [
            (e.name.partition(":")[2], e.events, f"{e.events:,}") for e in counts.events[:_MOST]
        ])  # fmt: skip
        self._list(text, "CPUs", [
            (f"CPU {c.account.cpu}", c.account.events, f"{c.account.events:,}")
            for c in counts.cpus[:_MOST]
        ])  # fmt: skip
        self.update(text)

    def _list(self, text: Text, title: str, rows: Sequence[tuple[str, int, str]]) -> None:
        if not rows:
            return
        look, most = look_of(self), max(number for _, number, _ in rows) or 1
        name = max(8, self.size.width - _BAR - 13)
        text.append(f"\n{title}\n", look.heading)
        for label, number, shown in rows:
            text.append(f"{fitted(label, name)} {shown:>9} ")
            text.append(bar(number * _BAR / most) + "\n", look.old)
