"""The report as people read it: rich tables and bars, plain text when not on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.text import Text

from tracekit.cli.printed.kho import handed_over_lines, left_running_lines, step_table
from tracekit.cli.printed.panic import panic_lines, panic_title
from tracekit.cli.printed.table import PlainTable
from tracekit.report.canary import canary_lines
from tracekit.report.jump.kho_steps import steps_in
from tracekit.report.make import BootReport, CpuReport, HandoverReport, LastEvent, Report
from tracekit.report.probes import ProbeReport
from tracekit.report.unfinished import CpuUnfinished
from tracekit.text import (
    count_lost,
    duration,
    error_bound,
    measured,
    on_one_line,
    printable,
)

__all__ = ["render_report"]

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = 22  # cells
_SEVERITY = {"error": "bold red", "warning": "yellow", "info": "dim"}
_MOST = 10  # of the slowest of a kind
_OPEN = 12  # things a CPU had begun, the newest
_LISTED = 20  # diagnostics; --json has them all


def _bar(share: float) -> str:
    cells = max(0.0, min(1.0, share)) * _BAR
    whole, part = int(cells), int((cells % 1) * 8)
    bar = "█" * whole + (_EIGHTHS[part] if part else "")
    return bar or "▏"


def _answer(report: Report, h: HandoverReport) -> Iterator[RenderableType]:
    releases = {b.index: printable(b.release) for b in report.boots}
    yield Text(f"Linux {releases[h.old]} → {releases[h.new]}", style="bold")
    yield Text(f"  way down  {printable(on_one_line(h.way.text))}")
    facts = PlainTable(("", "t"), ("", "n"), ("", "n"), ("", "t"))
    cycles = f" = {h.gap_raw:,} cycles" if h.gap_raw is not None else ""
    took, error = measured(h.blackout_ns, h.blackout_error_ns)
    what = f"{h.way.begin} to first user process"
    facts.add_row("  blackout", Text(took, style="bold red"), error, what)
    took, error = measured(h.gap_ns, h.gap_error_ns, (h.gap_earliest_ns, h.gap_latest_ns))
    what = f"last old event to first new one{cycles}"
    facts.add_row("  gap", Text(took, style="bold"), error, what)
    yield facts
    if not report.common_clock and h.gap_method:
        latest = "unbounded" if h.gap_latest_ns is None else duration(h.gap_latest_ns)
        between = f"  no common clock: the gap is {duration(h.gap_earliest_ns)} to {latest}"
        yield Text(printable(f"{between}; {h.gap_method}"), style="yellow")
    yield _when(report, h.old, h.jump_ns, h.zero)


def _when(report: Report, boot: int, ns: int | None, what: str) -> Text:
    """What time of day it was, or why that is not known."""
    time = next(t for t in report.times if t.boot == boot)
    at = time.at(ns)
    if at is None:
        why = time.basis if time.offset_ns is None else "nothing was recorded there"
        return Text(printable(f"  when      unknown: {why}"), style="dim")
    text = f"  when      {what} at {at} {error_bound(time.error_ns)}, by {time.basis}"
    return Text(printable(text))


def _record(report: Report) -> Text:
    text = Text("  record    ")
    style = {"complete": "bold green", "no loss seen": "bold", "incomplete": "bold yellow"}
    text.append(report.verdict, style[report.verdict])
    return text.append(f": {report.events:,} events, {report.account}")


def _phases(report: Report, number: int) -> RenderableType:
    phases = [p for p in report.phases if p.handover == number]
    jump = report.handovers[number].jump_ns or 0
    table = PlainTable(("boot", "n"), ("phase", "t"), ("starts", "n"), ("takes", "n"), ("", "b"))
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
        start = None if p.start_ns is None else p.start_ns - jump
        table.add_row(str(p.boot), name, duration(start), duration(p.duration_ns), bar)
        for step in steps_in(report.kho_steps, p):
            begins = duration(None if step.start_ns is None else step.start_ns - jump)
            table.add_row("", f"  {step.label}", begins, duration(step.took_ns), "", style="dim")
    lines = [Text(f"  [{i}] {printable(note)}", style="dim") for i, note in enumerate(notes, 1)]
    return Group(table, *lines)


def _slowest(
    report: Report,
    heads: Sequence[str],
    rows: Sequence[tuple[Sequence[str], int, int | None, int | None]],
    *,
    leaving: bool,
) -> PlainTable:
    """Rows of (texts, boot, start, duration) with bars; several handovers also show the boot."""
    several = len(report.handovers) > 1
    boot = [("boot", "n")] if several else []
    texts = [(head, "t") for head in heads]
    table = PlainTable(*boot, *texts, ("starts", "n"), ("takes", "n"), ("", "b"))
    longest = max((took or 0 for *_, took in rows), default=0) or 1
    for cells, number, start, took in rows:
        begins = duration(report.from_jump(number, start, leaving=leaving))
        bar = Text(_bar(took / longest), style="cyan") if took is not None else Text("")
        end = duration(took) if took is not None else Text("never returned", style="bold red")
        first = [str(number)] if several else []
        table.add_row(*first, *map(printable, cells), begins, end, bar)
    return table


def _more(count: int, plural: str) -> Iterator[RenderableType]:
    if count > _MOST:
        yield Text(f"  … and {count - _MOST} more {plural}: --json has them all", style="dim")


def _initcalls(report: Report) -> Iterator[RenderableType]:
    calls = report.initcalls[:_MOST]
    rows = [((c.function, c.level), c.boot, c.start_ns, c.duration_ns) for c in calls]
    yield _slowest(report, ("initcall", "level"), rows, leaving=False)
    yield from _more(len(report.initcalls), "initcalls")


def _units(report: Report) -> Iterator[RenderableType]:
    rows = [((u.name,), u.boot, u.start_ns, u.duration_ns) for u in report.units[:_MOST]]
    yield _slowest(report, ("unit",), rows, leaving=False)
    yield from _more(len(report.units), "units")


def _devices(report: Report) -> Iterator[RenderableType]:
    rows = [
        ((d.name or "?", d.driver or "-", d.function or "-"), d.boot, d.start_ns,
         d.duration_ns if d.finished else None)
        for d in report.devices[:_MOST]
    ]  # fmt: skip
    yield _slowest(report, ("device", "driver", "function"), rows, leaving=True)
    yield from _more(len(report.devices), "calls")
    last = {
        (d.boot, d.name): d
        for d in sorted(report.devices, key=lambda d: d.start_ns or 0)
        if d.bus_master is not None
    }
    able = [d for d in last.values() if d.bus_master]
    if able:
        names = ", ".join(f"{d.name} ({d.driver or 'no driver'})" for d in able)
        text = f"  PCI devices that could still do DMA after their shutdown: {printable(names)}"
        yield Text(text, style="bold yellow")
    elif last:
        yield Text(
            f"  DMA: bus mastering was off after the shutdown of all {len(last)} PCI devices"
        )
    else:
        yield Text("  whether PCI devices could still do DMA was not recorded", style="dim")


def _control(report: Report) -> Iterator[RenderableType]:
    """The last things done to the tracers; who reads the record must know."""
    table = PlainTable(("at", "n"), ("task", "t"), ("did", "t"), ("instance", "t"), ("file", "t"),
                   ("value", "t"), ("events since", "n"))  # fmt: skip
    left = len(report.control) - _MOST
    if left > 0:
        yield Text(f"  … {left} more before these: --json has them all", style="dim")
    for c in report.control[-_MOST:]:
        at = duration(report.from_jump(c.boot, c.ns, leaving=True), "-")
        grown = "" if c.grown is None else f"{c.grown:,}"
        texts = (f"{c.comm or '<...>'}-{c.pid}", c.done, c.instance or "(top)", c.file, c.value)
        table.add_row(at, *(on_one_line(text) for text in texts), grown)
    yield table


def _not_probed(probes: ProbeReport) -> str:
    """The missing probes, grouped by reason."""
    by_reason: dict[str, list[str]] = {}
    for m in probes.missing:
        reason = m.reason
        for function in m.functions:
            reason = reason.removeprefix(f"{function}: ")
        by_reason.setdefault(reason, []).append(m.event)
    return "; ".join(f"{', '.join(events)} ({why})" for why, events in by_reason.items())


def _probes(report: Report) -> Iterator[RenderableType]:
    """What was probed, and what the record lacks because it was not."""
    kinds = {"bpf": "BPF probes", "kprobes": "kprobe events instead of BPF", "none": "no probes"}
    for p in report.probes:
        why = f" ({p.reason})" if p.reason else ""
        line = f"  boot {p.boot}: {kinds.get(p.mode, p.mode)}{why}, {p.loaded} attached"
        missing = f"; not recorded: {_not_probed(p)}" if p.missing else ""
        yield Text(printable(line + missing), style="dim")


def _lost(counts: BootReport | CpuReport) -> str:
    return count_lost(counts.lost, counts.lost_at_least, "≥ ")


def _boots(report: Report) -> Iterator[RenderableType]:
    table = PlainTable(("boot", "n"), ("kernel", "t"), ("cpu", "n"), ("events", "n"), ("lost", "n"),
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
        text = f"  boot {b.index} clock {b.clock}: {error_bound(b.clock_error_ns)}{residual}"
        yield Text(printable(f"{text}; {b.clock_method}"), style="dim")


def _last_event(e: LastEvent) -> Text:
    line = Text(f"{duration(e.ts_ns):>10}  ", no_wrap=True, overflow="ellipsis")
    line.append(printable(f"{e.comm or '<...>'}-{e.pid}"), style="green")
    line.append(f"  {printable(e.event)}  ", style="cyan")
    return line.append(printable(e.args).replace("\n", " "))


def _last_events(report: Report) -> Iterator[RenderableType]:
    for cpu in sorted({e.cpu for e in report.last_events}):
        lines = (_last_event(e) for e in report.last_events if e.cpu == cpu)
        yield Group(Text(f"CPU {cpu}", style="bold"), *lines)


def _unfinished(
    cpus: Sequence[CpuUnfinished], from_zero: Callable[[int | None], int | None] = lambda ns: ns
) -> Iterator[RenderableType]:
    """What each CPU had begun and not ended; ``from_zero`` makes its times those shown."""
    for cpu in cpus:
        task = "idle" if cpu.pid == 0 else printable(f"{cpu.comm or '<...>'}-{cpu.pid}")
        since = "" if cpu.since_ns is None else f" since {duration(from_zero(cpu.since_ns))}"
        head = Text(f"CPU {cpu.cpu}  ", style="bold")
        head.append(task, style="green").append(
            f"{since}, last event {duration(from_zero(cpu.last_ns))}"
        )
        lines = [head]
        if (more := len(cpu.open) - _OPEN) > 0:
            lines.append(Text(f"  … {more} begun earlier: --json has them all", style="dim"))
        for one in cpu.open[-_OPEN:]:
            line = Text(
                f"{duration(from_zero(one.since_ns)):>10}  ", no_wrap=True, overflow="ellipsis"
            )
            line.append(f"{one.what}: ", style="bold red")
            if (one.pid, one.comm) != (cpu.pid, cpu.comm):
                line.append(printable(f"{one.comm or '<...>'}-{one.pid}  "), style="green")
            line.append(f"{printable(one.event)}  ", style="cyan")
            lines.append(line.append(printable(one.args).replace("\n", " ")))
        yield Group(*lines)


def _diagnostics(report: Report) -> Iterator[RenderableType]:
    # what was not probed is in the section "Record"
    remarks = [d for d in report.diagnostics if d.code != "probe-absent" or not report.probes]
    for d in remarks[:_LISTED]:
        text = on_one_line(f"{d.severity}: {d.where}: {d.message} ({d.code})")
        yield Text(f"  {text}", style=_SEVERITY[d.severity])
    if len(remarks) > _LISTED:
        yield Text(f"  … and {len(remarks) - _LISTED} more: --json has them all")


def _sections(report: Report) -> Iterator[tuple[str, list[RenderableType]]]:
    several = len(report.handovers) > 1
    for panic in report.panics:
        title = panic_title(panic, several=len(report.boots) > 2)
        yield title, list(panic_lines(report, panic))
    for h in report.handovers:
        if h.unfinished:
            where = f"Boot {h.old}: what" if several else "What"
            yield (
                f"{where} each CPU had begun and not ended",
                list(_unfinished(h.unfinished, h.from_jump)),
            )
    if report.ending and report.ending.unfinished:
        where = f"Boot {report.ending.boot}: what" if report.handovers else "What"
        yield (
            f"{where} each CPU had begun and not ended",
            list(_unfinished(report.ending.unfinished)),
        )
    for number, h in enumerate(report.handovers):
        which = f"Boot {h.old} → {h.new}: where" if several else "Where"
        yield f"{which} the time went (0 is {h.zero})", [_phases(report, number)]
    if report.devices:
        yield "Slowest device shutdowns", list(_devices(report))
    if report.initcalls:
        yield "Slowest initcalls", list(_initcalls(report))
    if report.units:
        yield "Slowest systemd units", list(_units(report))
    if report.control:
        yield "What was done to the tracers", list(_control(report))
    if report.canaries:
        lines = (Text(line, style) for line, style in canary_lines(report.canaries))
        yield "Canary", list(lines)
    if report.handed_over:
        yield "Handed over, and what arrived", list(handed_over_lines(report))
    if report.kho_steps:
        yield "Preserving and taking up", [step_table(report)]
    if report.left_running:
        yield "PCI devices left running", list(left_running_lines(report))
    yield "Record", [*_boots(report), *_probes(report)]
    if report.last_events:
        which = "last jump" if several else "jump"
        yield f"Last events of every CPU before the {which}", list(_last_events(report))
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
        for one in report.boots:
            console.print(_when(report, one.index, 0, report.zero))
    if report.ending:
        boot = f" (boot {report.ending.boot})" if report.handovers else ""
        console.print(Text(f"  way down{boot}  {printable(on_one_line(report.ending.way.text))}"))
    console.print(_record(report))
    for title, parts in _sections(report):
        console.print(Text(f"\n{title}", style="bold"))
        for part in parts:
            console.print(part)
