"""What was handed over and what arrived, and which devices were left running, in the report."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text

from tracekit.cli.printed.table import PlainTable
from tracekit.report.make import Report
from tracekit.text import duration, printable

__all__ = ["handed_over_lines", "left_running_lines", "step_table"]

_LISTED = 24
_STYLE = {"arrived": "green", "new": "", "unknown": "dim"}


def handed_over_lines(report: Report) -> Iterator[Text]:
    """Every jump: what is amiss first, then the rest."""
    for arrival in report.handed_over:
        if len(report.handed_over) > 1:
            yield Text(printable(f"  {arrival.old} → {arrival.new}"), style="bold")
        amiss = arrival.amiss
        things = [*amiss, *(thing for thing in arrival.things if thing not in amiss)]
        for thing in things[:_LISTED]:
            line = Text(printable(f"  {thing.kind} {thing.name}: "))
            line.append(thing.verdict, _STYLE.get(thing.verdict, "bold yellow"))
            yield line.append(printable(f"; {thing.detail}" if thing.detail else ""))
        if len(things) > _LISTED:
            yield Text(f"  … and {len(things) - _LISTED} more: --json has them all", style="dim")
        for one in arrival.chain:
            yield Text(printable(f"  to be handed on by {one}"), style="dim")


def step_table(report: Report) -> PlainTable:
    """When it was preserved, frozen, written down, taken up."""
    table = PlainTable(("boot", "n"), ("step", "t"), ("calls", "n"), ("failed", "n"),
                       ("starts", "n"), ("ends", "n"), ("take", "n"), ("of", "t"))  # fmt: skip
    for step in report.kho_steps:
        leaving = any(h.old == step.boot for h in report.handovers)
        start, end = (
            report.from_jump(step.boot, ns, leaving=leaving) for ns in (step.start_ns, step.end_ns)
        )
        table.add_row(
            str(step.boot), step.name, f"{step.count:,}", f"{step.failed:,}",
            duration(start), duration(end), duration(step.took_ns),
            printable(", ".join(step.names)),
        )  # fmt: skip
    return table


def left_running_lines(report: Report) -> Iterator[Text]:
    """The devices that could still do DMA; or that none could, or that it is not known."""
    devices = report.left_running
    for device in (one for one in devices if one.running):
        how = "after its shutdown" if device.after else "as the next kernel found it"
        kept = ", preserved by LUO" if device.preserved else ""
        line = (
            f"  boot {device.boot} {device.address} ({device.driver or 'no driver'}): still bus "
            f"master {how}{kept}; its DMA could go {device.reach}"
        )
        yield Text(printable(line), style="bold yellow")
    off = sum(one.running is False for one in devices)
    unknown = sum(one.running is None for one in devices)
    if off:
        yield Text(f"  {off} of {len(devices)} PCI devices: bus mastering was off")
    if unknown:
        yield Text(f"  {unknown} of {len(devices)} PCI devices: not known", style="dim")
