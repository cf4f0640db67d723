"""The reference handovers, opened once for all tests that only look at them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import tracekit
from tracekit.recording import Recording

__all__ = ["HANDOVERS", "opened"]

HANDOVERS = {"handover-7.2-tsc": (24_085, 28_019), "handover-7.2-to-7.3-tsc": (30_903, 19_552)}


@cache
def opened(path: Path) -> Recording:
    """The session at a path."""
    return tracekit.open(path)
