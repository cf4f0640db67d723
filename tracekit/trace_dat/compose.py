"""Writes a trace.dat of version 6, which every trace-cmd and KernelShark reads."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import BinaryIO

from tracekit.frozen import dataclass
from tracekit.trace_dat.layout import MAGIC, Option, TraceDat

__all__ = ["CpuPages", "Section", "compose"]

_NOTHING = b"\n"  # an empty table: readers take a size of 0 for a damaged file


@dataclass(frozen=True, slots=True)
class CpuPages:
    """The sub-buffers of one CPU: their number, and the bytes of all, one after the other."""

    count: int
    pages: Callable[[], Iterable[bytes | memoryview]]


@dataclass(frozen=True, slots=True)
class Section:
    """One buffer; ``name`` '' is the global one. CPU -> its sub-buffers."""

    name: str
    cpus: Mapping[int, CpuPages]


def _sized(width: str, data: bytes) -> bytes:
    return struct.pack(width, len(data)) + data


def _formats(texts: Sequence[bytes]) -> bytes:
    return struct.pack("<I", len(texts)) + b"".join(_sized("<Q", text) for text in texts)


def _tables(dat: TraceDat) -> bytes:
    systems = {name: texts for name, texts in dat.format_files().items() if name != "ftrace"}
    parts = [
        MAGIC, b"6\0", b"\0\x08", struct.pack("<I", dat.page_size),
        b"header_page\0", _sized("<Q", dat.header_page),
        b"header_event\0", _sized("<Q", dat.header_event),
        _formats(dat.ftrace_events), struct.pack("<I", len(systems)),
    ]  # fmt: skip
    for name, texts in systems.items():
        parts += [name.encode("utf-8", "replace") + b"\0", _formats(texts)]
    parts += [
        _sized("<I", dat.kallsyms or _NOTHING), _sized("<I", dat.printk or _NOTHING),
        _sized("<Q", dat.cmdlines or _NOTHING), struct.pack("<I", dat.cpus),
    ]  # fmt: skip
    return b"".join(parts)


def _options(dat: TraceDat, instances: Sequence[tuple[int, str]]) -> bytes:
    stats, named = [], ""
    for (name, cpu), text in dat.stats.items():
        if name != named:
            stats.append((Option.CPUSTAT, b"\nBuffer: %s\n\n\0" % name.encode("utf-8", "replace")))
            named = name
        stats.append((Option.CPUSTAT, b"CPU: %d\n%s\0" % (cpu, text)))
    pairs = [
        (Option.TRACECLOCK, dat.clock.encode() + b"\0"),
        *dat.options.items(),
        *stats,
        *(
            (Option.BUFFER, struct.pack("<Q", offset) + name.encode("utf-8", "replace") + b"\0")
            for offset, name in instances
        ),
    ]
    body = b"".join(struct.pack("<HI", option, len(data)) + data for option, data in pairs)
    return b"options  \0" + body + struct.pack("<H", Option.DONE)


def _places(section: Section | None, cpus: int, start: int, page: int) -> tuple[bytes, int]:
    """``flyrecord`` with the places of all CPUs' data from ``start`` on; where the data end."""
    table = [b"flyrecord\0"]
    for cpu in range(cpus):
        found = section.cpus.get(cpu) if section else None
        size = found.count * page if found else 0
        table.append(struct.pack("<QQ", start, size))
        start += size
    return b"".join(table), start


def _aligned(offset: int, page: int) -> int:
    return -(-offset // page) * page


def compose(
    dat: TraceDat, sections: Sequence[Section], out: BinaryIO, advance: Callable[[int], None]
) -> int:
    """Write the file; ``dat.page_size`` is that of every sub-buffer. Returns the bytes written.

    ``advance`` is told of the sub-buffers as they are written.
    """
    page, cpus = dat.page_size, dat.cpus
    top = next((s for s in sections if not s.name), None)
    instances = [s for s in sections if s.name]
    tables = _tables(dat)
    head_size = len(tables) + len(_options(dat, [(0, s.name) for s in instances]))
    head_size += len(_places(None, cpus, 0, page)[0])
    top_start = _aligned(head_size, page)
    top_places, end = _places(top, cpus, top_start, page)
    starts, bodies = [], []
    for section in instances:
        starts.append((end, section.name))
        first = _aligned(end + len(top_places), page)
        places, after = _places(section, cpus, first, page)
        bodies.append((places, first - end - len(places)))
        end = after
    out.write(tables + _options(dat, starts) + top_places + bytes(top_start - head_size))
    _write_pages(top, cpus, out, advance)
    for section, (places, padding) in zip(instances, bodies, strict=True):
        out.write(places + bytes(padding))
        _write_pages(section, cpus, out, advance)
    return end


def _write_pages(
    section: Section | None, cpus: int, out: BinaryIO, advance: Callable[[int], None]
) -> None:
    for cpu in range(cpus):
        found = section.cpus.get(cpu) if section else None
        for page in found.pages() if found else ():
            out.write(page)
            advance(1)
