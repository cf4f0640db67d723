"""The Story view: where the time of a handover went, what was slow, and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Static

from tracekit.report.make import BootReport, HandoverReport, Report
from tracekit.report.phases import MEANING, Phase
from tracekit.text import count_lost, duration, error_bound, measured, on_one_line, printable
from tui.host import host_of, look_of
from tui.model import Model
from tui.story.panic import panic_lines
from tui.story.spans import Bar, Heading, SpanList
from tui.theme import Look
from tui.view import View

__all__ = ["StoryHead", "StoryView"]

_FEW, _MORE = 5, 12  # of the slowest devices, initcalls and units; where there is room
_REMARKS = 30
_WIDE = 140  # columns from which on there are two lists

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


def _kind(phase: Phase, old: int) -> str:
    if phase.name.startswith("dark"):
        return "dark"
    return "old" if phase.boot == old else "new"


def _phase_bar(p: Phase, h: HandoverReport, first: bool) -> Bar:
    meaning = MEANING.get(p.name.partition(":")[0], "")
    note = "; ".join(text for text in (meaning, p.note) if text)
    start = None if p.start_ns is None else p.start_ns - (h.jump_ns or 0)
    return Bar(
        p.name, p.start_ns, p.duration_ns, duration(start, ""),
        "unknown" if p.observed and p.duration_ns is None else "",
        _kind(p, h.old), note, first,
        p.handover,
    )  # fmt: skip


def _handover_lines(report: Report, number: int) -> _Lines:
    h = report.handovers[number]
    several = len(report.handovers) > 1
    which = f"Boot {h.old} → {h.new}: where" if several else "Where"
    slowest = _slowest(report, number)
    axis = _axis(_blackout(report, number))
    phases = [p for p in report.phases if p.handover == number]
    heading = Heading(f"{which} the time went (0 is {h.zero})", axis)
    bars = [_phase_bar(p, h, p is slowest) for p in phases]
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
        text.append_text(_blackout_bar(_blackout(report, self.number), h, width, look))
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


def _cells(phases: Sequence[Phase], old: int, axis: tuple[int, int], width: int) -> list[str]:
    """The kind of every cell of a bar from end to end: the one with most time in the cell.

    It is unknown where no phase was observed.
    """
    kinds, edges = [], []
    for i in range(width + 1):
        edges.append(axis[0] + (axis[1] - axis[0]) * i / width)
    for left, right in pairwise(edges):
        share = {"old": 0.0, "dark": 0.0, "new": 0.0}
        for p in phases:
            start, end = p.start_ns or 0, (p.start_ns or 0) + (p.duration_ns or 0)
            share[_kind(p, old)] += max(0.0, min(end, right) - max(start, left))
        share["unknown"] = right - left - sum(share.values())
        kinds.append(max(share, key=lambda kind: share[kind]))
    if kinds:
        kinds[0] = _kind(phases[0], old)  # however short, the old kernel is there
    return kinds


def _style(look: Look, kind: str) -> Style:
    style: Style = getattr(look, "dark" if kind == "unknown" else kind)
    return style


def _blackout_bar(phases: Sequence[Phase], h: HandoverReport, width: int, look: Look) -> Text:
    """Two lines: the bar, and what its parts are."""
    axis = _axis(phases)
    if axis is None or width < 20:
        return Text("")
    text = Text()
    runs: list[tuple[int, str]] = []  # where each part begins
    kinds = _cells(phases, h.old, axis, width)
    for kind, run in groupby(range(len(kinds)), lambda i: kinds[i]):
        cells = list(run)
        sign = "░" if kind in ("dark", "unknown") else "█"
        text.append(sign * len(cells), _style(look, kind))
        runs.append((cells[0], kind))
    took = {k: sum(p.duration_ns or 0 for p in phases if _kind(p, h.old) == k) for k in kinds}
    if "unknown" in took:
        took["unknown"] = axis[1] - axis[0] - sum(p.duration_ns or 0 for p in phases)
    return text.append("\n").append_text(_labels(runs, took, width, look))


def _labels(runs: list[tuple[int, str]], took: dict[str, int], width: int, look: Look) -> Text:
    """Labels of the parts, each below its part or after the one before, as long as they fit."""
    long = {"old": "old kernel ", "dark": "dark: nothing can record ", "new": "new kernel ",
            "unknown": "unknown: no event tells "}  # fmt: skip
    short = {"old": "old ", "dark": "dark ", "new": "new ", "unknown": "unknown "}
    for names in (long, short, dict.fromkeys(long, "")):
        labels = Text()
        for begin, kind in runs:
            labels.append(" " * (begin - labels.cell_len))
            labels.append(f"{names[kind]}{duration(took[kind])}", _style(look, kind)).append("  ")
        labels.rstrip()
        if labels.cell_len <= width:
            break
    return labels


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

    def compose(self) -> ComposeResult:
        yield StoryHead(self.model.report, id="story-head")
        yield Horizontal(id="story-lists")
        yield Static(id="story-note")

    async def on_resize(self) -> None:
        """One list, or two side by side where there is room."""
        wide = self.size.width >= _WIDE
        if wide == self._wide or not self.size.width:
            return
        self._wide = wide
        report = self.model.report
        phases = panic_lines(report)
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
        """Focus the first list."""
        for first in self.query(SpanList):
            first.focus()
            return

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
