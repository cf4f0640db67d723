"""The running kernel's own memory: through ``/proc/kcore``, with its symbols and types."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from tracekit.btf import VMLINUX, Btf, kernel_types
from tracekit.carriers.dumps.elf_core import VirtualMemory
from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass
from tracekit.sysroot import Sysroot

__all__ = ["KernelView", "needed_symbols", "open_view"]

_SYMBOLS = (
    "kho_out", "luo_session_global", "luo_file_handler_list", "iommu_group_kset", "vmemmap_base",
)  # fmt: skip
_LINE = re.compile(rb"^([0-9a-f]{1,16}) \w (%s)$" % "|".join(_SYMBOLS).encode(), re.M)


@dataclass(frozen=True, slots=True)
class KernelView:
    """The running kernel's memory: by virtual address, with its symbols and types."""

    symbols: Mapping[str, int]
    memory: VirtualMemory
    btf: Btf | None

    def number(self, address: int, size: int = 8) -> int:
        """An unsigned integer. Raises :class:`~tracekit.errors.SourceError`."""
        return int.from_bytes(self.memory.read(address, size), "little")

    def text(self, address: int, size: int) -> str:
        """A NUL-terminated text in a field of ``size`` bytes, or shorter."""
        raw = self.memory.read(address, size)
        return raw.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")

    def symbol(self, name: str) -> int:
        """A symbol's address. Raises :class:`~tracekit.errors.SourceError`."""
        address = self.symbols.get(name)
        if not address:
            raise SourceError(f"kallsyms has no address of {name}")
        return address

    def offset(self, structure: str, path: str) -> int:
        """Where a member is. Raises :class:`~tracekit.errors.SourceError`."""
        member = self.btf.member(structure, path) if self.btf is not None else None
        if member is None:
            raise SourceError(f"{VMLINUX} tells of no {structure}.{path}")
        return member.offset

    def has(self, structure: str, path: str) -> bool:
        """Whether there is such a member."""
        return self.btf is not None and self.btf.member(structure, path) is not None

    def entries(self, head: int, structure: str, path: str, most: int) -> Iterator[int]:
        """The structures on a list: ``struct list_head``, its member ``path`` in each."""
        offset, at, seen = self.offset(structure, path), self.number(head), set[int]()
        while at != head:
            if at in seen or len(seen) >= most:
                raise SourceError(f"the list of {structure} at {head:#x} does not end")
            seen.add(at)
            yield at - offset
            at = self.number(at)


def needed_symbols(kallsyms: bytes) -> bytes:
    """Of a kallsyms, the lines that :func:`open_view` looks for."""
    return b"".join(m[0] + b"\n" for m in _LINE.finditer(kallsyms))


def open_view(root: Sysroot, kallsyms: bytes | None = None, *, types: bool = True) -> KernelView:
    """Open the kernel's memory. The caller closes ``memory``.

    ``kallsyms`` where it has been read already; ``types``: whether BTF is needed, which takes a
    while. Raises :class:`~tracekit.errors.SourceError`, saying what is missing.
    """
    text = kallsyms if kallsyms is not None else root.read("proc/kallsyms")
    symbols = {m[2].decode(): int(m[1], 16) for m in _LINE.finditer(text)}
    if not any(symbols.values()):
        raise SourceError(f"{root.where('proc/kallsyms')} has no address of {', '.join(_SYMBOLS)}")
    data = root.get(VMLINUX) if types else None
    btf = None
    if data is not None:
        try:
            btf = kernel_types(data, root.where(VMLINUX))
        except ParseError:
            btf = None
    stream = root.open_binary("proc/kcore")
    if stream is None:
        raise SourceError(f"{root.where('proc/kcore')}: no such file")
    try:
        return KernelView(symbols, VirtualMemory(stream, root.where("proc/kcore")), btf)
    except SourceError:
        stream.close()
        raise
