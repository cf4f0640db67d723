"""Checks expressions of :mod:`.expr` against the names that a session has."""

from __future__ import annotations

from difflib import get_close_matches
from typing import NoReturn

from tracekit.frozen import dataclass
from tracekit.query.compare import ordered, regex_error
from tracekit.query.expr import (
    ARGUMENT,
    COLUMNS,
    NUMBERS,
    TIMES,
    Calc,
    Compare,
    Contains,
    Expr,
    QueryError,
    Value,
    calculations,
    column_of,
    comparisons,
    is_date,
    parse,
)
from tracekit.query.sums import Sum, bare_beside_times, names_in
from tracekit.timeline.events import Events

__all__ = ["Names", "argument_names", "check", "read", "sought"]


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
    """Parse and check ``text``; :class:`QueryError` if it is invalid for these names."""
    expr = parse(text)
    check(expr, names, text)
    return expr


def check(expr: Expr, names: Names, text: str) -> None:
    """Raise :class:`QueryError` if ``expr``, parsed from ``text``, uses an unknown name."""
    for compare in comparisons(expr):
        column = column_of(compare.name)
        if column is None:
            _check_argument(compare.name, compare.start, names, text)
        else:
            _check_column(compare, column, text)
        for value in compare.values:
            if value.is_regex and (error := regex_error(value.text)):
                raise QueryError(text, value.start, value.end, error)
    for calc in calculations(expr):
        _check_calculation(calc, names, text)


def _check_calculation(calc: Calc, names: Names, text: str) -> None:
    whole = Sum(calc.left, "-", calc.right)
    for name in names_in(whole):
        column = column_of(name.name)
        if column is None:
            _check_argument(name.name, name.start, names, text)
        elif column not in NUMBERS:
            problem = f"{name.name} is a text: there is no sum of it"
            raise QueryError(text, name.start, name.start + len(name.name), problem)
    for number in bare_beside_times(whole, _is_time):
        _ask_unit("that", number.text, number.start, text)


def _is_time(name: str) -> bool:
    """Whether it is a time, and does not say its unit itself."""
    return column_of(name) in TIMES and name != "ts_ns"


def _ask_unit(name: str, number: str, start: int, text: str) -> NoReturn:
    problem = (
        f"{number} of which unit? {name} is a time: {number}s, {number}ms, {number}us or {number}ns"
    )
    raise QueryError(text, start, start + len(number), problem)


def _check_argument(written: str, start: int, names: Names, text: str) -> None:
    name = written.removeprefix(ARGUMENT)
    if name in names.arguments:
        return
    known = [*names.arguments, *(() if written.startswith(ARGUMENT) else COLUMNS)]
    close = get_close_matches(name, sorted(known), 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    problem = f"no column or argument {name!r} in this session{hint}"
    raise QueryError(text, start, start + len(written), problem)


def _check_column(compare: Compare, column: str, text: str) -> None:
    end = compare.start + len(compare.name)
    if column in NUMBERS:
        if "~" in compare.op:
            problem = f"{compare.op} compares texts, and {compare.name} is a number: use = or in"
            raise QueryError(text, compare.start, end, problem)
        for value in compare.values:
            if value.number is None and not is_date(compare.name, value):
                what = "a time: -5ms, or a date" if column == "ts" else "a number"
                problem = f"{compare.name} is {what}; found {value.text!r}"
                raise QueryError(text, value.start, value.end, problem)
            if _is_time(compare.name) and value.number and _is_bare(value):
                _ask_unit(compare.name, value.text, value.start, text)
    elif ordered(compare):
        problem = f"{compare.op} compares numbers, and {compare.name} is a text: use = or ~"
        raise QueryError(text, compare.start, end, problem)


def sought(text: str, names: Names) -> Expr:
    """What a search for ``text`` means: an expression if it compares, else the text itself."""
    try:
        expr = read(text, names)
    except QueryError:
        return Contains(text.strip())
    return expr if any(comparisons(expr)) else Contains(text.strip())


def _is_bare(value: Value) -> bool:
    """Whether it is a number without a unit."""
    return not value.text.endswith("s")
