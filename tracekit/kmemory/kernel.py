"""A kernel in memory: its symbols, its types, and objects whose members are read by name.

Where a member lies is asked of the kernel's own BTF each time: no offset is built in.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import cached_property

from tracekit.btf import Btf
from tracekit.errors import ParseError, SourceError
from tracekit.frozen import dataclass
from tracekit.kmemory.kallsyms import Symbols, read_symbols
from tracekit.kmemory.memory import Memory, VirtualMemory
from tracekit.kmemory.notes import Notes
from tracekit.kmemory.page_tables import page_tables
from tracekit.kmemory.vmcoreinfo import Vmcoreinfo, parse_vmcoreinfo, scan

__all__ = ["Kernel", "NoMember", "Struct", "open_kernel"]

_MAX_BTF = 64 << 20
_INTEGERS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MAX_CPUS = 8192
_NAME = 4096


class NoMember(ParseError):
    """A struct, or a member of one, that this kernel does not have."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a member lies, what of it is a number, and its type."""

    offset: int
    size: int  # of the number in bytes; 0 where it is none
    shift: int  # of a bit field
    width: int  # of a bit field in bits, else 0
    signed: bool
    type: int

    def number(self, data: bytes) -> int:
        value = int.from_bytes(data, "little", signed=self.signed and not self.width)
        if not self.width:
            return value
        value = value >> self.shift & (1 << self.width) - 1
        top = 1 << self.width - 1
        return value - 2 * top if self.signed and value & top else value


class Kernel:
    """``notes`` collects what was not there."""

    def __init__(self, memory: Memory, info: Vmcoreinfo) -> None:
        """Raises :class:`~tracekit.errors.SourceError` where it cannot be read at all."""
        self.info = info
        self.memory = VirtualMemory(memory, page_tables(memory, info))
        self.symbols: Symbols = read_symbols(self.memory, info)
        self.types = self._read_types()
        self.notes = Notes()
        self._places: dict[tuple[str | int, str], _Place | None] = {}
        self._sizes: dict[str, int] = {}

    def _read_types(self) -> Btf:
        start, stop = self.symbols.find("__start_BTF"), self.symbols.find("__stop_BTF")
        if start is None or stop is None or not 0 < stop - start <= _MAX_BTF:
            raise ParseError(
                f"kernel {self.info.release} has no BTF (CONFIG_DEBUG_INFO_BTF): nothing tells how "
                "its structures are laid out"
            )
        return Btf(self.memory.read(start, stop - start), "the kernel's BTF")

    def symbol(self, name: str) -> int:
        """The address of a symbol; raises :class:`NoMember` where there is none."""
        address = self.symbols.find(name)
        if address is None:
            raise NoMember(f"kernel {self.info.release} has no symbol {name}")
        return address

    def place(self, struct_: str | int, path: str) -> _Place | None:
        """Where ``path`` lies in a struct, given by name or by the number of its type."""
        key = struct_, path
        if key not in self._places:
            self._places[key] = self._find(struct_, path)
        return self._places[key]

    def _find(self, struct_: str | int, path: str) -> _Place | None:
        types = self.types
        if isinstance(struct_, str):
            field = types.field(struct_, path)
        else:
            field = types.field_of(struct_, path)
        if field is None:
            return None
        size = types.size_of(field.type)
        if size not in _INTEGERS or types.entry(field.type) is not None:
            size = 0  # an array or a large struct: it has an address, no value
        if field.width:
            # The bytes that the bits lie in, which may be more than one unit of the type.
            first = field.bits // 8
            shift = field.bits % 8
            return _Place(first, (shift + field.width + 7) // 8, shift, field.width,
                          types.is_signed(field.type), field.type)  # fmt: skip
        return _Place(field.offset, size, 0, 0, types.is_signed(field.type), field.type)

    def size_of(self, name: str) -> int:
        """``sizeof(struct NAME)``; raises :class:`NoMember` without such a struct."""
        size = self._sizes.get(name) or self.types.size(name)
        if not size:
            raise NoMember(f"kernel {self.info.release} has no struct {name}")
        self._sizes[name] = size
        return size

    def struct(self, name: str | int, address: int) -> Struct:
        """The struct of this name (or of this type) at an address."""
        return Struct(self, name, address)

    def at(self, symbol: str, name: str) -> Struct:
        """The struct that a symbol names."""
        return Struct(self, name, self.symbol(symbol))

    def pointer(self, symbol: str) -> int:
        """What a pointer variable points to."""
        return self.memory.u64(self.symbol(symbol))

    @cached_property
    def cpu_count(self) -> int:
        """``nr_cpu_ids``: one more than the highest CPU number that is possible."""
        try:
            count = self.memory.u32(self.symbol("nr_cpu_ids"))
        except SourceError:
            count = len(self.cpus_in("__cpu_possible_mask"))
        if not 0 < count <= _MAX_CPUS:
            raise ParseError(f"nr_cpu_ids is {count}: no kernel has so many CPUs")
        return count

    def cpus_in(self, symbol: str) -> list[int]:
        """The CPUs in a cpumask."""
        data = self.memory.read(self.symbol(symbol), _MAX_CPUS // 8)[: self._mask_bytes]
        bits = int.from_bytes(data, "little")
        return [cpu for cpu in range(len(data) * 8) if bits >> cpu & 1]

    @cached_property
    def _mask_bytes(self) -> int:
        return self.types.size("cpumask") or 8

    @cached_property
    def _per_cpu_offsets(self) -> Sequence[int]:
        count = self.cpu_count
        data = self.memory.read(self.symbol("__per_cpu_offset"), 8 * count)
        return struct.unpack(f"<{count}Q", data)

    def per_cpu(self, symbol: str, cpu: int) -> int:
        """The address of a CPU's own copy of a variable."""
        return self.symbol(symbol) + self._per_cpu_offsets[cpu] & (1 << 64) - 1


class Struct:
    """A struct in memory: ``object["member.of.a.member"]`` is a number or a pointer."""

    __slots__ = ("address", "kernel", "name")

    def __init__(self, kernel: Kernel, name: str | int, address: int) -> None:
        self.kernel = kernel
        self.name = name
        self.address = address

    def _place(self, path: str) -> _Place:
        place = self.kernel.place(self.name, path)
        if place is None:
            release = self.kernel.info.release
            raise NoMember(f"kernel {release} has no member {path} in struct {self.name}")
        return place

    def __getitem__(self, path: str) -> int:
        """The member's value. Raises :class:`NoMember`, or what reading raises."""
        place = self._place(path)
        if not place.size:
            raise NoMember(f"{path} of struct {self.name} is no number")
        return place.number(self.kernel.memory.read(self.address + place.offset, place.size))

    def get(self, *paths: str) -> int | None:
        """The value of the first of these members that this kernel has; None without any."""
        for path in paths:
            if self.has(path):
                return self[path]
        return None

    def has(self, path: str) -> bool:
        """Whether this kernel has such a member."""
        return self.kernel.place(self.name, path) is not None

    def at(self, path: str) -> int:
        """The address of a member."""
        return self.address + self._place(path).offset

    def follow(self, path: str) -> Struct | None:
        """The struct that a member points to; None where it is NULL."""
        place = self._place(path)
        target = self.kernel.types.target(place.type)
        if target is None:
            raise NoMember(f"{path} of struct {self.name} is no pointer")
        address = self[path]
        return Struct(self.kernel, target, address) if address else None

    def inside(self, path: str) -> Struct:
        """A member that is a struct itself."""
        place = self._place(path)
        return Struct(self.kernel, place.type, self.address + place.offset)

    def entries(self, path: str) -> Iterator[Struct]:
        """The structs in a member that is an array of them."""
        place = self._place(path)
        entry = self.kernel.types.entry(place.type)
        if entry is None:
            raise NoMember(f"{path} of struct {self.name} is no array")
        size = self.kernel.types.size_of(entry[0])
        for index in range(entry[1]):
            yield Struct(self.kernel, entry[0], self.address + place.offset + index * size)

    def start_of(self, path: str) -> int:
        """Where the entries of a member are that is an array, or points to one."""
        place = self._place(path)
        if self.kernel.types.entry(place.type) is not None:
            return self.address + place.offset
        return self[path]

    def text(self, path: str) -> str:
        """A member that is a string, or points to one; '' for NULL."""
        place = self._place(path)
        entry = self.kernel.types.entry(place.type)
        if entry is not None:
            return self.kernel.memory.text(self.address + place.offset, entry[1] or _NAME)
        address = self[path]
        return self.kernel.memory.text(address) if address else ""


def open_kernel(memory: Memory, note: bytes = b"") -> Kernel:
    """The kernel whose memory it is: by its VMCOREINFO note, else by one found in memory.

    Raises :class:`~tracekit.errors.SourceError` where none can be read, with the reason.
    """
    if note:
        return Kernel(memory, parse_vmcoreinfo(note, "the VMCOREINFO note"))
    reasons: list[SourceError] = []
    for info in scan(memory):
        try:
            return Kernel(memory, info)
        except SourceError as error:
            reasons.append(error)
    if reasons:
        raise reasons[0]
    raise ParseError(
        "no VMCOREINFO is in this memory: it has no kernel's, or not all of it. It is a note of "
        "the dump, or a page of the kernel's memory"
    )
