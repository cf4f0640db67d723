"""What is read out of a dead kernel's memory: its note, page tables, packed symbols; KHO's seed."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from tracekit.errors import Diagnostic, ParseError, SourceError
from tracekit.kho.seed import parse_seed
from tracekit.kmemory.kallsyms import read_symbols
from tracekit.kmemory.memory import Absent, VirtualMemory
from tracekit.kmemory.page_tables import page_tables
from tracekit.kmemory.vmcoreinfo import Vmcoreinfo, parse_vmcoreinfo, scan

_TOP = 0x10_0000
_TEXT = 0xFFFF_FFFF_8000_0000
_ADDRESSES = (_TEXT, 0xFFFF_8880_0000_1000, 0xFF11_0000_1234_5678, 0, (1 << 64) - 8)
_SYMBOLS = {
    "num_syms": 0, "relative_base": 8, "names": 16, "token_table": 0x200, "token_index": 0x400,
    "offsets": 0x600,
}  # fmt: skip


class _Stretch(NamedTuple):
    address: int
    size: int


class _Bytes:
    """Physical memory: so many bytes at an address."""

    def __init__(self, address: int, data: bytes) -> None:
        self.ranges = [_Stretch(address, len(data))]
        self._data = data

    def held(self, address: int, size: int) -> int:
        first, length = self.ranges[0]
        return max(0, min(address + size, first + length) - max(address, first))

    def read(self, address: int, size: int) -> bytes:
        if self.held(address, size) < size:
            raise SourceError("not there")
        start = address - self.ranges[0].address
        return self._data[start : start + size]


class _Flat:
    def translate(self, address: int) -> tuple[int, int]:
        return address, 4096 - address % 4096


def vmcoreinfo(data: bytes) -> None:
    """The note, as text and in memory. Raises :class:`~tracekit.errors.ParseError`."""
    whole = data.ljust(-(-len(data) // 4096) * 4096 or 4096, b"\0")
    assert len(scan(_Bytes(0x1000, whole))) <= 16
    info = parse_vmcoreinfo(data)
    assert info.release
    with suppress(SourceError):
        page_tables(_Bytes(0, b""), info).translate(_TEXT)


def tables(data: bytes) -> None:
    """A walk of page tables; the first byte chooses the machine."""
    kinds = [{"phys_base": 0, "pgtable_l5_enabled": five, "sme_mask": 1 << 47} for five in (0, 1)]
    kinds += [
        {"kimage_voffset": _TEXT, "VA_BITS": built, "TCR_EL1_T1SZ": size}
        for built, size in ((39, 25), (48, 16), (52, 12))
    ]
    numbers = kinds[data[0] % len(kinds)] if data else kinds[0]
    size = ("4096", "16384", "65536")[data[0] // 8 % 3] if data else "4096"
    info = Vmcoreinfo(
        {"OSRELEASE": "1", "PAGESIZE": size}, {"swapper_pg_dir": _TEXT + _TOP}, numbers
    )
    with suppress(ParseError):
        walk = page_tables(_Bytes(_TOP, data[1:].ljust(1 << 17, b"\0")), info)
        for address in _ADDRESSES:
            with suppress(Absent):
                physical, length = walk.translate(address)
                assert 0 <= physical < 1 << 64
                assert length > 0


def packed_symbols(data: bytes) -> None:
    """The packed symbols. Raises :class:`~tracekit.errors.SourceError`."""
    memory = _Bytes(0, data.ljust(-(-len(data) // 4096) * 4096 + 4096, b"\0"))
    relative = bool(data) and data[-1] & 1
    info = Vmcoreinfo({"OSRELEASE": "1"}, {"swapper_pg_dir": 0})
    for name, place in _SYMBOLS.items():
        if relative or name != "relative_base":
            info.symbols[f"kallsyms_{name}"] = place
    symbols = read_symbols(VirtualMemory(memory, _Flat()), info)
    assert len(symbols) == len(list(symbols))
    for symbol in list(symbols)[:16]:
        assert symbols.find(symbol.name) is not None
        assert symbols.end_of(symbol.address) >= symbol.address


def seed_tree(data: bytes) -> None:
    """A tree of the first KHO patches. Raises :class:`~tracekit.errors.ParseError`."""
    remarks: list[Diagnostic] = []
    seed = parse_seed(data, "fuzz", remarks.append)
    for array in seed.arrays if seed else ():
        for cpu in array.cpus:
            assert len(list(cpu.read(_Bytes(0, data), lambda _: None))) <= len(cpu.pages)
