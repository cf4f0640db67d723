"""Turns a tree of :mod:`.code` into the instructions of ``_native/programs/program.h``."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from tracekit._native import texts
from tracekit.frozen import dataclass
from tracekit.ftrace.programs.code import Code
from tracekit.ftrace.programs.tables import Packed, Table

__all__ = ["Program", "assemble"]

_OPERATIONS, _BINARY, _UNARY, _POINTERS = texts.numbers()
_STAR_WIDTH, _STAR_PRECISION = 0x8000, 0x4000
_NO_NEWLINE = 8
_WIDEST = 0x0FFE
_MOST_CODE = 1 << 15
_INSTRUCTION = struct.Struct("<BBHI")


class _Refused(Exception):
    """A tree that does not fit a program."""


@dataclass(frozen=True)
class Program:
    """Instructions, constants and texts as C has them; ``tables`` may grow."""

    code: bytes
    constants: bytes
    texts: bytes
    need: int
    tables: tuple[Table, ...]

    def native(self) -> tuple[bytes, bytes, bytes, int, tuple[Packed, ...]]:
        """The argument of ``print_records()``."""
        tables = tuple(table.packed() for table in self.tables)
        return self.code, self.constants, self.texts, self.need, tables


def assemble(code: Code, need: int) -> Program | None:
    """The program that prints ``code``; None where it would be too large.

    ``need``: bytes that a record must have, all the fixed fields that the format reads.
    """
    assembler = _Assembler()
    try:
        assembler.put(code)
        assembler.add("END")
        program = assembler.program(need)
        nothing = (b"", b"", b"")
        texts.print_records(nothing, program.native())
    except (_Refused, ValueError, struct.error, RecursionError):
        return None
    return program


class _Assembler:
    """Instructions so far; every method named after a node of the tree puts that node."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []
        self._constants: dict[int, int] = {}
        self._texts = b""
        self._tables: list[Table] = []
        self._need = 0

    def program(self, need: int) -> Program:
        return Program(
            b"".join(_INSTRUCTION.pack(*i) for i in self._code),
            np.array(list(self._constants), np.uint64).tobytes(),
            self._texts,
            max(need, self._need),
            tuple(self._tables),
        )

    def add(self, name: str, a: int = 0, b: int = 0, c: int = 0) -> int:
        """Add an instruction; returns its number."""
        if len(self._code) >= _MOST_CODE:
            raise _Refused
        self._code.append((_OPERATIONS[name], a, b, c))
        return len(self._code) - 1

    def put(self, code: Code) -> None:
        name, *parts = code
        put: Callable[..., None] = getattr(self, f"_{name}")
        put(*parts)

    def _lands(self, jump: int) -> None:
        """Let a jump lead to what comes next."""
        op, a, b, _ = self._code[jump]
        self._code[jump] = (op, a, b, len(self._code))

    def _table_number(self, table: Table) -> int:
        if table not in self._tables:
            self._tables.append(table)
        return self._tables.index(table)

    def _sized(self, *sizes: Any) -> tuple[int, int]:
        """Operands b and c of a conversion; sizes that are expressions are put."""
        b, c = 0, 0
        for size, star in zip(sizes, (_STAR_WIDTH, _STAR_PRECISION), strict=False):
            if isinstance(size, tuple):
                self.put(size)
                b |= star
            elif size > _WIDEST:
                raise _Refused
            elif star == _STAR_WIDTH:
                b |= max(0, size)
            else:
                c = size + 1
        return b, c

    # -- integers -----------------------------------------------------------------------------

    def _load(self, offset: int, type_: int) -> None:
        self._need = max(self._need, offset + (type_ & 15))
        self.add("LOAD", type_, 0, offset)

    def _const(self, value: int) -> None:
        self.add("CONST", c=self._constants.setdefault(value, len(self._constants)))

    def _length(self) -> None:
        self.add("LENGTH")

    def _local(self, index: int) -> None:
        self.add("LOCAL", c=index)

    def _convert(self, type_: int, value: Code) -> None:
        self.put(value)
        self.add("CONVERT", type_)

    def _binary(self, name: str, left: Code, right: Code) -> None:
        self.put(left)
        self.put(right)
        self.add("BINARY", _BINARY[name])

    def _unary(self, name: str, value: Code) -> None:
        self.put(value)
        self.add("UNARY", _UNARY[name])

    def _element(self, type_: int, span: Code, index: Code) -> None:
        self.put(span)
        self.put(index)
        self.add("ELEMENT", type_)

    def _if(self, test: Code, then: Code, other: Code) -> None:
        """One of two integers, spans or texts."""
        self.put(test)
        skip = self.add("JUMP_ZERO")
        self.put(then)
        end = self.add("JUMP")
        self._lands(skip)
        self.put(other)
        self._lands(end)

    def _let(self, settings: tuple[Code, ...], result: Code) -> None:
        for setting in settings:
            self.put(setting)
        self.put(result)

    def _set(self, index: int, value: Code) -> None:
        self.put(value)
        self.add("SET", c=index)

    def _never(self, kind: str) -> None:
        """The record is not printed here; what would be on the stacks is there."""
        self.add("FAIL")
        if kind == "integer":
            self._const(0)
        elif kind == "span":
            self.add("TAIL")

    # -- spans --------------------------------------------------------------------------------

    def _fixed(self, offset: int, size: int) -> None:
        self._need = max(self._need, offset + size)
        self.add("FIXED", 0, size, offset)

    def _tail(self, offset: int) -> None:
        self.add("TAIL", c=offset)

    def _dynamic(self, offset: int, base: int) -> None:
        self._need = max(self._need, offset + 4)
        self.add("DYNAMIC", 0, base, offset)

    def _clipped(self, offset: int, base: int) -> None:
        self._need = max(self._need, offset + 4)
        self.add("CLIPPED", 0, base, offset)

    def _span(self, index: int) -> None:
        self.add("SPAN", c=index)

    def _set_span(self, index: int, span: Code) -> None:
        self.put(span)
        self.add("SET_SPAN", c=index)

    def _advance(self, span: Code, index: Code, size: int) -> None:
        self.put(span)
        self.put(index)
        self.add("ADVANCE", c=size)

    def _cut(self, span: Code, size: Code) -> None:
        self.put(span)
        self.put(size)
        self.add("CUT")

    # -- texts --------------------------------------------------------------------------------

    def _all(self, *parts: Code) -> None:
        for part in parts:
            self.put(part)

    def _fail(self) -> None:
        self.add("FAIL")

    def _text(self, text: bytes) -> None:
        for start in range(0, len(text), 0xFFFF):
            piece = text[start : start + 0xFFFF]
            at = self._texts.find(piece)
            if at < 0:
                at, self._texts = len(self._texts), self._texts + piece
            self.add("TEXT", 0, len(piece), at)

    def _number(self, flags: int, width: Any, precision: Any, value: Code) -> None:
        self.put(value)
        self.add("NUMBER", flags, *self._sized(width, precision))

    def _character(self, flags: int, width: int, value: Code) -> None:
        self.put(value)
        self.add("CHARACTER", flags, *self._sized(width))

    def _string(self, flags: int, width: Any, precision: Any, span: Code) -> None:
        self.put(span)
        self.add("STRING", flags, *self._sized(width, precision))

    def _line(self, span: Code) -> None:
        """A string without the newline at its end."""
        self.put(span)
        self.add("STRING", _NO_NEWLINE)

    def _pad(self, flags: int, width: Any, precision: Any, text: Code) -> None:
        self.add("MARK")
        self.put(text)
        self.add("PAD", flags, *self._sized(width, precision))

    def _pointer(self, kind: str, width: Any, options: int, span: Code) -> None:
        self.put(span)
        self.add("POINTER", _POINTERS[kind], self._sized(width)[0], options)

    def _array(self, size: int, span: Code) -> None:
        self.put(span)
        self.add("ARRAY", size)

    def _integers(self, type_: int, as_hex: int, span: Code) -> None:
        """The elements of an array, as a list of JSON."""
        self.put(span)
        self.add("INTEGERS", type_, as_hex)

    def _flags(self, table: Table, whole: bool, value: Code) -> None:
        self.put(value)
        self.add("FLAGS", int(whole), 0, self._table_number(table))

    def _symbolic(self, table: Table, whole: bool, value: Code) -> None:
        self.put(value)
        self.add("SYMBOLIC", int(whole), 0, self._table_number(table))

    def _learned(self, table: Table, value: Code) -> None:
        self.put(value)
        self.add("LEARNED", 0, 0, self._table_number(table))

    def _stack(self, table: Table, span: Code) -> None:
        self.put(span)
        self.add("STACK", 0, 0, self._table_number(table))

    def _escape(self, text: Code) -> None:
        self.add("MARK")
        self.put(text)
        self.add("ESCAPE")

    def _cell(self, text: Code) -> None:
        self.add("MARK")
        self.put(text)
        self.add("ESCAPE", 1)
