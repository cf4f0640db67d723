"""Compiled expressions over a record: a C value and the closure that computes it.

A record reaches the closures as an *environment*, a tuple: item 0 is the payload, then come the
fixed fields that the format uses, unpacked together, and last the locals in scope. An expression
is one of

* :class:`Number`, an integer with its C type (a kernel pointer is an unsigned 64-bit one),
* :class:`Memory`, bytes inside the record (an array, or a pointer to one), or
* :class:`Text`, a string made while printing (a literal, what ``__print_flags()`` returns).

Each has its ``code``, too: the same for a program (:mod:`tracekit.ftrace.programs`), or None where
a program cannot do it. The closures are the reference.
"""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any

from tracekit.frozen import dataclass
from tracekit.ftrace.kernel_printf.ctype import (
    LONG,
    U64,
    IntType,
    common_type,
    converter,
    promote,
    wrap,
)
from tracekit.ftrace.kernel_printf.pointers import TooShort
from tracekit.ftrace.programs.code import Code, binary, converted, integer, literal, node, type_code
from tracekit.ftrace.programs.tables import Learned

__all__ = [
    "COMPARISONS",
    "Env",
    "Memory",
    "Number",
    "Slots",
    "Text",
    "Undetermined",
    "Unresolved",
    "Value",
    "advanced",
    "apply",
    "as_type",
    "constant",
    "element_of",
    "folded",
    "is_true",
    "literal_text",
    "reading",
    "shift",
    "text_of",
    "undetermined",
    "united",
]

Env = tuple[Any, ...]


class Unresolved(Exception):
    """An expression that the record does not determine; its argument names what is missing."""


class Undetermined(Exception):
    """As :class:`Unresolved`, of one record: its text is shown between ``(?`` and ``)``."""


@dataclass(frozen=True, slots=True)
class Number:
    """An integer expression. ``get`` returns it wrapped to ``type``.

    ``pointee`` is set for kernel pointers: the size in bytes of what it points at, 0 if unknown.
    """

    type: IntType
    get: Callable[[Env], int]
    const: int | None = None
    pointee: int | None = None
    code: Code | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of the record. ``element`` is the type of one element, None where it has none."""

    get: Callable[[Env], bytes]
    element: IntType | None
    code: Code | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A string expression; ``const`` is set for literals."""

    get: Callable[[Env], str]
    const: str | None = None
    code: Code | None = None


Value = Number | Memory | Text


class Slots:
    """The fixed places of a record that a format reads, each unpacked once.

    ``need`` is how many bytes of the record the expression being compiled reads; the compiler
    resets it.
    """

    def __init__(self) -> None:
        self.need = 0
        self._places: dict[tuple[int, str], int] = {}

    def add(self, offset: int, code: str) -> int:
        """The environment index of the value at ``offset`` with :mod:`struct` code ``code``."""
        self.need = max(self.need, offset + struct.calcsize("<" + code))
        return self._places.setdefault((offset, code), len(self._places) + 1)

    def unpacker(self) -> tuple[Callable[[bytes], Env], int]:
        """A function payload -> environment, and how many bytes of payload it needs."""
        pieces, end, places = ["<"], 0, sorted(self._places)
        for offset, code in places:
            if offset < end:
                return self._scattered()
            pieces.append(f"{offset - end}x{code}")
            end = offset + struct.calcsize("<" + code)
        unpack = struct.Struct("".join(pieces)).unpack_from
        if places == list(self._places):
            return lambda record: (record, *unpack(record)), end
        rank = {place: i for i, place in enumerate(places)}
        arrange = itemgetter(*[rank[place] for place in self._places])
        return lambda record: (record, *arrange(unpack(record))), end

    def _scattered(self) -> tuple[Callable[[bytes], Env], int]:
        """The unpacker for places that overlap: one :class:`struct.Struct` each."""
        unpackers = [struct.Struct(f"<{offset}x{code}") for offset, code in self._places]
        need = max(s.size for s in unpackers)
        return lambda record: (record, *[s.unpack_from(record)[0] for s in unpackers]), need


def constant(type_: IntType, value: int, pointee: int | None = None) -> Number:
    """The integer ``value``, wrapped to ``type_``."""
    value = wrap(value, type_)
    return Number(type_, lambda _env: value, value, pointee, integer(value))


def folded(number: Number, *operands: Number) -> Number:
    """``number``, computed now if its operands are constants."""
    if any(o.const is None for o in operands):
        return number
    try:
        return constant(number.type, number.get(()), number.pointee)
    except (ZeroDivisionError, Undetermined):
        return number


def as_type(number: Number, target: IntType, pointee: int | None = None) -> Number:
    """``number`` converted to ``target``."""
    if number.const is not None:
        return constant(target, number.const, pointee)
    convert = converter(target, number.type)
    if convert is None:
        return Number(target, number.get, None, pointee, number.code)
    get, to = number.get, convert
    code = converted(number.code, target)
    return Number(target, lambda env: to(get(env)), None, pointee, code)


def _divide(a: int, b: int) -> int:
    q = abs(a) // abs(b)
    return q if (a < 0) == (b < 0) else -q


ARITHMETIC: Mapping[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": _divide,
    "%": lambda a, b: a - b * _divide(a, b),
    "&": operator.and_, "|": operator.or_, "^": operator.xor,
    "<<": operator.lshift, ">>": operator.rshift,
}  # fmt: skip
COMPARISONS: Mapping[str, Callable[[int, int], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
    "<=": operator.le, ">=": operator.ge,
}  # fmt: skip
_NAMES: Mapping[str, str] = {
    "+": "ADD", "-": "SUB", "*": "MUL", "/": "DIV", "%": "MOD", "&": "AND", "|": "OR", "^": "XOR",
    "<<": "SHL", ">>": "SHR", "==": "EQ", "!=": "NE", "<": "LT", ">": "GT", "<=": "LE", ">=": "GE",
}  # fmt: skip
_STAYS_IN_RANGE = frozenset("&|^%") | {">>"}


def apply(op: str, a: Number, b: Number, type_: IntType) -> Number:
    """``a op b`` as ``type_``, an operation on two integers of the type of ``a``."""
    left, right, fixed = a.get, b.get, b.const
    compare = COMPARISONS.get(op)
    fn: Callable[[int, int], int]
    fn = ARITHMETIC[op] if compare is None else lambda x, y: int(compare(x, y))
    to = None if compare is not None or op in _STAYS_IN_RANGE else converter(type_)
    get: Callable[[Env], int]
    if fixed is not None:
        k = fixed
        get = (lambda e: fn(left(e), k)) if to is None else (lambda e: to(fn(left(e), k)))
    else:
        get = (
            (lambda e: fn(left(e), right(e)))
            if to is None
            else (lambda e: to(fn(left(e), right(e))))
        )
    code = binary(_NAMES[op], a.type, a.code, b.code)
    if to is not None:
        code = converted(code, type_)
    return folded(Number(type_, get, code=code), a, b)


def shift(op: str, a: Number, b: Number) -> Number:
    """``a << b`` or ``a >> b``; the result has the promoted type of ``a`` alone."""
    type_ = promote(a.type)
    bits = 8 * type_.size - 1  # as the CPU does; C leaves longer shifts undefined
    by = apply("&", as_type(b, LONG), constant(LONG, bits), LONG)
    return apply(op, as_type(a, type_), by, type_)


def reading(value: Value, get: Callable[[Env], Any], code: Code | None) -> Value:
    """``value`` computed by ``get`` and ``code``."""
    match value:
        case Number():
            return replace(value, get=get, code=code)
        case Memory():
            return replace(value, get=get, code=code)
        case Text():
            return replace(value, get=get, code=code)


def element_of(base: Memory, index: Number) -> Number:
    """``base[index]``; raises :class:`Unresolved`."""
    type_ = base.element
    if type_ is None:
        raise Unresolved("element of unknown size")
    unpack: Callable[[bytes, int], Any] = struct.Struct("<" + type_.code).unpack_from
    get_data, get_index, size = base.get, index.get, type_.size

    def get(env: Env) -> int:
        data, start = get_data(env), get_index(env) * size
        if start < 0 or start + size > len(data):
            raise TooShort
        value: int = unpack(data, start)[0]
        return value

    plain = IntType(size, type_.signed)
    return Number(type_, get, code=node("element", type_code(plain), base.code, index.code))


def advanced(base: Memory, index: Number) -> Memory:
    """``&base[index]``."""
    size = base.element.size if base.element else 1
    get_data, get_index = base.get, index.get

    def moved(env: Env) -> bytes:
        start = get_index(env) * size
        whole = get_data(env)
        if not 0 <= start <= len(whole):
            raise TooShort
        return whole[start:]

    return Memory(moved, base.element, node("advance", base.code, index.code, size))


def text_of(number: Number, text: Callable[[int], str]) -> Text:
    """What a function of a number prints."""
    number = as_type(number, U64)
    get = number.get
    return Text(lambda env: text(get(env)), code=node("learned", Learned(text), number.code))


def undetermined(missing: str, like: Value) -> Value:
    """A value of the same kind that no record determines; programs leave such records alone."""

    def get(env: Env) -> Any:
        raise Undetermined(missing)

    match like:
        case Number():
            return replace(like, get=get, const=None, code=("never", "integer"))
        case Memory():
            return replace(like, get=get, code=("never", "span"))
        case Text():
            return replace(like, get=get, const=None, code=("never", "text"))


def united(a: Number, b: Number) -> tuple[IntType, int | None]:
    """The type of ``test ? a : b``; beside a null pointer constant, the other's type."""
    if a.pointee is not None and b.pointee is not None and a.const == 0:
        return U64, b.pointee
    return common_type(a.type, b.type), b.pointee if a.pointee is None else a.pointee


def literal_text(text: str) -> Text:
    """A string literal."""
    return Text(lambda _env: text, text, literal(text))


def is_true(number: Number) -> Code | None:
    """``number != 0`` as code."""
    return node("unary", "NOT", node("unary", "NOT", number.code))
