"""A small reader of BTF, the kernel's own description of its types (``/sys/kernel/btf/vmlinux``).

It answers what the probes and the reader of a dead kernel's memory ask: where a member lies inside
a struct, and of what type it is; which functions take which arguments. Layout:
``include/uapi/linux/btf.h``; a header, then types of 12 bytes each and what their kind adds,
numbered from 1, then NUL-terminated strings.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from tracekit.binary import Cursor
from tracekit.errors import ParseError

__all__ = ["VMLINUX", "VOID", "Btf", "Field", "Function", "Member", "kernel_types"]

_MAGIC = 0xEB9F
_TYPE = struct.Struct("<III")  # name_off, info, size or type
_INFO = struct.Struct("<I")
_PAIR = struct.Struct("<II")  # a parameter: name_off, type
_NAMED = struct.Struct("<Ii")  # an enumerator: name_off, value

_INT, _ENUM, _ENUM64, _FLOAT = 1, 6, 19, 16
_SIGNED = 1 << 24  # BTF_INT_SIGNED in the word that follows an integer
_PTR, _ARRAY, _STRUCT, _UNION, _FWD, _TYPEDEF, _FUNC, _FUNC_PROTO = 2, 3, 4, 5, 7, 8, 12, 13
_MODIFIERS = frozenset({_TYPEDEF, 9, 10, 11, 18})  # volatile, const, restrict, type_tag
# Bytes that follow a type: a fixed part, or one for each of its vlen entries.
_FIXED = {1: 4, 3: 12, 14: 4, 17: 4}  # int, array, var, decl_tag
_EACH = {_STRUCT: 12, _UNION: 12, 6: 8, _FUNC_PROTO: 8, 15: 12, 19: 12}  # enum, datasec, enum64
_LAST_KIND = 19
_DEPTH = 32  # modifiers followed; real types have a handful
_NESTED = 256  # anonymous members searched; struct page has 17
#: As kernel/bpf/btf.c calls the kinds (``btf_kind_str``).
_KIND_NAMES = (
    "UNKNOWN", "INT", "PTR", "ARRAY", "STRUCT", "UNION", "ENUM", "FWD", "TYPEDEF", "VOLATILE",
    "CONST", "RESTRICT", "FUNC", "FUNC_PROTO", "VAR", "DATASEC", "FLOAT", "DECL_TAG", "TYPE_TAG",
    "ENUM64",
)  # fmt: skip
_NAME = 512  # KSYM_NAME_LEN, include/linux/kallsyms.h
_PARAMETERS = 64  # of a function; no real one has more

VOID = 0
VMLINUX = "sys/kernel/btf/vmlinux"  #: where a kernel has its own, from the root on


class Member(NamedTuple):
    """Where a member lies: its distance from the struct's start, and for a bit field its width."""

    bits: int
    width: int  # bits; 0 where it is not a bit field

    @property
    def offset(self) -> int:
        """In bytes, rounded down."""
        return self.bits // 8


class Field(NamedTuple):
    """A member as :class:`Member` has it, and the number of its type."""

    bits: int
    width: int
    type: int

    @property
    def offset(self) -> int:
        """In bytes, rounded down."""
        return self.bits // 8


class Function(NamedTuple):
    """A function: its parameters' names and type ids, and the id of what it returns."""

    name: str
    parameters: tuple[tuple[str, int], ...]
    returns: int


@functools.lru_cache(maxsize=1)
def kernel_types(data: bytes, source: str) -> Btf:
    """The kernel's types; those asked for last are at hand, as taking them apart takes a while."""
    return Btf(data, source)


class Btf:
    """The types in ``data``; raises :class:`~tracekit.errors.ParseError` if it is not BTF.

    A module's are numbered on from its ``base``, the kernel's, and so are its strings. What it
    refers to there is not followed: it is asked for its own enumerators.
    """

    def __init__(self, data: bytes, source: str = "BTF", base: Btf | None = None) -> None:
        self._data = data
        self._base = base
        self._source = source
        cursor = Cursor(data, source)
        magic = cursor.u32("magic, version and flags")
        if magic & 0xFFFF != _MAGIC:
            raise ParseError(f"{source}: begins with {magic & 0xFFFF:#x}, not BTF's {_MAGIC:#x}")
        header, type_off, type_len, str_off, str_len = cursor.array("I", 5, "the header")
        cursor.at(header + type_off).take(type_len, "the types")
        self._strings = bytes(cursor.at(header + str_off).take(str_len, "the strings"))
        # By id: where each type begins. Id 0 is void, which is in no section.
        self._offsets = [0]
        self._ids: list[list[int]] = [[] for _ in range(_LAST_KIND + 1)]  # by kind
        self._names: dict[int, dict[str, list[int]]] = {}
        self._walk(header + type_off, header + type_off + type_len)

    def _walk(self, pos: int, end: int) -> None:
        """Note where every type begins. A hot loop: a kernel has 60,000 types and more."""
        data, unpack, offsets, ids = self._data, _INFO.unpack_from, self._offsets, self._ids
        fixed = [12 + _FIXED.get(kind, 0) for kind in range(_LAST_KIND + 1)]
        each = [_EACH.get(kind, 0) for kind in range(_LAST_KIND + 1)]
        while pos < end:
            if pos + 12 > end:
                raise self._fail(pos, "a type that is cut off")
            (info,) = unpack(data, pos + 4)
            kind = info >> 24 & 0x1F
            if not 0 < kind <= _LAST_KIND:
                raise self._fail(pos, f"a type of unknown kind {kind}")
            ids[kind].append(len(offsets))
            offsets.append(pos)
            pos += fixed[kind] + each[kind] * (info & 0xFFFF)
        if pos != end:
            raise self._fail(offsets[-1], "a type that is cut off")

    def _fail(self, pos: int, problem: str) -> ParseError:
        return ParseError(f"{self._source}: at offset {pos:#x}: {problem}")

    def __len__(self) -> int:
        return len(self._offsets)

    def _type(self, number: int) -> tuple[int, int, int, int, int]:
        """Kind, vlen, kind_flag, size or type, and the offset of what follows."""
        if not 0 < number < len(self._offsets):
            raise ParseError(
                f"{self._source}: type {number} of {len(self._offsets)} is referred to"
            )
        pos = self._offsets[number]
        _, info, size = _TYPE.unpack_from(self._data, pos)
        return info >> 24 & 0x1F, info & 0xFFFF, info >> 31, size, pos + 12

    def _string(self, offset: int) -> str:
        if self._base is not None:
            if offset < len(self._base._strings):
                return self._base._string(offset)
            offset -= len(self._base._strings)
        end = self._strings.find(b"\0", offset, offset + _NAME)
        if end < 0:
            raise ParseError(f"{self._source}: no name of up to {_NAME} bytes at {offset:#x}")
        return self._strings[offset:end].decode("utf-8", "backslashreplace")

    def _plain(self, number: int) -> int:
        """The type without typedefs and qualifiers; 0 is void."""
        for _ in range(_DEPTH):
            if number == VOID:
                return VOID
            kind, _, _, target, _ = self._type(number)
            if kind not in _MODIFIERS:
                return number
            number = target
        raise ParseError(f"{self._source}: type {number} goes round in circles")

    def points_to(self, number: int) -> str:
        """The name of the struct or union that type ``number`` points to, else ''."""
        number = self._plain(number)
        if number == VOID or self._type(number)[0] != _PTR:
            return ""
        target = self._plain(self._type(number)[3])
        if target == VOID or self._type(target)[0] not in (_STRUCT, _UNION, _FWD):
            return ""
        return self._string(_TYPE.unpack_from(self._data, self._offsets[target])[0])

    def functions(self, part: str = "") -> Iterator[Function]:
        """The functions with ``part`` in their name, in order."""
        for name, numbers in self._named(_FUNC).items():
            if part in name:
                for number in numbers:
                    yield self._function(name, self._type(number)[3])

    def function(self, name: str) -> Function | None:
        """The function of this name; None where there is none."""
        numbers = self._named(_FUNC).get(name)
        return self._function(name, self._type(numbers[0])[3]) if numbers else None

    def _function(self, name: str, proto: int) -> Function:
        kind, count, _, returns, pos = self._type(proto)
        if kind != _FUNC_PROTO:
            raise self._fail(pos, f"function {name} has no prototype but a type of kind {kind}")
        if count > _PARAMETERS:
            raise self._fail(pos, f"function {name} has {count} parameters")
        pairs = [_PAIR.unpack_from(self._data, pos + 8 * i) for i in range(count)]
        parameters = tuple((self._string(label), target) for label, target in pairs)
        return Function(name, parameters, returns)

    def _named(self, kind: int) -> dict[str, list[int]]:
        """Name -> types of one kind; built on first use."""
        names = self._names.get(kind)
        if names is None:
            names = self._names[kind] = {}
            data, unpack = self._data, _TYPE.unpack_from
            for number in self._ids[kind]:
                name, _, _ = unpack(data, self._offsets[number])
                names.setdefault(self._string(name), []).append(number)
        return names

    def size(self, name: str) -> int | None:
        """``sizeof(struct name)`` in bytes, or None where there is none."""
        numbers = self._named(_STRUCT).get(name)
        return self._type(numbers[0])[3] if numbers else None

    def member(self, name: str, path: str) -> Member | None:
        """``path`` (``kobj.name``) in ``struct name``, or None where there is no such member.

        A member that is an array stands for its first entry.
        """
        field = self.field(name, path)
        return Member(field.bits, field.width) if field else None

    def field(self, name: str, path: str) -> Field | None:
        """The same, with the member's type."""
        for number in self._named(_STRUCT).get(name, ()):
            field = self._member(number, path.split("."))
            if field is not None:
                return field
        return None

    def field_of(self, number: int, path: str) -> Field | None:
        """The same in the struct or union that is type ``number``."""
        return self._member(number, path.split("."))

    def _member(self, number: int, path: list[str]) -> Field | None:
        bits = 0
        width = 0
        for label in path:
            step = self._find(number, label, set())
            if step is None:
                return None
            place, number = step
            bits += place.bits
            width = place.width
        return Field(bits, width, number)

    def nameless(self, *labels: str) -> int | None:
        """The first struct without a name that has members of all these names; None without any."""
        for number in self._named(_STRUCT).get("", ()):
            if set(labels) <= self._labels(number):
                return number
        return None

    def _labels(self, number: int) -> set[str]:
        """The names of a struct's own members."""
        _, count, _, _, pos = self._type(number)
        names = (_TYPE.unpack_from(self._data, pos + 12 * i)[0] for i in range(count))
        return {self._string(name) for name in names}

    def size_of(self, number: int) -> int:
        """The size of a type in bytes; 0 of void, and of what has none."""
        size = 1
        for _ in range(_DEPTH):
            number = self._plain(number)
            if number == VOID:
                return 0
            kind, _, _, own, pos = self._type(number)
            if kind == _ARRAY:
                number, _, count = _TYPE.unpack_from(self._data, pos)
                size *= count
            elif kind == _PTR:
                return size * 8
            else:
                return 0 if kind in (_FWD, _FUNC_PROTO) else size * own
        raise ParseError(f"{self._source}: type {number} is an array of arrays without end")

    def kind(self, number: int) -> tuple[str, int]:
        """(the kind of a type without typedefs and qualifiers, its size in bytes).

        The kind is in the kernel's words: ``INT``, ``STRUCT``, ``UNKNOWN`` for void. The size is 0
        of those that have none of their own.
        """
        number = self._plain(number)
        if number == VOID:
            return _KIND_NAMES[0], 0
        kind, _, _, size, _ = self._type(number)
        sized = kind in (_INT, _ENUM, _ENUM64, _STRUCT, _UNION, _FLOAT)
        return _KIND_NAMES[kind], size if sized else 0

    def enumeration(self, number: int) -> dict[int, str]:
        """Value (signed) -> its first name, of an enumeration of 32 bits; empty for other types."""
        number, found = self._plain(number), dict[int, str]()
        kind, count, _, _, pos = self._type(number) if number != VOID else (VOID,) * 5
        for i in range(count if kind == _ENUM else 0):
            name, value = _NAMED.unpack_from(self._data, pos + _NAMED.size * i)
            found.setdefault(value, self._string(name))
        return found

    def is_signed(self, number: int) -> bool:
        """Whether a type is a signed integer or enumeration."""
        number = self._plain(number)
        if number == VOID:
            return False
        kind, _, flag, _, pos = self._type(number)
        if kind == _INT:
            return bool(struct.unpack_from("<I", self._data, pos)[0] & _SIGNED)
        return kind in (_ENUM, _ENUM64) and bool(flag)

    def is_struct(self, number: int) -> bool:
        """Whether a type is a struct or union."""
        number = self._plain(number)
        return number != VOID and self._type(number)[0] in (_STRUCT, _UNION)

    def entry(self, number: int) -> tuple[int, int] | None:
        """The entries' type, and how many they are, of an array; None for another type."""
        number = self._plain(number)
        if number == VOID or self._type(number)[0] != _ARRAY:
            return None
        target, _, count = _TYPE.unpack_from(self._data, self._type(number)[4])
        return target, count

    def target(self, number: int) -> int | None:
        """The type that type ``number`` points to; None where it is no pointer."""
        number = self._plain(number)
        if number == VOID or self._type(number)[0] != _PTR:
            return None
        return self._plain(self._type(number)[3])

    def enumerators(self, labels: Collection[str]) -> dict[str, int]:
        """The values of enumerators of these names, those of them that there are.

        One that several enumerations have with different values is left out.
        """
        found: dict[str, int] = {}
        unclear: set[str] = set()
        for label, value in self._enumerators():
            if label in labels and found.setdefault(label, value) != value:
                unclear.add(label)
        return {label: value for label, value in found.items() if label not in unclear}

    def spellings(self, labels: Iterable[str]) -> list[bytes]:
        """Bytes one of which is in the data of every module that has one of these names.

        A name is among the module's strings, or it is referred to among these.
        """
        found = []
        for label in labels:
            text = label.encode() + b"\0"
            at = self._strings.find(b"\0" + text)
            found.append(text if at < 0 else (at + 1).to_bytes(4, "little"))
        return found

    def _enumerators(self) -> Iterator[tuple[str, int]]:
        """(name, value) of every enumerator; values of 64 bits have their halves apart."""
        for kind, layout in ((_ENUM, "<II"), (_ENUM64, "<III")):
            entry = struct.Struct(layout)
            for number in (n for numbers in self._named(kind).values() for n in numbers):
                _, count, signed, _, pos = self._type(number)
                bits = 32 if kind == _ENUM else 64
                for i in range(count):
                    name, low, *high = entry.unpack_from(self._data, pos + entry.size * i)
                    value = low | (high[0] << 32 if high else 0)
                    if signed and value >> (bits - 1):
                        value -= 1 << bits
                    yield self._string(name), value

    @property
    def data(self) -> bytes:
        """The bytes that this was read from."""
        return self._data

    def _find(self, number: int, label: str, seen: set[int]) -> tuple[Member, int] | None:
        """A member of one struct, also inside its anonymous structs and unions, and its type.

        ``seen``: the types searched so far, so that none is searched twice.
        """
        number = self._plain(number)
        if number == VOID or number in seen or len(seen) == _NESTED:
            return None
        seen.add(number)
        kind, count, bitfields, _, pos = self._type(number)
        if kind == _ARRAY:
            return self._find(_TYPE.unpack_from(self._data, pos)[0], label, seen)
        if kind not in (_STRUCT, _UNION):
            return None
        for i in range(count):
            name, target, place = _TYPE.unpack_from(self._data, pos + 12 * i)
            member = Member(place & 0xFFFFFF, place >> 24) if bitfields else Member(place, 0)
            text = self._string(name)
            if text == label:
                return member, target
            if not text:
                inner = self._find(target, label, seen)
                if inner is not None:
                    return Member(member.bits + inner[0].bits, inner[0].width), inner[1]
        return None
