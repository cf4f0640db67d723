"""The report as people read it: rich tables and bars, plain text when not on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tracekit.cli.common import printable
from tracekit.timeline.phases import Phase
from tracekit.timeline.report import BootReport, CpuReport, HandoverReport, LastEvent, Report

__all__ = ["duration", "render_report"]

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = 22  # cells
_UNITS = ((10**9, "s"), (10**6, "ms"), (10**3, "µs"), (1, "ns"))
_SEVERITY = {"error": "bold red", "warning": "yellow", "info": "dim"}
_LISTED = 20  # diagnostics; --json has them all


def duration(ns: int | float | None, unknown: str = "unknown") -> str:
    """``1.234 s``, ``56.7 ms``, ``890 ns``: the largest unit that leaves a whole number."""
    if ns is None:
        return unknown
    size, unit = next(((s, u) for s, u in _UNITS if abs(ns) >= s), (1, "ns"))
    value = ns / size
    digits = 0 if size == 1 else max(0, 3 - len(str(int(abs(value)))) + (unit == "s"))
    return f"{value:.{digits}f} {unit}"


def _error(ns: int | None) -> str:
    return f"± {duration(ns)}" if ns is not None else "error unknown"


def _bar(share: float) -> str:
    cells = max(0.0, min(1.0, share)) * _BAR
    whole, part = int(cells), int((cells % 1) * 8)
    bar = "█" * whole + (_EIGHTHS[part] if part else "")
    return bar or "▏"


def _table(*columns: tuple[str, str]) -> Table:
    """Columns are (name, kind): ``n`` numbers, never cut; ``t`` text, which wraps; ``b`` bars."""
    heads = any(name for name, _ in columns)
    table = Table(
        box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=heads
    )
    for name, kind in columns:
        table.add_column(
            name,
            justify="right" if kind == "n" else "left",
            no_wrap=kind == "n",
            overflow="crop" if kind == "b" else "fold",
        )
    return table


def _answer(report: Report, h: HandoverReport) -> Iterator[RenderableType]:
    releases = {b.index: printable(b.release) for b in report.boots}
    yield Text(f"Linux {releases[h.old]} → {releases[h.new]}", style="bold")
    facts = _table(("", "t"), ("", "n"), ("", "n"), ("", "t"))
    cycles = f" = {h.gap_raw:,} cycles" if h.gap_raw is not None else ""
    facts.add_row(
        "  blackout", Text(duration(h.blackout_ns), style="bold red"), _error(h.blackout_error_ns)
        if h.blackout_ns is not None else "", "reboot call to first user process",
    )  # fmt: skip
    facts.add_row(
        "  gap", Text(duration(h.gap_ns), style="bold"), _error(h.gap_error_ns)
        if h.gap_ns is not None else "", f"last old event to first new one{cycles}",
    )  # fmt: skip
    yield facts
    if not report.common_clock and h.gap_method:
        latest = "unbounded" if h.gap_latest_ns is None else duration(h.gap_latest_ns)
        between = f"  no common clock: the gap is {duration(h.gap_earliest_ns)} to {latest}"
        yield Text(f"{between}; {h.gap_method}", style="yellow")


def _record(report: Report) -> Text:
    events = sum(b.events for b in report.boots)
    unknown = any(b.lost is None for b in report.boots)
    least = any(b.lost_at_least for b in report.boots)
    lost = sum(b.lost or 0 for b in report.boots)
    unreadable = sum(b.unreadable for b in report.boots)
    word = "unknown" if unknown else f"{'at least ' if least else ''}{lost:,}"
    text = Text("  record    ")
    if report.complete:
        text.append("complete", "bold green")
    else:
        text.append("incomplete", "bold yellow")
    return text.append(f": {events:,} events, {word} lost, {unreadable:,} unreadable")


def _phases(phases: Sequence[Phase]) -> RenderableType:
    table = _table(("boot", "n"), ("phase", "t"), ("starts", "n"), ("takes", "n"), ("", "b"))
    longest = max((p.duration_ns or 0 for p in phases if p.name != "kexec load"), default=0) or 1
    notes = []
    for p in phases:
        mark = ""
        if p.note:
            notes.append(p.note)
            mark = f" [{len(notes)}]"
        if not p.observed:
            table.add_row(
                str(p.boot), f"{printable(p.name)}{mark}", "", "not observed", "", style="dim"
            )
            continue
        dark = p.name.startswith("dark")
        bar = Text(_bar((p.duration_ns or 0) / longest), style="magenta" if dark else "cyan")
        name = Text(printable(p.name), style="bold magenta" if dark else "").append(
            mark, style="dim"
        )
        table.add_row(str(p.boot), name, duration(p.start_ns), duration(p.duration_ns), bar)
    lines = [Text(f"  [{i}] {note}", style="dim") for i, note in enumerate(notes, 1)]
    return Group(table, *lines)


def _initcalls(report: Report) -> Table:
    table = _table(("initcall", "t"), ("level", "t"), ("starts", "n"), ("takes", "n"), ("", "b"))
    longest = max((c.duration_ns for c in report.initcalls), default=0) or 1
    for c in report.initcalls:
        bar = Text(_bar(c.duration_ns / longest), style="cyan")
        table.add_row(
            printable(c.function),
            printable(c.level),
            duration(c.start_ns),
            duration(c.duration_ns),
            bar,
        )
    return table


def _lost(of: BootReport | CpuReport) -> str:
    if of.lost is None:
        return "unknown"
    return f"≥ {of.lost:,}" if of.lost_at_least else f"{of.lost:,}"


def _boots(report: Report) -> Iterator[RenderableType]:
    table = _table(("boot", "n"), ("kernel", "t"), ("cpu", "n"), ("events", "n"), ("lost", "n"),
                   ("unreadable", "n"), ("first", "n"), ("last", "n"))  # fmt: skip
    for b in report.boots:
        table.add_row(str(b.index), printable(b.release), "all", f"{b.events:,}", _lost(b),
                      f"{b.unreadable:,}", "", "", style="bold")  # fmt: skip
        for c in b.cpus:
            table.add_row("", "", str(c.cpu), f"{c.events:,}", _lost(c), f"{c.unreadable:,}",
                          duration(c.first_ns, "-"), duration(c.last_ns, "-"))  # fmt: skip
    yield table
    for b in report.boots:
        residual = "" if b.clock_residual_ns is None else (
            f", residual {duration(b.clock_residual_ns)}"
        )  # fmt: skip
        text = f"  boot {b.index} clock {b.clock}: {_error(b.clock_error_ns)}{residual}"
        yield Text(f"{text}; {b.clock_method}", style="dim")


def _last_event(e: LastEvent) -> Text:
    line = Text(f"{duration(e.ts_ns):>10}  ", no_wrap=True, overflow="ellipsis")
    line.append(printable(f"{e.comm or '<...>'}-{e.pid}"), style="green")
    line.append(f"  {printable(e.event)}  ", style="cyan")
    return line.append(printable(e.args).replace("\n", " "))


def _last_events(report: Report) -> Iterator[RenderableType]:
    for cpu in sorted({e.cpu for e in report.last_events}):
        lines = (_last_event(e) for e in report.last_events if e.cpu == cpu)
        yield Group(Text(f"CPU {cpu}", style="bold"), *lines)


def _diagnostics(report: Report) -> Iterator[RenderableType]:
    for d in report.diagnostics[:_LISTED]:
        text = f"  {d.severity}: {printable(d.where)}: {printable(d.message)} ({d.code})"
        yield Text(text, style=_SEVERITY[d.severity])
    if len(report.diagnostics) > _LISTED:
        yield Text(f"  … and {len(report.diagnostics) - _LISTED} more: --json has them all")


def _sections(report: Report) -> Iterator[tuple[str, list[RenderableType]]]:
    if report.phases:
        yield "Where the time went (0 is the jump)", [_phases(report.phases)]
    if report.initcalls:
        yield "Slowest initcalls", [_initcalls(report)]
    yield "Record", list(_boots(report))
    if report.last_events:
        yield "Last events of every CPU before the jump", list(_last_events(report))
    if report.diagnostics:
        yield "Remarks", list(_diagnostics(report))


def render_report(report: Report, console: Console) -> None:
    """Print the report; ``console`` decides about colour and width."""
    for h in report.handovers:
        for part in _answer(report, h):
            console.print(part)
    if not report.handovers:
        names = ", ".join(printable(b.release) for b in report.boots) or "no boot"
        console.print(Text(f"Linux {names}: one boot, no jump in this session", style="bold"))
    console.print(_record(report))
    for title, parts in _sections(report):
        console.print(Text(f"\n{title}", style="bold"))
        for part in parts:
            console.print(part)
