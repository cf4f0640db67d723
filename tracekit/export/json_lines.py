"""Events as JSON, an object a line: the timeline's columns, and ``fields`` with typed arguments."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.documents import SCHEMA, as_hex, exact
from tracekit.export.lines import Columns, Piece, Records, coded_texts, print_lines, print_rows
from tracekit.ftrace.format import EventFormat, Field
from tracekit.ftrace.kernel_printf.ctype import IntType
from tracekit.ftrace.kernel_printf.vsprintf import Conversion
from tracekit.ftrace.print_fmt.addresses import address_fields
from tracekit.ftrace.programs.assemble import Program, assemble
from tracekit.ftrace.programs.code import (
    Code,
    binary,
    integer,
    joined,
    literal,
    node,
    number,
    string,
    type_code,
)
from tracekit.recording import Recording
from tracekit.timeline.filter import Filter
from tracekit.timeline.rows import EventKind, Rows, numbers
from tracekit.timeline.when.dates import utc

__all__ = ["fields_code", "json_blocks"]

_ROWS = 1 << 15  # at a time
_NO_SEPARATOR = 0
_EXACT = 1 << 53  # what a reader of doubles does not round
_Fields = Mapping[str, Any]


def _address_names(recording: Recording, kind: EventKind) -> frozenset[str]:
    fmt = recording.boot(kind.boot).format(kind.id)
    return address_fields(fmt) if fmt else frozenset()


def _arguments(recording: Recording, kind: EventKind) -> Callable[[_Fields], _Fields]:
    """What an event's typed arguments become: addresses and large numbers are strings."""
    fmt = recording.boot(kind.boot).format(kind.id)
    wide = {f.name: exact for f in fmt.fields if max(f.size, f.element) >= 8} if fmt else {}
    shown = {**wide, **dict.fromkeys(_address_names(recording, kind), as_hex)}
    if not shown:
        return lambda typed: typed
    return lambda typed: {
        name: shown[name](value) if name in shown else value for name, value in typed.items()
    }


def json_blocks(recording: Recording, wanted: Filter, *, wall: bool = False) -> Iterator[Piece]:
    """One object per event: the timeline's columns, and ``fields`` with typed arguments.

    ``wall``: with ``time`` (UTC) and ``time_error_ns``, None where they are unknown.
    """
    args, fields = _programs(recording)
    columns = Columns(recording, _member, "flags", "preempt")
    walls = recording if wall else None
    for index in recording.row_batches(wanted, _ROWS):
        at = numbers(index)
        rows = recording.rows.take(index)
        ts = np.ascontiguousarray(recording.axis.ts_ns[index])
        parts = _parts(rows, ts, columns.parts(rows, index), args, fields, walls)
        made, left = print_rows(recording, rows, parts)
        if len(left):
            some, place = rows.take(left), at[left]
            texts = recording.texts(some, "json").packed()
            typed = _evaluated(recording, some, place)
            parts = _parts(some, ts[left], columns.parts(some, place), texts, typed, walls)
            made.put(left, print_lines(len(left), parts))
        yield from made.pieces()


def _parts(
    rows: Rows,
    ts: npt.NDArray[Any],
    head: list[Any],
    args: Any,
    fields: Any,
    walls: Recording | None,
) -> list[Any]:
    """What a line is made of; ``walls``: it has the time of day, too."""
    parts = [f'{{"schema": {SCHEMA}, "ts_ns": '.encode(), ("i", ts), *head]
    parts += [b', "args": "', args, b'", "ts_raw": ', _raw_stamps(rows)]
    if walls is not None:
        parts.append(_wall_times(walls, rows, ts))
    return [*parts, b', "fields": ', fields, b"}\n"]


def _member(column: str, value: str | int | None) -> str:
    return f', "{column}": {json.dumps(value)}'


def _programs(recording: Recording) -> tuple[Records, Records]:
    """The programs that print the arguments of each kind of event, as text and as an object."""
    texts: list[Program | None] = []
    objects: list[Program | None] = []
    for kind in recording.kinds:
        boot = recording.boot(kind.boot)
        code = fields_code(boot.format(kind.id), _address_names(recording, kind))
        texts.append(boot.renderer(kind.id).program("json"))
        objects.append(None if code is None else assemble(code, 0))
    return Records(texts), Records(objects)


def _each(texts: Sequence[str]) -> Any:
    return coded_texts(np.arange(len(texts)), texts)


def _raw_stamps(rows: Rows) -> Any:
    if len(rows) and int(rows.ts_raw.max()) > _EXACT:
        return _each([json.dumps(exact(stamp)) for stamp in rows.ts_raw.tolist()])
    return "u", np.ascontiguousarray(rows.ts_raw)


def _wall_times(recording: Recording, rows: Rows, ts: npt.NDArray[Any]) -> Any:
    made = []
    for boot, ns in zip(rows.boot.tolist(), ts.tolist(), strict=True):
        wall = recording.walls.get(boot)
        time = None if wall is None else utc(ns + wall.offset_ns)
        error = None if wall is None else wall.error_ns
        made.append(f", {json.dumps({'time': time, 'time_error_ns': error})[1:-1]}")
    return _each(made)


def _evaluated(recording: Recording, rows: Rows, at: npt.NDArray[Any]) -> Any:
    """The typed arguments of some rows, whose indices are ``at``, as objects of JSON."""
    kinds = rows.kind.tolist()
    shown = {n: _arguments(recording, recording.kinds[n]) for n in set(kinds)}
    typed = zip(kinds, recording.fields(at), strict=True)
    return _each([json.dumps(shown[n](row), default=_jsonable) for n, row in typed])


def _jsonable(value: Any) -> str:
    return bytes(value).hex() if isinstance(value, bytes) else str(value)


def fields_code(fmt: EventFormat | None, addresses: frozenset[str]) -> Code | None:
    """The code that prints the arguments of an event as :func:`json.dumps` does, if there is any.

    The values are those of :func:`tracekit.ftrace.columns.typed_column`; those of ``addresses``
    are hexadecimal.
    """
    parts: list[Code | None] = []
    for field in fmt.fields if fmt else ():
        parts.append(literal(f"{', ' if parts else ''}{json.dumps(field.name)}: "))
        if field.length is None:
            parts.append(_scalar(field, field.name in addresses))
        else:
            parts.append(_array(field, field.name in addresses))
    return joined([literal("{"), *parts, literal("}")])


def _scalar(field: Field, address: bool) -> Code | None:
    if field.size not in (1, 2, 4, 8):
        return None
    type_ = IntType(field.size, field.signed)
    value = node("load", field.offset, type_code(type_))
    if field.type == "bool" and field.size == 1:
        return node("if", value, literal("true"), literal("false"))
    plain = number(Conversion("d" if field.signed else "u", size=8), value, ())
    if field.size < 8 and not address:
        return plain
    form = Conversion("x", "#", size=8)
    quoted = joined([literal('"'), number(form, value, ()), literal('"')])
    if field.signed:
        negative = number(form, node("unary", "NEGATE", value), ())
        below = joined([literal('"-'), negative, literal('"')])
        quoted = node("if", binary("LT", type_, value, integer(0)), below, quoted)
    if address:
        return quoted
    small = binary("LE", type_, value, integer(_EXACT))
    if field.signed:
        small = node("if", small, binary("GE", type_, value, integer(-_EXACT)), integer(0))
    return node("if", small, plain, quoted)


def _array(field: Field, addresses: bool) -> Code | None:
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
        return node(
            "integers", type_code(IntType(field.element, field.signed)), int(addresses), span
        )
    if addresses:
        return None
    data = node("pointer", "ALL_BYTES", 0, _NO_SEPARATOR, span)
    return joined([literal('"'), data, literal('"')])
