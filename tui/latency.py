"""How the interpreter is set while the interface runs: who types waits for nothing else."""

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
    """Threads give way sooner, and all of memory is looked through for garbage at idle times only.

    That takes 50 ms and more, and Python does it in the middle of whatever it is.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._switch, self._threshold = sys.getswitchinterval(), gc.get_threshold()
        self._tidied = 0.0
        sys.setswitchinterval(_SWITCH)
        gc.set_threshold(*self._threshold[:2], _SELDOM)
        host.set_interval(_IDLE, self.tidy)

    def opened(self) -> None:
        """What is there now stays: it need not be looked through."""
        gc.freeze()

    def tidy(self) -> None:
        """Collect garbage, once after every time that there was input."""
        now = time.monotonic()
        if self._tidied < self._host.busy_until < now - _IDLE:
            self._tidied = now
            gc.collect()

    def end(self) -> None:
        """Leave the interpreter as it was."""
        gc.unfreeze()
        gc.set_threshold(*self._threshold)
        sys.setswitchinterval(self._switch)
