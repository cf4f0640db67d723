"""Waiting for things: as long as they take. Only what hangs is cut off."""

from __future__ import annotations

import time

__all__ = ["HANG", "Standstill"]

#: Seconds in which nothing at all has happened: on a machine that is merely busy something has.
HANG = 300.0


class Standstill:
    """Tells a wait that goes on from one in which nothing happens any more."""

    def __init__(self) -> None:
        self._state: object = None
        self._since = time.monotonic()

    def lasts(self, state: object, limit: float = HANG) -> bool:
        """Whether ``state`` has been the same, call after call, for ``limit`` seconds."""
        now = time.monotonic()
        if state != self._state:
            self._state, self._since = state, now
        return now - self._since > limit
