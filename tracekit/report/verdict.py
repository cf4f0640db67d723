"""What may be said of a record: that it is complete, that no loss is seen, or that it is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from tracekit.errors import Diagnostic

__all__ = ["Counted", "Verdict", "judge"]

#: ``complete``: every event that the kernel counted is there. ``no loss seen``: nothing says that
#: anything is missing, and nothing could prove that it is not. ``incomplete``: something is.
Verdict = Literal["complete", "no loss seen", "incomplete"]

# prefixes of the diagnostics that say that data are missing
_MISSING = ("region-", "cpu-", "cpus-", "page-", "pipe-", "buffer-", "kernel-", "session-", "bpf-")


class Counted(Protocol):
    """The account of a boot."""

    @property
    def lost(self) -> int | None:
        """Lost events, None if that is not known."""

    @property
    def unreadable(self) -> int:
        """Sub-buffers and records that could not be read."""

    @property
    def undecodable(self) -> int:
        """Records without a usable format, or shorter than it."""

    @property
    def counted(self) -> bool:
        """Whether the kernel's counters account for every event."""

    @property
    def cpus(self) -> Sequence[object]:
        """The CPUs that recorded."""


def judge(boots: Sequence[Counted], diagnostics: Sequence[Diagnostic]) -> Verdict:
    """The verdict on a session of these boots."""
    missing = any(b.lost or b.unreadable or b.undecodable for b in boots)
    hurt = any(d.code.startswith(_MISSING) and d.severity != "info" for d in diagnostics)
    recorded = bool(boots) and all(b.cpus for b in boots[:-1] or boots)
    if missing or hurt or not recorded:
        return "incomplete"
    return "complete" if all(b.counted for b in boots) else "no loss seen"
