"""One boot as a trace.dat of trace-cmd: the raw sub-buffers, and the old kernel's own tables."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

from tracekit.errors import Diagnostic, UsageError
from tracekit.export.targets import replaced_file
from tracekit.ftrace.ring.integrity import STALE
from tracekit.ftrace.ring.page import PageRow, Records
from tracekit.recording import Recording
from tracekit.session.regions import region_unread
from tracekit.spans import Span
from tracekit.spill import release
from tracekit.timeline.boot import Boot, Buffer
from tracekit.trace_dat.compose import CpuPages, Section, compose
from tracekit.trace_dat.layout import EventFile, Option, TraceDat

__all__ = ["pages_of", "write_trace_dat"]

_STOPPED = (2, 3, 5)  # PageRow.status: what is at `where` and behind it is no record
_SHIFTS = range(32, 0, -1)
_SOME = 1 << 10  # sub-buffers between which memory is let go of
_HEADER_PAGE = (
    "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
    "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
    "\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
    "\tfield: char data;\toffset:16;\tsize:{};\tsigned:1;\n"
)


def pages_of(recording: Recording, boot: int) -> int:
    """How many sub-buffers of a boot hold events."""
    buffers = recording.part(boot).buffers
    return sum(len(_kept(records)) for buffer in buffers for records in buffer.records)


def write_trace_dat(
    recording: Recording, boot: Boot, target: Path, advance: Callable[[int], None]
) -> tuple[int, list[Diagnostic]]:
    """Write the events of ``boot``; returns how many, and remarks on what the file cannot tell.

    ``advance`` is called with the number of further sub-buffers. BPF records that only the BPF
    ring buffer has are in no sub-buffer, so they are not in the file.
    Raises :class:`~tracekit.errors.UsageError` where the boot has no sub-buffers.
    """
    buffers = [b for b in recording.part(boot.index).buffers if any(map(_kept, b.records))]
    if not buffers:
        raise UsageError(
            f"boot {boot.index} has no recorded events that could be written: "
            f"see 'tracekit report {recording.session.path}'"
        )
    notes = _notes(recording, boot, buffers)
    page = max(_size(buffer) for buffer in buffers)
    names = _names(buffers)
    dat = _tables(recording, boot, buffers, names, page)
    sections: dict[str, dict[int, CpuPages]] = {}
    for buffer, name in zip(buffers, names, strict=True):
        cpus = sections.setdefault(name, {})
        for records in buffer.records:
            if rows := _kept(records):
                cpus[records.cpu] = CpuPages(len(rows), _Pages(boot, buffer, rows, page))
    with replaced_file(target) as part:
        compose(dat, [Section(*pair) for pair in sections.items()], part, advance)
    return sum(len(r) for b in buffers for r in b.records), notes


def _kept(records: Records) -> list[PageRow]:
    return [row for row in records.pages() if row.events and row.status != STALE]


def _size(buffer: Buffer) -> int:
    return next((e.size for e in buffer.extents), 4096)


def _names(buffers: list[Buffer]) -> list[str]:
    """The instance of each buffer; what would be two of one CPU gets a number."""
    names: list[str] = []
    taken: dict[str, set[int]] = {}
    for buffer in buffers:
        kept = buffer.name.endswith(" snapshot")
        base = buffer.name.replace(" ", "-") if kept else buffer.instance
        cpus = {records.cpu for records in buffer.records if _kept(records)}
        name, number = base, 1
        while taken.get(name, set()) & cpus:
            number += 1
            name = f"{base or 'global'}-{number}"
        taken.setdefault(name, set()).update(cpus)
        names.append(name)
    return names


class _Pages:
    """The sub-buffers of one CPU as trace-cmd reads them: nothing unreadable is in them."""

    def __init__(self, boot: Boot, buffer: Buffer, rows: list[PageRow], page: int) -> None:
        self._header = boot.header_page
        self._data = memoryview(buffer.data)
        self._size, self._page = _size(buffer), page
        self._rows = rows
        self._unread = _unread(boot, buffer)

    def __call__(self) -> Iterator[bytes]:
        for number, row in enumerate(self._rows):
            if number % _SOME == 0:
                release()
            raw = bytes(self._data[row.offset : row.offset + self._size])
            end = self._end(row)
            if end is not None:  # without the flags of the commit: what they count lies behind it
                at = self._header.commit
                commit = max(0, end - self._header.data)
                raw = raw[:at] + struct.pack("<I", commit) + raw[at + 4 : end]
            yield raw.ljust(self._page, b"\0")

    def _end(self, row: PageRow) -> int | None:
        """Where the sub-buffer must end for a reader to find only what was decoded."""
        ends = [row.where] if row.status in _STOPPED else []
        used = row.offset + self._header.data + row.commit
        ends += [
            start - row.offset
            for start, size in self._unread
            if start < used and start + size > row.offset
        ]
        return min(ends, default=None)


def _unread(boot: Boot, buffer: Buffer) -> tuple[Span, ...]:
    if buffer.layout is None or not buffer.extents:
        return ()
    return region_unread(boot.session, buffer.extents[0].source)


def _notes(recording: Recording, boot: Boot, buffers: list[Buffer]) -> list[Diagnostic]:
    def note(code: str, message: str) -> None:
        notes.append(Diagnostic(code, "warning", boot.where, message))

    notes: list[Diagnostic] = []
    clocks = dict.fromkeys(buffer.clock or "unknown" for buffer in buffers)
    if len(clocks) > 1:
        note(
            "trace-dat-clocks",
            f"its buffers count on different clocks ({', '.join(clocks)}); the file names one: "
            f"times are shown as if all were {_clock(buffers)}",
        )
    unread = sum(r.status in _STOPPED for b in buffers for c in b.records for r in _kept(c))
    if unread:
        note("trace-dat-cut", f"{unread} sub-buffers end where they could not be read further")
    in_pages = sum(len(r) for b in buffers for r in b.records)
    every = recording.as_traced.rows.count(boot.index)
    if every > in_pages:
        note("trace-dat-elsewhere", f"{every - in_pages} events are in no sub-buffer: left out")
    return notes


def _clock(buffers: list[Buffer]) -> str:
    """The clock of most events."""
    events: dict[str, int] = {}
    for buffer in buffers:
        clock = buffer.clock or "unknown"
        events[clock] = events.get(clock, 0) + len(buffer)
    return max(events, key=lambda clock: events[clock])


def _tables(
    recording: Recording, boot: Boot, buffers: list[Buffer], names: list[str], page: int
) -> TraceDat:
    dat = TraceDat(6, page)
    own = boot.text("tracefs/events/header_page") if boot.header_page.subbuf_size == page else ""
    dat.header_page = (own or _HEADER_PAGE.format(page - 16)).encode()
    dat.header_event = boot.text("tracefs/events/header_event").encode()
    for system, text in boot.format_texts():
        if system == "ftrace":
            dat.ftrace_events.append(text)
        else:
            dat.events.append(EventFile(system, text))
    dat.kallsyms = next(iter(boot.layers("kallsyms")), "").encode("utf-8", "replace")
    dat.printk = _printk(boot.context.printk_formats)
    comms = recording.comms[recording.boots.index(boot)]
    lines = (f"{pid} {comm}\n" for pid, comm in sorted(comms.items()) if pid)
    dat.cmdlines = "".join(lines).encode("utf-8", "replace")
    top = max(r.cpu for b in buffers for r in b.records if _kept(r))
    dat.cpus = max(top + 1, boot.cpus)
    dat.clock = f"[{_clock(buffers)}]"
    machine = str(boot.kernel.get("machine") or "x86_64")
    dat.options[Option.UNAME] = f"Linux (none) {boot.release} {machine}\0".encode()
    dat.options[Option.VERSION] = b"tracekit\0"
    if _clock(buffers) == "x86-tsc" and (option := _tsc2nsec(recording)):
        dat.options[Option.TSC2NSEC] = option
    for buffer, name in zip(buffers, names, strict=True):
        place = f"tracefs/instances/{buffer.instance}" if buffer.instance else "tracefs"
        for records in buffer.records:
            stats = boot.text(f"{place}/per_cpu/cpu{records.cpu}/stats")
            if stats and not buffer.name.endswith(" snapshot"):
                dat.stats[name, records.cpu] = stats.encode()
    return dat


def _printk(formats: Mapping[int, str]) -> bytes:
    """``printk_formats`` as ``t_show()`` (kernel/trace/trace_printk.c) writes it."""
    lines = []
    for address, text in formats.items():
        escaped = text.replace("\n", "\\n").replace("\t", "\\t").replace('"', '\\"')
        lines.append(f'0x{address:x} : "{escaped}"\n')
    return "".join(lines).encode("utf-8", "replace")


def _tsc2nsec(recording: Recording) -> bytes:
    """``ns = cycles * mult >> shift``, the finest that 32 bits hold; b'' where no rate is known."""
    rate = recording.axis.clock.rate
    if rate is None:
        return b""
    best: Fraction = rate.best
    for shift in _SHIFTS:
        if (mult := round((1 << shift) / best)) < 1 << 32:
            return struct.pack("<IIQ", mult, shift, 0)
    return b""
