"""The result of one of the doctor's checks.

A check is a function of :class:`~tracekit.carriers.machine.Machine`. What only the user root could
see has the state ``unknown``.
"""

from __future__ import annotations

from typing import Any, Literal

from tracekit.frozen import dataclass

__all__ = ["Check", "State"]

State = Literal["ok", "warning", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Check:
    """One precondition: what was found, and what to do about it ('' where there is nothing)."""

    id: str
    state: State
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The JSON form: keys ``id``, ``state``, ``found``, ``do``."""
        return {"id": self.id, "state": self.state, "found": self.found, "do": self.remedy}
