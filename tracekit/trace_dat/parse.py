"""Reads a trace.dat: everything but the events, which stay in the file until they are asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO

from tracekit.carriers.dumps.signatures import HEAD, identify
from tracekit.errors import Diagnostic, SourceError
from tracekit.trace_dat.layout import MAGIC, Buffer, CpuData, Option, TraceDat
from tracekit.trace_dat.stream import MAX_TABLE, Blocks, Stream, decompressor
from tracekit.trace_dat.tables import Tables

__all__ = ["blocks_of", "parse", "read_cpu"]

_ONLY = "only those of 64-bit little-endian kernels are read (x86-64, arm64)"
_MAX_CPUS = 1 << 13
_MAX_OPTIONS = 1 << 16
_MAX_OPTION = 1 << 20  # bytes
_SUBBUFS = frozenset(1 << bits for bits in range(12, 21))
_RATIO, _ALWAYS = 64, 512 << 20  # what a session may unpack to, session/limits.py
_COMMIT_SIZE = re.compile(rb"commit;\s*offset:[0-9]+;\s*size:([0-9]+);")
#: What else people have that is called a trace: its beginning, and what it is.
_OTHERS = (
    (b"PERFILE2", "it is a perf.data, which perf reads"),
    (b"# tracer:", "it is a tracer's text, and not the records"),
    (b"\x7fELF", "it is an ELF file; a dump of memory is for 'tracekit recover --dump'"),
)
_SKIPPED = 10  # bytes of the words "options", "latency", "flyrecord"


def parse(file: BinaryIO, name: str) -> tuple[TraceDat, Stream]:
    """Read the tables and find the events; ``name`` is the file's in errors.

    Raises :class:`~tracekit.errors.SourceError`, a ParseError where the file breaks its format.
    """
    stream = Stream(file, name)
    head = stream.take(min(HEAD, stream.size), "the magic")
    if not head.startswith(MAGIC):
        raise SourceError(f"{name}: no trace.dat of trace-cmd: {_other(head)}")
    stream.seek(len(MAGIC), "the version")
    version = stream.string("the version")
    if version not in ("6", "7"):
        raise SourceError(f"{name}: a trace.dat of version {version[:20]!r}; 6 and 7 are read")
    big, longs = stream.number(1, "the byte order"), stream.number(1, "the size of a long")
    if big:
        raise SourceError(f"{name}: recorded on a big-endian machine; {_ONLY}")
    if longs != 8:
        raise SourceError(f"{name}: recorded on a 32-bit machine (longs of {longs} bytes); {_ONLY}")
    page_size = stream.number(4, "the page size")
    dat = TraceDat(int(version), page_size)
    (_Version6 if version == "6" else _Version7)(dat, stream).read()
    commit = _COMMIT_SIZE.search(dat.header_page)
    if commit is not None and commit[1] != b"8":
        raise SourceError(
            f"{name}: its sub-buffers' commit has {int(commit[1])} bytes: a 32-bit kernel; {_ONLY}"
        )
    _check(dat, stream)
    return dat, stream


def _other(head: bytes) -> str:
    """What a file is that begins so."""
    if not head:
        return "it is empty"
    if MAGIC.startswith(head):
        return "it ends within its magic: truncated"
    if (known := identify(head)) is not None:
        return f"it is {known.name}: {known.remedy}"
    words = (what for magic, what in _OTHERS if head.startswith(magic))
    return next(words, "it does not begin with its magic")


def _check(dat: TraceDat, stream: Stream) -> None:
    for buffer in dat.buffers:
        what = f"buffer {buffer.name or 'global'!r}"
        if buffer.subbuf_size not in _SUBBUFS:
            raise stream.fail(f"{what}: sub-buffers of {buffer.subbuf_size} bytes are no kernel's")
        seen = [cpu.cpu for cpu in buffer.cpus]
        if len(set(seen)) != len(seen) or max(seen, default=0) >= _MAX_CPUS:
            raise stream.fail(f"{what}: its CPUs make no sense: {seen[:20]}")
        for cpu in buffer.cpus:
            if cpu.size and cpu.offset + cpu.size > stream.size:
                raise SourceError(
                    f"{stream.name}: truncated: the events of CPU {cpu.cpu} should end at byte "
                    f"{cpu.offset + cpu.size:,}, the file has {stream.size:,}"
                )
    names = [buffer.name for buffer in dat.buffers]
    if len(set(names)) != len(names):
        raise stream.fail("two buffers of one name")


def blocks_of(dat: TraceDat, stream: Stream) -> Blocks:
    """What unpacks the file's compressed parts, within what a session may unpack to."""
    return Blocks(stream, dat.compression, max(_ALWAYS, _RATIO * stream.size))


def read_cpu(
    dat: TraceDat, stream: Stream, blocks: Blocks, buffer: Buffer, cpu: CpuData
) -> tuple[int, Iterator[bytes]]:
    """(bytes of a CPU's sub-buffers, those bytes a piece at a time)."""
    what = f"the events of CPU {cpu.cpu}"
    if buffer.packed and cpu.size:
        size = blocks.unpacked_size(cpu.offset, cpu.size, what)
        return size, blocks.chunks(cpu.offset, cpu.size, what)
    return cpu.size, _plain(stream, cpu, what)


def _plain(stream: Stream, cpu: CpuData, what: str) -> Iterator[bytes]:
    at, end = cpu.offset, cpu.offset + cpu.size
    while at < end:
        stream.seek(at, what)
        piece = stream.take(min(1 << 20, end - at), what)
        at += len(piece)
        yield piece


class _Reader:
    """What both versions do: options, and the tables."""

    def __init__(self, dat: TraceDat, stream: Stream) -> None:
        self.dat = dat
        self.stream = stream
        self.buffer_name = ""  # of the CPUSTATs to come
        self.stat_cpu = 0

    def option(self, option: int, data: bytes) -> None:
        """Take one option that is not a place in the file."""
        text = data.partition(b"\0")[0]
        if option == Option.CPUSTAT:
            self._stat(text)
        elif option == Option.TRACECLOCK:
            self.dat.clock = text.decode("utf-8", "backslashreplace").strip()
        elif option == Option.CPUCOUNT and len(data) >= 4:
            self.dat.cpus = self._cpus(int.from_bytes(data[:4], "little"))
        else:
            self.dat.options.setdefault(option, data)

    def _cpus(self, cpus: int) -> int:
        if cpus > _MAX_CPUS:
            raise self.stream.fail(f"{cpus:,} CPUs are no machine's")
        return cpus

    def _stat(self, text: bytes) -> None:
        """``CPU: N`` and the file's text; before an instance's, a text with the buffer's name."""
        if (named := re.match(rb"\s*Buffer: ([^\n]+)\s*$", text)) is not None:
            self.buffer_name = named[1].decode("utf-8", "backslashreplace")
        elif (cpu := re.match(rb"\s*CPU: ?([0-9]{1,4})\n", text)) is not None:
            self.dat.stats[self.buffer_name, int(cpu[1])] = text[cpu.end() :]


class _Version6(_Reader):
    """One part after the other; instances are where a BUFFER option says."""

    def read(self) -> None:
        stream, dat = self.stream, self.dat
        tables = Tables(dat, stream)
        for part in (tables.header_info, tables.ftrace_events, tables.event_formats,
                     tables.kallsyms, tables.printk, tables.cmdlines):  # fmt: skip
            part()
        count = self._cpus(stream.number(4, "the number of CPUs"))
        instances: list[tuple[int, str]] = []
        top = self._cpu_data("", count, instances)
        dat.buffers = [top] if any(cpu.size for cpu in top.cpus) else []
        for offset, name in instances:
            if not offset:  # `trace-cmd split` names buffers that it does not write
                note = f"buffer {name!r} is named, but not in the file"
                dat.notes.append(Diagnostic("trace-dat-buffer-missing", "warning", "", note))
                continue
            stream.seek(offset, f"buffer {name[:40]!r}")
            dat.buffers.append(self._cpu_data(name, dat.cpus or count, None))
        dat.cpus = dat.cpus or count

    def _cpu_data(self, name: str, count: int, instances: list[tuple[int, str]] | None) -> Buffer:
        word = self._word()
        if word == "options":
            self._options(instances)
            word = self._word()
        if word == "latency":
            raise _only_text(self.stream.name)
        if word != "flyrecord":
            raise self.stream.fail(f"'options' or 'flyrecord' expected, not {word[:20]!r}")
        # an option of the whole file may have changed the number, as libtracecmd has it, too
        count = self.dat.cpus if instances is not None and self.dat.cpus else count
        places = [
            (self.stream.number(8, "an offset"), self.stream.number(8, "a size"))
            for _ in range(count)
        ]
        cpus = tuple(CpuData(cpu, *place) for cpu, place in enumerate(places))
        return Buffer(name, "", self.dat.page_size, cpus)

    def _word(self) -> str:
        raw = self.stream.take(_SKIPPED, "'options' or 'flyrecord'")
        return raw.rstrip(b"\0 ").decode("ascii", "backslashreplace")

    def _options(self, instances: list[tuple[int, str]] | None) -> None:
        for _ in range(_MAX_OPTIONS):
            option = self.stream.number(2, "an option")
            if option == Option.DONE:
                return
            data = self.stream.sized(4, "an option", _MAX_OPTION)
            if option == Option.BUFFER and instances is not None:
                name = data[8:].partition(b"\0")[0].decode("utf-8", "backslashreplace")
                instances.append((int.from_bytes(data[:8], "little"), name))
            else:
                self.option(option, data)
        raise self.stream.fail(f"more than {_MAX_OPTIONS} options")


def _only_text(name: str) -> SourceError:
    return SourceError(
        f"{name}: it holds the text of a latency tracer, no ring buffer: there is nothing to "
        "decode; it can be read as it is"
    )


class _Version7(_Reader):
    """Sections anywhere in the file, named by options."""

    def read(self) -> None:
        stream, dat = self.stream, self.dat
        dat.compression = decompressor(stream.string("the compression"), stream.name)
        stream.string("the compression's version")
        self._blocks = blocks_of(dat, stream)
        self._places: dict[int, int] = {}
        self._buffers: list[bytes] = []
        self._texts = False
        following = stream.number(8, "the place of the options")
        seen = set[int]()
        while following:
            if following in seen:
                raise stream.fail("the options lead back to themselves")
            seen.add(following)
            following = self._options(following)
        parts: dict[int, str] = {
            Option.HEADER_INFO: "header_info", Option.FTRACE_EVENTS: "ftrace_events",
            Option.EVENT_FORMATS: "event_formats", Option.KALLSYMS: "kallsyms",
            Option.PRINTK: "printk", Option.CMDLINES: "cmdlines", Option.MODULES: "modules",
        }  # fmt: skip
        for option, part in parts.items():
            if option in self._places:
                with_tables: Callable[[], None] = getattr(
                    Tables(dat, self._section(option, self._places[option])), part
                )
                with_tables()
        dat.buffers = [self._buffer(data) for data in self._buffers]
        if not dat.buffers and self._texts:
            raise _only_text(stream.name)

    def _section(self, wanted: int, offset: int) -> Stream:
        """The content of the section at ``offset``, as a stream of its own."""
        packed = self._head(wanted, offset)
        if not packed:
            return self.stream
        data = self._blocks.block(MAX_TABLE, f"section {wanted}")
        import io

        return Stream(io.BytesIO(data), f"{self.stream.name}, section {wanted}")

    def _head(self, wanted: int, offset: int) -> bool:
        """Read a section's header; whether it is compressed."""
        self.stream.seek(offset, f"section {wanted}")
        found, flags = self.stream.number(2, "a section"), self.stream.number(2, "its flags")
        self.stream.take(12, "a section's header")
        if found != wanted:
            raise self.stream.fail(f"section {wanted} expected, {found} found")
        return bool(flags & 1)

    def _options(self, offset: int) -> int:
        """Take the options at ``offset``; where the next ones are, 0 for none."""
        source = self._section(Option.DONE, offset)
        for _ in range(_MAX_OPTIONS):
            option = source.number(2, "an option")
            data = source.sized(4, "an option", _MAX_OPTION)
            if option == Option.DONE:
                return int.from_bytes(data[:8], "little")
            if option == Option.BUFFER:
                self._buffers.append(data)
            elif option == Option.BUFFER_TEXT:
                self._texts = True
            elif option >= Option.HEADER_INFO and len(data) == 8:
                self._places[option] = int.from_bytes(data, "little")
            else:
                self.option(option, data)
        raise source.fail(f"more than {_MAX_OPTIONS} options")

    def _buffer(self, data: bytes) -> Buffer:
        import io

        option = Stream(io.BytesIO(data), f"{self.stream.name}, a buffer")
        offset = option.number(8, "the buffer's place")
        name, clock = option.string("the buffer's name"), option.string("its clock")
        subbuf, count = option.number(4, "its page size"), option.number(4, "its CPUs")
        if count > _MAX_CPUS:
            raise option.fail(f"{count:,} CPUs are no machine's")
        cpus = tuple(
            CpuData(*(option.number(size, "a CPU's data") for size in (4, 8, 8)))
            for _ in range(count)
        )
        packed = self._head(Option.BUFFER, offset)
        return Buffer(name, clock, subbuf, cpus, packed)
