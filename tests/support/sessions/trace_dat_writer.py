"""Writes trace.dat files of version 7, compressed as asked, which no installed trace-cmd does."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import zstandard

from tracekit.trace_dat.layout import MAGIC, Option, TraceDat
from tracekit.trace_dat.parse import blocks_of, parse, read_cpu

__all__ = ["as_version_7", "truncations"]

_PAGE = 4096
_CHUNK = 10 * _PAGE


def _packer(compression: str) -> Callable[[bytes], bytes]:
    if compression == "zlib":
        return zlib.compress
    form = zstandard.FORMAT_ZSTD1_MAGICLESS if compression == "magicless" else 0
    parameters = zstandard.ZstdCompressionParameters(format=form)
    return zstandard.ZstdCompressor(compression_params=parameters).compress


def _read(source: Path) -> tuple[TraceDat, dict[tuple[str, int], bytes]]:
    """The tables, and the pages of every buffer's CPUs."""
    with source.open("rb") as file:
        dat, stream = parse(file, str(source))
        blocks = blocks_of(dat, stream)
        data = {
            (buffer.name, cpu.cpu): b"".join(read_cpu(dat, stream, blocks, buffer, cpu)[1])
            for buffer in dat.buffers
            for cpu in buffer.cpus
            if cpu.size
        }
    return dat, data


def _sized(width: str, content: bytes) -> bytes:
    return struct.pack(width, len(content)) + content


def _listed(texts: list[bytes]) -> bytes:
    return struct.pack("<I", len(texts)) + b"".join(_sized("<Q", text) for text in texts)


def as_version_7(source: Path, compression: str) -> bytes:
    """The content of ``source`` as version 7; ``compression``: zlib, zstd, magicless or none."""
    dat, data = _read(source)
    pack, packed = (bytes, 0) if compression == "none" else (_packer(compression), 1)
    out = io.BytesIO()
    name = b"zstd" if compression == "magicless" else compression.encode()
    out.write(MAGIC + b"7\0\0\x08" + struct.pack("<I", _PAGE) + name + b"\x001\0")
    place = out.tell()
    out.write(bytes(8))

    def section(number: int, content: bytes) -> bytes:
        """Write one; the option that names it."""
        at = out.tell()
        body = pack(content)
        sizes = struct.pack("<II", len(body), len(content)) if packed else b""
        out.write(struct.pack("<HHIQ", number, packed, 0, len(sizes + body)) + sizes + body)
        return struct.pack("<HIQ", number, 8, at)

    systems = {k: v for k, v in dat.format_files().items() if k != "ftrace"}
    events = b"".join(name.encode() + b"\0" + _listed(texts) for name, texts in systems.items())
    header = b"header_page\0" + _sized("<Q", dat.header_page)
    header += b"header_event\0" + _sized("<Q", dat.header_event)
    options = section(Option.HEADER_INFO, header)
    options += section(Option.FTRACE_EVENTS, _listed(dat.ftrace_events))
    options += section(Option.EVENT_FORMATS, struct.pack("<I", len(systems)) + events)
    options += section(Option.KALLSYMS, _sized("<I", dat.kallsyms))
    options += section(Option.PRINTK, _sized("<I", dat.printk))
    options += section(Option.CMDLINES, _sized("<Q", dat.cmdlines))
    options += (
        struct.pack("<HI", Option.TRACECLOCK, len(dat.clock) + 1) + dat.clock.encode() + b"\0"
    )
    options += struct.pack("<HII", Option.CPUCOUNT, 4, dat.cpus)
    for key, content in dat.options.items():
        options += struct.pack("<HI", key, len(content)) + content
    for instance in dict.fromkeys(name for name, _ in data):
        at = out.tell()
        out.write(struct.pack("<HHIQ", Option.BUFFER, packed, 0, 0))
        entries = []
        for (of, cpu), content in data.items():
            if of != instance:
                continue
            out.write(bytes(-out.tell() % _PAGE))
            start = out.tell()
            if packed:
                chunks = [content[i : i + _CHUNK] for i in range(0, len(content), _CHUNK)]
                bodies = [(pack(chunk), len(chunk)) for chunk in chunks]
                out.write(struct.pack("<I", len(chunks)))
                out.writelines(struct.pack("<II", len(b), n) + b for b, n in bodies)
            else:
                out.write(content)
            entries.append(struct.pack("<IQQ", cpu, start, out.tell() - start))
        clock = dat.clock.partition("[")[2].partition("]")[0].encode()
        body = struct.pack("<Q", at) + instance.encode() + b"\0" + clock + b"\0"
        body += struct.pack("<II", _PAGE, len(entries)) + b"".join(entries)
        options += struct.pack("<HI", Option.BUFFER, len(body)) + body
    options += struct.pack("<HIQ", Option.DONE, 8, 0)
    first = out.tell()
    section(Option.DONE, options)
    whole = bytearray(out.getvalue())
    whole[place : place + 8] = struct.pack("<Q", first)
    return bytes(whole)


def truncations(data: bytes, count: int) -> list[bytes]:
    """The file cut at ``count`` places, spread evenly."""
    return [data[: len(data) * i // count] for i in range(count)]
