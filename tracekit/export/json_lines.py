"""Events as JSON, an object a line: the timeline's columns, and ``fields`` with typed arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from tracekit._native import lines
from tracekit.export.lines import coded_texts, combined
from tracekit.ftrace.format import EventFormat, Field
from tracekit.ftrace.kernel_printf.ctype import IntType
from tracekit.ftrace.kernel_printf.vsprintf import Conversion
from tracekit.ftrace.programs.assemble import Program, assemble
from tracekit.ftrace.programs.code import (
    Code,
    joined,
    literal,
    node,
    number,
    string,
    type_code,
)
from tracekit.ftrace.programs.run import TextColumn
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter
from tracekit.timeline.rows import Rows

__all__ = ["fields_code", "json_blocks"]

_ROWS = 1 << 16  # at a time
_HEAD = ["boot", "cpu", "pid", "comm", "event", "source", "flags", "preempt"]
_NO_SEPARATOR = 0


def json_blocks(recording: Recording, wanted: Filter) -> Iterator[bytes]:
    """One JSON object per event, many in a block."""
    programs: dict[tuple[int, int], Program | None] = {}
    for index in recording.row_batches(wanted, _ROWS):
        rows = recording.rows.take(index)
        codes, firsts = combined(rows.boot, rows.cpu, rows.pid, rows.flags, rows.preempt, rows.kind)
        some = np.arange(len(recording))[index][firsts]
        table = recording.table(some, args=False).select(_HEAD)
        heads = [f'{json.dumps(row)[1:-1]}, "args": "' for row in table.to_pylist()]
        parts = (
            ("s", b'{"ts_ns": '),
            ("i", np.ascontiguousarray(recording.axis.ts_ns[index])),
            ("s", b", "),
            coded_texts(codes, heads),
            recording.texts(rows, "json").packed(),
            ("s", b'", "ts_raw": '),
            ("u", np.ascontiguousarray(rows.ts_raw)),
            ("s", b', "fields": '),
            _fields(recording, rows, programs).packed(),
            ("s", b"}\n"),
        )
        yield lines.join(len(rows), parts)


def _fields(
    recording: Recording, rows: Rows, programs: dict[tuple[int, int], Program | None]
) -> TextColumn:
    """The typed arguments of every row as an object of JSON."""
    column = TextColumn(len(rows))
    left = []
    for kind, part, payloads in recording.groups(rows):
        if (kind.boot, kind.id) not in programs:
            fmt = recording.boot(kind.boot).format(kind.id)
            code = fields_code(fmt)
            programs[kind.boot, kind.id] = None if code is None else assemble(code, 0)
        left.append(part[column.print(part, payloads, programs[kind.boot, kind.id])])
    rest = np.concatenate([np.empty(0, np.int64), *left])
    if len(rest):
        typed = recording.fields_of(rows.take(rest))
        made = [json.dumps(row, default=_jsonable) for row in typed]
        column.add(rest, np.arange(len(rest)), made)
    return column


def _jsonable(value: Any) -> str:
    return bytes(value).hex() if isinstance(value, bytes) else str(value)


def fields_code(fmt: EventFormat | None) -> Code | None:
    """The code that prints the arguments of an event as :func:`json.dumps` does, if there is any.

    The values are those of :func:`tracekit.ftrace.columns.typed_column`.
    """
    parts: list[Code | None] = []
    for field in fmt.fields if fmt else ():
        parts.append(literal(f"{', ' if parts else ''}{json.dumps(field.name)}: "))
        parts.append(_scalar(field) if field.length is None else _array(field))
    return joined([literal("{"), *parts, literal("}")])


def _scalar(field: Field) -> Code | None:
    if field.size not in (1, 2, 4, 8):
        return None
    type_ = IntType(field.size, field.signed)
    value = node("load", field.offset, type_code(type_))
    if field.type == "bool" and field.size == 1:
        return node("if", value, literal("true"), literal("false"))
    return number(Conversion("d" if field.signed else "u", size=8), value, ())


def _array(field: Field) -> Code | None:
    if field.loc:
        base = field.offset + 4 if field.loc == "rel_loc" else 0
        span = node("dynamic", field.offset, base)
    elif field.size:
        span = node("fixed", field.offset, field.size)
    else:
        span = node("tail", field.offset)
    if field.is_string:
        text = node("escape", string(Conversion("s"), span, ()))
        return joined([literal('"'), text, literal('"')])
    if field.element in (2, 4, 8):
        return node("integers", type_code(IntType(field.element, field.signed)), span)
    data = node("pointer", "ALL_BYTES", 0, _NO_SEPARATOR, span)
    return joined([literal('"'), data, literal('"')])
