"""CPUs, events, tasks and sources turned on and off, as conditions of a filter expression."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit.query.compare import is_negated, number_mask, text_test
from tracekit.query.expr import Compare, Expr, Value, column_of, joined, terms
from tracekit.query.selection import Selection
from tracekit.timeline.checks import check_below
from tracekit.timeline.events import Events
from tracekit.timeline.saved.bpf_format import SOURCES, is_probe

__all__ = ["CHOICES", "choose", "switched_on", "tally", "values_of"]

_Array = npt.NDArray[Any]
#: The columns that have few values.
CHOICES = ("cpu", "event", "comm", "source")
_OPERATORS = frozenset(("=", "!=", "in", "not in"))
_BLOCK = 1 << 19  # rows that are counted at a time


def values_of(events: Events, column: str) -> Sequence[int | str]:
    """The values ``column`` can have, in the order of :func:`tally`; '' is an unknown task."""
    if column == "cpu":
        return range(int(events.rows.cpu.max()) + 1 if len(events) else 0)
    if column == "event":
        return events.event_names
    return ["", *events.comm_codes[1]] if column == "comm" else SOURCES


def tally(events: Events, column: str, within: Selection) -> Iterator[tuple[_Array, int]]:
    """(how many rows have each value, how many rows were counted), again after every block."""
    counts = np.zeros(len(values_of(events, column)), np.int64)
    probes = np.array([*(is_probe(kind.id) for kind in events.kinds), False])
    yield counts, 0
    for start in range(0, len(within), _BLOCK):
        stop = min(start + _BLOCK, len(within))
        block = slice(start, stop) if within.rows is None else within.rows[start:stop]
        if column == "cpu":
            codes = events.rows.cpu[block]
        elif column == "event":
            codes = events.name_codes(block)
        elif column == "comm":
            codes = events.comm_codes[0][block] + 1
        else:
            kinds = events.rows.kind[block]
            check_below(kinds, len(probes), "events")
            codes = probes[kinds]
        check_below(codes, len(counts), column)
        counts = counts + np.bincount(codes, minlength=len(counts))
        yield counts, stop


def _is_choice(term: Expr, column: str) -> bool:
    return isinstance(term, Compare) and column_of(term.name) == column and term.op in _OPERATORS


def _meets(term: Expr, value: int | str) -> bool:
    assert isinstance(term, Compare)
    if isinstance(value, int):
        hit = number_mask(term, np.array([value]))
    elif column_of(term.name) == "event":
        hit = text_test(term)([value, value.partition(":")[2]])
    else:
        hit = text_test(term)([value])
    return bool(hit.any()) != is_negated(term)


def switched_on(expr: Expr, column: str, values: Sequence[int | str]) -> set[int | str]:
    """Those of ``values`` that pass the conditions of ``expr`` on that column alone."""
    mine = [term for term in terms(expr) if _is_choice(term, column)]
    return {value for value in values if all(_meets(term, value) for term in mine)}


def choose(expr: Expr, column: str, on: Collection[int | str], values: Sequence[int | str]) -> Expr:
    """``expr`` with exactly those of ``values`` left on; its other conditions stay."""
    off = [value for value in values if value not in on]
    kept = list(terms(expr))
    mine = [i for i, term in enumerate(kept) if _is_choice(term, column)]
    position = mine[0] if mine else len(kept)
    kept = [term for i, term in enumerate(kept) if i not in mine]
    if off:
        named = [value for value in values if value in on]
        few, op = (named, ("=", "in")) if len(named) <= len(off) else (off, ("!=", "not in"))
        if column == "event":
            few = _shortened(few, values)
        compared = tuple(Value.of(value) for value in few)
        kept.insert(position, Compare(column, op[len(compared) != 1], compared))
    return joined(tuple(kept))


def _shortened(names: Sequence[int | str], every: Sequence[int | str]) -> list[int | str]:
    """Events' names without their system, if that is unambiguous."""
    short = {name: str(name).partition(":")[2] for name in every}
    often = Counter(short.values())
    return [short[name] if short[name] and often[short[name]] == 1 else name for name in names]
