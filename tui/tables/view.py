"""The Tables view: sortable tables of CPUs, tasks, events, devices, initcalls and units."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from tracekit.browse.figures import Figure, calls_of, figures_of
from tracekit.browse.stats import Counts, CpuCount, EventCount, Times, count_all, running_times
from tracekit.browse.subject import Subject, count_subject, rows_of, times_of
from tracekit.query.expr import AllOf, Compare, Contains, Value
from tracekit.report.devices import Device
from tracekit.report.initcalls import Initcall
from tracekit.report.systemd import Unit
from tracekit.text import printable
from tui.host import host_of
from tui.jobs import Job, start
from tui.model import Model
from tui.sorted_table import Sheet, SortTable
from tui.tables.figures import (
    KINDS,
    CallTree,
    Node,
    about_figure,
    figure_sheet,
    filter_of_figure,
    flames,
)
from tui.tables.sheets import (
    CpuRow,
    TaskRow,
    counted_sheets,
    cpu_rows,
    record_of,
    reported_sheets,
    task_rows,
)
from tui.theme import Look
from tui.view import View

__all__ = ["TablesView"]

_WAIT = 0.05  # seconds between two looks whether a job is still wanted


class _Titles(Static):
    """The tables' names in one line, with how many rows each has."""

    class Picked(Message):
        """A name was clicked."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self) -> None:
        super().__init__(id="table-titles")
        self._ends: list[int] = []

    def show(self, sheets: list[Sheet], current: int, look: Look) -> None:
        """Draw them."""
        text, self._ends = Text(" ", no_wrap=True, overflow="ellipsis"), []
        spans: list[tuple[int, int]] = []
        for i, sheet in enumerate(sheets):
            here, begin = i == current, text.cell_len
            text.append(f"{'▸' if here else ' '}{sheet.title}", look.heading if here else look.dim)
            text.append(f" {len(sheet.rows):,}  " if sheet.rows else "  ", look.dim)
            spans.append((begin, text.cell_len))
        # so far to the left that the current one is seen, and the one behind it
        last = spans[min(current + 1, len(spans) - 1)][1]
        first = spans[max(current - 1, 0)][0]
        wanted = min(max(last - max(self.size.width, 1), 0), first)
        shift = next((begin for begin, _ in spans if begin >= wanted), first)
        self._ends = [end - shift for _, end in spans]
        self.update(text[shift:] if shift else text)

    def on_click(self, event: events.Click) -> None:
        number = next((i for i, end in enumerate(self._ends) if event.x < end), None)
        if number is not None:
            self.post_message(self.Picked(number))


@dataclass(frozen=True)
class _Counted:
    counts: Counts
    tasks: list[TaskRow]


class TablesView(View):
    """One table at a time; left and right go to the next. All are of the model's subject."""

    title = "Tables"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l,tab", "other(1)", "Table", key_display="← →", tooltip="Next table"),
        Binding("left,h,shift+tab", "other(-1)", show=False, tooltip="Previous table"),
    ]

    def __init__(self, model: Model, *, id: str) -> None:
        super().__init__(model, id=id)
        self._cpus, self._tasks, self._events = counted_sheets()
        self._reported = reported_sheets(model.report)
        self._calls = CallTree()
        self._figures = {title: figure_sheet(title) for title in KINDS}
        self._sheets = [
            self._cpus, self._tasks, self._events, self._figures["Spans"], *self._reported,
            self._calls.sheet, self._figures["Syscalls"], self._figures["Irqs"],
            self._figures["Waits"], self._figures["Wakeups"],
        ]  # fmt: skip
        self._current = 0
        self._times: Times | None = None
        self._of: Subject | None = None  # what the counted tables are of
        self._done: dict[str, Subject] = {}  # what the others are of, by their titles
        self._doing: tuple[str, Subject] | None = None
        self._turn = threading.Lock()  # of the thread that makes a figure
        self._aside: dict[str, str] = {}
        accounts = [(boot.index, cpu) for boot in model.report.boots for cpu in boot.cpus]
        self._cpus.fill(cpu_rows([CpuCount(boot, cpu, None) for boot, cpu in accounts], None))

    def compose(self) -> ComposeResult:
        yield _Titles()
        yield Static(id="table-subject")
        yield Static(id="table-flames")
        yield SortTable(id="table")
        yield Static(id="table-note")

    def on_mount(self) -> None:
        """Follow the model."""
        self.app.theme_changed_signal.subscribe(self, lambda _: self._show())
        for signal in (self.model.marks_changed, self.model.selection_changed):
            signal.subscribe(self, lambda _: self._follow())

    @property
    def _table(self) -> SortTable:
        return self.query_one(SortTable)

    @property
    def sheet(self) -> Sheet:
        """The table that is shown."""
        return self._sheets[self._current]

    def shown_table(self) -> tuple[str, list[dict[str, object]]]:
        """The table that is shown, in its order."""
        sheet = self.sheet
        return sheet.title, [record_of(sheet.rows[i]) for i in sheet.order]

    @property
    def complete(self) -> bool:
        """Whether all that takes time has been computed, of what is selected now."""
        of = self.model.subject
        figures = self._figures or {}
        waits = self.sheet is self._calls.sheet or self.sheet.title in figures
        return (
            self._times is not None and self._of == of
            and (not waits or self._done.get(self.sheet.title) == of)
        )  # fmt: skip

    def on_shown(self) -> None:
        """Start counting what is not counted yet; what comes from the report is shown at once."""
        self._table.focus()
        self._show()
        self._follow()

    # -- what takes time ----------------------------------------------------------------------

    def _follow(self) -> None:
        """Count what is selected, if that has changed and the tables are seen."""
        if not self.display:
            return
        of = self.model.subject
        if self._of != of:
            self._of, self._times = of, None
            self._fill_reported(of)
            rows = rows_of(of, self.model.ts_ns, self.model.selection)
            start(host_of(self), "counting for the tables", lambda job: self._count(job, of, rows),
                  lambda counted: self._counted(of, counted))  # fmt: skip
        title = self.sheet.title
        wanted = title in (*self._figures, "Functions") and self._done.get(title) != of
        if wanted and self._doing != (title, of):
            self._doing = title, of  # another that was begun is ended by this one
            start(host_of(self), "figures", lambda job: self._figure(job, title, of),
                  lambda found: self._figured(title, of, found))  # fmt: skip
        self._show()

    def _count(self, job: Job, of: Subject, rows: Any) -> _Counted:
        model = self.model
        if of.everything:
            counts = count_all(model.recording, model.report, model.index, job.step)
        else:
            counts = count_subject(model.recording, model.report, rows, job.step)
        return _Counted(counts, task_rows(counts.tasks, None))

    def _counted(self, of: Subject, counted: _Counted) -> None:
        if of != self._of:
            return
        counts = counted.counts
        self._events.fill(counts.events)
        self._tasks.empty = self._events.empty = "no events"
        self._fill_timed(cpu_rows(counts.cpus, None), counted.tasks)

        def add_up(job: Job) -> tuple[Times, list[TaskRow]]:
            if of.everything:
                times = running_times(self.model.recording, self.model.index, job.step)
            else:
                times = times_of(self.model.recording, of)
            return times, task_rows(counts.tasks, times)

        def added_up(result: tuple[Times, list[TaskRow]]) -> None:
            if of == self._of:
                self._times, tasks = result
                self._fill_timed(cpu_rows(counts.cpus, self._times), tasks)

        start(host_of(self), "time on CPU", add_up, added_up)

    def _figure(self, job: Job, title: str, of: Subject) -> tuple[list[Any], str]:
        recording = self.model.recording
        # what another sheet began goes on in its thread to the end: together they would be slow
        while not self._turn.acquire(timeout=_WAIT):
            job.step()
        try:
            job.step()
            if title == "Functions":
                return list[Any](calls_of(recording, of)), ""
            rows, aside = figures_of(recording, KINDS[title][0], of)
            return list[Any](rows), aside
        finally:
            self._turn.release()

    def _figured(self, title: str, of: Subject, found: tuple[list[Any], str]) -> None:
        if self._doing == (title, of):
            self._doing = None
        if self.model.subject != of:
            return
        self._done[title] = of
        rows, self._aside[title] = found
        if title == "Functions":
            self._calls.fill(rows)
        else:
            self._figures[title].empty = KINDS[title][1]
            self._figures[title].fill(rows)
        self._show()

    def _fill_reported(self, of: Subject) -> None:
        """Of devices, initcalls and units those that lie in the stretch, in part at least."""
        for sheet, whole in zip(self._reported, reported_sheets(self.model.report), strict=True):
            rows = whole.rows
            if of.span is not None:
                first, last = of.span
                rows = [row for row in rows if row.start_ns is not None and row.start_ns <= last
                        and row.start_ns + (row.duration_ns or 0) >= first]  # fmt: skip
            if len(rows) != len(sheet.rows):
                sheet.fill(rows)

    def _fill_timed(self, cpus: list[CpuRow], tasks: list[TaskRow]) -> None:
        self._cpus.fill(cpus)
        self._tasks.fill(tasks)
        self._show()

    # -- showing ------------------------------------------------------------------------------

    def _show(self) -> None:
        of = self.model.subject
        self.query_one(_Titles).show(self._sheets, self._current, self.look)
        subject = self.query_one("#table-subject", Static)
        subject.display = not of.everything
        text = Text(f" of {printable(of.text())}", self.look.mark)
        subject.update(text.append(f"   {self.model.count():,} events", self.look.dim))
        strip = self.query_one("#table-flames", Static)
        strip.display = self.sheet is self._calls.sheet and bool(self._calls.calls)
        if strip.display:
            strip.update(flames(self._calls.calls, self.size.width, self.look))
        self._table.show_sheet(self.sheet)

    def action_other(self, by: int) -> None:
        """Show the next table."""
        self._current = (self._current + by) % len(self._sheets)
        self._follow()

    @on(_Titles.Picked)
    def _picked(self, message: _Titles.Picked) -> None:
        self.action_other(message.number - self._current)

    @on(SortTable.Selected)
    def _selected(self) -> None:
        row = self.sheet.selected
        about = _about(row) if row is not None else ""
        notes = self._times.notes if self._times and self.sheet in (self._cpus, self._tasks) else ()
        aside = self._aside.get(self.sheet.title, "")
        text = Text("\n", no_wrap=True, overflow="ellipsis").join(
            [
                *([Text(printable(about))] if about else []),
                *(Text(printable(note), self.look.warn) for note in (*notes, aside) if note),
            ]
        )
        self.query_one("#table-note", Static).update(text)

    # -- where rows lead ----------------------------------------------------------------------

    @on(SortTable.Chosen)
    def _chosen(self) -> None:
        row: Any = self.sheet.selected
        if isinstance(row, Device | Initcall | Unit):
            self._go_to_call(row)
            return
        if isinstance(row, Node):
            self._calls.turn(row)
            self._table.show_sheet(self.sheet)
            return
        if isinstance(row, Figure):
            self._go_to_worst(row)
            return
        first = row.first_row if isinstance(row, EventCount) else row.count.first_row
        if first is None:
            host_of(self).say("nothing of it is in the timeline")
            return
        host_of(self).remember()
        self.model.move_to(first)
        host_of(self).show_view("timeline")

    def _go_to_worst(self, row: Figure) -> None:
        if row.worst_at is None or row.worst_row is None:
            host_of(self).say("none of it ended, so none is the worst")
            return
        host_of(self).show_span(row.worst_at, row.worst_at + (row.most or 0))
        self.model.move_to(row.worst_row)

    def _go_to_call(self, row: Device | Initcall | Unit) -> None:
        if row.start_ns is None:
            host_of(self).say("when it began is unknown: no clock relates it to the events")
            return
        end = row.start_ns + (row.duration_ns or 0)
        if isinstance(row, Device) and not row.finished:
            boot = next(b for b in self.model.report.boots if b.index == row.boot)
            end = max((c.last_ns for c in boot.cpus if c.last_ns is not None), default=end)
        host_of(self).show_span(row.start_ns, end)

    @on(SortTable.Only)
    def _only(self) -> None:
        row = self.sheet.selected
        if isinstance(row, Figure):
            where: str | None = filter_of_figure(self.sheet.title, row)
        elif isinstance(row, Node):
            where = str(Contains(row.call.function))
        else:
            where = _filter(row)
        if where is None:
            host_of(self).say("no filter stands for it; enter shows it in the timeline")
        else:
            host_of(self).filter_by(where)


def _equal(**values: int | str) -> str:
    return str(AllOf(tuple(Compare(n, "=", (Value.of(v),)) for n, v in values.items())))


def _filter(row: Any) -> str | None:
    """The expression that only the events of a row meet: of a CPU, a task or an event; those that
    name a device; those during an initcall or the start of a unit.
    """
    if isinstance(row, CpuRow):
        return _equal(boot=row.count.boot, cpu=row.count.account.cpu)
    if isinstance(row, TaskRow):
        return _equal(boot=row.count.boot, pid=row.count.pid)
    if isinstance(row, EventCount):
        return _equal(boot=row.boot, event=row.name)
    if isinstance(row, Device) and row.name:
        return str(AllOf((Compare("boot", "=", (Value.of(row.boot),)), Contains(row.name))))
    if row.start_ns is None or row.duration_ns is None:
        return None
    ends = (row.start_ns, row.start_ns + row.duration_ns)
    during = (
        Compare("ts", op, (Value(f"{ns}ns", ns),))
        for op, ns in zip((">=", "<="), ends, strict=True)
    )
    return str(AllOf((Compare("boot", "=", (Value.of(row.boot),)), *during)))


def _about(row: Any) -> str:
    """A line with what the table may have no room for."""
    if isinstance(row, Figure):
        return about_figure(row)
    if isinstance(row, Device):
        driver = f", driver {row.driver}" if row.driver else ""
        return f"{row.name or 'unknown device'}{driver}: {row.function or 'unknown callback'}"
    return ""
