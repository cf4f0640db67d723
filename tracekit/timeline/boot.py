"""One boot of a session: its formats, names and recorded buffers, each read when first needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from tracekit.errors import Diagnostic, FormatError, ParseError, SessionError, Severity
from tracekit.ftrace.context import Context, NoSymbols, SymbolTable
from tracekit.ftrace.format import EventFormat, HeaderPage, parse_format, parse_header_page
from tracekit.ftrace.printers.render import Renderer, make_renderer, unknown_renderer
from tracekit.ftrace.printers.syscalls import has_bare_syscalls
from tracekit.ftrace.ring.layout import RegionLayout, parse_layout
from tracekit.ftrace.ring.page import RecordHeader, Records, committed, read_pages
from tracekit.ftrace.symbols import Symbols
from tracekit.session import Session
from tracekit.timeline.bpf_format import is_probe, probe_format, probe_ids, probe_name

__all__ = ["Boot", "Buffer", "Extent", "parse_comms", "parse_printk_formats"]

_ID = re.compile(rb"^ID:[ \t]*([0-9]{1,5})[ \t]*$", re.M)
_PID = re.compile(r"[0-9]{1,9}")
_SUBBUF_SIZES = frozenset(1 << bits for bits in range(12, 21))
_PRINTK = re.compile(r'^(0x[0-9a-f]+) : "(.*)"$', re.M | re.S)
_ESCAPES = {r"\n": "\n", r"\t": "\t", r"\"": '"'}  # all that t_show() escapes
_PIPE = re.compile(r"/tracefs/per_cpu/cpu([0-9]{1,4})/trace_pipe_raw$")


def parse_comms(text: str) -> dict[int, str]:
    """``saved_cmdlines``: ``PID COMM`` on each line (``saved_cmdlines_show()``)."""
    comms = {}
    for line in text.splitlines():
        pid, _, comm = line.partition(" ")
        if _PID.fullmatch(pid) and comm:
            comms[int(pid)] = comm
    return comms


def parse_printk_formats(text: str) -> dict[int, str]:
    """``printk_formats``: ``0xADDRESS : "STRING"`` lines (``t_show()`` in trace_printk.c)."""
    formats = {}
    for line in text.splitlines():
        if (m := _PRINTK.match(line)) is not None:
            formats[int(m[1], 16)] = re.sub(r"\\[nt\"]", lambda e: _ESCAPES[e[0]], m[2])
    return formats


@dataclass(frozen=True, slots=True)
class Extent:
    """A part of a buffer's ``data``, and where in the session it is from.

    ``count`` sub-buffers (BPF: records) of ``size`` bytes each, from byte ``start`` of ``data`` on,
    which were read at byte ``offset`` of the file ``source``; all are of ``cpu``, or of any CPU if
    it is -1. The last ones may be missing, as a region can be cut short.
    """

    source: str
    cpu: int
    start: int
    size: int
    count: int
    offset: int


@dataclass(frozen=True)
class Buffer:
    """One recorded ring buffer of a boot: a preserved region, or pages read by user space.

    ``clock`` is the trace clock its stamps count in; ``instance`` names the tracefs instance
    ('' for the global buffer). ``layout`` is None for pages read by user space. ``extents`` say
    where ``data`` are from; BPF records that were printed into another buffer have none.
    """

    name: str
    instance: str
    clock: str | None
    data: bytes
    records: tuple[Records, ...]
    layout: RegionLayout | None
    diagnostics: tuple[Diagnostic, ...]
    extents: tuple[Extent, ...] = ()

    def __len__(self) -> int:
        return sum(map(len, self.records))

    def slim(self) -> Buffer:
        """The buffer without the columns of its records that the timeline's rows also hold."""
        cpus = self.layout.cpus if self.layout else ()
        # losses are counted by stamp on CPUs whose ring may have wrapped
        wrapped = {c.cpu for c in cpus if c.wrapped is not False}
        records = tuple(r.slim(keep_stamps=r.cpu in wrapped) for r in self.records)
        return replace(self, records=records)


@dataclass
class Boot:
    """The session's data of boot ``index``, read when first asked for."""

    session: Session
    index: int
    diagnostics: list[Diagnostic] = field(default_factory=list)
    _formats: dict[int, EventFormat | None] = field(default_factory=dict)
    _renderers: dict[int, Renderer] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """How diagnostics name this boot."""
        return f"boot {self.index}"

    def note(self, code: str, where: str, message: str, severity: Severity = "warning") -> None:
        """Add a remark about this boot's data."""
        self.diagnostics.append(
            Diagnostic(code, severity, f"{self.where} {where}".strip(), message)
        )

    @cached_property
    def kernel(self) -> Mapping[str, Any]:
        """``kernel.json``; empty, with a remark, where it is missing or damaged."""
        try:
            return self.session.kernel(self.index)
        except SessionError as error:
            self.note("kernel-unreadable", "", str(error))
            return {}

    @property
    def cpus(self) -> int:
        """How many CPUs were online; 0 where that is not known."""
        cpus = self.kernel.get("cpus")
        return cpus if isinstance(cpus, int) and 0 < cpus < 1 << 16 else 0

    @property
    def release(self) -> str:
        """The kernel's release, ``unknown`` if it was not saved."""
        return str(self.kernel.get("release") or "unknown")

    def text(self, rel: str) -> str:
        """A text file of this boot, '' if the session does not hold it."""
        path = f"boots/{self.index}/{rel}"
        if not self.session.has(path):
            return ""
        try:
            return self.session.read(path).decode("utf-8", "backslashreplace")
        except SessionError as error:
            self.note("file-unreadable", rel, str(error))
            return ""

    # -- formats ------------------------------------------------------------------------------

    @cached_property
    def _format_files(self) -> dict[int, str]:
        """Event id -> the path of its format file."""
        paths: dict[int, str] = {}
        for path in self.session.list(f"boots/{self.index}/tracefs/events/"):
            if not path.endswith("/format"):
                continue
            try:
                m = _ID.search(self.session.read(path))
            except SessionError as error:
                self.note("format-unreadable", path, str(error))
                continue
            if m is None:
                self.note("format-invalid", path, "there is no event id in it")
                continue
            event_id = int(m[1])
            if event_id in paths:
                self.note(
                    "format-contradiction", path,
                    f"id {event_id} is also that of {paths[event_id]}, which is used",
                )  # fmt: skip
            else:
                paths[event_id] = path
        return paths

    def format(self, event_id: int) -> EventFormat | None:
        """The format of an event id in this boot, None where it is unknown or broken."""
        if event_id not in self._formats:
            self._formats[event_id] = self._parse_format(event_id)
        return self._formats[event_id]

    def _parse_format(self, event_id: int) -> EventFormat | None:
        if is_probe(event_id):
            return probe_format(event_id)
        path = self._format_files.get(event_id)
        if path is None:
            return None
        system = path.split("/")[-3]
        try:
            text = self.session.read(path).decode("utf-8", "backslashreplace")
            return parse_format(text, system, path)
        except (FormatError, SessionError) as error:
            self.note("format-invalid", path, str(error))
            return None

    def event_ids(self) -> Iterable[int]:
        """The ids of all events with known formats, including BPF probes if they ran."""
        probed = self.session.has(f"boots/{self.index}/bpf.bin")
        return [*self._format_files, *(probe_ids() if probed else ())]

    def event_name(self, event_id: int) -> str:
        """``system:name``; ``unknown:ID`` where no format was saved for the id."""
        if is_probe(event_id):
            return probe_name(event_id)
        path = self._format_files.get(event_id)
        if path is None:
            return f"unknown:{event_id}"
        return ":".join(path.split("/")[-3:-1])

    def renderer(self, event_id: int) -> Renderer:
        """The renderer that turns payloads of this event into text."""
        if event_id not in self._renderers:
            fmt = self.format(event_id)
            self._renderers[event_id] = (
                make_renderer(fmt, self.context, self._bare_syscalls)
                if fmt
                else unknown_renderer(event_id)
            )
        return self._renderers[event_id]

    @cached_property
    def _bare_syscalls(self) -> bool:
        """Whether this kernel prints system calls as those before 6.19 do."""
        files = self._format_files.items()
        openat = (self.format(i) for i, p in files if p.endswith("/sys_enter_openat/format"))
        return has_bare_syscalls(fmt for fmt in openat if fmt is not None)

    # -- names --------------------------------------------------------------------------------

    @cached_property
    def context(self) -> Context:
        """The names of this boot: symbols, printk formats, comms."""
        hz = self.kernel.get("config_hz")
        return Context(
            symbols=_LazySymbols(self),
            printk_formats=parse_printk_formats(self.text("tracefs/printk_formats")),
            comms=parse_comms(self.text("tracefs/saved_cmdlines")),
            jiffies_hz=hz if isinstance(hz, int) else None,
        )

    @cached_property
    def header_page(self) -> HeaderPage:
        """Where the fields of a sub-buffer's header lie."""
        text = self.text("tracefs/events/header_page")
        if not text:
            self.note("header-page-missing", "", "events/header_page was not saved; 64-bit assumed")
            return HeaderPage()
        try:
            return parse_header_page(text, f"{self.where} header_page")
        except FormatError as error:
            self.note("header-page-invalid", "", f"{error}; 64-bit assumed")
            return HeaderPage()

    @cached_property
    def record_header(self) -> RecordHeader:
        """Where the common fields of a record lie."""
        for event_id in sorted(self._format_files):
            if (fmt := self.format(event_id)) is not None and fmt.common:
                if (header := RecordHeader.of(fmt)).sound:
                    return header
                self.note("format-invalid", fmt.full_name, "its common fields make no sense")
        return RecordHeader()

    # -- buffers ------------------------------------------------------------------------------

    def read_buffers(self) -> tuple[Buffer, ...]:
        """Read and decode all buffers that this boot recorded, at each call."""
        paths = self.session.list(f"boots/{self.index}/")
        buffers = []
        for path in paths:
            if "/regions/" in path and path.endswith(".raw"):
                buffers.append(self._region(path))
        pipes = {int(m[1]): path for path in paths if (m := _PIPE.search(path))}
        buffers.append(self._pipes(pipes) if pipes else None)
        return tuple(b for b in buffers if b is not None)

    def _instance_of(self, region: str) -> str:
        instances = self.kernel.get("trace_instances")
        for entry in instances if isinstance(instances, list) else ():
            if isinstance(entry, Mapping) and entry.get("region") == region:
                return str(entry.get("name", ""))
        return ""

    def _region(self, path: str) -> Buffer | None:
        name = path.rsplit("/", maxsplit=1)[-1].removesuffix(".raw")
        where = f"{self.where} region {name}"
        try:
            data = self.session.read(path)
            layout = parse_layout(data, where, self.header_page)
        except (ParseError, SessionError) as error:
            self.note("region-unusable", f"region {name}", str(error))
            return None
        filled = (committed(data, c.pages, c.subbuf_size, self.header_page) for c in layout.cpus)
        self.session.budget.filled(path, sum(filled))
        records = tuple(
            read_pages(
                data, cpu.pages, cpu.subbuf_size, cpu.cpu, f"{where} cpu {cpu.cpu}",
                self.header_page, self.record_header,
            )
            for cpu in layout.cpus
        )  # fmt: skip
        if self.cpus > len(layout.cpus):
            self.note(
                "cpus-missing", f"region {name}",
                f"{self.cpus} CPUs were online, the region holds buffers of {len(layout.cpus)}",
            )  # fmt: skip
        instance = self._instance_of(name)
        clock = layout.clock or self._clock_of(instance)
        remarks = layout.diagnostics + tuple(d for r in records for d in r.diagnostics)
        extents = tuple(
            Extent(path, c.cpu, c.start, c.subbuf_size, c.nr_subbufs, c.start) for c in layout.cpus
        )
        return Buffer(name, instance, clock, data, records, layout, remarks, extents)

    def _clock_of(self, instance: str) -> str | None:
        """The clock marked ``[chosen]`` in ``trace_clock``."""
        rel = f"tracefs/instances/{instance}/trace_clock" if instance else "tracefs/trace_clock"
        m = re.search(r"\[([^\s\[\]]+)\]", self.text(rel))
        return m[1] if m else None

    def _pipes(self, paths: Mapping[int, str]) -> Buffer | None:
        """The global buffer, as pages that user space read from ``trace_pipe_raw``."""
        size = self.header_page.subbuf_size
        if size not in _SUBBUF_SIZES:
            self.note("header-page-invalid", "", f"sub-buffers of {size} bytes; 4096 is assumed")
            size = 4096
        parts: list[bytes] = []
        extents: list[Extent] = []
        start = 0
        for cpu, path in sorted(paths.items()):
            try:
                raw = self.session.read(path)
            except SessionError as error:
                self.note("pipe-unreadable", f"cpu {cpu}", str(error))
                continue
            whole = len(raw) // size * size
            if whole != len(raw):
                self.note(
                    "pipe-truncated", f"cpu {cpu}",
                    f"{len(raw)} bytes are not whole pages of {size}",
                )  # fmt: skip
            parts.append(raw[:whole])
            extents.append(Extent(path, cpu, start, size, whole // size, 0))
            start += whole
        data = b"".join(parts)
        filled = committed(data, range(0, len(data), size), size, self.header_page)
        self.session.budget.filled(f"{self.where} trace_pipe_raw", filled)
        records = tuple(
            read_pages(
                data, range(e.start, e.start + e.count * size, size), size, e.cpu,
                f"{self.where} trace_pipe_raw cpu {e.cpu}", self.header_page, self.record_header,
            )
            for e in extents
        )  # fmt: skip
        remarks = tuple(d for r in records for d in r.diagnostics)
        clock = self._clock_of("")
        return Buffer("trace_pipe_raw", "", clock, data, records, None, remarks, tuple(extents))


class _LazySymbols:
    """Loads kallsyms when the first symbol is looked up: many commands need none."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._table: SymbolTable | None = None

    @property
    def table(self) -> SymbolTable:
        if self._table is None:
            text = self._boot.text("kallsyms")
            self._table = (
                Symbols.from_kallsyms(text, self._boot.text("modules")) if text else NoSymbols()
            )
        return self._table

    def lookup(self, address: int) -> Any:
        """As :meth:`SymbolTable.lookup`."""
        return self.table.lookup(address)
