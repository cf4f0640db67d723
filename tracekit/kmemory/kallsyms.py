"""The kernel's own table of its symbols, as ``scripts/kallsyms.c`` packs it.

Names are a length (one byte, or two where bit 7 of the first is set) and so many tokens; the first
character that they give is the symbol's type. Addresses are packed in one of four ways, see
:func:`_addresses`.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from tracekit.errors import ParseError
from tracekit.kmemory.memory import VirtualMemory
from tracekit.kmemory.vmcoreinfo import Vmcoreinfo

__all__ = ["Symbol", "Symbols", "read_symbols"]

_MAX_SYMBOLS = 1 << 21
_MAX_NAME = 1024  # tokens; KSYM_NAME_LEN is 512
_MAX_NAMES = 48 << 20
_TOKENS = 256
_AT_ONCE = 4096  # lines that are made before they are put together
_MAX_TOKENS = 1 << 16  # token_index has 16 bits
_VALUE = (1 << 64) - 1


class Symbol(NamedTuple):
    """A line of ``/proc/kallsyms``."""

    address: int
    type: str
    name: str


class Symbols:
    """The symbols of the kernel itself, in the table's order, which is that of addresses.

    A crash kernel has little memory, and a kernel 200,000 symbols: they are kept packed, as
    ``names``: of each a line feed, its type, its name; at the end one more line feed.
    """

    def __init__(self, names: bytes, addresses: array[int]) -> None:
        """``addresses``: of each, 64 bits (``Q``)."""
        self._names = names
        self._addresses = addresses
        self._found: dict[str, int | None] = {}

    def __len__(self) -> int:
        return len(self._addresses)

    def __iter__(self) -> Iterator[Symbol]:
        place = 1
        for address in self._addresses:
            end = self._names.index(b"\n", place)
            name = self._names[place:end].decode("ascii")
            yield Symbol(address, name[:1], name[1:])
            place = end + 1

    def find(self, name: str) -> int | None:
        """The address of a symbol; None where there is none.

        The first of each name counts, as ``kallsyms_lookup_name()`` has it.
        """
        if name not in self._found:
            self._found[name] = self._find(name.encode("ascii", "replace") + b"\n")
        return self._found[name]

    def _find(self, line: bytes) -> int | None:
        place = self._names.find(line)
        while place >= 0 and self._names[place - 2 : place - 1] != b"\n":
            place = self._names.find(line, place + 1)
        return self._addresses[self._names.count(b"\n", 0, place - 2)] if place >= 0 else None

    def end_of(self, address: int) -> int:
        """The address of the next symbol; that of the address itself where none follows."""
        return min((other for other in self._addresses if other > address), default=address)

    def kallsyms(self) -> bytes:
        """The text of ``/proc/kallsyms``."""
        text, symbols = bytearray(), iter(self)
        while some := list(islice(symbols, _AT_ONCE)):
            text += "".join(f"{s.address:016x} {s.type} {s.name}\n" for s in some).encode()
        return bytes(text)


def _place(info: Vmcoreinfo, name: str) -> int:
    address = info.symbols.get(f"kallsyms_{name}")
    if address is None:
        raise ParseError(
            f"VMCOREINFO of kernel {info.release} does not say where kallsyms_{name} is: kernels "
            "from 6.0 on (CONFIG_KALLSYMS_ALL) do"
        )
    return address


def _tokens(memory: VirtualMemory, info: Vmcoreinfo) -> list[bytes]:
    """The 256 pieces that names are made of, as printable ASCII."""
    offsets = struct.unpack(f"<{_TOKENS}H", memory.read(_place(info, "token_index"), 2 * _TOKENS))
    table = _place(info, "token_table")
    size = max(offsets) + _MAX_NAME
    # What follows the table may not be mapped: the pieces end with a NUL anyhow.
    whole = min(size, (_place(info, "token_index") - table) % (1 << 64))
    data = memory.read(table, min(whole, _MAX_TOKENS + _MAX_NAME))
    pieces = [data[o : data.find(b"\0", o) % (len(data) + 1)] for o in offsets]
    return [bytes(c if 32 < c < 127 else 63 for c in piece) for piece in pieces]


def _names(memory: VirtualMemory, info: Vmcoreinfo, count: int) -> bytes:
    """See :class:`Symbols`."""
    start = _place(info, "names")
    # The table of markers comes next in every kernel; its size is not known, so read by parts.
    piece = _tokens(memory, info).__getitem__
    names = bytearray(b"\n")
    data = b""
    position = done = 0
    for number in range(count):
        if len(data) - position < 2 * _MAX_NAME:
            size = min(1 << 16, max(16, (count - number) * 3))
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
            raise ParseError(f"kallsyms: symbol {number} has a name of {length} tokens")
        text = b"".join(map(piece, data[position : position + length]))
        if not text:
            raise ParseError(f"kallsyms: symbol {number} has neither type nor name")
        names += text
        if len(names) > _MAX_NAMES * 2:
            raise ParseError(f"kallsyms: names of more than {_MAX_NAMES * 2} bytes")
        names += b"\n"
        position += length
    return bytes(names)


def _numbers(code: str, data: bytes) -> array[int]:
    """Little-endian integers."""
    numbers = array(code, data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _addresses(memory: VirtualMemory, info: Vmcoreinfo, count: int) -> array[int]:
    """The symbols' addresses, by what VMCOREINFO names.

    - ``kallsyms_addresses``: 64 bits each (no CONFIG_KALLSYMS_BASE_RELATIVE).
    - ``kallsyms_offsets`` alone (7.0 and later): each is relative to its own place.
    - ``kallsyms_relative_base`` as well: unsigned offsets from it; but if one is negative
      (CONFIG_KALLSYMS_ABSOLUTE_PERCPU), those that are not are the addresses of per-CPU variables,
      and the others count down from it.
    """
    if (place := info.symbols.get("kallsyms_addresses")) is not None:
        return _numbers("Q", memory.read(place, 8 * count))
    place = _place(info, "offsets")
    offsets = _numbers("i", memory.read(place, 4 * count))
    where = info.symbols.get("kallsyms_relative_base")
    if where is None:
        return array("Q", ((place + 4 * i + x) & _VALUE for i, x in enumerate(offsets)))
    base = memory.u64(where)
    if min(offsets) < 0:
        return array("Q", ((base - 1 - x) & _VALUE if x < 0 else x for x in offsets))
    return array("Q", ((base + x) & _VALUE for x in offsets))


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
