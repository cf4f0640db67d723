"""What a session has as tables: the events, the report, and what is analysed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cached_property, partial
from typing import Any, get_type_hints

import numpy as np
import pyarrow as pa

from tracekit.ftrace.columns import as_arrow
from tracekit.recording import Recording
from tracekit.report.devices import Device
from tracekit.report.initcalls import Initcall
from tracekit.report.jump.kho_steps import KhoStep
from tracekit.report.make import BootReport, Report
from tracekit.report.phases import Phase
from tracekit.report.systemd import Unit

__all__ = ["Tables", "event_views"]

_TYPES = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "str": pa.string()}
_ANALYSED = ("calls", "spans", "states", "turns", "wakeups")  # methods of Recording.analysis
_TIME = pa.timestamp("ns")
_UNSIGNED = 1 << 32


def _typed(values: list[Any], kind: pa.DataType) -> pa.Array:
    """A column; as texts where a damaged session has a number that does not fit."""
    try:
        return pa.array(values, kind)
    except (OverflowError, pa.ArrowInvalid):
        return pa.array([None if v is None else str(v) for v in values], pa.string())


def _kind(hint: Any) -> pa.DataType:
    """The column type of a dataclass's field; what is no scalar is JSON."""
    name = getattr(hint, "__name__", "") if isinstance(hint, type) else str(hint)
    return _TYPES.get(name.replace(" | None", ""), pa.string())


def _of_classes(cls: type, rows: Iterable[Any], leave: Iterable[str] = ()) -> pa.Table:
    """Instances of a dataclass as a table with its fields as columns, in order."""
    hints, dicts = get_type_hints(cls), [asdict(row) for row in rows]
    columns = {}
    for f in fields(cls):
        if f.name not in set(leave):
            values = [row[f.name] for row in dicts]
            plain = [json.dumps(v) if isinstance(v, list | dict | tuple) else v for v in values]
            columns[f.name] = _typed(plain, _kind(hints[f.name]))
    return pa.table(columns)


def _of_rows(rows: Iterable[Mapping[str, Any]], schema: Mapping[str, pa.DataType]) -> pa.Table:
    made = list(rows)
    return pa.table({k: _typed([row[k] for row in made], kind) for k, kind in schema.items()})


def event_views(events: Sequence[str], others: Iterable[str]) -> dict[str, str]:
    """View -> the event it shows: ``system:name``, and ``name`` where that is one event's.

    SQL ignores case in names, so where two differ by it alone the first has the name. ``others``
    are the names of other tables.
    """
    short = [name.partition(":")[2] or name for name in events]
    folded = Counter(name.casefold() for name in short)
    views: dict[str, str] = {}
    taken = {"", *others}
    unique = [(view, name) for view, name in zip(short, events, strict=True)
              if folded[view.casefold()] == 1]  # fmt: skip
    for view, name in (*((name, name) for name in events), *unique):
        if view.casefold() not in taken:
            taken.add(view.casefold())
            views[view] = name
    return views


class Tables:
    """Name -> table, each made when it is asked for. Times are ns on the session's axis."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._fixed: dict[str, Callable[[], pa.Table]] = {
            "boots": self._boots,
            "cpus": self._cpus,
            "devices": lambda: _of_classes(Device, self._report.devices),
            "initcalls": lambda: _of_classes(Initcall, self._report.initcalls),
            "kho_steps": lambda: _of_classes(KhoStep, self._report.kho_steps),
            "phases": lambda: _of_classes(Phase, self._report.phases),
            "tasks": self._tasks,
            "units": lambda: _of_classes(Unit, self._report.units),
            **{name: partial(self._analysed, name) for name in _ANALYSED},
        }
        self._made: dict[str, pa.Table] = {}
        self.events = event_views(recording.event_names, ["events", *self._fixed])

    @cached_property
    def _report(self) -> Report:
        return self._recording.report()

    @property
    def names(self) -> list[str]:
        """Of all tables: ``events`` and those of the report first, then a view an event."""
        return ["events", *self._fixed, *self.events]

    def table(self, name: str, *, args: bool = True) -> pa.Table:
        """One of :attr:`names`; ``events`` without the rendered ``args`` where ``args`` is false.

        The columns are those of the recording, not copied.
        """
        key = f"{name}/{args}" if name == "events" else name
        if key not in self._made:
            if name == "events":
                self._made[key] = self._with_time(self._recording.table(args=args))
            elif name in self._fixed:
                self._made[key] = self._fixed[name]()
            else:
                self._made[key] = self._recording.event(self.events[name])
        return self._made[key]

    def columns(self, name: str) -> list[str]:
        """The names of a table's columns."""
        names: list[str] = self.table(name, args=False).column_names
        return [*names, "args"] if name == "events" else names

    def _analysed(self, name: str) -> pa.Table:
        table: pa.Table = getattr(self._recording.analysis, name)()
        return table

    # -- the tables ---------------------------------------------------------------------------

    def _with_time(self, table: pa.Table) -> pa.Table:
        """The timeline with ``time``: the time of day (UTC), null where it is unknown."""
        walls = self._recording.walls
        offsets = np.zeros(256, np.int64)  # a row's boot is a byte
        offsets[list(walls)] = [wall.offset_ns for wall in walls.values()]
        boot = self._recording.rows.boot
        known = np.isin(boot, list(walls))
        values = as_arrow(self._recording.axis.ts_ns + offsets[boot])
        valid = pa.py_buffer(np.packbits(known, bitorder="little"))
        time = pa.Array.from_buffers(_TIME, len(boot), [valid, values.buffers()[1]])
        return table.add_column(1, "time", time)

    def _boots(self) -> pa.Table:
        reports = self._report.boots
        table = _of_classes(BootReport, reports, ("cpus",))
        times = {t.boot: t for t in self._report.times}
        mine = [times[boot.index] for boot in reports]
        for name, column in (
            ("wall_offset_ns", _typed([t.offset_ns for t in mine], pa.int64())),
            ("wall_error_ns", _typed([t.error_ns for t in mine], pa.int64())),
            ("first_time", pa.array([t.first for t in mine], pa.string())),
            ("last_time", pa.array([t.last for t in mine], pa.string())),
            ("wall_basis", pa.array([t.basis for t in mine], pa.string())),
        ):
            table = table.append_column(name, column)
        return table.rename_columns(["boot" if c == "index" else c for c in table.column_names])

    def _cpus(self) -> pa.Table:
        rows = [{"boot": b.index, **asdict(c)} for b in self._report.boots for c in b.cpus]
        integers = ("boot", "cpu", "events", "lost", "unreadable", "first_ns", "last_ns")
        schema = dict.fromkeys(integers, pa.int64())
        return _of_rows(rows, {**schema, "lost_at_least": pa.bool_(), "counted": pa.bool_()})

    def _tasks(self) -> pa.Table:
        rows, ts = self._recording.rows, self._recording.axis.ts_ns
        key = rows.boot.astype(np.int64) * _UNSIGNED + rows.pid.astype(np.uint32)
        _, firsts, counts = np.unique(key, return_index=True, return_counts=True)
        lasts = len(key) - 1 - np.unique(key[::-1], return_index=True)[1]
        some = self._recording.table(firsts, args=False)
        return pa.table({
            "boot": some["boot"], "pid": some["pid"], "comm": some["comm"],
            "events": as_arrow(counts.astype(np.int64)),
            "first_ns": as_arrow(ts[firsts]), "last_ns": as_arrow(ts[lasts]),
        })  # fmt: skip
