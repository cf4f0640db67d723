"""The page tables of a kernel: which physical memory its addresses mean.

x86_64 with 4 and 5 levels (``arch/x86/include/asm/pgtable_64_types.h``), arm64 with any
(``arch/arm64/include/asm/pgtable-hwdef.h``). Where the top table lies and how the addresses are
split is in VMCOREINFO: ``arch_crash_save_vmcoreinfo()``.
"""

from __future__ import annotations

import struct

from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass
from tracekit.kmemory.memory import Absent, Memory
from tracekit.kmemory.vmcoreinfo import Vmcoreinfo

__all__ = ["PageTables", "page_tables"]

_TABLES_KEPT = 256
_ENTRY = struct.Struct("<Q")
_X86_TEXT = 0xFFFF_FFFF_8000_0000  # __START_KERNEL_map
_X86_FRAME = (1 << 52) - (1 << 12)  # PHYSICAL_PAGE_MASK with the widest physical addresses
_PRESENT, _HUGE = 1, 1 << 7
_ARM_FRAME = (1 << 48) - 1
_ARM_TYPE, _ARM_TABLE, _ARM_BLOCK = 3, 3, 1
_VALUE = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class _Level:
    """A level of tables: ``shift`` is the lowest address bit that its index has."""

    shift: int
    bits: int


class PageTables:
    """A walk of tables, the same for all machines but for what an entry says."""

    def __init__(
        self,
        memory: Memory,
        top: int,
        levels: tuple[_Level, ...],
        arm: bool,
        page: int,
        clear: int = 0,
        wide: bool = False,
    ) -> None:
        """``top``: the physical address of the first table; ``levels`` from it down.

        ``clear``: bits of entries that are no address (SME's). ``wide``: arm64's LPA2.
        """
        self._memory = memory
        self._top = top
        self._levels = levels
        self._arm = arm
        self._page = page
        self._clear = ~clear
        self._wide = wide
        self._tables: dict[tuple[int, int], bytes] = {}
        self._known: dict[int, tuple[int, int]] = {}

    def translate(self, address: int) -> tuple[int, int]:
        """The physical address, and how many bytes from there on are mapped alike.

        Raises :class:`~tracekit.kmemory.memory.Absent`.
        """
        number = address // self._page
        known = self._known.get(number)
        if known is None:
            if len(self._known) >= 1 << 16:
                self._known.clear()
            known = self._known[number] = self._walk(address & -self._page)
        offset = address % self._page
        return known[0] + offset, known[1] - offset

    def _walk(self, address: int) -> tuple[int, int]:
        table = self._top
        last = self._levels[-1]
        for level in self._levels:
            index = address >> level.shift & (1 << level.bits) - 1
            entry = self._entry(table, index, level, address)
            if level is last or self._is_block(entry, level):
                size = 1 << level.shift
                offset = address & size - 1
                return (self._frame(entry) & -size) + offset, size - offset
            table = self._frame(entry)
        raise AssertionError  # the last level returns

    def _entry(self, table: int, index: int, level: _Level, address: int) -> int:
        size = 8 << level.bits
        data = self._tables.get((table, size))
        if data is None:
            try:
                data = self._memory.read(table, size)
            except SourceError as error:
                raise Absent(
                    f"the page table at physical address {table:#x}, by which the kernel's "
                    f"{address:#x} is found, is not in the dump"
                ) from error
            if len(self._tables) >= _TABLES_KEPT:
                del self._tables[next(iter(self._tables))]
            self._tables[table, size] = data
        entry: int = _ENTRY.unpack_from(data, index * 8)[0]
        if not entry & _PRESENT or (self._arm and level is self._levels[-1] and entry & 3 != 3):
            raise Absent(f"the kernel's {address:#x} is not mapped")
        return entry

    def _is_block(self, entry: int, level: _Level) -> bool:
        if self._arm:
            return entry & _ARM_TYPE == _ARM_BLOCK
        return level.shift <= 30 and bool(entry & _HUGE)

    def _frame(self, entry: int) -> int:
        if not self._arm:
            return entry & self._clear & _X86_FRAME
        low = entry & _ARM_FRAME & -self._page
        if self._page == 1 << 16:  # bits 15:12 are the address's 51:48
            return low | (entry >> 12 & 0xF) << 48
        if self._wide:  # 49:48 are where they belong, 51:50 in bits 9:8
            return low | entry & 3 << 48 | (entry >> 8 & 3) << 50
        return low


def _levels(shift: int, per_table: int, bits: int) -> tuple[_Level, ...]:
    """Levels for addresses of ``bits`` bits, pages of ``1 << shift`` and so many index bits."""
    levels = []
    while shift < bits:
        width = min(per_table, bits - shift)
        levels.append(_Level(shift, width))
        shift += width
    return tuple(reversed(levels))


def page_tables(memory: Memory, info: Vmcoreinfo) -> PageTables:
    """The tables that VMCOREINFO tells of.

    Raises :class:`~tracekit.errors.ParseError` for machines that this does not know.
    """
    top, numbers = info.symbols["swapper_pg_dir"], info.numbers
    if "phys_base" in numbers:
        five = numbers.get("pgtable_l5_enabled", 0) == 1
        physical = top - _X86_TEXT + numbers["phys_base"]
        levels = _levels(12, 9, 57 if five else 48)
        return PageTables(
            memory, physical & _VALUE, levels, False, 4096, numbers.get("sme_mask", 0)
        )
    if "kimage_voffset" in numbers and "VA_BITS" in numbers:
        page = info.page_size
        shift = page.bit_length() - 1
        built, size = numbers["VA_BITS"], numbers.get("TCR_EL1_T1SZ")
        actual = built if size is None else 64 - size
        # With 64 KiB pages, and with 52 bits that the hardware lacks, the table is still that of 52
        # bits, whose last part is used.
        bits = built if shift == 16 else actual
        if not shift < bits <= 52 or not shift < built <= 52:
            raise ParseError(f"VMCOREINFO: addresses of {bits} bits with pages of {page} bytes")
        physical = (top - numbers["kimage_voffset"]) & _VALUE
        return PageTables(
            memory, physical, _levels(shift, shift - 3, bits), True, page, wide=actual > 48
        )
    raise ParseError(
        f"the dump is of kernel {info.release} of a machine whose page tables this does not read: "
        "x86_64 and arm64 it does"
    )
