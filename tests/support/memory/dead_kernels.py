"""Memory of dead kernels for tests: real pages, which can be taken out, changed and added."""

from __future__ import annotations

import copy
import struct
from pathlib import Path
from typing import NamedTuple

from tracekit.carriers.dumps.elf_core import ElfCore
from tracekit.errors import SourceError
from tracekit.kmemory.kernel import Kernel
from tracekit.kmemory.memory import PAGE, VirtualMemory
from tracekit.kmemory.notes import Notes
from tracekit.kmemory.page_tables import page_tables

__all__ = ["PageMemory", "Stretch", "load", "parts_of_image", "with_memory", "words"]


class Stretch(NamedTuple):
    address: int
    size: int


class PageMemory:
    """Physical memory as a dictionary: address -> the bytes of a page."""

    def __init__(self, pages: dict[int, bytes]) -> None:
        self.pages = pages

    @property
    def ranges(self) -> list[Stretch]:
        return [Stretch(address, PAGE) for address in sorted(self.pages)]

    def read(self, address: int, size: int) -> bytes:
        parts = []
        end = address + size
        while address < end:
            base = address & -PAGE
            page = self.pages.get(base)
            if page is None:
                raise SourceError(f"{address:#x} is not there")
            part = page[address - base : end - base]
            parts.append(part)
            address += len(part)
        return b"".join(parts)

    def held(self, address: int, size: int) -> int:
        pages = range(address & -PAGE, address + size, PAGE)
        return sum(
            min(page + PAGE, address + size) - max(page, address)
            for page in pages
            if page in self.pages
        )

    def poke(self, address: int, data: bytes) -> None:
        """Change bytes at a physical address; a page that is missing is made, of zeros."""
        for number, byte in enumerate(data):
            base = address + number & -PAGE
            page = bytearray(self.pages.get(base, bytes(PAGE)))
            page[address + number - base] = byte
            self.pages[base] = bytes(page)

    def copy(self) -> PageMemory:
        return PageMemory(dict(self.pages))


def load(core: Path) -> tuple[PageMemory, bytes]:
    """The pages of an ELF core, and its VMCOREINFO."""
    with core.open("rb") as stream:
        elf = ElfCore(stream, str(core))
        pages = {}
        for each in elf.ranges:
            data = elf.read(each.address, each.size)
            for offset in range(0, each.size, PAGE):
                pages[each.address + offset] = data[offset : offset + PAGE]
        return PageMemory(pages), elf.vmcoreinfo


def with_memory(kernel: Kernel, memory: PageMemory) -> Kernel:
    """The kernel with other memory: its symbols and types are not read again."""
    other = copy.copy(kernel)
    other.memory = VirtualMemory(memory, page_tables(memory, kernel.info))
    other.notes = Notes()
    for name in ("cpu_count", "_per_cpu_offsets", "_mask_bytes"):
        other.__dict__.pop(name, None)
    return other


def parts_of_image(kernel: Kernel, memory: PageMemory) -> set[int]:
    """The pages with the kernel's symbols, types and first page tables."""
    tables = page_tables(memory, kernel.info)
    info, symbols = kernel.info.symbols, kernel.symbols
    start, stop = symbols.find("__start_BTF") or 0, symbols.find("__stop_BTF") or 0
    spans = [(start, stop), (info["kallsyms_num_syms"], info["kallsyms_num_syms"] + (2 << 20))]
    spans.append((info["swapper_pg_dir"], info["swapper_pg_dir"] + PAGE))
    found = set()
    for first, end in spans:
        for address in range(first & -PAGE, end, PAGE):
            found.add(tables.translate(address)[0])
    return found


def words(*numbers: int) -> bytes:
    """64-bit numbers."""
    return struct.pack(f"<{len(numbers)}Q", *(n & (1 << 64) - 1 for n in numbers))
