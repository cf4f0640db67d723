"""What ``Recording.analysis`` is: everything derived from the events of a session, as Arrow tables.

Each method takes a :class:`~tracekit.timeline.filter.Filter` and answers for that selection:

* A window (``since``, ``until``) is cut out: of what reaches beyond it, only the part inside counts
  in statistics; tables have whole rows.
* The other conditions choose events. A span is chosen by its first recorded event, a turn of a CPU
  by any event in it (the switch that ended it included), so that ``pid = 7`` chooses the turns of
  that task. States belong to tasks and CPUs, and are chosen by these alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.analysis.arguments import numbered
from tracekit.analysis.losses import Losses, losses_of
from tracekit.analysis.pairs import KINDS_OF_SPANS
from tracekit.analysis.selected import Choose, Window, among_chosen, chosen, window_of
from tracekit.analysis.spans import make_spans
from tracekit.analysis.states import Scheduling, make_states, make_turns, make_wakeups
from tracekit.analysis.statistics import clip, durations, intervals, per_second
from tracekit.errors import UsageError
from tracekit.ftrace.columns import as_arrow, as_numpy
from tracekit.query.groups import Index
from tracekit.timeline.events import Events
from tracekit.timeline.filter import Filter

__all__ = ["BY", "Analysis"]

_Array = npt.NDArray[Any]
#: What statistics can be by, and the kinds of spans that each counts; none: events or turns.
BY: dict[str, tuple[str, ...]] = {
    "event": (), "system": (), "task": (), "cpu": (), "span": KINDS_OF_SPANS,
    **{kind.replace(" ", "-"): (kind,) for kind in KINDS_OF_SPANS},
}  # fmt: skip
_UNNAMED = "<...>"


class Analysis:
    """Made when first asked for; a table is kept for the next question."""

    def __init__(
        self, events: Events, choose: Choose, index: Index | None = None,
        losses: Losses | None = None,
    ) -> None:  # fmt: skip
        """``choose`` gives the rows that meet a filter. ``index`` and ``losses`` where they are
        known already, as of a session that was indexed."""
        self._events, self._choose = events, choose
        self._index = index or Index(events)
        self._given_losses = losses

    @cached_property
    def losses(self) -> Losses:
        """When events of a CPU were lost."""
        return losses_of(self._events) if self._given_losses is None else self._given_losses

    @cached_property
    def _spans(self) -> pa.Table:
        return make_spans(self._events, self._index, self.losses)

    @cached_property
    def _scheduling(self) -> Scheduling:
        return Scheduling(self._events, self._index, self.losses)

    @cached_property
    def _turns(self) -> pa.Table:
        return make_turns(self._scheduling)

    # -- tables -------------------------------------------------------------------------------

    def spans(self, wanted: Filter | None = None) -> pa.Table:
        """What began and ended: :func:`~tracekit.analysis.spans.make_spans` has the columns."""
        return self._spans if wanted is None else self._spans.take(as_arrow(self._chosen(wanted)))

    def turns(self, wanted: Filter | None = None) -> pa.Table:
        """What each CPU ran: :func:`~tracekit.analysis.states.make_turns` has the columns."""
        return self._turns if wanted is None else self._turns.take(as_arrow(self._ran(wanted)))

    def states(self, wanted: Filter | None = None) -> pa.Table:
        """What each task did: :func:`~tracekit.analysis.states.make_states` has the columns."""
        return self._of_tasks(make_states(self._scheduling), wanted or Filter())

    def wakeups(self, wanted: Filter | None = None) -> pa.Table:
        """From wakeups to switches: :func:`~tracekit.analysis.states.make_wakeups`."""
        return self._of_tasks(make_wakeups(self._scheduling), wanted or Filter())

    def _of_tasks(self, table: pa.Table, wanted: Filter) -> pa.Table:
        if wanted.where or wanted.events or wanted.grep:
            raise UsageError(
                "states and wakeups belong to tasks: choose them by boot, CPU, pid, task name and"
                " time, not by event, --where or --grep"
            )
        start, end = _ints(table, "start_ns"), _ints(table, "end_ns")
        keep = np.zeros(len(table), bool)
        keep[clip(start, end, wanted.since, wanted.until).which] = True
        for column, allowed in (("boot", wanted.boots), ("cpu", wanted.cpus), ("pid", wanted.pids)):
            if allowed:
                keep &= np.isin(_ints(table, column, -1), list(allowed))
        if wanted.comms:
            codes, names = _labels(table, "comm")
            keep &= np.array([wanted.wants_comm(name) for name in [*names, None]])[codes]
        return table.filter(as_arrow(keep))

    def _chosen(self, wanted: Filter) -> _Array:
        """The spans of a selection, by their number."""
        table = self._spans
        keep = among_chosen(_ints(table, "row"), chosen(self._choose, wanted))
        start, end = _ints(table, "start_ns", -1 << 62), _ints(table, "end_ns", 1 << 62)
        if wanted.since is not None or wanted.until is not None:
            inside = np.zeros(len(table), bool)
            inside[clip(start, end, wanted.since, wanted.until).which] = True
            keep &= inside
        return np.flatnonzero(keep)

    def _ran(self, wanted: Filter) -> _Array:
        """The turns of a selection, by their number."""
        table, rows = self._turns, chosen(self._choose, wanted)
        start, end = _ints(table, "start_ns"), _ints(table, "end_ns")
        inside = clip(start, end, wanted.since, wanted.until).which
        if rows is None:
            return inside
        columns = self._events.rows
        key = columns.boot[rows].astype(np.int64) << 16 | columns.cpu[rows]
        order = np.lexsort((rows, key))
        width = len(self._events) + 1
        place = key[order] * width + rows[order]
        mine = (_ints(table, "boot").astype(np.int64) << 16 | _ints(table, "cpu")) * width
        first = np.searchsorted(place, mine + _ints(table, "row"), "right")
        last = np.searchsorted(place, mine + _ints(table, "end_row"), "right")
        hit: _Array = inside[(last > first)[inside]]
        return hit

    # -- statistics ---------------------------------------------------------------------------

    def statistics(self, by: str, wanted: Filter | None = None) -> pa.Table:
        """Count, time and worst instance of a selection, by what ``by`` says (:data:`BY`).

        ``event`` and ``system``: :func:`~tracekit.analysis.statistics.intervals`. Everything else
        has the columns of :func:`~tracekit.analysis.statistics.durations`, ``rate`` (of ``count``,
        a second of the recorded time; float64) and ``cut`` (int64: how many had events lost in
        them). ``task``: the turns of each task; ``cpu``: those of each CPU that are not idle. The
        kinds of spans also have ``self_ns`` (the total of those that lie wholly in the window, and
        of their own time alone), ``open`` (begun, never ended) and ``unpaired`` (int64: an end
        without its begin, or the reverse): these two are in no other number.
        Raises :class:`~tracekit.errors.UsageError` for anything else.
        """
        wanted = wanted or Filter()
        if by not in BY:
            raise UsageError(f"no statistics by {by!r}: {', '.join(BY)}")
        window = window_of(self._events, wanted)
        if by in ("event", "system"):
            return self._of_events(by, wanted, window)
        return self._of_turns(by, wanted, window) if not BY[by] else self._of_spans(by, wanted,
                                                                                   window)  # fmt: skip

    def _of_events(self, by: str, wanted: Filter, window: Window) -> pa.Table:
        events = self._events
        rows = self._choose(wanted)
        key, names = events.name_codes(rows).astype(np.int64), list(events.event_names)
        if by == "system":
            which, names = numbered([n.partition(":")[0] for n in names], np.arange(len(names)))
            key = which[key].astype(np.int64)
        boots = events.rows.boot[rows].astype(np.int64)
        timed = np.isin(boots, [b.index for b in events.boots if events.axis.timed(b.index)])
        apart = np.where(timed, boots, -1)
        ts = events.axis.ts_ns[rows]
        return intervals(key, names, apart, ts, rows, window.recorded_ns)

    def _of_turns(self, by: str, wanted: Filter, window: Window) -> pa.Table:
        table = self.turns(wanted)
        pid = _ints(table, "pid", -1)
        table = table.filter(as_arrow(pid >= 0 if by == "task" else pid > 0))
        if by == "cpu":
            key = _ints(table, "cpu").astype(np.int64)
            names = [f"cpu {n}" for n in range(int(key.max()) + 1 if len(key) else 0)]
        else:
            key, names = _tasks(table, self._many_boots)
        return self._durations(table, key, names, window)

    @property
    def _many_boots(self) -> bool:
        return len(self._events.boots) > 1

    def _of_spans(self, by: str, wanted: Filter, window: Window) -> pa.Table:
        every = self.spans(wanted)
        codes, kinds = _labels(every, "kind")
        of_kind = np.array([*(kind in BY[by] for kind in kinds), False])[codes]
        every = every.filter(as_arrow(of_kind))
        key, names = _labels(every, "kind" if by == "span" else "name")
        key = key.astype(np.int64)
        state, states = _labels(every, "state")
        is_open = np.array([*(name == "open" for name in states), False])[state]
        known = np.array(every["duration_ns"].is_valid().to_pylist(), bool)
        whole = every.filter(as_arrow(known))
        table = self._durations(whole, key[known], names, window, _ints(whole, "self_ns"))
        rest = sorted(set(key.tolist()) - set(key[known].tolist()))
        counts = {
            names[k]: (int(np.sum(is_open[key == k])), int(np.sum((~known & ~is_open)[key == k])))
            for k in sorted(set(key[~known].tolist()))
        }
        table = _with_unknown(table, [names[k] for k in rest])
        mine = [counts.get(name, (0, 0)) for name in table["name"].to_pylist()]
        table = table.append_column("open", pa.array([o for o, _ in mine], pa.int64()))
        return table.append_column("unpaired", pa.array([u for _, u in mine], pa.int64()))

    def _durations(
        self, table: pa.Table, key: _Array, names: list[str], window: Window,
        alone: _Array | None = None,
    ) -> pa.Table:  # fmt: skip
        """Statistics of the parts of spans or turns that lie in the window."""
        took = _ints(table, "duration_ns")
        start = _ints(table, "start_ns", -1 << 62)
        end = np.where(start > -1 << 62, start + took, start)
        inside = clip(start, end, window.since, window.until)
        if window.since is None and window.until is None:
            inside = replace(inside, which=np.arange(len(took)), length=took)
        rows, at = _ints(table, "row"), np.maximum(start, -1 << 62)
        mine = key[inside.which]
        made = durations(mine, names, inside.length, at[inside.which], rows[inside.which])
        made = made.append_column("rate", per_second(_ints(made, "count"), window.recorded_ns))
        place = {name: i for i, name in enumerate(made["name"].to_pylist())}
        group = np.array([place[names[k]] for k in mine.tolist()], np.int64)
        cut = np.array(table["cut"].to_pylist(), bool)[inside.which]
        made = made.append_column("cut", as_arrow(np.bincount(group[cut], minlength=len(made))))
        if alone is not None:
            own = np.zeros(len(made), np.int64)
            fits = inside.length == took[inside.which]
            np.add.at(own, group[fits], alone[inside.which][fits])
            made = made.append_column("self_ns", as_arrow(own))
        return made


def _ints(table: pa.Table, column: str, null: int = 0) -> _Array:
    values = table[column].combine_chunks()
    if values.null_count and null < 0:
        values = values.cast(pa.int64())
    return as_numpy(values, null)


def _labels(table: pa.Table, column: str) -> tuple[_Array, list[str]]:
    """(index of each row's name, -1 for null; the names)."""
    values = table[column].combine_chunks()
    return as_numpy(values.indices, -1), values.dictionary.to_pylist()


def _tasks(table: pa.Table, with_boot: bool) -> tuple[_Array, list[str]]:
    """The tasks of turns, as ``name-pid``, of each boot apart."""
    boot, pid = _ints(table, "boot").astype(np.int64), _ints(table, "pid").astype(np.int64)
    codes, comms = _labels(table, "comm")
    unique, first, key = np.unique(boot << 32 | pid, return_index=True, return_inverse=True)
    names = []
    for one, at in zip(unique.tolist(), first.tolist(), strict=True):
        comm = comms[codes[at]] if codes[at] >= 0 else _UNNAMED
        suffix = f" (boot {one >> 32})" if with_boot else ""
        names.append(f"{comm}-{one & 0xFFFFFFFF}{suffix}")
    return key.reshape(-1), names


def _with_unknown(table: pa.Table, names: list[str]) -> pa.Table:
    """With rows for what never ended: a count of 0, and nothing known of the time."""
    if not names:
        return table
    columns = {
        f.name: pa.array([0] * len(names), f.type) if f.name in ("count", "total_ns", "cut",
                                                                 "self_ns")
        else pa.nulls(len(names), f.type)
        for f in table.schema if f.name != "name"
    }  # fmt: skip
    more = pa.table({"name": pa.array(names).dictionary_encode(), **columns})
    more = more.select(table.column_names)
    return pa.concat_tables([table, more]).unify_dictionaries().combine_chunks()
