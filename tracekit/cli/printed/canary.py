"""What became of the canaries, as the report says it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.text import Text

from tracekit.report.canary import CanaryChange, CanaryReport
from tracekit.text import duration, on_one_line, printable

__all__ = ["canary_lines"]

_LISTED = 8  # stretches; --json has more
_BYTES = 16  # of a stretch
_MIB = 1 << 20


def _size(size: int) -> str:
    return f"{size // _MIB} MiB" if size % _MIB == 0 else f"{size >> 10} KiB"


def _change(change: CanaryChange) -> str:
    """One stretch: where, how much, what is there now."""
    offset = f"offset {change.offset:#x} of the canary"
    if change.address is not None:
        last = change.address + change.size - 1
        where = f"{change.address:#x}-{last:#x} ({offset})"
    else:
        where = f"{offset}, physical address unknown"
    raw = bytes.fromhex(change.found)[:_BYTES]
    more = " …" if change.size > len(raw) else ""
    text = "".join(chr(b) if 32 <= b < 127 else "." for b in raw)
    line = f"{where}: {change.size:,} bytes, now {raw.hex(' ')}{more} |{text}|"
    if change.moved_from is not None:
        line += f", which is the canary's page at offset {change.moved_from:#x}"
    return line


def _devices(canary: CanaryReport) -> str:
    if canary.bus_masters is None:
        return "which devices were still bus masters was not recorded"
    if not canary.bus_masters:
        return "no PCI device was a bus master after its shutdown"
    return f"still bus masters after their shutdown: {', '.join(canary.bus_masters)}"


def canary_lines(canaries: Iterable[CanaryReport]) -> Iterator[Text]:
    """The section's lines."""
    for canary in canaries:
        place = {"luo": "a memfd of LUO", "carveout": "a carve-out"}.get(canary.place, "memory")
        size = f"{_size(canary.size)} in {place}"
        during = "" if canary.gap_ns is None else f" during {duration(canary.gap_ns)}"
        if canary.state == "not looked at":
            text = f"boot {canary.boot}: {size}, not looked at: {canary.problem}"
            yield Text(f"  {on_one_line(text)}", style="yellow")
        elif canary.state == "intact":
            yield Text(f"  boot {canary.boot}: no stray write in {size}{during}", style="green")
        else:
            count = f"{canary.changed:,} bytes in {canary.places:,} places"
            yield Text(f"  boot {canary.boot}: {count} of {size} changed{during}", "bold red")
            for change in canary.changes[:_LISTED]:
                yield Text(f"    {printable(_change(change))}")
            if canary.places > _LISTED:
                more = f"    … and {canary.places - _LISTED:,} more: --json has the first of them"
                yield Text(more, style="dim")
            yield Text(f"    {printable(_devices(canary))}")
