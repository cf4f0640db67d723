"""The parts of the page that are tables and lists, from the report."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracekit.drawing.markup import EMPTY, Markup, joined, tag
from tracekit.drawing.story import phase_class
from tracekit.drawing.tables import bar, folded, section, table
from tracekit.report.canary import canary_lines
from tracekit.report.critical.blame import Blamed
from tracekit.report.jump.kho_steps import steps_in
from tracekit.report.make import BootReport, CpuReport, Report
from tracekit.report.unfinished import CpuUnfinished
from tracekit.text import count_lost, duration, error_bound, measured, on_one_line

__all__ = ["blame_sections", "crossing", "handovers", "last_events", "losses", "phases"]
__all__ += ["remarks", "stuck"]

_FIRST = 15  # rows shown at once
_LONG = 300  # characters of one text


def _cut(text: str) -> str:
    line = on_one_line(text)
    return line if len(line) <= _LONG else f"{line[:_LONG]}…"


def phases(report: Report, number: int) -> Markup:
    """Every phase of a handover with its bar, and the notes below."""
    h = report.handovers[number]
    mine = [p for p in report.phases if p.handover == number]
    longest = max((p.duration_ns or 0 for p in mine if p.in_blackout), default=0) or 1
    rows, notes = list[list[str]](), list[str]()
    for place, p in enumerate(mine):
        name: str = p.name
        if p.note:
            notes.append(p.note)
            name = joined([p.name, " ", tag("sup", str(len(notes)))])
        if not p.observed:
            rows.append(["~", str(p.boot), name, "", "not observed", EMPTY])
            continue
        begins = duration(None if p.start_ns is None else p.start_ns - (h.jump_ns or 0))
        share = None if p.duration_ns is None else p.duration_ns / longest
        rows.append([str(p.boot), name, begins, duration(p.duration_ns),
                     bar(share, phase_class(p, h, place))])  # fmt: skip
        for step in steps_in(report.kho_steps, p):
            begins = duration(None if step.start_ns is None else step.start_ns - (h.jump_ns or 0))
            rows.append(["~", "", f"· {step.label}", begins, duration(step.took_ns), EMPTY])
    listed = tag("ol", *(tag("li", _cut(note)) for note in notes), class_="notes")
    made = table(("boot", "phase", "starts", "takes", ""), rows, "ntnnt")
    return joined([made, listed if notes else EMPTY])


def _things(report: Report, things: Sequence[Blamed], face: str, head: str, most: int) -> Markup:
    """The slowest, and all others when asked for."""
    longest = max((t.duration_ns or 0 for t in things), default=0) or 1

    def rows(some: Sequence[Blamed]) -> Iterator[list[str]]:
        for t in some:
            leaving = any(h.old == t.boot for h in report.handovers)
            start = duration(report.from_jump(t.boot, t.start_ns, leaving=leaving))
            took = duration(t.duration_ns) if t.finished else "never returned"
            error = "" if t.error_ns is None else f"± {duration(t.error_ns)}"
            share = None if t.duration_ns is None else t.duration_ns / longest
            cells = [str(t.boot), _cut(t.name), _cut(t.detail), _cut(t.phase), start,
                     f"{'≤ ' if t.at_most else ''}{took}", error, bar(share, face)]  # fmt: skip
            yield cells if t.finished else ["!", *cells]

    heads = ("boot", head, "", "in", "starts", "takes", "", "")
    parts = [table(heads, list(rows(things[:_FIRST])), "nmttnnnt")]
    if rest := things[_FIRST:most]:
        title = f"{len(things) - _FIRST:,} more"
        more = len(things) - most
        note = tag("p", f"and {more:,} more: tracekit blame has them all") if more > 0 else EMPTY
        parts.append(folded(title, joined([table(heads, list(rows(rest)), "nmttnnnt"), note])))
    return joined(parts)


def blame_sections(report: Report, things: Sequence[Blamed], most: int) -> Markup:
    """Devices, initcalls, units, and the steps between."""
    kinds = (
        ("devices", "Device shutdowns", ("device",), "device", "device"),
        ("initcalls", "Initcalls", ("initcall",), "call", "initcall"),
        ("units", "systemd units", ("unit",), "unit", "unit"),
        ("steps", "Notifiers, LUO and KHO",
         ("notifier", "notifier chain", "LUO step", "KHO step"), "step", "step"),
    )  # fmt: skip
    parts = []
    for name, title, wanted, face, head in kinds:
        mine = [t for t in things if t.kind in wanted]
        if mine:
            parts.append(section(name, f"{title} ({len(mine):,})",
                                 _things(report, mine, face, head, most)))  # fmt: skip
    return joined(parts)


def _of_cpu(cpu: CpuUnfinished, zero: int) -> Markup:
    task = "idle" if cpu.pid == 0 else f"{cpu.comm or '<...>'}-{cpu.pid}"
    since = "" if cpu.since_ns is None else f" since {duration(cpu.since_ns - zero)}"
    rows = [[duration(None if o.since_ns is None else o.since_ns - zero), o.what,
             f"{o.comm or '<...>'}-{o.pid}", o.event, _cut(o.args)]
            for o in cpu.open[-_FIRST:]]  # fmt: skip
    head = tag("h3", f"CPU {cpu.cpu}: {task}{since}")
    return joined([head, table(("since", "what", "task", "event", ""), rows, "ntmmt")]
                  if rows else [head])  # fmt: skip


def stuck(report: Report, most: int) -> Markup:
    """What each CPU had begun and not ended, where the way down was no usual one."""
    parts = []
    for h in report.handovers:
        parts += [_of_cpu(cpu, h.jump_ns or 0) for cpu in h.unfinished[:most]]
    if report.ending:
        parts += [_of_cpu(cpu, 0) for cpu in report.ending.unfinished[:most]]
    return section("stuck", "What each CPU had begun and not ended", *parts)


def handovers(report: Report, most: int) -> Markup:
    """All jumps of a chain in one table, the last first; '' where there is one alone."""
    releases = {b.index: b.release for b in report.boots}
    rows = []
    for h in report.handovers[::-1][:most] if len(report.handovers) > 1 else ():
        took, error = measured(h.blackout_ns, h.blackout_error_ns)
        gap, gap_error = measured(h.gap_ns, h.gap_error_ns, (h.gap_earliest_ns, h.gap_latest_ns))
        rows.append([f"{h.old} → {h.new}", _cut(f"{releases[h.old]} → {releases[h.new]}"),
                     took, error, gap, gap_error, _cut(h.way.text)])  # fmt: skip
    heads = ("boots", "kernels", "blackout", "", "gap", "", "way down")
    title = f"Handovers ({len(report.handovers)})"
    return section("handovers", title, table(heads, rows, "ntnnnnt") if rows else EMPTY)


def _lost(one: BootReport | CpuReport) -> str:
    return count_lost(one.lost, one.lost_at_least, "≥ ")


def losses(report: Report, most: int) -> Markup:
    """What was recorded and lost, boot by boot and CPU by CPU, and the clocks."""
    rows: list[list[str]] = []
    cpus = sum(len(b.cpus) for b in report.boots)
    for b in report.boots:
        rows.append(["!", str(b.index), _cut(b.release), "all", f"{b.events:,}", _lost(b),
                     f"{b.unreadable:,}", "", ""])  # fmt: skip
        rows += [["", "", str(c.cpu), f"{c.events:,}", _lost(c), f"{c.unreadable:,}",
                  duration(c.first_ns, "-"), duration(c.last_ns, "-")]
                 for c in (b.cpus if cpus <= most else ())]  # fmt: skip
    more = f"{cpus:,} CPUs are not listed: tracekit report has them" if cpus > most else ""
    heads = ("boot", "kernel", "CPU", "events", "lost", "unreadable", "first", "last")
    clocks = [
        tag("li", tag("b", f"boot {b.index}: {b.clock}: {error_bound(b.clock_error_ns)}"),
            f"; {b.clock_method}")
        for b in report.boots[-most:]
    ]  # fmt: skip
    probes = [
        tag("li", f"boot {p.boot}: {p.mode}{f' ({p.reason})' if p.reason else ''}: {p.loaded} "
            f"probes; not recorded: {_cut(', '.join(m.event for m in p.missing)) or 'nothing'}")
        for p in report.probes[-most:]
    ]  # fmt: skip
    return joined([
        section("record", f"The record: {report.verdict}", tag("p", report.account),
                table(heads, rows, "ntnnnnnn"), tag("p", more) if more else EMPTY),
        section("clocks", "Clocks", tag("ul", *clocks, class_="notes")),
        section("probes", "Probes", tag("ul", *probes, class_="notes") if probes else EMPTY),
    ])  # fmt: skip


def _arrivals(report: Report, most: int) -> Iterator[Markup]:
    for a in report.handed_over:
        rows = [[*(["!"] if t.verdict not in ("arrived", "new") else []), t.kind, _cut(t.name),
                 t.verdict, _cut(t.detail)] for t in a.things[:most]]  # fmt: skip
        yield tag("h3", f"{a.old} → {a.new}")
        yield table(("kind", "name", "", ""), rows, "tmtt")


def crossing(report: Report, most: int) -> Markup:
    """What KHO carried, when, what devices went on, and what became of canaries."""
    steps = [[str(s.boot), s.name, f"{s.count:,}", f"{s.failed:,}", duration(s.start_ns),
              duration(s.took_ns), _cut(", ".join(s.names))] for s in report.kho_steps]  # fmt: skip
    running = [d for d in report.left_running if d.running]
    unknown = sum(d.running is None for d in report.left_running)
    masters = [[str(d.boot), d.address, d.driver or "no driver", _cut(d.reach)] for d in running]
    counted = (
        f"{len(running)} of {len(report.left_running)} PCI devices could still do DMA when the old "
        f"kernel left{f'; of {unknown} it is not known' if unknown else ''}"
    )
    canaries = [tag("p", line) for line, _ in canary_lines(report.canaries)]
    heads = ("boot", "step", "calls", "failed", "starts", "took", "of")
    return joined([
        section("handed-over", "Handed over, and what arrived", *_arrivals(report, most)),
        section("kho-steps", "Preserving and taking up",
                table(heads, steps, "ntnnnnt") if steps else EMPTY),
        section("dma", "PCI devices left running",
                tag("p", counted) if report.left_running else EMPTY,
                table(("boot", "device", "driver", "reach"), masters, "nmtt")
                if masters else EMPTY),
        section("canary", "Canary", *canaries),
    ])  # fmt: skip


def last_events(report: Report, most: int) -> Markup:
    """The last events of every CPU before the jump."""
    parts = []
    for cpu in sorted({e.cpu for e in report.last_events})[: min(most, 64)]:
        rows = [[duration(e.ts_ns), f"{e.comm or '<...>'}-{e.pid}", e.event, _cut(e.args)]
                for e in report.last_events if e.cpu == cpu]  # fmt: skip
        parts += [tag("h3", f"CPU {cpu}"), table(("at", "task", "event", ""), rows, "nmmm")]
    return section("last-events", "Last events of every CPU", *parts)


def remarks(report: Report, most: int) -> Markup:
    """What was remarked on while the session was made and read."""
    items = [
        tag("li", tag("b", d.severity, class_=d.severity), f" {_cut(d.where)}: {_cut(d.message)} ",
            tag("code", d.code))
        for d in report.diagnostics[:most]
    ]  # fmt: skip
    return section("remarks", f"Remarks ({len(report.diagnostics):,})",
                   tag("ul", *items, class_="notes") if items else EMPTY)  # fmt: skip
