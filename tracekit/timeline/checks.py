"""Bounds checks of the numbers in a kept index (events, buffers, tasks) before they are used.

Decoding never produces numbers out of bounds, but a failing disk can.
"""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from tracekit.errors import SessionError
from tracekit.ftrace.columns import Payloads

__all__ = ["check_below", "check_payloads"]


def _damaged(problem: str) -> SessionError:
    return SessionError(
        f"the index kept in the session is damaged ({problem}): remove SESSION/index and open the "
        "session again; the index is then made anew"
    )


def check_below(numbers: npt.NDArray[Any], limit: int, what: str) -> None:
    """Raise :class:`~tracekit.errors.SessionError` unless all ``numbers`` are below ``limit``."""
    if len(numbers) and not 0 <= int(numbers.min()) <= int(numbers.max()) < limit:
        raise _damaged(what)


def check_payloads(payloads: Payloads) -> None:
    """Raise :class:`~tracekit.errors.SessionError` unless all payloads lie inside the data."""
    size, offsets, lengths = len(payloads.data), payloads.offsets, payloads.lengths
    if not len(offsets):
        return
    if int(offsets.max()) > size or int((offsets + lengths).max()) > size:
        raise _damaged("payloads outside of their buffer")
