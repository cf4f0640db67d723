"""A panic in the Story: what the kernel said, and what its CPUs were doing."""

from __future__ import annotations

from tracekit.report.make import Report
from tracekit.report.panic import LAST_NS
from tracekit.text import duration, on_one_line
from tui.story.spans import Bar, Heading

__all__ = ["panic_lines"]

_SAID = 12  # lines of the kernel's log; the report has more


def panic_lines(report: Report) -> list[Heading | Bar | None]:
    """What each kernel that panicked said, and what its CPUs ran then."""
    lines: list[Heading | Bar | None] = []
    for panic in report.panics:
        on = "" if panic.cpu is None else f" on cpu {panic.cpu}"
        went = panic.went_on_ns
        after = "" if went is None or went < 0 else f", and events for {duration(went)} more"
        lines.append(Heading(f"Boot {panic.boot} panicked{on}{after}"))
        for text in panic.text[:_SAID]:
            said = text.strip()
            lines.append(Bar(said, panic.first_ns, None, "", " ", "bad", said))
        for cpu in panic.cpus:
            last = duration(report.from_jump(panic.boot, cpu.last_ns, leaving=True), "")
            text = f"CPU {cpu.cpu} {cpu.task}{' panicked' if cpu.panicked else ''}"
            note = f"{cpu.events} events in its last {duration(LAST_NS)}: {cpu.most_frequent}"
            lines.append(Bar(text, cpu.last_ns, None, last, " ", note=note))
            if cpu.open is not None and not report.handovers:  # else all that was begun follows
                begun = on_one_line(f"{cpu.open.what}: {cpu.open.event} {cpu.open.args}")
                lines.append(Bar(begun, cpu.open.since_ns, None, "", " ", "bad", begun))
        lines.append(None)
    return lines
