"""VMCOREINFO, the note a kernel leaves for those who read its memory, and how it is found.

``Documentation/admin-guide/kdump/vmcoreinfo.rst`` and ``kernel/vmcore_info.c``: lines such as
``OSRELEASE=7.2.13``, ``SYMBOL(_stext)=ffffffffaa800000``, ``NUMBER(phys_base)=-102760448``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass, field
from tracekit.kmemory.memory import Memory

__all__ = ["Vmcoreinfo", "parse_vmcoreinfo", "scan"]

_LINE = re.compile(r"(?:(SYMBOL|NUMBER|OFFSET|SIZE|LENGTH)\(([^()]{1,128})\)|([A-Z_-]{1,32}))=(.*)")
_MAX_TEXT = 1 << 16  # the kernel has one page for it, which has 64 KiB at most
_MAX_LINES = 4096
_BEGIN = b"OSRELEASE="
_WANTED = b"SYMBOL(swapper_pg_dir)="
_CHUNK = 1 << 20
_PAGE = 4096
# In its page, and in the page where it is an ELF note: 12 bytes of header, 12 of name.
_PLACES = (0, 24)
_CANDIDATES = 16


@dataclass(frozen=True, slots=True)
class Vmcoreinfo:
    """The note's lines. ``values`` are those that are plain ``KEY=text``."""

    values: dict[str, str] = field(default_factory=dict)
    symbols: dict[str, int] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def release(self) -> str:
        """``uname -r`` of the kernel."""
        return self.values.get("OSRELEASE", "")

    @property
    def page_size(self) -> int:
        """Bytes of a page; 4096 where the note does not say."""
        text = self.values.get("PAGESIZE", "")
        return int(text) if text in ("4096", "16384", "65536") else _PAGE

    @property
    def crashed(self) -> bool:
        """Whether the kernel panicked: it then adds the time (``crash_save_vmcoreinfo()``)."""
        return "CRASHTIME" in self.values


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def parse_vmcoreinfo(data: bytes, source: str = "VMCOREINFO") -> Vmcoreinfo:
    """Read the note's text, which ends at the first NUL.

    Raises :class:`~tracekit.errors.ParseError` where it is none, or one of no use.
    """
    info = Vmcoreinfo()
    text = data[:_MAX_TEXT].split(b"\0", 1)[0].decode("ascii", "replace")
    for line in text.split("\n")[:_MAX_LINES]:
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        kind, name, key, value = match.groups()
        if key:
            info.values.setdefault(key, value)
        elif kind == "SYMBOL" and re.fullmatch("[0-9a-f]{1,16}", value):
            info.symbols.setdefault(name, int(value, 16))
        elif kind == "NUMBER" and (number := _number(value)) is not None:
            info.numbers.setdefault(name, number)
    if not info.release or "swapper_pg_dir" not in info.symbols:
        raise ParseError(f"{source}: not a kernel's VMCOREINFO: no OSRELEASE= and swapper_pg_dir")
    return info


def _chunks(memory: Memory) -> Iterator[tuple[int, bytes]]:
    """(physical address, bytes) of all memory, as far as it can be read."""
    hole: Callable[[int, int], int] = getattr(memory, "hole", lambda address, size: 0)
    end = 0
    for each in memory.ranges:
        address = max(end, each.address)
        end = max(end, each.address + each.size)
        while address < end:
            if skipped := hole(address, end - address) & -_PAGE:  # of a sparse file
                address += skipped
                continue
            size = min(_CHUNK, end - address)
            yield from _readable(memory, address, size)
            address += size


def _readable(memory: Memory, address: int, size: int) -> Iterator[tuple[int, bytes]]:
    """The parts of a range that are held, split in halves where a part is not."""
    held = memory.held(address, size)
    if not held:
        return
    try:
        if held == size:
            yield address, memory.read(address, size)
            return
    except SourceError:
        pass
    if size > _PAGE:
        half = size // 2 // _PAGE * _PAGE or _PAGE
        yield from _readable(memory, address, half)
        yield from _readable(memory, address + half, size - half)


def _text_at(memory: Memory, address: int) -> bytes:
    """The text at a physical address, up to its NUL or to memory that is not there."""
    parts: list[bytes] = []
    size = 0
    while size < _MAX_TEXT:
        step = _PAGE - (address + size) % _PAGE
        try:
            part = memory.read(address + size, step)
        except SourceError:
            break
        parts.append(part)
        size += step
        if b"\0" in part:
            break
    return b"".join(parts)


def scan(memory: Memory) -> list[Vmcoreinfo]:
    """Every VMCOREINFO found in memory, each once: that of a kernel that panicked first.

    The search ends with one of those. A dump may hold several kernels': the crash kernel's, too.
    """
    found: list[Vmcoreinfo] = []
    for address, data in _chunks(memory):
        position = data.find(_BEGIN)
        while position >= 0 and len(found) < _CANDIDATES:
            if (address + position) % _PAGE in _PLACES:
                text = _text_at(memory, address + position)
                if _WANTED in text:
                    info = parse_vmcoreinfo(text, f"VMCOREINFO at {address + position:#x}")
                    if info.crashed:
                        return [info, *found]
                    if info not in found:
                        found.append(info)
            position = data.find(_BEGIN, position + 1)
    return found
