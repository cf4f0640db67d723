"""A session opened for browsing: its recording, its report and its index, made together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike

import tracekit
from tracekit.timeline.index import Index
from tracekit.timeline.recording import Recording
from tracekit.timeline.report import Report

__all__ = ["Opened", "open_recording"]

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, eq=False)
class Opened:
    """What every view of a session is made from."""

    recording: Recording
    report: Report
    index: Index


def open_recording(path: str | PathLike[str], progress: Progress) -> Opened:
    """Open and decode the session at ``path``.

    ``progress(what, share)`` is called from this thread now and then; ``share`` is 0 to 1, None
    where it is not known. Raises :class:`~tracekit.errors.SessionError`.
    """
    progress("reading", None)
    recording = tracekit.open(path)
    progress(f"decoding {len(recording):,} events", None)
    report = recording.report()
    return Opened(recording, report, Index(recording))
