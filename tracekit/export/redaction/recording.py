"""A recording to share: the same events and times, without names, paths and addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.export.redaction.texts import Names, overwrite_event
from tracekit.ftrace.columns import as_strings
from tracekit.ftrace.print_fmt.addresses import address_fields
from tracekit.recording import Recording
from tracekit.spill import Spill, release
from tracekit.timeline.events import Decoded
from tracekit.timeline.filter import Filter
from tracekit.timeline.new_rows import NewColumn
from tracekit.timeline.rows import Rows

__all__ = ["Redacted"]

_Array = npt.NDArray[Any]
# 0x and six digits or more; without 0x twelve and more with a letter among them, or sixteen. What
# follows a symbol, +0x1f0/0x400, says nothing of where the kernel is.
_ADDRESS = re.compile(
    r"(?<![\w+/])0x([0-9a-f]{6,16})(?!\w)|"
    r"(?<![\w.])((?=\d*[a-f])[0-9a-f]{12,16}|[0-9a-f]{16})(?!\w)",
    re.IGNORECASE,
)
_KERNEL = 0xFFFF800000000000  # the kernel's half of the address space (x86-64, arm64)
_ROWS = 1 << 18  # overwritten at a time: names are numbered as they come
_STEP = 16 << 20  # bytes that are copied at a time
_ERRORS = (1 << 64) - 4096  # small negative numbers: IS_ERR_VALUE(), include/linux/err.h


def _copy(data: bytes | memoryview, spill: Spill) -> npt.NDArray[np.uint8]:
    """A buffer's bytes, to be changed."""
    old = np.frombuffer(data, np.uint8)
    new = NewColumn(spill, len(old), np.uint8)
    for start in range(0, len(old), _STEP):
        spill.need(min(_STEP, len(old) - start))
        new.put(slice(start, start + _STEP), [old[start : start + _STEP]])
        release()
    return new.values


class Redacted(Recording):
    """What :meth:`of` makes of a recording. Addresses are numbered by first appearance.

    Events are selected as in the original, so that a filter's task names are real ones.
    """

    _original: Recording
    _numbers: dict[int, int]

    @classmethod
    def of(cls, recording: Recording) -> Self:
        """The recording with tasks', files' and other free names, and addresses, replaced."""
        names = Names()
        every, comms = recording.comm_codes
        codes = every, [names.of(comm) for comm in comms]
        tables = [{pid: names.of(comm) for pid, comm in one.items()} for one in recording.comms]
        data = [_copy(buffer.data, recording.session.spill) for buffer in recording.buffers]
        for start in range(0, len(recording), _ROWS):
            some = recording.rows.take(slice(start, start + _ROWS))
            for kind, rows, payloads in recording.groups(some):
                fmt = recording.boot(kind.boot).format(kind.id)
                overwrite_event(data[int(some.buffer[rows[0]])], payloads, fmt, names)
            release()
        buffers = [
            replace(buffer, data=cast(bytes, new.data))
            for buffer, new in zip(recording.buffers, data, strict=True)
        ]
        decoded = Decoded(recording.rows, recording.kinds, buffers, recording.axis)
        made = cls.decoded_before(recording.session, decoded, tables, codes)
        made._original, made._numbers = recording, {}
        return made

    def selected(self, wanted: Filter) -> Iterator[_Array | slice]:
        """As in the original."""
        return self._original.selected(wanted)

    @property
    def as_traced(self) -> Self:
        """As that of the original, redacted."""
        traced = self._original.as_traced
        return self if traced is self._original else type(self).of(traced)

    # -- addresses ----------------------------------------------------------------------------

    def _number(self, address: int) -> int:
        """What stands for an address: 0 for 0, else how many came before it."""
        return self._numbers.setdefault(address, len(self._numbers) + 1) if address else 0

    def _without_addresses(self, text: str) -> str:
        return _ADDRESS.sub(lambda m: f"addr-{self._number(int(m[1] or m[2], 16))}", text)

    def render(self, rows: Rows) -> pa.DictionaryArray:
        """The arguments as text, with ``addr-1``, ``addr-2`` in place of addresses."""
        rendered = super().render(rows)
        texts = [self._without_addresses(text) for text in rendered.dictionary.to_pylist()]
        return pa.DictionaryArray.from_arrays(rendered.indices, as_strings(texts))

    def _value(self, value: Any, declared: bool) -> Any:
        if isinstance(value, list):
            return [self._value(one, declared) for one in value]
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        return self._number(value) if declared or _KERNEL <= value < _ERRORS else value

    def _addresses(self, name: str) -> frozenset[str]:
        """The arguments of an event that are addresses in any boot."""
        kinds = [kind for kind in self.kinds if kind.name == name]
        formats = [self.boot(kind.boot).format(kind.id) for kind in kinds]
        return frozenset[str]().union(*(address_fields(fmt) for fmt in formats if fmt))

    def event_at(self, name: str, at: _Array) -> pa.Table:
        """As that of a recording, addresses as their numbers."""
        table, known = super().event_at(name, at), self._addresses(name)
        known |= self._addresses(next((n for n in self.event_names if n.endswith(f":{name}")), ""))
        for number, column in enumerate(table.schema):
            kind = column.type.value_type if pa.types.is_nested(column.type) else column.type
            plain = column.name in ("ts_raw", "common_ts_raw")
            if plain or not (column.name in known or kind == pa.uint64()):
                continue
            declared = column.name in known
            values = [self._value(v, declared) for v in table[number].to_pylist()]
            table = table.set_column(number, column.name, pa.array(values, column.type))
        return table

    def fields(self, at: _Array) -> list[dict[str, Any]]:
        """As those of a recording, addresses as their numbers."""
        known = {name: self._addresses(name) for name in self.event_names}
        events = [self.kinds[kind].name for kind in self.rows.kind[at].tolist()]
        return [
            {name: self._value(value, name in known[event]) for name, value in row.items()}
            for event, row in zip(events, super().fields(at), strict=True)
        ]
