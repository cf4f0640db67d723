"""The section on a panic, as people read it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from tracekit.report.make import Report
from tracekit.report.panic import LAST_NS, PanicCpu, PanicReport
from tracekit.text import duration, on_one_line, printable

__all__ = ["panic_lines", "panic_title"]

_LINES = 30  # of the kernel log; --json has more


def panic_title(panic: PanicReport, *, several: bool) -> str:
    """What the section is called."""
    where = "" if panic.cpu is None else f" of cpu {panic.cpu}"
    return f"{f'Boot {panic.boot}: the' if several else 'The'} panic{where}"


def _cpu(report: Report, panic: PanicReport, cpu: PanicCpu) -> Iterator[Text]:
    head = Text(f"CPU {cpu.cpu}  ", style="bold")
    head.append(printable(cpu.task), style="green")
    if cpu.panicked:
        head.append(" panicked", style="bold red")
    if cpu.last_ns is not None:
        last = duration(report.from_jump(panic.boot, cpu.last_ns, leaving=True))
        head.append(
            f"  last event {last}; {cpu.events} in its last {duration(LAST_NS)}: "
            f"{printable(cpu.most_frequent)}"
        )
    else:
        head.append("  no event")
    yield head
    if cpu.open is not None:
        line = Text("  had begun ", style="dim")
        line.append(f"{cpu.open.what}: ", style="bold red")
        line.append(f"{printable(cpu.open.event)}  ", style="cyan")
        yield line.append(on_one_line(cpu.open.args))


def panic_lines(report: Report, panic: PanicReport) -> Iterator[RenderableType]:
    """What the kernel said, how long events went on after it, and what each CPU did."""
    begun = duration(report.from_jump(panic.boot, panic.first_ns, leaving=True))
    yield Text(printable(f"  {panic.told(begun)}"), style="bold")
    for line in panic.text[:_LINES]:
        yield Text(f"  {printable(line)}", style="red", no_wrap=True, overflow="ellipsis")
    if (more := len(panic.text) - _LINES) > 0:
        yield Text(f"  … {more} more lines: --json has them", style="dim")
    for cpu in panic.cpus:
        yield from _cpu(report, panic, cpu)
