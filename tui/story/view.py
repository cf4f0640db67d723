"""The Story view: where the time of a handover went, what was slow, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Static

from tracekit.report.jump.kho_steps import KhoStep, steps_in
from tracekit.report.make import BootReport, HandoverReport, Report
from tracekit.report.phases import MEANING, Phase
from tracekit.text import count_lost, duration, error_bound, measured, on_one_line, printable
from tui.host import host_of, look_of
from tui.jobs import start
from tui.model import Model
from tui.story.around import Around, CpuRows, LastRows, look_around
from tui.story.microscope import axis_text, kind_of, pieces
from tui.story.one_boot import OneBoot, gather, one_boot_lines
from tui.story.panic import panic_lines
from tui.story.spans import Bar, Heading, SpanList
from tui.theme import Look
from tui.view import View

__all__ = ["StoryHead", "StoryView"]

_FEW, _MORE = 5, 12  # of the slowest devices, initcalls and units; where there is room
_REMARKS = 30
_WIDE = 140  # columns from which on there are two lists
_CPUS_FROM = 30  # lines of the terminal from which on there is a row a CPU
_LAST_FROM = (180, 50)  # columns and lines from which on there are the CPUs' last events

_Lines = list[Heading | Bar | None]


def _blackout(report: Report, number: int) -> list[Phase]:
    """The phases of a blackout whose times are known, in order."""
    mine = [p for p in report.phases if p.handover == number and p.in_blackout]
    return [p for p in mine if p.start_ns is not None and p.duration_ns is not None]


def _slowest(report: Report, number: int) -> Phase | None:
    return max(_blackout(report, number), key=lambda p: p.duration_ns or 0, default=None)


def _axis(phases: Sequence[Phase]) -> tuple[int, int] | None:
    ends = [((p.start_ns or 0), (p.start_ns or 0) + (p.duration_ns or 0)) for p in phases]
    return (min(s for s, _ in ends), max(e for _, e in ends)) if ends else None


def _phase_bar(p: Phase, h: HandoverReport, first: bool) -> Bar:
    meaning = MEANING.get(p.name.partition(":")[0], "")
    note = "; ".join(text for text in (meaning, p.note) if text)
    start = None if p.start_ns is None else p.start_ns - (h.jump_ns or 0)
    return Bar(
        p.name, p.start_ns, p.duration_ns, duration(start, ""),
        "unknown" if p.observed and p.duration_ns is None else "",
        kind_of(p, h.old), note, first,
        p.handover,
    )  # fmt: skip


def _step_bar(step: KhoStep, phase: Phase, h: HandoverReport) -> Bar:
    """A step of KHO or LUO, below the phase that it is a part of."""
    start = None if step.start_ns is None else step.start_ns - (h.jump_ns or 0)
    return Bar(
        f"  {step.label}", step.start_ns, step.took_ns, duration(start, ""),
        "unknown" if step.took_ns is None else "", kind_of(phase, h.old),
        f"in {phase.name}: {', '.join(step.names) or 'KHO or LUO'}", handover=phase.handover,
    )  # fmt: skip


def _handover_lines(report: Report, number: int) -> _Lines:
    h = report.handovers[number]
    several = len(report.handovers) > 1
    which = f"Boot {h.old} → {h.new}: where" if several else "Where"
    slowest = _slowest(report, number)
    axis = _axis(_blackout(report, number))
    phases = [p for p in report.phases if p.handover == number]
    heading = Heading(f"{which} the time went (0 is {h.zero})", axis)
    bars: list[Bar] = []
    for p in phases:
        bars.append(_phase_bar(p, h, p is slowest))
        bars += [_step_bar(s, p, h) for s in steps_in(report.kho_steps, p)]
    return [*_unfinished_lines(h, several), heading, *bars, None]


def _unfinished_lines(h: HandoverReport, several: bool) -> _Lines:
    """What each CPU had begun and not ended, where the old kernel did not leave as it should."""
    if not h.unfinished:
        return []
    which = f"Boot {h.old}: what" if several else "What"
    lines: _Lines = [Heading(f"{which} each CPU had begun and not ended")]
    for cpu in h.unfinished:
        task = "idle" if cpu.pid == 0 else f"{cpu.comm or '<...>'}-{cpu.pid}"
        since = duration(h.from_jump(cpu.since_ns), "")
        lines.append(Bar(f"CPU {cpu.cpu} {task}", None, None, since, " "))
        for one in cpu.open:
            begun = h.from_jump(one.since_ns)
            text = f"{one.what}: {one.event} {one.args}".replace("\n", " ")
            lines.append(Bar(text, one.since_ns, None, duration(begun, ""), " ", "bad", text))
    return [*lines, None]


def _slowest_lines(title: str, bars: Sequence[Bar], total: int) -> _Lines:
    """The slowest of a kind, their bars all from 0."""
    if not bars:
        return []
    rest = f" ({total - len(bars)} more in Tables)" if total > len(bars) else ""
    longest = max(b.took_ns or 0 for b in bars)
    return [Heading(f"{title}{rest}", longest=longest), *bars, None]


def _devices(report: Report, count: int) -> _Lines:
    bars = [
        Bar(
            d.name or "unknown device", d.start_ns, d.duration_ns,
            duration(report.from_jump(d.boot, d.start_ns, leaving=True), ""),
            "" if d.finished else "never returned", "old" if d.finished else "bad",
            f"{d.function or 'shutdown'} of driver {d.driver or 'unknown'}",
        )
        for d in report.devices[:count]
    ]  # fmt: skip
    return _slowest_lines("Slowest device shutdowns", bars, len(report.devices))


def _initcalls(report: Report, count: int) -> _Lines:
    bars = [
        Bar(
            c.function, c.start_ns, c.duration_ns,
            duration(report.from_jump(c.boot, c.start_ns, leaving=False)), kind="new",
            note=f"initcall of level {c.level}, returned {'unknown' if c.ret is None else c.ret}",
        )
        for c in report.initcalls[:count]
    ]  # fmt: skip
    return _slowest_lines("Slowest initcalls", bars, len(report.initcalls))


def _units(report: Report, count: int) -> _Lines:
    bars = [
        Bar(u.name, u.start_ns, u.duration_ns, duration(u.start_ns), kind="new",
            note="a unit that systemd started")
        for u in report.units[:count]
    ]  # fmt: skip
    return _slowest_lines("Slowest systemd units", bars, len(report.units))


def _boot_bar(b: BootReport) -> Bar:
    lost = count_lost(b.lost, b.lost_at_least)
    known = b.lost == 0 and not (b.lost_at_least or b.unreadable or b.undecodable)
    text = f"boot {b.index} {b.release}: {b.events:,} events, {lost} lost"
    if b.unreadable:
        text += f", {b.unreadable:,} unreadable"
    if b.undecodable:
        text += f", {b.undecodable:,} undecodable"
    clock = f"clock {b.clock} {error_bound(b.clock_error_ns)}: {b.clock_method}"
    kind = "good" if known else "warn"
    return Bar(text, None, None, took=" ", kind=kind, note=clock, view="tables")


def _record(report: Report) -> Iterator[Heading | Bar | None]:
    yield Heading("Record")
    for b in report.boots:
        yield _boot_bar(b)
    remarks = [d for d in report.diagnostics if d.severity != "info"]
    if remarks:
        yield None
        yield Heading(f"Remarks ({len(remarks):,})")
    for d in remarks[:_REMARKS]:
        text = f"{d.where}: {d.message}"
        kind = "bad" if d.severity == "error" else "warn"
        yield Bar(text, None, None, took=" ", kind=kind, note=f"{text} ({d.code})", view="")
    if len(remarks) > _REMARKS:
        yield Heading(f"  and {len(remarks) - _REMARKS:,} more: tracekit report has them all")


class StoryHead(Static):
    """The answer in four lines, and the blackout as one bar from end to end."""

    def __init__(self, report: Report, id: str) -> None:
        super().__init__(id=id)
        self._report = report
        self.number = len(report.handovers) - 1

    def render(self) -> Text:
        """The lines."""
        look = look_of(self)
        report, width = self._report, self.size.width
        if not report.handovers:
            return self._no_handover(look)
        h = report.handovers[self.number]
        releases = {b.index: printable(b.release) for b in report.boots}
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append(f"Linux {releases[h.old]} → {releases[h.new]}", look.strong)
        text.append_text(self._completeness(look))
        text.append("\nblackout ", look.dim)
        took, error = measured(h.blackout_ns, h.blackout_error_ns)
        text.append(took, look.bad).append(f" {error}", look.dim)
        text.append("   gap ", look.dim)
        took, error = measured(h.gap_ns, h.gap_error_ns, (h.gap_earliest_ns, h.gap_latest_ns))
        text.append(took, look.strong).append(f" {error}", look.dim)
        if not report.common_clock:
            latest = "unbounded" if h.gap_latest_ns is None else duration(h.gap_latest_ns)
            text.append(f"   no common clock: {duration(h.gap_earliest_ns)} to {latest}", look.warn)
        text.append("\n")
        text.append_text(self._slowest(h, look))
        text.append("\n")
        if axis := pieces(_blackout(report, self.number), h.old, width):
            text.append_text(axis_text(axis, look))
        return text

    def _completeness(self, look: Look) -> Text:
        report = self._report
        look_of_it = {"complete": look.good, "no loss seen": look.strong, "incomplete": look.warn}
        text = Text.assemble("   record ", (report.verdict, look_of_it[report.verdict]))
        return text.append(f", {report.events:,} events, {report.account}")

    def _slowest(self, h: HandoverReport, look: Look) -> Text:
        if not h.way.usual:
            return Text.assemble(("way down  ", look.dim), (printable(h.way.text), look.bad))
        slowest = _slowest(self._report, self.number)
        if slowest is None:
            return Text("no phase of the blackout could be timed", look.warn)
        text = Text.assemble(("slowest  ", look.dim), (printable(slowest.name), look.strong))
        text.append(f" {duration(slowest.duration_ns)}", look.strong)
        if h.blackout_ns:
            text.append(f", {(slowest.duration_ns or 0) / h.blackout_ns:.0%} of the blackout")
        return text

    def _no_handover(self, look: Look) -> Text:
        boots = self._report.boots
        if not boots:
            return Text("nothing was recorded: this session holds no boot", look.warn)
        releases = ", ".join(printable(b.release) for b in boots)
        text = Text(f"Linux {releases}", look.strong).append_text(self._completeness(look))
        if (end := self._report.ending) is not None:
            down = printable(on_one_line(end.way.text))
            return text.append("\nway down  ", look.dim).append(down, look.bad)
        return text.append(
            "\none boot only: nothing tells of a handover.\n"
            "'tracekit recover' under the new kernel adds it.", look.dim,
        )  # fmt: skip


class StoryView(View):
    """Head, bars, and a note on the selected bar."""

    title = "Story"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "other(0)", "Left list", show=False),
        Binding("right,l", "other(1)", "Right list", show=False),
    ]

    def __init__(self, model: Model, *, id: str) -> None:
        super().__init__(model, id=id)
        self._wide: bool | None = None
        self._note = ""
        self._around: dict[int, Around | None] = {}  # by the number of the handover
        self._one_boot: OneBoot | None = None
        self._begun = False

    def compose(self) -> ComposeResult:
        yield StoryHead(self.model.report, id="story-head")
        yield CpuRows(id="story-cpus")
        yield Horizontal(id="story-lists")
        yield LastRows(id="story-last")
        yield Static(id="story-note")

    async def on_resize(self) -> None:
        """One list, or two side by side where there is room."""
        wide = self.size.width >= _WIDE
        self._show_around()
        if wide == self._wide or not self.size.width:
            return
        await self._fill(wide)

    async def _fill(self, wide: bool) -> None:
        self._wide = wide
        report = self.model.report
        phases = panic_lines(report)
        if self._one_boot is not None:
            phases += one_boot_lines(self._one_boot, self.model)
        for number in range(len(report.handovers)):
            phases += _handover_lines(report, number)
        few = _MORE if wide else _FEW
        rest = [
            *_devices(report, few),
            *_initcalls(report, few),
            *_units(report, few),
            *_record(report),
        ]
        lists = self.query_one("#story-lists", Horizontal)
        await lists.remove_children()
        if wide and phases:
            await lists.mount(SpanList(phases, id="story-left"), SpanList(rest, id="story-right"))
        else:
            await lists.mount(SpanList([*phases, *rest], id="story-left"))
        if self.display:
            self.on_shown()

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self._show_note())

    def on_shown(self) -> None:
        """Focus the first list; look at the CPUs, the first time."""
        if not self._begun:
            self._begun = True
            self._look()
        for first in self.query(SpanList):
            first.focus()
            return

    # -- what takes time ----------------------------------------------------------------------

    def _look(self) -> None:
        """Gather what the CPUs did around the jump; of a session without one, its figures."""
        report, number = self.model.report, self.query_one(StoryHead).number
        if not report.handovers:
            if self.model.total:
                start(host_of(self), "figures of the story",
                      lambda job: gather(self.model, job), self._gathered)  # fmt: skip
            return
        if number in self._around:
            self._show_around()
            return
        self._around[number] = None
        handover, phases = report.handovers[number], _blackout(report, number)

        def then(found: Around | None) -> None:
            self._around[number] = found
            self._show_around()

        start(host_of(self), "what the CPUs ran",
              lambda _: look_around(self.model, handover, phases), then)  # fmt: skip

    async def _gathered(self, found: OneBoot) -> None:
        self._one_boot = found
        await self._fill(bool(self._wide))

    def _show_around(self) -> None:
        around = self._around.get(self.query_one(StoryHead).number)
        cpus, last = self.query_one(CpuRows), self.query_one(LastRows)
        size = self.app.size
        cpus.display = around is not None and bool(around.ran) and size.height >= _CPUS_FROM
        last.display = (
            around is not None and size.width >= _LAST_FROM[0] and size.height >= _LAST_FROM[1]
        )
        cpus.show(around)
        last.show(around)

    def action_other(self, which: int) -> None:
        """Move to the other list."""
        lists = list(self.query(SpanList))
        lists[min(which, len(lists) - 1)].focus()

    def on_span_list_selected(self, event: SpanList.Selected) -> None:
        """Show the note on the bar; the head shows its handover."""
        head = self.query_one(StoryHead)
        if event.bar.handover not in (None, head.number):
            head.number = event.bar.handover
            head.refresh()
            self._look()
        named = f"{event.bar.name}: " if event.bar.view == "timeline" else ""
        self._note = f"{named}{event.bar.note}"
        self._show_note()

    def _show_note(self) -> None:
        note = Text(printable(self._note), self.look.dim)
        self.query_one("#story-note", Static).update(note)

    def on_span_list_only(self, event: SpanList.Only) -> None:
        """Mark the bar: tables, counts and the panel are then of it."""
        bar = event.bar
        if bar.start_ns is None or bar.took_ns is None:
            host_of(self).say(f"{bar.name}: nothing tells when it was, or how long")
            return
        self.model.mark_span(bar.start_ns, bar.start_ns + bar.took_ns, bar.name)

    def on_span_list_chosen(self, event: SpanList.Chosen) -> None:
        """Show the bar in the timeline."""
        bar = event.bar
        if bar.view == "timeline":
            if bar.start_ns is None:
                host_of(self).say(f"{bar.name}: nothing tells when it was")
                return
            host_of(self).show_span(bar.start_ns, bar.start_ns + (bar.took_ns or 0))
        elif bar.view:
            host_of(self).show_view(bar.view)
