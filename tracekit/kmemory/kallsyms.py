"""The kernel's own table of its symbols, as ``scripts/kallsyms.c`` packs it.

Names are a length (one byte, or two where bit 7 of the first is set) and so many tokens; the first
character that they give is the symbol's type. Addresses are packed in one of four ways, see
:func:`_addresses`.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from tracekit.errors import ParseError
from tracekit.kmemory.memory import VirtualMemory
from tracekit.kmemory.vmcoreinfo import Vmcoreinfo

__all__ = ["Symbol", "Symbols", "read_symbols"]

_MAX_SYMBOLS = 1 << 21
_MAX_NAME = 1024  # tokens; KSYM_NAME_LEN is 512
_MAX_NAMES = 48 << 20
_TOKENS = 256
_MAX_TOKENS = 1 << 16  # token_index has 16 bits
_VALUE = (1 << 64) - 1


class Symbol(NamedTuple):
    """A line of ``/proc/kallsyms``."""

    address: int
    type: str
    name: str


class Symbols:
    """The symbols of the kernel itself, in the table's order, which is that of addresses."""

    def __init__(self, names: Sequence[str], addresses: Sequence[int]) -> None:
        """``names`` begin with the symbol's type."""
        self._names = names
        self._addresses = addresses

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return (
            Symbol(address, name[:1], name[1:])
            for address, name in zip(self._addresses, self._names, strict=True)
        )

    @cached_property
    def _by_name(self) -> dict[str, int]:
        """The first symbol of each name counts, as ``kallsyms_lookup_name()`` has it."""
        names, addresses = reversed(self._names), reversed(self._addresses)
        return {name[1:]: address for name, address in zip(names, addresses, strict=True)}

    def find(self, name: str) -> int | None:
        """The address of a symbol; None where there is none."""
        return self._by_name.get(name)

    @cached_property
    def _in_order(self) -> list[int]:
        return sorted(set(self._addresses))

    def end_of(self, address: int) -> int:
        """The address of the next symbol; that of the address itself where none follows."""
        after = bisect_right(self._in_order, address)
        return self._in_order[after] if after < len(self._in_order) else address

    @cached_property
    def _functions(self) -> dict[int, str]:
        """Address -> the first name that it has."""
        names, addresses = reversed(self._names), reversed(self._addresses)
        return {address: name[1:] for name, address in zip(names, addresses, strict=True)}

    def name_at(self, address: int) -> str:
        """The name of the symbol at just this address; '' without one."""
        return self._functions.get(address, "")

    def kallsyms(self) -> str:
        """The text of ``/proc/kallsyms``."""
        return "".join(f"{s.address:016x} {s.type} {s.name}\n" for s in self)


def _place(info: Vmcoreinfo, name: str) -> int:
    address = info.symbols.get(f"kallsyms_{name}")
    if address is None:
        raise ParseError(
            f"VMCOREINFO of kernel {info.release} does not say where kallsyms_{name} is: kernels "
            "from 6.0 on (CONFIG_KALLSYMS_ALL) do"
        )
    return address


def _tokens(memory: VirtualMemory, info: Vmcoreinfo) -> list[str]:
    """The 256 pieces that names are made of."""
    offsets = struct.unpack(f"<{_TOKENS}H", memory.read(_place(info, "token_index"), 2 * _TOKENS))
    table = _place(info, "token_table")
    size = max(offsets) + _MAX_NAME
    # What follows the table may not be mapped: the pieces end with a NUL anyhow.
    whole = min(size, (_place(info, "token_index") - table) % (1 << 64))
    data = memory.read(table, min(whole, _MAX_TOKENS + _MAX_NAME))
    return [
        data[offset : data.find(b"\0", offset) % (len(data) + 1)].decode("ascii", "replace")
        for offset in offsets
    ]


def _names(memory: VirtualMemory, info: Vmcoreinfo, count: int) -> list[str]:
    start = _place(info, "names")
    # The table of markers comes next in every kernel; its size is not known, so read by parts.
    tokens = _tokens(memory, info)
    piece = tokens.__getitem__
    names: list[str] = []
    data = b""
    position = done = 0
    while len(names) < count:
        if len(data) - position < 2 * _MAX_NAME:
            size = min(1 << 16, max(16, (count - len(names)) * 3))
            if done + size > _MAX_NAMES:
                raise ParseError(f"kallsyms: names of more than {_MAX_NAMES} bytes")
            data = data[position:] + memory.read(start + done, size)
            done += size
            position = 0
        length = data[position]
        position += 1
        if length & 0x80:
            length = length & 0x7F | data[position] << 7
            position += 1
        while len(data) < position + length <= _MAX_NAME * 4 + len(data):
            data += memory.read(start + done, 1024)
            done += 1024
        if not 0 < length <= _MAX_NAME:
            raise ParseError(f"kallsyms: symbol {len(names)} has a name of {length} tokens")
        names.append("".join(map(piece, data[position : position + length])))
        position += length
    return names


def _addresses(memory: VirtualMemory, info: Vmcoreinfo, count: int) -> list[int]:
    """The symbols' addresses, by what VMCOREINFO names.

    - ``kallsyms_addresses``: 64 bits each (no CONFIG_KALLSYMS_BASE_RELATIVE).
    - ``kallsyms_offsets`` alone (7.0 and later): each is relative to its own place.
    - ``kallsyms_relative_base`` as well: unsigned offsets from it; but if one is negative
      (CONFIG_KALLSYMS_ABSOLUTE_PERCPU), those that are not are the addresses of per-CPU variables,
      and the others count down from it.
    """
    if (place := info.symbols.get("kallsyms_addresses")) is not None:
        return list(struct.unpack(f"<{count}Q", memory.read(place, 8 * count)))
    place = _place(info, "offsets")
    offsets = struct.unpack(f"<{count}i", memory.read(place, 4 * count))
    where = info.symbols.get("kallsyms_relative_base")
    if where is None:
        return [(place + 4 * i + offset) & _VALUE for i, offset in enumerate(offsets)]
    base = memory.u64(where)
    if min(offsets) < 0:
        return [(base - 1 - x) & _VALUE if x < 0 else x for x in offsets]
    return [(base + x) & _VALUE for x in offsets]


def read_symbols(memory: VirtualMemory, info: Vmcoreinfo) -> Symbols:
    """All symbols of the kernel. Raises :class:`~tracekit.errors.SourceError`."""
    count = memory.u32(_place(info, "num_syms"))
    if not 0 < count <= _MAX_SYMBOLS:
        raise ParseError(f"kallsyms: {count} symbols: no kernel has so many, or so few")
    symbols = Symbols(_names(memory, info, count), _addresses(memory, info, count))
    expected, found = info.symbols.get("_stext"), symbols.find("_stext")
    if expected is not None and found != expected:
        says = "is missing from them" if found is None else f"is {found:#x}"
        raise ParseError(f"kallsyms: _stext is {expected:#x}, but by the symbols it {says}")
    return symbols
