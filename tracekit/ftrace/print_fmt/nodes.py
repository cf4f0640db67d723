"""The syntax tree of the C expressions in ``print fmt`` lines; :mod:`.parse` builds it."""

from __future__ import annotations

from tracekit.frozen import dataclass
from tracekit.ftrace.kernel_printf.ctype import IntType, TypeName

__all__ = [
    "Binary",
    "Braces",
    "Call",
    "Cast",
    "Compound",
    "Cond",
    "Ident",
    "Index",
    "Let",
    "Member",
    "Node",
    "Num",
    "Printed",
    "SizeofExpr",
    "SizeofType",
    "Str",
    "TypeOf",
    "Unary",
]


@dataclass(frozen=True, slots=True)
class Num:
    """An integer or character constant."""

    value: int
    type: IntType


@dataclass(frozen=True, slots=True)
class Str:
    """String literals, joined and unescaped."""

    text: str


@dataclass(frozen=True, slots=True)
class Ident:
    """A bare name: ``REC``, a local of a statement expression, or something unexpanded."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """``base->name`` or ``base.name``."""

    base: Node
    name: str


@dataclass(frozen=True, slots=True)
class Index:
    """``base[index]``."""

    base: Node
    index: Node


@dataclass(frozen=True, slots=True)
class Unary:
    """``op operand``; ``op`` is one of ``- + ~ ! * &``."""

    op: str
    operand: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """``left op right``."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Cond:
    """``test ? then : other``."""

    test: Node
    then: Node
    other: Node


@dataclass(frozen=True, slots=True)
class Compound:
    """``(type) { .member = value }``, a structure of one member: ``ktime_t`` before Linux 4.10."""

    member: str
    value: Node


@dataclass(frozen=True, slots=True)
class TypeOf:
    """``typeof(expression)`` in the place of a type."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Cast:
    """``(type) operand``."""

    type: TypeName | TypeOf
    operand: Node


@dataclass(frozen=True, slots=True)
class SizeofType:
    """``sizeof(type)``."""

    type: TypeName


@dataclass(frozen=True, slots=True)
class SizeofExpr:
    """``sizeof expression``."""

    operand: Node


@dataclass(frozen=True, slots=True)
class Call:
    """``name(args)``."""

    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Braces:
    """``{ item, … }``, an entry or a table of ``__print_flags`` and the like."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Let:
    """A statement expression ``({ type name = value; … result; })``, or GNU's ``a ?: b``.

    A declaration's type is None for ``__auto_type``, which takes the value's type.
    """

    declarations: tuple[tuple[str, TypeName | TypeOf | None, Node], ...]
    result: Node


@dataclass(frozen=True, slots=True)
class Printed:
    """A block that prints ``template`` with ``args`` into the line, and stands for it."""

    template: str
    args: tuple[Node, ...]


Node = (
    Num
    | Str
    | Ident
    | Member
    | Index
    | Unary
    | Binary
    | Cond
    | Compound
    | Cast
    | SizeofType
    | SizeofExpr
    | Call
    | Braces
    | Let
    | Printed
)
