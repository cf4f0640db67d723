"""The panics of a session: what the kernel said, and what each CPU was doing then."""

from __future__ import annotations

from tracekit.drawing.markup import EMPTY, Markup, joined, tag
from tracekit.drawing.tables import folded, section, table
from tracekit.report.make import Report
from tracekit.report.panic import LAST_NS, PanicCpu, PanicReport
from tracekit.text import duration, on_one_line

__all__ = ["panics"]

_FIRST = 12  # lines of the log that are shown at once


def _cpu(report: Report, panic: PanicReport, cpu: PanicCpu) -> list[str]:
    last = duration(report.from_jump(panic.boot, cpu.last_ns, leaving=True))
    open_ = cpu.open
    begun = on_one_line(f"{open_.what}: {open_.event} {open_.args}") if open_ else ""
    cells = [str(cpu.cpu), f"{cpu.task}{', panicked' if cpu.panicked else ''}", last,
             str(cpu.events), cpu.most_frequent, begun]  # fmt: skip
    return ["!", *cells] if cpu.panicked else cells


def _panic(report: Report, panic: PanicReport, lines: int) -> Markup:
    begun = duration(report.from_jump(panic.boot, panic.first_ns, leaving=True))
    log, more = panic.text[:lines], len(panic.text) - lines
    shown = tag("pre", "\n".join(log[:_FIRST])) if log else EMPTY
    rest = log[_FIRST:]
    left = tag("p", f"and {more:,} more: --json has them") if more > 0 else EMPTY
    hidden = folded(f"{len(rest):,} more lines", tag("pre", "\n".join(rest))) if rest else EMPTY
    heads = ("CPU", "ran", "last event", f"in its last {duration(LAST_NS)}", "", "had begun")
    rows = [_cpu(report, panic, cpu) for cpu in panic.cpus]
    made = table(heads, rows, "ntnnmm") if rows else EMPTY
    return joined([tag("p", panic.told(begun)), shown, hidden, left, made])


def panics(report: Report, most: int) -> Markup:
    """A part for each kernel that panicked; of each log as many lines."""
    parts = []
    for n, panic in enumerate(report.panics):
        where = "" if panic.cpu is None else f" of CPU {panic.cpu}"
        whose = "The panic" if len(report.panics) == 1 else f"Boot {panic.boot}: the panic"
        name = f"panic-{n}" if n else "panic"
        parts.append(section(name, f"{whose}{where}", _panic(report, panic, most)))
    return joined(parts)
