"""Where the user was: back and forward, as in a browser."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["History", "Place"]

_MOST = 200  # places that are remembered


@dataclass(frozen=True)
class Place:
    """A view, its cursor's row, and the window of the timeline (ns)."""

    view: str
    cursor: int
    window: tuple[int, int]


class History:
    """The places that were left for others, and those that were gone back from."""

    def __init__(self) -> None:
        self._behind: list[Place] = []
        self._ahead: list[Place] = []

    def leave(self, place: Place) -> None:
        """The user goes somewhere else from here."""
        if not self._behind or self._behind[-1] != place:
            self._behind = [*self._behind[1 - _MOST :], place]
        self._ahead.clear()

    def back(self, here: Place) -> Place | None:
        """The place before; None if there is none. ``here`` is then ahead."""
        return _step(self._behind, self._ahead, here)

    def forward(self, here: Place) -> Place | None:
        """The place that was gone back from."""
        return _step(self._ahead, self._behind, here)


def _step(source: list[Place], target: list[Place], here: Place) -> Place | None:
    while source and source[-1] == here:
        source.pop()
    if not source:
        return None
    target.append(here)
    return source.pop()
