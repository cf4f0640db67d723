"""Interpreter settings for a responsive interface: thread switching and garbage collection."""

from __future__ import annotations

import gc
import sys
import time

from tui.host import Host

__all__ = ["LowLatency"]

_SWITCH = 0.0005  # seconds that another thread keeps the interpreter for itself
_IDLE = 2.0  # seconds without input after which nobody waits
_SELDOM = 1000  # of the garbage collector's second generation's turns to one of the oldest's


class LowLatency:
    """Makes threads switch sooner, and runs full garbage collections only while idle.

    A full collection takes 50 ms and more, and Python starts it at any time.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._switch, self._threshold = sys.getswitchinterval(), gc.get_threshold()
        self._tidied = 0.0
        sys.setswitchinterval(_SWITCH)
        gc.set_threshold(*self._threshold[:2], _SELDOM)
        host.set_interval(_IDLE, self.tidy)

    def opened(self) -> None:
        """Exclude what is allocated now from collection: it stays to the end."""
        gc.freeze()

    def tidy(self) -> None:
        """Collect garbage once, when the user has been idle for a while after input."""
        now = time.monotonic()
        if self._tidied < self._host.busy_until < now - _IDLE:
            self._tidied = now
            gc.collect()

    def end(self) -> None:
        """Leave the interpreter as it was."""
        gc.unfreeze()
        gc.set_threshold(*self._threshold)
        sys.setswitchinterval(self._switch)
