"""Evaluates expressions of :mod:`.expr`: which events meet one, many rows at a time.

The cheapest conditions run first: on columns, then on arguments (only the one needed is decoded),
then on rendered text. Each runs only on the rows that the ones before it left undecided.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.ftrace.columns import as_mask, as_numpy
from tracekit.query.calculated import calculated, since_before
from tracekit.query.check import Names, argument_names, check, read, sought
from tracekit.query.compare import (
    is_negated,
    number_mask,
    ordered,
    text_test,
)
from tracekit.query.expr import (
    ARGUMENT,
    AllOf,
    Calc,
    Compare,
    Contains,
    Expr,
    Not,
    Value,
    column_of,
    is_date,
)
from tracekit.query.sums import Sum, names_in
from tracekit.timeline.checks import check_below
from tracekit.timeline.events import Events
from tracekit.timeline.rows import length_of
from tracekit.timeline.saved.bpf_format import source_of
from tracekit.timeline.when.moments import on_axis

__all__ = ["Matcher", "Names", "argument_names", "check", "matches", "read", "sought"]
__all__ += ["wanted_events"]

_Array = npt.NDArray[Any]
_Rows = npt.NDArray[Any] | slice  # ascending indices, or a slice start:stop
_TABLE, _PID, _FIELD, _TEXT = range(4)  # what a condition costs, the cheapest first
_MOST = (1 << 20, 1 << 20, 1 << 17, 1 << 14)  # rows that take some milliseconds, by cost


class _Test(NamedTuple):
    cost: int
    run: Callable[[_Rows], _Array]


# -- evaluating -----------------------------------------------------------------------------------


def _asks_words(compare: Compare) -> tuple[Value, ...]:
    """The values that are compared with the word the kernel prints for a number."""
    return tuple(v for v in compare.values if v.number is None or "~" in compare.op)


def _rows_at(rows: _Rows, which: _Array) -> _Array:
    """The rows at the positions ``which`` of ``rows``."""
    selected: _Array = which + rows.start if isinstance(rows, slice) else rows[which]
    return selected


class Matcher:
    """An expression compiled for the events of one session."""

    def __init__(self, events: Events, expr: Expr) -> None:
        """``expr`` has passed :func:`check`."""
        self._events = events
        self._test = self._made(expr)
        #: How many rows to ask for at once: that takes some milliseconds if all must be decoded.
        self.most = _MOST[self._test.cost]

    def at(self, at: _Rows) -> _Array:
        """Which of the rows ``at`` (ascending indices, or a slice ``start:stop``) match: a mask."""
        return self._test.run(at)

    def _made(self, expr: Expr) -> _Test:
        if isinstance(expr, Compare):
            return self._compare(expr)
        if isinstance(expr, Calc):
            decodes = any(
                column_of(n.name) is None for n in names_in(Sum(expr.left, "-", expr.right))
            )
            run = calculated(self._events, expr, argument_names(self._events))
            return _Test(_FIELD if decodes else _TABLE, run)
        if isinstance(expr, Contains):
            return self._contains(expr.text)
        if isinstance(expr, Not):
            inner = self._made(expr.term)
            return _Test(inner.cost, lambda rows: ~inner.run(rows))
        tests = sorted((self._made(term) for term in expr.terms), key=lambda test: test.cost)
        return _in_turn(tests, all_of=isinstance(expr, AllOf))

    # -- columns ------------------------------------------------------------------------------

    def _compare(self, compare: Compare) -> _Test:
        column = column_of(compare.name)
        if column is None:
            words = _asks_words(compare)
            return _Test(_TEXT if words else _FIELD, self._argument(compare))
        if column == "args":
            return _Test(_TEXT, self._rendered(text_test(compare), is_negated(compare)))
        if column == "comm":
            return _Test(_PID, self._tasks(text_test(compare), is_negated(compare)))
        kinds = self._events.kinds
        if column == "event":
            return self._of_kind(_asked_for(compare, [kind.name for kind in kinds]))
        if column in {"system", "source"}:
            system = column == "system"
            texts = [k.name.partition(":")[0] if system else source_of(k.id) for k in kinds]
            return self._of_kind(text_test(compare)(texts) ^ is_negated(compare))
        return _Test(_TABLE, self._number(compare, column))

    def _number(self, compare: Compare, column: str) -> Callable[[_Rows], _Array]:
        events, columns, negated = self._events, self._events.rows, is_negated(compare)
        if column == "delta":

            def run(rows: _Rows) -> _Array:
                since, known = since_before(events, rows)
                return (number_mask(compare, since) ^ negated) & known

            return run
        if column == "ts":
            return self._times(compare, negated)
        values = getattr(columns, "ts_raw" if column == "raw" else column)
        return lambda rows: number_mask(compare, values[rows]) ^ negated

    def _times(self, compare: Compare, negated: bool) -> Callable[[_Rows], _Array]:
        """Times from the jump, and dates: those are another time in each boot."""
        events = self._events
        values, boots = events.axis.ts_ns, events.rows.boot
        if not any(is_date(compare.name, value) for value in compare.values):
            return lambda rows: number_mask(compare, values[rows]) ^ negated
        by_boot = {boot.index: self._dated(compare, boot.index) for boot in events.boots}

        def run(rows: _Rows) -> _Array:
            mask, mine, times = np.zeros(length_of(rows), bool), boots[rows], values[rows]
            for boot, dated in by_boot.items():
                where = mine == boot
                mask[where] = number_mask(dated, times[where])
            return mask ^ negated

        return run

    def _dated(self, compare: Compare, boot: int) -> Compare:
        """The comparison with its dates as times of one boot.

        Raises :class:`~tracekit.errors.UsageError` where a boot's wall clock is not known.
        """
        events = self._events
        values = []
        for value in compare.values:
            ns = value.number
            if is_date(compare.name, value):
                limits = on_axis(value.text, events.axis, events.boots, events.walls)
                ns = int(limits if isinstance(limits, int) else limits[boot])
            values.append(replace(value, number=ns))
        return replace(compare, values=tuple(values))

    def _of_kind(self, wanted: _Array) -> _Test:
        return _Test(_TABLE, self._kinds(wanted))

    def _kinds(self, table: _Array) -> Callable[[_Rows], _Array]:
        columns = self._events.rows

        def run(rows: _Rows) -> _Array:
            kinds = columns.kind[rows]
            if not len(kinds):
                return np.zeros(0, bool)
            check_below(kinds, len(table), "events")
            mask: _Array = table[kinds]
            return mask

        return run

    def _tasks(
        self, test: Callable[[Sequence[str]], _Array], negated: bool
    ) -> Callable[[_Rows], _Array]:
        """By the task's name, '' if it is unknown."""
        codes, names = self._events.comm_codes
        table = test([*names, ""]) ^ negated

        def run(rows: _Rows) -> _Array:
            mine = codes[rows]
            check_below(mine + 1, len(table), "tasks")
            mask: _Array = table[mine]
            return mask

        return run

    # -- arguments ----------------------------------------------------------------------------

    def _argument(self, compare: Compare) -> Callable[[_Rows], _Array]:
        name = compare.name.removeprefix(ARGUMENT)
        every = argument_names(self._events)
        has = self._kinds(np.array([name in names for names in every], bool))

        def run(rows: _Rows) -> _Array:
            mask = np.zeros(length_of(rows), bool)
            where = np.flatnonzero(has(rows))
            if len(where):
                mine = _rows_at(rows, where)
                for part, values in self._events.values(mine, name):
                    mask[where[part]] = self._field(compare, name, values, mine[part])
            return mask

        return run

    def _field(self, compare: Compare, name: str, values: pa.Array, rows: _Array) -> _Array:
        """Which of an argument's values match; one that is missing from its record never does."""
        negated = is_negated(compare)
        if pa.types.is_string(values.type):
            if ordered(compare):
                return np.zeros(len(rows), bool)
            coded = values.dictionary_encode()
            table = text_test(compare)(coded.dictionary.to_pylist()) ^ negated
            answers: _Array = np.append(table, False)[as_numpy(coded.indices, len(table))]
            return answers
        mask, known = np.zeros(len(rows), bool), as_mask(values.is_valid())
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.uint8())
        if pa.types.is_integer(values.type):
            mask = number_mask(compare, as_numpy(values)) & known
        if named := _asks_words(compare):
            words, codes = self._printed(name, rows)
            mask |= text_test(replace(compare, values=named))(words)[codes]
            known &= np.array([bool(word) for word in words])[codes]
        return ~mask & known if negated else mask

    def _printed(self, name: str, rows: _Array) -> tuple[list[str], _Array]:
        """(the words that stand behind ``name=`` in the rendered arguments, which of them each).

        A state, a symbol or a set of flags is a number in the record and a word in the text.
        """
        behind = re.compile(rf"(?:^|[\s,]){re.escape(name)}[=:]\s*([^\s,]+)")
        rendered = self._events.render(self._events.rows.take(rows))
        words = (behind.search(text) for text in rendered.dictionary.to_pylist())
        return [m[1] if m else "" for m in words], as_numpy(rendered.indices)

    # -- rendered text ------------------------------------------------------------------------

    def _rendered(
        self, test: Callable[[Sequence[str]], _Array], negated: bool
    ) -> Callable[[_Rows], _Array]:
        def run(rows: _Rows) -> _Array:
            if not length_of(rows):
                return np.zeros(0, bool)
            rendered = self._events.render(self._events.rows.take(rows))
            table: _Array = test(rendered.dictionary.to_pylist())
            mask: _Array = table[as_numpy(rendered.indices)] ^ negated
            return mask

        return run

    def _contains(self, text: str) -> _Test:
        sought = text.casefold()

        def test(texts: Iterable[str]) -> _Array:
            return np.array([sought in one.casefold() for one in texts], bool)

        by_name = self._of_kind(test([kind.name for kind in self._events.kinds]))
        by_task = _Test(_PID, self._tasks(test, negated=False))
        by_text = _Test(_TEXT, self._rendered(test, negated=False))
        return _in_turn([by_name, by_task, by_text], all_of=False)


def _in_turn(tests: Sequence[_Test], *, all_of: bool) -> _Test:
    """All of the tests, or any; each runs only on the rows that are still undecided."""

    def run(rows: _Rows) -> _Array:
        mask = np.full(length_of(rows), all_of)
        open_ = None  # undecided positions in mask; None: all
        for test in tests:
            if open_ is None:
                answers = test.run(rows)
                mask[:] = answers
            else:
                answers = test.run(_rows_at(rows, open_))
                mask[open_] = answers
            left = np.flatnonzero(answers == all_of)
            open_ = left if open_ is None else open_[left]
            if not len(open_):
                break
        return mask

    return _Test(max((test.cost for test in tests), default=_TABLE), run)


def _asked_for(compare: Compare, names: Sequence[str]) -> _Array:
    """Which of some events (``system:name``) match a comparison of the column ``event``."""
    test = text_test(compare)
    hits = test(names) | test([name.partition(":")[2] for name in names])
    return hits ^ is_negated(compare)


def wanted_events(compare: Compare, events: Events) -> list[int]:
    """The indices in ``events.event_names`` of the events that match ``compare``."""
    wanted: list[int] = np.flatnonzero(_asked_for(compare, events.event_names)).tolist()
    return wanted


def matches(events: Events, expr: Expr, at: _Array) -> _Array:
    """Which of the rows ``at`` (ascending indices) meet ``expr``: a mask."""
    return Matcher(events, expr).at(at)
