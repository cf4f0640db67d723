"""The events of a session: one timeline over all its boots, filters, tables and arguments."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tracekit.arrow import pa
from tracekit.errors import Diagnostic, UsageError
from tracekit.frozen import dataclass
from tracekit.ftrace.columns import (
    Payloads,
    as_arrow,
    as_strings,
    intern,
    render_column,
    typed_column,
    typed_columns,
)
from tracekit.ftrace.printers.render import Form
from tracekit.ftrace.programs.run import Printed, TextColumn
from tracekit.session import Session
from tracekit.timeline.axis import Axis, place
from tracekit.timeline.boot import Boot, Buffer
from tracekit.timeline.checks import check_below, check_payloads
from tracekit.timeline.comms import comm_codes, comms_of_boot
from tracekit.timeline.filter import Filter, chosen_of, fitting
from tracekit.timeline.merge import BootPart, merge
from tracekit.timeline.rows import EventKind, Rows, numbers, one_of, pieces
from tracekit.timeline.saved.bpf_format import SOURCES, is_probe
from tracekit.timeline.unify import unify
from tracekit.timeline.when.moments import on_axis
from tracekit.timeline.when.wall_clock import Wall, wall_clocks

__all__ = ["Decoded", "Events"]

_Array = npt.NDArray[Any]
_COMMON = ("ts_ns", "boot", "cpu", "pid", "comm", "flags", "preempt", "ts_raw")


@dataclass(frozen=True, slots=True)
class Decoded:
    """The result of decoding a session; ``remarks`` are from reading it.

    ``parts`` has each boot's recorded buffers; an index keeps the events without them.
    """

    rows: Rows
    kinds: Sequence[EventKind]
    buffers: Sequence[Buffer]
    axis: Axis
    remarks: Sequence[Diagnostic] = ()
    parts: Sequence[BootPart] = ()


class Events:
    """The events of a session, decoded when first asked for.

    ``timeline`` is all of it as one Arrow table; :meth:`table` gives a part of it,
    :meth:`event` has one event's arguments as typed columns.
    """

    def __init__(
        self, session: Session, *, probes: bool = True, instance: str | None = None
    ) -> None:
        """``probes``: show the BPF probes' records as events of their own.

        ``instance``: only the buffer of this instance (``global``: the global one).
        """
        self.session = session
        self._probes = probes
        self._instance = instance
        self.boots = [Boot(session, index, instance) for index in session.boots]
        self._texts: dict[tuple[int, int], dict[bytes, str]] = {}
        self.printed = Printed()

    # -- decoding -----------------------------------------------------------------------------

    @classmethod
    def decoded_before(
        cls,
        session: Session,
        decoded: Decoded,
        comms: list[dict[int, str]],
        comm_codes: tuple[_Array, list[str]],
    ) -> Self:
        """Events that were decoded before; see :mod:`tracekit.browse.index.load`.

        ``comms`` as the property; ``comm_codes``: for every row the index into the names (int32,
        -1 where there is none), and the names.
        """
        events = cls(session)
        events.comms = comms
        return events.showing(decoded, comm_codes)

    def showing(self, decoded: Decoded, comm_codes: tuple[_Array, list[str]]) -> Self:
        """Other events of the same kinds, for :meth:`event_at`; as for :meth:`decoded_before`."""
        events = copy.copy(self)
        events._decoded, events.comm_codes = decoded, comm_codes
        return events

    @cached_property
    def _decoded(self) -> Decoded:
        merged = merge(self.boots, probes=self._probes)
        rows, axis = place(merged)
        return Decoded(rows, merged.kinds, merged.buffers, axis, parts=merged.parts)

    @property
    def rows(self) -> Rows:
        """The events as plain arrays, in the order of the timeline."""
        return self._decoded.rows

    @property
    def kinds(self) -> Sequence[EventKind]:
        """The events of each boot that occur; ``rows.kind`` is the index."""
        return self._decoded.kinds

    @property
    def buffers(self) -> Sequence[Buffer]:
        """The recorded ring buffers; ``rows.buffer`` is the index."""
        return self._decoded.buffers

    def part(self, boot: int) -> BootPart:
        """The recorded buffers of the boot with that index.

        Raises StopIteration for events from an index, which does not keep them.
        """
        return next(part for part in self._decoded.parts if part.boot.index == boot)

    @property
    def axis(self) -> Axis:
        """Where every event lies on the session's axis, and how well that is known."""
        return self._decoded.axis

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """All diagnostics from reading and decoding."""
        remarks = list(self._decoded.axis.diagnostics)
        remarks += [remark for buffer in self.buffers for remark in buffer.diagnostics]
        remarks += [remark for boot in self.boots for remark in boot.diagnostics]
        return list(dict.fromkeys([*self.session.diagnostics, *self._decoded.remarks, *remarks]))

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _codes(self) -> dict[str, dict[int, list[int]]]:
        """Name -> boot -> the codes of its kinds."""
        codes: dict[str, dict[int, list[int]]] = {}
        for code, kind in enumerate(self.kinds):
            codes.setdefault(kind.name, {}).setdefault(kind.boot, []).append(code)
        return codes

    def codes(self, boot: int, *names: str) -> list[int]:
        """The ``rows.kind`` of these events (``system:name``) in the boot with that index."""
        return [code for name in names for code in self._codes.get(name, {}).get(boot, ())]

    def has_event(self, name: str, boot: int) -> bool:
        """Whether ``system:name`` occurs in the boot with that index."""
        return boot in self._codes.get(name, ())

    @cached_property
    def as_traced(self) -> Self:
        """Only the ring buffers' events, as the kernel itself shows them."""
        if not any(is_probe(kind.id) for kind in self.kinds):
            return self
        return type(self)(self.session, probes=False, instance=self._instance)

    # -- names --------------------------------------------------------------------------------

    @cached_property
    def event_names(self) -> list[str]:
        """The distinct ``system:name``, in the order of ``kinds``."""
        return list(dict.fromkeys(kind.name for kind in self.kinds))

    @cached_property
    def _name_of_kind(self) -> _Array:
        index = {name: i for i, name in enumerate(self.event_names)}
        return np.array([index[kind.name] for kind in self.kinds], np.int32)

    def name_codes(self, at: _Array | slice) -> _Array:
        """Index into ``event_names`` of the event of each row at ``at``, int32."""
        kind = self.rows.kind[at]
        if not len(kind):
            return np.empty(0, np.int32)
        check_below(kind, len(self.kinds), "events")
        codes: _Array = self._name_of_kind[kind]
        return codes

    @cached_property
    def _source_of_kind(self) -> _Array:
        return np.array([is_probe(kind.id) for kind in self.kinds], np.int8)

    @cached_property
    def comms(self) -> list[dict[int, str]]:
        """Pid -> task name, one mapping for each boot, in the order of ``boots``."""
        return [comms_of_boot(boot, self.rows, self.kinds, self.buffers) for boot in self.boots]

    @cached_property
    def comm_codes(self) -> tuple[_Array, list[str]]:
        """(index into the names for every row, int32, -1 where there is none; the names)."""
        comms = dict(zip((boot.index for boot in self.boots), self.comms, strict=True))
        return comm_codes(self.rows, comms, self.session.spill)

    def _comm_column(self, rows: _Array | slice) -> pa.DictionaryArray:
        every, names = self.comm_codes
        codes = np.ascontiguousarray(every[rows])
        check_below(codes + 1, len(names) + 1, "tasks")
        valid = pa.py_buffer(np.packbits(codes >= 0, bitorder="little"))
        indices = pa.Array.from_buffers(pa.int32(), len(codes), [valid, pa.py_buffer(codes)])
        return pa.DictionaryArray.from_arrays(indices, as_strings(names))

    # -- arguments ----------------------------------------------------------------------------

    def groups(
        self, rows: Rows, at: _Array | slice = slice(None)
    ) -> Iterator[tuple[EventKind, _Array, Payloads]]:
        """The rows, or those ``at`` some places, of each (event, buffer), with their payloads."""
        kinds, where = rows.kind[at], rows.buffer[at]
        offset, length = rows.offset[at], rows.length[at]
        check_below(kinds, len(self.kinds), "events")
        check_below(where, len(self.buffers), "buffers")
        key = kinds.astype(np.int64) * len(self.buffers) + where
        if len(self.kinds) * len(self.buffers) < 1 << 16:
            key = key.astype(np.uint16)  # numpy sorts 16 bits by radix
        order = np.argsort(key, kind="stable")
        for part in np.split(order, np.flatnonzero(np.diff(key[order])) + 1) if len(order) else ():
            kind, buffer = divmod(int(key[part[0]]), len(self.buffers))
            payloads = Payloads(self.buffers[buffer].data, offset[part], length[part])
            check_payloads(payloads)
            yield self.kinds[kind], part, payloads

    def boot(self, index: int) -> Boot:
        """The boot with that index."""
        return next(boot for boot in self.boots if boot.index == index)

    @property
    def timed_boots(self) -> list[int]:
        """The indices of the boots whose clock counts time."""
        return [boot.index for boot in self.boots if self.axis.timed(boot.index)]

    def render(self, rows: Rows) -> pa.DictionaryArray:
        """The rendered arguments of ``rows``, as the old kernel itself would print them."""
        codes, firsts, count = np.empty(len(rows), np.int32), [np.empty(0, np.int64)], 0
        for kind, part, payloads in self.groups(rows):
            indices, first = intern(payloads, self.boot(kind.boot).header_of(kind.id))
            codes[part] = indices + count
            firsts.append(part[first])
            count += len(first)
        # different payloads may give the same text
        which, texts = self.texts(rows.take(np.concatenate(firsts))).distinct()
        return pa.DictionaryArray.from_arrays(as_arrow(which[codes]), texts)

    def texts(self, rows: Rows, form: Form = "args") -> TextColumn:
        """The rendered arguments of ``rows``, each for itself."""
        column = TextColumn(len(rows))
        for kind, part, payloads in self.groups(rows):
            renderer = self.boot(kind.boot).renderer(kind.id)
            left = column.print(part, payloads, renderer.program(form))
            self.printed.count(kind.name, len(part), len(left))
            if len(left):
                known = self._texts.setdefault((kind.boot, kind.id), {})
                skip, some = self.boot(kind.boot).header_of(kind.id), payloads.take(left)
                codes, made = render_column(some, renderer.render, skip, known)
                column.add(part[left], codes, [renderer.formed(text, form) for text in made])
        return column

    # -- tables -------------------------------------------------------------------------------

    def select(self, wanted: Filter) -> _Array:
        """Indices of the rows that meet the filter, in order; all but its ``where`` and ``grep``.

        :meth:`tracekit.recording.Recording.select` knows expressions too.
        """
        return np.concatenate([np.empty(0, np.int64), *map(numbers, self.selected(wanted))])

    def selected(self, wanted: Filter) -> Iterator[_Array | slice]:
        """The same, some rows at a time: a slice of the timeline, or which of one."""
        part, fits = fitting(self.rows, self.kinds, self.axis.ts_ns, wanted, self._limit)
        codes, names = self.comm_codes if wanted.comms else (None, [])
        wants = np.array([wanted.wants_comm(name) for name in [*names, None]])
        for piece in pieces(part.stop, part.start):
            mask = fits(piece) if fits is not None else None
            if codes is not None:
                mine = wants[codes[piece]]
                mask = mine if mask is None else mask & mine
            yield chosen_of(piece, mask)

    def _limit(self, instant: str, part: slice) -> int | _Array:
        """A date in ns on the axis: one number, or one for every row of a part."""
        found = on_axis(instant, self.axis, self.boots, self.walls)
        return found if isinstance(found, int) else found[self.rows.boot[part]]

    @cached_property
    def walls(self) -> dict[int, Wall]:
        """Wall-clock time by boot; a boot of which it is unknown is missing."""
        return wall_clocks(self.axis, self.boots)

    def table(self, at: _Array | slice = slice(None), *, args: bool = True) -> pa.Table:
        """The timeline's columns for the rows at ``at``; rendering ``args`` takes the most time."""
        rows = self.rows.take(at)
        kind, names = self.name_codes(at), as_strings(self.event_names)
        source = self._source_of_kind[rows.kind] if len(rows) else np.empty(0, np.int8)
        columns = {
            "ts_ns": as_arrow(self.axis.ts_ns[at]),
            "boot": as_arrow(rows.boot),
            "cpu": as_arrow(rows.cpu),
            "pid": as_arrow(rows.pid),
            "comm": self._comm_column(at),
            "event": pa.DictionaryArray.from_arrays(as_arrow(kind), names),
            "source": pa.DictionaryArray.from_arrays(as_arrow(source), as_strings(SOURCES)),
            "flags": as_arrow(rows.flags),
            "preempt": as_arrow(rows.preempt),
        }
        if args:
            columns["args"] = self.render(rows)
        columns["ts_raw"] = as_arrow(rows.ts_raw)
        return pa.table(columns)

    @property
    def timeline(self) -> pa.Table:
        """Every event of every boot, sorted by ``ts_ns``; docs/python.md has the columns."""
        return self.table()

    # -- one event ----------------------------------------------------------------------------

    def event(self, name: str, wanted: Filter | None = None) -> pa.Table:
        """One event with its typed arguments, by ``system:name`` (or ``name`` if that is unique).

        Columns: the timeline's ``ts_ns``, ``boot``, ``cpu``, ``pid``, ``comm``, ``flags``,
        ``preempt``, ``ts_raw``, then the arguments under the names of the format. Where an
        argument has such a name too, the argument keeps it and the timeline's becomes
        ``common_...``. An argument that is a number in one kernel and a text in another is text.
        Raises :class:`~tracekit.errors.UsageError` when there is no such event.
        """
        return self.event_at(name, self.select(wanted) if wanted else np.arange(len(self)))

    def event_at(self, name: str, at: _Array) -> pa.Table:
        """As :meth:`event`, those of the rows at ``at`` (indices, in order)."""
        full = self._full_name(name)
        codes = [code for of_boot in self._codes.get(full, {}).values() for code in of_boot]
        indices = at[one_of(self.rows.kind[at], codes)]
        groups = list(self.groups(self.rows, indices))
        if not groups:
            return self.table(indices, args=False).select(_COMMON)
        parts = [self._event_part(kind, indices[part], payloads) for kind, part, payloads in groups]
        if len(parts) == 1:
            return parts[0]
        order = np.argsort(np.concatenate([part for _, part, _ in groups]))
        return pa.concat_tables(unify(parts), promote_options="permissive").take(as_arrow(order))

    def _full_name(self, name: str) -> str:
        if name in self.event_names:
            return name
        hits = [known for known in self.event_names if known.partition(":")[2] == name]
        if len(hits) == 1:
            return hits[0]
        if any(boot.event_name(i) == name for boot in self.boots for i in boot.event_ids()):
            return name  # known to a kernel, but never happened: an empty table
        if hits:
            raise UsageError(f"event {name!r} is one of {', '.join(hits)}: say which")
        raise UsageError(f"event {name!r} did not occur and no kernel of the session knows it")

    def fields(self, at: _Array) -> list[dict[str, Any]]:
        """The typed arguments of the rows at ``at``, one mapping for each row."""
        arguments: list[dict[str, Any]] = [{}] * len(at)
        for kind, part, payloads in self.groups(self.rows, at):
            fmt = self.boot(kind.boot).format(kind.id)
            if fmt is None or not fmt.fields:
                continue
            typed = pa.table(typed_columns(payloads, fmt)).to_pylist()
            for i, row in zip(part.tolist(), typed, strict=True):
                arguments[i] = row
        return arguments

    def _event_part(self, kind: EventKind, rows: _Array, payloads: Payloads) -> pa.Table:
        fmt = self.boot(kind.boot).format(kind.id)
        typed = typed_columns(payloads, fmt) if fmt else {}
        common = self.table(rows, args=False).select(_COMMON)
        common = common.rename_columns([f"common_{c}" if c in typed else c for c in _COMMON])
        for column, values in typed.items():
            common = common.append_column(column, values)
        return common

    def values(self, at: _Array, field: str) -> Iterator[tuple[_Array, pa.Array]]:
        """(positions in ``at``, that argument's typed values) of the events that have ``field``.

        ``at`` are row numbers, some looked at at a time. Nothing else of the events is decoded.
        """
        for some in pieces(len(at)):
            for kind, part, payloads in self.groups(self.rows, at[some]):
                fmt = self.boot(kind.boot).format(kind.id)
                matching = [f for f in fmt.fields if f.name == field] if fmt else []
                if matching:
                    yield part + some.start, typed_column(payloads, matching[-1])
