"""Binary containers: device trees, cores, BTF, records of probes, archives."""

from __future__ import annotations

import io
from contextlib import suppress

from tracekit.btf import Btf
from tracekit.carriers.dumps.dump_file import open_dump
from tracekit.carriers.dumps.elf_core import ElfCore
from tracekit.carriers.dumps.page_codecs import lzo1x, snappy, unzlib, zstd
from tracekit.carriers.memory import PhysicalMemory
from tracekit.errors import Diagnostic, ParseError, SourceError
from tracekit.kho.fdt import Node, parse_fdt
from tracekit.kho.luo import parse_luo
from tracekit.kho.tree import (
    parse_kexec_metadata,
    parse_memblock,
    parse_setup_data,
    parse_tree,
)
from tracekit.probes.records import RECORD, compact, parse_compact, unpack
from tracekit.session.packing.compression import content_size, decompress
from tracekit.session.packing.tar import tar_members
from tracekit.trace_dat.parse import blocks_of, parse, read_cpu

_U64 = 1 << 64
_LIMIT = 1 << 20  # bytes an archive may have unpacked
_WALKED = 1 << 24  # bytes of a range whose pages are counted
_READ = 1 << 16  # bytes read of a core's first range


def _count(node: Node) -> int:
    return 1 + sum(map(_count, node.children))


def device_tree(data: bytes) -> None:
    """KHO's trees: the root, and memblock's. Raises :class:`~tracekit.errors.ParseError`."""
    remarks: list[Diagnostic] = []
    root = parse_fdt(data, "fuzz")
    assert _count(root) <= len(data) // 4
    tree = parse_tree(data, "fuzz", remarks.append)
    assert all(0 <= blob.address < _U64 for blob in tree.blobs)
    regions = parse_memblock(data, "fuzz", remarks.append)
    assert len({r.name for r in regions}) == len(regions) <= 64
    assert all(r.size > 0 and r.address + r.size <= _U64 for r in regions)
    assert len(remarks) <= 4 * _count(root) + 4


def kho_blobs(data: bytes) -> None:
    """The blobs beside the trees."""
    for parser in (parse_kexec_metadata, parse_setup_data, parse_luo):
        with suppress(ParseError):
            parser(data, "fuzz")


def elf_core(data: bytes) -> None:
    """A core: what it says it holds can be read, or is said to be cut off.

    Raises :class:`~tracekit.errors.SourceError`.
    """
    _read(ElfCore(io.BytesIO(data), "fuzz"), whole=True)


def dump_file(data: bytes) -> None:
    """A core or a compressed dump, flattened or not. Raises as :func:`elf_core` does."""
    _read(open_dump(io.BytesIO(data), "fuzz"), whole=False)


def page_codecs(data: bytes) -> None:
    """A page of a dump in each of its compressions: exactly a page comes of it, or an error."""
    for codec in (lzo1x, snappy, unzlib, zstd):
        for size in (64, 580, 4096):
            with suppress(ParseError):
                assert len(codec(data, size)) == size


def _read(opened: PhysicalMemory, *, whole: bool) -> None:
    """``whole``: all of its ranges are in it."""
    with opened as memory:
        assert memory.describe()
        for each in memory.ranges[:4]:
            assert each.size > 0 and each.end <= _U64
            held = memory.held(each.address, min(each.size, _WALKED))
            assert 0 <= held <= each.size and (not whole or memory.holds(each.address, each.size))
            with suppress(SourceError):
                size = min(each.size, _READ)
                assert len(memory.read(each.address, size)) == size
        assert not memory.holds(_U64 - 1, 2)


def btf(data: bytes) -> None:
    """Types of a kernel. Raises :class:`~tracekit.errors.ParseError`."""
    types = Btf(data, "fuzz")
    assert len(types) <= len(data)
    for name in ("device", "a", ""):
        with suppress(ParseError):
            types.size(name)
        for path in ("kobj.name", "b", "c.d"):
            with suppress(ParseError):
                types.member(name, path)
    with suppress(ParseError):
        types.enumerators({"A", "B"})
    with suppress(ParseError):
        types.nameless("b")
    for number in range(min(len(types), 64)):
        for ask in (types.size_of, types.is_signed, types.entry, types.target, types.is_struct):
            with suppress(ParseError):
                ask(number)
        with suppress(ParseError):
            types.field_of(number, "b")
    functions = types.functions()
    for function in functions:
        for _, kind in function.parameters:
            with suppress(ParseError):
                types.points_to(kind)


def bpf_records(data: bytes) -> None:
    """Records as they are stored, and as they are printed; printed ones are read again."""
    for at in range(0, len(data) - RECORD.size + 1, RECORD.size):
        record = unpack(data, at)
        again = parse_compact(compact(record))
        if again is not None and "|" not in record.name:
            assert (again.ns, again.seq, again.values) == (record.ns, record.seq, record.values)
    for line in data.decode("utf-8", "backslashreplace").splitlines():
        found = parse_compact(line)
        if found is not None:
            assert 0 <= found.ns < _U64 and all(0 <= v < _U64 for v in found.values)


def tar(data: bytes) -> None:
    """An archive's members lie inside it. Raises :class:`~tracekit.errors.SessionError`."""
    for offset, size in tar_members(data, "fuzz", 1000).values():
        assert 0 < offset <= offset + size <= len(data)


def compressed(data: bytes) -> None:
    """A file of a session; the first byte chooses how it is compressed.

    Raises :class:`~tracekit.errors.SessionError`.
    """
    suffix = (".zst", ".gz", "")[data[0] % 3] if data else ""
    assert content_size(data[1:], suffix) >= 0
    assert len(decompress(data[1:], suffix, "fuzz", _LIMIT)) <= _LIMIT


def trace_dat(data: bytes) -> None:
    """trace-cmd's files, with their events. Raises :class:`~tracekit.errors.SourceError`."""
    dat, stream = parse(io.BytesIO(data), "fuzz")
    blocks, total = blocks_of(dat, stream), 0
    for buffer in dat.buffers:
        for cpu in buffer.cpus:
            size, pieces = read_cpu(dat, stream, blocks, buffer, cpu)
            if size > _LIMIT:
                continue
            total += sum(map(len, pieces))
    assert total <= 64 * max(len(data), 8 << 20)
