"""How a boot of the session came up."""

from __future__ import annotations

from tracekit.capture.save import started_by as of_kernel
from tracekit.capture.save.started_by import StartedBy
from tracekit.timeline.boot import Boot

__all__ = ["StartedBy", "started_by"]


def started_by(boot: Boot) -> StartedBy:
    """How ``boot`` came up, as far as its saved side tells."""
    kho = bool(boot.session.list(f"boots/{boot.index}/kho/in/"))
    return of_kernel.started_by(boot.kernel, kho=kho)
