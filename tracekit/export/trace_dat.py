"""One boot as a trace.dat of trace-cmd: the raw sub-buffers, and the old kernel's own tables."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tracekit.errors import Diagnostic, UsageError
from tracekit.export.targets import replaced_file
from tracekit.frozen import dataclass
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

_EVENTS, _STATUS = (PageRow._fields.index(name) - 1 for name in ("events", "status"))
_STOPPED = (2, 3, 5)  # PageRow.status: what is at `where` and behind it is no record
_SHIFTS = range(32, 0, -1)
_SOME = 1 << 10  # sub-buffers between which memory is let go of
_HEADER_PAGE = (
    "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
    "\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
    "\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
    "\tfield: char data;\toffset:16;\tsize:{};\tsigned:1;\n"
)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A buffer of which CPUs have sub-buffers with events: how many, and how many end early."""

    buffer: Buffer
    counts: Mapping[int, int]
    stopped: int


def pages_of(recording: Recording, boot: int) -> int:
    """How many sub-buffers of a boot hold events."""
    return sum(sum(kept.counts.values()) for kept in _kept(recording.part(boot).buffers))


def write_trace_dat(
    recording: Recording, boot: Boot, target: Path, advance: Callable[[int], None]
) -> tuple[int, list[Diagnostic]]:
    """Write the events of ``boot``; returns how many, and remarks on what the file cannot tell.

    ``advance`` is called with the number of further sub-buffers. BPF records that only the BPF
    ring buffer has are in no sub-buffer, so they are not in the file.
    Raises :class:`~tracekit.errors.UsageError` where the boot has no sub-buffers.
    """
    some = _kept(recording.part(boot.index).buffers)
    if not some:
        raise UsageError(
            f"boot {boot.index} has no recorded events that could be written: "
            f"see 'tracekit report {recording.session.path}'"
        )
    buffers = [kept.buffer for kept in some]
    notes = _notes(recording, boot, some)
    page = max(_size(buffer) for buffer in buffers)
    names = _names(some)
    dat = _tables(recording, boot, buffers, names, page)
    top = max(cpu for kept in some for cpu in kept.counts)
    dat.cpus = max(top + 1, boot.cpus)
    sections: dict[str, dict[int, CpuPages]] = {}
    for kept, name in zip(some, names, strict=True):
        cpus = sections.setdefault(name, {})
        for records in kept.buffer.records:
            if count := kept.counts.get(records.cpu):
                cpus[records.cpu] = CpuPages(count, _Pages(boot, kept.buffer, records, page))
    with replaced_file(target) as part:
        compose(dat, [Section(*pair) for pair in sections.items()], part, advance)
    return sum(len(r) for b in buffers for r in b.records), notes


def _kept(buffers: Sequence[Buffer]) -> list[_Kept]:
    """The buffers that hold events; what is told of their sub-buffers is looked at bit by bit."""
    found = []
    for buffer in buffers:
        every = {records.cpu: _status(records) for records in buffer.records}
        counts = {cpu: len(status) for cpu, status in every.items() if len(status)}
        stopped = sum(int(np.isin(status, _STOPPED).sum()) for status in every.values())
        if counts:
            found.append(_Kept(buffer, counts, stopped))
        release()
    return found


def _status(records: Records) -> npt.NDArray[np.uint64]:
    """The status of each sub-buffer that holds events."""
    told = np.frombuffer(records.page_rows, np.uint64).reshape(-1, len(PageRow._fields) - 1)
    events, status = told[:, _EVENTS], told[:, _STATUS]
    found: npt.NDArray[np.uint64] = status[(events > 0) & (status != STALE)]
    return found


def _size(buffer: Buffer) -> int:
    return next((e.size for e in buffer.extents), 4096)


def _names(some: Sequence[_Kept]) -> list[str]:
    """The instance of each buffer; what would be two of one CPU gets a number."""
    names: list[str] = []
    taken: dict[str, set[int]] = {}
    for kept in some:
        buffer = kept.buffer
        snapshot = buffer.name.endswith(" snapshot")
        base = buffer.name.replace(" ", "-") if snapshot else buffer.instance
        name, number = base, 1
        while taken.get(name, set()) & kept.counts.keys():
            number += 1
            name = f"{base or 'global'}-{number}"
        taken.setdefault(name, set()).update(kept.counts)
        names.append(name)
    return names


class _Pages:
    """The sub-buffers of one CPU as trace-cmd reads them: nothing unreadable is in them."""

    def __init__(self, boot: Boot, buffer: Buffer, records: Records, page: int) -> None:
        self._header = boot.header_page
        self._data = memoryview(buffer.data)
        self._size, self._page = _size(buffer), page
        self._records = records
        self._unread = _unread(boot, buffer)

    def __call__(self) -> Iterator[bytes]:
        for number, row in enumerate(self._records.pages()):
            if number % _SOME == 0:
                release()
            if not row.events or row.status == STALE:
                continue
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


def _notes(recording: Recording, boot: Boot, some: Sequence[_Kept]) -> list[Diagnostic]:
    def note(code: str, message: str) -> None:
        notes.append(Diagnostic(code, "warning", boot.where, message))

    notes: list[Diagnostic] = []
    buffers = [kept.buffer for kept in some]
    clocks = dict.fromkeys(buffer.clock or "unknown" for buffer in buffers)
    if len(clocks) > 1:
        note(
            "trace-dat-clocks",
            f"its buffers count on different clocks ({', '.join(clocks)}); the file names one: "
            f"times are shown as if all were {_clock(buffers)}",
        )
    unread = sum(kept.stopped for kept in some)
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
