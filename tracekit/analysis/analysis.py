"""What ``Recording.analysis`` is: everything derived from the events of a session, as Arrow tables.

Each method takes a :class:`~tracekit.timeline.filter.Filter` and answers for that selection:

* A window (``since``, ``until``) is cut out: of what reaches beyond it, only the part inside counts
  in statistics; tables have whole rows.
* The other conditions choose events. A span is chosen by its first recorded event, a turn of a CPU
  by any event in it (the switch that ended it included), so that ``pid = 7`` chooses the turns of
  that task. States belong to tasks and CPUs, and are chosen by these alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.analysis.arguments import numbered
from tracekit.analysis.calls import bottom_up, call_tree, stack_tree
from tracekit.analysis.columns import dictionary, ints, labels, taken, whole, with_unknown
from tracekit.analysis.losses import Losses, losses_of
from tracekit.analysis.over_time import Cells, silences, timed_rows
from tracekit.analysis.pairs import KINDS_OF_SPANS
from tracekit.analysis.rows_of_events import marks_of, turns_with
from tracekit.analysis.scheduling.names import whose
from tracekit.analysis.scheduling.sums import sum_states
from tracekit.analysis.scheduling.tables import Scheduling, make_states, make_turns, make_wakeups
from tracekit.analysis.selected import (
    Choose,
    Resolve,
    Window,
    among_chosen,
    chosen,
    picked,
    window_of,
)
from tracekit.analysis.spans import Spans, spans_of
from tracekit.analysis.spilled import bounded
from tracekit.analysis.statistics import Piece, clip, durations, intervals, per_second
from tracekit.analysis.stretches import ENDLESS
from tracekit.errors import UsageError
from tracekit.ftrace.columns import as_arrow, as_mask, known
from tracekit.query.groups import Index
from tracekit.timeline.events import Events
from tracekit.timeline.filter import Filter
from tracekit.timeline.rows import numbers, pieces

__all__ = ["BY", "Analysis"]

_Array = npt.NDArray[Any]
_STRETCHES = 1_000_000
#: A table, which of its rows are meant, for each of those the index of its name, the names.
_Keyed = tuple[pa.Table, _Array, _Array, list[str]]
#: What statistics can be by, and the kinds of spans that each counts; none: events or turns.
BY: dict[str, tuple[str, ...]] = {
    "event": (), "system": (), "task": (), "cpu": (), "span": KINDS_OF_SPANS,
    **{kind.replace(" ", "-"): (kind,) for kind in KINDS_OF_SPANS},
}  # fmt: skip


def _check(by: str) -> None:
    if by not in BY:
        raise UsageError(f"no statistics by {by!r}: {', '.join(BY)}")


class Analysis:
    """Made when first asked for; a table is kept for the next question."""

    def __init__(
        self, events: Events, choose: Choose,
        resolve: Resolve,
        index: Index | None = None,
        losses: Losses | None = None,
    ) -> None:  # fmt: skip
        """``choose`` gives the rows that meet a filter, some at a time, ``resolve`` a filter with
        the times of what it names in ``since`` and ``until``. ``index`` and ``losses`` where they
        are known already, as of a session that was indexed.
        """
        self._events, self._choose, self._resolve = events, choose, resolve
        self._index = index or Index(events)
        self._given_losses = losses

    def __len__(self) -> int:
        return len(self._events)

    @cached_property
    def losses(self) -> Losses:
        """When events of a CPU were lost."""
        return losses_of(self._events) if self._given_losses is None else self._given_losses

    def _window(self, wanted: Filter) -> Window:
        return window_of(self._events, self._resolve(wanted))

    @cached_property
    def _spans(self) -> Spans:
        return spans_of(self._events, self._index, self.losses)

    @cached_property
    def _scheduling(self) -> Scheduling:
        return Scheduling(self._events, self._index, self.losses)

    @cached_property
    def _turns(self) -> pa.Table:
        return make_turns(self._scheduling)

    # -- tables -------------------------------------------------------------------------------

    @bounded
    def spans(self, wanted: Filter | None = None) -> pa.Table:
        """What began and ended: :func:`~tracekit.analysis.spans.spans_of` has the columns."""
        every, some = self._spans.named, wanted or Filter()
        return every if some == Filter() else taken(every, np.flatnonzero(self._chosen(some)))

    @bounded
    def turns(self, wanted: Filter | None = None) -> pa.Table:
        """What each CPU ran; columns: :func:`~tracekit.analysis.scheduling.tables.make_turns`."""
        every, some = self._turns, wanted or Filter()
        return every if some == Filter() else taken(every, self._ran(some))

    @bounded
    def states(self, wanted: Filter | None = None) -> pa.Table:
        """What tasks did; columns: :func:`~tracekit.analysis.scheduling.tables.make_states`."""
        return self._of_tasks(make_states(self._scheduling), wanted or Filter())

    @bounded
    def wakeups(self, wanted: Filter | None = None) -> pa.Table:
        """From wakeups to switches: :func:`~tracekit.analysis.scheduling.tables.make_wakeups`."""
        return self._of_tasks(make_wakeups(self._scheduling), wanted or Filter())

    @bounded
    def calls(self, wanted: Filter | None = None, *, upwards: bool = False) -> pa.Table:
        """The calls of the function graph as a tree: :func:`~tracekit.analysis.calls.call_tree`.

        ``upwards``: from each function to its callers (:func:`~tracekit.analysis.calls.bottom_up`).
        A call belongs to a selection by its own entry; in a window only those count whole that
        begin in it.
        """
        mine, table = self._spans.of_kinds("function"), self._spans.table
        if wanted is not None:
            marks = marks_of(self._events, self._choose(wanted))
            mine &= among_chosen(ints(table, "row"), marks)
        calls = np.flatnonzero(mine)
        tree = call_tree(table, calls, self._spans.names(calls))
        return bottom_up(tree) if upwards else tree

    @bounded
    def stacks(
        self, wanted: Filter | None = None, *, upwards: bool = False, user: bool = False
    ) -> pa.Table:  # fmt: skip
        """The stack traces as a tree: :func:`~tracekit.analysis.calls.stack_tree`.

        ``user``: those of user space, whose functions are addresses.
        """
        name = "ftrace:user_stack" if user else "ftrace:kernel_stack"
        events, rows = self._events, [np.empty(0, np.int64)]
        code = events.event_names.index(name) if name in events.event_names else -1
        for some in self._choose(wanted or Filter()):
            rows.append(numbers(some)[events.name_codes(some) == code])
        tree = stack_tree(events, np.concatenate(rows))
        return bottom_up(tree) if upwards else tree

    def _of_tasks(self, table: pa.Table, wanted: Filter) -> pa.Table:
        if wanted.where or wanted.events or wanted.grep:
            raise UsageError(
                "states and wakeups belong to tasks: choose them by boot, CPU, pid, task name and"
                " time, not by event, --where or --grep"
            )
        keep = self._in_window(table, wanted)
        for column, allowed in (("boot", wanted.boots), ("cpu", wanted.cpus), ("pid", wanted.pids)):
            if allowed:
                keep &= np.isin(ints(table, column, -1), list(allowed))
        if wanted.comms:
            codes, names = labels(table, "comm")
            keep &= np.array([wanted.wants_comm(name) for name in [*names, None]])[codes]
        return table if keep.all() else taken(table, np.flatnonzero(keep))

    def _chosen(self, wanted: Filter) -> _Array:
        """Which spans belong to a selection."""
        table = self._spans.table
        keep = self._in_window(table, wanted)
        return keep & among_chosen(ints(table, "row"), chosen(self._events, self._choose, wanted))

    def _in_window(self, table: pa.Table, wanted: Filter) -> _Array:
        """Which rows lie in the window, in part at least. What never ended lasts on."""
        window = self._window(wanted)
        if not window.limited:
            return np.ones(len(table), bool)
        start, end = ints(table, "start_ns", -ENDLESS), ints(table, "end_ns", ENDLESS)
        boot, inside = ints(table, "boot"), np.zeros(len(table), bool)
        inside[clip(start, end, window.since[boot], window.until[boot]).which] = True
        return inside

    def _ran(self, wanted: Filter) -> _Array:
        """The turns of a selection, by their number."""
        table, marks = self._turns, chosen(self._events, self._choose, wanted)
        inside = np.flatnonzero(self._in_window(table, wanted))
        if marks is None:
            return inside
        hit = turns_with(self._events, self._index, table, marks)
        ran: _Array = inside[hit[inside]]
        return ran

    # -- statistics ---------------------------------------------------------------------------

    @bounded
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
        _check(by)
        window = self._window(wanted)
        if by in ("event", "system"):
            return self._of_events(by, wanted, window)
        make = self._of_spans if BY[by] else self._of_turns
        return make(by, wanted, window)

    def _of_events(self, by: str, wanted: Filter, window: Window) -> pa.Table:
        events, (names, table) = self._events, self._event_labels(by)
        rows, ts_ns = events.rows, events.axis.ts_ns
        part, fits = picked(events, self._choose, self._resolve(wanted))

        def some() -> Iterator[Piece]:
            for at in pieces(part.stop, part.start):
                mask = None if fits is None else fits(at)
                yield Piece(at.start, mask, rows.kind[at], ts_ns[at], rows.boot[at])

        every = ts_ns, rows.boot
        return intervals(names, table, some, every, events.timed_boots, window.recorded_ns)

    def _event_labels(self, by: str) -> tuple[list[str], _Array]:
        """(what events count for, the index in it of each of the kinds, int32)."""
        labels = [
            k.name.partition(":")[0] if by == "system" else k.name for k in self._events.kinds
        ]
        which, names = numbered(labels, np.arange(len(labels)))
        return names, which

    def _of_turns(self, by: str, wanted: Filter, window: Window) -> pa.Table:
        table, which, key, names = self._turn_keys(by, wanted)
        return self._durations(table, which, key, names, window)

    def _turn_keys(self, by: str, wanted: Filter) -> _Keyed:
        table = self.turns(wanted)
        pid = ints(table, "pid", -1)
        which = np.flatnonzero(pid >= 0 if by == "task" else pid > 0)
        key, names = whose(table, by, len(self._events.boots) > 1)
        return table, which, key[which], names

    def _of_spans(self, by: str, wanted: Filter, window: Window) -> pa.Table:
        every, which, key, names = self._span_keys(by, wanted)
        state, states = labels(every, "state")
        is_open = np.array([*(name == "open" for name in states), False])[state[which]]
        told = known(whole(every, "duration_ns"))[which]
        table = self._durations(every, which[told], key[told], names, window, alone=True)
        there, timed, opened, unpaired = (
            np.bincount(key[mine], minlength=len(names))
            for mine in (slice(None), told, is_open, ~told & ~is_open)
        )
        never = np.flatnonzero((there > 0) & (timed == 0)).tolist()
        table = with_unknown(table, [names[k] for k in never])
        place = {name: number for number, name in enumerate(names)}
        mine = np.array([place[name] for name in table["name"].to_pylist()], np.int64)
        for name, counts in (("open", opened), ("unpaired", unpaired)):
            table = table.append_column(name, as_arrow(counts[mine]))
        return table

    def _span_keys(self, by: str, wanted: Filter) -> _Keyed:
        spans, mine = self._spans, self._spans.of_kinds(*BY[by])
        if wanted != Filter():
            mine &= self._chosen(wanted)
        which = np.flatnonzero(mine)
        if by != "span":
            return spans.table, which, *spans.names(which)
        codes, kinds = labels(spans.table, "kind")
        return spans.table, which, codes[which], kinds

    def _durations(
        self, table: pa.Table, which: _Array, key: _Array, names: list[str], window: Window,
        *, alone: bool = False,
    ) -> pa.Table:  # fmt: skip
        """Statistics of the parts of spans or turns that lie in the window.

        ``which``: of the table's rows, and for each its key; ``alone``: their own time, too.
        """

        def column(name: str, null: int = 0) -> _Array:  # one at a time: they may be millions
            values: _Array = ints(table, name, null)[which]
            return values

        length = took = column("duration_ns")
        if window.limited:
            start, boot = column("start_ns", -ENDLESS), column("boot")
            inside = clip(start, start + took, window.since[boot], window.until[boot])
            which, key, length = which[inside.which], key[inside.which], inside.length
            took = took[inside.which]
        made = durations(key, names, length, column("start_ns", -ENDLESS), column("row"))
        made = made.append_column("rate", per_second(ints(made, "count"), window.recorded_ns))
        group = np.zeros(len(names), np.int64)
        group[labels(made, "name")[0]] = np.arange(len(made))
        cut = as_mask(whole(table, "cut"))[which]
        counts = np.bincount(group[key[cut]], minlength=len(made))
        made = made.append_column("cut", as_arrow(counts))
        if alone:
            own = np.zeros(len(made), np.int64)
            fits = length == took
            np.add.at(own, group[key[fits]], column("self_ns")[fits])
            made = made.append_column("self_ns", as_arrow(own))
        return made

    @bounded
    def latency(self, by: str = "task", wanted: Filter | None = None) -> pa.Table:
        """Wakeup latencies by ``task``, ``cpu`` (where it ran) or ``waker``: the columns of
        :func:`~tracekit.analysis.statistics.durations`. A wakeup is in a window if the wait is in
        it in part, and counts whole.
        """
        table = self.wakeups(wanted)
        key, names = whose(table, by, len(self._events.boots) > 1)
        start, took = ints(table, "start_ns"), ints(table, "duration_ns")
        return durations(key, names, took, start, ints(table, "row"))

    @bounded
    def time_in_states(self, wanted: Filter | None = None) -> pa.Table:
        """How long each task was in each state, the longest running first.

        ``boot``, ``pid``, ``comm``, ``turns`` (int64: times on a CPU), ``running_ns``,
        ``runnable_ns``, ... (int64; one for each of
        :data:`~tracekit.analysis.scheduling.task_states.STATES` but ``dead``; cut by the window),
        ``unknown_ns`` (int64: between the first and the last that is known of the task).
        """
        wanted = wanted or Filter()
        window = self._window(wanted)
        return sum_states(self.states(wanted), window.since, window.until)

    # -- over time ----------------------------------------------------------------------------

    @bounded
    def gaps(self, longer_ns: int, wanted: Filter | None = None) -> pa.Table:
        """Where no chosen event is on a CPU for longer than that, from one to the next; the
        longest first.

        ``boot`` (uint8), ``cpu`` (uint16), ``start_ns``, ``end_ns``, ``duration_ns`` (int64),
        ``cut`` (bool: events were lost there, so it is no silence), ``row``, ``end_row`` (int64).
        """
        return silences(self._events, self._choose(wanted or Filter()), longer_ns, self.losses)

    @bounded
    def rates(self, by: str, every_ns: int, wanted: Filter | None = None) -> pa.Table:
        """How many began in each stretch of ``every_ns`` of the axis, by what ``by`` says.

        ``start_ns`` (int64, a multiple of ``every_ns``), ``name``, ``count`` and, of spans and
        turns, ``total_ns`` (int64: how long those took that began there). A stretch without any is
        not listed. Raises :class:`~tracekit.errors.UsageError` for more than a million stretches.
        """
        wanted = wanted or Filter()
        _check(by)
        window = self._window(wanted)
        if every_ns < 1 or window.recorded_ns // every_ns > _STRETCHES:
            raise UsageError(f"more than {_STRETCHES:,} stretches of time: make them longer")
        sums, names, timed = self._began(by, wanted, Cells(every_ns))
        start, keys, count, total = sums
        columns = {
            "start_ns": as_arrow(start),
            "name": dictionary((keys.astype(np.int32), names)),
            "count": as_arrow(count),
        }
        return pa.table(columns | ({"total_ns": as_arrow(total)} if timed else {}))

    def _began(
        self, by: str, wanted: Filter, cells: Cells
    ) -> tuple[tuple[_Array, ...], list[str], bool]:
        """(the sums of the cells, the names of keys, whether what began takes time)."""
        if by in ("event", "system"):
            names, table = self._event_labels(by)
            for some in self._choose(wanted):
                rows = timed_rows(self._events, some)
                cells.add(table[self._events.rows.kind[rows]], self._events.axis.ts_ns[rows])
            return cells.sums(), names, False
        made = self._span_keys if BY[by] else self._turn_keys
        table, which, key, names = made(by, wanted)
        start, boot = ints(table, "start_ns", -ENDLESS)[which], ints(table, "boot")[which]
        window = self._window(wanted)
        mine = np.flatnonzero(
            (start > -ENDLESS) & (start >= window.since[boot]) & (start <= window.until[boot])
        )
        took = ints(table, "duration_ns")[which[mine]]
        cells.add(key[mine], start[mine], np.maximum(took, 0))
        return cells.sums(), names, True
