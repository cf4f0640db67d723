"""Programs run over the records of an event: their texts as one column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit._native import texts
from tracekit.arrow import pa
from tracekit.ftrace.columns import Payloads, as_arrow, as_numpy, as_strings, packed_texts
from tracekit.ftrace.programs.assemble import Program
from tracekit.ftrace.programs.tables import Learned

__all__ = ["FEW", "Printed", "TextColumn"]

_Array = npt.NDArray[Any]
_MISSED = 2  # enum status, program.h
FEW = 10_000  #: texts; until then pyarrow.compute takes longer to import than it saves


class Printed:
    """How many texts were made by programs, and how many by the evaluator, by event."""

    def __init__(self) -> None:
        self.records: Counter[str] = Counter()
        self.evaluated: Counter[str] = Counter()

    def count(self, event: str, records: int, evaluated: int) -> None:
        """Count the records of an event, ``evaluated`` of them without a program."""
        self.records[event] += records
        if evaluated:
            self.evaluated[event] += evaluated


class TextColumn:
    """The texts of some rows, as they are made: event by event, in any order.

    Row ``i`` has text number ``codes[i]``; several rows may share one.
    """

    def __init__(self, rows: int) -> None:
        self.codes: _Array = np.zeros(rows, np.int32)
        self._ends: list[_Array] = [np.zeros(1, np.int64)]
        self._values: list[bytes] = []
        self._count = 0
        self._size = 0

    def _append(self, ends: _Array, values: bytes) -> int:
        """Add texts; returns the number of the first."""
        first = self._count
        self._ends.append(ends[1:] + self._size)
        self._values.append(values)
        self._count += len(ends) - 1
        self._size += len(values)
        return first

    def add(self, rows: _Array, codes: _Array, made: Sequence[str]) -> None:
        """Give ``rows`` the texts ``made``, by their ``codes``."""
        self.codes[rows] = codes + self._append(*packed_texts(made))

    def print(self, rows: _Array, payloads: Payloads, program: Program | None) -> _Array:
        """Print the records of ``rows``; returns the indices of those that were not."""
        left = np.arange(len(rows))
        if program is None:
            return left
        left, missed = self._printed(rows, left, payloads, program)
        if not len(missed):
            return left
        failed, missed = self._printed(rows, missed, payloads, program)
        return np.concatenate([left, failed, missed])

    def _printed(
        self, rows: _Array, which: _Array, payloads: Payloads, program: Program
    ) -> tuple[_Array, _Array]:
        """(those that failed, those that lacked a text, which is known now)."""
        some = payloads if len(which) == len(rows) else payloads.take(which)
        given = (some.data, some.offsets, some.lengths)
        raw, values, status, misses = texts.print_records(given, program.native())
        codes = np.arange(len(which)) + self._append(np.frombuffer(raw, np.int64), values)
        self.codes[rows[which]] = codes
        outcome = np.frombuffer(status, np.uint8)
        if not outcome.any():
            return which[:0], which[:0]
        missing = np.frombuffer(misses, np.uint64).reshape(-1, 2)
        for number in sorted(set(missing[:, 0].tolist())):
            table = program.tables[number]
            assert isinstance(table, Learned)
            table.learn(missing[missing[:, 0] == number, 1])
        missed = outcome == _MISSED
        return which[(outcome != 0) & ~missed], which[missed]

    def packed(self) -> tuple[_Array, _Array, bytes]:
        """(the code of every row i32, where each text begins and the last ends i64, the texts)."""
        values = self._values[0] if len(self._values) == 1 else b"".join(self._values)
        return self.codes, np.concatenate(self._ends), values

    def each(self) -> Iterator[bytes]:
        """The text of every row, in UTF-8."""
        codes, ends, values = self.packed()
        for begin, end in zip(ends[codes].tolist(), ends[codes + 1].tolist(), strict=True):
            yield values[begin:end]

    def distinct(self) -> tuple[_Array, pa.Array]:
        """(for each row the number of its text, i32; the texts that differ, as they appear)."""
        if len(self.codes) < FEW:
            numbers: dict[bytes, int] = {}
            which = [numbers.setdefault(text, len(numbers)) for text in self.each()]
            return np.array(which, np.int32), as_strings(list(numbers))
        codes, ends, values = self.packed()
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(values)]
        every = pa.Array.from_buffers(pa.large_string(), len(ends) - 1, buffers)
        in_order = np.array_equal(codes, np.arange(len(every)))
        encoded = (every if in_order else every.take(as_arrow(codes))).dictionary_encode()
        return as_numpy(encoded.indices), encoded.dictionary.cast(pa.string())
