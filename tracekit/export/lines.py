"""Columns -> blocks of lines: distinct texts are few, so only times are formatted per line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit._native import lines
from tracekit.frozen import dataclass
from tracekit.ftrace.columns import packed_texts
from tracekit.ftrace.programs.assemble import Program
from tracekit.ftrace.programs.tables import Learned
from tracekit.recording import Recording
from tracekit.timeline.checks import check_below
from tracekit.timeline.rows import PID_LIMIT, Rows, different, distinct
from tracekit.timeline.saved.bpf_format import source_of

__all__ = [
    "KERNEL_COUNT",
    "KERNEL_SECONDS",
    "SIGNED_SECONDS",
    "Columns",
    "Lines",
    "NumberTexts",
    "Piece",
    "Records",
    "coded_texts",
    "combined",
    "join_lines",
    "print_lines",
    "print_rows",
]

_Array = npt.NDArray[Any]
#: A part of a text.
Piece = bytes | bytearray | memoryview
#: The code of every row (i32), where each text begins and the last ends (i64), the texts.
_Coded = tuple[_Array, _Array, bytes]
_SMALL = 1 << 22  # products that need no sorting
_FEW = 8  # one row in so many is printed apart
_MOST_TEXTS = 1 << 14  # of numbers, known from one column to the next
_LEARNED = 3  # times that what the tables lack is looked up
#: How and where :func:`join_lines` writes the time: see ``lines.pyi``.
KERNEL_SECONDS, KERNEL_COUNT, SIGNED_SECONDS = range(3)


def combined(*columns: _Array) -> tuple[_Array, _Array]:
    """(a code for every row such that equal rows share one, the first row of every code)."""
    key, size = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        top = int(column.max(initial=0)) + 1
        if column.min(initial=0) >= 0 and size * top <= _SMALL:
            key, size = key * top + column, size * top
            continue
        values, codes = distinct(column)
        known, key = distinct(key)
        key, size = key * max(1, len(values)) + codes, len(known) * len(values)
    _, key = distinct(key)
    key = key.astype(np.int32)
    firsts = np.zeros(int(key.max()) + 1 if len(key) else 0, np.int64)
    firsts[key[::-1]] = np.arange(len(key) - 1, -1, -1)
    return key, firsts


def coded_texts(codes: _Array, texts: Sequence[str]) -> _Coded:
    """A column of texts: the code of every row, and the texts by code."""
    return np.ascontiguousarray(codes, np.int32), *packed_texts(texts)


class NumberTexts:
    """The texts of numbers, each made once; those that there are no longer may be forgotten."""

    def __init__(self, text: Callable[[int], str]) -> None:
        self._text = text
        self._codes = np.full(1, -1, np.int32)  # by number
        self._forget()

    def _forget(self) -> None:
        self._codes[:] = -1
        self._texts: list[str] = []
        self._packed = packed_texts(self._texts)

    def part(self, numbers: _Array) -> _Coded:
        """The texts of a column."""
        top = int(numbers.max(initial=0))
        if numbers.min(initial=0) < 0 or top >= PID_LIMIT:  # damaged records have those
            some, codes = distinct(numbers)
            return coded_texts(codes, [self._text(number) for number in some.tolist()])
        if top >= len(self._codes):
            more = np.full(min(2 * top + 1, PID_LIMIT) - len(self._codes), -1, np.int32)
            self._codes = np.concatenate([self._codes, more])
        codes = self._codes[numbers]
        if codes.min(initial=0) < 0:
            self._learn(numbers, different(numbers[codes < 0]))
            codes = self._codes[numbers]
        return codes, *self._packed

    def _learn(self, numbers: _Array, new: list[int]) -> None:
        if len(self._texts) + len(new) > _MOST_TEXTS:
            self._forget()
            new = different(numbers)
        self._codes[new] = np.arange(len(new), dtype=np.int32) + len(self._texts)
        self._texts += [self._text(number) for number in new]
        self._packed = packed_texts(self._texts)


class Lines:
    """Lines of rows, one after the other, and what is put in between."""

    def __init__(self, text: bytes | bytearray, ends: _Array) -> None:
        """``ends``: where each row's line ends in ``text``, i64."""
        self._text = text
        self.ends = ends
        self._more: list[tuple[int, int, Piece]] = []

    def insert(self, row: int, text: Piece) -> None:
        """Put a text before the line of a row, and before what was put there earlier."""
        self._more.append((row, -len(self._more), text))

    def put(self, rows: _Array, lines: Lines) -> None:
        """Give some rows, which have none, their lines."""
        text, ends, first = memoryview(lines._text), lines.ends.tolist(), -len(self._more)
        self._more += [
            (row, first - n, text[begin:end])
            for n, (row, begin, end) in enumerate(
                zip(rows.tolist(), [0, *ends], ends, strict=False)
            )
        ]

    def pieces(self) -> list[Piece]:
        """All of it, without a copy."""
        if not self._more:
            return [self._text]
        whole, made, done = memoryview(self._text), list[Piece](), 0
        self._more.sort(key=itemgetter(0, 1))
        begins = np.append(0, self.ends)[[row for row, _, _ in self._more]].tolist()
        for begin, (_, _, text) in zip(begins, self._more, strict=True):
            if begin > done:
                made.append(whole[done:begin])
                done = begin
            made.append(text)
        return [*made, whole[done:]]


@dataclass(frozen=True, slots=True)
class Records:
    """A part of a line: what the program of each kind of event prints, None where it has none."""

    programs: Sequence[Program | None]


class Columns:
    """The columns of the timeline but for times and arguments, as parts of lines."""

    def __init__(
        self, recording: Recording, written: Callable[[str, str | int | None], str], *small: str
    ) -> None:
        """``written``: what a column, by its name, and its value are in a line.

        ``small``: columns of small numbers, which are the last.
        """
        self._recording, self._written = recording, written
        self._small = {
            name: packed_texts([written(name, n) for n in range(256)]) for name in ("boot", *small)
        }
        self._cpus = NumberTexts(lambda cpu: written("cpu", cpu))
        names = (None, *recording.comm_codes[1])
        self._tasks = packed_texts([written("comm", name) for name in names])
        events = ((kind.name, source_of(kind.id)) for kind in recording.kinds)
        self._events = packed_texts(
            [written("event", name) + written("source", source) for name, source in events]
        )

    def parts(self, rows: Rows, index: _Array | slice) -> list[Any]:
        """The parts of ``rows``, which are those at ``index``."""
        written = self._written
        task = self._recording.comm_codes[0][index] + 1
        check_below(task, len(self._tasks[0]) - 1, "tasks")
        check_below(rows.kind, len(self._events[0]) - 1, "events")
        boot, *last = (
            (getattr(rows, name).astype(np.int32), *texts) for name, texts in self._small.items()
        )
        return [
            boot,
            self._cpus.part(rows.cpu),
            written("pid", 0)[:-1].encode(),  # without the digit
            ("i", rows.pid.astype(np.int64)),
            (task, *self._tasks),
            (np.ascontiguousarray(rows.kind), *self._events),
            *last,
        ]


def print_rows(recording: Recording, rows: Rows, parts: Sequence[Any]) -> tuple[Lines, _Array]:
    """Lines of parts, among them :class:`Records`; the rows that have no line yet."""
    counts = np.bincount(rows.kind, minlength=len(recording.kinds))
    used = np.flatnonzero(counts).tolist()
    made, left, missed = _printed(recording, rows, parts, used)
    for _ in range(_LEARNED):
        if not len(missed):
            break
        _learn(parts, missed)
        if len(left) * _FEW >= len(rows):
            made, left, missed = _printed(recording, rows, parts, used)
            continue
        less = [_at(part, left) for part in parts]
        some, still, missed = _printed(recording, rows.take(left), less, used)
        made.put(left, some)
        left = left[still]
    counts -= np.bincount(rows.kind[left], minlength=len(recording.kinds))
    for kind in np.flatnonzero(counts).tolist():
        recording.printed.count(recording.kinds[kind].name, int(counts[kind]), 0)
    return made, left


def _printed(
    recording: Recording, rows: Rows, parts: Sequence[Any], used: Sequence[int]
) -> tuple[Lines, _Array, _Array]:
    """(the lines that could be printed; the rows that have none; what tables lacked).

    ``used``: the kinds that may occur.
    """
    buffers = tuple(buffer.data for buffer in recording.buffers)
    columns = (
        np.ascontiguousarray(rows.kind, np.int32),
        np.ascontiguousarray(rows.buffer, np.uint16),
        np.ascontiguousarray(rows.offset, np.uint64),
        np.ascontiguousarray(rows.length, np.uint32),
    )
    given = tuple(_programs(p, columns, buffers, used) for p in parts)
    text, ends, status, misses = lines.print(len(rows), given)
    left = np.flatnonzero(np.frombuffer(status, np.uint8))
    missed = np.frombuffer(misses, np.uint64).reshape(-1, 2)
    return Lines(text, np.frombuffer(ends, np.int64)), left, missed


def _at(part: Any, rows: _Array) -> Any:
    """The part of some rows."""
    if isinstance(part, bytes | Records):
        return part
    if len(part) == 2:
        return part[0], part[1][rows]
    return part[0][rows], *part[1:]


def _programs(part: Any, columns: Any, buffers: Any, used: Sequence[int]) -> Any:
    if not isinstance(part, Records):
        return _part(part)
    natives = list[Any]([None]) * len(part.programs)
    for kind in used:
        if (program := part.programs[kind]) is not None:
            natives[kind] = program.native()
    return "p", (columns, tuple(natives), buffers)


def _learn(parts: Sequence[Any], misses: _Array) -> None:
    """Let the tables of the programs learn what they lacked."""
    for place in different(misses[:, 0]):
        kind, number = divmod(place, 1 << 32)
        keys = misses[misses[:, 0] == place, 1]
        for part in parts:
            program = part.programs[kind] if isinstance(part, Records) else None
            table = program.tables[number] if program and number < len(program.tables) else None
            if isinstance(table, Learned):
                table.learn(keys)


def print_lines(rows: int, parts: Sequence[Any]) -> Lines:
    """Lines of parts: columns of texts, (mode, times), the same text everywhere."""
    text, ends, _, _ = lines.print(rows, tuple(_part(part) for part in parts))
    return Lines(text, np.frombuffer(ends, np.int64))


def _part(part: Any) -> Any:
    if isinstance(part, bytes):
        return "s", part
    if isinstance(part[0], int):
        return str(part[0]), np.ascontiguousarray(part[1])
    return part


def join_lines(mode: int, stamps: _Array, head: _Coded, tail: _Coded) -> Piece:
    """The lines of all rows: ``head``, time and ``tail`` as ``mode`` orders them."""
    time = (mode, stamps)
    ordered = (time, head, tail) if mode == SIGNED_SECONDS else (head, time, tail)
    (text,) = print_lines(len(stamps), (*ordered, b"\n")).pieces()
    return text
