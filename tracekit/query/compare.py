"""Comparisons of an expression, applied to many numbers or texts at a time."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from fnmatch import translate
from re import compile as compiled
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracekit.ftrace.columns import as_mask, as_strings
from tracekit.query.expr import Compare, Value
from tracekit.text import printable

__all__ = ["is_negated", "number_mask", "ordered", "regex_error", "text_test"]

_Array = npt.NDArray[Any]
TextTest = Callable[[Sequence[str]], _Array]
_ORDER = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def is_negated(compare: Compare) -> bool:
    """Whether the operator negates the result of :func:`text_test`."""
    return compare.op in {"!=", "!~", "not in"}


def ordered(compare: Compare) -> bool:
    """Whether the operator is one of ``< <= > >=``."""
    return compare.op in _ORDER


def regex_error(pattern: str) -> str:
    """What is wrong with a regular expression, '' if nothing is."""
    try:
        pc.match_substring_regex(as_strings([""]), pattern=pattern)
    except pa.ArrowInvalid as error:
        return printable(str(error))
    except UnicodeEncodeError:
        return "Invalid regular expression: it holds what is no character"
    return ""


def _regex(pattern: str) -> TextTest:
    """A regular expression search. Arrow's take linear time, whatever the pattern is."""

    def test(texts: Sequence[str]) -> _Array:
        return as_mask(pc.match_substring_regex(as_strings(texts), pattern=pattern))

    return test


def _each(wanted: Callable[[str], object]) -> TextTest:
    def test(texts: Sequence[str]) -> _Array:
        return np.fromiter((bool(wanted(text)) for text in texts), bool, len(texts))

    return test


def text_test(compare: Compare) -> TextTest:
    """A test that gives the mask of the texts that match; the same for ``!=`` and ``=``."""
    value = compare.values[0] if compare.values else Value("")
    if "~" in compare.op:
        return _regex(value.text) if value.is_regex else _each(_glob(value.text))
    return _each({v.text for v in compare.values}.__contains__)


def _glob(pattern: str) -> Callable[[str], object]:
    return compiled(translate(pattern)).match


def number_mask(compare: Compare, values: _Array) -> _Array:
    """Which of some integers match ``compare``; values that are not numbers are ignored."""
    least, most = np.iinfo(values.dtype).min, np.iinfo(values.dtype).max
    numbers = [v.number for v in compare.values if v.number is not None and "~" not in compare.op]
    if ordered(compare):
        if not numbers or not least <= numbers[0] <= most:
            below = bool(numbers) and numbers[0] < least
            return np.full(len(values), bool(numbers) and (compare.op[0] == ">") == below)
        mask: _Array = _ORDER[compare.op](values, values.dtype.type(numbers[0]))
        return mask
    fitting = [n for n in numbers if least <= n <= most]
    if len(fitting) == 1:
        mask = values == values.dtype.type(fitting[0])
    else:
        mask = np.isin(values, np.array(fitting, values.dtype))
    return mask
