"""``ftrace-v1``: the trace buffers in the device tree of the first KHO patches, never merged.

"kexec: Allow preservation of ftrace buffers" of Dec 2023 (v1, v2) and Jan 2024 (v3). Unlike later
KHO this is one tree. A CPU's node has ``mem``: alternately a ``struct buffer_page`` and the data
page that it describes, all of the ring's in ring order. What the buffers need beside that is not in
it: the reader page (so its events are lost), formats, names, the clock, counters. Events are known
by a fingerprint. All numbers are native-endian.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from tracekit.errors import Diagnostic, ParseError, SourceError
from tracekit.frozen import dataclass, field
from tracekit.kho.fdt import Node, parse_fdt

__all__ = ["SEED_PATHS", "SeedArray", "SeedCpu", "SeedTrace", "fingerprint", "parse_seed"]

#: Where the reader, and the writer, of those patches shows the tree.
SEED_PATHS = ("sys/firmware/kho/dt", "sys/kernel/kho/dt")
_COMPATIBLE = {"": "kho-v1", "ftrace": "ftrace-v1"}
_ARRAY, _CPU, _BUFFER = "ftrace,array-v1", "ftrace,cpu-v1", "ftrace,buffer-v1"
_GLOBAL = ("global_trace", "global-trace")
_PAIR = struct.Struct("<QQ")
_EVENT = struct.Struct("<Ii")
# struct buffer_page (kernel/trace/ring_buffer.c) of 6.7 and later begins alike: the list's next at
# 0, write at 16, entries at 32. In which of the two sizes the data page's address lies is of no
# matter: the next entry of mem has it.
_PAGE_SIZES = (0x38, 0x40)
_HEAD = struct.Struct("<Q8xQ8xQ")
_HEAD_FLAGS = 3  # RB_PAGE_HEAD, or RB_PAGE_UPDATE while the head is being moved
_COUNT = (1 << 20) - 1  # RB_WRITE_MASK
_SUBBUF_SIZES = frozenset(1 << bits for bits in range(12, 21))
_PAGE_HEADER = struct.Struct("<QQ")  # struct buffer_data_page: time_stamp, commit
_MAX_CPUS = 8192
_MAX_FIXED = 256

_Report = Callable[[Diagnostic], object]


class _Memory(Protocol):
    def read(self, address: int, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class SeedCpu:
    """A CPU's ring: (address of a page's description, address of its data), in ring order."""

    cpu: int
    subbuf_size: int
    pages: tuple[tuple[int, int], ...]

    def read(self, memory: _Memory, missing: Callable[[str], object]) -> Iterator[bytes]:
        """The data pages that hold something, oldest first.

        ``missing`` is told of those that cannot be read.
        """
        states = [self._state(memory, page, missing) for page in self.pages]
        heads = [i for i, state in enumerate(states) if state and state[0]]
        order = list(range(len(states)))
        if len(heads) == 1:  # the flag is in the pointer to the head
            first = heads[0] + 1
            order = order[first:] + order[:first]
        chosen = [i for i in order if (state := states[i]) and (state[1] or state[2])]
        data = (self._data(memory, self.pages[i][1], missing) for i in chosen)
        whole = (page for page in data if page is not None)
        if len(heads) == 1:
            return whole
        return iter(sorted(whole, key=lambda page: _PAGE_HEADER.unpack_from(page)[0]))

    @staticmethod
    def _state(
        memory: _Memory, page: tuple[int, int], missing: Callable[[str], object]
    ) -> tuple[int, int, int] | None:
        """(the flags of the pointer to the next, bytes written, entries)."""
        try:
            pointer, write, entries = _HEAD.unpack(memory.read(page[0], _HEAD.size))
        except SourceError as error:
            missing(str(error))
            return None
        return pointer & _HEAD_FLAGS, write & _COUNT, entries & _COUNT

    def _data(
        self, memory: _Memory, address: int, missing: Callable[[str], object]
    ) -> bytes | None:
        try:
            data = memory.read(address, self.subbuf_size)
        except SourceError as error:
            missing(str(error))
            return None
        used = _PAGE_HEADER.unpack_from(data)[1] & _COUNT
        if used > self.subbuf_size - _PAGE_HEADER.size:
            return data  # damaged: the decoder says so
        return data[: _PAGE_HEADER.size + used].ljust(self.subbuf_size, b"\0") if used else None


@dataclass(frozen=True, slots=True)
class SeedArray:
    """A trace array; ``name`` is '' for the global buffer."""

    name: str
    cpus: tuple[SeedCpu, ...]


@dataclass(frozen=True, slots=True)
class SeedTrace:
    """The tree's buffers. ``types``: fingerprint -> event ids, or ``names`` (v1): name -> id."""

    version: str
    arrays: tuple[SeedArray, ...]
    types: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    names: Mapping[str, int] = field(default_factory=dict)
    fixed: frozenset[int] = frozenset()


def fingerprint(name: str, sizes: list[int]) -> int:
    """What an event is known by: CRC-32, without its last inversion, of its name and fields.

    ``sizes`` are those of its own fields, in the order of the ``format`` file; the kernel's list
    has them the other way round.
    """
    data = name.encode() + b"".join(struct.pack("<i", size) for size in reversed(sizes))
    return zlib.crc32(data) ^ 0xFFFFFFFF


def _child(node: Node, name: str) -> Node | None:
    return next((child for child in node.children if child.name == name), None)


def _number(node: Node, name: str, source: str) -> int:
    value = node.properties.get(name, b"")
    if len(value) != 4:
        raise ParseError(f"{source}: {node.name}: {name} has {len(value)} bytes, not 4")
    return int.from_bytes(value, "little", signed=True)


def _cpu(node: Node, source: str) -> SeedCpu:
    cpu = _number(node, "cpu", source)
    mem = node.properties.get("mem", b"")
    if not 0 <= cpu < _MAX_CPUS or len(mem) % (2 * _PAIR.size):
        raise ParseError(f"{source}: {node.name}: cpu {cpu} with {len(mem)} bytes of mem")
    entries = list(_PAIR.iter_unpack(mem))
    sizes = {size for _, size in entries[1::2]}
    described = {size for _, size in entries[::2]}
    if entries and (
        len(sizes) > 1 or not sizes <= _SUBBUF_SIZES or not described <= {*_PAGE_SIZES}
    ):
        raise ParseError(
            f"{source}: {node.name}: pages of {sorted(sizes)[:4]} bytes, described by "
            f"{sorted(described)[:4]}: no struct buffer_page that this knows"
        )
    pages = tuple(
        (description, data)
        for (description, _), (data, _) in zip(entries[::2], entries[1::2], strict=True)
    )
    return SeedCpu(cpu, next(iter(sizes), 4096), pages)


def _array(node: Node, source: str, report: _Report) -> SeedArray:
    inside = [*node.children]
    for child in node.children:  # v1 has a node in between
        if _BUFFER in child.strings("compatible"):
            inside += child.children
    cpus: dict[int, SeedCpu] = {}
    for child in inside:
        if _CPU not in child.strings("compatible"):
            continue
        try:
            cpu = _cpu(child, f"{source} {node.name}")
        except ParseError as error:
            report(Diagnostic("seed-damaged", "warning", f"{node.name} {child.name}", str(error)))
            continue
        cpus.setdefault(cpu.cpu, cpu)
    name = "" if node.name in _GLOBAL else node.name
    return SeedArray(name, tuple(cpus[cpu] for cpu in sorted(cpus)))


def _types(data: bytes) -> tuple[dict[int, tuple[int, ...]], frozenset[int]]:
    """Fingerprint -> ids, and those of the kernel's own fixed ones, which come first as (n, n)."""
    types: dict[int, tuple[int, ...]] = {}
    fixed: set[int] = set()
    leading = True
    whole = len(data) // _EVENT.size * _EVENT.size
    for mark, number in _EVENT.iter_unpack(data[:whole]):
        leading = leading and mark == number < _MAX_FIXED
        if leading or mark in fixed:
            fixed.add(number)
        elif number not in types.get(mark, ()):
            types[mark] = (*types.get(mark, ()), number)
    return types, frozenset(fixed)


def _events(
    node: Node,
) -> tuple[str, dict[int, tuple[int, ...]], dict[str, int], frozenset[int]]:
    """(the patches' version, fingerprints, names, fixed ids)."""
    listed = _child(node, "events")
    if listed is not None:
        names = {
            name: int.from_bytes(value, "little", signed=True)
            for name, value in listed.properties.items()
            if len(value) == 4
        }
        return "v1", {}, names, frozenset()
    types, fixed = _types(node.properties.get("events", b""))
    return ("v3" if _child(node, _GLOBAL[1]) else "v2"), types, {}, fixed


def parse_seed(data: bytes, source: str, report: _Report = lambda _: None) -> SeedTrace | None:
    """The buffers in a tree; None where it is a tree of another kind.

    Raises :class:`~tracekit.errors.ParseError` where it is no device tree.
    """
    root = parse_fdt(data, source)
    ftrace = _child(root, "ftrace")
    if ftrace is None or any(
        name not in node.strings("compatible")
        for node, name in ((root, _COMPATIBLE[""]), (ftrace, _COMPATIBLE["ftrace"]))
    ):
        return None
    version, types, names, fixed = _events(ftrace)
    arrays = tuple(
        _array(node, source, report)
        for node in ftrace.children
        if _ARRAY in node.strings("compatible")
    )
    return SeedTrace(version, arrays, types, names, fixed)
