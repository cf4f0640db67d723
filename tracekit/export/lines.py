"""Columns -> blocks of lines: distinct texts are few, so only times are formatted per line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tracekit._native import lines
from tracekit.ftrace.columns import packed_texts
from tracekit.timeline.rows import distinct

__all__ = [
    "KERNEL_COUNT",
    "KERNEL_SECONDS",
    "SIGNED_SECONDS",
    "coded_texts",
    "combined",
    "join_lines",
]

_Array = npt.NDArray[Any]
#: The code of every row (i32), where each text begins and the last ends (i64), the texts.
_Coded = tuple[_Array, _Array, bytes]
#: How and where :func:`join_lines` writes the time: see ``lines.pyi``.
KERNEL_SECONDS, KERNEL_COUNT, SIGNED_SECONDS = range(3)


def combined(*columns: _Array) -> tuple[_Array, _Array]:
    """(a code for every row such that equal rows share one, the first row of every code)."""
    key = np.zeros(len(columns[0]), np.int64)
    for column in columns:
        values, codes = distinct(column)
        key = key * max(1, len(values)) + codes
        _, key = distinct(key)  # so that products of many columns stay small
    key = key.astype(np.int32)
    firsts = np.zeros(int(key.max()) + 1 if len(key) else 0, np.int64)
    firsts[key[::-1]] = np.arange(len(key) - 1, -1, -1)
    return key, firsts


def coded_texts(codes: _Array, texts: Sequence[str]) -> _Coded:
    """A column of texts: the code of every row, and the texts by code."""
    return np.ascontiguousarray(codes, np.int32), *packed_texts(texts)


def join_lines(mode: int, stamps: _Array, head: _Coded, tail: _Coded) -> bytes:
    """The lines of all rows: ``head``, time and ``tail`` as ``mode`` orders them."""
    return lines.lines(mode, np.ascontiguousarray(stamps), head, tail)
