"""The Tables view: sortable tables of CPUs, tasks, events, devices, initcalls and units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from tracekit.browse.stats import Counts, CpuCount, EventCount, Times, count_all, running_times
from tracekit.query.expr import AllOf, Compare, Contains, Value
from tracekit.report.devices import Device
from tracekit.report.initcalls import Initcall
from tracekit.report.systemd import Unit
from tracekit.text import printable
from tui.host import host_of
from tui.jobs import Job, start
from tui.model import Model
from tui.sorted_table import Sheet, SortTable
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


class _Titles(Static):
    """The tables' names in one line, with how many rows each has."""

    class Picked(Message):
        """A name was clicked."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    def __init__(self) -> None:
        super().__init__()
        self._ends: list[int] = []

    def show(self, sheets: list[Sheet], current: int, look: Look) -> None:
        """Draw them."""
        text, self._ends = Text(" ", no_wrap=True, overflow="ellipsis"), []
        for i, sheet in enumerate(sheets):
            here = i == current
            text.append(f"{'▸' if here else ' '}{sheet.title}", look.heading if here else look.dim)
            text.append(f" {len(sheet.rows):,}  ", look.dim)
            self._ends.append(text.cell_len)
        self.update(text)

    def on_click(self, event: events.Click) -> None:
        number = next((i for i, end in enumerate(self._ends) if event.x < end), None)
        if number is not None:
            self.post_message(self.Picked(number))


@dataclass(frozen=True)
class _Counted:
    counts: Counts
    tasks: list[TaskRow]


class TablesView(View):
    """One table at a time; left and right go to the next."""

    title = "Tables"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,l,tab", "other(1)", "Table", key_display="← →", tooltip="Next table"),
        Binding("left,h,shift+tab", "other(-1)", show=False, tooltip="Previous table"),
    ]

    def __init__(self, model: Model, *, id: str) -> None:
        super().__init__(model, id=id)
        self._cpus, self._tasks, self._events = counted_sheets()
        self._sheets = [self._cpus, self._tasks, self._events, *reported_sheets(model.report)]
        self._current = 0
        self._times: Times | None = None
        self._started = False
        accounts = [(boot.index, cpu) for boot in model.report.boots for cpu in boot.cpus]
        self._cpus.fill(cpu_rows([CpuCount(boot, cpu, None) for boot, cpu in accounts], None))

    def compose(self) -> ComposeResult:
        yield _Titles()
        yield SortTable(id="table")
        yield Static(id="table-note")

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._show())

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
        """Whether all that takes time has been computed."""
        return self._times is not None

    def on_shown(self) -> None:
        """Start counting, the first time; what comes from the report is shown at once."""
        self._table.focus()
        self._show()
        if not self._started:
            self._started = True
            start(host_of(self), "counting for the tables", self._count, self._counted)

    # -- what takes time ----------------------------------------------------------------------

    def _count(self, job: Job) -> _Counted:
        model = self.model
        counts = count_all(model.recording, model.report, model.index, job.step)
        return _Counted(counts, task_rows(counts.tasks, None))

    def _counted(self, counted: _Counted) -> None:
        counts = counted.counts
        self._events.fill(counts.events)
        self._tasks.empty = self._events.empty = "no events"
        self._fill_timed(cpu_rows(counts.cpus, None), counted.tasks)

        def add_up(job: Job) -> tuple[Times, list[TaskRow]]:
            times = running_times(self.model.recording, self.model.index, job.step)
            return times, task_rows(counts.tasks, times)

        def added_up(result: tuple[Times, list[TaskRow]]) -> None:
            self._times, tasks = result
            self._fill_timed(cpu_rows(counts.cpus, self._times), tasks)

        start(host_of(self), "time on CPU", add_up, added_up)

    def _fill_timed(self, cpus: list[CpuRow], tasks: list[TaskRow]) -> None:
        self._cpus.fill(cpus)
        self._tasks.fill(tasks)
        self._show()

    # -- showing ------------------------------------------------------------------------------

    def _show(self) -> None:
        self.query_one(_Titles).show(self._sheets, self._current, self.look)
        self._table.show_sheet(self.sheet)

    def action_other(self, by: int) -> None:
        """Show the next table."""
        self._current = (self._current + by) % len(self._sheets)
        self._show()

    @on(_Titles.Picked)
    def _picked(self, message: _Titles.Picked) -> None:
        self.action_other(message.number - self._current)

    @on(SortTable.Selected)
    def _selected(self) -> None:
        row = self.sheet.selected
        about = _about(row) if row is not None else ""
        notes = self._times.notes if self._times and self.sheet in (self._cpus, self._tasks) else ()
        text = Text("\n", no_wrap=True, overflow="ellipsis").join(
            [
                *([Text(printable(about))] if about else []),
                *(Text(printable(note), self.look.warn) for note in notes),
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
        first = row.first_row if isinstance(row, EventCount) else row.count.first_row
        if first is None:
            host_of(self).say("nothing of it is in the timeline")
            return
        host_of(self).remember()
        self.model.move_to(first)
        host_of(self).show_view("timeline")

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
        where = _filter(self.sheet.selected)
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
    if isinstance(row, Device):
        driver = f", driver {row.driver}" if row.driver else ""
        return f"{row.name or 'unknown device'}{driver}: {row.function or 'unknown callback'}"
    return ""
