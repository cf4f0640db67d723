"""Which events meet an expression of :mod:`.expr`, many rows at a time.

Conditions on columns come first, then arguments, of which only the one asked for is decoded, and
last what has to be rendered; each is asked only for the rows that the ones before it left open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracekit.ftrace.columns import as_numpy
from tracekit.query.compare import (
    as_mask,
    is_negated,
    number_mask,
    ordered,
    regex_error,
    text_test,
)
from tracekit.query.expr import (
    ARGUMENT,
    COLUMNS,
    NUMBERS,
    AllOf,
    Compare,
    Contains,
    Expr,
    Not,
    QueryError,
    Value,
    column_of,
    comparisons,
    parse,
)
from tracekit.timeline.bpf_format import source_of
from tracekit.timeline.checks import check_below
from tracekit.timeline.events import Events

__all__ = ["Matcher", "Names", "argument_names", "check", "matches", "read", "sought"]
__all__ += ["wanted_events"]

_Array = npt.NDArray[Any]
_Rows = npt.NDArray[Any] | slice  # which rows: ascending indices, or a stretch start:stop
_TABLE, _PID, _FIELD, _TEXT = range(4)  # what a condition costs: the least first
_MOST = (1 << 20, 1 << 20, 1 << 17, 1 << 14)  # rows of each cost that take some milliseconds


class _Test(NamedTuple):
    cost: int
    run: Callable[[_Rows], _Array]


@dataclass(frozen=True)
class Names:
    """The arguments' names that a comparison may use, and the events there are."""

    arguments: frozenset[str]
    events: tuple[str, ...]

    @classmethod
    def of(cls, events: Events) -> Names:
        """The names in the formats of the events that occur."""
        arguments = frozenset[str]().union(*argument_names(events))
        return cls(arguments, tuple(events.event_names))


def argument_names(events: Events) -> list[frozenset[str]]:
    """The names of the arguments of each of ``events.kinds``."""
    formats = [events.boot(kind.boot).format(kind.id) for kind in events.kinds]
    return [frozenset(f.name for f in fmt.fields) if fmt else frozenset() for fmt in formats]


# -- reading --------------------------------------------------------------------------------------


def read(text: str, names: Names) -> Expr:
    """The expression ``text``; :class:`QueryError` where it makes no sense for these names."""
    expr = parse(text)
    check(expr, names, text)
    return expr


def check(expr: Expr, names: Names, text: str) -> None:
    """Raise :class:`QueryError` where ``expr``, parsed from ``text``, names what is not there."""
    for compare in comparisons(expr):
        column = column_of(compare.name)
        if column is None:
            _check_argument(compare, names, text)
        else:
            _check_column(compare, column, text)
        for value in compare.values:
            if value.is_regex and (error := regex_error(value.text)):
                raise QueryError(text, value.start, value.end, error)


def _check_argument(compare: Compare, names: Names, text: str) -> None:
    name = compare.name.removeprefix(ARGUMENT)
    if name in names.arguments:
        return
    known = [*names.arguments, *(() if compare.name.startswith(ARGUMENT) else COLUMNS)]
    close = get_close_matches(name, sorted(known), 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    what = f"no column or argument {name!r} in this session{hint}"
    raise QueryError(text, compare.start, compare.start + len(compare.name), what)


def _check_column(compare: Compare, column: str, text: str) -> None:
    end = compare.start + len(compare.name)
    if column in NUMBERS:
        if "~" in compare.op:
            what = f"{compare.op} compares texts, and {compare.name} is a number: use = or in"
            raise QueryError(text, compare.start, end, what)
        for value in compare.values:
            if value.number is None:
                what = f"{compare.name} is a number; found {value.text!r}"
                raise QueryError(text, value.start, value.end, what)
    elif ordered(compare):
        what = f"{compare.op} compares numbers, and {compare.name} is a text: use = or ~"
        raise QueryError(text, compare.start, end, what)


def sought(text: str, names: Names) -> Expr:
    """What a search for ``text`` looks for: an expression if it compares, else the text itself."""
    try:
        expr = read(text, names)
    except QueryError:
        return Contains(text.strip())
    return expr if any(comparisons(expr)) else Contains(text.strip())


# -- evaluating -----------------------------------------------------------------------------------


def _size(at: _Rows) -> int:
    return at.stop - at.start if isinstance(at, slice) else len(at)


def _asks_words(compare: Compare) -> tuple[Value, ...]:
    """The values that a number can only equal by the word that the kernel prints for it."""
    return tuple(v for v in compare.values if v.number is None or "~" in compare.op)


def _some(at: _Rows, which: _Array) -> _Array:
    """The rows at the positions ``which`` of ``at``."""
    rows: _Array = which + at.start if isinstance(at, slice) else at[which]
    return rows


class Matcher:
    """An expression made ready for the events of one session."""

    def __init__(self, events: Events, expr: Expr) -> None:
        """``expr`` has passed :func:`check`."""
        self._events = events
        self._test = self._made(expr)
        #: How many rows may be asked for at once without taking long, if each has to be decoded.
        self.most = _MOST[self._test.cost]

    def at(self, at: _Rows) -> _Array:
        """Which of the rows at ``at`` (ascending indices, or a slice ``start:stop``): a mask."""
        return self._test.run(at)

    def _made(self, expr: Expr) -> _Test:
        if isinstance(expr, Compare):
            return self._compare(expr)
        if isinstance(expr, Contains):
            return self._contains(expr.text)
        if isinstance(expr, Not):
            inner = self._made(expr.term)
            return _Test(inner.cost, lambda at: ~inner.run(at))
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
        rows = self._events.rows
        values = (
            self._events.axis.ts_ns
            if column == "ts"
            else getattr(rows, "ts_raw" if column == "raw" else column)
        )
        negated = is_negated(compare)
        return lambda at: number_mask(compare, values[at]) ^ negated

    def _of_kind(self, wanted: _Array) -> _Test:
        return _Test(_TABLE, self._kinds(wanted))

    def _kinds(self, table: _Array) -> Callable[[_Rows], _Array]:
        rows = self._events.rows

        def run(at: _Rows) -> _Array:
            kinds = rows.kind[at]
            if not len(kinds):
                return np.zeros(0, bool)
            check_below(kinds, len(table), "events")
            mask: _Array = table[kinds]
            return mask

        return run

    def _tasks(
        self, test: Callable[[Sequence[str]], _Array], negated: bool
    ) -> Callable[[_Rows], _Array]:
        """By the task's name; '' where nobody knows it."""
        codes, names = self._events.comm_codes
        table = test([*names, ""]) ^ negated

        def run(at: _Rows) -> _Array:
            mine = codes[at]
            check_below(mine + 1, len(table), "tasks")
            mask: _Array = table[mine]
            return mask

        return run

    # -- arguments ----------------------------------------------------------------------------

    def _argument(self, compare: Compare) -> Callable[[_Rows], _Array]:
        name = compare.name.removeprefix(ARGUMENT)
        every = argument_names(self._events)
        has = self._kinds(np.array([name in names for names in every], bool))

        def run(at: _Rows) -> _Array:
            mask = np.zeros(_size(at), bool)
            where = np.flatnonzero(has(at))
            if len(where):
                found = _some(at, where)
                for part, values in self._events.values(found, name):
                    mask[where[part]] = self._field(compare, name, values, found[part])
            return mask

        return run

    def _field(self, compare: Compare, name: str, values: pa.Array, at: _Array) -> _Array:
        """Which of an argument's values; a value that is not in its record is none of them."""
        negated = is_negated(compare)
        if pa.types.is_string(values.type):
            if ordered(compare):
                return np.zeros(len(at), bool)
            coded = values.dictionary_encode()
            table = text_test(compare)(coded.dictionary.to_pylist()) ^ negated
            answers: _Array = np.append(table, False)[as_numpy(coded.indices, len(table))]
            return answers
        mask, known = np.zeros(len(at), bool), as_mask(values.is_valid())
        if pa.types.is_boolean(values.type):
            values = values.cast(pa.uint8())
        if pa.types.is_integer(values.type):
            mask = number_mask(compare, as_numpy(values)) & known
        if named := _asks_words(compare):
            words, codes = self._printed(name, at)
            mask |= text_test(replace(compare, values=named))(words)[codes]
            known &= np.array([bool(word) for word in words])[codes]
        return ~mask & known if negated else mask

    def _printed(self, name: str, at: _Array) -> tuple[list[str], _Array]:
        """(the words that stand behind ``name=`` in the rendered arguments, which of them each).

        A state, a symbol or a set of flags is a number in the record and a word in the text.
        """
        behind = re.compile(rf"(?:^|[\s,]){re.escape(name)}[=:]\s*([^\s,]+)")
        rendered = self._events.render(self._events.rows.take(at))
        found = (behind.search(text) for text in rendered.dictionary.to_pylist())
        return [m[1] if m else "" for m in found], as_numpy(rendered.indices)

    # -- rendered text ------------------------------------------------------------------------

    def _rendered(
        self, test: Callable[[Sequence[str]], _Array], negated: bool
    ) -> Callable[[_Rows], _Array]:
        def run(at: _Rows) -> _Array:
            if not _size(at):
                return np.zeros(0, bool)
            rendered = self._events.render(self._events.rows.take(at))
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
    """All of the tests, or any; each is asked only for the rows that are still open."""

    def run(at: _Rows) -> _Array:
        mask = np.full(_size(at), all_of)
        open_ = None  # positions in mask; None: all
        for test in tests:
            if open_ is None:
                answers = test.run(at)
                mask[:] = answers
            else:
                answers = test.run(_some(at, open_))
                mask[open_] = answers
            left = np.flatnonzero(answers == all_of)
            open_ = left if open_ is None else open_[left]
            if not len(open_):
                break
        return mask

    return _Test(max((test.cost for test in tests), default=_TABLE), run)


def _asked_for(compare: Compare, names: Sequence[str]) -> _Array:
    """Which of some events (``system:name``) a comparison of the column ``event`` asks for."""
    test = text_test(compare)
    hits = test(names) | test([name.partition(":")[2] for name in names])
    return hits ^ is_negated(compare)


def wanted_events(compare: Compare, events: Events) -> list[int]:
    """The indices of those of ``events.event_names`` that :func:`_asked_for` tells."""
    wanted: list[int] = np.flatnonzero(_asked_for(compare, events.event_names)).tolist()
    return wanted


def matches(events: Events, expr: Expr, at: _Array) -> _Array:
    """Which of the rows at ``at`` (ascending indices) meet ``expr``: a mask."""
    return Matcher(events, expr).at(at)
