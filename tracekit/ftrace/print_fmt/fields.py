"""The fields of a record as values that expressions read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from operator import itemgetter

from tracekit.ftrace.format import EventFormat, Field
from tracekit.ftrace.kernel_printf.ctype import U32, U64, IntType, TypeName, named_type
from tracekit.ftrace.kernel_printf.pointers import TooShort
from tracekit.ftrace.print_fmt import nodes
from tracekit.ftrace.print_fmt.values import Env, Memory, Number, Slots, Unresolved
from tracekit.ftrace.programs.code import binary, integer, node, type_code

__all__ = ["RecordFields", "pointed_at"]

_SCALARS = (1, 2, 4, 8)
_COMMON = {  # REC->ent is the struct trace_entry that the common fields come from
    "type": "common_type", "flags": "common_flags", "preempt_count": "common_preempt_count",
    "pid": "common_pid",
}  # fmt: skip


def pointed_at(f: Field) -> TypeName:
    """The type a pointer field points at."""
    words = f.type.replace("*", " ").split()
    stars = f.type.count("*") - 1
    return TypeName(tuple(w for w in words if w not in ("const", "volatile")), stars)


#: Sizes of types that are not integers: void as in GCC, and struct page on 64-bit kernels
#: (include/linux/mm_types.h), by which page frame numbers are multiplied.
_STRUCT_SIZES: Mapping[tuple[str, ...], int] = {("void",): 1, ("struct", "page"): 64}


def _first(fields: Iterable[Field]) -> dict[str, Field]:
    """The fields by what the format calls them; of a name, the first."""
    named: dict[str, Field] = {}
    for f in fields:
        named.setdefault(f.member or f.name, f)
    return named


class RecordFields:
    """The fields of one format as values; collects the fixed offsets that the format reads."""

    def __init__(self, fmt: EventFormat) -> None:
        self.fmt = fmt
        self.slots = Slots()
        fields = (*fmt.common, *fmt.fields)
        self.fields = _first(f for f in fields if not f.loc)
        self.arrays = _first(f for f in fields if f.loc)

    def record_field(self, node: nodes.Node) -> Field | None:
        """The field that ``REC->name``, ``REC->ent.name`` or ``(*REC).name`` stands for."""
        if not isinstance(node, nodes.Member):
            return None
        base, name = node.base, node.name
        if isinstance(base, nodes.Member) and base.name == "ent":
            base, name = base.base, _COMMON.get(name, name)
        if isinstance(base, nodes.Unary) and base.op == "*":
            base = base.operand
        if base != nodes.Ident("REC"):
            return None
        if name in self.fields:
            return self.fields[name]
        for prefix in ("__data_loc_", "__rel_loc_"):
            name = name.removeprefix(prefix)
        return self.arrays.get(name)

    def slot(self, offset: int, type_: IntType) -> Number:
        """The integer at ``offset`` of the record."""
        get = itemgetter(self.slots.add(offset, type_.code))
        stored = IntType(type_.size, type_.signed)
        return Number(type_, get, code=node("load", offset, type_code(stored)))

    def fixed(self, f: Field, element: IntType | None) -> Memory:
        """The bytes of a field that always lies in the same place."""
        get = itemgetter(self.slots.add(f.offset, f"{f.size}s"))
        return Memory(get, element, node("fixed", f.offset, f.size))

    def field(self, f: Field) -> Number | Memory:
        """A field's value: a number, or its bytes for arrays and structures."""
        if f.loc:
            return self.slot(f.offset, U32)
        if f.length is None and f.size in _SCALARS:
            pointer = f.type.endswith("*")
            boolean = f.type.split()[-1:] in (["bool"], ["_Bool"])
            number = self.slot(f.offset, IntType(f.size, f.signed and not pointer, boolean))
            return replace(number, pointee=self.sizeof(pointed_at(f))) if pointer else number
        element = IntType(f.element, f.signed) if f.element in _SCALARS else None
        if f.length is None:
            element = None
        if f.size:
            return self.fixed(f, element)
        start = f.offset
        self.slots.need = max(self.slots.need, start)
        return Memory(lambda env: env[0][start:], element, node("tail", start))

    def dynamic(self, name: str, entry: int = 0) -> tuple[Memory, Number]:
        """A dynamic array: its bytes and its length in bytes.

        ``entry`` picks one of an array of dynamic strings (probe events).
        """
        f = self.arrays.get(name)
        if f is None or not 0 <= entry < max(1, f.size // 4):
            raise Unresolved(name)
        return self.array_of(f, entry)

    def array_of(self, f: Field, entry: int = 0) -> tuple[Memory, Number]:
        """As :meth:`dynamic`, of a field; of two with one name each has its own."""
        offset = f.offset + 4 * entry
        base = offset + 4 if f.loc == "rel_loc" else 0
        loc = self.slot(offset, U32)
        get = loc.get

        def data(env: Env) -> bytes:
            value = get(env)
            start = base + (value & 0xFFFF)
            end = start + (value >> 16)
            record: bytes = env[0]
            if end > len(record):
                raise TooShort
            return record[start:end]

        element = named_type(tuple(f.type.split()))
        if element is None and f.element in _SCALARS:
            element = IntType(f.element, f.signed)
        length = binary("SHR", U32, loc.code, integer(16))
        return (
            Memory(data, element, node("dynamic", offset, base)),
            Number(U32, lambda env: get(env) >> 16, code=length),
        )

    def int_type(self, type_: TypeName) -> IntType | None:
        """The integer type of a type name; for unknown typedefs, that of a field declared so."""
        if type_.stars:
            return U64
        known = named_type(type_.words)
        if known is None:
            text = " ".join(type_.words)
            for f in self.fmt.fields:
                if f.type == text and f.length is None and f.size in _SCALARS:
                    return IntType(f.size, f.signed)
        return known

    def sizeof(self, type_: TypeName) -> int:
        """``sizeof`` in bytes; 1 for void as GCC has it, 0 if unknown."""
        if not type_.stars and type_.words in _STRUCT_SIZES:
            return _STRUCT_SIZES[type_.words]
        integer = self.int_type(type_)
        return integer.size if integer is not None else 0
