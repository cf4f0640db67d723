"""One boot of a session: its formats, names and recorded buffers, each read when first needed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from tracekit.errors import Diagnostic, FormatError, SessionError, Severity
from tracekit.frozen import dataclass, field
from tracekit.ftrace.context import Context
from tracekit.ftrace.format import EventFormat, HeaderPage, parse_header_page
from tracekit.ftrace.printers.render import Renderer, make_renderer, unknown_renderer
from tracekit.ftrace.printers.syscalls import has_bare_syscalls
from tracekit.ftrace.ring.layout import RegionLayout
from tracekit.ftrace.ring.page import RecordHeader, Records
from tracekit.session import Session
from tracekit.spill import Spill
from tracekit.timeline.saved.bpf_format import is_probe, probe_format, probe_ids, probe_name
from tracekit.timeline.saved.counters import Counters
from tracekit.timeline.saved.format_files import FormatFile, format_files, parsed
from tracekit.timeline.saved.names import names_of_tasks, parse_printk_formats
from tracekit.timeline.saved.prototypes import SavedPrototypes
from tracekit.timeline.saved.symbols import LazySymbols

__all__ = ["Boot", "Buffer", "Extent"]

#: Events of kmem whose print formats name gfp flags, as every kernel has one of.
_WITH_GFP = ("kmalloc", "mm_page_alloc", "kmem_cache_alloc")
_EPROBE = re.compile(r"^e\d*:(\S+)\s+(\S+)", re.M)


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
    where ``data`` are from; BPF records that were printed into another buffer have none. ``lost``:
    CPU -> (events overwritten or None, whether that is a lower bound), where it is known already.
    ``scratch`` is what the records' columns lie in.
    """

    name: str
    instance: str
    clock: str | None
    data: bytes
    records: tuple[Records, ...]
    layout: RegionLayout | None
    diagnostics: tuple[Diagnostic, ...]
    extents: tuple[Extent, ...] = ()
    lost: Mapping[int, tuple[int | None, bool]] = field(default_factory=dict)
    counters: Mapping[int, Counters] = field(default_factory=dict)
    scratch: Spill | None = None

    def __len__(self) -> int:
        return sum(map(len, self.records))

    def slim(self) -> Buffer:
        """The buffer without what the timeline's rows hold, and the layout's pages: records do."""
        layout = self.layout and replace(
            self.layout, cpus=tuple(replace(cpu, pages=()) for cpu in self.layout.cpus)
        )
        slim = tuple(r.slim() for r in self.records)
        return replace(self, records=slim, layout=layout, scratch=None)


@dataclass
class Boot:
    """The session's data of boot ``index``, read when first asked for.

    ``instance``: the only instance whose buffer is read (``global``: the global one), None for all.
    """

    session: Session
    index: int
    instance: str | None = None
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

    def layers(self, rel: str) -> list[str]:
        """A table of lines as it was saved last, then what earlier saves had, the newest first."""
        return [self.text(rel), *self.earlier(rel)]

    def earlier(self, rel: str) -> list[str]:
        """What earlier saves had of a table of lines, the newest first."""
        text = self.text(f"earlier/{rel.rpartition('/')[2]}")
        return [section for section in re.split(r"^#.*\n", text, flags=re.M) if section]

    # -- formats ------------------------------------------------------------------------------

    @cached_property
    def _format_files(self) -> dict[int, FormatFile]:
        """Event id -> where its format is."""
        return format_files(self.session, self.index, self.note)

    def format(self, event_id: int) -> EventFormat | None:
        """The format of an event id in this boot, None where it is unknown or broken."""
        if event_id not in self._formats:
            self._formats[event_id] = self._parse_format(event_id)
        return self._formats[event_id]

    def _parse_format(self, event_id: int) -> EventFormat | None:
        if is_probe(event_id):
            return probe_format(event_id)
        file = self._format_files.get(event_id)
        if file is None:
            return None
        try:
            return parsed(file.text, file.system, file.source)
        except FormatError as error:
            self.note("format-invalid", file.source, str(error))
            return None

    def event_ids(self) -> Iterable[int]:
        """The ids of all events with known formats, including BPF probes if they ran."""
        probed = self.session.has(f"boots/{self.index}/bpf.bin")
        return [*self._format_files, *(probe_ids() if probed else ())]

    def format_texts(self) -> Iterator[tuple[str, bytes]]:
        """(system, text of ``format``) of every event of the kernel, not of BPF probes."""
        for file in self._format_files.values():
            yield file.system, file.text.encode("utf-8", "replace")

    def event_name(self, event_id: int) -> str:
        """``system:name``; ``unknown:ID`` where no format was saved for the id."""
        if is_probe(event_id):
            return probe_name(event_id)
        file = self._format_files.get(event_id)
        return file.full_name if file else f"unknown:{event_id}"

    def header_of(self, event_id: int) -> int:
        """Bytes at the start of a record that its text does not depend on; a probe's has none."""
        return 0 if is_probe(event_id) else self.record_header.size

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
        openat = (self.format(i) for i, file in files if file.name == "sys_enter_openat")
        return has_bare_syscalls(fmt for fmt in openat if fmt is not None)

    # -- names --------------------------------------------------------------------------------

    @cached_property
    def context(self) -> Context:
        """The names of this boot: symbols, printk formats, comms."""
        hz = self.kernel.get("config_hz")
        return Context(
            symbols=LazySymbols(self),
            printk_formats=self._printk_formats(),
            comms={pid: names[0] for pid, names in self.task_names.items()},
            jiffies_hz=hz if isinstance(hz, int) else None,
            options=self._trace_options(),
            gfp_format=self._gfp_format(),
            constants=self._enumerators(),
            eprobes=self._eprobes(),
            prototypes=SavedPrototypes(self) if self._has("btf") else None,
            release=self.release,
        )

    def _eprobes(self) -> dict[str, str]:
        """What eprobes are attached to, of removed ones, too: they have recorded."""
        found: dict[str, str] = {}
        for layer in self.layers("tracefs/dynamic_events"):
            found = dict(_EPROBE.findall(layer)) | found  # the newest wins
        return found

    def _trace_options(self) -> frozenset[str]:
        """Those that were on in the instance of a region, else in the global buffer."""
        listed = self.kernel.get("trace_instances")
        entries = [e for e in listed if isinstance(e, Mapping)] if isinstance(listed, list) else []
        recorded = bool(self.session.list(f"boots/{self.index}/regions/"))
        names = [str(e.get("name")) for e in entries if recorded]
        places = [*(f"tracefs/instances/{name}/trace_options" for name in names),
                  "tracefs/trace_options"]  # fmt: skip
        text = next((text for place in places if (text := self.text(place))), "")
        return frozenset(text.split())

    def _has(self, rel: str) -> bool:
        return self.session.has(f"boots/{self.index}/{rel}")

    def _enumerators(self) -> dict[str, int]:
        """The values that BTF had for names in the formats."""
        if not self._has("enumerators.json"):
            return {}
        rel = f"boots/{self.index}/enumerators.json"
        try:
            values = self.session.json(rel).get("values")
        except SessionError as error:
            self.note("file-unreadable", "enumerators.json", str(error))
            return {}
        pairs = values.items() if isinstance(values, dict) else ()
        return {name: value for name, value in pairs if type(value) is int}

    def _gfp_format(self) -> EventFormat | None:
        """The format of an event that prints gfp flags."""
        files = self._format_files.items()
        named = {file.name: event_id for event_id, file in files if file.system == "kmem"}
        found = (named[name] for name in _WITH_GFP if name in named)
        return next((fmt for event_id in found if (fmt := self.format(event_id))), None)

    @cached_property
    def task_names(self) -> Mapping[int, tuple[str, ...]]:
        """Pid -> every name that the kernel's table had for it, the newest first."""
        return names_of_tasks(self.layers("tracefs/saved_cmdlines"))

    def _printk_formats(self) -> dict[int, str]:
        formats: dict[int, str] = {}
        clashes = set[int]()
        for layer in self.layers("tracefs/printk_formats"):
            for address, text in parse_printk_formats(layer).items():
                if formats.setdefault(address, text) != text:
                    clashes.add(address)
        if clashes:
            self.note(
                "printk-contradiction", "printk_formats",
                f"{len(clashes)} addresses had another string at an earlier save, the first is "
                f"{min(clashes):#x}: the newer is used",
            )  # fmt: skip
        return formats

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

    def subbuf_size(self, instance: str) -> int:
        """Bytes of an instance's sub-buffers; ``header_page`` is the global buffer's."""
        rel = f"tracefs/instances/{instance}/buffer_subbuf_size_kb"
        text = self.text(rel).strip() if instance else ""
        if re.fullmatch("[0-9]{1,5}", text):
            return int(text) << 10
        return self.header_page.subbuf_size

    def instance_on(self, region: str, address: int | None = None) -> str:
        """The instance of this boot on the region of this name or at this physical address.

        '' if none is known. A carve-out's region has no name of its own.
        """
        instances = self.kernel.get("trace_instances")
        for entry in instances if isinstance(instances, list) else ():
            if not isinstance(entry, Mapping):
                continue
            at = entry.get("address")
            if entry.get("region") == region or (at is not None and at == address):
                return str(entry.get("name", ""))
        return ""

    def trace_clock(self, instance: str) -> str | None:
        """The clock marked ``[chosen]`` in an instance's ``trace_clock`` ('': the global one)."""
        rel = f"tracefs/instances/{instance}/trace_clock" if instance else "tracefs/trace_clock"
        m = re.search(r"\[([^\s\[\]]+)\]", self.text(rel))
        return m[1] if m else None
