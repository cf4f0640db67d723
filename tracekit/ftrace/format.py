"""Event format descriptions: the text of ``events/SYSTEM/NAME/format`` -> :class:`EventFormat`.

The text is written by ``f_show()`` and ``event_define_fields()`` in
``kernel/trace/trace_events.c``; kprobe and syscall events write theirs the same way. It is parsed
as untrusted input: anything invalid raises :class:`~tracekit.errors.FormatError`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from tracekit.errors import FormatError
from tracekit.frozen import dataclass

__all__ = ["EventFormat", "Field", "HeaderPage", "parse_format", "parse_header_page"]

_FIELD = re.compile(
    r"\s*field:(?P<decl>[^;]*);\s*offset:(?P<offset>[0-9]{1,9});\s*size:(?P<size>[0-9]{1,9});"
    r"(?:\s*signed:(?P<signed>[01]);)?\s*$"
)
_ID = re.compile(r"[0-9]{1,9}")
_LENGTH = re.compile(r"[0-9]{1,6}")
_MAX_RECORD = 1 << 16  # a ring-buffer event never exceeds a sub-buffer; 64K pages at most
_POINTER = 8  # x86_64 and arm64 are LP64

_SIZES: Mapping[str, int] = {
    "char": 1, "u8": 1, "s8": 1, "__u8": 1, "__s8": 1, "bool": 1, "uint8_t": 1, "int8_t": 1,
    "short": 2, "u16": 2, "s16": 2, "__u16": 2, "__s16": 2, "uint16_t": 2, "int16_t": 2,
    "__le16": 2, "__be16": 2, "umode_t": 2, "sa_family_t": 2,
    "int": 4, "u32": 4, "s32": 4, "__u32": 4, "__s32": 4, "uint32_t": 4, "int32_t": 4,
    "__le32": 4, "__be32": 4, "gfp_t": 4, "dev_t": 4, "pid_t": 4,
    "long": 8, "u64": 8, "s64": 8, "__u64": 8, "__s64": 8, "uint64_t": 8, "int64_t": 8,
    "__le64": 8, "__be64": 8, "size_t": 8, "ssize_t": 8, "loff_t": 8, "sector_t": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record. Offsets and sizes are in bytes from the start of the payload.

    ``type`` is the C type without the array part; ``length`` is None for a scalar, the number of
    elements for a fixed array and 0 for a flexible one (``buf[]``). For ``loc`` fields the record
    holds a u32 at ``offset``: low half the data's offset, high half its length in bytes; relative
    to the payload (``data_loc``) or to the end of that u32 (``rel_loc``).

    ``name`` is unique in its event; ``member`` is what the format calls it, '' where that is the
    same. A dynamic array and a scalar may share one: in C the array is ``__data_loc_NAME``.
    """

    name: str
    type: str
    offset: int
    size: int
    signed: bool
    length: int | None = None
    loc: Literal["", "data_loc", "rel_loc"] = ""
    element: int = 0
    member: str = ""

    @property
    def is_string(self) -> bool:
        """True for character arrays, fixed, flexible or dynamic."""
        return self.length is not None and self.type.split()[-1:] == ["char"] and (
            "unsigned" not in self.type.split() and "signed" not in self.type.split()
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class EventFormat:
    """The event that an id stands for in one boot."""

    system: str
    name: str
    id: int
    common: tuple[Field, ...]
    fields: tuple[Field, ...]
    print_fmt: str

    @property
    def full_name(self) -> str:
        """``system:name``."""
        return f"{self.system}:{self.name}"

    def field(self, name: str) -> Field | None:
        """The field called ``name``, common fields included, or None."""
        for f in (*self.fields, *self.common):
            if f.name == name:
                return f
        return None


@dataclass(frozen=True, slots=True)
class HeaderPage:
    """Offsets and sizes in bytes of a sub-buffer's header (``events/header_page``)."""

    timestamp: int = 0
    commit: int = 8
    commit_size: int = 8
    data: int = 16
    data_size: int = 4080

    @property
    def subbuf_size(self) -> int:
        """Size in bytes of a whole sub-buffer of the global trace buffer."""
        return self.data + self.data_size


def _element_size(type_: str, total: int, length: int | None) -> int:
    """Size in bytes of one element, from the declared type, else from ``total / length``."""
    if length:
        return total // length
    words = [w for w in type_.split() if w not in ("const", "unsigned", "signed", "volatile")]
    if type_.rstrip().endswith("*"):
        return _POINTER
    return _SIZES.get(words[-1] if words else "int", 4 if not words else 1)


def _is_one_element(type_: str, size: int, length: int) -> bool:
    """Whether a fixed array's ``size`` is one element's.

    So it is where the brackets are in the name that the event's macro was given,
    ``__field(nid_t, nid[3])`` (include/trace/events/f2fs.h): f_show() has sizeof(type).
    """
    known = _SIZES.get(type_.rsplit(maxsplit=1)[-1] if type_ else "")
    return length > 1 and (size == known or (size % length != 0 and size in (1, 2, 4, 8)))


def _array(declared: str) -> tuple[str, str] | None:
    """(what stands before, what stands in) the brackets at the end, None where there are none."""
    declared = declared.rstrip()
    head, bracket, length = declared[:-1].rpartition("[")
    if not bracket or not declared.endswith("]") or "]" in length:
        return None
    return head.rstrip(), length.strip()


def _parse_field(line: str, where: str) -> Field:
    m = _FIELD.match(line)
    if m is None:
        raise FormatError(f"{where}: not a field description: {line.strip()[:120]!r}")
    decl = m["decl"].strip()
    offset, size = int(m["offset"]), int(m["size"])
    if offset + size > _MAX_RECORD:
        raise FormatError(f"{where}: field {decl[:60]!r} ends at byte {offset + size}")
    loc: Literal["", "data_loc", "rel_loc"] = ""
    for prefix, kind in (("__data_loc ", "data_loc"), ("__rel_loc ", "rel_loc")):
        if decl.startswith(prefix):
            loc = "data_loc" if kind == "data_loc" else "rel_loc"
            decl = decl[len(prefix) :].strip()
    length: int | None = None
    if loc:  # "char[] name"; f_show() moves the brackets behind the name of __rel_loc ones
        if (array := _array(decl)) is not None:
            decl = array[0]
        type_, _, name = decl.rpartition(" ")
        for _ in range(2):  # "char[][2] name": a probe's array of strings
            if (array := _array(type_)) is not None:
                type_ = array[0]
        length = 0
        if not size or size % 4:
            raise FormatError(f"{where}: dynamic field {name[:60]!r} has size {size}, not 4")
        element = _element_size(type_, 0, None)
    else:
        if (array := _array(decl)) is not None:
            decl, digits = array
            length = int(digits) if _LENGTH.fullmatch(digits) else 0
        type_, _, name = decl.rpartition(" ")
        stars = len(name) - len(name.lstrip("*"))
        type_, name = type_ + " *" * stars, name[stars:]
        if length is not None and not length and size:  # "comm[TASK_COMM_LEN]": a macro's name
            length = size // max(1, _element_size(type_, 0, None))
        if length and _is_one_element(type_, size, length):
            size *= length
        element = _element_size(type_, size, length) if length is not None else size
        if length and element * length != size:
            raise FormatError(f"{where}: array {name[:60]!r}: {length} elements in {size} bytes")
    if not name:
        raise FormatError(f"{where}: field without a name: {line.strip()[:120]!r}")
    return Field(name, type_.strip(), offset, size, m["signed"] == "1", length, loc, element)


def parse_format(text: str, system: str, source: str) -> EventFormat:
    """Parse one ``format`` file. ``source`` names it in errors.

    Raises :class:`~tracekit.errors.FormatError`.
    """
    name, event_id, print_fmt = "", -1, ""
    common: list[Field] = []
    fields: list[Field] = []
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        where = f"{source}:{number}"
        if line.startswith("name:"):
            name = line[5:].strip()
        elif line.startswith("ID:"):
            digits = line[3:].strip()
            if not _ID.fullmatch(digits) or int(digits) > 0xFFFF:
                raise FormatError(f"{where}: not an event id: {digits[:40]!r}")
            event_id = int(digits)
        elif line.lstrip().startswith("field:"):
            field = _parse_field(line, where)
            is_common = field.name.startswith("common_") and not fields
            (common if is_common else fields).append(field)
        elif line.startswith("print fmt:"):
            # a text may go on in the next line; an event that prints nothing has none
            print_fmt = "\n".join([line[10:], *lines[number:]]).strip() or '""'
            break
    if not name or event_id < 0:
        raise FormatError(f"{source}: no name or no id: not an event format")
    return EventFormat(
        system, name, event_id, tuple(common), _told_apart(common, fields), print_fmt
    )


def _told_apart(common: list[Field], fields: list[Field]) -> tuple[Field, ...]:
    """The fields with unique names: a later one of a name that is taken gets a number."""
    taken = {f.name for f in common}
    names = {f.name for f in fields}
    numbers = Counter[str]()
    apart: list[Field] = []
    for f in fields:
        name = f.name
        while name in taken:
            numbers[f.name] += 1
            candidate = f"{f.name}_{numbers[f.name] + 1}"
            name = f.name if candidate in names else candidate
        taken.add(name)
        apart.append(f if name == f.name else replace(f, name=name, member=f.name))
    return tuple(apart)


def parse_header_page(text: str, source: str) -> HeaderPage:
    """Parse ``events/header_page`` (``ring_buffer_print_page_header()`` in ring_buffer.c)."""
    places: dict[str, tuple[int, int]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            f = _parse_field(line, f"{source}:{number}")
            places[f.name] = (f.offset, f.size)
    try:
        header = HeaderPage(
            places["timestamp"][0],
            places["commit"][0],
            places["commit"][1],
            places["data"][0],
            places["data"][1],
        )
    except KeyError as missing:
        raise FormatError(f"{source}: no field {missing} in the page header") from None
    ends = (header.timestamp + 8, header.commit + 4)
    if header.commit_size not in (4, 8) or not max(12, *ends) <= header.data <= 64:
        raise FormatError(f"{source}: impossible page header {header}")
    return header
